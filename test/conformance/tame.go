package main

import "bytes"

// tame takes out of a stream, in place, what makes libmilter's behaviour undefined or a matter of time, so that no two
// filters need to agree on it:
//
//   - Macros with a name that has no value: smfi_getsymval reads past the list.
//   - The text of an unknown command that does not end with a NUL: libmilter hands it on as it is, and what stands behind
//     it in memory is anything.
//   - Macros before the negotiation: where libmilter has a pool of workers, it forgets them if the next packet takes longer
//     than a millisecond.
func tame(stream []byte) {
	first := true
	for p := range packets(stream) {
		switch {
		case len(p.data) == 0:
		case p.code == 'D' && first:
			p.data[0] = 0 // a stage that there is not: libmilter drops the packet
			continue
		case p.code == 'D':
			evenMacros(p.data[1:])
		case p.code == 'U':
			p.data[len(p.data)-1] = 0
		}
		first = false
	}
}

// evenMacros makes sure that each name has a value.
func evenMacros(list []byte) {
	if bytes.Count(list, []byte{0})%2 == 1 {
		list[bytes.LastIndexByte(list, 0)] = 'x'
	}
}

package main

import (
	"encoding/binary"
	"iter"
	"math"
)

// packet is what goes over the milter protocol's wire: a length, a command or reply letter, and data. length counts letter
// and data, unless somebody lies.
type packet struct {
	length uint32
	code   byte
	data   []byte
}

func newPacket(code byte, data ...[]byte) packet {
	p := packet{code: code}
	for _, d := range data {
		p.data = append(p.data, d...)
	}
	p.length = uint32(len(p.data)) + 1
	return p
}

func (p packet) append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(b, p.length)
	b = append(b, p.code)
	return append(b, p.data...)
}

// headLen is the length of what comes before a packet's data.
const headLen = 5

// packets cuts a stream into packets as libmilter's mi_rd_cmd does: a length of 0, and one that is no positive int32, is a
// packet without data. The data are the stream's own. The last packet may be short, whole says so; what is less than a
// packet's head is left out.
func packets(stream []byte) iter.Seq2[packet, bool] {
	return func(yield func(packet, bool) bool) {
		for len(stream) >= headLen {
			p := packet{length: binary.BigEndian.Uint32(stream), code: stream[headLen-1]}
			stream = stream[headLen:]
			size := 0
			if p.length > 0 && p.length <= math.MaxInt32 {
				size = int(p.length) - 1
			}
			whole := size <= len(stream)
			p.data = stream[:min(size, len(stream))]
			stream = stream[len(p.data):]
			if !yield(p, whole) {
				return
			}
		}
	}
}

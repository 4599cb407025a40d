package main

import (
	"slices"
	"time"
)

// bytewise is how many bytes of a session are sent one by one, if they are: each one is a system call.
const bytewise = 1500

// pause is longer than a worker of libmilter's pool waits for the next byte. It then goes, and another one takes over the
// session.
const pause = 2 * time.Millisecond

// cut decides in what pieces the stream is written.
func (g *generator) cut(stream []byte) (pieces []piece, how string) {
	var ends []int
	switch kind := g.IntN(100); {
	case kind < 35:
		how = "in one piece"
	case kind < 65:
		how = "packet by packet"
		at := 0
		for _, p := range g.packets {
			at += headLen + len(p.data)
			ends = append(ends, at)
		}
	case kind < 72:
		how = "byte by byte"
		for at := range min(len(stream), bytewise) {
			ends = append(ends, at)
		}
	default:
		how = "cut at random"
		for range 1 + g.IntN(20) {
			ends = append(ends, g.IntN(len(stream)+1))
		}
	}
	slices.Sort(ends)
	at := 0
	for _, end := range append(ends, len(stream)) {
		if end = min(end, len(stream)); end > at {
			pieces = append(pieces, piece{bytes: stream[at:end]})
			at = end
		}
	}
	if len(pieces) > 0 && g.chance(10) {
		how += ", with pauses"
		for range 1 + g.IntN(3) {
			pieces[g.IntN(len(pieces))].pause = pause
		}
	}
	return pieces, how
}

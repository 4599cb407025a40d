//go:build cgo

package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
)

// history is what a session was given, as a running hash, and the choices that are drawn from it. cfilter/history.c is the
// same in C.
type history struct {
	hash uint64
}

// settings are the program's arguments that the answers depend on.
var settings struct {
	seed  uint64
	trace bool // what is mixed in and what is drawn is written to standard output too
	fault int  // the number, from 1, of the callback that is to go wrong
}

// output is standard output. Sessions come one after the other, so that nobody else writes at the same time.
var output = bufio.NewWriterSize(os.Stdout, 64<<10)

// FNV-1a.
const fnvOffset, fnvPrime = 14695981039346656037, 1099511628211

func newHistory() *history {
	h := &history{fnvOffset}
	h.mixRaw(settings.seed)
	return h
}

func (h *history) mixByte(b byte) { h.hash = (h.hash ^ uint64(b)) * fnvPrime }

func (h *history) mixRaw(number uint64) {
	for shift := 0; shift < 64; shift += 8 {
		h.mixByte(byte(number >> shift))
	}
}

func (h *history) mixNumber(number uint64) {
	h.mixRaw(number)
	if settings.trace {
		fmt.Fprintf(output, "  given 0x%x\n", number)
	}
}

func traceBytes[T string | []byte](data T) {
	fmt.Fprint(output, `  given "`)
	for i := range len(data) {
		if c := data[i]; c >= ' ' && c <= '~' && c != '"' && c != '\\' {
			output.WriteByte(c)
		} else {
			fmt.Fprintf(output, `\x%02x`, c)
		}
	}
	fmt.Fprintln(output, `"`)
}

// mix is mix_bytes, and mix_text for a text that is not NULL.
func mix[T string | []byte](h *history, data T) {
	h.mixRaw(uint64(len(data)))
	for i := range len(data) {
		h.mixByte(data[i])
	}
	if settings.trace {
		traceBytes(data)
	}
}

// mixNull is mix_text(NULL).
func (h *history) mixNull() { h.mixNumber(math.MaxUint64) }

// draw gives a number below limit, which is a function of all that was mixed in.
func (h *history) draw(limit uint32) uint32 {
	h.mixByte(0xd7)
	spread := (h.hash ^ h.hash>>30) * 0xbf58476d1ce4e5b9
	spread = (spread ^ spread>>27) * 0x94d049bb133111eb
	drawn := uint32((spread >> 33) % uint64(limit))
	if settings.trace {
		fmt.Fprintf(output, "  drew %d of %d\n", drawn, limit)
	}
	return drawn
}

// noteCall is about a call of libmilter's: its result goes into the history.
func (h *history) noteCall(function string, err error) {
	result, succeeded := "MI_SUCCESS", byte(1)
	if err != nil {
		result, succeeded = "MI_FAILURE", 0
	}
	h.mixByte(succeeded)
	fmt.Fprintln(output, function, result)
	if settings.trace && err != nil {
		fmt.Fprintf(os.Stderr, "%v\n", err)
	}
}

// noteAnswer is about a callback that returns. All that was noted is written before that.
func (h *history) noteAnswer(callback, answer string) {
	fmt.Fprintf(output, "%s %s %016x\n", callback, answer, h.hash)
	output.Flush()
}

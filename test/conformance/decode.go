package main

import (
	"fmt"
	"strconv"

	"github.com/libmilter/go-libmilter/miltertest"
)

// decode gives a stream of the MTA's (sent) or of a filter's in words, a line for each packet.
func decode(stream []byte, sent bool) (lines []string) {
	at := 0
	for p, whole := range packets(stream) {
		at += headLen + len(p.data)
		lines = append(lines, describe(p, whole, sent))
	}
	if at < len(stream) {
		lines = append(lines, "less than a packet's head: "+strconv.Quote(string(stream[at:])))
	}
	return lines
}

func describe(p packet, whole, sent bool) string {
	line := miltertest.Packet{Sent: sent, Code: p.code, Data: string(p.data)}.String()[len("> "):]
	if !whole || p.length != uint32(len(p.data))+1 {
		line += fmt.Sprintf(", its length says %d", p.length)
	}
	return line
}

// nameOf gives the name of a packet's letter.
func nameOf(code byte, sent bool) string {
	if name, known := (miltertest.Packet{Sent: sent, Code: code}).Name(); known {
		return name
	}
	return "no command"
}

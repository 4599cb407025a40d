package main

import (
	"math"
	"slices"
)

// commands are libmilter's, and some that are none.
const commands = "ABCDEHKLMNOQRTU" + "XSc \x00\x05\xff"

// spoil does what no MTA should: it changes one packet of the session, or their order.
func (g *generator) spoil() {
	if len(g.packets) == 0 {
		g.packets = append(g.packets, g.garbage())
		return
	}
	at := g.IntN(len(g.packets))
	p := &g.packets[at]
	switch g.IntN(12) {
	case 0:
		g.packets = slices.Insert(g.packets, at, g.garbage())
	case 1:
		g.packets = slices.Delete(g.packets, at, at+1)
	case 2:
		other := g.IntN(len(g.packets))
		g.packets[at], g.packets[other] = g.packets[other], g.packets[at]
	case 3, 4:
		g.repeat(at)
	case 5:
		p.code = commands[g.IntN(len(commands))]
	case 6:
		p.data = p.data[:g.IntN(len(p.data)+1)]
		p.length = uint32(len(p.data)) + 1
	case 7:
		p.data = p.data[:max(len(p.data)-1, 0)] // the last NUL of most packets
		p.length = uint32(len(p.data)) + 1
	case 8:
		g.scratch(p.data)
	case 9:
		p.length = oneOf(g, 0, 1, p.length-1, p.length+1, p.length+g.Uint32N(20), longest+1, longest+2, math.MaxInt32, math.MaxInt32+1,
			math.MaxUint32, g.Uint32())
	case 10:
		g.packets = slices.Insert(g.packets, at, newPacket("ATNUEK"[g.IntN(6)]))
	case 11:
		g.packets = slices.Insert(g.packets, at, newPacket('U', z(g.text())))
	}
}

// garbage is any command with any data.
func (g *generator) garbage() packet {
	return newPacket(commands[g.IntN(len(commands))], oneOf(g, nil, g.bytes(g.IntN(40)), z(g.text(), g.text()), z(g.text())))
}

// repeat sends a packet again.
func (g *generator) repeat(at int) {
	for range 1 + g.IntN(3) {
		g.packets = slices.Insert(g.packets, at, g.packets[at])
	}
}

// scratch changes some bytes.
func (g *generator) scratch(data []byte) {
	for range 1 + g.IntN(3) {
		if len(data) > 0 {
			data[g.IntN(len(data))] = oneOf(g, 0, ' ', 0xff, byte(g.Uint32()))
		}
	}
}

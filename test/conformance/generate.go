package main

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"time"
)

// session is what the filters are sent: one connection's bytes, in pieces.
type session struct {
	stream []byte
	pieces []piece
	how    string // the pieces, in words
}

// piece is what is written at once, after a pause.
type piece struct {
	bytes []byte
	pause time.Duration
}

// generate makes the session of this number. It is the same each time. Most sessions are what an MTA could send, for the most
// part, so that they get deep. A hostile one may also have what tame takes out.
func generate(seed, number uint64, hostile bool) session {
	g := &generator{Rand: rand.New(rand.NewPCG(seed, number))}
	g.conversation()
	spoiled := 35
	if hostile {
		spoiled = 80
	}
	if g.chance(spoiled) {
		for range 1 + g.IntN(3) {
			g.spoil()
		}
	}
	var stream []byte
	for _, p := range g.packets {
		stream = p.append(stream)
	}
	if g.chance(4) && len(stream) > 0 {
		stream = stream[:g.IntN(len(stream))]
	}
	if !hostile {
		tame(stream)
	}
	s := session{stream: stream}
	s.pieces, s.how = g.cut(stream)
	return s
}

// generator makes one session, packet by packet.
type generator struct {
	*rand.Rand
	packets []packet
}

func (g *generator) chance(percent int) bool { return g.IntN(100) < percent }

func oneOf[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g *generator) send(code byte, data ...[]byte) {
	g.packets = append(g.packets, newPacket(code, data...))
}

// conversation is all that an MTA says on a connection.
func (g *generator) conversation() {
	if g.chance(1) {
		return // a port probe
	}
	if !g.chance(3) {
		g.offer()
	}
	g.client()
	for clients := 1; clients < 4 && g.chance(25); clients++ {
		if g.chance(60) {
			g.unknown() // libmilter takes SMFIC_QUIT_NC after this, and after a mail that was not decided on
		}
		g.send('K')
		g.client()
	}
	if g.chance(80) {
		g.send('Q')
	}
}

// offer is the negotiation.
func (g *generator) offer() {
	version := uint32(6)
	if g.chance(40) {
		version = oneOf[uint32](g, 2, 2, 2, 4, 4, 3, 5, 7)
	}
	actions := uint32(0x1ff)
	if g.chance(30) {
		actions = oneOf(g, 0, 0x0f, 0x1f, 0x3f, 0xff, g.Uint32N(0x200), g.Uint32())
	}
	protocol := uint32(0x1fffff)
	if g.chance(50) { // bits that nobody knows: filters draw what they answer from all that they are given
		protocol |= g.Uint32N(64) << 21
	}
	if g.chance(40) {
		protocol = oneOf(g, 0, 0x7f, 0x7f, 0x3ff, 0x7ff, g.Uint32N(1<<21), 0x7fffffff, g.Uint32())
	}
	if g.chance(2) {
		version = oneOf(g, 0, 1, g.Uint32(), math.MaxUint32)
	}
	offer := binary.BigEndian.AppendUint32(nil, version)
	offer = binary.BigEndian.AppendUint32(offer, actions)
	offer = binary.BigEndian.AppendUint32(offer, protocol)
	if g.chance(2) {
		offer = append(offer, g.text()...)
	}
	g.send('O', offer)
}

// client is one SMTP client's time.
func (g *generator) client() {
	g.macros('C', 60)
	if !g.chance(3) {
		g.send('C', g.address())
	}
	if g.chance(8) {
		g.unknown()
	}
	for range oneOf(g, 0, 1, 1, 1, 1, 1, 1, 2) {
		g.macros('H', 40)
		g.send('H', z(g.text()))
	}
	for range oneOf(g, 0, 1, 1, 1, 1, 2, 2, 3) {
		g.mail()
	}
}

// address is a SMFIC_CONNECT packet's data: the client's name, its address family, port and address.
func (g *generator) address() []byte {
	host := z(oneOf(g, []byte("client.example.org"), []byte("[192.0.2.1]"), g.text()))
	port := binary.BigEndian.AppendUint16(nil, uint16(oneOf(g, 0, 25, 40000, 65535)))
	family := oneOf[byte](g, '4', '4', '4', '6', '6', 'L', 'U')
	if family == 'U' && g.chance(90) {
		return append(host, family)
	}
	var text []byte
	switch family {
	case '4':
		text = []byte(oneOf(g, "192.0.2.1", "255.255.255.255", "0.0.0.0", "10.1"))
	case '6':
		text = []byte(oneOf(g, "2001:db8::1", "IPv6:2001:db8::1", "::ffff:192.0.2.1", "::"))
	case 'L':
		text = append([]byte("/run/"), g.text()...)
	}
	if g.chance(4) {
		family = oneOf[byte](g, '4', '6', 'L', 'U', 'X', 0)
	}
	if g.chance(3) {
		text = g.text()
	}
	return slices.Concat(host, []byte{family}, port, z(text))
}

// macroNames are those that the filters look at, and others.
var macroNames = []string{"j", "_", "i", "{i}", "x", "{x}", "{client_addr}", "{auth_authen}", "{mail_addr}", "{rcpt_addr}", "{other}", ""}

// macros is a SMFIC_MACRO packet, in so many of a hundred cases.
func (g *generator) macros(stage byte, percent int) {
	if !g.chance(percent) {
		return
	}
	list := []byte{stage}
	for range g.IntN(6) {
		list = append(list, z([]byte(oneOf(g, macroNames...)), g.text())...)
	}
	g.send('D', list)
}

func (g *generator) unknown() { g.send('U', z(g.text())) }

// mail is one mail, or its beginning.
func (g *generator) mail() {
	for _, step := range []func(){g.from, g.recipients, g.dataCommand, g.headers, g.endOfHeader, g.body} {
		step()
		if g.chance(3) {
			g.unknown()
		}
		if g.chance(2) {
			g.send('A')
			return
		}
	}
	g.endOfMessage()
}

func (g *generator) from() {
	g.macros('M', 50)
	g.send('M', g.envelope())
}

func (g *generator) recipients() {
	for range oneOf(g, 0, 1, 1, 1, 1, 2, 2, 4) {
		g.macros('R', 30)
		g.send('R', g.envelope())
	}
}

func (g *generator) dataCommand() {
	if g.chance(85) {
		g.macros('T', 30)
		g.send('T')
	}
}

// envelope is an address and its ESMTP arguments.
func (g *generator) envelope() []byte {
	parts := [][]byte{[]byte(oneOf(g, "<a@example.org>", "<>", "<b@example.com>", "<\xe9@example.org>", "c", ""))}
	for range oneOf(g, 0, 0, 0, 1, 2, 5) {
		parts = append(parts, []byte(oneOf(g, "SIZE=1000", "BODY=8BITMIME", "SMTPUTF8", "NOTIFY=NEVER", "X=\xff", "", string(g.text()))))
	}
	return z(parts...)
}

func (g *generator) headers() {
	for range g.IntN(6) {
		name := []byte(oneOf(g, "Subject", "Received", "X-\xe9", "From", string(g.text())))
		g.send('L', z(name, oneOf(g, g.text(), []byte("a\r\n\tfolded"), []byte("a\n b"))))
	}
}

func (g *generator) endOfHeader() {
	if g.chance(92) {
		g.macros('N', 20)
		g.send('N')
	}
}

func (g *generator) body() {
	for range oneOf(g, 0, 1, 1, 1, 2, 3) {
		g.send('B', g.segment())
	}
}

func (g *generator) endOfMessage() {
	g.macros('E', 40)
	if g.chance(15) {
		g.send('E', g.segment())
	} else {
		g.send('E')
	}
}

// longest is how much data libmilter takes in a packet: MILTER_MAX_DATA_SIZE in its mfdef.h.
const longest = 65535

// segment is a piece of a body, with any bytes.
func (g *generator) segment() []byte {
	size := g.IntN(300)
	if g.chance(2) {
		size = oneOf(g, longest, longest, longest-1, longest+1, g.IntN(longest))
	}
	return g.bytes(size)
}

func (g *generator) bytes(size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(g.Uint32())
	}
	return b
}

// text is anything without a NUL, mostly short.
func (g *generator) text() []byte {
	switch g.IntN(20) {
	case 0:
		return nil
	case 1:
		b := g.bytes(1 + g.IntN(20))
		return bytes.ReplaceAll(b, []byte{0}, []byte{0xff})
	case 2:
		return bytes.Repeat([]byte("long "), g.IntN(400))
	case 3:
		return []byte("100% \xe9\xff")
	}
	return []byte(oneOf(g, "example.org", "a", "one two", "EHLO", "<a@example.org>", "192.0.2.7"))
}

// z joins texts with a NUL behind each.
func z(texts ...[]byte) (joined []byte) {
	for _, text := range texts {
		joined = append(append(joined, text...), 0)
	}
	return joined
}

//go:build cgo

package fuzz

import (
	"encoding/binary"
	"strings"
)

// packet gives a command's bytes on the wire.
func packet(command byte, data ...string) string {
	text := strings.Join(data, "")
	return string(binary.BigEndian.AppendUint32(nil, uint32(len(text)+1))) + string(command) + text
}

func negotiation(version, actions, protocol uint32) string {
	b := binary.BigEndian.AppendUint32(nil, version)
	b = binary.BigEndian.AppendUint32(b, actions)
	return packet('O', string(binary.BigEndian.AppendUint32(b, protocol)))
}

var (
	full     = negotiation(6, 0x1ff, 0x1fffff)
	old      = negotiation(2, 0x3f, 0x7f)
	client4  = packet('C', "client.example.org\x00", "4", "\x9c\x40", "192.0.2.10\x00")
	client6  = packet('C', "client.example.org\x00", "6", "\x9c\x40", "2001:db8::1\x00")
	local    = packet('C', "localhost\x00", "L", "\x00\x00", "/run/client\x00")
	unknown  = packet('C', "unknown\x00", "U")
	helo     = packet('H', "client.example.org\x00")
	macros   = packet('D', "M", "i\x00", "4Yq2cB1mVgz\x00", "{mail_addr}\x00", "a@example.org\x00")
	envelope = packet('M', "<a@example.org>\x00", "SIZE=1000\x00", "BODY=8BITMIME\x00") +
		packet('R', "<b@example.com>\x00") + packet('R', "<c@example.com>\x00", "NOTIFY=NEVER\x00")
	content = packet('T') + packet('L', "Subject\x00", "a\n\tb \xe4\x00") + packet('L', "To\x00", "\x00") + packet('N') +
		packet('B', "Hello\r\n") + packet('B', strings.Repeat("0123456789", 100)) + packet('E')
	mail = macros + envelope + content
)

// seeds are sessions to begin with: what MTAs send, and what they should not.
var seeds = [][]byte{
	[]byte(full + client4 + helo + mail + packet('Q')),
	[]byte(old + client6 + helo + mail + mail + packet('Q')),
	[]byte(full + local + helo + macros + envelope + packet('A') + mail + packet('K') + unknown + helo + mail),
	[]byte(full + client4 + helo + macros + envelope + packet('T') + packet('N') + packet('E', "the rest of the body\r\n")),
	[]byte(client4 + helo + mail),
	[]byte(mail),
	[]byte(full + full + packet('E') + packet('N') + packet('K') + packet('A')),
	[]byte(full + packet('U', "XYZZY now\x00") + packet('U', "no end") + packet('Z', "?")),
	[]byte(full + packet('C', "no more") + client4),
	[]byte(full + packet('C', "x\x00", "4", "\x00\x19", "999.0.0.1\x00")),
	[]byte(full + client4 + helo + packet('D', "M", "odd\x00") + envelope),
	[]byte(full + client4 + helo + packet('M') + packet('M', "\x00") + packet('R', "x") + packet('L', "a") + packet('L', "\x00")),
	[]byte("\x00\x00\x00\x00"),
	[]byte("\xff\xff\xff\xffO"),
	[]byte("\x00\x01\x00\x00B" + strings.Repeat("x", 70000)),
	[]byte(full[:7]),
	{},
}

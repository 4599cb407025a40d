//go:build cgo

package main

import (
	"encoding/binary"
	"net"

	milter "github.com/libmilter/go-libmilter"
)

// onMessage decides about a whole mail. cfilter/message.c is the same in C.
func onMessage(s *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
	h := newHistory()
	if entered++; entered == settings.fault {
		h.mixByte(0)
	}
	var rest []byte
	for _, rcpt := range msg.Rcpts {
		rest = appendPath(rest, 'R', rcpt)
	}
	for name, value := range msg.Header.All() {
		rest = appendText(appendText(rest, 'N', name), 'V', value)
	}
	client := appendAddr(appendText(nil, 'C', msg.Host), msg.Addr)
	for _, text := range [][]byte{client, appendText(nil, 'H', msg.Helo), appendPath(nil, 'M', msg.From), rest, msg.Body} {
		mix(h, text)
	}
	h.chooseChanges(m)
	h.lookAtMacros(s)
	h.chooseReply(s)
	status := h.chooseStatus(often)
	name := "another"
	if status == milter.SMFIS_CONTINUE {
		name = status.String()
	}
	h.noteAnswer("eom", name)
	return status
}

func appendText(b []byte, kind byte, text string) []byte {
	return append(append(append(b, kind), text...), 0)
}

func appendPath(b []byte, kind byte, p milter.Path) []byte {
	b = appendText(b, kind, p.Address)
	for _, arg := range p.Args {
		b = appendText(b, 'A', arg)
	}
	return b
}

func appendAddr(b []byte, addr net.Addr) []byte {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return binary.BigEndian.AppendUint16(append(b, addr.IP...), uint16(addr.Port))
	case *net.UnixAddr:
		return appendText(b, 'L', addr.Name)
	}
	return b
}

func onMessageClose(*milter.Session) { newHistory().noteAnswer("close", "-") }

//go:build cgo

package milter_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// allActions and allProtocol are what an MTA of protocol version 6 offers.
const (
	allActions  = milter.Action(0x1ff)
	allProtocol = milter.Protocol(0x1fffff)
)

// wire is the MTA's end of a connection, with what many tests say on it.
type wire struct {
	*miltertest.Conn
	t testing.TB
}

// mta offers all that protocol version 6 has, and sends no macros by itself.
func (p *process) mta() miltertest.MTA {
	return miltertest.MTA{Version: 6, Actions: allActions, Protocol: allProtocol, Timeout: waitLong, T: p.t}
}

// dial connects as an MTA, which says nothing yet.
func (p *process) dial(mta miltertest.MTA) *wire {
	p.t.Helper()
	c, err := mta.Open(p.Addr)
	require.NoError(p.t, err)
	p.t.Cleanup(c.Close)
	return &wire{c, p.t}
}

func (p *process) connect() *wire {
	p.t.Helper()
	return p.dial(p.mta())
}

// fragile is connect for a connection that may break: that does not end the test, Err tells of it.
func (p *process) fragile() *wire {
	p.t.Helper()
	mta := p.mta()
	mta.T = nil
	return p.dial(mta)
}

// session connects and negotiates.
func (p *process) session() *wire {
	p.t.Helper()
	return p.offer(allActions, allProtocol)
}

// offer is session of an MTA that offers this and no more.
func (p *process) offer(actions milter.Action, protocol milter.Protocol) *wire {
	p.t.Helper()
	mta := p.mta()
	mta.Actions, mta.Protocol = actions, protocol
	w := p.dial(mta)
	w.Negotiate()
	return w
}

// ordinary are the steps of an ordinary mail.
var ordinary = []struct {
	name string
	take func(w *wire) miltertest.Reply
}{
	{"Connect", func(w *wire) miltertest.Reply {
		return w.Connect("client.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 40000})
	}},
	{"Helo", func(w *wire) miltertest.Reply { return w.Helo("client.example.org") }},
	{"MailFrom", func(w *wire) miltertest.Reply { return w.MailFrom("<from@example.org>") }},
	{"RcptTo", func(w *wire) miltertest.Reply { return w.RcptTo("<to@example.com>") }},
	{"Data", func(w *wire) miltertest.Reply { return w.Data() }},
	{"Header", func(w *wire) miltertest.Reply { return w.Header("Subject", "test") }},
	{"EOH", func(w *wire) miltertest.Reply { return w.EOH() }},
	{"Segment", func(w *wire) miltertest.Reply { return w.Segment("Hello\r\n") }},
	{"EOM", func(w *wire) miltertest.Reply { return w.EOM().Reply }},
}

// pass takes the session through the steps of an ordinary mail from first to last, each with the reply "continue".
func (w *wire) pass(first, last string) {
	w.t.Helper()
	passing := false
	for _, step := range ordinary {
		passing = passing || step.name == first
		if passing {
			w.continues(step.take(w))
			if step.name == last {
				return
			}
		}
	}
	require.FailNow(w.t, "there are no such steps", "%s to %s", first, last)
}

// continues requires the reply "continue", to a step that was sent.
func (w *wire) continues(reply miltertest.Reply) {
	w.t.Helper()
	require.Equal(w.t, miltertest.Reply{}, reply, "%v\n%v", w.Err(), w.Transcript())
}

func (w *wire) upTo(last string) { w.t.Helper(); w.pass("Connect", last) }
func (w *wire) open()            { w.t.Helper(); w.upTo("Helo") }
func (w *wire) envelope()        { w.t.Helper(); w.pass("MailFrom", "RcptTo") }
func (w *wire) content()         { w.t.Helper(); w.pass("Data", "Segment") }

// mail is all of a mail in a session that is open, which the filter lets pass unchanged.
func (w *wire) mail() {
	w.t.Helper()
	w.envelope()
	w.content()
	require.Equal(w.t, packets{reply('c')}, w.end(), "%v", w.Err())
}

// end ends the message, and gives what the filter sends then: its changes, and its reply.
func (w *wire) end() packets {
	w.t.Helper()
	before := len(w.Transcript())
	w.EOM()
	return received(w.Transcript()[before:])
}

// ask sends a packet and reads one.
func (w *wire) ask(code byte, data ...string) miltertest.Packet {
	w.t.Helper()
	w.Write(code, data...)
	return w.Read()
}

// last gives the packet that was sent or read last.
func (w *wire) last() miltertest.Packet {
	t := w.Transcript()
	return t[len(t)-1]
}

// drain reads on a fragile connection until the filter closes it.
func (w *wire) drain() {
	w.t.Helper()
	for w.Err() == nil {
		w.Read()
	}
	require.ErrorIs(w.t, w.Err(), io.EOF)
}

// packets are a filter's.
type packets = []miltertest.Packet

// received gives the filter's packets.
func received(t miltertest.Transcript) (list packets) {
	for _, p := range t {
		if !p.Sent {
			list = append(list, p)
		}
	}
	return list
}

// reply is a packet of the filter's.
func reply(code byte, data ...string) miltertest.Packet {
	return miltertest.Packet{Code: code, Data: strings.Join(data, "")}
}

// optneg gives the data of a negotiation packet.
func optneg(version int, actions milter.Action, protocol milter.Protocol) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(version))
	b = binary.BigEndian.AppendUint32(b, uint32(actions))
	return string(binary.BigEndian.AppendUint32(b, uint32(protocol)))
}

// z joins texts with a NUL behind each.
func z(texts ...string) string { return strings.Join(texts, "\x00") + "\x00" }

// dialAddr turns a smfi_setconn address into what package net takes.
func dialAddr(t testing.TB, addr string) (network, target string) {
	network, target, err := miltertest.ParseAddress(addr)
	require.NoError(t, err)
	return network, target
}

// listening tells whether the kernel would take a connection, from its own tables.
func listening(network, addr string) bool {
	if network == "unix" {
		table, err := os.ReadFile("/proc/net/unix")
		if err != nil {
			return false
		}
		for line := range strings.Lines(string(table)) {
			if fields := strings.Fields(line); len(fields) == 8 && fields[7] == addr {
				return fields[3] == "00010000" // __SO_ACCEPTCON: listen was called
			}
		}
		return false
	}
	_, port, _ := net.SplitHostPort(addr)
	var number int
	fmt.Sscan(port, &number)
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, _ := os.ReadFile(file)
		for line := range strings.Lines(string(table)) {
			fields := strings.Fields(line)
			if len(fields) > 3 && strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", number)) && fields[3] == "0A" {
				return true
			}
		}
	}
	return false
}

//go:build cgo

package milter_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// packet is what goes over the milter protocol's wire: a command or reply letter, and its data.
type packet struct {
	Code byte
	Data string
}

func (p packet) String() string { return fmt.Sprintf("%c%q", p.Code, p.Data) }

// wire is the MTA's end of a connection, by hand.
type wire struct {
	t          testing.TB
	conn       net.Conn
	transcript []string
}

// allActions and allProtocol are what an MTA of protocol version 6 offers.
const (
	allActions  = milter.Action(0x1ff)
	allProtocol = milter.Protocol(0x1fffff)
)

// dialAddr turns a smfi_setconn address into what package net takes.
func dialAddr(addr string) (network, target string) {
	kind, rest, _ := strings.Cut(addr, ":")
	if kind == "inet" || kind == "inet6" {
		port, host, _ := strings.Cut(rest, "@")
		return "tcp", net.JoinHostPort(strings.Trim(host, "[]"), port)
	}
	return "unix", rest
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

// connect dials the filter.
func (p *process) connect() *wire {
	p.t.Helper()
	network, addr := dialAddr(p.Addr)
	conn, err := net.Dial(network, addr)
	require.NoError(p.t, err)
	w := &wire{t: p.t, conn: conn}
	p.t.Cleanup(w.close)
	return w
}

// session dials the filter and negotiates version 6 with all that it has.
func (p *process) session() *wire {
	p.t.Helper()
	w := p.connect()
	w.negotiate(6, allActions, allProtocol)
	return w
}

func (w *wire) close() { _ = w.conn.Close() }

// raw writes bytes as they are.
func (w *wire) raw(data string) {
	w.t.Helper()
	_ = w.conn.SetWriteDeadline(time.Now().Add(waitLong))
	_, err := io.WriteString(w.conn, data)
	require.NoError(w.t, err)
}

// send writes a packet of a command and its data, the pieces joined as they are.
func (w *wire) send(code byte, data ...string) {
	w.t.Helper()
	p := packet{code, strings.Join(data, "")}
	w.transcript = append(w.transcript, "> "+p.String())
	w.raw(frame(p))
}

// frame gives a packet's bytes on the wire.
func frame(p packet) string {
	return string(append(binary.BigEndian.AppendUint32(nil, uint32(len(p.Data)+1)), p.Code)) + p.Data
}

// receive reads a packet, or the end of the connection as io.EOF.
func (w *wire) receive() (packet, error) {
	_ = w.conn.SetReadDeadline(time.Now().Add(waitLong))
	head := make([]byte, 5)
	if _, err := io.ReadFull(w.conn, head); err != nil {
		w.transcript = append(w.transcript, "< "+err.Error())
		if errors.Is(err, syscall.ECONNRESET) {
			err = io.EOF
		}
		return packet{}, err
	}
	data := make([]byte, binary.BigEndian.Uint32(head)-1)
	if _, err := io.ReadFull(w.conn, data); err != nil {
		return packet{}, err
	}
	p := packet{head[4], string(data)}
	w.transcript = append(w.transcript, "< "+p.String())
	return p, nil
}

// reply reads a packet, which must come.
func (w *wire) reply() packet {
	w.t.Helper()
	p, err := w.receive()
	require.NoError(w.t, err, "no reply\n%s", strings.Join(w.transcript, "\n"))
	return p
}

// ends requires that the filter closes the connection without another word.
func (w *wire) ends() {
	w.t.Helper()
	p, err := w.receive()
	require.ErrorIs(w.t, err, io.EOF, "got %v\n%s", p, strings.Join(w.transcript, "\n"))
}

// ask sends a command and reads one packet.
func (w *wire) ask(code byte, data ...string) packet {
	w.t.Helper()
	w.send(code, data...)
	return w.reply()
}

// negotiate offers, and gives the filter's answer.
func (w *wire) negotiate(version int, actions milter.Action, protocol milter.Protocol) packet {
	w.t.Helper()
	return w.ask('O', optneg(version, uint32(actions), uint32(protocol)))
}

func optneg(version int, actions, protocol uint32) string {
	b := binary.BigEndian.AppendUint32(nil, uint32(version))
	b = binary.BigEndian.AppendUint32(b, actions)
	return string(binary.BigEndian.AppendUint32(b, protocol))
}

// z joins texts with a NUL behind each.
func z(texts ...string) string {
	var b strings.Builder
	for _, text := range texts {
		b.WriteString(text)
		b.WriteByte(0)
	}
	return b.String()
}

// ok sends a command and requires the reply "continue".
func (w *wire) ok(code byte, data ...string) {
	w.t.Helper()
	require.Equal(w.t, packet{Code: 'c'}, w.ask(code, data...), strings.Join(w.transcript, "\n"))
}

// The steps of an ordinary mail, each with the reply "continue".

func (w *wire) open() {
	w.t.Helper()
	w.ok('C', z("client.example.org"), "4", "\x9c\x40", z("192.0.2.10"))
	w.ok('H', z("client.example.org"))
}

func (w *wire) envelope() {
	w.t.Helper()
	w.ok('M', z("<from@example.org>"))
	w.ok('R', z("<to@example.com>"))
}

func (w *wire) content() {
	w.t.Helper()
	w.ok('T')
	w.ok('L', z("Subject", "test"))
	w.ok('N')
	w.ok('B', "Hello\r\n")
}

// end ends the message, and gives the filter's changes and its reply.
func (w *wire) end() (changes []packet, reply packet) {
	w.t.Helper()
	w.send('E')
	for {
		p := w.reply()
		if !strings.ContainsRune("h+-2mibeqp", rune(p.Code)) {
			return changes, p
		}
		changes = append(changes, p)
	}
}

// quit ends the session.
func (w *wire) quit() {
	w.t.Helper()
	w.send('Q')
	w.ends()
}

package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

const (
	// maxPacket is the largest packet that the protocol knows (SMFIP_MDS_1M), with its command byte.
	maxPacket = 1 << 20
	// maxReceived is how much a filter may send in one conversation.
	maxReceived = 256 << 20
)

// dialer opens a filterConn and keeps it, for the client does not hand its connection out.
type dialer struct {
	timeout, limit time.Duration
	macros         macroLists
	conn           *filterConn
}

// Dial implements milter.Dialer.
func (d *dialer) Dial(network, address string) (net.Conn, error) {
	conn, err := net.DialTimeout(network, address, min(d.timeout, d.limit))
	if err != nil {
		return nil, err
	}
	d.conn = &filterConn{Conn: conn, end: time.Now().Add(d.limit), macros: d.macros}
	return d.conn, nil
}

// filterConn is the connection to the filter. It passes on whole packets that it has checked, which makes up for what the
// client of go-milter v0.10.0 does not do:
//   - it panics on a packet of no bytes, and reserves up to 512 MiB for a length that the filter only claims;
//   - it waits anew after each progress packet and keeps all changes in memory, so that a filter could hold it forever and
//     fill the memory;
//   - it does not tell which version was negotiated;
//   - it forgets the macros of every stage once the filter asks for those of one, where MTAs keep the other stages' macros;
//   - it cannot end a mail without a body chunk, which no MTA sends for an empty body.
type filterConn struct {
	net.Conn
	end      time.Time // of the conversation
	macros   macroLists
	version  uint32 // as negotiated
	received int    // bytes from the filter
	unread   []byte // the rest of the packet
}

// Read implements io.Reader.
func (c *filterConn) Read(p []byte) (int, error) {
	if len(c.unread) == 0 {
		packet, err := c.readPacket()
		if err != nil {
			return 0, explain(err)
		}
		c.unread = packet
	}
	n := copy(p, c.unread)
	c.unread = c.unread[n:]
	return n, nil
}

// readPacket reads a length and as many bytes, and returns both.
func (c *filterConn) readPacket() ([]byte, error) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c.Conn, head); err != nil {
		return nil, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxPacket {
		return nil, fmt.Errorf("the filter sent a packet of %d bytes, which is no milter packet", length)
	}
	first := c.received == 0
	if c.received += int(length); c.received > maxReceived {
		return nil, fmt.Errorf("the filter sent more than %d bytes", maxReceived)
	}
	packet := append(head, make([]byte, length)...)
	if _, err := io.ReadFull(c.Conn, packet[4:]); err != nil {
		return nil, err
	}
	if first && packet[4] == 'O' {
		return c.negotiated(packet)
	}
	return packet, nil
}

// negotiated takes the version from the filter's answer to the negotiation, and adds to the lists of macros that it asks for
// the default lists of the stages that it does not name. The answer is a length, 'O', version, actions, protocol, and then
// for each stage its number and the names in one string that ends in NUL.
func (c *filterConn) negotiated(packet []byte) ([]byte, error) {
	const fixed = 4 + 1 + 3*4
	if len(packet) < fixed {
		return packet, nil // the client refuses it
	}
	c.version = binary.BigEndian.Uint32(packet[5:])
	asked := make(map[uint32]bool)
	for rest := packet[fixed:]; len(rest) > 0; {
		end := bytes.IndexByte(rest[min(4, len(rest)):], 0)
		if end < 0 {
			return nil, errors.New("the filter sent a malformed list of macros")
		}
		asked[binary.BigEndian.Uint32(rest)] = true
		rest = rest[4+end+1:]
	}
	for stage, names := range c.macros {
		if !asked[uint32(stage)] {
			packet = binary.BigEndian.AppendUint32(packet, uint32(stage))
			packet = append(packet, strings.Join(names, " ")...)
			packet = append(packet, 0)
		}
	}
	binary.BigEndian.PutUint32(packet, uint32(len(packet)-4))
	return packet, nil
}

// emptyBody is a body chunk of no bytes, continuePacket the reply to it. The client writes a packet's head and its data apart,
// but no data equals emptyBody: it ends in NUL, or is a body's, whose last chunk ends in LF and whose others are longer.
var (
	emptyBody      = []byte{0, 0, 0, 1, 'B'}
	continuePacket = []byte{0, 0, 0, 1, 'c'}
)

// Write implements io.Writer. An empty body chunk stays here, and is answered here.
func (c *filterConn) Write(p []byte) (int, error) {
	c.unread = nil
	if bytes.Equal(p, emptyBody) {
		c.unread = continuePacket
		return len(p), nil
	}
	n, err := c.Conn.Write(p)
	return n, explain(err)
}

// SetReadDeadline and SetWriteDeadline keep to the end of the conversation.
func (c *filterConn) SetReadDeadline(t time.Time) error {
	return c.Conn.SetReadDeadline(c.deadline(t))
}

func (c *filterConn) SetWriteDeadline(t time.Time) error {
	return c.Conn.SetWriteDeadline(c.deadline(t))
}

func (c *filterConn) deadline(t time.Time) time.Time {
	if t.IsZero() || t.After(c.end) {
		return c.end
	}
	return t
}

// explain says in words how a filter broke off.
func explain(err error) error {
	for _, closed := range []error{io.EOF, io.ErrUnexpectedEOF, syscall.EPIPE, syscall.ECONNRESET} {
		if errors.Is(err, closed) {
			return fmt.Errorf("the filter closed the connection (%w)", err)
		}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("the filter did not answer in time (%w)", err)
	}
	return err
}

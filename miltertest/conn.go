package miltertest

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

const (
	// maxPacket is the largest packet that the protocol knows (SMFIP_MDS_1M), with its letter.
	maxPacket = 1<<20 + 1
	// maxReceived and maxPackets are how much a filter may send in one step.
	maxReceived = 256 << 20
	maxPackets  = 1 << 20
)

// Conn is the MTA's connection to the filter. It belongs to one goroutine.
//
// Its methods are the steps of the SMTP conversation, named as the callbacks that they reach; each waits for the filter's
// reply and gives it. They may be called in any order, since a filter should stand that too; Send does what an MTA does.
//
// If the filter does not answer in time, breaks off, or sends what the protocol does not allow, that ends the test with the
// transcript (MTA.T), or, without a test, the connection: Err says why, and every further step is answered MTA.OnFailure
// without being sent. So does a reply or a change that libmilter takes and this MTA does not; the test goes on then.
type Conn struct {
	mta        MTA
	t          test
	offer      uint32 // the actions that are offered on the wire
	conn       net.Conn
	in         *bufio.Reader
	meet       func()       // shared.Meet for a filter of this process
	failures   func() int64 // callbackFailures for a filter of this process
	failed     int64        // what that was when the connection was opened
	forget     func()       // tells the filter's test that the connection is closed
	err        error
	failure    Reply // what stands for the filter's replies once err is set
	transcript Transcript
	received   int // bytes of the filter's since the last packet to it
	packets    int // and packets

	agreed negotiation
	macros *macros
	skip   byte // the command that SMFIS_SKIP was the reply to, while it repeats
	client bool // Connect was sent
	local  bool // the mail is a Mail.Local
	final  Step // Connect or, after that, Helo: the reply to it may decide about all that the client sends
	mail   conversation
	steps  []Step // since the last mail
}

// test is MTA.T, or nothing.
type test interface {
	Helper()
	Fatalf(format string, args ...any)
	FailNow()
}

type noTest struct{}

func (noTest) Helper()               {}
func (noTest) Fatalf(string, ...any) {}
func (noTest) FailNow()              {}

// Error is the failure of a connection.
type Error struct {
	// Step is the step in which it failed: as Step.Name, or "Dial", "Negotiate", "Send" or another method of Conn.
	Step string
	// Err says why. errors.Is finds io.EOF where the filter has closed the connection, and os.ErrDeadlineExceeded where
	// it did not answer.
	Err error
}

// Error gives the step and the cause.
func (e *Error) Error() string { return e.Step + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

func newConn(mta MTA, conn net.Conn) *Conn {
	c := &Conn{mta: mta, t: noTest{}, meet: func() {}, forget: func() {}, failures: func() int64 { return 0 }, offer: uint32(mta.Actions), conn: conn, in: bufio.NewReader(conn), macros: newMacros(mta)}
	if mta.T != nil {
		c.t = mta.T
	}
	return c
}

// Err gives the first failure of the connection, an *Error.
func (c *Conn) Err() error { return c.err }

// Transcript gives the packets so far.
func (c *Conn) Transcript() Transcript { return slices.Clone(c.transcript) }

// TakeTranscript gives the packets so far and forgets them, so that a connection for many mails does not keep them all.
func (c *Conn) TakeTranscript() Transcript {
	taken := c.transcript
	c.transcript = nil
	return taken
}

// Negotiated gives what MTA and filter have agreed on: the protocol version, the actions that the filter may use, and the
// protocol bits.
func (c *Conn) Negotiated() (version int, actions milter.Action, protocol milter.Protocol) {
	return c.agreed.version, milter.Action(c.agreed.actions), milter.Protocol(c.agreed.protocol)
}

// Macro sets a macro for the steps to come: it is sent with those of its stage, or with each that has it by default if
// stage is EveryStage. See MTA.Macros.
func (c *Conn) Macro(stage milter.Stage, name, value string) { c.macros.setValue(stage, name, value) }

// Close drops the connection, in the middle of whatever it is. After Quit there is no need to.
func (c *Conn) Close() {
	c.meet()
	_ = c.conn.Close()
	c.forget()
}

// fail notes that the connection is of no more use.
func (c *Conn) fail(step string, err error) {
	c.t.Helper()
	if c.err == nil {
		c.err, c.failure = &Error{step, err}, Reply{Status: c.mta.onFailure()}
		c.Close()
	}
	c.t.Fatalf("miltertest: %v\n%v", c.err, c.transcript)
}

// giveUp is fail for what is the MTA's business alone: another MTA would go on with this filter. The test goes on, the MTA's reply
// to its client tells of it.
func (c *Conn) giveUp(step string, err error, reply Reply) Reply {
	c.err, c.failure = &Error{step, err}, c.mta.confused(Reply{})
	c.Close()
	return c.mta.confused(reply)
}

// Write sends a packet of a command and its data, whatever they are. For what the steps do not do.
func (c *Conn) Write(code byte, data ...string) {
	c.t.Helper()
	c.write("Write", code, strings.Join(data, ""))
}

// WriteBytes sends bytes as they are: half a packet, or more than one. They are not in the transcript.
func (c *Conn) WriteBytes(data []byte) {
	c.t.Helper()
	c.send("WriteBytes", data)
}

// Read waits for a packet, of whatever kind.
func (c *Conn) Read() Packet {
	c.t.Helper()
	return c.read("Read", time.Now().Add(c.mta.timeout()))
}

// WaitClosed waits for the filter to close the connection, without another word.
func (c *Conn) WaitClosed() {
	c.t.Helper()
	c.waitClosed("WaitClosed")
}

func (c *Conn) waitClosed(step string) {
	c.t.Helper()
	if c.err != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(c.mta.timeout()))
	p, err := c.readPacket()
	c.meet()
	switch {
	case err == nil:
		c.transcript = append(c.transcript, p)
		c.fail(step, fmt.Errorf("the filter did not close the connection but sent %v", p))
	case err != io.EOF: // also one in the middle of a packet
		c.fail(step, fmt.Errorf("the filter did not close the connection: %w", err))
	}
	c.Close()
	c.failIfCallbackDid()
}

// failIfCallbackDid ends the test if one of its callbacks has failed for good since the connection was opened.
func (c *Conn) failIfCallbackDid() {
	c.t.Helper()
	if c.failures() > c.failed {
		c.t.FailNow()
	}
}

func (c *Conn) write(step string, code byte, data string) {
	c.t.Helper()
	if c.err != nil {
		return
	}
	c.transcript = append(c.transcript, Packet{true, code, data})
	c.send(step, frame(code, data))
}

func (c *Conn) send(step string, data []byte) {
	c.t.Helper()
	if c.err != nil {
		return
	}
	c.received, c.packets = 0, 0
	c.meet()
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.mta.timeout()))
	if _, err := c.conn.Write(data); err != nil {
		c.fail(step, explain(closed(err)))
	}
}

// read waits for a packet until the deadline. A connection that has failed gives none: the zero Packet.
func (c *Conn) read(step string, deadline time.Time) Packet {
	c.t.Helper()
	if c.err != nil {
		return Packet{}
	}
	_ = c.conn.SetReadDeadline(deadline)
	p, err := c.readPacket()
	c.meet()
	if err != nil {
		c.fail(step, explain(err))
		return Packet{}
	}
	c.transcript = append(c.transcript, p)
	c.packets++
	if c.received += len(p.Data); c.received > maxReceived || c.packets > maxPackets {
		c.fail(step, fmt.Errorf("the filter sent %d packets of %d bytes in all, and no end of it", c.packets, c.received))
		return Packet{}
	}
	return p
}

func (c *Conn) readPacket() (Packet, error) {
	head := make([]byte, 4)
	if n, err := io.ReadFull(c.in, head); err != nil {
		if n > 0 {
			err = fmt.Errorf("in the middle of a packet: %w", closed(err))
		}
		return Packet{}, closed(err)
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxPacket {
		return Packet{}, fmt.Errorf("the filter sent a packet of %d bytes, which is no milter packet", length)
	}
	packet := make([]byte, length)
	if _, err := io.ReadFull(c.in, packet); err != nil {
		return Packet{}, fmt.Errorf("in the middle of a packet: %w", closed(err))
	}
	return Packet{Code: packet[0], Data: string(packet[1:])}, nil
}

// closed makes io.EOF of all ways in which a connection can be gone.
func closed(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) {
		return io.EOF
	}
	return err
}

// explain says what a failed read or write means.
func explain(err error) error {
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Errorf("the filter did not answer in time: %w", os.ErrDeadlineExceeded)
	case errors.Is(err, io.EOF), errors.Is(err, syscall.EPIPE):
		return fmt.Errorf("the filter closed the connection: %w", io.EOF)
	}
	return err
}

// Negotiate is the step of xxfi_negotiate, for a connection of MTA.Open: MTA and filter agree on what is used.
func (c *Conn) Negotiate() {
	const step = "Negotiate"
	c.t.Helper()
	offered := negotiation{c.mta.Version, uint32(c.mta.Actions), uint32(c.mta.Protocol)}
	c.transcript = append(c.transcript, Packet{true, cmdNegotiate, offered.data()})
	onWire := offered
	onWire.actions = c.offer
	c.send(step, frame(cmdNegotiate, onWire.data()))
	p := c.read(step, time.Now().Add(c.mta.timeout()))
	if c.err != nil {
		return
	}
	if p.Code != cmdNegotiate || len(p.Data) < 12 {
		c.fail(step, fmt.Errorf("the filter answered what is no negotiation: %v", p))
		return
	}
	c.agreed = parseNegotiation(p.Data)
	if err := c.agreed.check(offered); err != nil {
		c.fail(step, err)
		return
	}
	if err := c.macros.ask(p.Data[12:]); err != nil {
		c.fail(step, err)
	}
}

// check tells whether an MTA can do what the filter answered.
func (n negotiation) check(offered negotiation) error {
	if offered.actions == 0 {
		offered.actions = version1Actions
	}
	if offered.protocol == 0 {
		offered.protocol = version1Protocol
	}
	switch {
	case n.version < 2 || n.version > offered.version:
		return fmt.Errorf("the filter speaks protocol version %d, the MTA 2 to %d", n.version, offered.version)
	case n.actions&^offered.actions != 0:
		return fmt.Errorf("the filter asks for %v, which the MTA does not offer", milter.Action(n.actions&^offered.actions))
	case n.protocol&^offered.protocol != 0:
		return fmt.Errorf("the filter asks for %v, which the MTA does not offer", milter.Protocol(n.protocol&^offered.protocol))
	}
	return nil
}

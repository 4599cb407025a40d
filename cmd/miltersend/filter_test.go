package main

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	milter.LogWarning = func(string, ...any) {} // the filters below break off on purpose
	os.Exit(m.Run())
}

// fakeFilter is the backend of a real milter server. It records what it is sent.
type fakeFilter struct {
	milter.NoOpMilter
	replies map[string]*milter.Response                 // by step, or by step and what it is about; the rest continue
	breaks  string                                      // the step at which it closes the connection
	change  func(m milter.Modifier) error               // at end of message
	macros  func(m milter.Modifier, step string) string // recorded with each step
	aborted chan struct{}                               // has room for one

	mu     sync.Mutex
	events []string
}

func (f *fakeFilter) on(m milter.Modifier, step, about string) (*milter.Response, error) {
	event := strings.TrimSuffix(step+" "+about, " ")
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.macros != nil {
		event += f.macros(m, step)
	}
	f.events = append(f.events, event)
	if f.breaks == step {
		return nil, io.ErrClosedPipe
	}
	for _, key := range []string{step + " " + about, step} {
		if reply, ok := f.replies[key]; ok {
			return reply, nil
		}
	}
	return milter.RespContinue, nil
}

func (f *fakeFilter) seen() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.events
}

func (f *fakeFilter) Connect(host, family string, port uint16, addr string, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "connect", strings.Join([]string{host, family, addr}, " "))
}

func (f *fakeFilter) Helo(name string, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "helo", name)
}

func (f *fakeFilter) MailFrom(from, args string, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "mail", strings.TrimSpace(from+" "+args))
}

func (f *fakeFilter) RcptTo(rcpt, args string, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "rcpt", strings.TrimSpace(rcpt+" "+args))
}

func (f *fakeFilter) Data(m milter.Modifier) (*milter.Response, error) { return f.on(m, "data", "") }

func (f *fakeFilter) Header(name, value string, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "header", name+"="+value)
}

func (f *fakeFilter) Headers(m milter.Modifier) (*milter.Response, error) { return f.on(m, "eoh", "") }

func (f *fakeFilter) BodyChunk(chunk []byte, m milter.Modifier) (*milter.Response, error) {
	return f.on(m, "body", string(chunk))
}

func (f *fakeFilter) EndOfMessage(m milter.Modifier) (*milter.Response, error) {
	if f.change != nil {
		if err := f.change(m); err != nil {
			return nil, err
		}
	}
	return f.on(m, "eom", "")
}

func (f *fakeFilter) Abort(milter.Modifier) error {
	if f.aborted != nil {
		f.aborted <- struct{}{}
	}
	return nil
}

// serve runs the filter until the test ends and returns its address.
func (f *fakeFilter) serve(t *testing.T, opts ...milter.Option) string {
	t.Helper()
	listener, addr := listen(t)
	f.serveOn(t, listener, opts...)
	return addr
}

func (f *fakeFilter) serveOn(t *testing.T, listener net.Listener, opts ...milter.Option) {
	server := milter.NewServer(append([]milter.Option{
		milter.WithMilter(func() milter.Milter { return f }),
		milter.WithActions(milter.AllClientSupportedActionMasks),
	}, opts...)...)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
}

func listen(t *testing.T) (net.Listener, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "f")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	return listener, "unix:" + path
}

// serveRaw runs a filter that is written out in bytes, for one connection.
func serveRaw(t *testing.T, filter func(conn net.Conn)) string {
	t.Helper()
	var used atomic.Bool
	return serveEach(t, func(conn net.Conn) {
		if !used.Swap(true) {
			filter(conn)
		}
	})
}

// serveEach runs such a filter for each connection, until the test ends.
func serveEach(t *testing.T, filter func(conn net.Conn)) string {
	t.Helper()
	listener, addr := listen(t)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer conn.Close()
				filter(conn)
			})
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		all.Wait()
	})
	return addr
}

// readPackets reads packets up to the first of that command, or to the end of the connection.
func readPackets(conn net.Conn, command byte) {
	for head := make([]byte, 5); ; {
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))-1); err != nil || head[4] == command {
			return
		}
	}
}

// packet is data with its length before it.
func packet(data string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...)
}

// asksNothing is the answer to the negotiation of a filter of version 6 that asks for nothing.
var asksNothing = packet("O\x00\x00\x00\x06\x00\x00\x00\x00\x00\x00\x00\x00")

// left is what a run of the command left behind.
type left struct {
	status         int
	stdout, stderr string
}

// sendMail runs the command with the mail on standard input.
func sendMail(mail, addr string, args ...string) left {
	var stdout, stderr bytes.Buffer
	args = append([]string{"-addr", addr}, args...)
	status := run(args, strings.NewReader(mail), &stdout, &stderr)
	return left{status, stdout.String(), stderr.String()}
}

// reply is a filter's SMTP reply.
func reply(t *testing.T, code uint16, text string) *milter.Response {
	t.Helper()
	r, err := milter.RejectWithCodeAndReason(code, text)
	require.NoError(t, err)
	return r
}

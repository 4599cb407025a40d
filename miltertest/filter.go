package miltertest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/internal/shared"
)

// Filter is a filter that runs for one test.
type Filter struct {
	// Server is the filter's, for its Stats, or to Shutdown in mid-test. Sessions that it cuts off are answered
	// SMFIS_TEMPFAIL; where libmilter has a pool of workers, an MTA would get no answer.
	Server *milter.Server

	owner testing.TB // whom it was started for
	t     testing.TB // whom connections are for
	mta   MTA
	conns *openConns
}

// stopping is how long sessions may take to end when a test does.
const stopping = 10 * time.Second

// Start runs a filter with these callbacks, which may make these changes, until the test ends.
func Start(t testing.TB, actions milter.Action, callbacks milter.Callbacks) *Filter {
	t.Helper()
	return StartServer(t, &milter.Server{Actions: actions, Callbacks: callbacks})
}

// StartServer runs a filter until the test ends. The server's fields are used as ListenAndServe uses them, but for those
// that libmilter keeps once for the process: Addr, Name, Timeout, Backlog, MaxDataSize, Debug, RemoveSocket and
// SocketMode. A nil Logger is the test's log.
//
// The test fails if a session is still open 10 seconds after its end: one whose callback does not return.
func StartServer(t testing.TB, srv *milter.Server) *Filter {
	t.Helper()
	if err := listening(); err != nil {
		t.Fatalf("miltertest: libmilter does not start in the test's process, where it must be alone: %v", err)
	}
	if srv.Logger == nil {
		srv.Logger = testLogger(t)
	}
	if err := shared.Join(srv); err != nil {
		t.Fatalf("miltertest: %v", err)
	}
	f := &Filter{Server: srv, owner: t, t: t, mta: Postfix()}
	t.Cleanup(f.stop)
	f.conns = openConnsOf(t)
	return f
}

func (f *Filter) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), stopping)
	defer cancel()
	if err := f.Server.Shutdown(ctx); errors.Is(err, context.DeadlineExceeded) {
		f.t.Errorf("miltertest: a callback has not returned %v after the test's end: %v", stopping, err)
	}
}

// With gives the same filter as seen by another MTA than Postfix(), which Connect, Dial and Send use by default.
func (f *Filter) With(mta MTA) *Filter {
	other := *f
	other.mta = mta
	return &other
}

// For gives the same filter for a subtest: what goes wrong ends that, not its parent.
//
//	t.Run(name, func(t *testing.T) {
//		result := f.For(t).Send(mail)
func (f *Filter) For(t testing.TB) *Filter {
	other := *f
	other.t, other.conns = t, openConnsOf(t)
	return &other
}

// Connect connects to the filter and negotiates. What goes wrong on the connection ends the test. The test's end closes it.
func (f *Filter) Connect() *Conn {
	f.t.Helper()
	mta := f.mta
	mta.T = f.t
	c, _ := f.dial(mta)
	return c
}

// Dial is Connect for a connection that is to fail: the error says how it did, and nothing ends the test.
func (f *Filter) Dial() (*Conn, error) {
	f.t.Helper()
	mta := f.mta
	mta.T = nil
	return f.dial(mta)
}

// Send connects, sends a mail, ends the session, and gives what has become of the mail. The session's callbacks, Close
// included, have returned then.
func (f *Filter) Send(mail Mail) *Result {
	f.t.Helper()
	c := f.Connect()
	result := c.Send(mail)
	c.Quit()
	return result
}

// Wait waits until no session is open: every Close callback has returned. Quit and Send see to that for their session.
func (f *Filter) Wait() {
	f.t.Helper()
	defer shared.Meet(f.Server)
	for deadline := time.Now().Add(f.mta.timeout()); f.Server.Stats().SessionsOpen > 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			f.t.Fatalf("miltertest: %d sessions are still open", f.Server.Stats().SessionsOpen)
		}
	}
}

func (f *Filter) dial(mta MTA) (*Conn, error) {
	f.t.Helper()
	c, err := mta.open(host.dial)
	if err != nil {
		return nil, err
	}
	f.conns.add(c)
	offer, cancel := shared.Expect(f.Server, uint32(mta.Actions))
	defer cancel()
	c.offer = offer
	c.meet = func() { shared.Meet(f.Server) }
	c.failures = func() int64 { return callbackFailures(f.tests()...) }
	c.failed = c.failures()
	c.Negotiate()
	return c, c.err
}

// tests gives the tests whose callbacks a connection may reach.
func (f *Filter) tests() []testing.TB {
	if f.t == f.owner {
		return []testing.TB{f.t}
	}
	return []testing.TB{f.t, f.owner}
}

// openConns are a test's connections that are open, to be closed at its end.
type openConns struct {
	mu   sync.Mutex
	open map[*Conn]struct{}
}

func openConnsOf(t testing.TB) *openConns {
	o := &openConns{open: map[*Conn]struct{}{}}
	t.Cleanup(o.close)
	return o
}

func (o *openConns) add(c *Conn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open[c] = struct{}{}
	c.forget = func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.open, c)
	}
}

func (o *openConns) close() {
	o.mu.Lock()
	open := o.open
	o.open = map[*Conn]struct{}{}
	o.mu.Unlock()
	for c := range open {
		c.Close()
	}
}

// host is the libmilter of this process, once it runs.
var host struct {
	once sync.Once
	dial func() (net.Conn, error)
	err  error
}

// listening starts libmilter, if it does not run yet, on a socket that nobody else can reach.
func listening() error {
	host.once.Do(func() {
		dir, err := os.MkdirTemp("", "miltertest")
		if err != nil {
			host.err = err
			return
		}
		host.dial, host.err = shared.Listen(filepath.Join(dir, "s"))
		if host.err != nil || runtime.GOOS == "linux" { // elsewhere the path is the only way to the socket
			_ = os.RemoveAll(dir)
		}
	})
	return host.err
}

// testLogger writes to the test's log, as long as there is one.
func testLogger(t testing.TB) *slog.Logger {
	w := &testWriter{t: t}
	t.Cleanup(w.end)
	return slog.New(slog.NewTextHandler(w, &slog.HandlerOptions{ReplaceAttr: func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
}

type testWriter struct {
	mu    sync.Mutex
	t     testing.TB
	ended bool
}

func (w *testWriter) Write(line []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended {
		return 0, fmt.Errorf("the test has ended")
	}
	w.t.Log(strings.TrimRight(string(line), "\n"))
	return len(line), nil
}

func (w *testWriter) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ended = true
}

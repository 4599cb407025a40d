//go:build cgo

package milter_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// What the parent tells the filter's process.
const (
	envFilter = "MILTER_TEST_FILTER" // the filter's name, in filters
	envAddr   = "MILTER_TEST_ADDR"
	envArg    = "MILTER_TEST_ARG" // for the filter to make sense of
)

// waitLong is how long a test waits for what must come; nothing is proven by it having come quickly.
const waitLong = 20 * time.Second

// filters are the filters that tests can start, by name. register fills it.
var filters = map[string]func(e *child) *milter.Server{}

// register adds a filter, in a variable declaration beside the test that uses it.
func register(name string, f func(e *child) *milter.Server) string {
	if filters[name] != nil {
		panic("two filters of the name " + name)
	}
	filters[name] = f
	return name
}

// event is what a filter's process reports to the test: a line of JSON.
type event struct {
	Session uint64   `json:",omitempty"`
	Name    string   // the callback, or another word that test and filter agree on
	Args    []string `json:",omitempty"`
}

// child is the filter's side.
type child struct {
	addr, arg string
	srv       *milter.Server

	mu     sync.Mutex
	events *json.Encoder
}

func (e *child) emit(session uint64, name string, args ...any) {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = fmt.Sprint(arg)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if err := e.events.Encode(event{session, name, texts}); err != nil {
		panic(err)
	}
}

// logger reports each log record as an event.
func (e *child) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(writerFunc(func(line []byte) (int, error) {
		e.emit(0, "log", string(line))
		return len(line), nil
	}), nil))
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

// runFilter is the main function of a filter's process: it serves until SIGUSR1, then shuts down, and fails if
// anything is left. SIGTERM and its like are the filter's own.
func runFilter(name string) int {
	go exitWithParent()
	e := &child{addr: os.Getenv(envAddr), arg: os.Getenv(envArg), events: json.NewEncoder(os.NewFile(3, "events"))}
	srv := filters[name](e)
	if srv == nil { // it did it all itself
		return 0
	}
	e.srv = srv
	if srv.Addr == "" {
		srv.Addr = e.addr
	}
	if srv.Logger == nil {
		srv.Logger = e.logger()
	}
	down := make(chan os.Signal, 1)
	signal.Notify(down, syscall.SIGUSR1)
	ended := make(chan error, 1)
	go func() {
		<-down
		ctx, cancel := context.WithTimeout(context.Background(), waitLong)
		defer cancel()
		ended <- srv.Shutdown(ctx)
	}()
	err := srv.ListenAndServe()
	if errors.Is(err, milter.ErrServerClosed) {
		err = <-ended
	}
	if err == nil {
		err = leftovers()
	}
	e.emit(0, "ended", err, fmt.Sprintf("%+v", srv.Stats()))
	if err != nil {
		return 1
	}
	return 0
}

// exitWithParent ends the process when the test's has ended, however that came: it has the other end of standard input.
func exitWithParent() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// process is a running filter, as the test sees it.
type process struct {
	t      testing.TB
	Addr   string // as smfi_setconn takes it
	cmd    *exec.Cmd
	output *bytes.Buffer

	mu     sync.Mutex
	seen   []event
	news   *sync.Cond
	closed bool // no more events will come
	gone   chan struct{}
}

type option func(*process)

func withArg(arg string) option {
	return func(p *process) { p.cmd.Env = append(p.cmd.Environ(), envArg+"="+arg) }
}

func withAddr(addr string) option {
	return func(p *process) { p.Addr = addr }
}

// tempDir is a folder that any user can reach, with a path short enough for a unix socket.
func tempDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "milter")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o777))
	return dir
}

// spawn starts a filter's process and returns at once.
func spawn(t testing.TB, name string, options ...option) *process {
	require.Contains(t, filters, name)
	p := newProcess(t, exec.Command(os.Args[0]), "unix:"+filepath.Join(tempDir(t), "s"))
	for _, option := range options {
		option(p)
	}
	p.cmd.Env = append(p.cmd.Environ(), envFilter+"="+name, envAddr+"="+p.Addr)
	p.run()
	return p
}

// startProgram starts another program that is a filter, with the arguments that args makes of an address.
func startProgram(t testing.TB, program string, args func(addr string) []string) *process {
	addr := "unix:" + filepath.Join(tempDir(t), "s")
	p := newProcess(t, exec.Command(program, args(addr)...), addr)
	p.run()
	p.awaitSocket()
	return p
}

func newProcess(t testing.TB, cmd *exec.Cmd, addr string) *process {
	p := &process{t: t, Addr: addr, cmd: cmd, output: new(bytes.Buffer), gone: make(chan struct{})}
	p.news = sync.NewCond(&p.mu)
	return p
}

func (p *process) run() {
	t := p.t
	p.cmd.Env = append(p.cmd.Environ(), "GORACE=atexit_sleep_ms=0 "+os.Getenv("GORACE")) // the default is a second
	p.cmd.Stdout, p.cmd.Stderr = p.output, p.output
	_, err := p.cmd.StdinPipe() // see exitWithParent
	require.NoError(t, err)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.ExtraFiles = append([]*os.File{write}, p.cmd.ExtraFiles...)
	require.NoError(t, p.cmd.Start())
	_ = write.Close()
	go p.collect(read)
	t.Cleanup(p.kill)
}

// start starts a filter's process and waits until the MTA can reach it.
func start(t testing.TB, name string, options ...option) *process {
	p := spawn(t, name, options...)
	p.awaitSocket()
	return p
}

func (p *process) collect(events io.ReadCloser) {
	defer events.Close()
	lines := bufio.NewReader(events)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			break
		}
		var e event
		if err := json.Unmarshal(line, &e); err != nil {
			panic(err)
		}
		p.mu.Lock()
		p.seen = append(p.seen, e)
		p.news.Broadcast()
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
	p.mu.Lock()
	p.closed = true
	p.news.Broadcast()
	p.mu.Unlock()
	close(p.gone)
}

// awaitSocket waits until the kernel takes connections at the address, without making one.
func (p *process) awaitSocket() {
	network, addr := dialAddr(p.t, p.Addr)
	deadline := time.Now().Add(waitLong)
	for !listening(network, addr) {
		select {
		case <-p.gone:
			p.t.Fatalf("the filter ended before it served: %v\n%s", p.events(), p.output)
		case <-time.After(time.Millisecond):
		}
		require.True(p.t, time.Now().Before(deadline), "the filter does not listen on %s", p.Addr)
	}
}

// events are all that have come so far.
func (p *process) events() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]event(nil), p.seen...)
}

// await waits for an event that satisfies want, and gives the first.
func (p *process) await(what string, want func(event) bool) event {
	p.t.Helper()
	timeout := time.AfterFunc(waitLong, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.closed = true
		p.news.Broadcast()
	})
	defer timeout.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; ; {
		for ; i < len(p.seen); i++ {
			if want(p.seen[i]) {
				return p.seen[i]
			}
		}
		if p.closed {
			p.t.Fatalf("no event %s in %d events: %v", what, len(p.seen), p.seen)
		}
		p.news.Wait()
	}
}

// awaitName waits for the first event of a name.
func (p *process) awaitName(name string) event {
	p.t.Helper()
	return p.await(name, func(e event) bool { return e.Name == name })
}

// named gives the events of a name that have come so far.
func (p *process) named(name string) (found []event) {
	for _, e := range p.events() {
		if e.Name == name {
			found = append(found, e)
		}
	}
	return found
}

// stop has the filter shut down and requires that it leaves nothing behind.
func (p *process) stop() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGUSR1))
	p.awaitExit()
	require.True(p.t, p.cmd.ProcessState.Success(), "filter ended with %v\n%v\n%s", p.cmd.ProcessState, p.events(), p.output)
}

func (p *process) awaitExit() {
	p.t.Helper()
	select {
	case <-p.gone:
	case <-time.After(2 * waitLong):
		p.dump()
		p.t.Fatalf("the filter does not end\n%v\n%s", p.events(), p.output)
	}
}

// dump ends a filter that is stuck, in the way that has it print its stacks.
func (p *process) dump() {
	_ = p.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-p.gone:
	case <-time.After(waitLong):
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
}

func (p *process) kill() {
	select {
	case <-p.gone:
	default:
		if p.t.Failed() {
			p.dump()
			break
		}
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
	if p.t.Failed() {
		p.t.Logf("events of the filter: %v\noutput:\n%s", p.events(), p.output)
	}
}

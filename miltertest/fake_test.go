package miltertest_test

import (
	"fmt"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// fakeT is a test inside a test, which may fail.
type fakeT struct {
	testing.TB
	mu       sync.Mutex
	lines    []string
	failed   bool
	ended    bool // by Fatal and the like
	cleanups []func()
}

// try runs a test that may fail, to its end, its clean-up included.
func try(t *testing.T, test func(t testing.TB)) *fakeT {
	f := &fakeT{TB: t}
	f.run(func() { test(f) })
	for _, cleanup := range slices.Backward(f.cleanups) {
		f.run(cleanup)
	}
	return f
}

// run calls f on a goroutine of its own, which it may end.
func (f *fakeT) run(test func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		test()
	}()
	<-done
}

func (f *fakeT) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.lines, "\n")
}

func (f *fakeT) note(failed bool, text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = f.failed || failed
	f.lines = append(f.lines, text)
}

func (f *fakeT) Helper() {}
func (f *fakeT) Cleanup(cleanup func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.cleanups = append(f.cleanups, cleanup)
}
func (f *fakeT) Log(args ...any)              { f.note(false, fmt.Sprint(args...)) }
func (f *fakeT) Error(args ...any)            { f.note(true, fmt.Sprint(args...)) }
func (f *fakeT) Errorf(text string, a ...any) { f.note(true, fmt.Sprintf(text, a...)) }
func (f *fakeT) Fail()                        { f.note(true, "Fail") }
func (f *fakeT) Fatal(args ...any)            { f.Error(args...); f.FailNow() }
func (f *fakeT) Fatalf(text string, a ...any) { f.Errorf(text, a...); f.FailNow() }
func (f *fakeT) FailNow() {
	f.mu.Lock()
	f.failed, f.ended = true, true
	f.mu.Unlock()
	runtime.Goexit()
}

// peer is a filter by hand: it takes one connection and does with it what serve does.
func peer(t *testing.T, serve func(conn net.Conn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	go func() {
		defer close(done)
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		serve(conn)
	}()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return "inet:" + port + "@127.0.0.1"
}

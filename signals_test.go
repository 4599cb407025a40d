//go:build cgo

package milter_test

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// ownSignals are those that libmilter would take for itself.
var ownSignals = map[string]syscall.Signal{"hangup": syscall.SIGHUP, "terminated": syscall.SIGTERM, "interrupt": syscall.SIGINT}

// signalled reports each of ownSignals that os/signal has seen, with its number of the kind.
var signalled = register("signalled", func(e *child) *milter.Server {
	stop := told()
	ctx, cancel := context.WithTimeout(context.Background(), 10*waitLong)
	defer cancel()
	var wg sync.WaitGroup
	for _, sig := range ownSignals {
		c := make(chan os.Signal, 16)
		signal.Notify(c, sig)
		wg.Go(func() {
			for n := 1; ; n++ {
				select {
				case seen := <-c:
					e.emit(0, "signal", seen, n)
				case <-ctx.Done():
					return
				}
			}
		})
	}
	srv := &milter.Server{Callbacks: recorder(e)}
	srv.Addr = e.addr
	wg.Go(func() {
		select {
		case <-stop:
			e.emit(0, "shutdown", srv.Shutdown(ctx))
		case <-ctx.Done():
		}
	})
	e.emit(0, "served", srv.ListenAndServe()) // in the main goroutine, as most programs do
	cancel()
	wg.Wait()
	e.emit(0, "leftovers", leftovers())
	return nil
})

// signalSeen waits for the nth signal of a kind, from any goroutine, and tells whether it came.
func (p *process) signalSeen(kind string, n int) bool {
	deadline := time.Now().Add(waitLong)
	timeout := time.AfterFunc(waitLong, p.news.Broadcast)
	defer timeout.Stop()
	want := fmt.Sprint([]string{kind, strconv.Itoa(n)})
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := 0; ; p.news.Wait() {
		for ; i < len(p.seen); i++ {
			if p.seen[i].Name == "signal" && fmt.Sprint(p.seen[i].Args) == want {
				return true
			}
		}
		if p.closed || !time.Now().Before(deadline) {
			return false
		}
	}
}

// Each signal reaches os/signal, however many come, while libmilter has a thread that waits for the same ones.
func TestSignalsReachGo(t *testing.T) {
	t.Parallel()
	const each = 200
	p := start(t, signalled)
	w := p.fragile()
	w.Negotiate()
	w.open()
	w.mail()
	stop := make(chan struct{})
	mails := make(chan int)
	go func() { // mails run all the while
		n := 0
		defer func() { mails <- n }()
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, reply := range []miltertest.Reply{w.MailFrom("<from@example.org>"), w.RcptTo("<to@example.com>"), w.Data(), w.Header("A", "b"), w.EOH(), w.EOM().Reply} {
				if reply.Status != milter.SMFIS_CONTINUE {
					return
				}
			}
			n++
		}
	}()
	var wg sync.WaitGroup
	for kind, sig := range ownSignals {
		wg.Go(func() {
			for n := range each {
				// Signals of a kind that is pending already are one: each waits for the one before.
				if !assert.NoError(t, p.cmd.Process.Signal(sig)) || !assert.True(t, p.signalSeen(kind, n+1), "%s %d", kind, n+1) {
					return
				}
			}
		})
	}
	wg.Wait()
	close(stop)
	assert.Positive(t, <-mails)
	require.Len(t, p.named("signal"), each*len(ownSignals), "%v", p.named("served"))

	w.mail() // the filter serves on: those who are there, and new ones
	w.Quit()
	assert.NoError(t, w.Err())
	w = p.session()
	w.open()
	w.mail()
	w.Quit()
	p.tell()
	p.exits()
	assert.Equal(t, []string{"<nil>"}, p.awaitName("shutdown").Args)
	assert.Equal(t, []string{"milter: server closed"}, p.awaitName("served").Args)
	assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
	assert.Len(t, p.named("signal"), each*len(ownSignals))
}

// The kernel gives a signal to a process's main thread if that does not block it, and so to Go: smfi_main, which blocks
// signals where it runs, must run on another.
func TestSignalsMainThread(t *testing.T) {
	t.Parallel()
	var want uint64
	for _, sig := range ownSignals {
		want |= 1 << (sig - 1)
	}
	for i := range 20 { // which thread a goroutine runs on is the scheduler's choice
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			p := start(t, signalled)
			p.session().Quit() // libmilter's threads are there
			blocked := blockedSignals(t, p.cmd.Process.Pid)
			assert.Zero(t, blocked[p.cmd.Process.Pid]&want, "the main thread blocks %#x", blocked[p.cmd.Process.Pid])
			some := 0
			for _, mask := range blocked {
				if mask&want == want {
					some++
				}
			}
			assert.GreaterOrEqual(t, some, 2, "smfi_main's thread and libmilter's own: %x", blocked)
			p.tell()
			p.exits()
			assert.Equal(t, []string{"<nil>"}, p.awaitName("shutdown").Args)
		})
	}
}

// blockedSignals reads the signal mask of each thread, as the kernel knows it.
func blockedSignals(t *testing.T, pid int) map[int]uint64 {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	blocked := map[int]uint64{}
	for _, file := range files {
		status, err := os.ReadFile(file)
		if err != nil {
			continue // a thread that has ended
		}
		tid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		require.NoError(t, err)
		for line := range strings.Lines(string(status)) {
			if hex, ok := strings.CutPrefix(line, "SigBlk:"); ok {
				mask, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
				require.NoError(t, err)
				blocked[tid] = mask
			}
		}
	}
	require.Contains(t, blocked, pid)
	return blocked
}

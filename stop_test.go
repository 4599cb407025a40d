//go:build cgo

package milter_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// serving runs a server in a filter that stops it in its own way.
func (e *child) serving(srv *milter.Server) (result <-chan error) {
	if srv.Addr == "" {
		srv.Addr = e.addr
	}
	if srv.Logger == nil {
		srv.Logger = e.logger()
	}
	c := make(chan error, 1)
	go func() { c <- srv.ListenAndServe() }()
	return c
}

// told gives the test's SIGUSR1 to a filter that stops in its own way. It must be called before the server listens.
func told() <-chan os.Signal {
	c := make(chan os.Signal, 16)
	signal.Notify(c, syscall.SIGUSR1)
	return c
}

// tell sends a filter the signal that it stops on.
func (p *process) tell() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGUSR1))
}

// exits waits for a filter that has stopped in its own way.
func (p *process) exits() {
	p.t.Helper()
	p.awaitExit()
	require.True(p.t, p.cmd.ProcessState.Success(), "%v\n%v\n%s", p.cmd.ProcessState, p.events(), p.output)
}

// everyAddress are addresses of each kind that this libmilter has.
func everyAddress(t testing.TB) map[string]func() string {
	kinds := map[string]func() string{
		"unix":      func() string { return "unix:" + filepath.Join(tempDir(t), "s") },
		"inet":      func() string { return fmt.Sprintf("inet:%d@127.0.0.1", freePort(t, "127.0.0.1")) },
		"inet6":     func() string { return fmt.Sprintf("inet6:%d@[::1]", freePort(t, "::1")) },
		"fd (unix)": func() string { return "unix:" + filepath.Join(tempDir(t), "s") },
		"fd (inet)": func() string { return fmt.Sprintf("inet:%d@127.0.0.1", freePort(t, "127.0.0.1")) },
	}
	if withoutFD() {
		delete(kinds, "fd (unix)")
		delete(kinds, "fd (inet)")
	}
	return kinds
}

// startKind starts a filter on an address of everyAddress.
func startKind(t testing.TB, filter, kind, addr string, options ...option) *process {
	if strings.HasPrefix(kind, "fd") {
		p := startFD(t, filter, addr, options...)
		// The socket listened before the filter was there: when this conversation is over, it is.
		p.session().Quit()
		return p
	}
	return start(t, filter, append(options, withAddr(addr))...)
}

// idle stops by itself when it is told.
var idle = register("idle", func(e *child) *milter.Server {
	stop := told()
	srv := &milter.Server{Callbacks: recorder(e)}
	result := e.serving(srv)
	<-stop
	var err error
	if e.arg == "close" {
		err = srv.Close()
	} else {
		ctx, cancel := context.WithTimeout(context.Background(), waitLong)
		defer cancel()
		err = srv.Shutdown(ctx)
	}
	e.emit(0, "stopped", err, <-result)
	e.emit(0, "leftovers", leftovers())
	return nil
})

// withEndlessPoll has libmilter's listener never look by itself whether it is to stop.
func withEndlessPoll(t testing.TB) option {
	library := filepath.Join(tempDir(t), "poll.so")
	out, err := exec.Command("gcc", "-std=c17", "-shared", "-fPIC", "-o", library, "test/endless/poll.c", "-ldl").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return func(p *process) { p.cmd.Env = append(p.cmd.Environ(), "LD_PRELOAD="+library) }
}

// An idle server stops at once, not when libmilter next looks, which it does every five seconds, and here never.
func TestStopIdle(t *testing.T) {
	t.Parallel()
	endless := withEndlessPoll(t)
	for kind, addr := range everyAddress(t) {
		for _, how := range []string{"shutdown", "close"} {
			for _, worked := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%s/%t", kind, how, worked), func(t *testing.T) {
					t.Parallel()
					p := startKind(t, idle, kind, addr(), withArg(how), endless)
					if worked { // idle again
						w := p.session()
						w.open()
						w.mail()
						w.Quit()
						mail := p.awaitName("eom").Session
						p.await("close of the mail's session", func(e event) bool { return e.Name == "close" && e.Session == mail })
					}
					p.tell()
					p.exits()
					assert.Equal(t, []string{"<nil>", "milter: server closed"}, p.awaitName("stopped").Args)
					assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
				})
			}
		}
	}
}

// awaitRefusal waits until a server that has been told to stop lets nobody in any more.
func (p *process) awaitRefusal(kind string) {
	p.t.Helper()
	deadline := time.Now().Add(waitLong)
	for {
		require.True(p.t, time.Now().Before(deadline), "the filter still lets new connections in")
		if kind == "unix" {
			if _, err := os.Lstat(strings.TrimPrefix(p.Addr, "unix:")); os.IsNotExist(err) {
				return
			}
			time.Sleep(time.Millisecond)
			continue
		}
		w := p.fragile()
		w.Negotiate()
		if w.Err() != nil {
			require.ErrorIs(p.t, w.Err(), io.EOF)
			return
		}
		w.Quit()
		require.NoError(p.t, w.Err())
	}
}

// What is in the middle of a mail when Shutdown comes is answered to its end, and new connections are refused.
func TestStopDrains(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := startKind(t, recording, kind, addr())
			silent := p.connect() // has connected, and says nothing yet
			w, late := p.session(), p.session()
			w.open()
			w.envelope()
			p.tell()
			p.awaitRefusal(kind)

			w.content()
			assert.Equal(t, packets{reply('c')}, w.end())
			w.mail() // and another one on the same connection
			late.open()
			late.mail()
			late.Quit()
			network, target := dialAddr(p.t, p.Addr)
			if kind == "unix" {
				_, err := net.Dial(network, target)
				assert.ErrorIs(t, err, os.ErrNotExist)
				// It connected while the path was there.
				silent.Negotiate()
				silent.open()
				silent.mail()
				silent.Quit()
			} else {
				silent.Write('O', optneg(6, allActions, allProtocol))
				silent.WaitClosed()
			}
			assert.Empty(t, p.named("ended"), "a session is open")
			w.Quit()
			p.exits()
			assert.Equal(t, "<nil>", p.awaitName("ended").Args[0])
			assert.Contains(t, p.awaitName("ended").Args[1], "SessionsOpen:0")
			assert.Contains(t, p.awaitName("ended").Args[1], "SessionsCutOff:0")
			assert.Len(t, p.named("eom"), map[bool]int{true: 4, false: 3}[kind == "unix"])
		})
	}
}

// A connection that has said nothing is no session: nothing waits for it, and it is closed when the process ends.
func TestStopSilentConnection(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := startKind(t, idle, kind, addr())
			silent := p.connect()
			p.session().Quit() // libmilter takes one after the other
			p.tell()
			p.exits()
			assert.Equal(t, []string{"<nil>", "milter: server closed"}, p.awaitName("stopped").Args)
			silent.WaitClosed()
		})
	}
}

// cutting has sessions whose contexts it watches, and a context of its own for Shutdown, which the test ends.
var cutting = register("cutting", func(e *child) *milter.Server {
	stop := told()
	var contexts []context.Context
	var mu sync.Mutex
	var inside sync.WaitGroup
	cb := recorder(e)
	cb.Connect = func(s *milter.Session, _ string, _ net.Addr) milter.Status {
		mu.Lock()
		defer mu.Unlock()
		contexts = append(contexts, s.Context())
		return milter.SMFIS_CONTINUE
	}
	cb.Helo = func(s *milter.Session, identity string) milter.Status {
		if identity == "wait" {
			inside.Add(1)
			defer inside.Done()
			e.emit(s.ID(), "inside")
			<-s.Context().Done()
			_, macro := s.Macro("j")
			e.emit(s.ID(), "context ended", s.Context().Err(), macro)
		}
		return milter.SMFIS_CONTINUE
	}
	srv := &milter.Server{Callbacks: cb}
	result := e.serving(srv)
	ctx, cancel := context.WithCancel(context.Background())
	switch e.arg {
	case "deadline":
		var cancelDeadline context.CancelFunc
		ctx, cancelDeadline = context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancelDeadline()
		<-stop
		e.emit(0, "shutdown", cutOff(srv.Shutdown(ctx))...)
	case "cancel":
		<-stop
		e.emit(0, "stopping")
		go func() { <-stop; cancel() }()
		e.emit(0, "shutdown", cutOff(srv.Shutdown(ctx))...)
	case "ended":
		cancel()
		<-stop
		e.emit(0, "shutdown", cutOff(srv.Shutdown(ctx))...)
	case "close":
		<-stop
		e.emit(0, "shutdown", cutOff(srv.Close())...)
	case "close during shutdown":
		<-stop
		inside.Go(func() { <-stop; e.emit(0, "closed", cutOff(srv.Close())...) })
		e.emit(0, "stopping")
		e.emit(0, "shutdown", cutOff(srv.Shutdown(ctx))...)
		e.emit(0, "shutdown again", cutOff(srv.Shutdown(ctx))...)
	}
	e.errorIs("served", <-result)
	inside.Wait()
	mu.Lock()
	for _, c := range contexts {
		e.emit(0, "context", c.Err())
	}
	mu.Unlock()
	cancel()
	e.emit(0, "figures", fmt.Sprintf("%+v", srv.Stats()))
	e.emit(0, "leftovers", leftovers())
	return nil
})

// cutOff gives what a test wants to know of Shutdown's error.
func cutOff(err error) []any {
	return []any{err, errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), errors.Is(err, milter.ErrServerClosed)}
}

func TestStopCutsOff(t *testing.T) {
	t.Parallel()
	const text = "milter: smfi_stop: 3 sessions cut off: "
	for how, want := range map[string][]string{
		"deadline":              {text + "context deadline exceeded", "true", "false", "false"},
		"cancel":                {text + "context canceled", "false", "true", "false"},
		"ended":                 {text + "context canceled", "false", "true", "false"},
		"close":                 {"<nil>", "false", "false", "false"},
		"close during shutdown": {text + "milter: server closed", "false", "false", "true"},
	} {
		for kind, addr := range everyAddress(t) {
			t.Run(how+"/"+kind, func(t *testing.T) {
				t.Parallel()
				p := startKind(t, cutting, kind, addr(), withArg(how))
				before := len(p.named("negotiate"))
				one, two, three := p.session(), p.session(), p.session()
				one.open()
				one.envelope()
				two.upTo("Connect")
				three.upTo("Connect")
				three.Write('H', z("wait"))
				p.awaitName("inside")
				p.tell()
				if how == "cancel" || how == "close during shutdown" {
					p.awaitName("stopping")
					p.awaitRefusal(kind)
					one.content() // sessions go on until then
					p.tell()
				}
				p.exits()
				assert.Equal(t, want, p.awaitName("shutdown").Args)
				assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("served").Args)
				contexts := p.named("context")
				assert.Len(t, contexts, 3)
				for _, e := range contexts {
					assert.Equal(t, []string{"context canceled"}, e.Args)
				}
				assert.Equal(t, "context canceled", p.awaitName("context ended").Args[0])
				assert.Contains(t, p.awaitName("figures").Args[0], "SessionsOpen:0 ")
				assert.Contains(t, p.awaitName("figures").Args[0], "SessionsCutOff:3 ")
				assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
				assert.LessOrEqual(t, before, 1)
				if how == "close during shutdown" {
					assert.Equal(t, []string{"<nil>", "false", "false", "false"}, p.awaitName("closed").Args)
					assert.Equal(t, want, p.awaitName("shutdown again").Args)
				}
				one.WaitClosed()
				two.WaitClosed()
				if kind == "unix" {
					assert.NoFileExists(t, strings.TrimPrefix(p.Addr, "unix:"))
				}
			})
		}
	}
}

// A callback that heeds nothing does not keep the server from stopping.
var deaf = register("deaf", func(e *child) *milter.Server {
	stop := told()
	cb := recorder(e)
	cb.Helo = func(s *milter.Session, _ string) milter.Status {
		e.emit(s.ID(), "inside")
		select {}
	}
	srv := &milter.Server{Callbacks: cb}
	result := e.serving(srv)
	<-stop
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	e.emit(0, "shutdown", srv.Shutdown(ctx))
	e.errorIs("served", <-result)
	return nil
})

func TestStopDeafCallback(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			p := startKind(t, deaf, kind, addr())
			for i := range 4 { // more than the workers of a pool
				w := p.session()
				w.upTo("Connect")
				w.Write('H', z("client.example.org"))
				// One at a time: a pool can give two commands to one idle worker, and the second waits for the first.
				require.Eventually(t, func() bool { return len(p.named("inside")) == i+1 }, waitLong, time.Millisecond)
			}
			p.tell()
			p.exits()
			assert.Equal(t, []string{"milter: smfi_stop: 4 sessions cut off: context canceled"}, p.awaitName("shutdown").Args)
			assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("served").Args)
		})
	}
}

// crowd calls Shutdown and Close from many goroutines at once.
var crowd = register("crowd", func(e *child) *milter.Server {
	stop := told()
	srv := &milter.Server{Callbacks: recorder(e)}
	result := e.serving(srv)
	<-stop
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			if e.arg == "with close" && i%2 == 1 {
				e.emit(0, "stop", srv.Close())
				return
			}
			e.emit(0, "stop", srv.Shutdown(context.Background()))
		})
	}
	wg.Wait()
	e.emit(0, "stop", srv.Shutdown(context.Background()))
	e.errorIs("served", <-result)
	e.emit(0, "leftovers", leftovers())
	return nil
})

func TestStopConcurrently(t *testing.T) {
	t.Parallel()
	for _, arg := range []string{"", "with close"} {
		for kind, addr := range everyAddress(t) {
			t.Run(kind+"/"+arg, func(t *testing.T) {
				t.Parallel()
				p := startKind(t, crowd, kind, addr(), withArg(arg))
				var w *wire
				if arg == "" { // Shutdown waits for it, every one of them
					w = p.session()
					w.open()
				}
				p.tell()
				if w != nil {
					p.awaitRefusal(kind)
					assert.Empty(t, p.named("stop"))
					w.Quit()
				}
				p.exits()
				stops := p.named("stop")
				require.Len(t, stops, 21)
				for _, e := range stops {
					assert.Equal(t, []string{"<nil>"}, e.Args)
				}
				assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("served").Args)
				assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
			})
		}
	}
}

// early stops the server as soon as it may or may not have started: at its argument's count of turns after the call.
var early = register("early", func(e *child) *milter.Server {
	srv := &milter.Server{Callbacks: recorder(e)}
	result := e.serving(srv)
	var turns, spin int
	fmt.Sscan(e.arg, &turns)
	for range turns * 20000 {
		spin++
	}
	if turns%2 == 0 {
		e.emit(0, "stop", srv.Shutdown(context.Background()))
	} else {
		e.emit(0, "stop", srv.Close())
	}
	e.errorIs("served", <-result)
	e.emit(0, "leftovers", leftovers(), spin)
	return nil
})

func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	kinds := everyAddress(t)
	delete(kinds, "inet6")
	for kind, addr := range kinds {
		for i := range 13 {
			t.Run(fmt.Sprint(kind, i), func(t *testing.T) {
				t.Parallel()
				var p *process
				if a := addr(); strings.HasPrefix(kind, "fd") {
					p = startFD(t, early, a, withArg(fmt.Sprint(i)))
				} else {
					p = spawn(t, early, withAddr(a), withArg(fmt.Sprint(i)))
				}
				p.exits()
				assert.Equal(t, []string{"<nil>"}, p.awaitName("stop").Args)
				assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("served").Args)
				assert.Equal(t, "<nil>", p.awaitName("leftovers").Args[0])
				if kind == "unix" {
					assert.NoFileExists(t, strings.TrimPrefix(p.Addr, "unix:"))
				}
			})
		}
	}
}

// What has come to the path of a server's socket since is not the server's to remove, whoever runs it.
func TestStopLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	for user, options := range map[string][]option{"same user": nil, "nobody": {asNobody}} {
		for what, replace := range map[string]func(t *testing.T, path string){
			"socket":       func(t *testing.T, path string) { listenUnix(t, path) },
			"stale socket": staleSocketT,
			"file":         func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, []byte("x"), 0o600)) },
		} {
			t.Run(what+"/"+user, func(t *testing.T) {
				t.Parallel()
				p := start(t, recording, options...)
				p.session().Quit()
				path := strings.TrimPrefix(p.Addr, "unix:")
				require.NoError(t, os.Remove(path))
				replace(t, path)
				if os.Geteuid() == 0 && options != nil {
					require.NoError(t, os.Lchown(path, nobody, nobody))
				}
				before := listing(t, filepath.Dir(path))
				p.stop()
				assert.Equal(t, before, listing(t, filepath.Dir(path)))
			})
		}
	}
}

// A filter that takes over the path of one that drains keeps it.
func TestStopTakeOver(t *testing.T) {
	t.Parallel()
	for user, options := range map[string][]option{"same user": nil, "nobody": {asNobody}} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			old := start(t, recording, options...)
			w := old.session()
			w.open()
			old.tell()
			old.awaitRefusal("unix")
			next := spawn(t, recording, append(options, withAddr(old.Addr))...)
			next.dialled().Quit()
			w.mail()
			w.Quit()
			old.exits()
			next.session().Quit()
			next.stop()
		})
	}
}

// dialled is session, of a filter that is about to listen where another did: the kernel's tables do not tell the two
// apart, a connection does.
func (p *process) dialled() *wire {
	p.t.Helper()
	network, target := dialAddr(p.t, p.Addr)
	require.Eventually(p.t, func() bool {
		conn, err := net.Dial(network, target)
		if err != nil {
			return false
		}
		_ = conn.Close()
		return true
	}, waitLong, time.Millisecond)
	return p.session()
}

// A server whose path was removed, or whose folder was, stops all the same.
func TestStopWithoutPath(t *testing.T) {
	t.Parallel()
	for what, remove := range map[string]func(t *testing.T, path string){
		"path removed":   func(t *testing.T, path string) { require.NoError(t, os.Remove(path)) },
		"folder removed": func(t *testing.T, path string) { require.NoError(t, os.RemoveAll(filepath.Dir(path))) },
		"path moved":     func(t *testing.T, path string) { require.NoError(t, os.Rename(path, path+"2")) },
		"mode 0":         func(t *testing.T, path string) { require.NoError(t, os.Chmod(path, 0)) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			p := start(t, idle)
			p.session().Quit()
			remove(t, strings.TrimPrefix(p.Addr, "unix:"))
			p.tell()
			p.exits()
			assert.Equal(t, []string{"<nil>", "milter: server closed"}, p.awaitName("stopped").Args)
		})
	}
}

// inside stops the server from one of its own callbacks, as its argument says.
var inside = register("inside", func(e *child) *milter.Server {
	cb := recorder(e)
	srv := &milter.Server{}
	var calls sync.WaitGroup
	cb.EOM = func(s *milter.Session, _ *milter.Modifier) milter.Status {
		calls.Add(1)
		switch e.arg {
		case "goroutine":
			go func() {
				defer calls.Done()
				e.emit(0, "stop", srv.Shutdown(context.Background()))
			}()
			return milter.SMFIS_CONTINUE
		case "goroutine close":
			go func() {
				defer calls.Done()
				e.emit(0, "stop", srv.Close())
			}()
			<-s.Context().Done()
			return milter.SMFIS_CONTINUE
		}
		defer calls.Done()
		switch e.arg {
		case "shutdown":
			ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
			defer cancel()
			e.emit(0, "stop", srv.Shutdown(ctx))
		case "close":
			e.emit(0, "stop", srv.Close())
		}
		e.emit(0, "context", s.Context().Err())
		return milter.SMFIS_CONTINUE
	}
	srv.Callbacks = cb
	e.errorIs("served", <-e.serving(srv))
	calls.Wait()
	e.emit(0, "figures", fmt.Sprintf("%+v", srv.Stats()))
	e.emit(0, "leftovers", leftovers())
	return nil
})

func TestStopFromCallback(t *testing.T) {
	t.Parallel()
	for how, want := range map[string]struct {
		stop    string
		cutOff  int
		replied bool
	}{
		"goroutine":       {"<nil>", 0, true},
		"goroutine close": {"<nil>", 1, false},
		"shutdown":        {"milter: smfi_stop: 1 session cut off: context deadline exceeded", 1, false},
		"close":           {"<nil>", 1, false},
	} {
		for kind, addr := range everyAddress(t) {
			t.Run(how+"/"+kind, func(t *testing.T) {
				t.Parallel()
				p := startKind(t, inside, kind, addr(), withArg(how))
				w := p.fragile()
				w.Negotiate()
				w.upTo("Segment")
				if want.replied {
					assert.Equal(t, packets{reply('c')}, w.end())
					w.Quit()
					assert.NoError(t, w.Err())
				} else {
					w.Write('E')
					w.drain()
				}
				p.exits()
				assert.Equal(t, []string{want.stop}, p.awaitName("stop").Args)
				assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("served").Args)
				assert.Contains(t, p.awaitName("figures").Args[0], fmt.Sprintf("SessionsOpen:0 SessionsTotal:%d SessionsCutOff:%d", len(p.named("negotiate")), want.cutOff))
				assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
				for _, e := range p.named("context") {
					assert.Equal(t, []string{"context canceled"}, e.Args)
				}
			})
		}
	}
}

// flooding sends the MTA more than it will ever read, and reports what the session's methods say meanwhile.
var flooding = register("flooding", func(e *child) *milter.Server {
	srv := &milter.Server{Actions: milter.SMFIF_CHGBODY}
	srv.Callbacks.EOM = func(s *milter.Session, m *milter.Modifier) milter.Status {
		go func() {
			<-s.Context().Done() // given while the wire is held
			e.emit(s.ID(), "context ended", s.Context().Err())
		}()
		_ = m.ReplaceBody(make([]byte, 50<<20))
		return milter.SMFIS_CONTINUE
	}
	e.serveUntilKilled(srv)
	return nil
})

// serveUntilKilled closes the server as soon as the test asks for it, and says when it is done.
func (e *child) serveUntilKilled(srv *milter.Server) {
	srv.Addr, srv.Logger = e.addr, e.logger()
	ask := make(chan os.Signal, 1)
	signal.Notify(ask, syscall.SIGUSR2)
	go func() {
		<-ask
		err := error(nil)
		if e.arg == "shutdown" {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			err = srv.Shutdown(ctx)
		} else {
			err = srv.Close()
		}
		e.emit(0, "closed", err)
	}()
	e.emit(0, "served", srv.ListenAndServe())
	select {} // the session is still writing: the test kills the process
}

// An MTA that does not read holds up nobody but its own session.
func TestStopWhileTheMTADoesNotRead(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"close", "shutdown"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := start(t, flooding, withArg(how))
			w := p.session()
			w.Write('E')
			require.Equal(t, byte('b'), w.Read().Code) // and no more
			require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR2))
			p.awaitName("closed")
			p.awaitName("context ended")
			p.awaitName("served")
		})
	}
}

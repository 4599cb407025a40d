//go:build cgo

package mta

import (
	"bytes"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// process is a running filter, as the test sees it.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdin  io.Writer
	output bytes.Buffer
	gone   chan struct{} // closed when it has ended and all its events have come

	mu   sync.Mutex
	seen []event
}

// start starts a filter that listens on a unix socket, and waits until the MTA can reach it.
func start(t testing.TB, socket string, does script) *process {
	t.Helper()
	var text bytes.Buffer
	require.NoError(t, gob.NewEncoder(hex.NewEncoder(&text)).Encode(does)) // not JSON, which takes no bytes that are no UTF-8
	p := &process{t: t, cmd: exec.Command(os.Args[0]), gone: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), envScript+"="+text.String(), envAddr+"=unix:"+socket)
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	var err error
	p.stdin, err = p.cmd.StdinPipe() // which ends with this process, and the filter with it
	require.NoError(t, err)
	events, write, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.ExtraFiles = []*os.File{write}
	require.NoError(t, p.cmd.Start())
	_ = write.Close()
	go p.collect(events)
	t.Cleanup(p.kill)
	p.wait("socket", func() bool { return listening(socket) })
	return p
}

// collect takes the events until the process has ended.
func (p *process) collect(events io.ReadCloser) {
	defer close(p.gone)
	defer events.Close()
	lines := json.NewDecoder(events)
	for {
		var e event
		if err := lines.Decode(&e); err != nil {
			break
		}
		p.mu.Lock()
		p.seen = append(p.seen, e)
		p.mu.Unlock()
	}
	_ = p.cmd.Wait()
}

// events are those that have come so far; names selects them, and none means all.
func (p *process) events(names ...string) []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.seen), func(e event) bool {
		return len(names) > 0 && !slices.Contains(names, e.Name)
	})
}

// wait waits for something that the filter does.
func (p *process) wait(what string, done func() bool) {
	p.t.Helper()
	if !harness.Poll(done) {
		p.t.Fatalf("no %s within %v; events: %v\noutput:\n%s", what, harness.Patience, p.events(), p.kept())
	}
}

// kept ends the filter and gives its output.
func (p *process) kept() string {
	p.kill()
	return p.output.String()
}

// release ends what the script lets a callback wait for.
func (p *process) release() {
	p.t.Helper()
	_, err := io.WriteString(p.stdin, "go\n")
	require.NoError(p.t, err)
}

// kill ends the filter as a crash does, and waits for its end. It may be called again.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.gone
}

// listening says whether an MTA could connect to a unix socket, from the kernel's own table: to make a connection would be a
// session to the filter. The socket is there before it has the mode that lets Postfix in.
func listening(socket string) bool {
	if info, err := os.Stat(socket); err != nil || info.Mode().Perm() != socketMode {
		return false
	}
	table, _ := os.ReadFile("/proc/net/unix")
	for line := range strings.Lines(string(table)) {
		const listens = "00010000" // __SO_ACCEPTCON
		if fields := strings.Fields(line); len(fields) == 8 && fields[7] == socket && fields[3] == listens {
			return true
		}
	}
	return false
}

// killHolding kills the filter once a callback of it does not go on. It may be called from any goroutine.
func (p *process) killHolding() {
	if !harness.Poll(func() bool { return len(p.events("holds")) > 0 }) {
		p.t.Error("no callback of the filter waits")
	}
	p.kill()
}

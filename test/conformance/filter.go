package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// patience is how long anything may take. libmilter itself waits for two hours.
const patience = 30 * time.Second

// filter is one filter's process.
type filter struct {
	name   string
	socket string
	cmd    *exec.Cmd
	stdin  io.Closer
	notes  *os.File // its standard output
	read   int64    // of notes
	stderr string   // a file
	asan   string   // how AddressSanitizer's files begin
	exited chan struct{}
}

// startFilter starts program in dir, on a libmilter in library. Its arguments are the socket's address and args.
func startFilter(dir, name, program, library string, args ...string) (*filter, error) {
	f := &filter{name: name, socket: filepath.Join(dir, name+".sock"), stderr: filepath.Join(dir, name+".err"),
		asan: filepath.Join(dir, name+".asan"), exited: make(chan struct{})}
	f.cmd = exec.Command(program, append([]string{"unix:" + f.socket}, args...)...)
	f.cmd.Env = append(os.Environ(), asanOptions(f.asan))
	if library != "" {
		f.cmd.Env = append(f.cmd.Env, "LD_LIBRARY_PATH="+library)
	}
	f.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // the terminal's Ctrl-C is for this program alone, which cleans up
	var err error
	if f.notes, err = os.Create(filepath.Join(dir, name+".out")); err != nil {
		return nil, err
	}
	errors, err := os.Create(f.stderr)
	if err != nil {
		return nil, err
	}
	defer errors.Close()
	f.cmd.Stdout, f.cmd.Stderr = f.notes, errors
	if f.stdin, err = f.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := f.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the %s filter: %w", name, err)
	}
	go func() {
		_ = f.cmd.Wait()
		close(f.exited)
	}()
	return f, nil
}

// stop ends the process at once: nothing is to be learned from how it ends.
func (f *filter) stop() {
	_ = f.cmd.Process.Kill()
	<-f.exited
	_ = f.stdin.Close()
	_ = f.notes.Close()
}

// died gives what the filter said before it ended by itself, nil if it runs.
func (f *filter) died() error {
	select {
	case <-f.exited:
		said, _ := os.ReadFile(f.stderr)
		return fmt.Errorf("the %s filter has ended: %v\n%s%s", f.name, f.cmd.ProcessState, said, f.lastFinding())
	default:
		return nil
	}
}

// lastFinding gives AddressSanitizer's last report about the filter.
func (f *filter) lastFinding() string {
	reports, err := os.ReadFile(fmt.Sprintf("%s.%d", f.asan, f.cmd.Process.Pid))
	findings := parseFindings(string(reports))
	if err != nil || len(findings) == 0 {
		return ""
	}
	return findings[len(findings)-1].text
}

// dial connects. The filter may be only just starting.
func (f *filter) dial() (*net.UnixConn, error) {
	deadline := time.Now().Add(patience)
	for {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: f.socket})
		starting := errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED)
		if !starting || time.Now().After(deadline) {
			return conn, err
		}
		if err := f.died(); err != nil {
			return nil, err
		}
		time.Sleep(time.Millisecond)
	}
}

// answer is all that came of a session.
type answer struct {
	stream []byte   // what the filter sent
	notes  []string // what its callbacks said, a line each
	err    error    // the filter has not ended the session in time, or died
}

// converse gives a filter a session.
func (f *filter) converse(s session) answer {
	conn, err := f.dial()
	if err != nil {
		return answer{err: fmt.Errorf("connecting to the %s filter: %w", f.name, err)}
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	received := make(chan answer)
	go func() {
		stream, err := io.ReadAll(conn)
		if errors.Is(err, syscall.ECONNRESET) { // it had enough before it had read all
			err = nil
		}
		received <- answer{stream: stream, err: err}
	}()
	for _, p := range s.pieces {
		time.Sleep(p.pause)
		if _, err := conn.Write(p.bytes); err != nil {
			break // likewise
		}
	}
	_ = conn.CloseWrite() // libmilter reads to the end, where a full close would make it drop what it has not read
	a := <-received
	a.notes, err = f.readNotes()
	return f.explain(a, err)
}

// explain says why a session has not come to its end.
func (f *filter) explain(a answer, err error) answer {
	switch {
	case errors.Is(a.err, os.ErrDeadlineExceeded):
		a.err = fmt.Errorf("the %s filter has not ended the session within %v", f.name, patience)
	case a.err == nil:
		a.err = err
	}
	if err := f.died(); err != nil {
		a.err = err
	}
	return a
}

// readNotes gives what the filter has written about the session that has just ended: it writes before it hangs up.
func (f *filter) readNotes() ([]string, error) {
	text, err := io.ReadAll(io.NewSectionReader(f.notes, f.read, 1<<40))
	if err != nil {
		return nil, fmt.Errorf("reading what the %s filter wrote: %w", f.name, err)
	}
	f.read += int64(len(text))
	if text = bytes.TrimSuffix(text, []byte("\n")); len(text) == 0 {
		return nil, nil
	}
	return strings.Split(string(text), "\n"), nil
}

package postfix

import (
	"bytes"
	"errors"
	"net"
	"os"
	"os/exec"
	"os/user"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/libmilter/go-libmilter/test/harness"
)

// startAttempts bounds how often Postfix is started when somebody else took its port first.
const startAttempts = 5

// startPostfix starts Postfix on a free port.
func (s *Server) startPostfix() {
	s.t.Helper()
	s.t.Cleanup(s.stopPostfix)
	for range startAttempts {
		if s.startOn(freeAddr(s.t)) {
			return
		}
	}
	s.t.Fatalf("Postfix got no port of its own in %d attempts", startAttempts)
}

// startOn starts Postfix on addr and says whether it could: it cannot where somebody else listens on addr.
func (s *Server) startOn(addr string) bool {
	s.t.Helper()
	s.addr = addr
	s.writeMasterCF()
	out, err := s.postfix("start")
	if err != nil && !strings.Contains(s.Log(), "Address already in use") {
		s.t.Fatalf("postfix start: %v\n%s", err, out)
	}
	return err == nil
}

// stopPostfix stops Postfix and waits until the last of its processes has gone.
func (s *Server) stopPostfix() {
	master, err := s.masterPID()
	if errors.Is(err, os.ErrNotExist) {
		return // it never ran
	}
	if err != nil {
		s.t.Error(err)
		return
	}

	gone := func() bool { return !harness.GroupLives(master) }
	// Not "stop", which does the same and then waits in steps of a second.
	if out, err := s.postfix("abort"); err != nil && !gone() {
		s.t.Errorf("postfix abort: %v\n%s", err, out)
	}
	if harness.Poll(gone) {
		return
	}
	s.t.Errorf("Postfix does not stop within %v: it is killed", harness.Patience)
	if err := syscall.Kill(-master, syscall.SIGKILL); err != nil || !harness.Poll(gone) {
		s.t.Errorf("Postfix cannot be killed: process group %d, error %v", master, err)
	}
}

// postfix runs the postfix command on the server's configuration.
func (s *Server) postfix(command string) ([]byte, error) {
	return exec.Command("postfix", "-c", s.path("etc"), command).CombinedOutput()
}

// masterPID returns the process id of Postfix's master, which is the process group of all its daemons.
func (s *Server) masterPID() (int, error) {
	text, err := os.ReadFile(s.path("queue", "pid", "master.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(text)))
}

// startSink starts the smtp-sink that takes the delivered mails. It speaks LMTP on a unix socket: no port to collide on.
func (s *Server) startSink() {
	s.t.Helper()
	socket := s.path("sink")
	var stderr bytes.Buffer
	s.sink = exec.Command("smtp-sink", "-L", "-u", "root", "-d", s.path("mails", "m."), "unix:"+socket, "1000")
	s.sink.Stderr = &stderr
	if err := s.sink.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		_ = s.sink.Process.Kill()
		_ = s.sink.Wait()
		if s.t.Failed() && stderr.Len() > 0 {
			s.t.Logf("smtp-sink said:\n%s", &stderr)
		}
	})
	s.wait("smtp-sink", func() bool {
		conn, err := net.Dial("unix", socket)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

// removal is what the guard does before it removes the server's folder $1: it ends the sink $2 and Postfix.
const removal = `
kill "$2"
read -r master <"$1/queue/pid/master.pid" && kill -s KILL -- "-$master"
`

// startGuard has the server removed even when the test process dies before its cleanups run.
func (s *Server) startGuard() {
	s.t.Helper()
	harness.StartGuard(s.t, s.dir, removal, strconv.Itoa(s.sink.Process.Pid))
}

// freeAddr returns a loopback address that nobody listens on.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// chownTo gives a file to a user.
func chownTo(path, name string) error {
	owner, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	return os.Chown(path, uid, -1)
}

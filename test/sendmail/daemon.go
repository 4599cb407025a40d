package sendmail

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"

	"github.com/libmilter/go-libmilter/test/harness"
)

// startAttempts bounds how often a daemon is started when somebody else took its port first.
const startAttempts = 5

// removal is what the guard does before it removes the server's folder $1: it ends the daemon and its connections.
const removal = `read -r group <"$1/group" && kill -s KILL -- "-$group"`

// daemonOptions returns the lines of the .mc file that say where a daemon listens.
func (s *Server) daemonOptions(cfg Config) string {
	if !cfg.Daemon {
		return ""
	}
	text := "FEATURE(`no_default_msa')dnl\n" + fmt.Sprintf("DAEMON_OPTIONS(`Name=MTA, Addr=127.0.0.1, Port=%s')dnl\n", s.port())
	if cfg.IPv6 {
		text += fmt.Sprintf("DAEMON_OPTIONS(`Name=MTA6, Family=inet6, Addr=::1, Port=%s')dnl\n", s.port())
	}
	return text
}

// startDaemon starts a Sendmail that listens on a free port, until the test ends.
func (s *Server) startDaemon(cfg Config) {
	s.t.Helper()
	harness.StartGuard(s.t, s.dir, removal)
	for range startAttempts {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			s.t.Fatal(err)
		}
		s.addr = l.Addr().String()
		_ = l.Close()
		s.configure(cfg)
		if s.daemonOn() {
			return
		}
	}
	s.t.Fatalf("Sendmail got no port of its own in %d attempts", startAttempts)
}

// daemonOn starts a daemon and says whether it could listen.
func (s *Server) daemonOn() bool {
	s.t.Helper()
	log, err := os.OpenFile(s.path("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		s.t.Fatal(err)
	}
	defer log.Close()
	cmd := s.command("-bD")
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { s.stopDaemon(cmd) })
	s.writeFile("group", strconv.Itoa(cmd.Process.Pid)+"\n")
	listens, taken := false, false
	done := func() bool {
		_, err := os.Stat(s.path("pid")) // written once all its sockets are open
		listens, taken = err == nil, strings.Contains(s.Log(), "Address already in use")
		return listens || taken
	}
	if !harness.Poll(done) {
		s.t.Fatalf("Sendmail does not listen within %v", harness.Patience)
	}
	if !listens {
		s.stopDaemon(cmd)
		_ = os.Remove(s.path("log")) // which says of the next attempt that its port is taken
	}
	return listens
}

// stopDaemon ends a daemon and its connections, and waits until they have ended. It may be called again.
func (s *Server) stopDaemon(cmd *exec.Cmd) {
	if cmd.ProcessState != nil {
		return
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		s.t.Error(err)
	}
	_ = cmd.Wait()
	if !harness.Poll(func() bool { return !harness.GroupLives(cmd.Process.Pid) }) {
		s.t.Errorf("processes of Sendmail are left in group %d", cmd.Process.Pid)
	}
}

package sendmail

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// hostName is the name of Sendmail's UTS namespace. It has a dot, and an address is found without a look-up.
const hostName = "127.0.0.1"

// enterNamespace gives a command a UTS namespace of its own.
func enterNamespace(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWUTS
}

// listen takes connections until the test ends, and then ends what they started.
func (s *Server) listen() {
	s.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	s.l, s.addr = l, l.Addr().String()
	s.waited.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			if err := s.serve(conn.(*net.TCPConn)); err != nil {
				s.t.Error(err)
			}
		}
	})
	s.t.Cleanup(s.stop)
}

// serve starts a Sendmail on a connection.
func (s *Server) serve(conn *net.TCPConn) error {
	defer conn.Close()
	file, err := conn.File()
	if err != nil {
		return err
	}
	defer file.Close()
	log, err := os.OpenFile(s.path("log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("-bs")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = file, file, log

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		return nil
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.running[cmd] = true
	s.waited.Go(func() {
		_ = cmd.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, cmd)
	})
	return nil
}

// command returns a Sendmail, of a mode such as -bs and with further arguments, in a process group of its own.
func (s *Server) command(mode string, more ...string) *exec.Cmd {
	args := []string{filepath.Join(s.unpacked, program), "-D", s.path("log"), "-d64.5", "-X", s.path("log"), mode, "-C", s.path("sendmail.cf")}
	args = append(args, more...)
	cmd := exec.Command(args[0], args[1:]...)
	if s.namespace {
		cmd = exec.Command("sh", append([]string{"-c", `hostname "$0" && exec "$@"`, hostName}, args...)...)
		enterNamespace(cmd)
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	return cmd
}

// stop ends all, and waits until it has ended.
func (s *Server) stop() {
	if err := s.l.Close(); err != nil {
		s.t.Error(err)
	}
	s.mu.Lock()
	for cmd := range s.running {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	}
	s.running = nil
	s.mu.Unlock()
	s.waited.Wait()
}

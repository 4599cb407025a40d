// Package postfix runs a throw-away Postfix for tests: a real MTA to drive a milter with, and the mails that came out of it.
//
// [Start] gives a Postfix that listens on a free port of 127.0.0.1, with its own configuration, queue and log in a
// temporary folder. It takes mail for every address, runs it past the milters, and delivers it to Postfix's own
// smtp-sink behind it, on a unix socket. It has no SMTP client, so no mail can leave the machine, and it neither uses nor
// changes /etc/postfix or a Postfix that the machine itself runs. When the test ends, every process and file of it is gone.
//
// It takes root (Postfix is started as root and drops to user postfix) and the Debian packages postfix and swaks. Without
// them a test is skipped, or fails where the environment says CI=true.
//
// Postfix connects to milters as user postfix. A milter that listens on a unix socket needs a folder which that user can
// enter, as [TempDir] makes it, and a socket which it can write to (mode 0666).
package postfix

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libmilter/go-libmilter/test/harness"
)

const tailLines = 60 // of the mail log, shown when a test fails

// Config is what a test may say about its Postfix. The zero value has no milters.
type Config struct {
	// Milters are asked in this order, each written as for smtpd_milters: "unix:/path" or "inet:127.0.0.1:port".
	Milters []string

	// DefaultAction is milter_default_action, what happens to a mail when a milter fails. The default is "tempfail".
	DefaultAction string

	// IPv6 has smtpd listen on ::1, too.
	IPv6 bool

	// Params are further main.cf parameters. They win over those that the package sets itself.
	Params map[string]string

	// Files are further files of the configuration folder, by their path in it: Debian's Postfix looks there, and nowhere
	// else, for sasl/smtpd.conf.
	Files map[string]string
}

// Server is one running Postfix. Its methods fail the test that it was started for, so they are called from that test's
// goroutine.
type Server struct {
	t    testing.TB
	dir  string // everything of this server
	addr string // of smtpd
	ipv6 bool   // smtpd listens on ::1, too
	sink *exec.Cmd
}

// Start starts a Postfix, which is stopped and removed when the test ends. When the test has failed by then, the end of
// the mail log is shown.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	harness.RequireRoot(t, "Postfix")
	requirePrograms(t)
	s := prepare(t, cfg)
	s.startPostfix()
	return s
}

// prepare makes all of a server but for Postfix itself.
func prepare(t testing.TB, cfg Config) *Server {
	t.Helper()
	s := &Server{t: t, dir: TempDir(t), ipv6: cfg.IPv6}
	t.Cleanup(s.showLog)
	s.writeMainCF(cfg)
	s.startSink()
	s.startGuard()
	return s
}

// TempDir makes a folder that user postfix can enter, which [testing.TB.TempDir] does not. It is removed when the test
// ends.
func TempDir(t testing.TB) string {
	t.Helper()
	return harness.TempDir(t, "postfix-")
}

// Addr is where smtpd listens, as "127.0.0.1:port".
func (s *Server) Addr() string { return s.addr }

// Addr6 is where smtpd listens with [Config.IPv6], as "[::1]:port".
func (s *Server) Addr6() string {
	return net.JoinHostPort("::1", s.addr[strings.LastIndexByte(s.addr, ':')+1:])
}

// PIDs returns the process ids of Postfix's master, which is the process group of all its daemons, and of the sink.
func (s *Server) PIDs() (master, sink int) {
	s.t.Helper()
	master, err := s.masterPID()
	if err != nil {
		s.t.Fatal(err)
	}
	return master, s.sink.Process.Pid
}

// Held returns the queue ids of the mails on hold, which is where Postfix puts a mail that a milter quarantines. A mail is
// there before its sender has the reply to the end of data. Postfix drops the reason that the milter gave.
func (s *Server) Held() []string {
	s.t.Helper()
	entries, err := os.ReadDir(s.path("queue", "hold"))
	if err != nil {
		s.t.Fatal(err)
	}
	ids := make([]string, len(entries))
	for i, entry := range entries {
		ids[i] = entry.Name()
	}
	return ids
}

// Submit runs sendmail(1) against this server, as programs on its machine do, with a mail on its standard input, and returns
// what it printed and its exit code. Postfix takes the mail out of its maildrop queue afterwards, past non_smtpd_milters.
func (s *Server) Submit(stdin string, args ...string) (output string, exit int) {
	s.t.Helper()
	cmd := exec.CommandContext(s.t.Context(), "sendmail", append([]string{"-C", s.path("etc")}, args...)...)
	return harness.RunWith(s.t, cmd, stdin)
}

// SubmitSMTP runs sendmail(1) as an SMTP server on its standard input and output: "sendmail -bs".
func (s *Server) SubmitSMTP() *harness.Dialogue {
	s.t.Helper()
	return harness.StartDialogue(s.t, exec.CommandContext(s.t.Context(), "sendmail", "-C", s.path("etc"), "-bs"))
}

// Queued returns the queue ids of the mails that are still to be delivered.
func (s *Server) Queued() []string {
	s.t.Helper()
	var ids []string
	for _, queue := range []string{"maildrop", "incoming", "active", "deferred"} {
		// A mail moves on meanwhile, which is no error; deferred has folders in it.
		_ = filepath.WalkDir(s.path("queue", queue), func(_ string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				ids = append(ids, entry.Name())
			}
			return nil
		})
	}
	return ids
}

// Log returns the mail log so far. Postfix writes it a moment behind what it does: [Server.WaitLog] is for what must
// appear.
func (s *Server) Log() string {
	s.t.Helper()
	return harness.ReadLog(s.t, s.path("maillog"))
}

// WaitLog waits until text stands in the mail log.
func (s *Server) WaitLog(text string) {
	s.t.Helper()
	s.wait("line in the log with "+text, func() bool { return strings.Contains(s.Log(), text) })
}

// Swaks runs swaks against this server and returns what it printed and its exit code. Its EHLO name and sender are
// client.example.org and sender@example.com where args say nothing else. Recipients have no default.
func (s *Server) Swaks(args ...string) (transcript string, exit int) {
	s.t.Helper()
	host, port, err := net.SplitHostPort(s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	defaults := []string{"--server", host, "--port", port, "--helo", "client.example.org", "--from", "sender@example.com"}
	cmd := exec.CommandContext(s.t.Context(), "swaks", append(defaults, args...)...)
	out, err := cmd.CombinedOutput()
	if exitErr := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exitErr) {
		s.t.Fatal(err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// SMTPSource runs smtp-source against this server, as in SMTPSource("-m", "50", "-s", "5") for 50 mails over 5 sessions.
// The test fails when smtp-source does, which is at the first reply that it did not want. Sender and recipient are
// sender@example.com and recipient@example.org where args say nothing else.
func (s *Server) SMTPSource(args ...string) {
	s.t.Helper()
	defaults := []string{"-f", "sender@example.com", "-t", "recipient@example.org"}
	args = append(append(defaults, args...), s.addr)
	if out, err := exec.CommandContext(s.t.Context(), "smtp-source", args...).CombinedOutput(); err != nil {
		s.t.Fatalf("smtp-source: %v\n%s", err, out)
	}
}

// path returns the path of a file in the server's folder.
func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// wait returns when done says true, and fails the test when it does not within patience.
func (s *Server) wait(what string, done func() bool) {
	s.t.Helper()
	if !harness.Poll(done) {
		s.t.Fatalf("no %s within %v", what, harness.Patience)
	}
}

// showLog shows the end of the mail log of a failed test.
func (s *Server) showLog() {
	if s.t.Failed() {
		s.t.Logf("the end of the mail log:\n%s", harness.LastLines(s.Log(), tailLines))
	}
}

// programs are what the package runs, and the Debian package of each.
var programs = []struct{ name, debian string }{
	{"postfix", "postfix"},
	{"smtp-sink", "postfix"},
	{"smtp-source", "postfix"},
	{"swaks", "swaks"},
}

// requirePrograms gives the test up when one of the programs is not installed.
func requirePrograms(t testing.TB) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program.name); err != nil {
			harness.GiveUp(t, program.name+" is not in PATH: install the Debian package "+program.debian)
		}
	}
}

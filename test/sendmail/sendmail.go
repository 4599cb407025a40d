// Package sendmail runs a throw-away Sendmail for tests: beside Postfix (test/postfix) the other MTA that speaks the milter
// protocol, and the mails that came out of it.
//
// [Start] gives a Sendmail behind a free port of 127.0.0.1, with its own configuration and queue in a temporary folder. It
// takes mail for every address with a domain, runs it past the milters, and delivers it by SMTP to a sink in the test
// process, before it replies to the end of data. It is no daemon unless [Config] says so: as behind inetd, each connection
// has a "sendmail -bs" of its own, and what only a daemon knows, the macros {daemon_name}, {if_name} and {if_addr}, it does
// not send to milters. No mail can leave the machine, and it neither uses nor changes /etc/mail or a Sendmail that the machine itself runs. When the
// test ends, every process and file of it is gone.
//
// Debian's Sendmail cannot be installed beside Postfix: scripts/deps.sh unpacks it into .cache/sendmail of this module,
// and installs m4, with which its configuration is made. It takes root. Sendmail sleeps for a minute when the host's name
// has no dot: it is started in a UTS namespace of its own with a name that has one, where the system allows that
// (CAP_SYS_ADMIN), and needs a host with such a name where not. Without all this a test is skipped, or fails where the
// environment says CI=true.
package sendmail

import (
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/libmilter/go-libmilter/test/harness"
)

const tailLines = 100 // of the log, shown when a test fails

// NoFlags is [Config.Flags] for a mail that goes on without a milter that fails.
const NoFlags = " "

// Config is what a test may say about its Sendmail. The zero value has no milters.
type Config struct {
	// Milters are asked in this order, each written as for INPUT_MAIL_FILTER's S=: "unix:/path" or "inet:port@127.0.0.1".
	Milters []string

	// Flags are INPUT_MAIL_FILTER's F=, what happens to a mail when a milter fails: "R" rejects it, see also
	// [NoFlags]. The default is "T", a temporary failure.
	Flags string

	// Timeouts are INPUT_MAIL_FILTER's T=, how long a milter is waited for: "S:2s;R:2s;E:2s". The default is Sendmail's own.
	Timeouts string

	// Daemon has Sendmail listen itself.
	Daemon bool

	// IPv6 has a daemon listen on ::1, too.
	IPv6 bool

	// MC are further lines of the .mc file, such as "define(`confMAX_HOP', `5')dnl". They win over those that the package
	// has itself.
	MC string
}

// Server is one Sendmail. Its methods fail the test that it was started for, so they are called from that test's
// goroutine.
type Server struct {
	t         testing.TB
	dir       string       // everything of this server
	unpacked  string       // the folder of Debian's packages
	namespace bool         // sendmail gets a UTS namespace of its own
	addr      string       // where it listens
	l         net.Listener // nil for a daemon
	sink      *sink

	mu      sync.Mutex
	running map[*exec.Cmd]bool // nil when no more are to be started
	waited  sync.WaitGroup
}

// Start starts a Sendmail, which is stopped and removed when the test ends. When the test has failed by then, the end of
// the log is shown.
func Start(t testing.TB, cfg Config) *Server {
	t.Helper()
	harness.RequireRoot(t, "Sendmail")
	s := &Server{t: t, namespace: requireName(t), unpacked: requirePrograms(t), running: map[*exec.Cmd]bool{}}
	s.dir = harness.TempDir(t, "sendmail-")
	t.Cleanup(s.showLog)
	s.startSink()
	s.makeFolder()
	if cfg.Daemon {
		s.startDaemon(cfg)
		return s
	}
	s.configure(cfg)
	harness.StartGuard(t, s.dir, "") // the Sendmails end with their connections, which the test process has
	s.listen()
	return s
}

// Addr is where Sendmail listens, as "127.0.0.1:port".
func (s *Server) Addr() string { return s.addr }

// Addr6 is where a daemon listens with [Config.IPv6], as "[::1]:port".
func (s *Server) Addr6() string { return net.JoinHostPort("::1", s.port()) }

func (s *Server) port() string { return s.addr[strings.LastIndexByte(s.addr, ':')+1:] }

// Delivered returns the mails that have been delivered so far, in the order of their arrival.
func (s *Server) Delivered() []harness.Mail { return s.sink.delivered() }

// Submit runs sendmail(1) with this server's configuration, as programs on its machine do, with a mail on its standard input,
// and returns what it printed and its exit code.
func (s *Server) Submit(stdin string, args ...string) (output string, exit int) {
	s.t.Helper()
	return harness.RunWith(s.t, s.command("-bm", args...), stdin)
}

// SubmitSMTP runs sendmail(1) as an SMTP server on its standard input and output: "sendmail -bs".
func (s *Server) SubmitSMTP() *harness.Dialogue {
	s.t.Helper()
	return harness.StartDialogue(s.t, s.command("-bs"))
}

// WaitDelivered waits until at least n mails have been delivered, and returns all of them.
func (s *Server) WaitDelivered(n int) []harness.Mail {
	s.t.Helper()
	if !harness.Poll(func() bool { return len(s.Delivered()) >= n }) {
		s.t.Fatalf("%d of %d mails were delivered within %v", len(s.Delivered()), n, harness.Patience)
	}
	return s.Delivered()
}

// Held returns the queue ids of the mails in quarantine. A mail is there before its sender has the reply to the end of
// data.
func (s *Server) Held() []string {
	s.t.Helper()
	return s.queue("hf")
}

// Queued returns the queue ids of the mails that are still to be delivered.
func (s *Server) Queued() []string {
	s.t.Helper()
	return s.queue("qf")
}

// queue returns the ids that have a file of a kind in the queue.
func (s *Server) queue(kind string) []string {
	s.t.Helper()
	files, err := filepath.Glob(s.path("queue", kind+"*"))
	if err != nil {
		s.t.Fatal(err)
	}
	ids := make([]string, len(files))
	for i, file := range files {
		ids[i] = strings.TrimPrefix(filepath.Base(file), kind)
	}
	return ids
}

// Log returns what Sendmail told so far: its warnings, all SMTP commands and replies of both sides, and what it exchanged
// with the milters. It is not syslog's log, which belongs to the machine.
func (s *Server) Log() string {
	s.t.Helper()
	return harness.ReadLog(s.t, s.path("log"))
}

// path returns the path of a file in the server's folder.
func (s *Server) path(elem ...string) string {
	return filepath.Join(append([]string{s.dir}, elem...)...)
}

// showLog shows the end of the log of a failed test.
func (s *Server) showLog() {
	if s.t.Failed() {
		s.t.Logf("the end of Sendmail's log:\n%s", harness.LastLines(s.Log(), tailLines))
	}
}

package sendmail

import (
	"cmp"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// mc are the lines of the .mc file that are the same for every server: @DIR@ is its folder, @PORT@ its sink's port.
const mc = "OSTYPE(`linux')dnl\n" +
	"define(`confDOMAIN_NAME', `mail.example.org')dnl\n" +
	"define(`QUEUE_DIR', `@DIR@/queue')dnl\n" +
	"define(`confPID_FILE', `@DIR@/pid')dnl\n" +
	"define(`STATUS_FILE', `')dnl\n" +
	"define(`HELP_FILE', `')dnl\n" +
	"define(`ALIAS_FILE', `')dnl\n" +
	"define(`confCW_FILE', `-o @DIR@/none')dnl\n" +
	"define(`confCR_FILE', `-o @DIR@/none')dnl\n" +
	"define(`confCT_FILE', `-o @DIR@/none')dnl\n" +
	// No look-ups: a machine without a network will do.
	"define(`confSERVICE_SWITCH_FILE', `@DIR@/switch')dnl\n" +
	"define(`confHOSTS_FILE', `@DIR@/hosts')dnl\n" +
	"define(`confTO_IDENT', `0')dnl\n" +
	"define(`confDONT_PROBE_INTERFACES', `true')dnl\n" +
	"FEATURE(`nocanonify')dnl\n" +
	"FEATURE(`accept_unresolvable_domains')dnl\n" +
	// Deliver before the reply to the end of data.
	"define(`confDELIVERY_MODE', `interactive')dnl\n" +
	// Sockets of milters lie below a temporary folder.
	"define(`confDONT_BLAME_SENDMAIL', `TrustStickyBit')dnl\n" +
	// A busy machine is no reason to refuse a connection, to wait with it, or to queue a mail.
	"define(`confREFUSE_LA', `1000')dnl\n" +
	"define(`confDELAY_LA', `0')dnl\n" +
	"define(`confQUEUE_LA', `1000')dnl\n"

// mcEnd are the last lines: every mail goes to the sink, that for the host itself, too.
const mcEnd = "\ndefine(`ESMTP_MAILER_ARGS', `TCP $h @PORT@')dnl\n" +
	"MAILER(`smtp')dnl\n" +
	"LOCAL_RULE_0\n" +
	"R$* < @ $* > $*\t\t$#esmtp $@ [127.0.0.1] $: $1 < @ $2 > $3\n"

// mcText returns the .mc file.
func (s *Server) mcText(cfg Config) string {
	_, port, _ := net.SplitHostPort(s.sink.addr())
	timeouts := ""
	if cfg.Timeouts != "" {
		timeouts = ", T=" + cfg.Timeouts
	}
	var milters strings.Builder
	for i, milter := range cfg.Milters {
		fmt.Fprintf(&milters, "INPUT_MAIL_FILTER(`milter%d', `S=%s, F=%s%s')dnl\n", i, milter, cmp.Or(cfg.Flags, "T"), timeouts)
	}
	include := fmt.Sprintf("include(`%s')dnl\n", filepath.Join(s.unpacked, cfM4))
	text := include + mc + s.daemonOptions(cfg) + milters.String() + cfg.MC + mcEnd
	return strings.NewReplacer("@DIR@", s.dir, "@PORT@", port).Replace(text)
}

// makeFolder makes what is in the server's folder whatever its configuration.
func (s *Server) makeFolder() {
	s.t.Helper()
	if err := os.Mkdir(s.path("queue"), 0o700); err != nil {
		s.t.Fatal(err)
	}
	s.writeFile("switch", "hosts files\naliases files\npasswd files\n")
	s.writeFile("hosts", "127.0.0.1 localhost\n")
}

// configure makes the server's configuration.
func (s *Server) configure(cfg Config) {
	s.t.Helper()
	s.writeFile("sendmail.mc", s.mcText(cfg))
	m4 := exec.Command("m4", s.path("sendmail.mc"))
	var stderr strings.Builder
	m4.Stderr = &stderr
	cf, err := m4.Output()
	if err != nil || stderr.Len() > 0 {
		s.t.Fatalf("m4: %v\n%s", err, &stderr)
	}
	s.writeFile("sendmail.cf", string(cf))
}

func (s *Server) writeFile(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(s.path(name), []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

package postfix

import (
	"cmp"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// mainCF returns the main.cf parameters of a server in the folder dir.
func mainCF(dir string, cfg Config) map[string]string {
	params := map[string]string{
		"compatibility_level":   "3.6",
		"config_directory":      dir + "/etc",
		"queue_directory":       dir + "/queue",
		"data_directory":        dir + "/data",
		"maillog_file":          dir + "/maillog",
		"maillog_file_prefixes": dir,

		// Loopback only, and no look-ups: a machine without a name or a network will do.
		"inet_interfaces":       "127.0.0.1",
		"inet_protocols":        "ipv4",
		"mynetworks":            "127.0.0.0/8",
		"myhostname":            "mail.example.org",
		"myorigin":              "example.org",
		"smtpd_peername_lookup": "no",

		// Every mail goes to the sink, bounces too. Nobody is told of errors.
		"mydestination":                   "",
		"local_recipient_maps":            "",
		"default_transport":               "lmtp:unix:" + dir + "/sink",
		"local_transport":                 "$default_transport",
		"relay_transport":                 "$default_transport",
		"lmtp_connection_cache_on_demand": "no",
		"notify_classes":                  "",

		// No long pause before another try, none for many mails, none for many errors.
		"queue_run_delay":        "1s",
		"minimal_backoff_time":   "1s",
		"maximal_backoff_time":   "2s",
		"transport_retry_time":   "1s",
		"in_flow_delay":          "0",
		"smtpd_error_sleep_time": "0",
		"smtpd_soft_error_limit": "1000",
		"smtpd_hard_error_limit": "1000",

		// What the milters leave is what the sink gets.
		"local_header_rewrite_clients": "",
		"lmtp_line_length_limit":       "0",

		"smtpd_milters":         strings.Join(cfg.Milters, ", "),
		"milter_default_action": cmp.Or(cfg.DefaultAction, "tempfail"),
	}
	if cfg.IPv6 {
		params["inet_protocols"] = "all"
		params["inet_interfaces"] += ", [::1]"
		params["mynetworks"] += ", [::1]/128"
	}
	maps.Copy(params, cfg.Params)
	return params
}

// masterCF are the services of master.cf but for smtpd: no chroot, and no smtp, so that no mail can leave the machine.
const masterCF = `pickup  unix       n - n 60 1 pickup
cleanup unix       n - n - 0 cleanup
qmgr    unix       n - n 300 1 qmgr
rewrite unix       - - n - - trivial-rewrite
bounce  unix       - - n - 0 bounce
defer   unix       - - n - 0 bounce
trace   unix       - - n - 0 bounce
lmtp    unix       - - n - - lmtp
anvil   unix       - - n - 1 anvil
tlsmgr  unix       - - n 1000? 1 tlsmgr
showq   unix       n - n - - showq
error   unix       - - n - - error
retry   unix       - - n - - error
discard unix       - - n - - discard
postlog unix-dgram n - n - 1 postlogd
`

// writeMainCF makes the server's folders and its main.cf.
func (s *Server) writeMainCF(cfg Config) {
	s.t.Helper()
	for _, dir := range []string{"etc", "queue", "data", "mails"} {
		if err := os.Mkdir(s.path(dir), 0o755); err != nil {
			s.t.Fatal(err)
		}
	}
	if err := chownTo(s.path("data"), "postfix"); err != nil {
		s.t.Fatal(err)
	}
	params := mainCF(s.dir, cfg)
	var text strings.Builder
	for _, name := range slices.Sorted(maps.Keys(params)) {
		fmt.Fprintf(&text, "%s = %s\n", name, params[name])
	}
	s.writeFile("main.cf", text.String())
	for name, text := range cfg.Files {
		s.writeFile(name, text)
	}
}

// writeMasterCF writes master.cf, with smtpd on the server's addresses.
func (s *Server) writeMasterCF() {
	s.t.Helper()
	smtpd := " inet n - n - 100 smtpd\n"
	text := s.addr + smtpd
	if s.ipv6 {
		text += s.Addr6() + smtpd
	}
	s.writeFile("master.cf", text+masterCF)
}

// writeFile writes a configuration file. It dates it back: every Postfix program that reads main.cf waits until the file is
// more than a second old, in case somebody is still writing it.
func (s *Server) writeFile(name, text string) {
	s.t.Helper()
	path := s.path("etc", name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		s.t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		s.t.Fatal(err)
	}
}

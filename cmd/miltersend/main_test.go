package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUsage(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"", "-addr is required"},
		{"-addr filter.sock", "want unix:/path"},
		{"-addr tcp:1@h", "write inet:1@h"},
		{"-addr localhost:8890", "write inet:8890@localhost"},
		{"-addr /f a.eml b.eml", "one mail at a time, not 2"},
		{"-addr /f -timeout 0", "must be above zero"},
		{"-addr /f -limit -1s", "must be above zero"},
		{"-addr /f -rcpt a@example.org,", "empty address"},
		{"-addr /f -client-addr x", "want ip:port"},
		{"-addr /f -client-addr unix:", "want ip:port"},
		{"-addr /f -client-addr 192.0.2.1", "want ip:port"},
		{"-addr /f -client-addr mx.example.org:25", "want ip:port"},
		{"-addr /f -macro x", "want name=value"},
		{"-addr /f -macro =x", "want name=value"},
		{"-addr /f -macro rcpt:=x", "want name=value"},
		{"-addr /f -macro later:i=x", `unknown stage "later"`},
		{"-addr /f -mta exim", "want postfix or sendmail"},
		{"-addr /f -version 1", "want 2 to 6"},
		{"-addr /f -version 7", "want 2 to 6"},
		{"-addr /f -version 22", "want 2 to 6"},
		{"-addr /f -without SMFIP_NONE", `no bit "SMFIP_NONE", want of SMFIF_ADDHDRS|`},
		{"-addr /f -without SMFIF_ADDHDRS,", `no bit ""`},
		{"-addr /f -n 0", "-n and -c must be above zero"},
		{"-addr /f -n 2 -c 0", "-n and -c must be above zero"},
		{"-addr /f -c 2", "say how many with -n"},
		{"-addr /f -keep", "say how many with -n"},
		{"-addr /f -show -json", "-show is for the steps of one mail"},
		{"-addr /f -show -n 2", "-show is for the steps of one mail"},
		{"-addr /f -nothing", "not defined: -nothing"},
	} {
		t.Run(tt.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(strings.Fields(tt.args), strings.NewReader(""), &stdout, &stderr))
			assert.Contains(t, stderr.String(), tt.want)
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run([]string{"-help"}, strings.NewReader(""), &stdout, &stderr))
	assert.Contains(t, stdout.String(), "-client-addr")
	assert.Contains(t, stdout.String(), "13   quarantined")
	assert.Empty(t, stderr.String())
}

func TestUnreadableMail(t *testing.T) {
	got := sendMail("", "/f", filepath.Join(t.TempDir(), "none.eml"))
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stderr, "none.eml: no such file or directory")

	got = sendMail("A: \x00\n", "/f")
	assert.Equal(t, exitError, got.status)
	assert.Equal(t, "miltersend: mail -: header field A holds a NUL, which the milter protocol cannot carry\n", got.stderr)
}

func TestEmptyMail(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail("", f.serve(t))
	assert.Zero(t, got.status, got.stderr)
	assert.Equal(t, []string{"mail sender@example.org", "rcpt recipient@example.com", "data", "eoh", "eom"}, f.seen()[2:])
}

// The mails of examples/mail reach a filter byte for byte, through the MTA that shows it every field.
func TestExampleMails(t *testing.T) {
	for _, name := range []string{"plain.eml", "report.eml"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("..", "..", "examples", "mail", name)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			f := &fakeFilter{}
			got := sendMail("", f.serve(t, milter.WithProtocol(milter.OptHeaderLeadingSpace)), "-mta", "sendmail", path)
			require.Zero(t, got.status, got.stderr)
			assert.Contains(t, got.stdout, "\nno changes\n")

			var mail strings.Builder
			for _, event := range f.seen() {
				step, about, _ := strings.Cut(event, " ")
				switch step {
				case "header":
					mail.WriteString(strings.Replace(about, "=", ":", 1) + "\n")
				case "eoh":
					mail.WriteString("\n")
				case "body":
					mail.WriteString(strings.ReplaceAll(about, "\r\n", "\n"))
				}
			}
			assert.Equal(t, string(raw), mail.String())
		})
	}
}

func TestEnvelopeOfMail(t *testing.T) {
	for _, tt := range []struct {
		name, header, args string
		from               string
		rcpts              []string
	}{
		{"no header", "", "", "<sender@example.org>", []string{"<recipient@example.com>"}},
		{"From and To", "From: Accounts <a@example.org>\nTo: b@example.org,\n \"C, D\" <c@example.org>\n", "",
			"<a@example.org>", []string{"<b@example.org>", "<c@example.org>"}},
		{"quoted", "From: \"a b\"@example.org\n", "", `<"a b"@example.org>`, []string{"<recipient@example.com>"}},
		{"Return-Path first", "From: a@example.org\nReturn-Path: <r@example.org>\n", "", "<r@example.org>", []string{"<recipient@example.com>"}},
		{"null sender", "Return-Path: <>\nFrom: a@example.org\n", "", "<>", []string{"<recipient@example.com>"}},
		{"unreadable", "From: nobody\nTo: undisclosed-recipients:;\n", "", "<sender@example.org>", []string{"<recipient@example.com>"}},
		{"command line first", "From: a@example.org\nTo: b@example.org\n", "-from <c@example.org> -rcpt d@example.org",
			"<c@example.org>", []string{"d@example.org"}},
		{"null sender on the command line", "From: a@example.org\n", "-from <>", "<>", []string{"<recipient@example.com>"}},
		{"arguments", "From: a@example.org\n", "-from-args SIZE=1 -rcpt-args NOTIFY=NEVER -rcpt b@example.org,c@example.org",
			"<a@example.org> SIZE=1", []string{"b@example.org NOTIFY=NEVER", "c@example.org NOTIFY=NEVER"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			opt, err := parseOptions(append([]string{"-addr", "/f"}, strings.Fields(tt.args)...))
			require.NoError(t, err)
			require.NoError(t, opt.readMail(strings.NewReader(tt.header)))
			assert.Equal(t, tt.from, opt.mail.From)
			assert.Equal(t, tt.rcpts, opt.mail.To)
		})
	}

	opt, err := parseOptions([]string{"-addr", "/f", "-from", ""})
	require.NoError(t, err)
	assert.Equal(t, "<>", opt.mail.From)
}

func TestVisible(t *testing.T) {
	for in, want := range map[string]string{
		`plain "quoted" text`: `plain "quoted" text`,
		`back\slash \"`:       `back\\slash \\"`,
		"\x1b]0;t\x07":        `\x1b]0;t\a`,
		"\r\n\t\x00\x7f":      `\r\n\t\x00\x7f`,
		"\u009b31m \u202e":    `\u009b31m \u202e`,
		"käse \xe4":           `käse \xe4`,
	} {
		assert.Equal(t, want, visible(in))
	}
	assert.Equal(t, "a\\\\t\tb\\r|c\\n", visibleLines("a\\t\tb\r\r\nc\n", "\r\n", "|"))
}

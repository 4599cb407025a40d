package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"

	"github.com/libmilter/go-libmilter/miltertest"
)

func TestChanges(t *testing.T) {
	f := &fakeFilter{change: func(m milter.Modifier) error {
		return errors.Join(
			m.Progress(),
			m.AddHeader("X-Added", "one\n\ttwo\x1b[31m"),
			m.InsertHeader(0, "X-First", "1"),
			m.ChangeHeader(1, "Subject", ""),
			m.ChangeFrom("new@example.org", "SIZE=1"),
			m.AddRecipient("added@example.org", ""),
			m.AddRecipient("par@example.org", "NOTIFY=NEVER"),
			m.DeleteRecipient("b@example.org"),
			m.ReplaceBody(strings.NewReader(strings.Repeat("x", 100000))),
		)
	}}
	got := sendMail("To: b@example.org\n\nhello\n", f.serve(t), "-from", "<a@example.org>")
	assert.Zero(t, got.status, got.stderr)
	_, got.stdout, _ = strings.Cut(got.stdout, "\nEOM ")
	head, diff, _ := strings.Cut(got.stdout, "\n\n")
	assert.Equal(t, `-> SMFIS_ACCEPT
  progress reports: 1
  AddHeader("X-Added", "one\n\ttwo\x1b[31m")
  InsertHeader(0, "X-First", "1")
  ChangeHeader("Subject", 1, "")
  ChangeFrom("<new@example.org>", "SIZE=1")
  AddRcpt("<added@example.org>")
  AddRcptPar("<par@example.org>", "NOTIFY=NEVER")
  DelRcpt("<b@example.org>")
  ReplaceBody(100000 bytes)
Quit
VERDICT accept`, head)
	assert.Contains(t, diff, `--- sent
+++ held
@@ `)
	assert.Contains(t, diff, `-MAIL FROM:<a@example.org>
-RCPT TO:<b@example.org>
+MAIL FROM:<new@example.org> SIZE=1
+RCPT TO:<added@example.org>
+RCPT TO:<par@example.org> NOTIFY=NEVER
`)
	assert.Contains(t, diff, "\n+X-Added: one\n+\ttwo\\x1b[31m\n")
	assert.True(t, strings.HasSuffix(diff, "\nbody replaced: 100000 bytes instead of 7\n"), diff)
}

func TestDiffOfSmallChange(t *testing.T) {
	f := &fakeFilter{change: func(m milter.Modifier) error {
		return errors.Join(m.AddHeader("X-Added", "one"), m.ReplaceBody(strings.NewReader("hello\r\nthere\r\n")))
	}}
	for _, opt := range []milter.OptProtocol{0, milter.OptHeaderLeadingSpace} {
		got := sendMail("A: 1\n\nhello\n", f.serve(t, milter.WithProtocol(opt)))
		assert.Zero(t, got.status, got.stderr)
		_, diff, _ := strings.Cut(got.stdout, "VERDICT accept\n\n")
		added := "X-Added: one"
		if opt != 0 {
			added = "X-Added:one" // a filter that negotiates the leading space sends it
		}
		assert.Equal(t, `--- sent
+++ held
@@ -2,5 +2,7 @@
 RCPT TO:<recipient@example.com>
 
 A: 1
+`+added+`
 
 hello
+there
`, diff)
	}
}

func TestQuarantine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reply  *milter.Response
		status int
		want   string
	}{
		{"accept", milter.RespAccept, 13, "VERDICT quarantine looks odd\n\nno changes\n"},
		{"continue", milter.RespContinue, 13, "VERDICT quarantine looks odd\n\nno changes\n"},
		{"reject", milter.RespReject, 10, "VERDICT reject\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{
				change:  func(m milter.Modifier) error { return m.Quarantine("looks odd") },
				replies: map[string]*milter.Response{"eom": tt.reply},
			}
			got := sendMail(smallMail, f.serve(t))
			assert.Equal(t, tt.status, got.status, got.stderr)
			assert.True(t, strings.HasSuffix(got.stdout, "  Quarantine(\"looks odd\")\nQuit\n"+tt.want), got.stdout)
		})
	}
}

func TestShow(t *testing.T) {
	const mail = "\n\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\n\nFrom: a@example.org\nTo: b@example.org\n" +
		"Subject: one\n\ttwo \\xe4\nX-Added: one\n\n"
	for _, tt := range []struct {
		name, body, want string
		reply            *milter.Response
	}{
		{"accepted", "a\r\n\x1b\tb\nc\r\n", "VERDICT accept" + mail + "a\n\\x1b\tb\\nc\n", milter.RespAccept},
		{"binary", "a\x00b", "VERDICT accept" + mail + "(a body of 3 bytes that are no text)\n", milter.RespAccept},
		{"rejected", "a", "VERDICT reject\n", milter.RespReject},
		{"discarded", "a", "VERDICT discard\n", milter.RespDiscard},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{replies: map[string]*milter.Response{"eom": tt.reply}, change: func(m milter.Modifier) error {
				return errors.Join(m.AddHeader("X-Added", "one"), m.ReplaceBody(strings.NewReader(tt.body)))
			}}
			got := sendMail(smallMail, f.serve(t), "-show")
			assert.True(t, strings.HasSuffix(got.stdout, tt.want), got.stdout)
		})
	}
}

func TestDiff(t *testing.T) {
	mail := func(body string) *miltertest.Result {
		return &miltertest.Result{From: "<a@example.org>", Header: miltertest.Header{{Name: "A", Value: "1"}}, Body: body}
	}
	lines := func(text string, n int) string { return strings.Repeat(text+"\r\n", n) }
	long := lines("one", 10000)
	for _, tt := range []struct{ name, sent, held, want string }{
		{"none", "one\r\n", "one\r\n", "no changes\n"},
		{"none, binary", "\x00", "\x00", "no changes\n"},
		{"line", "one\r\ntwo\r\n", "one\r\nthree\r\n", "@@ -3,4 +3,4 @@\n A: 1\n \n one\n-two\n+three\n"},
		{"line end", "one\r\n", "one\n", "@@ -2,4 +2,4 @@\n \n A: 1\n \n-one\n+one\\n\n\\ No newline at end of file\n"},
		{"escaped", "one\r\n", "\x1b]0;\x07\xff\u202e\r\n", "-one\n+\\x1b]0;\\a\\xff\\u202e\n"},
		{"binary", "one\r\n", "a\x00\r\n", "body replaced: 4 bytes instead of 5\n"},
		{"from binary", "a\x00\r\n", "one\r\n", "body replaced: 5 bytes instead of 4\n"},
		{"same length", "a\x00", "b\x00", "body replaced: 2 bytes instead of 2\n"},
		{"long", "one\r\n", long, "body replaced: 50000 bytes instead of 5\n"},
		{"line of a long one", long, long[:20000] + "two\r\n" + long[20000:], "\n one\n+two\n one\n"},
		{"long line", "one\r\n", strings.Repeat("x", maxDiff), "body replaced: 16384 bytes instead of 5\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := diff(mail(tt.sent), mail(tt.held))
			assert.Contains(t, got, tt.want)
			assert.Less(t, len(got), maxDiff+100)
			assert.Equal(t, strings.HasPrefix(tt.want, "body"), strings.HasPrefix(got, "body"), got)
		})
	}
}

func TestDiffBesideBinaryBody(t *testing.T) {
	sent := &miltertest.Result{From: "<a@example.org>", Body: "\x00" + strings.Repeat("x", 100000)}
	held := &miltertest.Result{From: "<b@example.org>", Body: sent.Body}
	assert.Equal(t, "--- sent\n+++ held\n@@ -1,3 +1,3 @@\n-MAIL FROM:<a@example.org>\n+MAIL FROM:<b@example.org>\n \n \n", diff(sent, held))
}

// A diff shows what the filter has changed, not what the MTA does to a mail by itself.
func TestDiffOfWhatTheMTADrops(t *testing.T) {
	for _, mta := range []string{"postfix", "sendmail"} {
		f := &fakeFilter{}
		got := sendMail("Return-Path: <a@example.org>\nTo: b@example.org\nBcc: c@example.org\nContent-Length: 6\n\nhello\n", f.serve(t), "-mta", mta)
		assert.True(t, strings.HasSuffix(got.stdout, "\nVERDICT accept\n\nno changes\n"), got.stdout)
	}
}

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
)

func TestChanges(t *testing.T) {
	f := &fakeFilter{change: func(m milter.Modifier) error {
		return errors.Join(
			m.Progress(),
			m.AddHeader("X-Added", "one\n\ttwo"),
			m.InsertHeader(0, "X-First", "\x1b[31mred"),
			m.InsertHeader(2, "X-Third", "3"),
			m.InsertHeader(99, "X-Last", "9"),
			m.ChangeHeader(2, "received", "changed"),
			m.ChangeHeader(1, "Subject", ""),
			m.ChangeHeader(7, "Subject", "new"),
			m.ChangeHeader(7, "Nothing", ""),
			m.ChangeFrom("new@example.org", "SIZE=1"),
			m.AddRecipient("added@example.org", ""),
			m.AddRecipient("par@example.org", "NOTIFY=NEVER"),
			m.DeleteRecipient("b@example.org"),
			m.ReplaceBody(strings.NewReader(strings.Repeat("x", 100000))),
		)
	}}
	mail := "Received: 1\nReceived: 2\nSubject: old\nTo: b@example.org\n\nhello\n"
	got := sendMail(mail, f.serve(t), "-show", "-from", "<a@example.org>")
	assert.Zero(t, got.status, got.stderr)
	_, got.stdout, _ = strings.Cut(got.stdout, "END OF MESSAGE")
	assert.Equal(t, ` -> accept
  add header X-Added: one\n\ttwo
  insert header at 0 X-First: \x1b[31mred
  insert header at 2 X-Third: 3
  insert header at 99 X-Last: 9
  change header 2 received: changed
  delete header 1 Subject
  change header 7 Subject: new
  delete header 7 Nothing
  change sender to <new@example.org> SIZE=1
  add recipient <added@example.org>
  add recipient <par@example.org> NOTIFY=NEVER
  delete recipient <b@example.org>
  replace body with 100000 bytes
QUIT
VERDICT accept

MAIL FROM:<new@example.org> SIZE=1
RCPT TO:<added@example.org>
RCPT TO:<par@example.org> NOTIFY=NEVER

X-First: \x1b[31mred
Received: 1
X-Third: 3
received: changed
To: b@example.org
X-Added: one
	two
X-Last: 9
Subject: new
`, got.stdout)
}

func TestQuarantine(t *testing.T) {
	for _, tt := range []struct {
		name   string
		reply  *milter.Response
		status int
		want   string
	}{
		{"accept", milter.RespAccept, 13, "VERDICT quarantine\n"},
		{"continue", milter.RespContinue, 13, "VERDICT quarantine\n"},
		{"reject", milter.RespReject, 10, "VERDICT reject\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{
				change:  func(m milter.Modifier) error { return m.Quarantine("looks odd") },
				replies: map[string]*milter.Response{"eom": tt.reply},
			}
			got := sendMail(smallMail, f.serve(t))
			assert.Equal(t, tt.status, got.status, got.stderr)
			assert.Contains(t, got.stdout, "  quarantine: looks odd\nQUIT\n"+tt.want)
		})
	}
}

func TestShowLeadingSpace(t *testing.T) {
	f := &fakeFilter{change: func(m milter.Modifier) error { return m.AddHeader("X-Added", " one") }}
	got := sendMail("A: 1\n\n", f.serve(t, milter.WithProtocol(milter.OptHeaderLeadingSpace)), "-show")
	assert.Zero(t, got.status, got.stderr)
	assert.True(t, strings.HasSuffix(got.stdout, "\n\nA: 1\nX-Added: one\n"), got.stdout)
}

func TestShowOnlyWhatIsDelivered(t *testing.T) {
	for reply, shown := range map[*milter.Response]bool{milter.RespAccept: true, milter.RespReject: false, milter.RespDiscard: false} {
		f := &fakeFilter{replies: map[string]*milter.Response{"data": reply}}
		got := sendMail(smallMail, f.serve(t), "-show")
		assert.Equal(t, shown, strings.Contains(got.stdout, "\n\nMAIL FROM:<a@example.org>\nRCPT TO:<b@example.org>\n\nFrom: a@example.org\n"), got.stdout)
	}
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
}

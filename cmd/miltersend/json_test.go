package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// object is a JSON object as a program reads it.
type object = map[string]any

// sendJSON runs the command with -json and gives its one object.
func sendJSON(t *testing.T, mail, addr string, args ...string) (object, left) {
	t.Helper()
	got := sendMail(mail, addr, append([]string{"-json"}, args...)...)
	require.Equal(t, 1, strings.Count(got.stdout, "\n"), got.stdout)
	assert.Empty(t, got.stderr)
	var o object
	require.NoError(t, json.Unmarshal([]byte(got.stdout), &o))
	return o, got
}

func TestJSON(t *testing.T) {
	f := &fakeFilter{
		replies: map[string]*milter.Response{"rcpt c@example.org": reply(t, 550, "5.1.1 no\nnever")},
		change: func(m milter.Modifier) error {
			return errors.Join(m.Progress(), m.AddHeader("X-Added", "one"), m.InsertHeader(0, "X-First", "<1>"), m.DeleteRecipient("b@example.org"),
				m.AddRecipient("d@example.org", "NOTIFY=NEVER"), m.ReplaceBody(strings.NewReader(strings.Repeat("x", 100000))))
		},
	}
	o, got := sendJSON(t, "A: 1\n\nhello\n", f.serve(t, milter.WithProtocol(milter.OptNoEOH|milter.OptNoDataReply)),
		"-rcpt", "b@example.org,c@example.org", "-from", "a@example.org", "-from-args", "SIZE=1")
	assert.Zero(t, got.status)

	assert.Equal(t, object{"version": 6.0, "protocol": []any{"SMFIP_NOEOH", "SMFIP_NR_DATA"}, "actions": []any{
		"SMFIF_ADDHDRS", "SMFIF_CHGBODY", "SMFIF_ADDRCPT", "SMFIF_DELRCPT", "SMFIF_CHGHDRS", "SMFIF_QUARANTINE", "SMFIF_CHGFROM",
		"SMFIF_ADDRCPT_PAR", "SMFIF_SETSYMLIST"}}, o["negotiated"])
	goesOn := func(name, text string) any { return object{"name": name, "text": text, "status": "SMFIS_CONTINUE"} }
	assert.Equal(t, []any{
		goesOn("Connect", "client.example.org [192.0.2.10]:40000"), goesOn("Helo", "client.example.org"),
		goesOn("MailFrom", "<a@example.org> SIZE=1"), goesOn("RcptTo", "<b@example.org>"),
		object{"name": "RcptTo", "text": "<c@example.org>", "status": "SMFIS_REJECT", "code": 550.0, "xcode": "5.1.1", "lines": []any{"no", "never"},
			"client": []any{"550-5.1.1 no", "550 5.1.1 never"}},
		object{"name": "Data", "text": "", "status": "SMFIS_NOREPLY"},
		goesOn("Header", "A: 1"),
		object{"name": "EOH", "text": "", "status": "SMFIS_CONTINUE", "unsent": true},
		goesOn("Segment", "7 bytes"),
		object{"name": "EOM", "text": "", "status": "SMFIS_ACCEPT"},
		object{"name": "Quit", "text": "", "status": "SMFIS_NOREPLY"},
	}, o["steps"])
	assert.Equal(t, "accept", o["verdict"])
	assert.Equal(t, "EOM", o["step"])
	assert.Equal(t, object{"status": "SMFIS_ACCEPT"}, o["reply"])
	assert.Equal(t, []any{
		object{"op": "AddHeader", "name": "X-Added", "value": "one"},
		object{"op": "InsertHeader", "index": 0.0, "name": "X-First", "value": "<1>"},
		object{"op": "DelRcpt", "value": "<b@example.org>"},
		object{"op": "AddRcptPar", "value": "<d@example.org>", "args": "NOTIFY=NEVER"},
		object{"op": "ReplaceBody", "bytes": 100000.0},
	}, o["changes"])
	assert.Equal(t, "<a@example.org> SIZE=1", o["from"])
	assert.Equal(t, []any{"<d@example.org> NOTIFY=NEVER"}, o["rcpts"])
	assert.Contains(t, o["header"], object{"name": "A", "value": "1"})
	assert.Len(t, o["header"], 3)
	assert.Equal(t, strings.Repeat("x", 100000), o["body"])
	assert.Equal(t, 1.0, o["progress"])
	assert.Greater(t, o["ms"], 0.0)
	assert.Contains(t, o["transcript"], `> SMFIC_HELO "client.example.org"`)
	assert.NotContains(t, o, "quarantine")
	assert.NotContains(t, o, "error")
	assert.Contains(t, got.stdout, `"<1>"`, "no HTML")
}

func TestJSONVerdicts(t *testing.T) {
	for _, tt := range []struct {
		reply  *milter.Response
		status int
		want   object
	}{
		{milter.RespReject, 10, object{"verdict": "reject", "step": "MailFrom", "reply": object{"status": "SMFIS_REJECT", "client": []any{"550 5.7.1 Command rejected"}}}},
		{reply(t, 421, "4.3.2 later"), 11, object{"verdict": "tempfail", "step": "MailFrom",
			"reply": object{"status": "SMFIS_TEMPFAIL", "code": 421.0, "xcode": "4.3.2", "lines": []any{"later"}, "client": []any{"421 4.3.2 later"}}}},
		{milter.RespDiscard, 12, object{"verdict": "discard", "step": "MailFrom", "reply": object{"status": "SMFIS_DISCARD"}}},
	} {
		f := &fakeFilter{replies: map[string]*milter.Response{"mail": tt.reply}}
		o, got := sendJSON(t, smallMail, f.serve(t))
		assert.Equal(t, tt.status, got.status)
		for _, name := range []string{"negotiated", "steps", "ms", "transcript"} {
			delete(o, name)
		}
		tt.want["changes"], tt.want["progress"] = []any{}, 0.0
		assert.Equal(t, tt.want, o, "the mail is not held")
	}
	f := &fakeFilter{change: func(m milter.Modifier) error { return m.Quarantine("looks odd") }}
	o, got := sendJSON(t, smallMail, f.serve(t))
	assert.Equal(t, 13, got.status)
	assert.Equal(t, "quarantine", o["verdict"])
	assert.Equal(t, "looks odd", o["quarantine"])
	assert.Equal(t, "hello\r\n", o["body"])
}

// Every byte survives, and none of them acts on a terminal.
func TestJSONOfBytes(t *testing.T) {
	const body = "käse\u009b31m\u202e\U000e0001\x1b\x7f\r\n"
	o, got := sendJSON(t, "Subject: \xe4\n\n"+body, (&fakeFilter{}).serve(t))
	assert.Equal(t, []any{object{"name": "Subject", "value": object{"base64": base64.StdEncoding.EncodeToString([]byte("\xe4"))}}}, o["header"])
	assert.Equal(t, body, o["body"])
	assert.Contains(t, got.stdout, "käse")
	assert.Equal(t, visible(got.stdout), strings.ReplaceAll(strings.ReplaceAll(got.stdout, `\`, `\\`), "\n", `\n`), "all is printable")

	o, _ = sendJSON(t, "A: 1\n\n\x00\xff\n", (&fakeFilter{}).serve(t))
	assert.Equal(t, object{"base64": base64.StdEncoding.EncodeToString([]byte("\x00\xff\r\n"))}, o["body"])
}

func TestJSONErrors(t *testing.T) {
	o, got := sendJSON(t, smallMail, "unix:/nonexistent/f")
	assert.Equal(t, exitError, got.status)
	failed := o["error"].(object)
	assert.Equal(t, "Dial", failed["step"])
	assert.Contains(t, failed["message"], "no such file or directory")
	assert.Contains(t, failed["hint"], "There is no such socket")
	assert.NotContains(t, o, "verdict")
	assert.NotContains(t, o, "negotiated")

	o, got = sendJSON(t, smallMail, (&fakeFilter{breaks: "mail"}).serve(t))
	assert.Equal(t, exitError, got.status)
	assert.Equal(t, object{"step": "MailFrom", "message": "the filter closed the connection: EOF"}, o["error"])
	assert.NotContains(t, o, "verdict")
	assert.Len(t, o["steps"], 2)
	assert.Contains(t, o["transcript"], `> SMFIC_MAIL "<a@example.org>"`)

	o, _ = sendJSON(t, smallMail, serveRaw(t, func(net.Conn) {}))
	assert.Equal(t, "Negotiate", o["error"].(object)["step"])
	assert.Len(t, o["transcript"], 1)
}

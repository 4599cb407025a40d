package postfix

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

const sinkHead = `X-Client-Addr: local
X-Client-Proto: LMTP
X-Helo-Args: mail.example.org
X-Mail-Args: <a@example.com> SIZE=12 BODY=8BITMIME
X-Rcpt-Args: <b@example.org> ORCPT=rfc822;b@example.org
X-Rcpt-Args: <"c > d"@example.org>
Received: from mail.example.org ([local])
	by smtp-sink (smtp-sink) with LMTP id 6f89c8fd;
	Sun, 22 Nov 2026 14:18:45 +0000 (UTC)
`

func TestParseMail(t *testing.T) {
	tests := []struct {
		name, mail string
		header     []string
		body       string
	}{
		{"whole", "A: 1\nB:  folded\n\tonce\n x\nC:\n\nline\n\nline\n", []string{"A: 1", "B:  folded\n\tonce\n x", "C:"}, "line\n\nline\n"},
		{"empty body", "A: 1\n\n", []string{"A: 1"}, ""},
		{"no body", "A: 1\n", []string{"A: 1"}, ""},
		{"the sink's names again", "X-Mail-Args: x\nReceived: y\n\n", []string{"X-Mail-Args: x", "Received: y"}, ""},
		{"body of empty lines", "A: 1\n\n\n\n", []string{"A: 1"}, "\n\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mail, err := parseMail(sinkHead + tt.mail + "\n")
			require.NoError(t, err)
			assert.Equal(t, harness.Path{Address: "a@example.com", Args: []string{"SIZE=12", "BODY=8BITMIME"}}, mail.From)
			assert.Equal(t, []harness.Path{
				{Address: "b@example.org", Args: []string{"ORCPT=rfc822;b@example.org"}},
				{Address: `"c > d"@example.org`},
			}, mail.Rcpts)
			assert.Equal(t, tt.header, mail.Header)
			assert.Equal(t, tt.body, string(mail.Body))
		})
	}
}

func TestParseMailErrors(t *testing.T) {
	tests := []struct{ name, dump, message string }{
		{"no mail of the sink", "A: 1\n\nbody\n\n", "no Received field of smtp-sink"},
		{"sender without brackets", "X-Mail-Args: a@example.com\n\n", `no envelope address in "a@example.com"`},
		{"recipient without brackets", "X-Rcpt-Args: \n\n", `no envelope address in ""`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parseMail(tt.dump)
			require.EqualError(t, err, tt.message)
		})
	}
}

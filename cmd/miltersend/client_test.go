package main

import (
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the client is told is shown where it is not what the filter said.
func TestClientIsTold(t *testing.T) {
	reply, err := milter.RejectWithCodeAndReason(550, "5.1.1 No 100% such user")
	require.NoError(t, err)
	for mta, want := range map[string]string{
		"postfix":  "VERDICT reject 550 5.1.1 No 100% such user\n",
		"sendmail": "VERDICT reject 550 5.1.1 No 100% such user\n  the client is told: 550 5.1.1 <b@example.org>... No 100% such user\n",
	} {
		f := &fakeFilter{replies: map[string]*milter.Response{"rcpt": reply}}
		got := sendMail(smallMail, f.serve(t), "-mta", mta, "-rcpt", "b@example.org")
		assert.True(t, strings.HasSuffix(got.stdout, want), got.stdout)
		f = &fakeFilter{replies: map[string]*milter.Response{"rcpt": reply}}
		got = sendMail(smallMail, f.serve(t), "-mta", mta, "-rcpt", "b@example.org", "-json")
		_, told, _ := strings.Cut(want, "is told: ")
		assert.Contains(t, got.stdout, `"client":["`+strings.TrimSpace(told))
	}
}

// A mail that does not come by SMTP.
func TestLocal(t *testing.T) {
	for mta, want := range map[string]string{
		"postfix":  "Connect localhost [127.0.0.1]:0 -> SMFIS_CONTINUE\nHelo localhost -> SMFIS_CONTINUE\nMailFrom a@example.org -> ",
		"sendmail": "Connect localhost [unknown] -> SMFIS_CONTINUE\nHelo localhost -> SMFIS_CONTINUE\nMailFrom <a@example.org> -> ",
	} {
		f := &fakeFilter{}
		got := sendMail(smallMail, f.serve(t), "-mta", mta, "-local", "-from", "a@example.org")
		assert.Zero(t, got.status, got.stderr)
		assert.Contains(t, got.stdout, want)
	}
}

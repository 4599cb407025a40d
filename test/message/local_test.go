package message

import (
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// Mail that does not come by SMTP, and clients of which little is known: a null sender is one however it is written.
func TestLocalMail(t *testing.T) {
	t.Parallel()
	var seen mails
	f := miltertest.StartServer(t, &milter.Server{Callbacks: milter.Callbacks{Message: seen.add}})
	const data = "Subject: one\n\nbody\n"
	for name, tc := range map[string]struct {
		mta      miltertest.MTA
		mail     miltertest.Mail
		want     mail
		isNull   bool
		mailbox  string
		rcpt     string
		rcptArgs []string
	}{
		"Postfix": {miltertest.Postfix(), miltertest.Mail{Local: true, From: "<a@example.org>", To: []string{"<b@example.com> NOTIFY=NEVER"}},
			mail{Host: "localhost", Addr: "tcp 127.0.0.1:0", Helo: "localhost"}, false, "a@example.org", "b@example.com", nil},
		"Postfix, null sender": {miltertest.Postfix(), miltertest.Mail{Local: true, From: "<>", To: []string{"<b@example.com>"}},
			mail{Host: "localhost", Addr: "tcp 127.0.0.1:0", Helo: "localhost"}, true, "", "b@example.com", nil},
		"Sendmail": {miltertest.Sendmail(), miltertest.Mail{Local: true, From: "<a@example.org>", To: []string{"<b@example.com> NOTIFY=NEVER"}},
			mail{Host: "localhost", Helo: "localhost"}, false, "a@example.org", "b@example.com", []string{"NOTIFY=NEVER"}},
		"Sendmail, null sender": {miltertest.Sendmail(), miltertest.Mail{Local: true, From: "<>", To: []string{"<b@example.com>"}},
			mail{Host: "localhost", Helo: "localhost"}, true, "", "b@example.com", nil},
		"unix socket": {miltertest.Postfix(), miltertest.Mail{Client: "c", Addr: &net.UnixAddr{Name: "/run/client", Net: "unix"}, From: "<>", To: []string{"<b@example.com>"}},
			mail{Host: "c", Addr: "unix /run/client", Helo: "c"}, true, "", "b@example.com", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tc.mail.Data = data
			result := f.For(t).With(tc.mta).Send(tc.mail)
			require.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
			got := seen.take()
			require.Len(t, got, 1)
			assert.Equal(t, tc.want, mail{Host: got[0].Host, Addr: got[0].Addr, Helo: got[0].Helo})
			assert.Equal(t, tc.isNull, got[0].From.IsNull())
			assert.Equal(t, tc.mailbox, got[0].From.Mailbox())
			require.Len(t, got[0].Rcpts, 1)
			assert.Equal(t, tc.rcpt, got[0].Rcpts[0].Mailbox())
			assert.Equal(t, tc.rcptArgs, got[0].Rcpts[0].Args)
			assert.Equal(t, []string{"Subject: one"}, got[0].Header)
			assert.Equal(t, "body\r\n", got[0].Body)
		})
	}
}

// A session may have neither client nor HELO.
func TestNoClient(t *testing.T) {
	t.Parallel()
	var seen mails
	f := miltertest.StartServer(t, &milter.Server{Callbacks: milter.Callbacks{Message: seen.add}})
	c := f.Connect()
	c.MailFrom("<>")
	c.RcptTo("<b@example.com>")
	c.EOH()
	require.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict)
	c.Quit()
	got := seen.take()
	require.Len(t, got, 1)
	assert.Empty(t, got[0].Host+got[0].Addr+got[0].Helo)
	assert.True(t, got[0].From.IsNull())
}

//go:build cgo

package milter_test

import (
	"io"
	"net/textproto"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// outcomes does what its mail's sender says, and tells whom a mail is for.
var outcomes = register("outcomes", func(e *child) *milter.Server {
	srv := &milter.Server{
		SocketMode: 0o666,
		Actions:    milter.SMFIF_CHGBODY,
		Protocol:   milter.SMFIP_RCPT_REJ | milter.SMFIP_NR_HDR,
		Macros:     map[milter.Stage][]string{milter.SMFIM_ENVRCPT: {"i"}},
	}
	srv.Callbacks.Unknown = func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
	srv.Callbacks.Header = func(_ *milter.Session, name, value string) milter.Status {
		if name == "X-Panic" {
			panic("out of order")
		}
		return milter.SMFIS_NOREPLY
	}
	srv.Callbacks.Message = func(s *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
		var rcpts []any
		for _, rcpt := range msg.Rcpts {
			rcpts = append(rcpts, rcpt.Address)
		}
		e.emit(s.ID(), "rcpts", rcpts...)
		if msg.From.Mailbox() == "body@example.com" {
			const pieces = 200_000 / 16
			left := pieces
			err := m.ReplaceBodyFrom(readerFunc(func(p []byte) (int, error) {
				if left--; left < 0 {
					return 0, io.EOF
				}
				if left%1000 == 0 {
					if err := m.Progress(); err != nil { // as KeepAlive
						panic(err)
					}
				}
				return copy(p, "0123456789abcd\r\n"), nil
			}))
			if err != nil {
				panic(err)
			}
		}
		return milter.SMFIS_CONTINUE
	}
	return srv
})

// What becomes of mails at both MTAs where a filter has Message and something beside it, where a step without an answer
// fails, and where a new body comes while the MTA is kept alive. Recipients that the MTA has refused are shown to the
// filter, as it asks for them, and are not the mail's.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	type server interface {
		Addr() string
		Delivered() []harness.Mail
		WaitDelivered(n int) []harness.Mail
	}
	const refused = "refused@example.org"
	for name, startMTA := range map[string]func(t *testing.T, filter string) server{
		"Postfix": func(t *testing.T, filter string) server {
			return postfix.Start(t, postfix.Config{Milters: []string{filter}, DefaultAction: "accept", Params: map[string]string{
				"smtpd_recipient_restrictions": "check_recipient_access inline:{ { " + refused + " = 550 5.1.1 No such user here } }",
			}})
		},
		"Sendmail": func(t *testing.T, filter string) server {
			return sendmail.Start(t, sendmail.Config{Milters: []string{filter}, MC: "MODIFY_MAILER_FLAGS(`LOCAL', `-A')dnl\n" +
				"MAILER(`local')dnl\nLOCAL_RULE_0\nRrefused < @ example.org $* > $*\t\t$#local $: no-such-user\n"})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, outcomes, withAddr("unix:"+filepath.Join(postfix.TempDir(t), "s"))) // a folder that both believe
			s := startMTA(t, p.Addr)
			conn, err := textproto.Dial("tcp", s.Addr())
			require.NoError(t, err)
			defer conn.Close()
			_, _, err = conn.ReadResponse(220)
			require.NoError(t, err)
			command(t, conn, 250, "EHLO client.example.org")
			mail := func(code int, sender, message string, between ...string) {
				t.Helper()
				command(t, conn, 250, "MAIL FROM:<"+sender+">")
				command(t, conn, 550, "RCPT TO:<"+refused+">")
				command(t, conn, 250, "RCPT TO:<one@example.org>")
				for _, line := range between {
					command(t, conn, 500, line)
				}
				command(t, conn, 354, "DATA")
				command(t, conn, code, message+"\r\n.")
			}
			mail(250, "plain@example.com", "Subject: x\r\n\r\nbody", "FOO", "BAR baz")
			mail(451, "panic@example.com", "Subject: x\r\nX-Panic: yes\r\n\r\nbody", "FOO")
			mail(250, "bare@example.com", "\r\nno header", "FOO")
			mail(250, "body@example.com", "Subject: x\r\n\r\nbody")
			command(t, conn, 221, "QUIT")
			bodies := map[string]string{} // by sender: Postfix delivers in any order
			for _, mail := range s.WaitDelivered(3) {
				assert.Len(t, mail.Rcpts, 1)
				bodies[mail.From.Address] = strings.TrimSpace(string(mail.Body))
			}
			require.Len(t, s.Delivered(), 3)
			assert.Equal(t, "body", bodies["plain@example.com"])
			assert.Equal(t, "no header", bodies["bare@example.com"])
			assert.Len(t, bodies["body@example.com"], 200_000/16*15-1)
			p.stop()
			for _, e := range p.named("rcpts") {
				assert.Equal(t, []string{"<one@example.org>"}, e.Args)
			}
			assert.Len(t, p.named("rcpts"), 3)
		})
	}
}

package sendmail_test

import (
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

const mail = "From: sender@example.com\r\nSubject: a test\r\nX-Folded: a\r\n\tb\r\n\r\nline\r\n.dot\r\n\r\nlast line\r\n"

// send sends a mail. It is smtp.SendMail with a sender.
func send(s *sendmail.Server, from string, rcpts ...string) error {
	return smtp.SendMail(s.Addr(), nil, from, rcpts, []byte(mail))
}

func TestDelivery(t *testing.T) {
	s := sendmail.Start(t, sendmail.Config{})
	require.NoError(t, send(s, "a@example.com", "b@example.org", "c@example.net", "d@mail.example.org", "e@host.invalid"))
	mails := s.Delivered() // before the reply to the end of data
	require.Len(t, mails, 1)
	assert.Equal(t, "a@example.com", mails[0].From.Address)
	var rcpts []string
	for _, rcpt := range mails[0].Rcpts {
		rcpts = append(rcpts, rcpt.Address)
	}
	assert.ElementsMatch(t, []string{"b@example.org", "c@example.net", "d@mail.example.org", "e@host.invalid"}, rcpts)
	assert.Subset(t, mails[0].Header, []string{"From: sender@example.com", "Subject: a test", "X-Folded: a\n\tb"})
	assert.Regexp(t, `^Received: from localhost \(localhost \[127\.0\.0\.1\]\)\n\tby mail\.example\.org \(8\.`, mails[0].Header[0])
	assert.Equal(t, "line\n.dot\n\nlast line\n", string(mails[0].Body))
}

// TestConnection sends several mails over a connection, which is still open when the test ends.
func TestConnection(t *testing.T) {
	s := sendmail.Start(t, sendmail.Config{})
	conn, err := textproto.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, greeting, err := conn.ReadResponse(220)
	require.NoError(t, err)
	assert.Contains(t, greeting, "mail.example.org ESMTP Sendmail 8.")
	for i := range 3 {
		for _, step := range []struct {
			code int
			line string
		}{
			{250, "EHLO client.example.org"}, {250, "MAIL FROM:<a@example.com> BODY=8BITMIME"},
			{250, fmt.Sprintf("RCPT TO:<%d@example.org> NOTIFY=NEVER", i)}, {354, "DATA"}, {250, "A: 1\r\n\r\nbody\r\n."},
		} {
			require.NoError(t, conn.PrintfLine("%s", step.line))
			_, _, err := conn.ReadResponse(step.code)
			require.NoError(t, err, step.line)
		}
	}
	mails := s.WaitDelivered(3)
	assert.Equal(t, []harness.Path{{Address: "2@example.org", Args: []string{"NOTIFY=NEVER"}}}, mails[2].Rcpts)
}

func TestTwoServers(t *testing.T) {
	one, two := sendmail.Start(t, sendmail.Config{}), sendmail.Start(t, sendmail.Config{})
	require.NotEqual(t, one.Addr(), two.Addr())
	require.NoError(t, send(two, "a@example.com", "b@example.org"))
	two.WaitDelivered(1)
	assert.Empty(t, one.Delivered())
}

func TestMC(t *testing.T) {
	s := sendmail.Start(t, sendmail.Config{MC: "define(`confMAX_MESSAGE_SIZE', `50')dnl\ndefine(`confDOMAIN_NAME', `other.example.net')dnl"})
	assert.ErrorContains(t, send(s, "a@example.com", "b@example.org"), `552 "5.2.3 `)
	assert.Contains(t, s.Log(), "220 other.example.net ESMTP")
}

func TestFlags(t *testing.T) {
	closed := []string{"unix:" + filepath.Join(harness.TempDir(t, "milter-"), "nobody-listens")}
	t.Run("tempfail", func(t *testing.T) {
		s := sendmail.Start(t, sendmail.Config{Milters: closed})
		assert.ErrorContains(t, send(s, "a@example.com", "b@example.org"), `451 "4.3.2 `)
	})
	t.Run("reject", func(t *testing.T) {
		s := sendmail.Start(t, sendmail.Config{Milters: closed, Flags: "R"})
		assert.ErrorContains(t, send(s, "a@example.com", "b@example.org"), `554 "mail.example.org ESMTP not accepting messages"`)
	})
}

func TestMilter(t *testing.T) {
	for _, network := range []string{"unix", "tcp4"} {
		t.Run(network, func(t *testing.T) {
			s := sendmail.Start(t, sendmail.Config{Milters: []string{startMilter(t, network)}})

			require.NoError(t, send(s, "a@example.com", "b@example.org"))
			assert.Contains(t, s.WaitDelivered(1)[0].Header, "X-Filtered: yes")

			assert.ErrorContains(t, send(s, "reject@example.com", "b@example.org"), `550 "5.7.1 first line\n5.7.1 second line"`)

			require.NoError(t, send(s, "hold@example.com", "b@example.org"))
			held := s.Held()
			require.Len(t, held, 1)
			assert.Contains(t, s.Log(), held[0]+" Message accepted for delivery")
			assert.Len(t, s.Delivered(), 1)
		})
	}
}

// startMilter starts a milter and returns its address as Sendmail writes it.
func startMilter(t *testing.T, network string) string {
	t.Helper()
	addr := harness.StartMilter(t, network)
	if network == "unix" {
		require.NoError(t, os.Chmod(addr.String(), 0o600))
		return "unix:" + addr.String()
	}
	return fmt.Sprintf("inet:%d@127.0.0.1", addr.(*net.TCPAddr).Port)
}

// TestDaemon sends a mail to a Sendmail that listens itself, which then has an open connection when the test ends.
func TestDaemon(t *testing.T) {
	s := sendmail.Start(t, sendmail.Config{Daemon: true})
	require.NoError(t, send(s, "a@example.com", "b@example.org"))
	require.Len(t, s.Delivered(), 1)
	conn, err := textproto.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { conn.Close() })
	_, _, err = conn.ReadResponse(220)
	require.NoError(t, err)
}

func TestDaemonIPv6(t *testing.T) {
	harness.RequireIPv6(t)
	s := sendmail.Start(t, sendmail.Config{Daemon: true, IPv6: true})
	require.NoError(t, smtp.SendMail(s.Addr6(), nil, "a@example.com", []string{"b@example.org"}, []byte(mail)))
	assert.Contains(t, s.WaitDelivered(1)[0].Header[0], "[IPv6:0:0:0:0:0:0:0:1]")
	require.NoError(t, send(s, "a@example.com", "b@example.org"))
}

// TestTimeouts has a milter that takes the connection and then says nothing.
func TestTimeouts(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	silent := fmt.Sprintf("inet:%d@127.0.0.1", l.Addr().(*net.TCPAddr).Port)
	s := sendmail.Start(t, sendmail.Config{Milters: []string{silent}, Timeouts: "S:1s;R:1s;E:1s"})
	assert.ErrorContains(t, send(s, "a@example.com", "b@example.org"), `451 "4.3.2 `)
}

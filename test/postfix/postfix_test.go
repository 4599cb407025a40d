package postfix_test

import (
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
)

// sentMail is a mail that a careless MTA would change: folds, odd spaces, a stuffed dot, a long line, 8-bit text.
var sentMail = "From: sender@example.com\n" +
	"Subject:  two spaces\n" +
	"X-Folded: one,\n\ttwo,\n  three\n" +
	"X-Empty:\n" +
	"To: unqualified\n" +
	"\n" +
	".dot\n" +
	"\n" +
	strings.Repeat("long ", 1000) + "\n" +
	"gr\u00fc\u00df \xff\n" +
	"\n" +
	"no blank after this\n"

func TestDeliveredAsSent(t *testing.T) {
	s := postfix.Start(t, postfix.Config{})
	assert.Empty(t, s.Delivered())

	// Not with swaks, which ends the mail with an empty line.
	require.NoError(t, smtp.SendMail(s.Addr(), nil, "sender@example.com", []string{"one@example.org", "two@example.net"}, []byte(sentMail)))

	mail := s.WaitDelivered(1)[0]
	assert.Equal(t, harness.Path{Address: "sender@example.com", Args: []string{"BODY=8BITMIME"}}, mail.From)
	assert.ElementsMatch(t, []harness.Path{
		{Address: "one@example.org", Args: []string{"ORCPT=rfc822;one@example.org"}},
		{Address: "two@example.net", Args: []string{"ORCPT=rfc822;two@example.net"}},
	}, mail.Rcpts)
	require.NotEmpty(t, mail.Header)
	assert.Contains(t, mail.Header[0], "Received: from localhost (unknown [127.0.0.1])\n\tby mail.example.org")
	header, body, _ := strings.Cut(sentMail, "\n\n")
	assert.Equal(t, header, strings.Join(mail.Header[1:], "\n"))
	assert.Equal(t, body, string(mail.Body))
	assert.Empty(t, s.Held())
}

func TestDeliveredInOrder(t *testing.T) {
	s := postfix.Start(t, postfix.Config{})
	for i := range 3 {
		transcript, exit := s.Swaks("--to", fmt.Sprintf("r%d@example.org", i))
		require.Zero(t, exit, transcript)
		mail := s.WaitDelivered(i + 1)[i]
		assert.Equal(t, fmt.Sprintf("r%d@example.org", i), mail.Rcpts[0].Address)
	}
}

func TestEveryRecipientReachesTheSink(t *testing.T) {
	s := postfix.Start(t, postfix.Config{})
	rcpts := []string{"root@mail.example.org", "nobody@[127.0.0.1]", "user@localhost", "user@host.invalid", "postmaster@example.org"}
	transcript, exit := s.Swaks("--to", strings.Join(rcpts, ","))
	require.Zero(t, exit, transcript)
	assert.ElementsMatch(t, rcpts, addresses(s.WaitDelivered(1)[0].Rcpts))
}

func TestSMTPSource(t *testing.T) {
	s := postfix.Start(t, postfix.Config{})
	s.SMTPSource("-m", "50", "-s", "5", "-l", "4096")
	mails := s.WaitDelivered(50)
	require.Len(t, mails, 50)
	for _, mail := range mails {
		assert.Equal(t, "sender@example.com", mail.From.Address)
		assert.Equal(t, []string{"recipient@example.org"}, addresses(mail.Rcpts))
		assert.Greater(t, len(mail.Body), 3000)
	}
}

func TestTwoServers(t *testing.T) {
	one, two := postfix.Start(t, postfix.Config{}), postfix.Start(t, postfix.Config{})
	require.NotEqual(t, one.Addr(), two.Addr())
	transcript, exit := two.Swaks("--to", "two@example.org")
	require.Zero(t, exit, transcript)
	two.WaitDelivered(1)
	assert.Empty(t, one.Delivered())
}

func TestParams(t *testing.T) {
	s := postfix.Start(t, postfix.Config{Params: map[string]string{"message_size_limit": "2000", "myhostname": "other.example.net"}})
	transcript, exit := s.Swaks("--to", "recipient@example.org", "--body", strings.Repeat("text\n", 1000))
	assert.NotZero(t, exit)
	assert.Contains(t, transcript, "220 other.example.net ESMTP")
	assert.Contains(t, transcript, "<** 552 5.3.4 ")
}

func TestDefaultAction(t *testing.T) {
	closed := []string{"unix:" + filepath.Join(postfix.TempDir(t), "nobody-listens")}
	t.Run("tempfail", func(t *testing.T) {
		s := postfix.Start(t, postfix.Config{Milters: closed})
		transcript, exit := s.Swaks("--to", "recipient@example.org")
		assert.NotZero(t, exit)
		assert.Contains(t, transcript, "<** 451 4.7.1 Service unavailable")
		s.WaitLog("warning: connect to Milter service " + closed[0])
	})
	t.Run("accept", func(t *testing.T) {
		s := postfix.Start(t, postfix.Config{Milters: closed, DefaultAction: "accept"})
		transcript, exit := s.Swaks("--to", "recipient@example.org")
		require.Zero(t, exit, transcript)
		s.WaitDelivered(1)
	})
}

func TestMilter(t *testing.T) {
	for _, network := range []string{"unix", "tcp4"} {
		t.Run(network, func(t *testing.T) {
			s := postfix.Start(t, postfix.Config{Milters: []string{startMilter(t, network)}})

			transcript, exit := s.Swaks("--to", "recipient@example.org")
			require.Zero(t, exit, transcript)
			assert.Contains(t, s.WaitDelivered(1)[0].Header, "X-Filtered: yes")

			transcript, exit = s.Swaks("--to", "recipient@example.org", "--from", "reject@example.com")
			assert.NotZero(t, exit)
			assert.Contains(t, transcript, "<** 550-5.7.1 first line\n<** 550 5.7.1 second line\n")

			transcript, exit = s.Swaks("--to", "recipient@example.org", "--from", "hold@example.com")
			require.Zero(t, exit, transcript)
			held := s.Held()
			require.Len(t, held, 1)
			assert.Contains(t, transcript, "queued as "+held[0])
			s.WaitLog(held[0] + ": milter-hold: ")
			assert.Len(t, s.Delivered(), 1)
		})
	}
}

// startMilter starts a milter and returns its address as Postfix writes it.
func startMilter(t *testing.T, network string) string {
	t.Helper()
	addr := harness.StartMilter(t, network).String()
	if network == "unix" {
		require.NoError(t, os.Chmod(addr, 0o666))
		return "unix:" + addr
	}
	return "inet:" + addr
}

// addresses returns the addresses of paths.
func addresses(paths []harness.Path) []string {
	list := make([]string, len(paths))
	for i, path := range paths {
		list[i] = path.Address
	}
	return list
}

func TestIPv6(t *testing.T) {
	harness.RequireIPv6(t)
	s := postfix.Start(t, postfix.Config{IPv6: true})
	for i, addr := range []string{s.Addr6(), s.Addr()} {
		require.NoError(t, smtp.SendMail(addr, nil, "sender@example.com", []string{"one@example.org"}, []byte(sentMail)))
		s.WaitDelivered(i + 1)
	}
	assert.Contains(t, s.Delivered()[0].Header[0], "[IPv6:::1]")
}

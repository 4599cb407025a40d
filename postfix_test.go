//go:build cgo

package milter_test

import (
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/postfix"
)

// postfixWith starts a filter and a Postfix that asks it.
func postfixWith(t *testing.T, filter string, options ...option) (*process, *postfix.Server) {
	p := start(t, filter, options...)
	return p, postfix.Start(t, postfix.Config{Milters: []string{p.Addr}})
}

// smtpClient is a connection to Postfix, past EHLO.
func smtpClient(t *testing.T, s *postfix.Server) *textproto.Conn {
	conn, err := textproto.Dial("tcp", s.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, _, err = conn.ReadResponse(220)
	require.NoError(t, err)
	command(t, conn, 250, "EHLO client.example.org")
	return conn
}

// command sends a command and requires a reply code.
func command(t *testing.T, conn *textproto.Conn, code int, line string) string {
	t.Helper()
	require.NoError(t, conn.PrintfLine("%s", line))
	_, text, err := conn.ReadResponse(code)
	require.NoError(t, err, line)
	return text
}

var forPostfix = register("for Postfix", func(e *child) *milter.Server {
	cb := recorder(e)
	cb.Negotiate = nil
	eom := cb.EOM
	cb.EOM = func(s *milter.Session, m *milter.Modifier) milter.Status {
		queueID, ok := s.Macro("i")
		e.emit(s.ID(), "macro i", queueID, ok)
		client, ok := s.Macro("{client_addr}")
		e.emit(s.ID(), "macro client_addr", client, ok)
		return eom(s, m)
	}
	return &milter.Server{SocketMode: 0o666, Callbacks: cb, Protocol: milter.SMFIP_HDR_LEADSPC,
		Macros: map[milter.Stage][]string{milter.SMFIM_CONNECT: {"{client_addr}", "j"}, milter.SMFIM_EOM: {"i"}}}
})

// Every callback comes with what the SMTP client said.
func TestPostfixCallbacks(t *testing.T) {
	t.Parallel()
	p, s := postfixWith(t, forPostfix)
	conn := smtpClient(t, s)
	command(t, conn, 500, "FOO bar")
	command(t, conn, 250, "MAIL FROM:<first@example.org>")
	command(t, conn, 250, "RSET")
	command(t, conn, 250, "MAIL FROM:<> SIZE=200 BODY=8BITMIME")
	command(t, conn, 250, "RCPT TO:<one@example.com> NOTIFY=NEVER ORCPT=rfc822;one@example.com")
	command(t, conn, 250, "RCPT TO:<two@example.com>")
	command(t, conn, 354, "DATA")
	command(t, conn, 250, "Subject: caf\xe9\r\nX-Empty:\r\nX-Folded: a\r\n\tb\r\n\r\n8-bit \xff\x80\r\n..dot\r\n.")
	command(t, conn, 221, "QUIT")
	queueID := s.WaitDelivered(1)[0].Header
	require.NotEmpty(t, queueID)
	p.awaitName("close")
	p.stop()
	heard := p.heard()
	i := slices.IndexFunc(heard, func(line string) bool { return strings.HasPrefix(line, "macro i ") })
	require.Positive(t, i)
	assert.Regexp(t, `^macro i [0-9A-Za-z]+ true$`, heard[i])
	assert.Contains(t, strings.Join(queueID, "\n"), strings.Fields(heard[i])[2], "the queue id that the Received field has")
	heard = slices.Delete(heard, i, i+1)
	assert.Regexp(t, `^connect "\[127\.0\.0\.1\]" \*net\.TCPAddr 127\.0\.0\.1:[1-9]\d*$`, heard[0])
	assert.Equal(t, []string{
		`helo "client.example.org"`,
		`unknown "FOO"`, // Postfix sends the first word,
		`mailfrom "<first@example.org>" []`,
		`abort`,
		`mailfrom "<>" ["SIZE=200" "BODY=8BITMIME"]`,
		`rcptto "<one@example.com>" ["NOTIFY=NEVER" "ORCPT=rfc822;one@example.com"]`,
		`rcptto "<two@example.com>" []`,
		`data`,
		`header "Subject" " caf\xe9"`,
		`header "X-Empty" ""`,
		`header "X-Folded" " a\n\tb"`,
		`eoh`,
		`segment "8-bit \xff\x80\r\n.dot\r\n"`,
		`macro client_addr 127.0.0.1 true`,
		`eom`,
		`close`,
	}, heard[1:])
}

// Changes that Postfix must be seen to make.
var forPostfixChanges = register("changes for Postfix", func(e *child) *milter.Server {
	return &milter.Server{SocketMode: 0o666, Actions: allActions &^ milter.SMFIF_SETSYMLIST, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			for what, err := range map[string]error{
				"progress":        m.Progress(),
				"add":             m.AddHeader("X-Added", "yes\r\n\tfolded"),
				"insert":          m.InsertHeader(1, "X-Inserted", "at 1"),
				"change":          m.ChangeHeader("Subject", 1, "changed"),
				"change second":   m.ChangeHeader("X-Twice", 2, "second changed"),
				"delete":          m.ChangeHeader("X-Gone", 1, ""),
				"change none":     m.ChangeHeader("X-New", 1, "was not there"),
				"from":            m.ChangeFrom("<new-sender@example.com>", ""),
				"add rcpt":        m.AddRcpt("<added@example.org>"),
				"add rcpt args":   m.AddRcptPar("<args@example.org>", "NOTIFY=NEVER"),
				"delete rcpt":     m.DelRcpt("<gone@example.org>"),
				"body":            m.ReplaceBody([]byte("replaced\r\n")),
				"more body":       m.ReplaceBody([]byte("and more\r\n")),
				"body of a read":  m.ReplaceBodyFrom(strings.NewReader(strings.Repeat("0123456789abcde\r\n", 10000))),
				"progress second": m.Progress(),
			} {
				if err != nil {
					e.emit(s.ID(), "error", what, err)
				}
			}
			return milter.SMFIS_ACCEPT
		},
	}}
})

func TestPostfixChanges(t *testing.T) {
	t.Parallel()
	p, s := postfixWith(t, forPostfixChanges)
	sent := "From: sender@example.org\r\nX-Gone: x\r\nSubject: original\r\nX-Twice: first\r\nX-Twice: second\r\nX-Last: last\r\n\r\noriginal\r\n"
	require.NoError(t, smtp.SendMail(s.Addr(), nil, "sender@example.org", []string{"stays@example.org", "gone@example.org"}, []byte(sent)))
	mail := s.WaitDelivered(1)[0]
	p.stop()
	assert.Empty(t, p.named("error"))
	assert.Equal(t, "new-sender@example.com", mail.From.Address)
	var rcpts []string
	for _, rcpt := range mail.Rcpts {
		rcpts = append(rcpts, rcpt.Address)
	}
	assert.ElementsMatch(t, []string{"stays@example.org", "added@example.org", "args@example.org"}, rcpts)
	require.NotEmpty(t, mail.Header)
	assert.Equal(t, []string{
		"X-Inserted: at 1",
		"From: sender@example.org",
		"Subject: changed",
		"X-Twice: first",
		"X-Twice: second changed",
		"X-Last: last",
		"X-Added: yes\n\tfolded",
		"X-New: was not there",
	}, slices.DeleteFunc(mail.Header, func(line string) bool { return strings.HasPrefix(line, "Received:") }))
	assert.Equal(t, "replaced\nand more\n"+strings.Repeat("0123456789abcde\n", 10000), string(mail.Body))
}

// Verdicts by the sender's name, and by the recipient's.
var forPostfixVerdicts = register("verdicts for Postfix", func(e *child) *milter.Server {
	return &milter.Server{SocketMode: 0o666, Actions: milter.SMFIF_QUARANTINE | milter.SMFIF_ADDHDRS, Callbacks: milter.Callbacks{
		Helo: func(s *milter.Session, identity string) milter.Status {
			if identity == "bad.example.org" {
				return s.Reply(554, "5.7.0", "Not from "+identity)
			}
			return milter.SMFIS_CONTINUE
		},
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
			switch address {
			case "<reject@example.com>":
				return milter.SMFIS_REJECT
			case "<tempfail@example.com>":
				return milter.SMFIS_TEMPFAIL
			case "<discard@example.com>":
				return milter.SMFIS_DISCARD
			case "<accept@example.com>":
				return milter.SMFIS_ACCEPT
			}
			s.Local = address
			return milter.SMFIS_CONTINUE
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			if (milter.Path{Address: address}).Is("refused@example.org") {
				return s.Reply(550, "5.1.1", "No such user:", "this one is 100% unknown,", address)
			}
			return milter.SMFIS_CONTINUE
		},
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			switch s.Local {
			case "<late-reject@example.com>":
				lines := []string{}
				for i := range 32 {
					lines = append(lines, fmt.Sprintf("line %d%%", i+1))
				}
				return s.Reply(554, "5.7.1", lines...)
			case "<late-tempfail@example.com>":
				return s.Reply(451, "4.7.1", "Come back in an hour")
			case "<late-discard@example.com>":
				return milter.SMFIS_DISCARD
			case "<hold@example.com>":
				if err := m.Quarantine("looks odd"); err != nil {
					panic(err)
				}
			}
			if err := m.AddHeader("X-Filtered", "yes"); err != nil {
				panic(err)
			}
			return milter.SMFIS_CONTINUE
		},
	}}
})

func TestPostfixVerdicts(t *testing.T) {
	t.Parallel()
	p, s := postfixWith(t, forPostfixVerdicts)
	late := []string{}
	for i := range 31 {
		late = append(late, fmt.Sprintf("554-5.7.1 line %d%%", i+1))
	}
	for name, tc := range map[string]struct {
		args      []string
		says      string
		accepted  bool
		delivered string // to whom, if to anybody
		filtered  bool
	}{
		"continue":      {nil, "250 2.0.0 Ok", true, "continue@example.org", true},
		"reject":        {[]string{"--from", "reject@example.com"}, "<** 550 5.7.1 Command rejected", false, "", false},
		"tempfail":      {[]string{"--from", "tempfail@example.com"}, "<** 451 4.7.1 Service unavailable", false, "", false},
		"discard":       {[]string{"--from", "discard@example.com"}, "250 2.0.0 Ok", true, "", false},
		"accept":        {[]string{"--from", "accept@example.com"}, "250 2.0.0 Ok", true, "accept@example.org", false},
		"helo":          {[]string{"--helo", "bad.example.org"}, "554 5.7.0 Not from bad.example.org", false, "", false},
		"recipient":     {[]string{"--to", "refused@example.org"}, "<** 550-5.1.1 No such user:\n<** 550-5.1.1 this one is 100% unknown,\n<** 550 5.1.1 <refused@example.org>\n", false, "", false},
		"late reject":   {[]string{"--from", "late-reject@example.com"}, strings.Join(late, "\n<** ") + "\n<** 554 5.7.1 line 32%\n", false, "", false},
		"late tempfail": {[]string{"--from", "late-tempfail@example.com"}, "<** 451 4.7.1 Come back in an hour", false, "", false},
		"late discard":  {[]string{"--from", "late-discard@example.com"}, "250 2.0.0 Ok", true, "", false},
		"hold":          {[]string{"--from", "hold@example.com"}, "250 2.0.0 Ok", true, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			rcpt := strings.ReplaceAll(name, " ", "-") + "@example.org"
			transcript, exit := s.Swaks(append([]string{"--to", rcpt}, tc.args...)...)
			assert.Equal(t, tc.accepted, exit == 0, transcript)
			assert.Contains(t, transcript, tc.says)
		})
	}
	// One recipient of three is refused, the mail reaches the others.
	transcript, _ := s.Swaks("--to", "first@example.org,refused@example.org,third@example.org", "--protocol", "ESMTP")
	assert.Contains(t, transcript, "550 5.1.1 <refused@example.org>")

	mails := s.WaitDelivered(3)
	assert.Len(t, s.Held(), 1)
	s.WaitLog(s.Held()[0] + ": milter-hold: ")
	p.stop()
	got := map[string]bool{}
	for _, mail := range mails {
		var rcpts []string
		for _, rcpt := range mail.Rcpts {
			rcpts = append(rcpts, rcpt.Address)
		}
		slices.Sort(rcpts)
		got[strings.Join(rcpts, ",")] = slices.Contains(mail.Header, "X-Filtered: yes")
	}
	assert.Equal(t, map[string]bool{"continue@example.org": true, "accept@example.org": false, "first@example.org,third@example.org": true}, got)
}

// Each mail is marked with the recipient that its session saw, and how long its body was.
var forPostfixLoad = register("load for Postfix", func(e *child) *milter.Server {
	type seen struct {
		rcpt string
		body int
	}
	return &milter.Server{SocketMode: 0o666, Actions: milter.SMFIF_ADDHDRS, Callbacks: milter.Callbacks{
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			s.Local = &seen{}
			return milter.SMFIS_CONTINUE
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			*s.Local.(*seen) = seen{rcpt: address}
			return milter.SMFIS_CONTINUE
		},
		Segment: func(s *milter.Session, segment []byte) milter.Status {
			s.Local.(*seen).body += len(segment)
			return milter.SMFIS_CONTINUE
		},
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			saw := s.Local.(*seen)
			if err := m.AddHeader("X-Saw", saw.rcpt+" "+strconv.Itoa(saw.body)); err != nil {
				panic(err)
			}
			return milter.SMFIS_CONTINUE
		},
	}}
})

// 2,000 mails from 8 senders at once, 4 of them with several mails a connection: none lost, none mixed up.
func TestPostfixLoad(t *testing.T) {
	p, s := postfixWith(t, forPostfixLoad)
	const mails, senders = 2000, 8
	var wg sync.WaitGroup
	for _, args := range [][]string{{"-t", "a@example.org"}, {"-d", "-t", "b@example.org"}} {
		wg.Go(func() {
			s.SMTPSource(append(args, "-N", "-m", strconv.Itoa(mails/2), "-s", strconv.Itoa(senders/2), "-l", "4096")...)
		})
	}
	wg.Wait()
	delivered := s.WaitDelivered(mails)
	p.stop()
	require.Len(t, delivered, mails)
	got := map[string]bool{}
	for _, mail := range delivered {
		rcpt := mail.Rcpts[0].Address
		got[rcpt] = true
		i := slices.IndexFunc(mail.Header, func(line string) bool { return strings.HasPrefix(line, "X-Saw: ") })
		require.NotEqual(t, -1, i)
		body := strings.ReplaceAll(string(mail.Body), "\n", "\r\n")
		assert.Equal(t, fmt.Sprintf("X-Saw: <%s> %d", rcpt, len(body)), mail.Header[i])
	}
	assert.Len(t, got, mails, "each recipient once")
	assert.Contains(t, p.awaitName("ended").Args[1], fmt.Sprintf("SessionsOpen:0 SessionsTotal:%d SessionsCutOff:0 Messages:%d", mails/2+senders/2, mails))
}

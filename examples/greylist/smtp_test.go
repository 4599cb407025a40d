package main

import (
	"errors"
	"fmt"
	"net"
	"net/smtp"
	"net/textproto"
	"strings"
	"time"

	"github.com/libmilter/go-libmilter/test/harness"
)

// smtpSession is an SMTP client's session with the MTA.
type smtpSession struct {
	*smtp.Client
	began time.Time
}

// openSMTP begins a session. Where xclient is not empty, the MTA is told whose it is: "ADDR=192.0.2.1 NAME=mx.example.org".
func openSMTP(addr, xclient string) (*smtpSession, error) {
	began := time.Now()
	conn, err := net.DialTimeout("tcp", addr, harness.Patience)
	if err != nil {
		return nil, err
	}
	_ = conn.SetDeadline(began.Add(2 * harness.Patience))
	if xclient != "" {
		if err := sendXclient(conn, xclient); err != nil {
			return nil, errors.Join(err, conn.Close())
		}
	}
	client, err := smtp.NewClient(conn, "mail.example.org")
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return &smtpSession{client, began}, client.Hello("client.example.org")
}

// sendXclient takes the conversation as far as the second greeting, which is left to be read.
func sendXclient(conn net.Conn, xclient string) error {
	text := textproto.NewConn(conn)
	for _, step := range []struct {
		command string
		want    int
	}{{"", 220}, {"EHLO client.example.org", 250}, {"XCLIENT " + xclient, 0}} {
		if step.command != "" {
			if err := text.PrintfLine("%s", step.command); err != nil {
				return err
			}
		}
		if step.want != 0 {
			if _, _, err := text.ReadResponse(step.want); err != nil {
				return err
			}
		}
	}
	return nil
}

// reply is the MTA's last word on a mail: what it refused it with, or 250.
type reply struct {
	code int
	text string
}

func (r reply) String() string { return strings.TrimSpace(fmt.Sprintf("%d %s", r.code, r.text)) }

func (r reply) accepted() bool { return r.code == 250 }

// replyOf makes an error of net/smtp what the MTA said; it is an error still where it said nothing.
func replyOf(err error) (reply, error) {
	var refused *textproto.Error
	switch {
	case err == nil:
		return reply{code: 250}, nil
	case errors.As(err, &refused):
		return reply{refused.Code, refused.Msg}, nil
	}
	return reply{}, err
}

// send takes a mail as far as the MTA lets it. The session can go on with another one.
func (s *smtpSession) send(from, to, text string) (reply, error) {
	r, err := replyOf(s.deliver(from, to, text))
	if err == nil && !r.accepted() {
		_ = s.Reset() // where it cannot, the next mail says so
	}
	return r, err
}

func (s *smtpSession) deliver(from, to, text string) error {
	if err := s.Mail(from); err != nil {
		return err
	}
	if err := s.Rcpt(to); err != nil {
		return err
	}
	data, err := s.Data()
	if err != nil {
		return err
	}
	if _, err := data.Write([]byte(text)); err != nil {
		return err
	}
	return data.Close()
}

// testMail is one mail, which its client sends until it is accepted. Its recipient is its own, and so is its triplet.
type testMail struct {
	id       string
	attempts []attempt
}

// attempt is one try to send a mail.
type attempt struct {
	session time.Time // when its SMTP session began
	reply
}

const testSender = "sender@example.org"

func (m *testMail) recipient() string { return m.id + "@example.com" }

func (m *testMail) header() []string {
	return []string{"From: " + testSender, "To: " + m.recipient(), "Subject: mail " + m.id, "X-Test-Id: " + m.id}
}

func (m *testMail) body() string { return strings.Repeat("This is mail "+m.id+".\n", 40) }

// sendOn tries a mail on a session.
func (m *testMail) sendOn(s *smtpSession) (attempt, error) {
	r, err := s.send(testSender, m.recipient(), strings.Join(m.header(), "\n")+"\n\n"+m.body())
	return attempt{s.began, r}, err
}

// accepted tells whether the MTA took the mail.
func (m *testMail) accepted() bool {
	n := len(m.attempts)
	return n > 0 && m.attempts[n-1].accepted()
}

// What clients are told: by a filter, and by Postfix where a filter is away.
const (
	saysGreylisted = "451 4.7.1 Greylisted: mail that is new here has to wait. Please try again in "
	saysStoreDown  = "451 4.3.0 Greylisting is out of order for the moment. Please try again later."
	saysNoFilter   = "451 4.7.1 Service unavailable - try again later" // default_action=tempfail
)

// says tells whether the reply begins with one of these texts.
func (r reply) says(text string) bool {
	return strings.HasPrefix(fmt.Sprintf("%d %s", r.code, r.text), text)
}

package miltertest_test

import (
	"fmt"
	"log"
	"net"
	"net/textproto"
	"strings"
	"testing"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// A filter that refuses a sender.
func Example_reject() {
	t := aTest() // in a test it is func TestOffers(t *testing.T)'s

	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
			if strings.HasSuffix(address, "@offers.example>") {
				return s.Reply(550, "5.7.1", "No offers, not even at 100% off.")
			}
			return milter.SMFIS_CONTINUE
		},
	})

	result := f.Send(miltertest.Mail{From: "shop@offers.example"})
	fmt.Println(result.Verdict, "at", result.Step)
	fmt.Println(result.Reply.Code, result.Reply.XCode, result.Reply.Lines)

	result = f.Send(miltertest.Mail{From: "friend@example.org"})
	fmt.Println(result.Verdict)
	// Output:
	// SMFIS_REJECT at MailFrom
	// 550 5.7.1 [No offers, not even at 100% off.]
	// SMFIS_ACCEPT
}

// A filter that changes the header: what the mail is like afterwards, in Postfix and in Sendmail.
func Example_headerEdit() {
	t := aTest() // in a test it is func TestSubject(t *testing.T)'s

	f := miltertest.Start(t, milter.SMFIF_ADDHDRS|milter.SMFIF_CHGHDRS, milter.Callbacks{
		Header: func(s *milter.Session, name, value string) milter.Status {
			if textproto.CanonicalMIMEHeaderKey(name) == "Subject" && s.Local == nil {
				s.Local = value
			}
			return milter.SMFIS_CONTINUE
		},
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			if subject, ok := s.Local.(string); ok {
				_ = m.ChangeHeader("Subject", 1, "[outside] "+subject)
			}
			_ = m.InsertHeader(2, "X-Filtered", "yes")
			return milter.SMFIS_CONTINUE
		},
	})

	mail := miltertest.Mail{Data: "To: you@example.com\nSubject: Hello\n\nHow are you?\n"}
	for _, mta := range []miltertest.MTA{miltertest.Postfix(), miltertest.Sendmail()} {
		result := f.With(mta).Send(mail)
		fmt.Printf("%v:\n%v", mta.Kind, result.Header)
	}
	// Output:
	// Postfix:
	// To: you@example.com
	// X-Filtered: yes
	// Subject: [outside] Hello
	// Sendmail:
	// X-Filtered: yes
	// To: you@example.com
	// Subject: [outside] Hello
}

// A table of mails for one filter.
func Example_table() {
	t := aTest() // in a test it is func TestRelay(t *testing.T)'s

	// The inside may send to anybody, others to one address.
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			client, ok := addr.(*net.TCPAddr)
			s.Local = ok && client.IP.IsPrivate()
			return milter.SMFIS_CONTINUE
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			if inside := s.Local.(bool); !inside && address != "<you@example.com>" {
				return s.Reply(550, "5.7.1", "We do not relay.")
			}
			return milter.SMFIS_CONTINUE
		},
	})

	inside := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 25000}
	for _, tc := range []struct {
		name string
		mail miltertest.Mail
	}{
		{"to us", miltertest.Mail{To: []string{"you@example.com"}}},
		{"to others", miltertest.Mail{To: []string{"x@example.net"}}},
		{"to both", miltertest.Mail{To: []string{"x@example.net", "you@example.com"}}},
		{"from inside", miltertest.Mail{Addr: inside, To: []string{"x@example.net"}}},
		{"from a client unknown", miltertest.Mail{Addr: miltertest.UnknownAddr, To: []string{"x@example.net"}}},
	} {
		result := f.Send(tc.mail)
		fmt.Println(tc.name, result.Verdict, result.Rcpts) // in a test: f.For(t).Send and require.Equal
	}
	// Output:
	// to us SMFIS_ACCEPT [<you@example.com>]
	// to others SMFIS_REJECT []
	// to both SMFIS_ACCEPT [<you@example.com>]
	// from inside SMFIS_ACCEPT [<x@example.net>]
	// from a client unknown SMFIS_REJECT []
}

// The conversation step by step: two mails on a connection, the first given up.
func ExampleConn() {
	t := aTest() // in a test it is func TestReset(t *testing.T)'s

	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			count, _ := s.Local.(int)
			if s.Local = count + 1; count == 2 {
				return s.Reply(452, "4.5.3", "Two recipients are enough.")
			}
			return milter.SMFIS_CONTINUE
		},
		Abort: func(s *milter.Session) { s.Local = nil },
	})

	mta := miltertest.Postfix()
	mta.Protocol &^= milter.SMFIP_SKIP // an older one
	c := f.With(mta).Connect()
	c.Connect("client.example.org", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 40000})
	c.Helo("client.example.org")
	c.MailFrom("<a@example.org>", "SIZE=1000")
	for _, rcpt := range []string{"<x@example.com>", "<y@example.com>", "<z@example.com>"} {
		fmt.Println(rcpt, c.RcptTo(rcpt))
	}
	c.Abort()
	c.MailFrom("<a@example.org>")
	fmt.Println("<z@example.com>", c.RcptTo("<z@example.com>"))
	c.Quit()
	// Output:
	// <x@example.com> SMFIS_CONTINUE
	// <y@example.com> SMFIS_CONTINUE
	// <z@example.com> SMFIS_TEMPFAIL 452 4.5.3 Two recipients are enough.
	// <z@example.com> SMFIS_CONTINUE
}

// aTest stands for the test that an example is not.
func aTest() testing.TB { return noTest{} }

type noTest struct{ testing.TB }

func (noTest) Helper()                           {}
func (noTest) Cleanup(func())                    {}
func (noTest) Log(args ...any)                   { log.Print(args...) }
func (noTest) Errorf(format string, args ...any) { log.Panicf(format, args...) }
func (noTest) Fatalf(format string, args ...any) { log.Panicf(format, args...) }

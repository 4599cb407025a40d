// Package script has sessions that an MTA may have with a filter: a mail, and what else an SMTP client may say in it.
package script

import (
	"fmt"

	"github.com/libmilter/go-libmilter/miltertest"
)

// Session is a session with one mail, for a filter that lets it pass: which parts the message has, and what else an SMTP client
// may say in it, commands that no MTA knows and RSET.
type Session struct {
	Place        Place  // of the unknown commands
	Times        int    // how many of them there are
	Reset        string // the step behind which there is an RSET, and a mail begins again: "MailFrom", "RcptTo", or ""
	Header, Body bool
}

// Place is where unknown commands stand.
type Place int

// The places.
const (
	BeforeHelo Place = iota
	BeforeMail
	BeforeRcpt
	BeforeData
	AfterEnd
	AllPlaces
)

// String tells the session apart from others.
func (s Session) String() string {
	return fmt.Sprintf("%d unknown at place %d, RSET after %q, header %v, body %v", s.Times, s.Place, s.Reset, s.Header, s.Body)
}

// All are all that differ.
func All() (all []Session) {
	for place := range AllPlaces {
		for times := range 3 {
			for _, reset := range []string{"", "MailFrom", "RcptTo"} {
				if times == 0 && place > 0 || times == 2 && reset != "" { // nothing that others are not
					continue
				}
				for shape := range 4 {
					all = append(all, Session{place, times, reset, shape&1 != 0, shape&2 != 0})
				}
			}
		}
	}
	return all
}

// Play takes the session from its negotiation to its end, and returns what has become of the mail. The mail is from
// <a@example.org> to <b@example.com>.
func (s Session) Play(c *miltertest.Conn) *miltertest.Result {
	unknown := func(place Place) {
		for range s.Times {
			if place == s.Place {
				c.Unknown("FOO")
			}
		}
	}
	c.Connect("client.example.org", nil)
	unknown(BeforeHelo)
	c.Helo("client.example.org")
	unknown(BeforeMail)
	if s.Reset != "" {
		c.MailFrom("reset@example.org")
		if s.Reset == "RcptTo" {
			c.RcptTo("reset@example.com")
		}
		unknown(BeforeRcpt)
		c.Abort()
	}
	c.MailFrom("a@example.org")
	unknown(BeforeRcpt)
	c.RcptTo("b@example.com")
	unknown(BeforeData)
	c.Data()
	if s.Header {
		c.Header("Subject", "x")
	}
	c.EOH()
	if s.Body {
		c.Segment("body\r\n")
	}
	result := c.EOM()
	unknown(AfterEnd)
	c.Quit()
	return result
}

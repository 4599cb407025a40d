package main

import (
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// The exit statuses that are no verdict.
const (
	exitError       = 1
	exitUsage       = 2
	exitMixed       = 14
	exitInterrupted = 130
)

// exitStatuses are those of the verdicts.
var exitStatuses = map[string]int{"accept": 0, "reject": 10, "tempfail": 11, "discard": 12, "quarantine": 13}

// session is a connection to the filter, for one mail or for many.
type session struct {
	opt  *options
	out  *printer // nil to say nothing
	conn *miltertest.Conn
	mail *outcome // the present one
}

// outcome is what has become of a mail.
type outcome struct {
	conn       *miltertest.Conn
	steps      []miltertest.Step
	result     *miltertest.Result // nil if there is no verdict
	took       time.Duration      // from connecting to the verdict
	transcript miltertest.Transcript
	err        error
}

// send sends the mail, over the connection that is open if there is one. last ends the connection; a failure does so too.
func (s *session) send(last bool) *outcome {
	o := &outcome{}
	s.mail = o
	began := time.Now()
	if o.err = s.connect(); o.err == nil {
		result := s.conn.Send(s.opt.mail)
		if o.err = s.conn.Err(); o.err == nil {
			o.result = result
			s.out.changes(result)
		}
	}
	o.took = time.Since(began)
	if last && o.err == nil {
		o.err = s.quit()
	}
	if o.conn = s.conn; o.conn != nil {
		o.transcript = o.conn.TakeTranscript()
	}
	if last || o.err != nil {
		s.conn = nil
	}
	return o
}

func (s *session) connect() (err error) {
	if s.conn != nil {
		return nil
	}
	mta := s.opt.mta
	mta.Trace = func(step miltertest.Step) {
		s.mail.steps = append(s.mail.steps, step)
		s.out.step(step)
	}
	s.conn, err = mta.Dial(s.opt.addr)
	if err == nil {
		s.out.negotiated(s.conn)
	}
	return err
}

// quit ends the connection, if there is one.
func (s *session) quit() error {
	if s.conn == nil {
		return nil
	}
	s.conn.Quit()
	return s.conn.Err()
}

// verdict gives what the MTA does with the mail; "" if there is no verdict.
func (o *outcome) verdict() string {
	switch {
	case o.result == nil:
		return ""
	case o.result.Quarantine != "":
		return "quarantine"
	}
	return map[milter.Status]string{milter.SMFIS_ACCEPT: "accept", milter.SMFIS_REJECT: "reject",
		milter.SMFIS_TEMPFAIL: "tempfail", milter.SMFIS_DISCARD: "discard"}[o.result.Verdict]
}

func (o *outcome) exitStatus() int {
	if o.err != nil {
		return exitError
	}
	return exitStatuses[o.verdict()]
}

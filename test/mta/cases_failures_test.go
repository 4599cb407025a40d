//go:build cgo

package mta

import (
	milter "github.com/libmilter/go-libmilter"
)

// The cases in which a filter is not there, or dies, or is slow. With milter_default_action=tempfail and F=T the client is told
// to come again, which it does: no mail may be lost, and none may come twice.
var failureFeatures = []feature{
	{
		group: failures, name: "filter is down, then up: the client comes again", down: true, varies: true,
		acts: func(r *run) {
			sends(plain)(r)
			r.startFilter()
			r.connect()
			sends(plain)(r)
		},
		see: []view{refusals, deliveries}, want: []string{"MAIL: 451 4.7.1 Service unavailable - try again later", "delivered once"},
		sure: []string{"delivered once"},
	},
	killed("mailfrom", "MAIL"), killed("rcptto", "RCPT"), killed("data", "DATA"), killed("header", "message"),
	killed("segment", "message"), killed("eom", "message"),
	{
		group: failures, name: "filter is killed between two mails of a connection", varies: true,
		filter: marks(script{}),
		acts: func(r *run) {
			r.deliver(plain)
			r.filter.kill()
			r.deliver(plain)
			r.quit()
			r.startFilter()
			r.connect()
			sends(plain)(r)
		},
		see:  []view{refusals, deliveries, headerBut("Received", "From", "To", "Date", "Message-Id")},
		want: []string{"MAIL: 451 4.7.1 Service unavailable - try again later", "delivered 2 times", "Subject: a test", "X-New: yes"},
		sure: []string{"delivered 2 times", "X-New: yes"},
	}, {
		group: failures, name: "slow handler at mailfrom: the MTA gives up", manner: shortly, varies: true,
		filter: script{Says: map[string]answer{"mailfrom": {Holds: true}}},
		acts: func(r *run) {
			sends(plain)(r)
			r.filter.release()
		},
		see: []view{refusals, deliveries}, want: []string{"MAIL: 451 4.7.1 Service unavailable - try again later", "not delivered"},
		sure: []string{"not delivered"},
	}, {
		group: failures, name: "slow handler at eom: the MTA gives up", manner: shortly, varies: true,
		filter: marks(script{Says: map[string]answer{"eom": {Holds: true}}}),
		acts: func(r *run) {
			sends(plain)(r)
			r.filter.release()
		},
		see: []view{refusals, deliveries}, want: []string{"message: 451 4.7.1 Service unavailable - try again later", "not delivered"},
		sure: []string{"not delivered"},
	}, {
		group: failures, name: "slow handler at eom with KeepAlive: the MTA waits", manner: shortly,
		filter: script{
			Actions: milter.SMFIF_ADDHDRS, Says: map[string]answer{"eom": {Holds: true, For: slow}},
			Changes: []change{{Op: "AddHeader", Name: "X-New", Value: "yes"}, {Op: "KeepAlive"}},
		},
		acts: sends(plain), see: []view{refusals, deliveries, headerBut("Received", "From", "To", "Date", "Message-Id")},
		want: []string{"delivered once", "Subject: a test", "X-New: yes"},
	}, {
		group: failures, name: "slow handler at eom with KeepAlive, and a limit for all of eom (Sendmail's T=E)", manner: inTotal, varies: true,
		filter: script{Says: map[string]answer{"eom": {Holds: true, For: slow}}, Changes: []change{{Op: "KeepAlive"}}},
		acts:   sends(plain), see: []view{refusals, deliveries}, want: []string{"delivered once"},
	},
}

// marks has a filter mark the mail.
func marks(s script) script {
	s.Actions |= milter.SMFIF_ADDHDRS
	s.Changes = append(s.Changes, change{Op: "AddHeader", Name: "X-New", Value: "yes"})
	return s
}

// killed is a case of a filter that is killed inside a callback, and started again. The mail that comes through is marked.
func killed(callback, command string) feature {
	return feature{
		group: failures, name: "filter is killed in " + callback + ", then up: the client comes again", varies: true,
		filter: marks(script{Says: map[string]answer{callback: {Holds: true}}}),
		acts: func(r *run) {
			filter := r.filter
			dies := make(chan struct{})
			go func() { // the client waits for a reply meanwhile
				defer close(dies)
				filter.killHolding()
			}()
			sends(plain)(r)
			<-dies
			r.feature = r.feature.patient()
			r.startFilter()
			r.connect()
			sends(plain)(r)
		},
		see:  []view{refusals, deliveries, headerBut("Received", "From", "To", "Date", "Message-Id")},
		want: []string{command + ": 451 4.7.1 Service unavailable - try again later", "delivered once", "Subject: a test", "X-New: yes"},
		sure: []string{"delivered once", "X-New: yes"},
	}
}

// patient is a case with a filter that does not wait.
func (f *feature) patient() *feature {
	g := *f
	g.filter.Says = nil
	return &g
}

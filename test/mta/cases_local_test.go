//go:build cgo

package mta

import (
	"strings"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/harness"
)

// localText is a mail as programs give it to sendmail(1).
const localText = "From: <sender@example.com>\nTo: <one@example.org>\nSubject: a test\n\nbody\n"

// localFeatures are about mail of programs on the MTA's own machine. Postfix takes it up from its
// maildrop queue, a moment after sendmail(1) has ended, and shows it to non_smtpd_milters.
func localFeatures() (list []feature) {
	reads := script{Reads: []string{"_", "i", "j", "v", "{client_addr}", "{client_name}", "{daemon_name}", "{mail_addr}", "{rcpt_addr}"}}
	for _, way := range localWays {
		list = append(list, feature{
			group: local, name: way.name + ": what callbacks are given", local: true, manner: withLocal, varies: true, acts: func(r *run) { way.send(r, plain.from) },
			see: []view{events("connect", "helo", "mailfrom", "rcptto", "data"), steps, deliveries},
			want: []string{
				`connect "localhost" "TCP 127.0.0.1"`, `helo "localhost"`, `mailfrom "<sender@example.com>"`, `rcptto "<one@example.org>"`, "data",
				"connect, helo, mailfrom, rcptto, data, header, eoh, segment, eom, close", "delivered once",
			},
		}, feature{
			group: local, name: way.name + ": macros that are known at eom", local: true, manner: withLocal, varies: true, filter: reads, acts: func(r *run) { way.send(r, plain.from) },
			see:  []view{knownAt("eom")},
			want: []string{"_ i j v {client_addr} {client_name} {daemon_name} {mail_addr} {rcpt_addr}"},
		}, feature{
			group: local, name: way.name + ": null sender", local: true, manner: withLocal, varies: true, acts: func(r *run) { way.send(r, "<>") },
			see: []view{events("mailfrom"), deliveries}, want: []string{`mailfrom "<>"`, "delivered once"},
		})
	}
	command, smtp := localWays[0], localWays[1]
	no, later := answer{Code: 550, XCode: "5.7.1", Lines: []string{"No"}}, answer{Code: 451, XCode: "4.7.1", Lines: []string{"Later"}}
	for _, step := range []string{"connect", "helo", "mailfrom", "rcptto", "data", "eom"} {
		list = append(list, command.refusal("550 with text", step, no, "the sender gets a bounce"), command.refusal("451 with text", step, later, kept))
	}
	for _, callback := range []string{"mailfrom", "rcptto", "data", "eom"} {
		list = append(list, feature{
			group: local, name: "mail that comes by SMTP, and SMFIS_DISCARD at " + callback, manner: withLocal, varies: true, kept: 1,
			filter: script{Says: map[string]answer{callback: {Status: milter.SMFIS_DISCARD}}},
			acts:   sends(plain), see: []view{count("connect"), deliveries}, want: []string{"connect: 1 times", "not delivered"},
		})
	}
	return append(list,
		command.refusal("SMFIS_DISCARD", "rcptto", answer{Status: milter.SMFIS_DISCARD}, "not delivered"),
		smtp.refusal("550 with text", "rcptto", no, "RCPT: 550 5.7.1 No", "not delivered"),
		smtp.refusal("451 with text", "rcptto", later, "RCPT: 451 4.7.1 Later", "not delivered"),
		smtp.refusal("550 with text", "eom", no, "message: 550 5.7.1 No", "not delivered"),
		smtp.refusal("451 with text", "eom", later, "message: 451 4.7.1 Later", "not delivered"),
	)
}

// kept is what becomes of a mail that stays in the maildrop queue.
const kept = "kept, and tried again until the filter takes it"

// localWay is a way in which a program gives a mail to the MTA.
type localWay struct {
	name string
	send func(r *run, sender string)
}

var localWays = []localWay{
	{"sendmail(1)", func(r *run, sender string) {
		output, exit := r.station.Submit(localText, "-f", sender, "--", "one@example.org")
		require.Zero(r.t, exit, output)
		r.submitted++
	}},
	{"sendmail -bs", func(r *run, sender string) {
		r.use(r.station.SubmitSMTP())
		r.take("connect")
		r.deliver(mail{sender, plain.rcpts, text})
		r.quit()
	}},
}

// refusal is a case of a filter that refuses, and then is replaced by one that does not: a mail
// that the MTA has kept is delivered then.
func (way localWay) refusal(what, step string, a answer, want ...string) feature {
	return feature{
		group: local, name: way.name + ": " + what + " at " + step, local: true, manner: withLocal, varies: true,
		filter: script{Says: map[string]answer{step: a}},
		acts: func(r *run) {
			way.send(r, plain.from)
			r.settle()
			r.filter.kill()
			r.feature = r.feature.patient()
			r.startFilter()
			localWays[0].send(r, "<second@example.com>")
			if a.Status == milter.SMFIS_DISCARD {
				r.feature.kept = 1
			}
		},
		see: []view{refusals, fateOfFirst}, want: want,
	}
}

// settle waits until the MTA has shown a mail to the filter to the end of the session, or has
// delivered it without.
func (r *run) settle() {
	r.t.Helper()
	if len(r.replies) > 0 && r.replies[len(r.replies)-1].refused() {
		return
	}
	delivered := func() bool { return len(r.station.Delivered()) > r.station.expected }
	ended := func() bool { return len(r.filter.events("close")) > 0 }
	defer func() { r.asked = len(r.filter.events("connect")) > 0 }()
	if !harness.Poll(func() bool { return ended() || delivered() }) {
		r.t.Fatal("the mail has come neither to the filter nor to its recipient")
	}
}

// fateOfFirst is what has become of the first mail of two.
func fateOfFirst(r *run) []string {
	firsts := 0
	for _, m := range r.mails {
		switch m.From.Address {
		case "":
			return []string{"the sender gets a bounce"}
		case "sender@example.com":
			firsts++
		}
	}
	switch {
	case firsts == 0:
		return []string{"not delivered"}
	case r.asked:
		return []string{kept}
	}
	return []string{"delivered"}
}

// knownAt are the macros that have a value at a callback.
func knownAt(callback string) view {
	return func(r *run) []string {
		var names []string
		for _, e := range r.filter.events("macro") {
			if e.Args[0] == callback {
				names = append(names, e.Args[1])
			}
		}
		if len(names) == 0 {
			return nil
		}
		return []string{strings.Join(names, " ")}
	}
}

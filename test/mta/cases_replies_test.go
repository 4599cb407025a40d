//go:build cgo

package mta

import (
	"fmt"

	milter "github.com/libmilter/go-libmilter"
)

// replySteps are the callbacks that decide, and the command whose reply the client gets then: both MTAs keep what is
// decided at helo for the next command.
var replySteps = []struct{ callback, command string }{
	{"connect", "connect"}, {"helo", "MAIL"}, {"mailfrom", "MAIL"}, {"rcptto", "RCPT"}, {"data", "DATA"},
	{"header", "message"}, {"eoh", "message"}, {"segment", "message"}, {"eom", "message"},
}

// decisions are what callbacks decide, and what the client is to get: "" for the reply of a mail that is taken.
var decisions = []struct {
	name   string
	answer answer
	reply  string
}{
	{"SMFIS_REJECT", answer{Status: milter.SMFIS_REJECT}, "550 5.7.1 Command rejected"},
	{"SMFIS_TEMPFAIL", answer{Status: milter.SMFIS_TEMPFAIL}, "451 4.7.1 Service unavailable - try again later"},
	{"550 with text", answer{Code: 550, XCode: "5.7.1", Lines: []string{"Not 100% wanted"}}, "550 5.7.1 Not 100% wanted"},
	{"451 with three lines", answer{Code: 451, XCode: "4.7.1", Lines: []string{"Not now", "", "Come again"}}, "451-4.7.1 Not now / 451-4.7.1 / 451 4.7.1 Come again"},
	{"421 with text", answer{Code: 421, XCode: "4.7.0", Lines: []string{"Gone"}}, "421 4.7.0 Gone"},
	{"SMFIS_ACCEPT", answer{Status: milter.SMFIS_ACCEPT}, ""},
	{"SMFIS_DISCARD", answer{Status: milter.SMFIS_DISCARD}, ""},
}

// replyFeatures are all decisions at all callbacks.
func replyFeatures() (list []feature) {
	for _, decision := range decisions {
		for _, step := range replySteps {
			if decision.answer.Status == milter.SMFIS_DISCARD && (step.callback == "connect" || step.callback == "helo") {
				continue // it is about a mail, and there is none yet
			}
			f := feature{
				group: replies, name: decision.name + " at " + step.callback, varies: true,
				filter: script{Says: map[string]answer{step.callback: decision.answer}},
				acts:   sends(plain), see: []view{refusals, deliveries, after(step.callback)},
			}
			then := "then close"
			if step.callback == "rcptto" && decision.answer.Status != milter.SMFIS_ACCEPT {
				then = "then abort, close" // it was about one recipient, after which the client gives up
			}
			command := step.command
			if decision.answer.Code == 421 && step.callback == "helo" {
				command = "EHLO" // with which the connection ends at once
			}
			switch {
			case decision.reply != "":
				f.want, f.sure = []string{command + ": " + decision.reply}, []string{"not delivered"}
			case decision.answer.Status == milter.SMFIS_DISCARD:
				f.kept, f.sure = 1, []string{"not delivered"}
			default:
				f.sure = []string{"delivered once"}
			}
			f.sure = append(f.sure, then)
			f.want = append(f.want, f.sure...)
			list = append(list, f)
		}
	}
	return append(list, recipientFeatures...)
}

var recipientFeatures = []feature{
	{
		group: replies, name: "one recipient of three is refused: the others get the mail", varies: true,
		filter: script{Says: map[string]answer{"rcptto": {To: "<two@example.org>", Code: 550, XCode: "5.1.1", Lines: []string{"No such user"}}}},
		acts:   sends(to("<one@example.org>", "<two@example.org>", "<three@example.org>")), see: []view{refusals, envelope, deliveries},
		want: []string{"RCPT: 550 5.1.1 No such user", "MAIL <sender@example.com>", "RCPT <one@example.org>", "RCPT <three@example.org>", "delivered once"},
		sure: []string{"RCPT <one@example.org>", "RCPT <three@example.org>", "delivered once"},
	}, {
		group: replies, name: "one recipient of two for now: the other gets the mail", varies: true,
		filter: script{Says: map[string]answer{"rcptto": {To: "<two@example.org>", Code: 450, XCode: "4.2.1", Lines: []string{"Greylisted"}}}},
		acts:   sends(to("<one@example.org>", "<two@example.org>")), see: []view{refusals, envelope, deliveries},
		want: []string{"RCPT: 450 4.2.1 Greylisted", "MAIL <sender@example.com>", "RCPT <one@example.org>", "delivered once"},
		sure: []string{"RCPT <one@example.org>", "delivered once"},
	}, {
		group: replies, name: "all recipients are refused: no end of message",
		filter: script{Says: map[string]answer{"rcptto": {Code: 550, XCode: "5.1.1", Lines: []string{"No such user"}}}},
		acts: func(r *run) {
			r.deliver(to("<one@example.org>", "<two@example.org>"))
			r.conversation("DATA")
			r.quit()
		},
		see: []view{codes("RCPT", "DATA"), steps}, varies: true,
		want: []string{"RCPT: 550", "RCPT: 550", "DATA: 554", "connect, helo, mailfrom, rcptto, abort, close"},
	}, {
		group: replies, name: "sender is refused, another on the same connection is not",
		filter: script{Says: map[string]answer{"mailfrom": {To: "<bad@example.com>", Status: milter.SMFIS_REJECT}}},
		acts: func(r *run) {
			r.deliver(mail{"<bad@example.com>", plain.rcpts, text})
			sends(plain)(r)
		},
		see: []view{codes("MAIL"), deliveries}, want: []string{"MAIL: 550", "MAIL: 250", "delivered once"},
	}, {
		group: replies, name: "550 with text at unknown",
		filter: script{Says: map[string]answer{"unknown": {Code: 550, XCode: "5.7.1", Lines: []string{"No FOO here"}}}},
		acts:   func(r *run) { r.conversation("EHLO client.example.org", "FOO", "QUIT") }, see: []view{refusals},
		want: []string{"FOO: 550 5.7.1 No FOO here"},
	}, {
		group: replies, name: "32 lines at eom",
		filter: script{Says: map[string]answer{"eom": {Code: 554, XCode: "5.7.1", Lines: manyLines()}}},
		acts:   sends(plain), see: []view{refusals}, want: []string{"message: 32 lines, 554-5.7.1 line 1 to 554 5.7.1 line 32"},
	},
}

func manyLines() (lines []string) {
	for i := range 32 {
		lines = append(lines, fmt.Sprintf("line %d", i+1))
	}
	return lines
}

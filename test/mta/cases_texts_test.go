//go:build cgo

package mta

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/libmilter/go-libmilter/miltertest"
)

// Senders of mails that are refused at a recipient, and at the end of the message: Postfix hands a
// reply to the latter from one of its programs to another.
const (
	refusedAtRcpt = "<rcpt@example.com>"
	refusedAtEOM  = "<eom@example.com>"
)

// textFeatures are replies that an MTA may read as something else. A decision that is lost shows as
// a mail that is delivered: the MTAs of these cases go on without a filter that fails. The codes
// are none of those that Sendmail puts an address behind.
func textFeatures() (list []feature) {
	for _, code := range []int{454, 554} {
		for _, xcode := range []string{"", "2.7.1", "4.7.1", "5.7.1"} {
			list = append(list, raw(code, xcode, "No"), raw(code, xcode, "No", "never"))
		}
	}
	for _, text := range []string{"", "4 apples", "5 apples", "4.7.1 No", "5.7.1 No"} {
		list = append(list, raw(554, "", text))
	}
	for _, text := range []string{"", "4 apples", " No ", "100% sure", "100%", "100%% sure", "caf\u00e9", "No\xff\x80end", "\x1bNo\t"} {
		list = append(list, raw(554, "5.7.1", text))
	}
	list = append(list, raw(454, "4.7.1", "100%"), raw(554, "5.7.1", "No", "100%"), raw(554, "5.7.1", "No", "", "never"), raw(421, "4.7.1", "Gone", "away"),
		raw(521, "5.7.1", "Gone"), raw(554, "5.7.1", strings.Repeat("x", 980)), raw(554, "5.7.1", manyOf(32, 500)...),
		behind(raw(554, "5.7.1", manyOf(32, 520)...)), behind(raw(554, "5.7.1", "No\x8d\x8a250 2.0.0 is what it said")))

	return append(list,
		fitted(554, "5.7.1", []string{"100% sure"}, "554 5.7.1 100% sure"),
		fitted(554, "4.7.1", []string{"No"}, "554 No", "554 5.0.0 No"),
		fitted(454, "5.7.1", []string{"No", "never"}, "454-4.0.0 No / 454 4.0.0 never"),
		fitted(454, "x", []string{"No"}, "454 No", "454 4.0.0 No"),
		fitted(554, "5.7.1", nil, "554 5.7.1"),
		fitted(554, "", nil, "554", "554 5.0.0"),
		fitted(554, "", []string{"4 apples"}, "554 5.0.0 4 apples"),
		fitted(554, "", []string{"4.7.1 No"}, "554 5.0.0 4.7.1 No"),
		fitted(554, "2.7.1", []string{"4.7.1 No", "100%"}, "554-5.0.0 4.7.1 No / 554 5.0.0 100%"),
		fitted(554, "5.7.1", []string{"caf\u00e9 No\x8d\x8a250 2.0.0 Ok\x80\r\n\x1b"}, "554 5.7.1 caf?? No??250 2.0.0 Ok????"),
		fitted(554, "5.7.1", []string{strings.Repeat("x", 980)}, fmt.Sprintf("4 lines, %s to %s", "554-5.7.1 289 bytes", "554 5.7.1 113 bytes")),
		fitted(554, "5.7.1", manyOf(40, 600), "32 lines, 554-5.7.1 289 bytes to 554 5.7.1 289 bytes"),
	)
}

// raw is a case of SetReply, or SetMLReply for more than one line.
func raw(code int, xcode string, lines ...string) feature {
	by := "SetReply"
	if len(lines) > 1 {
		by = "SetMLReply"
	}
	codes := xcode
	if codes == "" && len(lines) > 1 {
		codes = fmt.Sprintf("%d.0.0", code/100) // which libmilter puts
	}
	want := make([]string, len(lines))
	for i, line := range lines {
		mark := "-"
		if i == len(lines)-1 {
			mark = " "
		}
		want[i] = strings.TrimRight(fmt.Sprintf("%d%s%s", code, mark, strings.TrimLeft(codes+" ", " ")+strings.ReplaceAll(line, "%%", "%")), " ")
	}
	return refusal(answer{By: by, Code: code, XCode: xcode, Lines: lines}, shortReply(want))
}

// behind has the client send another command behind the recipient, without waiting: its reply shows
// where the MTA has ended that to the recipient.
func behind(f feature) feature {
	f.name += ", then NOOP"
	f.acts = func(r *run) {
		r.conversation("EHLO client.example.org", "MAIL FROM:"+refusedAtRcpt)
		r.write("RCPT TO:<one@example.org>\r\nNOOP\r\n")
		if r.take("RCPT").refused() { // else the client has read on to the reply to NOOP
			r.take("NOOP")
		}
	}
	f.see, f.want = []view{told("RCPT", "NOOP")}, []string{f.want[0], "NOOP: 250 2.0.0 Ok"}
	f.model = nil
	return f
}

// fitted is a case of Reply, with what the client is to get: told on the MTAs that do not say the
// same.
func fitted(code int, xcode string, lines []string, want string, or ...string) feature {
	f := refusal(answer{Code: code, XCode: xcode, Lines: lines}, want)
	f.varies = len(or) > 0
	f.sure = []string{"not delivered"}
	return f
}

// refusal is a case of a filter that refuses in the same words at a recipient and at the end of the
// message.
func refusal(a answer, want string) feature {
	by := a.By
	if by == "" {
		by = "Reply"
	}
	said := make([]string, len(a.Lines))
	for i, line := range a.Lines {
		if said[i] = strconv.QuoteToASCII(line); len(line) > 100 {
			said[i] = shortText(line)
		}
	}
	if len(said) > 3 {
		said = []string{fmt.Sprintf("%d times %s", len(said), said[0])}
	}
	return feature{
		group: texts, name: "`" + strings.TrimRight(fmt.Sprintf("%s(%d, %q, %s", by, a.Code, a.XCode, strings.Join(said, ", ")), ", ") + ")`",
		manner: failsOpen, varies: true,
		filter: script{Mails: map[string]script{
			refusedAtRcpt: {Says: map[string]answer{"rcptto": a}},
			refusedAtEOM:  {Says: map[string]answer{"eom": a}},
		}},
		acts: func(r *run) {
			r.deliver(mail{refusedAtRcpt, plain.rcpts, text})
			r.quit()
			r.connect()
			r.deliver(mail{refusedAtEOM, plain.rcpts, text})
			r.quit()
		},
		see: []view{refusals, deliveries}, want: []string{"RCPT: " + want, "message: " + want, "not delivered"},
		model: &model{[]miltertest.Mail{{From: refusedAtRcpt, To: plain.rcpts}, {From: refusedAtEOM, To: plain.rcpts}}, toldAndDelivered},
	}
}

// manyOf are lines of a length.
func manyOf(n, length int) (lines []string) {
	for range n {
		lines = append(lines, strings.Repeat("x", length))
	}
	return lines
}

// codeFeatures are about every code that libmilter takes.
var codeFeatures = []feature{
	{
		group: texts, name: "SetReply with each code of 400 to 599", manner: failsOpen,
		filter: script{Mails: everyCode()},
		acts: func(r *run) {
			for code := 400; code < 600; code++ {
				r.deliver(mail{fmt.Sprintf("<%d@example.com>", code), plain.rcpts, text})
				r.connect()
			}
			r.quit()
		},
		see: []view{codesGiven, deliveries}, want: []string{"each as it was given", "not delivered"},
	}, {
		group: texts, name: "`SetReply(554, \"4.7.1\", \"No\")`, then another mail on the connection", manner: failsOpen, varies: true,
		filter: marks(script{Mails: map[string]script{refusedAtRcpt: {Says: map[string]answer{"rcptto": {By: "SetReply", Code: 554, XCode: "4.7.1", Lines: []string{"No"}}}}}}),
		acts: func(r *run) {
			r.deliver(mail{refusedAtRcpt, plain.rcpts, text})
			sends(plain)(r)
		},
		see:  []view{refusals, count("mailfrom"), deliveries, headerBut("Received", "From", "To", "Date", "Message-Id")},
		want: []string{"RCPT: 554 4.7.1 No", "mailfrom: 2 times", "delivered once", "Subject: a test", "X-New: yes"},
	},
}

func everyCode() map[string]script {
	mails := map[string]script{}
	for code := 400; code < 600; code++ {
		a := answer{By: "SetReply", Code: code, XCode: fmt.Sprintf("%d.7.1", code/100), Lines: []string{"No"}}
		mails[fmt.Sprintf("<%d@example.com>", code)] = script{Says: map[string]answer{"rcptto": a}}
	}
	return mails
}

// codesGiven tells of replies to recipients that have another code than everyCode's filter gave.
func codesGiven(r *run) (lines []string) {
	code := 400
	for _, reply := range r.replies {
		if reply.to != "RCPT" {
			continue
		}
		if reply.code != code {
			lines = append(lines, fmt.Sprintf("%d: %s", code, shortReply(reply.lines)))
		}
		code++
	}
	if code == 600 && lines == nil {
		lines = []string{"each as it was given"}
	}
	return lines
}

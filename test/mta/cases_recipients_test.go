//go:build cgo

package mta

import (
	"fmt"
	"slices"
	"strings"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// spelling is a recipient as the client spells it, and the ways in which a filter may name it.
type spelling struct {
	rcpt  string // what stands behind RCPT TO:
	forms []string
}

var spellings = []spelling{
	{"<user@example.org>", []string{"user@example.org", "<USER@example.org>", "<user@EXAMPLE.ORG>", " <user@example.org>", "User <user@example.org>", "<user@example.org> (comment)", "<user@example.org>, <other@example.org>", "<@relay.example:user@example.org>", `<"user"@example.org>`}},
	{"user@example.org", []string{"<user@example.org>", "<user@EXAMPLE.ORG>"}},
	{"<User@Example.ORG>", []string{"User@Example.ORG", "<User@example.org>", "<user@example.org>"}},
	{`<"a b"@example.org>`, []string{`"a b"@example.org`, `<a b@example.org>`, `<"a\ b"@example.org>`}},
	{`<"user"@example.org>`, []string{`<user@example.org>`}},
	{`<"us\er"@example.org>`, []string{`<"user"@example.org>`, `<user@example.org>`}},
	{`<us\er@example.org>`, []string{`<user@example.org>`}},
	{`<"a\"b"@example.org>`, []string{`<"a\"b"@EXAMPLE.org>`}},
	{`<"a@b"@example.org>`, []string{`<a@b@example.org>`}},
	{"<@relay.example:user@example.org>", []string{"@relay.example:user@example.org", "<user@example.org>", "user@example.org"}},
	{"<@one.example,@two.example:user@example.org>", []string{"<user@example.org>"}},
	{"<user+tag@example.org>", []string{"<user@example.org>", "user+tag@example.org"}},
	{"<user%example.net@example.org>", []string{"<user@example.net>", "user%example.net@example.org"}},
	{"<host!user@example.org>", []string{"<user@host>"}},
	{"<user@[127.0.0.1]>", []string{"user@[127.0.0.1]"}},
	{"<user@xn--bcher-kva.example>", []string{"<user@XN--BCHER-KVA.example>", "user@xn--bcher-kva.example"}},
	{"<user@b\u00fccher.example>", []string{"<user@xn--bcher-kva.example>"}},
	{"<user@example.org.>", []string{"<user@example.org>"}},
	{"< user@example.org >", []string{"<user@example.org>"}},
	{"<user(comment)@example.org>", []string{"<user@example.org>"}},
	{"<user@example.org> NOTIFY=NEVER", []string{"<user@example.org>"}},
	{"<user@example.org> ORCPT=rfc822;other@example.net", []string{"<user@example.org>", "<other@example.net>"}},
}

// kept is a recipient that stays, so that there always is a mail.
const keptRcpt = "<kept@example.org>"

// recipientSpellings are the cases of spellings.
func recipientSpellings() (list []feature) {
	for _, s := range spellings {
		list = append(list, s.feature())
	}
	return list
}

// all are the forms, with the recipient as RcptTo is given it in front.
func (s spelling) all() []string {
	given, _, _ := strings.Cut(s.rcpt, "> ")
	if given != s.rcpt {
		given += ">"
	}
	return slices.Compact(append([]string{given}, s.forms...))
}

func (s spelling) feature() feature {
	filter := script{Actions: milter.SMFIF_ADDRCPT | milter.SMFIF_DELRCPT, Mails: map[string]script{}}
	var senders []string
	for i, form := range s.all() {
		for _, op := range []string{"DelRcpt", "AddRcpt"} {
			sender := fmt.Sprintf("<%s%d@example.com>", op, i)
			senders = append(senders, sender)
			filter.Mails[sender] = script{Changes: []change{{Op: op, Name: form}}}
		}
	}
	f := feature{
		group: recipients, name: "recipient `" + s.rcpt + "`", varies: true, filter: filter,
		acts: func(r *run) {
			r.deliver(mail{"<plain@example.com>", []string{keptRcpt, s.rcpt}, text})
			for _, sender := range senders {
				r.send(mail{sender, []string{keptRcpt, s.rcpt}, text})
			}
			r.quit()
		},
		see: []view{func(r *run) []string { return s.left(r.rcptsOf) }},
	}
	if !strings.ContainsAny(s.rcpt, "[\u00fc") { // what is the host's own, and what smtp-sink does not write down
		f.model = &model{s.mails(senders), func(results []*miltertest.Result) []string { return s.left(rcptsIn(results)) }}
	}
	given := s.shown()[0]
	f.want = []string{"delivered to <" + strings.Trim(given, "<>") + ">", "deleted by: " + given, "not added again by: " + given}
	return f
}

// mails are the case's for miltertest.
func (s spelling) mails(senders []string) (list []miltertest.Mail) {
	for _, sender := range append([]string{"<plain@example.com>"}, senders...) {
		list = append(list, miltertest.Mail{From: sender, To: []string{keptRcpt, s.rcpt}})
	}
	return list
}

// shown are the forms as they stand in the document.
func (s spelling) shown() (forms []string) {
	for _, form := range s.all() {
		forms = append(forms, shortText(form))
	}
	return forms
}

// left tells what has become of the recipient with each change.
func (s spelling) left(rcptsOf func(sender string) []string) (lines []string) {
	sent := rcptsOf("plain@example.com")
	by := map[string][]string{}
	note := func(what, form string) { by[what] = append(by[what], form) }
	for i, form := range s.shown() {
		if len(rcptsOf(fmt.Sprintf("DelRcpt%d@example.com", i))) > 0 {
			note("not deleted by", form)
		} else {
			note("deleted by", form)
		}
		added := rcptsOf(fmt.Sprintf("AddRcpt%d@example.com", i))
		switch others := without(added, sent); {
		case slices.Equal(added, sent):
			note("not added again by", form)
		case slices.Equal(others, []string{form}):
			note("added again by", form)
		default:
			note("added again by", form+" as "+strings.Join(others, " and "))
		}
	}
	if len(sent) == 0 {
		return []string{"refused"}
	}
	lines = append(lines, "delivered to "+strings.Join(sent, " "))
	for _, what := range []string{"deleted by", "not deleted by", "not added again by", "added again by"} {
		if len(by[what]) > 0 {
			lines = append(lines, what+": "+strings.Join(by[what], "; "))
		}
	}
	return lines
}

// without is a list without one each of others.
func without(list, others []string) []string {
	list = slices.Clone(list)
	for _, other := range others {
		if i := slices.Index(list, other); i >= 0 {
			list = slices.Delete(list, i, i+1)
		}
	}
	return list
}

// rcptsOf are the recipients, but for the one that stays, that the mails of a sender were delivered
// to.
func (r *run) rcptsOf(sender string) (rcpts []string) {
	for _, m := range r.mails {
		if m.From.Address != sender {
			continue
		}
		for _, rcpt := range m.Rcpts {
			if text := path(rcpt); text != keptRcpt {
				rcpts = append(rcpts, shortText(text))
			}
		}
	}
	slices.Sort(rcpts)
	return rcpts
}

// sequence is a case of several changes of the recipients, in order.
func sequence(name string, rcpts []string, changes []change, want ...string) feature {
	left := func(rcptsOf func(sender string) []string) []string { return rcptsOf("sender@example.com") }
	to := to(append([]string{keptRcpt}, rcpts...)...)
	return feature{
		group: recipients, name: name, varies: true,
		filter: script{Actions: milter.SMFIF_ADDRCPT | milter.SMFIF_ADDRCPT_PAR | milter.SMFIF_DELRCPT, Changes: changes},
		acts:   sends(to), see: []view{func(r *run) []string { return left(r.rcptsOf) }}, want: want,
		model: &model{[]miltertest.Mail{{From: to.from, To: to.rcpts}},
			func(results []*miltertest.Result) []string { return left(rcptsIn(results)) }},
	}
}

var recipientSequences = []feature{
	sequence("recipient that the client gave twice", []string{"<user@example.org>", "<user@example.org>"}, nil, "<user@example.org>"),
	sequence("DelRcpt of a recipient that the client gave twice", []string{"<user@example.org>", "<user@example.org>"},
		[]change{{Op: "DelRcpt", Name: "<user@example.org>"}}),
	sequence("DelRcpt of a recipient that the client gave in two spellings", []string{"<user@example.org>", "<user@EXAMPLE.org>"},
		[]change{{Op: "DelRcpt", Name: "<user@example.org>"}}, "<user@EXAMPLE.org>"),
	sequence("DelRcpt, then AddRcpt of the same", []string{"<user@example.org>"},
		[]change{{Op: "DelRcpt", Name: "<user@example.org>"}, {Op: "AddRcpt", Name: "<user@example.org>"}}, "<user@example.org>"),
	sequence("AddRcpt, then DelRcpt of a recipient that is there", []string{"<user@example.org>"},
		[]change{{Op: "AddRcpt", Name: "<user@example.org>"}, {Op: "DelRcpt", Name: "<user@example.org>"}}),
	sequence("AddRcpt twice", nil, []change{{Op: "AddRcpt", Name: "<new@example.org>"}, {Op: "AddRcpt", Name: "<new@example.org>"}}, "<new@example.org>"),
	sequence("AddRcpt, then DelRcpt of the same", nil, []change{{Op: "AddRcpt", Name: "<new@example.org>"}, {Op: "DelRcpt", Name: "<new@example.org>"}}),
	sequence("AddRcpt, DelRcpt, AddRcpt of the same", nil,
		[]change{{Op: "AddRcpt", Name: "<new@example.org>"}, {Op: "DelRcpt", Name: "<new@example.org>"}, {Op: "AddRcpt", Name: "<new@example.org>"}}, "<new@example.org>"),
	sequence("AddRcptPar of a recipient that is there", []string{"<user@example.org>"},
		[]change{{Op: "AddRcptPar", Name: "<user@example.org>", Value: "NOTIFY=NEVER"}}, "<user@example.org>"),
	sequence("AddRcpt, then AddRcptPar of the same", nil,
		[]change{{Op: "AddRcpt", Name: "<new@example.org>"}, {Op: "AddRcptPar", Name: "<new@example.org>", Value: "NOTIFY=NEVER"}}, "<new@example.org>"),
	sequence("AddRcpt of the null address", []string{"<user@example.org>"}, []change{{Op: "AddRcpt", Name: "<>"}}, "<user@example.org>"),
	sequence("AddRcpt of a list", nil, []change{{Op: "AddRcpt", Name: "<new@example.org>, two@example.org"}}, "<new@example.org>", "<two@example.org>"),
	sequence("DelRcpt of a list", []string{"<user@example.org>", "<two@example.org>"}, []change{{Op: "DelRcpt", Name: "<user@example.org>, two@example.org"}}),
	sequence("AddRcptPar of a list", nil, []change{{Op: "AddRcptPar", Name: "<new@example.org>, two@example.org", Value: "NOTIFY=NEVER"}}, "<new@example.org> NOTIFY=NEVER"),
}

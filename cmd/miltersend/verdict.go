package main

import (
	"strings"

	"github.com/d--j/go-milter"
)

// verdictKind is what a reply means for the mail.
type verdictKind int

const (
	undecided verdictKind = iota
	accepted
	rejected
	tempfailed
	discarded
	quarantined
)

func (k verdictKind) String() string {
	return [...]string{"continue", "accept", "reject", "tempfail", "discard", "quarantine"}[k]
}

// exitStatus is documented in helpTail.
func (k verdictKind) exitStatus() int {
	return [...]int{0, 0, 10, 11, 12, 13}[k]
}

// verdict is a kind with the SMTP reply that the filter gave, if it gave one.
type verdict struct {
	kind  verdictKind
	lines []string // of the reply
}

// verdictOf reads an action. The SMTPReply of go-milter's other types is its own text, not the filter's.
func verdictOf(act *milter.Action) verdict {
	switch act.Type {
	case milter.ActionAccept:
		return verdict{kind: accepted}
	case milter.ActionReject:
		return verdict{kind: rejected}
	case milter.ActionTempFail:
		return verdict{kind: tempfailed}
	case milter.ActionDiscard:
		return verdict{kind: discarded}
	case milter.ActionRejectWithCode:
		v := verdict{kind: rejected, lines: replyLines(act.SMTPReply)}
		if act.SMTPCode < 500 {
			v.kind = tempfailed
		}
		return v
	}
	return verdict{}
}

// replyLines splits a reply as the SMTP client gets it: a filter doubles each %, and MTAs undo that.
func replyLines(reply string) []string {
	reply = strings.ReplaceAll(reply, "\r\n", "\n")
	return strings.Split(strings.ReplaceAll(reply, "%%", "%"), "\n")
}

// String is the kind and the reply: a single line follows the kind, several stand below it.
func (v verdict) String() string {
	var b strings.Builder
	b.WriteString(v.kind.String())
	separator := " "
	if len(v.lines) > 1 {
		separator = "\n  "
	}
	for _, line := range v.lines {
		b.WriteString(separator + visible(line))
	}
	return b.String()
}

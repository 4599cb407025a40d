package miltertest

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/internal/check"
)

// What the MTAs make of a filter's refusals, as test/mta has measured it; see docs/mta-matrix.md.

const (
	postfixReject   = "550 5.7.1 Command rejected"
	postfixTempfail = "451 4.7.1 Service unavailable - try again later"
	// postfixConfused is what Postfix says when a filter has sent what it cannot use.
	postfixConfused = "451 4.3.5 Server configuration problem - try again later"

	sendmailTempfail = "451 4.3.2 Please try again later"
	// sendmailBuffer is how long a reply may be: Sendmail's MsgBuf, with a NUL.
	sendmailBuffer = 16384
)

// refuses reports whether the SMTP client gets a reply of its own for this one.
func (r Reply) refuses() bool {
	return r.Status == milter.SMFIS_REJECT || r.Status == milter.SMFIS_TEMPFAIL
}

// understood returns a filter's refusal of a step as the MTA understands it, and what the client is
// told. path is the step's address. An error says why the MTA does not understand it.
func (k Kind) understood(step, path string, r Reply) (Reply, error) {
	if !r.refuses() {
		return r, nil
	}
	if k == KindSendmail {
		return sendmailUnderstood(step, path, r), nil
	}
	return postfixUnderstood(step, r)
}

func postfixUnderstood(step string, r Reply) (Reply, error) {
	text := r.Raw
	switch {
	case text == "" && r.Status == milter.SMFIS_REJECT:
		text = postfixReject
	case text == "":
		text = postfixTempfail
	case malformedToPostfix(text):
		return r, fmt.Errorf("Postfix takes the reply %q for malformed: "+
			"behind the code stands a digit that is not the code's class", text)
	}
	text = unescapePercent(text)
	switch {
	case step == "Connect" && text[0] == '5':
		text = "554 " + mtaName + " ESMTP not accepting connections"
	case step == "Connect" && text[:3] == "421":
		text = "421 " + mtaName + " Service unavailable - try again later"
	case slices.Contains(contentSteps, step): // which another program of Postfix's hands on
		text = blankUnprintable(text)
	}
	r.Client = replyLines(text)
	return r, nil
}

// contentSteps are those after the client has sent all of the mail.
var contentSteps = []string{"Header", "EOH", "Segment", "EOM"}

// malformedToPostfix is the check of milter8.c in Postfix, which looks at the first line.
func malformedToPostfix(text string) bool {
	return len(text) < 4 || len(text) > 4 && text[4] >= '0' && text[4] <= '9' && text[4] != text[0]
}

// unescapePercent makes one percent sign of two, and drops a single one.
func unescapePercent(text string) string {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] == '%' {
			if i++; i == len(text) {
				break
			}
		}
		b.WriteByte(text[i])
	}
	return b.String()
}

// blankUnprintable makes blanks of the bytes of what is not printable, but for line ends.
func blankUnprintable(text string) string {
	var b strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == '\r' || r == '\n', r >= utf8.RuneSelf && n > 1, r < utf8.RuneSelf && unicode.IsPrint(r):
			b.WriteString(text[:n])
		default:
			b.WriteString(strings.Repeat(" ", n))
		}
		text = text[n:]
	}
	return b.String()
}

func sendmailUnderstood(step, path string, r Reply) Reply {
	text := r.Raw
	if text != "" && strings.Contains(strings.ReplaceAll(text, "%%", ""), "%") {
		r.Status, text = milter.SMFIS_REJECT, "" // a single percent sign: the reply is dropped, whatever its code
	}
	switch {
	case step == "Connect" && r.Status == milter.SMFIS_REJECT:
		text = "554 " + mtaName + " ESMTP not accepting messages"
	case step == "Connect" && strings.HasPrefix(text, "421 "):
		text = "421 4.7.0 " + mtaName + " closing connection"
	case text != "" && step != "Connect":
		text = strings.ReplaceAll(text, "%%", "%")
	case r.Status == milter.SMFIS_TEMPFAIL:
		text = sendmailTempfail
	case step == "Helo":
		text = "550 5.0.0 Command rejected"
	case slices.Contains(contentSteps, step):
		text = "554 5.7.1 Command rejected"
	default:
		text = "550 5.7.1 Command rejected"
	}
	if step != "Connect" {
		text = sendmailFormat(text, path)
	}
	r.Client = replyLines(text)
	return r
}

// sendmailFormat is fmtmsg of Sendmail's err.c: it gives the reply an enhanced code and the
// address, and keeps seven bits of each byte, up to the first that is nothing then.
func sendmailFormat(text, path string) string {
	codes, text := text[:4], text[4:]
	if first, _, found := strings.Cut(text, " "); found && check.EnhancedCode(first) {
		codes, text = codes+first+" ", text[len(first)+1:]
	} else {
		codes += codes[:1] + ".0.0 "
	}
	if code := codes[:3]; path != "" && (code == "450" || code == "550" || code == "553") {
		codes += path + "... "
	}
	b := []byte(codes + text)
	for i := range b {
		b[i] &= 0x7f
	}
	if end := slices.Index(b, 0); end >= 0 {
		b = b[:end]
	}
	return string(b[:min(len(b), sendmailBuffer-1)])
}

// replyLines returns the lines that a client reads.
func replyLines(text string) []string {
	lines := strings.Split(text, "\r\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return lines
}

// onFailure is the status that takes a failed filter's place.
func (mta MTA) onFailure() milter.Status {
	switch mta.OnFailure {
	case milter.SMFIS_ACCEPT, milter.SMFIS_REJECT:
		return mta.OnFailure
	}
	return milter.SMFIS_TEMPFAIL
}

// confused is Postfix's reply when a filter has sent what it cannot use:
// milter_default_action=reject is not followed then.
func (mta MTA) confused(r Reply) Reply {
	r.Status, r.Client = milter.SMFIS_TEMPFAIL, []string{postfixConfused}
	if mta.onFailure() == milter.SMFIS_ACCEPT {
		r.Status, r.Client = milter.SMFIS_ACCEPT, nil
	}
	return r
}

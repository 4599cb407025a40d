// Package check looks at texts before libmilter sees them: what it would refuse, and what an MTA
// would read as something else.
package check

import (
	"fmt"
	"strconv"
	"strings"
)

// MaxReplyLines is how many lines smfi_setmlreply takes: MAXREPLIES in libmilter's smfi.c.
const MaxReplyLines = 32

// maxText is how many bytes of text FitReply leaves in a line. The line has 512 (RFC 5321,
// 4.5.3.1.5), with its codes, its end, and the address that Sendmail puts in front of the text at
// MAIL and RCPT. That also keeps 32 lines within Sendmail's buffer for a reply, 16,384 bytes: a
// reply that it cuts has no last line, and the client waits for one.
const maxText = 512 - len("550 5.123.123 \r\n") - (maxShortened + len("... "))

// maxShortened is how long an address is that Sendmail has shortened for a reply: MAXSHORTSTR in
// its conf.h.
const maxShortened = 203

// Reply is a reply as smfi_setmlreply is to be given it; one line of text that is not empty, or no
// enhanced code, is as good for smfi_setreply.
type Reply struct {
	Code  string
	XCode string // "" for none
	Lines []string
}

// FitReply returns a reply that libmilter takes and both MTAs pass on as it is, and what had to be
// changed for that. The code is never changed, unless it is none of a refusal: then the reply is
// 451 with no text.
func FitReply(code int, xcode string, lines []string) (fit Reply, changed []string) {
	if code < 400 || code > 599 {
		const format = "code %d is not one of 400 to 599: 451 goes in its place, without a text"
		return Reply{Code: "451", Lines: []string{""}}, []string{fmt.Sprintf(format, code)}
	}
	fit.Code = strconv.Itoa(code)
	note := func(format string, args ...any) { changed = append(changed, fmt.Sprintf(format, args...)) }
	if fit.XCode = xcode; xcode != "" && (!EnhancedCode(xcode) || xcode[0] != fit.Code[0]) {
		note("enhanced code %q, which is not %c.x.x, is left out: Postfix takes such a reply for malformed",
			xcode, fit.Code[0])
		fit.XCode = ""
	}
	fit.Lines = fitLines(lines, note)
	if first := fit.Lines[0]; fit.XCode == "" && first != "" && first[0] >= '0' && first[0] <= '9' {
		// Postfix and Sendmail would take the text's first word for an enhanced code.
		fit.XCode = fit.Code[:1] + ".0.0"
		note("enhanced code %s stands before a text that begins with a digit", fit.XCode)
	}
	for i, line := range fit.Lines {
		fit.Lines[i] = strings.ReplaceAll(line, "%", "%%") // both MTAs read two as one
	}
	return fit, changed
}

// fitLines returns at least one line.
func fitLines(lines []string, note func(format string, args ...any)) (fit []string) {
	unprintable, long := 0, 0
	for _, line := range lines {
		text, n := printable(line)
		unprintable += n
		pieces := split(text)
		if len(pieces) > 1 {
			long++
		}
		fit = append(fit, pieces...)
	}
	if unprintable > 0 {
		note("%d bytes that are not printable ASCII are question marks: "+
			"Sendmail clears their eighth bit or ends the text there", unprintable)
	}
	if long > 0 {
		note("%d lines of more than %d bytes are broken: a reply's line has 512 bytes", long, maxText)
	}
	if len(fit) > MaxReplyLines {
		note("%d lines are left out: a reply has at most %d", len(fit)-MaxReplyLines, MaxReplyLines)
		fit = fit[:MaxReplyLines]
	}
	if len(fit) == 0 {
		fit = []string{""}
	}
	return fit
}

// printable replaces what is not printable ASCII, and counts it.
func printable(text string) (fit string, replaced int) {
	b := []byte(text)
	for i, c := range b {
		if c < ' ' || c > '~' {
			b[i] = '?'
			replaced++
		}
	}
	return string(b), replaced
}

// split breaks a line that is too long, at blanks where it has them.
func split(line string) (pieces []string) {
	for len(line) > maxText {
		end, next := maxText, maxText
		if blank := strings.LastIndexByte(line[:maxText+1], ' '); blank > 0 {
			end, next = blank, blank+1
		}
		pieces = append(pieces, line[:end])
		line = line[next:]
	}
	return append(pieces, line)
}

// EnhancedCode reports whether code is class.subject.detail: class 2, 4 or 5, the others of one to
// three digits.
func EnhancedCode(code string) bool {
	parts := strings.Split(code, ".")
	if len(parts) != 3 || parts[0] != "2" && parts[0] != "4" && parts[0] != "5" {
		return false
	}
	for _, part := range parts[1:] {
		if len(part) < 1 || len(part) > 3 || strings.Trim(part, "0123456789") != "" {
			return false
		}
	}
	return true
}

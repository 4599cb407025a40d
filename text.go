//go:build cgo

package milter

import (
	"fmt"
	"strings"

	"github.com/libmilter/go-libmilter/internal/check"
)

// The package that fits replies knows no C: the compiler sees that it has libmilter's number of lines.
var _ = [1]struct{}{}[check.MaxReplyLines-maxReplyLines]

// maxReplyText is how long a line of a reply may be: MAXREPLYLEN in libmilter's smfi.c.
const maxReplyText = 980

// checkText refuses what would be cut short (NUL) or begin a new line (CR, LF) in an SMTP command or reply.
func checkText(what, text string) error {
	if i := strings.IndexAny(text, "\x00\r\n"); i >= 0 {
		return fmt.Errorf("%w: %s has %q at byte %d", ErrArgument, what, text[i], i)
	}
	return nil
}

// checkFilled is checkText for a text that must not be empty.
func checkFilled(what, text string) error {
	if text == "" {
		return fmt.Errorf("%w: %s is empty", ErrArgument, what)
	}
	return checkText(what, text)
}

// checkFieldName refuses what no header field may be called (RFC 5322, 2.2): an MTA would read " X" as more of the field before,
// and "X: y" as another name.
func checkFieldName(name string) error {
	if name == "" {
		return fmt.Errorf("%w: header name is empty", ErrArgument)
	}
	for i := range len(name) {
		if c := name[i]; c <= ' ' || c > '~' || c == ':' {
			return fmt.Errorf("%w: header name %q has %q at byte %d, only printable ASCII without blank and colon may be in one",
				ErrArgument, name, name[i:i+1], i)
		}
	}
	return nil
}

// headerValue gives a header field's value as libmilter wants it, lines folded with LF and a blank, and refuses one
// that would be cut short or begin a new field.
func headerValue(value string) (string, error) {
	if !strings.ContainsAny(value, "\x00\r\n") {
		return value, nil
	}
	folded := strings.ReplaceAll(value, "\r\n", "\n")
	for i := 0; i < len(folded); i++ {
		switch c := folded[i]; {
		case c == 0, c == '\r':
			return "", fmt.Errorf("%w: header value has %q", ErrArgument, c)
		case c == '\n' && (i+1 == len(folded) || folded[i+1] != ' ' && folded[i+1] != '\t'):
			return "", fmt.Errorf("%w: header value has a line that does not begin with a blank, which would begin a new field", ErrArgument)
		}
	}
	return folded, nil
}

// checkReply checks the parts of a reply as smfi_setreply and smfi_setmlreply do.
func checkReply(rcode, xcode string, lines []string) error {
	if len(rcode) != 3 || rcode[0] != '4' && rcode[0] != '5' || !isDigits(rcode) {
		return fmt.Errorf("%w: reply code %q is not 4xx or 5xx", ErrArgument, rcode)
	}
	if xcode != "" && !check.EnhancedCode(xcode) {
		return fmt.Errorf("%w: enhanced code %q is not of the form 5.7.1 (RFC 3463)", ErrArgument, xcode)
	}
	for _, line := range lines {
		if err := checkText("reply text", line); err != nil {
			return err
		}
		if len(line) > maxReplyText {
			return fmt.Errorf("%w: reply text has %d bytes, over %d", ErrArgument, len(line), maxReplyText)
		}
	}
	return nil
}

func isDigits(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' }) < 0
}

// symList joins macro names for smfi_setsymlist, which wants them separated by blanks.
func symList(macros []string) (string, error) {
	for _, name := range macros {
		if name == "" || strings.ContainsAny(name, "\x00\r\n\t ,") {
			return "", fmt.Errorf("%w: macro name %q", ErrArgument, name)
		}
	}
	return strings.Join(macros, " "), nil
}

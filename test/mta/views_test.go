//go:build cgo

package mta

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/libmilter/go-libmilter/test/harness"
)

// refusals are the MTA's replies of 400 and above.
func refusals(r *run) (lines []string) {
	for _, reply := range r.replies {
		if reply.refused() {
			lines = append(lines, reply.to+": "+shortReply(reply.lines))
		}
	}
	return lines
}

// told are the replies to some commands.
func told(verbs ...string) view {
	return func(r *run) (lines []string) {
		for _, reply := range r.replies {
			if slices.Contains(verbs, reply.to) {
				lines = append(lines, reply.to+": "+shortReply(reply.lines))
			}
		}
		return lines
	}
}

// shortReply gives the lines of a reply in one.
func shortReply(lines []string) string {
	short := make([]string, len(lines))
	for i, line := range lines {
		codes := codesOf.FindString(line)
		short[i] = strings.TrimRight(codes+shortText(line[len(codes):]), " ")
	}
	if last := len(short) - 1; last > 2 {
		return fmt.Sprintf("%d lines, %s to %s", len(short), short[0], short[last])
	}
	return strings.Join(short, " / ")
}

// codesOf are what a line of a reply begins with.
var codesOf = regexp.MustCompile(`^\d\d\d[ -](\d\.\d+\.\d+ )?`)

// shortText gives a short text in ASCII, and says how long another one is.
func shortText(text string) string {
	if len(text) > 100 {
		return fmt.Sprintf("%d bytes", len(text))
	}
	quoted := strconv.QuoteToASCII(text)
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(quoted[1 : len(quoted)-1])
}

// codes are the reply codes to some commands.
func codes(verbs ...string) view {
	return func(r *run) (lines []string) {
		for _, reply := range r.replies {
			if slices.Contains(verbs, reply.to) {
				lines = append(lines, fmt.Sprintf("%s: %d", reply.to, reply.code))
			}
		}
		return lines
	}
}

// events are what some callbacks were given.
func events(names ...string) view {
	return func(r *run) (lines []string) {
		for _, e := range r.filter.events(names...) {
			lines = append(lines, e.String())
		}
		return lines
	}
}

// steps are the names of all callbacks in one line. Those that come several times in a row stand there once.
func steps(r *run) []string {
	var names []string
	for _, e := range r.filter.events() {
		if e.Name != "negotiate" && e.Name != "macro" && e.Name != "holds" {
			names = append(names, e.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{strings.Join(slices.Compact(names), ", ")}
}

// after are the callbacks that come after the first one of a name.
func after(name string) view {
	return func(r *run) []string {
		_, rest, _ := strings.Cut(strings.Join(steps(r), "")+", ", name+", ")
		return []string{"then " + strings.TrimSuffix(rest, ", ")}
	}
}

// count is how often a callback came.
func count(name string) view {
	return func(r *run) []string {
		return []string{fmt.Sprintf("%s: %d times", name, len(r.filter.events(name)))}
	}
}

// deliveries are how many mails reached the recipients, and how many are in quarantine.
func deliveries(r *run) []string {
	said := deliveredTimes(len(r.mails))
	if r.held > 0 {
		said = strings.Replace(said, "not delivered", "", 1) + fmt.Sprintf("%d in quarantine", r.held)
	}
	return []string{said}
}

// usual are the fields that tests do not look into: in the document their name is enough.
var usual = []string{"Received", "From", "To", "Date", "Message-Id"}

// header is the header of the last mail that was delivered.
func header(r *run) (lines []string) {
	for _, field := range last(r).Header {
		name, _, _ := strings.Cut(field, ":")
		if slices.Contains(usual, name) {
			field = name
		}
		lines = append(lines, strings.Trim(strconv.Quote(field), `"`))
	}
	return lines
}

// envelope is the envelope of the last mail that was delivered.
func envelope(r *run) []string {
	mail := last(r)
	lines := []string{"MAIL " + path(mail.From)}
	for _, rcpt := range mail.Rcpts {
		lines = append(lines, "RCPT "+path(rcpt))
	}
	slices.Sort(lines[1:]) // the MTAs have an order of their own
	return lines
}

// path is an address with those of its arguments that are the same whatever MTA delivers.
func path(p harness.Path) string {
	text := "<" + p.Address + ">"
	for _, arg := range slices.Sorted(slices.Values(p.Args)) {
		if !strings.HasPrefix(arg, "SIZE=") && !strings.HasPrefix(arg, "BODY=") && !strings.HasPrefix(arg, "ORCPT=") {
			text += " " + arg
		}
	}
	return text
}

// body is the body of the last mail, if one was delivered: what it is if it is short, and else how long it is, with CRLF.
func body(r *run) []string {
	if len(r.mails) == 0 {
		return nil
	}
	text := strings.ReplaceAll(string(last(r).Body), "\n", "\r\n")
	if len(text) > 100 {
		return []string{fmt.Sprintf("%d bytes", len(text))}
	}
	return []string{strconv.Quote(text)}
}

func last(r *run) harness.Mail {
	r.t.Helper()
	if len(r.mails) == 0 {
		r.t.Fatalf("no mail was delivered; replies: %v", r.replies)
	}
	return r.mails[len(r.mails)-1]
}

// macros are the values that the filter read at a callback.
func macros(callback string) view {
	return func(r *run) (lines []string) {
		for _, e := range r.filter.events("macro") {
			if line := e.Args[1] + " = " + e.Args[2]; e.Args[0] == callback && !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
		return lines
	}
}

// clientAddress is the address that connect was given. The name depends on the machine.
func clientAddress(r *run) (lines []string) {
	for _, e := range r.filter.events("connect") {
		lines = append(lines, e.Args[1])
	}
	return lines
}

// fields are the header callbacks of a field.
func fields(name string) view {
	return func(r *run) (lines []string) {
		for _, e := range r.filter.events("header") {
			if e.Args[0] == strconv.Quote(name) {
				lines = append(lines, e.String())
			}
		}
		return lines
	}
}

// headerBut is the header without some fields.
func headerBut(names ...string) view {
	return func(r *run) []string {
		if len(r.mails) == 0 {
			return nil
		}
		return slices.DeleteFunc(header(r), func(field string) bool {
			name, _, _ := strings.Cut(field, ":")
			return slices.Contains(names, name)
		})
	}
}

// offered are the actions (0) or protocol bits (1) that the MTA offers.
func offered(which int) view {
	return func(r *run) []string { return strings.Split(r.filter.events("negotiate")[0].Args[which], "|") }
}

// known are the callbacks at which a macro has a value.
func known(macro string) view {
	return func(r *run) []string {
		var names []string
		for _, e := range r.filter.events("macro") {
			if e.Args[1] == macro {
				names = append(names, e.Args[0])
			}
		}
		return []string{strings.Join(slices.Compact(names), ", ")}
	}
}

// sent are the macros that the MTA sent at each stage.
func sent(r *run) (lines []string) {
	for _, stage := range stages {
		if names := r.tap.names(stage.letter); len(names) > 0 {
			lines = append(lines, stage.name+": "+strings.Join(names, " "))
		}
	}
	return lines
}

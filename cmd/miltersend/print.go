package main

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/libmilter/go-libmilter/miltertest"
)

// printer writes the conversation for people to read. No byte of the mail or of the filter reaches the terminal unescaped.
// A nil one writes nothing.
type printer struct{ w io.Writer }

// print prints a text; further lines of it are indented.
func (p *printer) print(text string) { fmt.Fprintln(p.w, visibleLines(text, "\n", "\n  ")) }

func (p *printer) negotiated(c *miltertest.Conn) {
	if p == nil {
		return
	}
	version, actions, protocol := c.Negotiated()
	p.print(fmt.Sprintf("NEGOTIATED version %d, actions %s, protocol %s", version,
		orNone(bitNames(actions)), orNone(bitNames(protocol))))
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, "|")
}

// step prints a step and the reply.
func (p *printer) step(s miltertest.Step) {
	if p == nil {
		return
	}
	line := visible(strings.TrimRight(s.Name+" "+s.Text, " "))
	if s.Name != "Abort" && s.Name != "Quit" { // which have no reply
		line += " -> " + visibleLines(s.Reply.String(), "\n", "\n  ")
	}
	fmt.Fprintln(p.w, line)
}

// changes prints what the filter has asked for.
func (p *printer) changes(r *miltertest.Result) {
	if p == nil {
		return
	}
	if r.Progress > 0 {
		p.print(fmt.Sprintf("  progress reports: %d", r.Progress))
	}
	for _, change := range joinBody(r.Changes) {
		fmt.Fprintln(p.w, "  "+change.String()) // which quotes its texts
	}
}

// joinBody makes one change of the pieces of a body.
func joinBody(changes []miltertest.Change) (joined []miltertest.Change) {
	var body strings.Builder
	for i, change := range changes {
		if change.Op == miltertest.ReplaceBody {
			if i == 0 || changes[i-1].Op != change.Op {
				body = strings.Builder{}
				joined = append(joined, change)
			}
			body.WriteString(change.Value)
			joined[len(joined)-1].Value = body.String()
			continue
		}
		joined = append(joined, change)
	}
	return joined
}

// verdict prints the verdict, with the SMTP reply or the reason if there is one.
func (p *printer) verdict(o *outcome) {
	_, text, _ := strings.Cut(o.result.Reply.String(), " ")
	p.print(strings.TrimRight("VERDICT "+o.verdict()+" "+text+o.result.Quarantine, " "))
	if reply := o.result.Reply; reply.Raw != "" && reply.Client != nil && !saysTheSame(reply) {
		p.print("  the client is told: " + strings.Join(reply.Client, "\n"))
	}
}

// saysTheSame tells whether the client is told what the filter has said.
func saysTheSame(r miltertest.Reply) bool {
	raw := strings.Split(strings.ReplaceAll(r.Raw, "%%", "%"), "\r\n")
	return slices.EqualFunc(raw, r.Client, func(said, told string) bool { return strings.TrimRight(said, " ") == told })
}

// visible escapes what is not printable as %q does, but leaves quotes as they are.
func visible(s string) string {
	q := strconv.Quote(s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}

// visibleError is visible for an error, whose backslashes are of texts that are quoted in it.
func visibleError(err error) string { return strings.ReplaceAll(visible(err.Error()), `\\`, `\`) }

// visibleLines escapes lines, but not their tabs, and changes what ends them.
func visibleLines(text, end, newEnd string) string {
	lines := strings.Split(text, end)
	for i, line := range lines {
		columns := strings.Split(line, "\t")
		for j := range columns {
			columns[j] = visible(columns[j])
		}
		lines[i] = strings.Join(columns, "\t")
	}
	return strings.Join(lines, newEnd)
}

package main

import (
	"fmt"
	"strings"

	"github.com/aymanbagabas/go-udiff"

	"github.com/libmilter/go-libmilter/miltertest"
)

// maxDiff is the longest diff that has the body in it.
const maxDiff = 16 << 10

// mail prints what has become of the mail, if the MTA takes it: all of it, or the changes.
func (p *printer) mail(opt *options, held *miltertest.Result) {
	if held.From == "" {
		return
	}
	fmt.Fprintln(p.w)
	if opt.showMail {
		fmt.Fprint(p.w, head(held))
		if isBinary(held.Body) {
			fmt.Fprintf(p.w, "(a body of %d bytes that are no text)\n", len(held.Body))
		} else {
			fmt.Fprintln(p.w, strings.TrimSuffix(bodyLines(held), "\n"))
		}
		return
	}
	sent, err := opt.mta.Unfiltered(opt.mail)
	if err != nil { // which readMail has ruled out
		panic(err)
	}
	fmt.Fprint(p.w, diff(sent, held))
}

// diff tells what is different.
func diff(sent, held *miltertest.Result) string {
	d := udiff.Unified("sent", "held", head(sent)+bodyLines(sent), head(held)+bodyLines(held))
	if isBinary(sent.Body) || isBinary(held.Body) || len(d) > maxDiff {
		d = udiff.Unified("sent", "held", head(sent), head(held))
		if sent.Body != held.Body {
			d += fmt.Sprintf("body replaced: %d bytes instead of %d\n", len(held.Body), len(sent.Body))
		}
	}
	if d == "" {
		return "no changes\n"
	}
	return d
}

// head gives the envelope and the header, for the terminal.
func head(r *miltertest.Result) string {
	lines := append([]string{"MAIL FROM:" + r.From}, r.Rcpts...)
	for i := range r.Rcpts {
		lines[i+1] = "RCPT TO:" + r.Rcpts[i]
	}
	return visibleLines(strings.Join(lines, "\n")+"\n\n"+r.Header.String()+"\n", "\n", "\n")
}

// bodyLines gives the body, for the terminal. A line ends where it does in SMTP: a lone LF or CR is shown as such.
func bodyLines(r *miltertest.Result) string { return visibleLines(r.Body, "\r\n", "\n") }

func isBinary(body string) bool { return strings.Contains(body, "\x00") }

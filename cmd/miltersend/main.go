// Miltersend is a small MTA as a command, package miltertest on the command line. It takes a mail through a whole SMTP
// conversation with a milter and prints each step with the filter's reply, the changes that the filter asked for, the verdict,
// and what has become of the mail as a diff. Run it with -help for its flags and its exit statuses.
//
// # JSON
//
// With -json it prints one JSON object for each mail, on a line of its own. A text that is not valid UTF-8 is in it as
// {"base64": "…"} instead of a string, wherever the text is a mail's or a filter's.
//
//	negotiated  version, actions, protocol: the protocol version, and lists of SMFIF_* and SMFIP_* names
//	steps       the conversation: name, text, status (SMFIS_*), code, xcode and lines of the SMTP reply, and client, the
//	            lines that the client is told; unsent is true for a step that the filter was spared
//	verdict     accept, reject, tempfail, discard or quarantine
//	step        the name of the step that decided
//	reply       the reply that decided: status, code, xcode, lines, client
//	changes     the filter's calls, in order: op (AddHeader, …), index, name, value, args; bytes for ReplaceBody
//	from        the sender after the changes, "<a@example.org> SIZE=100"; this and the next three if the mail is taken
//	rcpts       the recipients
//	header      the fields, in order: name, value; lines of a folded value are parted by LF
//	body        the body, its lines ended by CRLF
//	quarantine  the reason, if the mail is held back
//	progress    how often the filter has reported progress
//	ms          milliseconds from connecting to the verdict
//	transcript  the packets of both sides, in words
//	error       step, message and, where there is one, a hint; if the filter broke off, there is no verdict
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

// run is the command without its process: it gives the exit status.
func run(args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	opt, err := parseOptions(args)
	if errors.Is(err, flag.ErrHelp) {
		printHelp(stdout)
		return 0
	}
	if err != nil {
		complain(stderr, err, "Run miltersend -help for the usage.")
		return exitUsage
	}
	if err := opt.readMail(stdin); err != nil {
		complain(stderr, err, "")
		return exitError
	}
	switch {
	case opt.mails > 1:
		return sendMany(context.Background(), opt, stdout, stderr)
	case opt.json:
		o := (&session{opt: opt}).send(true)
		writeJSON(stdout, opt, o)
		return o.exitStatus()
	}
	return sendOne(opt, stdout, stderr)
}

// sendOne sends the mail and tells of it as it goes.
func sendOne(opt *options, stdout, stderr io.Writer) int {
	p := &printer{stdout}
	o := (&session{opt: opt, out: p}).send(true)
	if o.result != nil {
		p.verdict(o)
		p.mail(opt, o.result)
	}
	if o.err != nil {
		complain(stderr, o.err, hint(opt, o.err))
	}
	return o.exitStatus()
}

// complain prints an error, and what to do about it if there is something.
func complain(w io.Writer, err error, advice string) {
	fmt.Fprintf(w, "miltersend: %s\n", visibleError(err))
	if advice != "" {
		fmt.Fprintln(w, "  "+visible(advice))
	}
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/d--j/go-milter"
)

const helpHead = `Usage: miltersend -addr ADDRESS [flags] [mail.eml]

Takes a mail (standard input when the file is "-" or absent) through an SMTP conversation with a milter, and prints
each step, the filter's reply to it and the changes that it asked for.

ADDRESS is unix:/path, local:/path, /path, inet:port@host or inet6:port@host, as for smfi_setconn.

Flags:
`

const helpTail = `
Exit status:
  0   the filter accepted the mail
  1   error: no connection, or the filter broke off or broke the protocol
  2   wrong usage
  10  rejected
  11  tempfailed
  12  discarded
  13  quarantined
`

// options is what the command line asks for.
type options struct {
	file             string // "-" for standard input
	network, address string // of the filter
	timeout, limit   time.Duration

	client    client
	helo      string
	from      *string // nil takes it from the mail
	fromArgs  []string
	rcpts     []string
	rcptArgs  []string
	macros    []macroSetting
	printMail bool
}

// newFlagSet returns the flags, which fill opt.
func newFlagSet(opt *options) *flag.FlagSet {
	fs := flag.NewFlagSet("miltersend", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints the error
	fs.Func("addr", "the filter's `address` (required)", func(s string) (err error) {
		opt.network, opt.address, err = parseAddress(s)
		return err
	})
	fs.DurationVar(&opt.timeout, "timeout", 10*time.Second, "longest wait for the connection, and for each packet read or written")
	fs.DurationVar(&opt.limit, "limit", 10*time.Minute, "longest time for the whole conversation")
	opt.client = client{family: milter.FamilyInet, addr: "192.0.2.10", port: 40000}
	fs.StringVar(&opt.client.name, "client-name", "client.example.org", "the SMTP client's host `name`")
	fs.Func("client-addr", "the SMTP client's `address`: ip:port, [ip6]:port, unix:/path or unknown (default 192.0.2.10:40000)",
		opt.client.parse)
	fs.StringVar(&opt.helo, "helo", "", "the client's HELO `name` (default the client name)")
	fs.Func("from", "the sender's `address`, <> for none (default the mail's Return-Path or From, or sender@example.org)",
		func(s string) error {
			from := milter.RemoveAngle(s)
			opt.from = &from
			return nil
		})
	fs.Func("from-args", "ESMTP `arguments` of MAIL, such as \"SIZE=123 BODY=8BITMIME\"", fieldsInto(&opt.fromArgs))
	fs.Func("rcpt", "a recipient's `address`, or several with commas; repeatable (default the mail's To, or rcpt@example.org)",
		opt.addRcpts)
	fs.Func("rcpt-args", "ESMTP `arguments` of each RCPT", fieldsInto(&opt.rcptArgs))
	fs.Func("macro", "a macro to send, `[stage:]name=value`; repeatable; the stages are "+strings.Join(stageNames, " "),
		func(s string) error {
			setting, err := parseMacro(s)
			opt.macros = append(opt.macros, setting)
			return err
		})
	fs.BoolVar(&opt.printMail, "show", false, "print the envelope and the header of the mail after the filter's changes")
	return fs
}

func parseOptions(args []string) (*options, error) {
	opt := &options{file: "-"}
	fs := newFlagSet(opt)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case opt.address == "":
		return nil, errors.New("-addr is required")
	case opt.timeout <= 0 || opt.limit <= 0:
		return nil, errors.New("-timeout and -limit must be above zero")
	case fs.NArg() > 1:
		return nil, fmt.Errorf("one mail at a time, not %d", fs.NArg())
	case fs.NArg() == 1:
		opt.file = fs.Arg(0)
	}
	if opt.helo == "" {
		opt.helo = opt.client.name
	}
	return opt, nil
}

func (opt *options) addRcpts(list string) error {
	for addr := range strings.SplitSeq(list, ",") {
		addr = milter.RemoveAngle(strings.TrimSpace(addr))
		if addr == "" {
			return errors.New("empty address")
		}
		opt.rcpts = append(opt.rcpts, addr)
	}
	return nil
}

// completeEnvelope takes from the mail what the command line does not say.
func (opt *options) completeEnvelope(msg *message) {
	if opt.from == nil {
		from := msg.sender()
		opt.from = &from
	}
	if opt.rcpts == nil {
		opt.rcpts = msg.recipients()
	}
}

func fieldsInto(dst *[]string) func(string) error {
	return func(s string) error {
		*dst = strings.Fields(s)
		return nil
	}
}

func printHelp(w io.Writer) {
	fs := newFlagSet(&options{})
	fs.SetOutput(w)
	fmt.Fprint(w, helpHead)
	fs.PrintDefaults()
	fmt.Fprint(w, helpTail)
}

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math/bits"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

const helpHead = `Usage: miltersend -addr ADDRESS [flags] [mail.eml]

Takes a mail (standard input when the file is "-" or absent) through an SMTP conversation with a milter. It prints each
step with the filter's reply, the changes that the filter asked for, the verdict, and as a diff what they make of the mail
that the MTA takes.

ADDRESS is unix:/path, local:/path, /path, inet:port@host or inet6:port@host, as for smfi_setconn.

Flags:
`

const helpTail = `
Exit status:
  0    the filter accepted the mail
  1    error: no connection, or the filter broke off or broke the protocol; with -n: for any of the mails
  2    wrong usage
  10   rejected
  11   tempfailed
  12   discarded
  13   quarantined
  14   with -n: the mails have different verdicts
  130  with -n: interrupted

"go doc github.com/libmilter/go-libmilter/cmd/miltersend" has the fields of -json.
`

// options is what the command line asks for, and the mail.
type options struct {
	file                 string // "-" for standard input
	addr                 string // of the filter
	mta                  miltertest.MTA
	withheld             offer // what -without takes from it
	mail                 miltertest.Mail
	fromArgs, rcptArgs   string // with a blank before each
	mails, conns         int
	keep, showMail, json bool
}

// offer is a set of what an MTA offers.
type offer struct {
	actions  milter.Action
	protocol milter.Protocol
}

// newFlagSet gives the flags, which fill opt.
func newFlagSet(opt *options) *flag.FlagSet {
	opt.mta = miltertest.Postfix()
	fs := flag.NewFlagSet("miltersend", flag.ContinueOnError)
	fs.SetOutput(io.Discard) // run prints the error
	opt.filterFlags(fs)
	opt.mailFlags(fs)
	fs.BoolVar(&opt.showMail, "show", false, "print the whole mail as it is after the filter's changes, instead of a diff")
	fs.BoolVar(&opt.json, "json", false, "print a JSON object for each mail instead of all else")
	fs.IntVar(&opt.mails, "n", 1, "send the mail `N` times; prints a summary at the end instead of each step")
	fs.IntVar(&opt.conns, "c", 1, "with -n: `N` connections at once")
	fs.BoolVar(&opt.keep, "keep", false, "with -n: send all mails over the first connections, instead of a new one for each")
	return fs
}

// filterFlags are those of the MTA and of its connection to the filter.
func (opt *options) filterFlags(fs *flag.FlagSet) {
	fs.Func("addr", "the filter's `address` (required)", func(s string) error {
		opt.addr = s
		_, _, err := miltertest.ParseAddress(s)
		return err
	})
	fs.DurationVar(&opt.mta.Timeout, "timeout", 10*time.Second, "longest wait for the connection, and for each packet read or written")
	fs.DurationVar(&opt.mta.Limit, "limit", 10*time.Minute, "longest time for a step, however often the filter reports progress")
	fs.Func("mta", "whose ways to follow, `postfix|sendmail`: its macros, and where it puts header fields (default postfix)", opt.setMTA)
	fs.Func("version", "the protocol `version` to offer, 2 to 6, with the bits that MTAs of that version had (default 6)", opt.setVersion)
	fs.Func("without", "`names` of SMFIF_* and SMFIP_* bits not to offer, with commas; repeatable", opt.withhold)
	fs.Func("macro", "a macro to send, `[stage:]name=value`; repeatable; the stages are "+strings.Join(stageNames, " "), opt.setMacro)
}

// mailFlags are those of the client and the envelope.
func (opt *options) mailFlags(fs *flag.FlagSet) {
	fs.BoolVar(&opt.mail.Local, "local", false, "the mail does not come by SMTP: Postfix's non_smtpd_milters, or sendmail -bs; the client is localhost then")
	fs.StringVar(&opt.mail.Client, "client-name", "", "the SMTP client's host `name` (default client.example.org)")
	fs.Func("client-addr", "the SMTP client's `address`: ip:port, [ip6]:port, unix:/path or unknown (default 192.0.2.10:40000)",
		func(s string) (err error) {
			opt.mail.Addr, err = parseClient(s)
			return err
		})
	fs.StringVar(&opt.mail.Helo, "helo", "", "the client's HELO `name` (default the client name)")
	fs.Func("from", "the sender's `address`, <> for none (default the mail's Return-Path or From, or sender@example.org)",
		func(s string) error {
			if opt.mail.From = s; s == "" {
				opt.mail.From = "<>"
			}
			return nil
		})
	fs.Func("from-args", "ESMTP `arguments` of MAIL, such as \"SIZE=123 BODY=8BITMIME\"", argsInto(&opt.fromArgs))
	fs.Func("rcpt", "a recipient's `address`, or several with commas; repeatable (default the mail's To, or recipient@example.com)",
		opt.addRcpts)
	fs.Func("rcpt-args", "ESMTP `arguments` of each RCPT", argsInto(&opt.rcptArgs))
}

func parseOptions(args []string) (*options, error) {
	opt := &options{file: "-"}
	fs := newFlagSet(opt)
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	switch {
	case opt.addr == "":
		return nil, errors.New("-addr is required")
	case opt.mta.Timeout <= 0 || opt.mta.Limit <= 0:
		return nil, errors.New("-timeout and -limit must be above zero")
	case opt.mails < 1 || opt.conns < 1:
		return nil, errors.New("-n and -c must be above zero")
	case opt.mails == 1 && (opt.conns > 1 || opt.keep):
		return nil, errors.New("-c and -keep are for many mails: say how many with -n")
	case opt.showMail && (opt.json || opt.mails > 1):
		return nil, errors.New("-show is for the steps of one mail, not for -json and -n")
	case fs.NArg() > 1:
		return nil, fmt.Errorf("one mail at a time, not %d (flags come before the file): %q", fs.NArg(), fs.Args())
	case fs.NArg() == 1:
		opt.file = fs.Arg(0)
	}
	opt.mta = opt.mta.WithVersion(opt.mta.Version)
	opt.mta.Actions &^= opt.withheld.actions
	opt.mta.Protocol &^= opt.withheld.protocol
	return opt, nil
}

func (opt *options) setMTA(name string) error {
	model := miltertest.Postfix()
	switch name {
	case "postfix":
	case "sendmail":
		model = miltertest.Sendmail()
	default:
		return errors.New("want postfix or sendmail")
	}
	opt.mta.Kind, opt.mta.MacroLists = model.Kind, model.MacroLists
	return nil
}

func (opt *options) setVersion(s string) error {
	if len(s) != 1 || s < "2" || s > "6" {
		return errors.New("want 2 to 6")
	}
	opt.mta.Version = int(s[0] - '0')
	return nil
}

// withhold takes bits from what is offered.
func (opt *options) withhold(names string) error {
	full := miltertest.Postfix()
	for name := range strings.SplitSeq(names, ",") {
		name = strings.TrimSpace(name)
		action := bitNamed(name, full.Actions)
		protocol := bitNamed(name, full.Protocol)
		if action == 0 && protocol == 0 {
			return fmt.Errorf("no bit %q, want of %v|%v", name, full.Actions, full.Protocol)
		}
		opt.withheld.actions |= action
		opt.withheld.protocol |= protocol
	}
	return nil
}

// bitNamed gives the bit of a set that has this name; 0 if none has.
func bitNamed[T interface {
	~uint32
	String() string
}](name string, set T) T {
	for ; set != 0; set &= set - 1 {
		if bit := T(1) << bits.TrailingZeros32(uint32(set)); bit.String() == name {
			return bit
		}
	}
	return 0
}

// stageNames are the stages of the -macro flag, in the order of libmilter's SMFIM_*.
var stageNames = []string{"connect", "helo", "mail", "rcpt", "data", "eom", "eoh"}

// setMacro reads [stage:]name=value. A name longer than one byte may lack its braces.
func (opt *options) setMacro(s string) error {
	name, value, ok := strings.Cut(s, "=")
	stage := miltertest.EveryStage
	if stageName, rest, hasStage := strings.Cut(name, ":"); hasStage {
		i := slices.Index(stageNames, stageName)
		if i < 0 {
			return fmt.Errorf("unknown stage %q, want one of %s", stageName, strings.Join(stageNames, " "))
		}
		stage, name = milter.Stage(i), rest
	}
	if !ok || name == "" {
		return errors.New("want name=value")
	}
	if len(name) > 1 && name[0] != '{' {
		name = "{" + name + "}"
	}
	if opt.mta.Macros == nil {
		opt.mta.Macros = miltertest.Macros{}
	}
	if opt.mta.Macros[stage] == nil {
		opt.mta.Macros[stage] = map[string]string{}
	}
	opt.mta.Macros[stage][name] = value
	return nil
}

// parseClient reads a client's address.
func parseClient(s string) (net.Addr, error) {
	if s == "unknown" {
		return miltertest.UnknownAddr, nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		return &net.UnixAddr{Net: "unix", Name: path}, nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return nil, errors.New("want ip:port, [ip6]:port, unix:/path or unknown")
	}
	return net.TCPAddrFromAddrPort(ap), nil
}

func (opt *options) addRcpts(list string) error {
	for addr := range strings.SplitSeq(list, ",") {
		addr = strings.TrimSpace(addr)
		if addr == "" {
			return errors.New("empty address")
		}
		opt.mail.To = append(opt.mail.To, addr)
	}
	return nil
}

func argsInto(dst *string) func(string) error {
	return func(s string) error {
		*dst = ""
		for _, arg := range strings.Fields(s) {
			*dst += " " + arg
		}
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

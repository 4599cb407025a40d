package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/d--j/go-milter"
)

// maxChunk is the largest body chunk, libmilter's MILTER_CHUNK_SIZE.
const maxChunk = 65535

// conversation is one mail in one SMTP session, as the filter sees it.
type conversation struct {
	opt     *options
	msg     *message
	out     *printer
	macros  macros
	filter  *milter.ClientSession
	rcpts   []string // less those that the filter refused
	changes []milter.ModifyAction
}

// converse takes the mail through the whole conversation.
func converse(opt *options, msg *message, out *printer) (verdict, error) {
	c := &conversation{
		opt:    opt,
		msg:    msg,
		out:    out,
		macros: macros{milter.NewMacroBag(), opt.macros},
		rcpts:  slices.Clone(opt.rcpts),
	}
	if err := c.negotiate(); err != nil {
		return verdict{}, fmt.Errorf("NEGOTIATE: %w", err)
	}
	defer func() { _ = c.filter.Close() }() // sends QUIT; the verdict stands even if the filter has gone
	v, err := c.send()
	if err != nil {
		return v, err
	}
	out.line("QUIT")
	out.verdict(v)
	if opt.printMail && (v.kind == accepted || v.kind == quarantined) {
		out.held(c.result())
	}
	return v, nil
}

// send goes through the steps until the filter decides.
func (c *conversation) send() (verdict, error) {
	for _, phase := range []func() (verdict, error){c.connect, c.helo, c.mail, c.recipients, c.data, c.header, c.body} {
		if v, err := phase(); err != nil || v.kind != undecided {
			return v, err
		}
	}
	return c.endOfMessage()
}

// negotiate connects to the filter and prints what it asks for.
func (c *conversation) negotiate() error {
	d := &dialer{timeout: c.opt.timeout, limit: c.opt.limit, macros: newMacroLists(c.opt.macros)}
	client := milter.NewClient(c.opt.network, c.opt.address, milter.WithDialer(d), milter.WithoutDefaultMacros(),
		milter.WithReadTimeout(c.opt.timeout), milter.WithWriteTimeout(c.opt.timeout))
	filter, err := client.Session(c.macros)
	if err != nil {
		return err
	}
	c.filter = filter
	c.out.negotiated(d.conn.version, filter)
	return nil
}

// step is one command to the filter.
type step struct {
	name    string             // as errors name it
	detail  string             // printed after the name
	off     milter.OptProtocol // SMFIP_NO*: the filter does not want the step
	silent  milter.OptProtocol // SMFIP_NR_*: the filter does not answer it
	repeats bool               // the filter may skip the rest of these
	send    func() (*milter.Action, error)
}

// ask sends one step and prints it with the reply.
func (c *conversation) ask(s step) (verdict, error) {
	skipped := s.repeats && c.filter.Skip()
	act, err := s.send()
	if err != nil {
		return verdict{}, fmt.Errorf("%s: %w", s.name, err)
	}
	v := verdictOf(act)
	reply := v.String()
	switch {
	case c.filter.ProtocolOption(s.off):
		reply = "(not asked for)"
	case skipped:
		reply = "(skipped)"
	case c.filter.ProtocolOption(s.silent):
		reply = "(no reply asked)"
	case c.filter.Skip(): // the client makes a continue of the filter's skip
		reply = "skip"
	}
	c.out.step(s.name+s.detail, reply)
	return v, nil
}

func (c *conversation) connect() (verdict, error) {
	from := c.opt.client
	c.macros.enterConnect(from)
	return c.ask(step{
		name: "CONNECT", detail: " " + from.String(), off: milter.OptNoConnect, silent: milter.OptNoConnReply,
		send: func() (*milter.Action, error) { return c.filter.Conn(from.name, from.family, from.port, from.addr) },
	})
}

func (c *conversation) helo() (verdict, error) {
	c.macros.enter(milter.StageHelo)
	return c.ask(step{
		name: "HELO", detail: " " + c.opt.helo, off: milter.OptNoHelo, silent: milter.OptNoHeloReply,
		send: func() (*milter.Action, error) { return c.filter.Helo(c.opt.helo) },
	})
}

func (c *conversation) mail() (verdict, error) {
	from, args := *c.opt.from, c.opt.fromArgs
	c.macros.enterMail(from)
	return c.ask(step{
		name: fmt.Sprintf("MAIL FROM:<%s>", from), detail: printedArgs(args),
		off: milter.OptNoMailFrom, silent: milter.OptNoMailReply,
		send: func() (*milter.Action, error) { return c.filter.Mail(from, sentArgs(args)) },
	})
}

// recipients sends each recipient. A refused one leaves the mail to the others; with none left the mail is aborted, and the
// verdict is to try again if the filter said so of any.
func (c *conversation) recipients() (verdict, error) {
	var refused verdict
	for _, rcpt := range c.opt.rcpts {
		v, err := c.recipient(rcpt)
		switch {
		case err != nil:
			return v, err
		case v.kind == rejected || v.kind == tempfailed:
			if refused.kind != tempfailed {
				refused = v
			}
			i := slices.Index(c.rcpts, rcpt)
			c.rcpts = slices.Delete(c.rcpts, i, i+1)
		case v.kind != undecided:
			return v, nil
		}
	}
	if len(c.rcpts) > 0 {
		return verdict{}, nil
	}
	if err := c.filter.Abort(nil); err != nil {
		return verdict{}, fmt.Errorf("ABORT: %w", err)
	}
	c.out.line("ABORT")
	return refused, nil
}

func (c *conversation) recipient(rcpt string) (verdict, error) {
	c.macros.enterRcpt(rcpt)
	return c.ask(step{
		name: fmt.Sprintf("RCPT TO:<%s>", rcpt), detail: printedArgs(c.opt.rcptArgs),
		off: milter.OptNoRcptTo, silent: milter.OptNoRcptReply, repeats: true,
		send: func() (*milter.Action, error) { return c.filter.Rcpt(rcpt, sentArgs(c.opt.rcptArgs)) },
	})
}

func (c *conversation) data() (verdict, error) {
	c.macros.enter(milter.StageData)
	return c.ask(step{name: "DATA", off: milter.OptNoData, silent: milter.OptNoDataReply, send: c.filter.DataStart})
}

// header sends the fields and the end of the header.
func (c *conversation) header() (verdict, error) {
	for _, f := range c.msg.header {
		value := f.value
		if !c.filter.ProtocolOption(milter.OptHeaderLeadingSpace) {
			value = strings.TrimPrefix(value, " ") // MTAs take one blank for the colon's
		}
		v, err := c.ask(step{
			name: "HEADER " + f.name, detail: ":" + f.value,
			off: milter.OptNoHeaders, silent: milter.OptNoHeaderReply, repeats: true,
			send: func() (*milter.Action, error) { return c.filter.HeaderField(f.name, value, nil) },
		})
		if err != nil || v.kind != undecided {
			return v, err
		}
	}
	c.macros.enter(milter.StageEOH)
	return c.ask(step{name: "END OF HEADER", off: milter.OptNoEOH, silent: milter.OptNoEOHReply, send: c.filter.HeaderEnd})
}

func (c *conversation) body() (verdict, error) {
	if len(c.msg.body) == 0 {
		_, err := c.filter.BodyChunk(nil) // End demands it; filterConn does not send it
		return verdict{}, err
	}
	for chunk := range slices.Chunk(c.msg.body, maxChunk) {
		v, err := c.ask(step{
			name: "BODY", detail: fmt.Sprintf(" %d bytes", len(chunk)),
			off: milter.OptNoBody, silent: milter.OptNoBodyReply, repeats: true,
			send: func() (*milter.Action, error) { return c.filter.BodyChunk(chunk) },
		})
		if err != nil || v.kind != undecided {
			return v, err
		}
	}
	return verdict{}, nil
}

// endOfMessage ends the mail, prints the changes and returns the verdict, which is to continue or accept if nothing else.
func (c *conversation) endOfMessage() (verdict, error) {
	c.macros.enter(milter.StageEOM)
	changes, act, err := c.filter.End()
	if err != nil {
		return verdict{}, fmt.Errorf("END OF MESSAGE: %w", err)
	}
	c.changes = joinBody(changes)
	v := verdictOf(act)
	c.out.step("END OF MESSAGE", v.String())
	for _, change := range c.changes {
		c.out.change(change)
	}
	if len(c.changes) == 0 {
		c.out.line("  no changes")
	}
	if v.kind == undecided {
		v.kind = accepted
	}
	if v.kind == accepted && slices.ContainsFunc(changes, isQuarantine) {
		v.kind = quarantined
	}
	return v, nil
}

func printedArgs(args []string) string {
	if len(args) == 0 {
		return ""
	}
	return " " + strings.Join(args, " ")
}

// sentArgs gives each ESMTP argument a string of its own in the packet, as MTAs do; go-milter's client takes one string for all.
func sentArgs(args []string) string { return strings.Join(args, "\x00") }

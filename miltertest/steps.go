package miltertest

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"strings"
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/internal/ascii"
)

// Step is a step of the conversation, as MTA.Trace and Result.Steps tell of it.
type Step struct {
	// Name is the callback's: "Connect", … "EOM", "Abort". Two steps lead to Close: "Quit" and "QuitNC".
	Name string
	// Text is what was said: "<a@example.org> SIZE=100".
	Text string
	// Reply is the filter's.
	Reply Reply
}

// command is a step before it is sent.
type command struct {
	name    string
	text    string
	path    string // the address in it
	code    byte
	data    string
	texts   []string     // in data, which must not hold a NUL
	stage   milter.Stage // whose macros are sent, or noStage
	known   map[string]string
	off     milter.Protocol // SMFIP_NO*: the filter is spared the step
	silent  milter.Protocol // SMFIP_NR_*: the filter does not answer it
	since   int             // the protocol version that has it
	repeats bool            // SMFIS_SKIP spares the filter those that follow
}

const noStage milter.Stage = -1

// Connect is the step of xxfi_connect: a client has connected. addr is a *net.TCPAddr or a *net.UnixAddr, or nil for a
// client whose address is not known.
func (c *Conn) Connect(host string, addr net.Addr) Reply {
	c.t.Helper()
	data, text := connectData(host, addr)
	c.client = true
	known := connectMacros(c.mta.Kind, host, addr)
	if c.local && c.mta.Kind == KindSendmail { // they are a daemon's
		for _, name := range []string{"{daemon_name}", "{if_name}", "{if_addr}"} {
			delete(known, name)
		}
	}
	reply := c.do(command{name: "Connect", text: text, code: cmdConnect, data: data, texts: []string{host},
		stage: milter.SMFIM_CONNECT, known: known,
		off: milter.SMFIP_NOCONNECT, silent: milter.SMFIP_NR_CONN})
	c.final = Step{"Connect", text, reply}
	return reply
}

// connectData gives the data of SMFIC_CONNECT, and the client as an MTA logs it.
func connectData(host string, addr net.Addr) (data, text string) {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		family := "6"
		if addr.IP.To4() != nil {
			family = "4"
		}
		port := string([]byte{byte(addr.Port >> 8), byte(addr.Port)})
		return z(host) + family + port + z(addr.IP.String()), fmt.Sprintf("%s [%s]:%d", host, addr.IP, addr.Port)
	case *net.UnixAddr:
		return z(host) + "L\x00\x00" + z(addr.Name), fmt.Sprintf("%s [%s]", host, addr.Name)
	}
	return z(host) + "U", host + " [unknown]"
}

// Helo is the step of xxfi_helo: HELO or EHLO.
func (c *Conn) Helo(identity string) Reply {
	c.t.Helper()
	reply := c.do(command{name: "Helo", text: identity, code: cmdHelo, data: z(identity), texts: []string{identity},
		stage: milter.SMFIM_HELO, off: milter.SMFIP_NOHELO, silent: milter.SMFIP_NR_HELO})
	if c.final.Reply.Continues() {
		c.final = Step{"Helo", identity, reply}
	}
	return reply
}

// MailFrom is the step of xxfi_envfrom: MAIL FROM, with the sender and its ESMTP arguments. An address without angle
// brackets is given them. It begins a mail.
func (c *Conn) MailFrom(sender string, args ...string) Reply {
	c.t.Helper()
	return c.mailFrom(brackets(sender), args)
}

func (c *Conn) mailFrom(sender string, args []string) Reply {
	c.t.Helper()
	c.mail = conversation{from: joinPath(brackets(sender), args)}
	sender, args = c.shown(sender, args)
	c.macros.forget("i", "{msg_id}", "{rcpt_addr}", "{rcpt_host}", "{rcpt_mailer}")
	known := c.addressMacros("mail", sender)
	if c.mta.Kind == KindSendmail || c.internal() {
		known["i"] = queueID()
	}
	path := joinPath(sender, args)
	return c.do(command{name: "MailFrom", text: path, path: sender, code: cmdMail, data: z(append([]string{sender}, args...)...), texts: []string{path},
		stage: milter.SMFIM_ENVFROM, known: known, off: milter.SMFIP_NOMAIL, silent: milter.SMFIP_NR_MAIL})
}

// RcptTo is the step of xxfi_envrcpt: RCPT TO, with the recipient and its ESMTP arguments. An address without angle
// brackets is given them.
func (c *Conn) RcptTo(recipient string, args ...string) Reply {
	c.t.Helper()
	return c.rcptTo(brackets(recipient), args)
}

func (c *Conn) rcptTo(recipient string, args []string) Reply {
	c.t.Helper()
	held := joinPath(brackets(recipient), args)
	recipient, args = c.shown(recipient, args)
	known := c.addressMacros("rcpt", recipient)
	if len(c.mail.rcpts) > 0 {
		maps.Copy(known, c.queueID())
	}
	path := joinPath(recipient, args)
	reply := c.do(command{name: "RcptTo", text: path, path: recipient, code: cmdRcpt, data: z(append([]string{recipient}, args...)...), texts: []string{path},
		stage: milter.SMFIM_ENVRCPT, known: known, off: milter.SMFIP_NORCPT, silent: milter.SMFIP_NR_RCPT, repeats: true})
	if reply.Status == milter.SMFIS_REJECT || reply.Status == milter.SMFIS_TEMPFAIL {
		c.mail.refuse(held, reply)
		return reply
	}
	c.mail.rcpts = append(c.mail.rcpts, held)
	return reply
}

// internal tells whether the mail is one that Postfix shows to non_smtpd_milters.
func (c *Conn) internal() bool { return c.local && c.mta.Kind == KindPostfix }

// shown gives an address and its ESMTP arguments as the filter is shown them.
func (c *Conn) shown(addr string, args []string) (string, []string) {
	if c.internal() {
		return address(addr), nil
	}
	return brackets(addr), args
}

// addressMacros are what the MTA knows of a sender ("mail") or recipient ("rcpt").
func (c *Conn) addressMacros(of, path string) map[string]string {
	addr := address(path)
	known := map[string]string{"{" + of + "_addr}": addr}
	if !c.internal() {
		known["{"+of+"_host}"], known["{"+of+"_mailer}"] = domain(addr), "esmtp"
	}
	return known
}

// Data is the step of xxfi_data: DATA.
func (c *Conn) Data() Reply {
	c.t.Helper()
	return c.do(command{name: "Data", code: cmdData, stage: milter.SMFIM_DATA, known: c.queueID(),
		off: milter.SMFIP_NODATA, silent: milter.SMFIP_NR_DATA, since: 4})
}

// queueID gives the macro of a mail that has a recipient: Postfix has none before that.
func (c *Conn) queueID() map[string]string {
	if _, known := c.macros.values["i"]; known {
		return nil
	}
	return map[string]string{"i": queueID()}
}

// Header is the step of xxfi_header: one header field. value is what follows the colon and one space; lines of a folded
// value are parted by LF. Without SMFIP_HDR_LEADSPC, the filter does not see the space either.
func (c *Conn) Header(name, value string) Reply {
	c.t.Helper()
	return c.header(Field{Name: name, Value: value})
}

func (c *Conn) header(f Field) Reply {
	c.t.Helper()
	c.mail.header = append(c.mail.header, f)
	if ascii.EqualFold(f.Name, "Message-Id") {
		c.macros.values["{msg_id}"] = f.Value
	}
	value := f.Value
	if c.has(milter.SMFIP_HDR_LEADSPC) {
		value = f.raw()
	}
	return c.do(command{name: "Header", text: f.Name + ":" + f.raw(), code: cmdHeader, data: z(f.Name, value), texts: []string{f.Name, value},
		stage: c.contentStage(milter.SMFIM_EOH), off: milter.SMFIP_NOHDRS, silent: milter.SMFIP_NR_HDR, repeats: true})
}

// contentStage gives the stage whose macros come with each header field and each piece of the body: Postfix sends those of
// what follows, though libmilter has no use for them.
func (c *Conn) contentStage(following milter.Stage) milter.Stage {
	if c.mta.Kind == KindPostfix {
		return following
	}
	return noStage
}

// EOH is the step of xxfi_eoh: the end of the header.
func (c *Conn) EOH() Reply {
	c.t.Helper()
	return c.do(command{name: "EOH", code: cmdEOH, stage: milter.SMFIM_EOH, known: c.queueID(),
		off: milter.SMFIP_NOEOH, silent: milter.SMFIP_NR_EOH})
}

// Segment is the step of xxfi_body: a piece of the body, of 65,535 bytes at most (libmilter takes no more unless
// Server.MaxDataSize says so). Lines end with CRLF.
func (c *Conn) Segment(segment string) Reply {
	c.t.Helper()
	c.mail.body = append(c.mail.body, segment...)
	return c.do(command{name: "Segment", text: fmt.Sprintf("%d bytes", len(segment)), code: cmdBody, data: segment,
		stage: c.contentStage(milter.SMFIM_EOM), off: milter.SMFIP_NOBODY, silent: milter.SMFIP_NR_BODY, repeats: true})
}

// Unknown is the step of xxfi_unknown: a command that the MTA does not know.
func (c *Conn) Unknown(line string) Reply {
	c.t.Helper()
	return c.do(command{name: "Unknown", text: line, code: cmdUnknown, data: z(line), texts: []string{line},
		stage: noStage, off: milter.SMFIP_NOUNKNOWN, silent: milter.SMFIP_NR_UNKN, since: 3})
}

// Abort is the step of xxfi_abort: the mail is given up, as after RSET. The filter has no reply to it; that the callback
// has run is certain once it has answered the next step.
func (c *Conn) Abort() {
	c.t.Helper()
	c.write("Abort", cmdAbort, "")
	c.trace(Step{Name: "Abort", Reply: Reply{Status: milter.SMFIS_NOREPLY}})
	c.mail = conversation{}
	c.skip = 0
}

// Quit ends the session, and waits until the filter has closed the connection: its callbacks, Close included, have
// returned then.
func (c *Conn) Quit() {
	c.t.Helper()
	c.write("Quit", cmdQuit, "")
	c.waitClosed("Quit")
	c.trace(Step{Name: "Quit", Reply: Reply{Status: milter.SMFIS_NOREPLY}})
}

// QuitNC ends the session and keeps the connection for another client: Connect begins a new session, with what was
// negotiated. libmilter takes it between mails, and ignores it before the first. The filter has no reply to it.
func (c *Conn) QuitNC() {
	c.t.Helper()
	c.write("QuitNC", cmdQuitNC, "")
	c.trace(Step{Name: "QuitNC", Reply: Reply{Status: milter.SMFIS_NOREPLY}})
	c.macros.values = map[string]string{}
	c.final, c.client, c.skip, c.mail = Step{}, false, 0, conversation{}
}

// EOM is the step of xxfi_eom: the end of the message. It gives what has become of the mail that MailFrom has begun.
func (c *Conn) EOM() *Result {
	c.t.Helper()
	const name = "EOM"
	c.sendMacros(name, cmdEndOfBody, milter.SMFIM_EOM, c.queueID())
	c.write(name, cmdEndOfBody, "")
	c.skip = 0
	deadline := time.Now().Add(c.mta.limit())
	var body newBody
	for {
		reports := c.mail.progress
		p := c.await(name, deadline)
		if c.err != nil {
			return c.result(c.failure)
		}
		change, isChange, err := parseChange(p)
		if body.next(change.Op, c.mail.progress > reports); body.broken && c.mta.Kind == KindPostfix {
			reply := c.giveUp(name, errBrokenBody, Reply{})
			c.trace(Step{Name: name, Reply: reply})
			return c.result(reply)
		}
		if err == nil && isChange {
			if err = c.mayChange(change.Op); err == nil {
				c.mail.changes = append(c.mail.changes, change)
				continue
			}
		}
		var reply Reply
		if err == nil {
			reply, err = c.parse(p, false)
		}
		if err != nil {
			c.fail(name, err)
			continue
		}
		reply = c.understand(name, "", reply)
		c.trace(Step{Name: name, Reply: reply})
		return c.result(reply)
	}
}

// errBrokenBody is of a body that Postfix does not take: what came first of it stays in the mail, if the mail is delivered.
var errBrokenBody = errors.New("Postfix takes no more of a new body once something else has come behind its first piece: another change, or a progress report")

// newBody tells whether the pieces of a new body come one after the other.
type newBody struct{ begun, ended, broken bool }

// next takes a packet, and whether a progress report came before it.
func (b *newBody) next(op Op, reported bool) {
	b.ended = b.ended || b.begun && (reported || op != ReplaceBody)
	b.begun = b.begun || op == ReplaceBody
	b.broken = b.ended && op == ReplaceBody
}

// mayChange tells whether the filter may make a change.
func (c *Conn) mayChange(op Op) error {
	if needs := actionOf[op]; uint32(needs)&^c.agreed.actions != 0 {
		return fmt.Errorf("the filter sent %s without having negotiated %v", op, needs)
	}
	return nil
}

// do sends a step, if the filter wants it, and waits for the reply, if the filter gives one.
func (c *Conn) do(cmd command) Reply {
	c.t.Helper()
	if c.err != nil {
		return c.unsent()
	}
	for _, text := range cmd.texts {
		if strings.Contains(text, "\x00") {
			c.fail(cmd.name, fmt.Errorf("%q holds a NUL, which the milter protocol cannot carry", text))
			return c.unsent()
		}
	}
	reply := Reply{Status: milter.SMFIS_CONTINUE, Unsent: true}
	if cmd.since <= c.agreed.version {
		if cmd.stage != noStage {
			c.sendMacros(cmd.name, cmd.code, cmd.stage, cmd.known)
		}
		if c.skip != cmd.code {
			c.skip = 0
		}
		if !c.has(cmd.off) && c.skip == 0 {
			reply = c.ask(cmd)
		}
	}
	c.trace(Step{cmd.name, cmd.text, reply})
	return reply
}

// ask sends a step and gives the reply to it.
func (c *Conn) ask(cmd command) Reply {
	c.t.Helper()
	c.write(cmd.name, cmd.code, cmd.data)
	if c.has(cmd.silent) {
		return Reply{Status: milter.SMFIS_NOREPLY}
	}
	p := c.await(cmd.name, time.Now().Add(c.mta.limit()))
	if c.err != nil {
		return c.failure
	}
	reply, err := c.parse(p, cmd.repeats)
	if err != nil {
		c.fail(cmd.name, err)
		return c.failure
	}
	reply = c.understand(cmd.name, cmd.path, reply)
	if reply.Status == milter.SMFIS_SKIP {
		c.skip = cmd.code
	}
	return reply
}

// understand gives a reply as the MTA understands it, and what the client is told.
func (c *Conn) understand(step, path string, reply Reply) Reply {
	understood, err := c.mta.Kind.understood(step, path, reply)
	if err != nil {
		return c.giveUp(step, err, reply)
	}
	if c.internal() {
		understood.Client = nil // there is none
	}
	return understood
}

// unsent is the reply to a step that was not sent, because the connection has failed.
func (c *Conn) unsent() Reply {
	reply := c.failure
	reply.Unsent = true
	return reply
}

// parse reads the reply to a step.
func (c *Conn) parse(p Packet, maySkip bool) (Reply, error) {
	if change, ok, _ := parseChange(p); ok {
		return Reply{}, fmt.Errorf("the filter sent %v, which it may at end of message only", change)
	}
	reply, err := parseReply(p)
	if err == nil && reply.Status == milter.SMFIS_SKIP && (!maySkip || !c.has(milter.SMFIP_SKIP)) {
		return reply, errors.New("the filter answered SMFIS_SKIP, which goes with SMFIP_SKIP, to RcptTo, Header and Segment only")
	}
	return reply, err
}

// await waits for a packet that is no progress report.
func (c *Conn) await(step string, deadline time.Time) Packet {
	c.t.Helper()
	for {
		next := time.Now().Add(c.mta.timeout())
		if next.After(deadline) {
			next = deadline
		}
		p := c.read(step, next)
		c.failIfCallbackDid()
		if c.err != nil || p.Code != replyProgress {
			return p
		}
		c.mail.progress++
	}
}

// sendMacros sends what there is of a stage's macros, whether or not the filter wants the step itself: MTAs do.
func (c *Conn) sendMacros(step string, code byte, stage milter.Stage, known map[string]string) {
	c.t.Helper()
	if data, any := c.macros.enter(stage, known); any {
		c.write(step, cmdMacro, string(code)+data)
	}
}

// has tells whether a protocol bit was negotiated; not for no bit at all.
func (c *Conn) has(bit milter.Protocol) bool { return c.agreed.protocol&uint32(bit) != 0 }

func (c *Conn) trace(s Step) {
	c.steps = append(c.steps, s)
	if c.mta.Trace != nil && c.err == nil {
		c.mta.Trace(s)
	}
}

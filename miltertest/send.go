package miltertest

import (
	"errors"
	"slices"

	milter "github.com/libmilter/go-libmilter"
)

// maxSegment is how much of a body an MTA sends at a time: MILTER_CHUNK_SIZE in libmilter's mfdef.h.
const maxSegment = 65535

// Send takes a mail through the whole conversation, as an MTA does: until the filter decides, or to the end of the
// message. Client, Addr and Helo are those of the first mail on a connection, unless Connect was called before. A connection
// can take any number of mails, one after the other; Quit ends it.
func (c *Conn) Send(mail Mail) *Result {
	c.t.Helper()
	mail, msg, err := mail.complete(c.mta.Kind)
	if err != nil {
		c.fail("Send", err)
		return c.result(c.failure)
	}
	c.local = mail.Local
	defer func() { c.local = false }()
	reply := c.greet(mail)
	if reply.Continues() {
		sender, args := splitPath(mail.From)
		reply = c.mailFrom(sender, args)
	}
	left := mail.To
	if reply.Continues() {
		reply, left = c.recipients(mail.To)
	}
	if reply.Continues() {
		reply = c.content(msg)
	}
	if reply.Continues() && c.err == nil {
		return c.EOM()
	}
	if reply.Status == milter.SMFIS_ACCEPT { // what the filter was not shown is in the mail all the same
		c.mail.hold(mail, left, msg)
	}
	return c.result(reply)
}

// hold takes the whole mail, but for the recipients that are refused.
func (m *conversation) hold(mail Mail, left []string, msg message) {
	addr, args := splitPath(mail.From)
	m.from = joinPath(brackets(addr), args)
	for _, path := range left {
		addr, args := splitPath(path)
		m.rcpts = append(m.rcpts, joinPath(brackets(addr), args))
	}
	m.header, m.body = msg.header, []byte(msg.body)
}

// greet introduces the client, once for each connection, and gives the reply that decides about it, if there is one.
func (c *Conn) greet(mail Mail) Reply {
	c.t.Helper()
	if c.client {
		return c.final.Reply
	}
	addr := mail.Addr
	if addr == UnknownAddr {
		addr = nil
	}
	if c.Connect(mail.Client, addr).Continues() {
		c.Helo(mail.Helo)
	}
	if c.final.Reply.Status == milter.SMFIS_DISCARD {
		c.fail(c.final.Name, errors.New("the filter answered SMFIS_DISCARD, and there is no mail yet: MTAs take it for a failure"))
	}
	return c.final.Reply
}

// recipients asks about each recipient. The reply is one that decides about the mail; left are those not asked about then.
func (c *Conn) recipients(to []string) (reply Reply, left []string) {
	c.t.Helper()
	var refused Reply
	for i, path := range to {
		addr, args := splitPath(path)
		reply = c.rcptTo(addr, args)
		if c.internal() && reply.refuses() { // Postfix cannot refuse one recipient: it keeps the mail
			reply.Status = milter.SMFIS_TEMPFAIL
			refused, c.mail.rcpts = reply, nil
			break
		}
		switch reply.Status {
		case milter.SMFIS_REJECT:
			if refused.Status != milter.SMFIS_TEMPFAIL {
				refused = reply
			}
		case milter.SMFIS_TEMPFAIL:
			refused = reply
		case milter.SMFIS_ACCEPT, milter.SMFIS_DISCARD:
			return reply, to[i+1:]
		}
	}
	if len(c.mail.rcpts) > 0 {
		return Reply{}, nil
	}
	steps := slices.Clone(c.steps)
	mail := c.mail
	c.Abort()
	c.steps, c.mail = steps, mail
	return refused, nil
}

// content sends the message, up to its end.
func (c *Conn) content(msg message) Reply {
	c.t.Helper()
	reply := c.Data()
	for _, f := range msg.header {
		if !reply.Continues() {
			return reply
		}
		if !c.mta.Kind.hides(f) {
			reply = c.header(f)
		}
	}
	if reply.Continues() {
		reply = c.EOH()
	}
	for rest := msg.body; rest != "" && reply.Continues(); {
		n := min(len(rest), maxSegment)
		reply = c.Segment(rest[:n])
		rest = rest[n:]
	}
	return reply
}

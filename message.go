//go:build cgo

package milter

import (
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"strings"

	"github.com/libmilter/go-libmilter/internal/ascii"
	"github.com/libmilter/go-libmilter/internal/header"
)

// errLimit stands before the limit that a mail has gone beyond.
var errLimit = errors.New("mail is over a limit")

// Message is a whole mail, at its end: no C function. It is valid until Callbacks.Message returns. Its texts are copies and
// may be kept; Body may not, a filter that wants it later keeps a copy (bytes.Clone).
type Message struct {
	// Host and Addr are xxfi_connect's, Helo is xxfi_helo's: the client, see Callbacks.Connect. They are the same for all
	// mails of a session.
	Host string
	Addr net.Addr
	Helo string

	// From is the sender, Rcpts the recipients that were accepted: by the MTA, and by Callbacks.RcptTo if it is set. A filter
	// that the MTA asks after this one may refuse one of them still.
	From  Path
	Rcpts []Path

	// Header is the mail's header. It can be edited.
	Header *Header

	// Body is the mail's body, its first MaxBody bytes, with the line ends that the MTA sends (CRLF). What is written to it
	// stays here: Modifier.ReplaceBody changes the mail. When Message returns its memory is another mail's, or, if it was large,
	// a mapping that is gone: to read that, in a goroutine that goes on, ends the process. The field is nil by then.
	Body []byte

	// Truncated: the body was longer than Server.MaxBody, or Callbacks.Segment did not want the rest. Body is then a part of
	// it, and with MaxBody NoBody it is none of it: a new body that is made of that (Modifier.ReplaceBody) cuts the mail.
	Truncated bool
}

// Path is a sender or a recipient: xxfi_envfrom's and xxfi_envrcpt's arguments.
type Path struct {
	Address string   // as given: "<a@example.org>"; "<>" is the null sender
	Args    []string // the ESMTP arguments: "SIZE=1000"; nil if there are none
}

// Mailbox gives the address without the brackets, and without a source route (RFC 5321, appendix C): "a@example.org", and ""
// for the null sender. No C function.
func (p Path) Mailbox() string {
	mailbox := strings.TrimSpace(p.Address)
	if strings.HasPrefix(mailbox, "<") {
		mailbox = strings.TrimSuffix(mailbox[1:], ">")
	}
	if strings.HasPrefix(mailbox, "@") { // <@relay.example,@other.example:a@example.org>
		if _, behind, found := strings.Cut(mailbox, ":"); found {
			return behind
		}
	}
	return mailbox
}

// Is reports whether this is a mailbox, "sales@example.com", in whichever of its spellings a client
// may give it: with angle brackets or without, behind a source route, with quotes, comments or
// blanks that mean nothing, with a dot behind the domain, and in upper or lower case. That is ASCII's
// case, and the local part's as well, since Postfix and Sendmail look mailboxes up so. "" is the null
// sender. An address extension (sales+x@example.com) is another mailbox, and so is a domain in
// Unicode and the same one in its ASCII form. No C function.
func (p Path) Is(mailbox string) bool {
	return ascii.EqualFold(plainMailbox(p.Mailbox()), plainMailbox(Path{Address: mailbox}.Mailbox()))
}

// plainMailbox returns a mailbox without what means nothing in it: quotes and backslashes, and
// outside of quotes blanks and comments (RFC 5322, 3.2.2 and 3.2.4).
func plainMailbox(mailbox string) string {
	var plain strings.Builder
	quoted, comments := false, 0
	for i := 0; i < len(mailbox); i++ {
		c := mailbox[i]
		switch {
		case c == '\\' && i+1 < len(mailbox):
			i++
			c = mailbox[i]
		case c == '"' && comments == 0:
			quoted = !quoted
			continue
		case quoted:
		case c == '(':
			comments++
		case c == ')' && comments > 0:
			comments--
			continue
		case c == ' ' || c == '\t':
			continue
		}
		if comments == 0 {
			plain.WriteByte(c)
		}
	}
	return strings.TrimSuffix(plain.String(), ".")
}

// IsNull tells whether this is the null sender, "<>", which bounces have (RFC 5321, 4.5.5). No C function.
func (p Path) IsNull() bool { return p.Mailbox() == "" }

// Arg gives the value of an ESMTP argument, "1000" for "SIZE" in SIZE=1000, and whether there is one; an argument without
// a value has the value "". Names are the same in upper and lower case. No C function.
func (p Path) Arg(name string) (value string, ok bool) {
	for _, arg := range p.Args {
		key, value, _ := strings.Cut(arg, "=")
		if ascii.EqualFold(key, name) {
			return value, true
		}
	}
	return "", false
}

// collecting gives the protocol bits that Message asks for: what is collected is not answered, and headers come to the byte.
func (f *filter) collecting(offered Protocol) Protocol {
	if f.callbacks.Message == nil {
		return 0
	}
	asked := (f.registered &^ f.set).unanswered()
	if f.wantsLeadingSpace() {
		asked |= SMFIP_HDR_LEADSPC
	}
	if f.callbacks.Unknown != nil && offered&SMFIP_NODATA == 0 {
		asked |= SMFIP_NOUNKNOWN // an MTA that sends no DATA, without which libmilter loses its place: see keepsPlace
	}
	if f.skips && f.callbacks.Segment == nil && offered&SMFIP_SKIP != 0 {
		asked = asked&^SMFIP_NR_BODY | SMFIP_SKIP // which is an answer
	}
	return asked
}

// wantsLeadingSpace tells whether it is the library that asks for SMFIP_HDR_LEADSPC: not where Callbacks.Header would see a
// difference, or the filter has asked for it.
func (f *filter) wantsLeadingSpace() bool {
	return f.callbacks.Message != nil && f.callbacks.Header == nil && f.protocol&SMFIP_HDR_LEADSPC == 0
}

// message runs Callbacks.Message at the end of a message.
func (s *Session) message(m *Modifier) Status {
	refuse := func(message string, err error) Status {
		s.filter.log(slog.LevelError, message+", answered SMFIS_TEMPFAIL", s, slog.Any("error", err))
		return SMFIS_TEMPFAIL
	}
	mail, err := s.collected()
	if err != nil {
		return refuse("milter: mail not collected", err)
	}
	msg := s.newMessage(mail, m)
	defer func() {
		msg.Body = nil
		mail.release()
	}()
	if mail.mapped != nil {
		// A disk that cannot be read is a fault, which would end the process.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	}
	status := s.filter.callbacks.Message(s, msg, m)
	if status == SMFIS_CONTINUE || status == SMFIS_ACCEPT {
		if err := msg.Header.send(m); err != nil {
			return refuse("milter: header not edited", err)
		}
	}
	return status
}

// newMessage makes the mail what the filter sees.
func (s *Session) newMessage(c mail, m *Modifier) *Message {
	o := s.collectedOrigin()
	msg := &Message{Host: o.host, Addr: o.addr, Helo: o.helo, Body: c.body, Truncated: c.truncated}
	fields := make([]header.Field, 0, c.fields)
	msg.Rcpts = make([]Path, 0, c.rcpts)
	path := &msg.From
	for texts := c.texts; texts != ""; {
		kind := texts[0]
		end := strings.IndexByte(texts, 0)
		text := texts[1:end]
		texts = texts[end+1:]
		switch kind {
		case textFrom:
			msg.From.Address = text
		case textRcpt:
			msg.Rcpts = append(msg.Rcpts, Path{Address: text})
			path = &msg.Rcpts[len(msg.Rcpts)-1]
		case textArg:
			path.Args = append(path.Args, text)
		case textName:
			fields = append(fields, header.Field{Name: text})
		case textValue:
			fields[len(fields)-1].Value = text
		}
	}
	msg.Header = &Header{
		modifier: m,
		spaced:   s.terms.protocol&SMFIP_HDR_LEADSPC != 0,
		list:     header.NewList(fields),
	}
	return msg
}

//go:build cgo

package milter

import (
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"syscall"
	"time"
)

// optLen is the length of a negotiation packet: MILTER_OPTLEN in libmilter's mfdef.h.
const optLen = 12

// chunkSize is the most that smfi_replacebody puts into one packet: MILTER_CHUNK_SIZE in libmilter's mfdef.h.
const chunkSize = 65535

// Modifier is SMFICTX at the end of a message: it changes the mail. EOM is given one, valid until EOM returns. Its
// methods may be called from any goroutine; the calls are sent one after the other.
//
// Every method gives ErrStage once EOM has returned, ErrNotNegotiated for an action that the filter did not ask for or the
// MTA does not have, and ErrConnection if the MTA is gone, which then gets no reply either. The changes take effect when the
// mail is accepted. Each is sent to the MTA at once, so that a change cannot be taken back.
//
// Texts are handed on as C would hand them on, but for what would cut a packet or a line short: the name of a header field, too,
// though an MTA takes " X" for more of the field before and "X: y" for another name. Header, of a Message, refuses those.
type Modifier struct {
	session *Session
	over    chan struct{} // closed when EOM returns
	body    newBody
	half    bool // a part of a new body was sent, and the rest cannot be: the mail must not be delivered with it
}

// newBody is how far a new body has come. Postfix takes a piece of one that does not follow the
// piece before it at once for a fault of the filter.
type newBody int

const (
	noBody     newBody = iota
	bodyPieces         // more of them may follow
	bodyWhole          // ReplaceBodyFrom's
	bodyBehind         // something else was sent since
)

// eom runs the end-of-message callback.
func (s *Session) eom() (status Status) {
	f := s.filter
	f.stats.messages.Add(1)
	if f.callbacks.EOM == nil && f.callbacks.Message == nil {
		return SMFIS_CONTINUE
	}
	m := &Modifier{session: s, over: make(chan struct{})}
	defer func() {
		s.wire.Lock()
		defer s.wire.Unlock()
		close(m.over)
		if m.half && (status == SMFIS_CONTINUE || status == SMFIS_ACCEPT) {
			status = SMFIS_TEMPFAIL
		}
	}()
	if f.callbacks.Message != nil {
		return s.message(m)
	}
	return f.callbacks.EOM(s, m)
}

var errReturned = fmt.Errorf("%w: the end-of-message callback has returned", ErrStage)

// may reports why a change cannot be made now, if it cannot.
func (m *Modifier) may(op string, action Action) error {
	granted := func() error {
		if m.session.terms.actions&action != action {
			return m.session.notGranted(action)
		}
		return nil
	}
	return m.inStage(op, granted)
}

// do makes a call that sends size bytes to the MTA and needs action, and finds out why it failed if it did.
func (m *Modifier) do(op string, action Action, size int, call func() error) error {
	return m.inStage(op, func() error { return m.send(action, size, call) })
}

func (m *Modifier) send(action Action, size int, call func() error) error {
	if err := call(); err != nil {
		return m.session.whyNotSent(action, size, err)
	}
	if m.body != noBody && action != SMFIF_CHGBODY {
		m.body = bodyBehind
	}
	return nil
}

// inStage makes a call while the end-of-message callback runs.
func (m *Modifier) inStage(op string, call func() error) error {
	s := m.session
	if s == nil {
		return &Error{op, fmt.Errorf("%w: not the end-of-message callback's Modifier", ErrStage)}
	}
	s.wire.Lock()
	defer s.wire.Unlock()
	select {
	case <-m.over:
		return &Error{op, errReturned}
	default:
	}
	if err := call(); err != nil {
		return &Error{op, err}
	}
	return nil
}

// whyNotSent tells what made libmilter refuse to send, at end of message: it gives no reason itself, but there are only
// these. errno is what the system said, if it was asked.
func (s *Session) whyNotSent(action Action, size int, errno error) error {
	switch {
	case s.terms.actions&action != action:
		return s.notGranted(action)
	case size > s.filter.maxDataSize:
		return s.tooLarge(size)
	case errors.Is(errno, syscall.ENOMEM):
		return errno
	}
	return fmt.Errorf("%w: %w", ErrConnection, errno)
}

// withSpace gives a header field's value as the MTA is to put it behind the colon.
func (s *Session) withSpace(value string) string {
	if s.terms.spaced {
		return " " + value
	}
	return value
}

func (s *Session) notGranted(action Action) error {
	return fmt.Errorf("%w: %v (asked for and granted: %v)", ErrNotNegotiated, action, s.terms.actions)
}

func (s *Session) tooLarge(size int) error {
	return fmt.Errorf("%w: %d bytes, over the %d of Server.MaxDataSize", ErrArgument, size, s.filter.maxDataSize)
}

// AddHeader is smfi_addheader: it adds a header field at the end of the header, on Postfix; Sendmail puts one before the first
// of its name, or in the place of one that a filter before this one has deleted, or that Sendmail would add itself. Lines of a folded value are parted by LF
// or CRLF and begin with a blank; value may be empty. The MTA puts a space between colon and value, unless
// SMFIP_HDR_LEADSPC was negotiated. Name and value are not looked at beyond line ends and NUL: a name has no blank and no
// colon, and 8-bit text is for the caller to encode. Needs SMFIF_ADDHDRS.
//
// Errors: ErrArgument for an empty name, for a NUL or CR, and for an LF that would begin another field; see also Modifier.
//
// Source: smfi_addheader.html; RFC 5322, 2.2.
func (m *Modifier) AddHeader(name, value string) error {
	const op = "smfi_addheader"
	value, err := checkHeader(name, value)
	if err != nil {
		return &Error{op, err}
	}
	s := m.session
	return m.do(op, SMFIF_ADDHDRS, len(name)+len(value)+2, func() error {
		return smfiAddheader(s.conn, &s.text, name, s.withSpace(value))
	})
}

// ChangeHeader is smfi_chgheader: it changes the index-th field of this name, counted from 1; an empty value deletes it.
// Where there are fewer fields of the name, the MTA adds one: to tag a subject, see in Header whether there is one. 0 is as
// good as 1. A value that Header was given may hold a CR, which is refused here: drop it first. Once a field was deleted, Postfix counts the others anew, and Sendmail does not. Values are as in AddHeader. Needs SMFIF_CHGHDRS.
//
// Errors: ErrArgument as in AddHeader and for an index below 0 or above 2^31-1; see also Modifier.
//
// Source: smfi_chgheader.html; RFC 5322, 2.2.
func (m *Modifier) ChangeHeader(name string, index int, value string) error {
	const op = "smfi_chgheader"
	value, err := checkHeaderAt(index, name, value)
	if err != nil {
		return &Error{op, err}
	}
	s := m.session
	return m.do(op, SMFIF_CHGHDRS, len(name)+len(value)+6, func() error {
		if value != "" { // which deletes the field
			value = s.withSpace(value)
		}
		return smfiChgheader(s.conn, &s.text, name, index, value)
	})
}

// InsertHeader is smfi_insheader: it inserts a field at an index, counted from 0. 0 puts it in front of all that EOM has been
// shown, and of the Received field that the MTA adds; an index beyond the end puts it behind all. In between MTAs count what
// they do not show. Postfix counts its own Received field, which is the first unless PREPEND (access(5), header_checks(5)) or a
// filter before this one has put others before it, or header_checks has dropped it; it inserts before the field that it counts
// to, so that 1 is in front of all but for these. Sendmail counts a place for each H line of its configuration, used or not,
// nine by default (0 to 8 are in front), and the fields that filters before this one have deleted, and inserts behind the field
// that it counts to. Package miltertest knows where a field comes to stand by default. Values are as in AddHeader. Needs
// SMFIF_ADDHDRS.
//
// Errors: ErrArgument as in ChangeHeader; see also Modifier.
//
// Source: smfi_insheader.html; RFC 5322, 2.2.
func (m *Modifier) InsertHeader(index int, name, value string) error {
	const op = "smfi_insheader"
	value, err := checkHeaderAt(index, name, value)
	if err != nil {
		return &Error{op, err}
	}
	s := m.session
	return m.do(op, SMFIF_ADDHDRS, len(name)+len(value)+6, func() error {
		return smfiInsheader(s.conn, &s.text, index, name, s.withSpace(value))
	})
}

func checkHeaderAt(index int, name, value string) (string, error) {
	if index < 0 || index > math.MaxInt32 {
		return "", fmt.Errorf("%w: header index %d", ErrArgument, index)
	}
	return checkHeader(name, value)
}

func checkHeader(name, value string) (string, error) {
	if err := checkFilled("header name", name); err != nil {
		return "", err
	}
	return headerValue(value)
}

// ChangeFrom is smfi_chgfrom: it changes the sender to address ("<a@example.org>", "<>" for the null sender). args are
// ESMTP arguments, "RET=HDRS ENVID=x"; an empty args is NULL. Needs SMFIF_CHGFROM.
//
// Errors: ErrArgument for an empty address and for NUL, CR or LF; see also Modifier.
//
// Source: smfi_chgfrom.html; RFC 5321, 4.1.1.2 and 4.5.5 (the null sender); RFC 3461 (RET, ENVID).
func (m *Modifier) ChangeFrom(address, args string) error {
	s := m.session
	return m.address("smfi_chgfrom", SMFIF_CHGFROM, address, args, func() error {
		return smfiChgfrom(s.conn, &s.text, address, args)
	})
}

// AddRcpt is smfi_addrcpt: it adds a recipient, "<a@example.org>". Needs SMFIF_ADDRCPT. One that
// the client has given already Sendmail does not add; Postfix does, and delivers the mail to it
// twice. Sendmail takes a list, with commas; of one, Postfix adds the first address.
//
// Errors: as ChangeFrom.
//
// Source: smfi_addrcpt.html; RFC 5321, 4.1.1.3; docs/mta-matrix.md.
func (m *Modifier) AddRcpt(address string) error {
	s := m.session
	return m.address("smfi_addrcpt", SMFIF_ADDRCPT, address, "", func() error {
		return smfiAddrcpt(s.conn, &s.text, address)
	})
}

// AddRcptPar is smfi_addrcpt_par: AddRcpt with ESMTP arguments, "NOTIFY=NEVER"; an empty args is
// NULL. Needs SMFIF_ADDRCPT_PAR. Of a recipient that is there, the arguments stay what they were on
// Sendmail.
//
// Errors: as ChangeFrom.
//
// Source: smfi_addrcpt_par.html; RFC 3461 (NOTIFY, ORCPT).
func (m *Modifier) AddRcptPar(address, args string) error {
	s := m.session
	return m.address("smfi_addrcpt_par", SMFIF_ADDRCPT_PAR, address, args, func() error {
		return smfiAddrcptPar(s.conn, &s.text, address, args)
	})
}

// DelRcpt is smfi_delrcpt: it removes a recipient, written as RcptTo was given it, but without a
// source route: "<user@example.org>" for "<@relay.example:user@example.org>", where Postfix finds
// nothing to remove otherwise (Path.Mailbox has no route). One that is not there is no error. Needs
// SMFIF_DELRCPT.
//
// Angle brackets, blanks around the address and comments do not matter to either MTA; upper and
// lower case do, in the domain, too, and so do an address extension (user+tag), the two ways to
// write an international domain, and, to Postfix, a dot at the domain's end. Quotes and backslashes
// that need not be in the local part matter to Sendmail and not to Postfix. All recipients that are
// the same go. Where the client has given two that differ in case only, Postfix has kept the first
// alone. Sendmail takes a list, with commas; of one, Postfix removes the first address.
//
// Errors: as ChangeFrom.
//
// Source: smfi_delrcpt.html; docs/mta-matrix.md.
func (m *Modifier) DelRcpt(address string) error {
	s := m.session
	return m.address("smfi_delrcpt", SMFIF_DELRCPT, address, "", func() error {
		return smfiDelrcpt(s.conn, &s.text, address)
	})
}

// address makes a call about an address and its ESMTP arguments, after a look at both.
func (m *Modifier) address(op string, action Action, address, args string, call func() error) error {
	if err := checkFilled("address", address); err != nil {
		return &Error{op, err}
	}
	if err := checkText("ESMTP arguments", args); err != nil {
		return &Error{op, err}
	}
	return m.do(op, action, len(address)+len(args)+2, call)
}

// ReplaceBody is smfi_replacebody: segment takes the body's place. It may be called again: the segments are joined.
// Lines end with CRLF. segment is the caller's; an empty one is an empty body if it is the only one. Needs
// SMFIF_CHGBODY.
//
// Nothing else may be sent between two segments, neither another change nor Progress: Postfix takes that for a fault of the
// filter, and does with the mail what its milter_default_action says. It is logged, and sent all the same.
//
// A mail whose body was not seen to its end (Message.Truncated, Server.MaxBody) is cut by a new body made of what was.
//
// Errors: see Modifier.
//
// Source: smfi_replacebody.html.
func (m *Modifier) ReplaceBody(segment []byte) error {
	const most = math.MaxInt32 / chunkSize * chunkSize // in C the length is an int
	return m.sendBody(bodyPieces, min(len(segment), chunkSize), func() ([]byte, error) {
		if len(segment) == 0 {
			return nil, io.EOF
		}
		piece := segment[:min(len(segment), most)]
		segment = segment[len(piece):]
		return piece, nil
	})
}

// ReplaceBodyFrom is smfi_replacebody with what r gives until io.EOF. r is read to its end first, so that nothing comes
// between the pieces of the body, whatever r's pace, and meanwhile KeepAlive goes on: up to 256 KiB are kept in memory, more
// in a file without a name in Server.TempDir.
//
// Errors: r's own and the file's, and those of ReplaceBody. The body stays as it was then, unless the connection was lost or the
// file could not be read again: the mail is answered SMFIS_TEMPFAIL in that case, where EOM returns SMFIS_CONTINUE or
// SMFIS_ACCEPT, for half a body is not delivered.
//
// Source: smfi_replacebody.html.
func (m *Modifier) ReplaceBodyFrom(r io.Reader) error {
	const op = "smfi_replacebody"
	if err := m.may(op, SMFIF_CHGBODY); err != nil {
		return err
	}
	f := m.session.filter
	body, err := readAhead(&eomReader{m, r}, f.tempDir)
	if err != nil {
		return &Error{op, fmt.Errorf("reading the new body: %w", err)}
	}
	defer body.Close()
	buffer := make([]byte, min(chunkSize, f.maxDataSize))
	return m.sendBody(bodyWhole, len(buffer), func() ([]byte, error) {
		n, err := io.ReadFull(body, buffer)
		if err == io.ErrUnexpectedEOF {
			err = nil
		}
		return buffer[:n], err
	})
}

// eomReader is a reader as long as EOM runs.
type eomReader struct {
	m *Modifier
	r io.Reader
}

func (e *eomReader) Read(p []byte) (int, error) {
	select {
	case <-e.m.over:
		return 0, errReturned
	default:
		return e.r.Read(p)
	}
}

// sendBody sends the pieces of a body that next returns until io.EOF, with nothing between them:
// one at least, of at most size bytes as libmilter cuts it.
func (m *Modifier) sendBody(as newBody, size int, next func() ([]byte, error)) error {
	const op = "smfi_replacebody"
	var interrupted bool
	var unread error
	err := m.do(op, SMFIF_CHGBODY, size, func() error {
		interrupted = m.body == bodyBehind
		for sent := false; ; sent = true {
			piece, err := next()
			switch {
			case err == io.EOF && sent:
				return nil
			case err != nil && err != io.EOF:
				unread = err
			default:
				err = smfiReplacebody(m.session.conn, piece)
			}
			if err != nil {
				m.half = m.half || sent
				return err
			}
			m.body = as
		}
	})
	if interrupted {
		s := m.session
		s.filter.logOnce("milter: a piece of a new body was sent after something else, Postfix takes it for a fault of the filter", s, stepEOM)
	}
	if unread != nil {
		return &Error{op, fmt.Errorf("reading the new body again: %w", unread)}
	}
	return err
}

// Quarantine is smfi_quarantine: the MTA puts the mail into its quarantine (Sendmail) or hold queue (Postfix) if it is
// accepted. reason must not be empty. Needs SMFIF_QUARANTINE.
//
// Errors: ErrArgument for an empty reason and for NUL, CR or LF; see also Modifier.
//
// Source: smfi_quarantine.html.
func (m *Modifier) Quarantine(reason string) error {
	const op = "smfi_quarantine"
	if err := checkFilled("reason", reason); err != nil {
		return &Error{op, err}
	}
	s := m.session
	return m.do(op, SMFIF_QUARANTINE, len(reason)+1, func() error {
		return smfiQuarantine(s.conn, &s.text, reason)
	})
}

// Progress is smfi_progress: it tells the MTA that the filter is still at work, and so starts the MTA's timeout for a reply anew.
// Sendmail has another one for the whole end of message (E in its T=, 5 minutes), which stays as it is.
//
// Errors: see Modifier.
//
// Source: smfi_progress.html.
func (m *Modifier) Progress() error {
	s := m.session
	return m.do("smfi_progress", SMFIF_NONE, 0, func() error { return smfiProgress(s.conn) })
}

// keepAliveDefault is how often KeepAlive calls Progress if it is not told.
const keepAliveDefault = 10 * time.Second

// KeepAlive is smfi_progress on a timer, while a slow handler works: every so often, every 10 seconds if every is not
// above 0. It ends with stop, which may be called more than once, when EOM returns, and when the MTA is gone. Other
// calls of Modifier may go on meanwhile. After ReplaceBody it waits for a change of another kind, as nothing may come
// between the pieces of a body; ReplaceBodyFrom, which knows the last one, does not hold it up.
//
// Source: smfi_progress.html.
func (m *Modifier) KeepAlive(every time.Duration) (stop func()) {
	if every <= 0 {
		every = keepAliveDefault
	}
	stopped := make(chan struct{})
	go func() {
		ticker := time.NewTicker(every)
		defer ticker.Stop()
		for {
			select {
			case <-stopped:
				return
			case <-m.over:
				return
			case <-ticker.C:
				if m.stayAlive() != nil {
					return
				}
			}
		}
	}()
	return sync.OnceFunc(func() { close(stopped) })
}

// stayAlive is Progress, but not between the pieces of a body.
func (m *Modifier) stayAlive() error {
	return m.inStage("smfi_progress", func() error {
		if m.body == bodyPieces {
			return nil
		}
		return m.send(SMFIF_NONE, 0, func() error { return smfiProgress(m.session.conn) })
	})
}

//go:build cgo

package milter

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/mattn/go-pointer"

	"github.com/libmilter/go-libmilter/internal/check"
)

// Session is SMFICTX: one connection of the MTA to the filter, as far as it is about one SMTP client. It begins at its
// first callback and ends when Close has returned; mails on it come one after the other. An MTA that keeps its
// connection for another client (SMFIC_QUIT_NC) gets another session.
//
// Its methods may be called from any goroutine while one of its callbacks runs, and return ErrStage otherwise; Context
// and ID may be called at any time.
type Session struct {
	// Local is smfi_setpriv's and smfi_getpriv's place: the program's own value, from the first callback to Close. The
	// library does not touch it. It is not guarded: callbacks of one session never run at the same time.
	Local any

	id     uint64
	filter *filter
	conn   smfictx
	handle unsafe.Pointer // what C knows this session by; nil if C need not know
	shim   csession       // what C keeps of it: valid while a callback runs

	// wire is held during each call to libmilter, which writes to the connection without a lock of its own, and waits as
	// long as the MTA does not read.
	wire sync.Mutex
	step step // the callback that runs
	text cText

	origin origin // of collected mails

	failed   step           // where a handler failed that has no answer, until one is given in its place
	replied  atomic.Bool    // there is one of the two below: most callbacks have none to look for
	recorded *recordedReply // Reply's, in the callback that runs
	unused   struct {       // SetReply's, which libmilter keeps and which has not gone out
		status Status // that it goes with; SMFIS_CONTINUE: there is none
		at     step   // where it was set
	}

	// mu is for what must not wait for the MTA.
	mu     sync.Mutex
	terms  negotiated
	ended  bool
	ctx    context.Context // made when asked for
	cancel context.CancelFunc
}

// negotiated is what was agreed on for a connection.
type negotiated struct {
	filter   *filter
	actions  Action
	protocol Protocol
	spaced   bool // SMFIP_HDR_LEADSPC, which the filter did not ask for: the library gives the space that the MTA no longer does
}

// begin makes the session of a connection's first callback, and what C keeps of it. nil means that the filter has stopped
// and the connection is on its own.
func begin(conn smfictx, negotiates bool) csession {
	s := newSession(conn, negotiates)
	if s == nil {
		return nil
	}
	s.handle = pointer.Save(s)
	s.shim = newCSession(s.handle)
	if s.shim == nil || !s.filter.add(s) {
		pointer.Unref(s.handle)
		freeCSession(s.shim)
		return nil
	}
	s.instruct()
	smfiSetpriv(conn, s.shim)
	return s.shim
}

// newSession makes a session with the terms of its connection. It is not added to its filter yet.
func newSession(conn smfictx, negotiates bool) *Session {
	f := running.Load()
	if f == nil {
		return nil
	}
	s := &Session{filter: f, conn: conn}
	if negotiates {
		return s
	}
	// A connection negotiates once, and keeps the terms for the sessions that follow on it after SMFIC_QUIT_NC. One that
	// is not marked yet is a newer one at the same address, whose peer did not negotiate: it has no terms, then or later.
	if !marked(conn) {
		f.negotiated.Delete(conn)
	} else if terms, ok := f.negotiated.Load(conn); ok {
		s.terms = terms.(negotiated)
		s.filter = s.terms.filter
	}
	return s
}

// find gives the session of a handle. There is none any more if the filter was stopped; its handle may be another's then.
func find(conn smfictx, handle unsafe.Pointer) *Session {
	s, _ := pointer.Restore(handle).(*Session)
	if s == nil || s.conn != conn {
		return nil
	}
	return s
}

// closed gives the session whose last callback, Close, has come. It can be the first as well: nil is a handle that C was never
// given.
func closed(conn smfictx, handle unsafe.Pointer) *Session {
	if handle != nil {
		return find(conn, handle)
	}
	s := newSession(conn, false)
	if s == nil || !s.filter.add(s) {
		return nil
	}
	return s
}

// marked marks a connection, and tells whether it was marked before: libmilter takes the macros of a stage once for each
// connection. The MTA does not see it, since the negotiation is over.
func marked(conn smfictx) bool {
	var b cText
	return smfiSetsymlist(conn, &b, SMFIM_CONNECT, "") != nil
}

// end is the session's end, after its last callback.
func (s *Session) end() {
	if s.filter.remove(s) {
		s.release()
	}
}

// release gives back what the session holds. filter.remove and filter.stop see to it that it is called once.
func (s *Session) release() {
	pointer.Unref(s.handle)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	if s.cancel != nil {
		s.cancel()
	}
}

// ID is the session's number in this process, from 1: no C function. It may be called at any time.
func (s *Session) ID() uint64 { return s.id }

// Context, which C does not have, gives a context that ends with the session: after Close, or when the server is closed by
// force. It may be called at any time.
func (s *Session) Context() context.Context {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ctx == nil {
		s.ctx, s.cancel = context.WithCancel(context.Background())
		if s.ended {
			s.cancel()
		}
	}
	return s.ctx
}

// Negotiated gives what the filter and the MTA agreed on for this connection: the actions that may be used, and the
// protocol bits in force. No C function: xxfi_negotiate's pf0 and pf1, as libmilter took them. It may be called at any
// time after Negotiate.
func (s *Session) Negotiated() (Action, Protocol) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.terms.actions, s.terms.protocol
}

// Macro is smfi_getsymval: the value of one of the MTA's macros, and whether the MTA has sent it. Names are written as
// libmilter wants them: "i" (the queue id), "{client_addr}". Which macros come at which step is the MTA's choice; ask
// with Server.Macros or Negotiation.SetSymList.
//
// A peer that sends a macro packet with a name and no value makes libmilter's own smfi_getsymval read memory that is not its
// own, which can end the process, in C as here. No MTA does that: nobody else is to reach the filter's socket. The library
// asks for macros itself only where an edit of a Header, SMFIP_RCPT_REJ or a line of the log about a mail needs one.
//
// Source: smfi_getsymval.html; Postfix's MILTER_README and Sendmail's operations guide list the macros.
func (s *Session) Macro(name string) (value string, ok bool) {
	if checkFilled("macro name", name) != nil {
		return "", false
	}
	s.wire.Lock()
	defer s.wire.Unlock()
	if s.step == stepNone {
		return "", false
	}
	return smfiGetsymval(s.conn, &s.text, name)
}

// do makes a call to libmilter, in a callback only. Its error is MI_FAILURE's cause as far as the caller can tell.
func (s *Session) do(op string, call func() error) error {
	s.wire.Lock()
	defer s.wire.Unlock()
	if s.step == stepNone {
		return &Error{op, fmt.Errorf("%w: no callback of the session is running", ErrStage)}
	}
	if err := call(); err != nil {
		return &Error{op, err}
	}
	return nil
}

// SetReply is smfi_setreply: the reply that goes with the next SMFIS_TEMPFAIL (rcode "4xx") or
// SMFIS_REJECT (rcode "5xx"), of this callback or a later one, as long as the MTA keeps its
// connection: also one about the next mail, or another client's. A reply that its callback does not
// use is logged, once for each step. xcode is the enhanced status code of RFC 3463, "5.7.1"; an
// empty xcode or message is NULL. message has at most 980 bytes, no NUL, CR or LF, and is handed on
// as it is. What the MTAs make of it is not always what was meant; Reply sees to that:
//
//   - An xcode of another class than rcode ("550", "4.7.1"): Postfix takes the reply for malformed,
//     does what milter_default_action says, so that the mail may go through, and drops the filter
//     for the rest of the SMTP session. Sendmail passes it on. Postfix does the same where there is
//     no xcode and message begins with a digit that is not rcode's first; Sendmail takes an
//     enhanced code there for xcode.
//   - "%%" is a percent sign to both. Of a single one Postfix drops the sign; Sendmail drops all of
//     the reply, and the client gets "550 5.7.1 Command rejected" or "554", for a "4xx", too.
//   - Bytes over 0x7f: Sendmail clears the eighth bit, so that UTF-8 comes out as other text, 0x80
//     ends the reply, and 0x8d 0x8a end the line: what follows is another reply to the client.
//     Postfix passes them on, at the end of message with blanks for what is no UTF-8. Control
//     characters: Sendmail passes them on, Postfix likewise but for blanks at the end of message.
//   - A text over 490 bytes makes a line over the 512 of RFC 5321, and both pass it on. At MAIL and
//     RCPT Sendmail puts the address in front of the text of a 450, 550 or 553.
//   - An empty message with an xcode: Sendmail takes the code for the text, "550 5.0.0 5.7.1". With
//     no xcode Sendmail puts "4.0.0" or "5.0.0" and Postfix nothing.
//   - "421" also closes the connection to the client on both, and "521" on Postfix. At Connect, of
//     a "5xx" or "421" code and text go out as the MTA's own, and Sendmail has a text of its own
//     for every other code.
//
// Errors: ErrArgument, ErrStage.
//
// Source: smfi_setreply.html; RFC 5321, 4.2; RFC 3463; docs/mta-matrix.md.
func (s *Session) SetReply(rcode, xcode, message string) error {
	const op = "smfi_setreply"
	if err := checkReply(rcode, xcode, []string{message}); err != nil {
		return &Error{op, err}
	}
	return s.setReply(op, rcode, func() error { return smfiSetreply(s.conn, &s.text, rcode, xcode, message) })
}

// SetMLReply is smfi_setmlreply: SetReply with 1 to 32 lines of text. An empty xcode is NULL, for
// which libmilter puts "4.0.0" or "5.0.0", so that a text may begin with a digit. A line may be
// empty. Of a reply of 16,384 bytes or more Sendmail cuts off the end, and the client waits for the
// last line until it gives up. With "421" the connection is closed as after SetReply, but at
// Connect, where Sendmail takes "421" of more than one line for any other code. The rest is as in
// SetReply.
//
// Errors: ErrArgument, ErrStage.
//
// Source: smfi_setmlreply.html; RFC 5321, 4.2.1; docs/mta-matrix.md.
func (s *Session) SetMLReply(rcode, xcode string, lines ...string) error {
	const op = "smfi_setmlreply"
	if len(lines) < 1 || len(lines) > maxReplyLines {
		return &Error{op, fmt.Errorf("%w: %d lines of text, 1 to %d can be sent", ErrArgument, len(lines), maxReplyLines)}
	}
	if err := checkReply(rcode, xcode, lines); err != nil {
		return &Error{op, err}
	}
	return s.setReply(op, rcode, func() error { return smfiSetmlreply(s.conn, &s.text, rcode, xcode, lines) })
}

// Reply is smfi_setreply or, for more than one line, smfi_setmlreply, with a reply that both MTAs
// pass on as it is, and returns the status to return with it: SMFIS_TEMPFAIL for a code of 400 to
// 499, SMFIS_REJECT for 500 to 599.
//
//	return s.Reply(550, "5.7.1", "We do not take mail about 100% discounts.")
//
// The text never changes the decision, it is made to fit: percent signs are doubled, so that the
// client reads the text as it is written here; a byte that is not printable ASCII is a question
// mark; long lines are broken, and there are at most 32; an enhanced code that is malformed or not
// of the code's class is left out; "4.0.0" or "5.0.0" stands before a text that begins with a digit
// and has no enhanced code. No lines are an empty text. But for percent signs, what had to be
// changed is logged, in one line.
//
// The reply is that of the callback that runs, and of this status: if the callback returns another
// one, the reply is dropped and that is logged. It never goes out with a later refusal, as one of
// SetReply can.
//
// With another code the reply is 451 with no text, and SMFIS_TEMPFAIL is returned; that is logged
// as an error, and so is a call when no callback is running, which returns the status all the same.
// With 421 the MTA also closes the connection to the client, Postfix with 521, too. For what
// becomes of a reply at Connect see SetReply.
//
// Source: smfi_setreply.html, smfi_setmlreply.html; RFC 5321, 4.2 and 4.5.3.1.5;
// docs/mta-matrix.md.
func (s *Session) Reply(code int, xcode string, lines ...string) Status {
	status, level := SMFIS_TEMPFAIL, slog.LevelWarn
	if code >= 500 && code <= 599 {
		status = SMFIS_REJECT
	}
	if code < 400 || code > 599 {
		level = slog.LevelError
	}
	fit, changed := check.FitReply(code, xcode, lines)
	given := []slog.Attr{slog.Int("code", code), slog.String("xcode", xcode), slog.Any("lines", lines)}
	if changed != nil {
		s.filter.log(level, "milter: reply changed to what both MTAs pass on", s, append(given, slog.Any("changed", changed))...)
	}
	err := s.do("smfi_setreply", func() error {
		s.recorded = &recordedReply{fit, status}
		s.replied.Store(true)
		return nil
	})
	if err != nil {
		s.filter.log(slog.LevelError, "milter: reply not set", s, append(given, slog.Any("error", err))...)
	}
	return status
}

// recordedReply is what Reply was given, until the callback returns.
type recordedReply struct {
	check.Reply
	status Status
}

// set hands the reply to libmilter.
func (r *recordedReply) set(s *Session) error {
	// smfi_setreply puts no blank behind an enhanced code without a text, which Sendmail takes for
	// the text then.
	if len(r.Lines) > 1 || r.XCode != "" && r.Lines[0] == "" {
		return s.SetMLReply(r.Code, r.XCode, r.Lines...)
	}
	return s.SetReply(r.Code, r.XCode, r.Lines[0])
}

// setReply is smfi_setreply or smfi_setmlreply. libmilter keeps the reply until a refusal of its
// class goes out, on this connection, whatever that is about.
func (s *Session) setReply(op, rcode string, set func() error) error {
	return s.do(op, func() error {
		if err := set(); err != nil {
			return err
		}
		s.replied.Store(true)
		s.unused.status, s.unused.at = SMFIS_TEMPFAIL, s.step
		if rcode[0] == '5' {
			s.unused.status = SMFIS_REJECT
		}
		return nil
	})
}

// takeRecorded returns the reply that Reply has recorded in the callback that runs, and forgets it.
func (s *Session) takeRecorded() *recordedReply {
	s.wire.Lock()
	defer s.wire.Unlock()
	r := s.recorded
	s.recorded = nil
	return r
}

// queueID returns the macro "i" of the mail that the callback which runs is about, for the log; ""
// if there is none. It is not looked for where there is no mail: a malformed macro packet crashes
// smfi_getsymval itself, and there are peers that are no MTA.
func (s *Session) queueID() string {
	s.wire.Lock()
	st := s.step
	s.wire.Unlock()
	if !st.ofMail() && st != stepAbort {
		return ""
	}
	id, _ := s.Macro("i")
	return id
}

// settleReply hands a recorded reply to libmilter, if the callback returns the status that goes
// with it and the MTA waits for an answer. It tells of replies that do not go out.
func (s *Session) settleReply(st step, status Status) {
	if !s.replied.Load() {
		return
	}
	if r := s.takeRecorded(); r != nil {
		switch {
		case !s.answers(st):
		case r.status != status:
			s.filter.logOnce("milter: callback did not return the status of Session.Reply, reply dropped", s, st,
				slog.String("status", status.String()), slog.String("code", r.Code))
		default:
			if err := r.set(s); err != nil {
				s.filter.log(slog.LevelError, "milter: reply not set", s, slog.Any("error", err))
			}
		}
	}
	if unused := s.settleUnused(st, status); unused != SMFIS_CONTINUE {
		s.filter.logOnce("milter: callback set a reply and did not use it, it goes out with the next refusal of its class "+
			"on this connection", s, st, slog.String("status", status.String()), slog.String("reply", unused.String()))
	}
}

// settleUnused notes that libmilter's reply goes out with status, or returns the status that one
// set in this callback goes with and that was not returned.
func (s *Session) settleUnused(st step, status Status) Status {
	s.wire.Lock()
	defer s.wire.Unlock()
	if status == s.unused.status && s.answers(st) {
		s.unused.status = SMFIS_CONTINUE
	}
	s.replied.Store(s.recorded != nil || s.unused.status != SMFIS_CONTINUE)
	if s.unused.at != st {
		return SMFIS_CONTINUE
	}
	return s.unused.status
}

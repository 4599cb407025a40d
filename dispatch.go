//go:build cgo

package milter

import (
	"log/slog"
	"net"
	"unsafe"
)

// This file is a callback's whole way, from the export that C calls to the status that libmilter gets.

// caller is what C calls with: on which thread, and for which connection and session.
type caller struct {
	thread *thread
	conn   smfictx
	handle unsafe.Pointer
}

// arguments are those of a callback, each step's own: what the MTA sent.
type arguments struct {
	negotiation *Negotiation
	addr        net.Addr
	text        string // a host, an identity, a command, an address, a header field's name
	value       string
	list        []string
	segment     []byte
}

// dispatch calls the filter's callback of a step.
func (s *Session) dispatch(st step, a *arguments) Status {
	cb := &s.filter.callbacks
	switch st {
	case stepNegotiate:
		return s.negotiate(a.negotiation)
	case stepConnect:
		return cb.Connect(s, a.text, a.addr)
	case stepUnknown:
		return cb.Unknown(s, a.text)
	case stepHelo:
		return cb.Helo(s, a.text)
	case stepMailFrom:
		return cb.MailFrom(s, a.text, a.list)
	case stepRcptTo:
		return cb.RcptTo(s, a.text, a.list)
	case stepData:
		return cb.Data(s)
	case stepHeader:
		return cb.Header(s, a.text, a.value)
	case stepEOH:
		return cb.EOH(s)
	case stepSegment:
		return cb.Segment(s, a.segment)
	case stepEOM:
		return s.eom()
	case stepAbort:
		cb.Abort(s)
	case stepClose:
		if cb.Close != nil {
			cb.Close(s)
		}
	}
	return SMFIS_CONTINUE
}

// call runs a callback: every export goes through here. It finds the session, keeps whatever the
// handler does from reaching C, and returns the status that libmilter is to get.
func call(c caller, st step, args arguments) Status {
	var s *Session
	if st == stepClose {
		s = closed(c.conn, c.handle)
		marked(c.conn)
	} else {
		s = find(c.conn, c.handle)
	}
	if s == nil {
		return SMFIS_TEMPFAIL
	}
	s.filter.stats.callbacks.Add(1)
	s.enter(st)
	s.filter.meet()
	status, owed := s.owedAnswer(st)
	if !owed {
		status = s.answer(st, c.thread.run(s, st, args))
	}
	s.filter.meet()
	s.enter(stepNone)
	if st == stepClose {
		s.end()
	}
	return status
}

// enter marks the callback that runs. It waits for calls to libmilter that other goroutines are in
// the middle of.
func (s *Session) enter(st step) {
	s.wire.Lock()
	s.step = st
	s.wire.Unlock()
}

// answer returns what libmilter is told: status, unless the handler failed, or the step is one that
// was negotiated not to be answered.
func (s *Session) answer(st step, o outcome) Status {
	f, status := s.filter, o.status
	switch {
	case o.crashed != nil:
		f.stats.panics.Add(1)
		return s.fail(st, "callback panicked", slog.Any("panic", o.crashed.value),
			slog.String("stack", string(o.crashed.stack)))
	case !st.allows(status):
		f.stats.badStatuses.Add(1)
		return s.fail(st, "callback returned no valid status", slog.String("status", status.String()))
	}
	s.settleReply(st, status)
	switch {
	case !s.answers(st) && status == SMFIS_NOREPLY:
		return SMFIS_NOREPLY
	case !s.answers(st):
		f.logOnce("milter: callback answered a step that was negotiated without replies, answer dropped",
			s, st, slog.String("status", status.String()))
		return st.silence()
	case status == SMFIS_SKIP && s.terms.protocol&SMFIP_SKIP == 0:
		f.logOnce("milter: callback returned SMFIS_SKIP, which was not negotiated, MTA will break off", s, st,
			slog.String("status", status.String()))
	case status == SMFIS_NOREPLY && st != stepNegotiate:
		f.logOnce("milter: callback returned SMFIS_NOREPLY for a step that was negotiated with replies, "+
			"MTA will time out", s, st, slog.String("status", status.String()))
	}
	return status
}

// fail logs that a handler failed, with what becomes of it, and returns what libmilter is told.
func (s *Session) fail(st step, what string, attrs ...slog.Attr) Status {
	s.takeRecorded()
	status, consequence := SMFIS_TEMPFAIL, "answered SMFIS_TEMPFAIL"
	switch {
	case st == stepNegotiate:
		consequence = "libmilter closes the connection"
	case st == stepAbort || st == stepClose || st == stepUnknown && !s.answers(st):
		status, consequence = SMFIS_NOREPLY, "there is no answer to it"
	case !s.answers(st):
		s.failed = st
		status, consequence = st.silence(), "SMFIS_TEMPFAIL is the next answer"
	}
	attrs = append([]slog.Attr{slog.String("callback", st.String())}, attrs...)
	s.filter.log(slog.LevelError, "milter: "+what+", "+consequence, s, attrs...)
	return status
}

// owedAnswer returns the answer to a step in the place of one before it that failed and has none. The
// handler does not see such a step, as if the MTA had heard the answer then.
func (s *Session) owedAnswer(st step) (status Status, owed bool) {
	if s.failed.ofMail() && (st == stepMailFrom || st == stepAbort) {
		s.failed = stepNone
	}
	if !s.failed.covers(st) {
		return 0, false
	}
	if st == stepEOM {
		s.filter.stats.messages.Add(1)
	}
	if !s.answers(st) {
		return st.silence(), true
	}
	s.filter.log(slog.LevelWarn, "milter: answered SMFIS_TEMPFAIL, in place of a step without an answer that failed", s,
		slog.String("callback", st.String()), slog.String("failed", s.failed.String()))
	if s.failed.ofMail() && st != stepRcptTo { // which refuses one recipient only
		s.failed = stepNone
	}
	return SMFIS_TEMPFAIL, true
}

// ofMail reports whether the step is one of a mail, not of its connection.
func (st step) ofMail() bool { return st >= stepMailFrom && st <= stepEOM }

// covers reports whether a step that failed decides about a later one, too: one of the same mail or,
// if it was the client's, of any.
func (st step) covers(later step) bool {
	switch {
	case st == stepNone, later == stepUnknown:
		return false
	case st.ofMail():
		return later > stepMailFrom && later.ofMail()
	}
	return later > stepNegotiate && later <= stepEOM
}

// answers reports whether the MTA waits for an answer to a step.
func (s *Session) answers(st step) bool {
	noReply := steps[st].noReply
	return noReply == 0 || s.terms.protocol&noReply == 0
}

// silence is what libmilter is told at a step without an answer. Of a body it drops the answer
// itself: the last piece may come together with the end of the message, and then SMFIS_CONTINUE
// alone leads on to xxfi_eom.
func (st step) silence() Status {
	if st == stepSegment {
		return SMFIS_CONTINUE
	}
	return SMFIS_NOREPLY
}

// allows reports whether a callback may return status: libmilter has internal codes beside the
// public ones.
func (st step) allows(status Status) bool {
	switch status {
	case SMFIS_CONTINUE, SMFIS_REJECT, SMFIS_DISCARD, SMFIS_ACCEPT, SMFIS_TEMPFAIL, SMFIS_NOREPLY, SMFIS_SKIP:
		return true
	case SMFIS_ALL_OPTS:
		return st == stepNegotiate
	}
	return false
}

//go:build cgo

package milter

import "net"

// Callbacks is smfiDesc's callback set: the steps of the SMTP conversation that a filter wants to see. A nil field is
// registered as NULL, so the MTA is told not to send that step; Negotiate, EOM, Abort and Close have no such bit, and
// where they are nil the library answers as libmilter does without them.
//
// libmilter calls them from threads of its own: callbacks of one connection one after the other, though not always on
// the same thread, callbacks of different connections at the same time. The MTA waits while a callback runs.
//
// Texts are the bytes that the MTA sent, of any encoding; they are copies, the filter's to keep.
//
// A callback that panics, ends its goroutine with runtime.Goexit (testing.T.FailNow does), or returns a value that is
// no status, is logged and answered SMFIS_TEMPFAIL. At a step that was negotiated without an answer, the next step that has
// one is answered so in its place, at the latest the end of the message, and what comes before that does not reach the
// filter. What the Go runtime itself ends the process for cannot be caught:
// a concurrent map write, a stack overflow, a panic in a goroutine that the callback started, a thread locked more than 8
// times (runtime.LockOSThread) and not unlocked.
//
// Which statuses mean what at a step says libmilter's page of the name that the field's comment begins with:
// xxfi_connect.html and so on.
type Callbacks struct {
	// Negotiate is xxfi_negotiate: once for each connection of the MTA, before anything else. It decides what is asked
	// for by changing n, and returns SMFIS_CONTINUE; or SMFIS_ALL_OPTS, to take all that the MTA offers; or
	// SMFIS_REJECT, to be left out of this connection. n is valid until Negotiate returns.
	Negotiate func(s *Session, n *Negotiation) Status

	// Connect is xxfi_connect: a client has connected to the MTA. host is the client's name or, where it has none, its
	// address in brackets. addr is a *net.TCPAddr, a *net.UnixAddr, or nil where the MTA does not know the address. Of mail that
	// does not come by SMTP, Postfix's non_smtpd_milters are shown "localhost" and 127.0.0.1, port 0; "sendmail -bs" shows
	// "localhost" and nil.
	Connect func(s *Session, host string, addr net.Addr) Status

	// Unknown is xxfi_unknown: a command that the MTA does not know, without the line end; Postfix sends its first word
	// only. libmilter loses its place in a mail if such a command comes between RCPT and DATA and the filter has no Data:
	// the MTA gets no answer to the rest of the mail. Set Data as well (Message does that by itself); the log says so at the start.
	Unknown func(s *Session, command string) Status

	// Helo is xxfi_helo: HELO or EHLO, with what the client calls itself.
	Helo func(s *Session, identity string) Status

	// MailFrom is xxfi_envfrom: MAIL FROM, with the sender as given ("<a@example.org>", "<>" is the null sender) and the
	// ESMTP arguments ("SIZE=1000"), nil if there are none. It begins a mail. Postfix's non_smtpd_milters are shown addresses
	// without angle brackets, and "" for the null sender: Path.IsNull takes both.
	MailFrom func(s *Session, address string, args []string) Status

	// RcptTo is xxfi_envrcpt: RCPT TO, with the recipient as given and the ESMTP arguments, nil if there are none. A client may
	// spell an address in many ways: Path{Address: address}.Is("a@example.org") sees to them.
	// SMFIS_REJECT and SMFIS_TEMPFAIL refuse this recipient, SMFIS_ACCEPT and SMFIS_DISCARD are about the whole mail. Where
	// Postfix has this filter in non_smtpd_milters, a refusal is about the whole of a mail that does not come by SMTP: it
	// stays in the maildrop queue, to be tried again for ever.
	RcptTo func(s *Session, address string, args []string) Status

	// Data is xxfi_data: the DATA command. With Data and Header, set EOH as well: without it libmilter loses its place in a
	// mail that has no header fields. (Message does that by itself; the log says so at the start.)
	Data func(s *Session) Status

	// Header is xxfi_header: one header field. A folded value has its line ends as the MTA sends them: LF or CRLF.
	Header func(s *Session, name, value string) Status

	// EOH is xxfi_eoh: the end of the header.
	EOH func(s *Session) Status

	// Segment is xxfi_body: a piece of the body, of 65,535 bytes at most unless Server.MaxDataSize says more. segment is
	// libmilter's memory, valid until the callback returns: a filter that keeps it keeps a copy (bytes.Clone). A word may
	// be cut between two segments. The last one may come together with the end of the message, though Postfix and Sendmail
	// do not do that; libmilter then goes on to EOM after SMFIS_CONTINUE only, whether the step has an answer or not.
	Segment func(s *Session, segment []byte) Status

	// EOM is xxfi_eom: the end of the message. The mail may be changed now, and only now, with m, which is valid until
	// EOM returns. It ends the mail.
	EOM func(s *Session, m *Modifier) Status

	// Message is one decision for one mail, in place of EOM: no C function. It is called at end of message, with all of the
	// mail, and may change it by msg.Header and by m; both are valid until it returns. What it needs is collected without a
	// word to the MTA (SMFIP_NR_*) and without a callback; the callbacks that are set beside it come as ever.
	//
	// A mail that cannot be collected, because of Server.Limits or a full disk, is answered SMFIS_TEMPFAIL at its end, and the
	// reason is logged: Message does not see it.
	Message func(s *Session, msg *Message, m *Modifier) Status

	// Abort is xxfi_abort: the mail that was begun will not reach EOM (RSET, another filter's reject, a lost
	// connection). It ends the mail, not the connection.
	Abort func(s *Session)

	// Close is xxfi_close: the connection is over. It is the last callback of a session, and the only one where somebody
	// connected and said nothing, as health checks do. It should be short: where libmilter has a pool of workers, no
	// session goes on while it closes one that has timed out.
	Close func(s *Session)
}

// step is a callback, as Session and the log see it.
type step int

// The steps; stepNone is the time between callbacks.
const (
	stepNone step = iota
	stepNegotiate
	stepConnect
	stepUnknown
	stepHelo
	stepMailFrom
	stepRcptTo
	stepData
	stepHeader
	stepEOH
	stepSegment
	stepEOM
	stepAbort
	stepClose
	stepCount
)

// steps names each step's C function and the bit that says it is not answered.
var steps = [stepCount]struct {
	name    string
	noReply Protocol
}{
	stepNone:      {name: "none"},
	stepNegotiate: {name: "xxfi_negotiate"},
	stepConnect:   {name: "xxfi_connect", noReply: SMFIP_NR_CONN},
	stepUnknown:   {name: "xxfi_unknown", noReply: SMFIP_NR_UNKN},
	stepHelo:      {name: "xxfi_helo", noReply: SMFIP_NR_HELO},
	stepMailFrom:  {name: "xxfi_envfrom", noReply: SMFIP_NR_MAIL},
	stepRcptTo:    {name: "xxfi_envrcpt", noReply: SMFIP_NR_RCPT},
	stepData:      {name: "xxfi_data", noReply: SMFIP_NR_DATA},
	stepHeader:    {name: "xxfi_header", noReply: SMFIP_NR_HDR},
	stepEOH:       {name: "xxfi_eoh", noReply: SMFIP_NR_EOH},
	stepSegment:   {name: "xxfi_body", noReply: SMFIP_NR_BODY},
	stepEOM:       {name: "xxfi_eom"},
	stepAbort:     {name: "xxfi_abort"},
	stepClose:     {name: "xxfi_close"},
}

func (st step) String() string { return steps[st].name }

// Package milter runs mail filters in Go on the real C libmilter.
//
// Postfix and Sendmail hand each mail, step by step, to filters that speak the milter protocol. libmilter is the
// reference engine for such filters; this package binds it, so that every byte that goes to the MTA is what a filter in
// C would have sent. It needs cgo and libmilter's headers to build, and libmilter's shared library to run.
//
// # A filter
//
// A filter is a set of [Callbacks], one for each step of the SMTP conversation. A [Server] takes them to libmilter and
// listens for the MTA:
//
//	srv := &milter.Server{Addr: "inet:8890@127.0.0.1", Callbacks: milter.Callbacks{
//		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
//			if (milter.Path{Address: address}).Is("sales@example.com") {
//				return s.Reply(550, "5.7.1", "We do not take mail for sales any more.")
//			}
//			return milter.SMFIS_CONTINUE
//		},
//	}}
//	err := srv.ListenAndServe()
//
// A callback that is nil is not asked for: the MTA does not send that step. Each returns a [Status], which says what
// becomes of the connection, the recipient or the mail.
//
// # Whole messages
//
// Most filters decide once, at the end of a mail. Callbacks.Message is for them: it is given a [Message], the client,
// envelope, header and body together, and changes the header by editing it. A mail is collected in C, without a wait for
// answers in between, and comes to Go in one call; Server.MaxBody and [Limits] bound what it may take. Body is valid
// until Message returns.
//
// # Names
//
// Constants have the names of libmilter's headers, SMFIS_REJECT, SMFIF_ADDHDRS, so that its documentation and every
// filter in C can be searched for them. Functions have Go's names, and their comments begin with C's: AddHeader is
// smfi_addheader. The sources that comments name are pages of libmilter's documentation, which comes with Sendmail's
// source, and in Debian's package sendmail-doc.
//
// # Sessions
//
// A [Session] is one connection of the MTA, as far as it is about one SMTP client. It begins with its first callback
// (Negotiate, whether the filter has one or not) and ends with Close, once. A client that connects and sends nothing, such as
// a health check, is a session whose only callback is Close.
//
// In between come any number of mails, one after the other. MailFrom begins a mail. What ends it:
//
//   - EOM (or Message), whatever it returns.
//   - SMFIS_REJECT, SMFIS_TEMPFAIL, SMFIS_DISCARD or SMFIS_ACCEPT from MailFrom, Data, Header, EOH or Segment, and
//     SMFIS_ACCEPT from RcptTo: the filter itself has ended the mail, and hears no more of it, neither EOM nor Abort. (After
//     the others from RcptTo, which are about the recipient, or with SMFIS_DISCARD about the mail, Abort may come.)
//   - Abort: the client has given it up (RSET, a lost connection), or the MTA or another filter has refused it, or all of
//     its recipients were refused.
//   - Close, where the connection was lost at the end of the message.
//
// So what a filter keeps of a mail is best begun anew in MailFrom, and given back there and in Close as well as in EOM and Abort.
// Session.Local is the place for it, nil to begin with.
//
// # Threads
//
// libmilter calls from threads of its own, of which it may have any number. Callbacks of one session come one after the
// other, but not always on the same thread; those of different sessions come at the same time. The MTA waits meanwhile,
// unless an SMFIP_NR_* bit was negotiated for the step. Session's and Modifier's methods may be called from any goroutine
// as long as the callback runs that they belong to, and say [ErrStage] otherwise.
//
// # Negotiation
//
// Without Callbacks.Negotiate, what a server asks for is what a filter in C without xxfi_negotiate does, and on top of
// that Server.Protocol and Server.Macros where the MTA offers them. With it, the filter decides for each connection.
// Session.Negotiated tells what came of it.
//
// # Errors and faults
//
// A call that fails gives an [*Error] with the C function's name and the cause, which errors.Is finds: [ErrStage],
// [ErrNotNegotiated], [ErrArgument], [ErrConnection]. Texts are looked at before C sees them, since C would cut them at
// a NUL: what would end a command, a reply or a header field too soon is ErrArgument, and nothing of it is sent.
//
// A callback that panics or calls runtime.Goexit does not end the process: it is logged, counted in [Stats], and
// answered SMFIS_TEMPFAIL. So is a status that does not exist.
//
// # Tests
//
// Package miltertest runs a filter in a test's own process, without an MTA, and tells what becomes of a mail.
//
// # One server, once
//
// libmilter's state is the process's: one server can run in it, and none after it was stopped. [ErrInUse] says so. A
// process that is to be two filters is two processes.
//
// # Signals
//
// libmilter by itself ends the filter on SIGTERM, SIGINT and SIGHUP. Here they stay Go's: they reach os/signal or, where
// the program has not asked for them, end the process as in any Go program. To that end the package brings a sigwait of
// its own, which takes the C library's place in the whole process; it differs for a set of just these three signals, which
// is libmilter's. libmilter sets SIGPIPE to be ignored.
//
// # Stopping
//
// [Server.Shutdown] lets the sessions that are open come to their end, as long as its context allows, and then stops
// libmilter. That order matters: libmilter as Debian and Ubuntu build it (with a pool of workers) drops open sessions
// when it is stopped, without a reply and without a callback.
package milter

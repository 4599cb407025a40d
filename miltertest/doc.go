// Package miltertest tests filters without an MTA: what httptest is to HTTP handlers. It runs a filter of package milter in
// the test's own process, on the real libmilter, and drives it over a socket as Postfix and Sendmail do.
//
//	func TestOffers(t *testing.T) {
//		f := miltertest.Start(t, milter.SMFIF_NONE, callbacks)
//		result := f.Send(miltertest.Mail{From: "shop@offers.example"})
//		require.Equal(t, milter.SMFIS_REJECT, result.Verdict)
//	}
//
// [Start] runs a filter for one test, and [StartServer] one with more settings than its callbacks; the test's end stops it.
// [Filter.Send] sends a whole mail and tells what has become of it: the verdict, the reply, and the mail as the MTA holds it
// after the filter's changes. What Postfix and Sendmail make of a filter's words and changes differs: Reply.Client is what the
// SMTP client is told, and a reply or a body that Postfix takes for a broken filter's ends as MTA.OnFailure says, with the cause
// in Result.Err. Mail.Local is a mail that does not come by SMTP. [Filter.Connect] gives a connection for what is not a whole mail: its methods are the steps of
// the conversation, in any order, any number of times.
//
// An [MTA] says who is at the other end: [Postfix], [Sendmail], one of old ([Version2]), or one that lacks what the test
// takes away from it. [Filter.With] sets it. MTA.Dial speaks to a filter that runs somewhere else.
//
// # Many tests, one libmilter
//
// libmilter keeps its state in the process, once, and cannot start again after it was stopped. Tests share it: it
// listens once, on a socket that nobody else can reach, and each connection is handed to the filter of the test that made it.
// Filters of several tests run at the same time, each with its own callbacks, actions and protocol bits, so that tests can
// call t.Parallel. What a process has only once, and how it is here:
//
//   - A Server that listens by itself (ListenAndServe) gets milter.ErrInUse beside these filters. A test of one needs a
//     process of its own.
//   - libmilter's own settings (Server.Timeout, MaxDataSize and the like) are not used.
//   - libmilter notes for the process, not for the connection, which steps a filter does not want. A step that comes out of
//     order can therefore pass in one test because another has gone without the steps between.
//   - libmilter's threads run until the process ends. Package goleak is to ignore what belongs to them:
//     goleak.IgnoreAnyFunction("github.com/libmilter/go-libmilter.(*Server).serve"),
//     goleak.IgnoreAnyFunction("github.com/libmilter/go-libmilter.smfiMain"),
//     goleak.IgnoreAnyFunction("github.com/libmilter/go-libmilter.(*thread).coroutine")
//     and goleak.IgnoreTopFunction("runtime.goexit").
//
// # In callbacks
//
// Callbacks run on libmilter's threads, at the same time as the test. t.Error, t.Log and package assert work in them; t.Fatal,
// t.FailNow and package require do not, for they end the goroutine that calls them: [InCallback] gives what works. When a step
// of the conversation has returned, so has the callback that it reached, except at a step without a reply (Abort, QuitNC,
// what SMFIP_NR_* names): there the next step's reply, or Quit, tells.
//
// # Deadlines
//
// A test does not hang for a filter's sake: each step has a deadline (MTA.Timeout, MTA.Limit), and so has the test's end. What
// is shown then is the transcript: every packet so far, in libmilter's names.
package miltertest

// Package mta has no code but tests: every feature of the library on a real Postfix and a real Sendmail, as the SMTP client
// and the recipient see it.
//
// The table of cases is in cases_test.go, cases_replies_test.go and cases_failures_test.go. A case says what a filter does
// (a script), what an SMTP client does (its acts), what is looked at afterwards (its views), and what is to be seen there.
// Each case runs on both MTAs, with a filter that is a process of its own: this test binary, started again.
//
// What was seen becomes docs/mta-matrix.md. The test fails when that file says something else; when an MTA has changed its
// ways,
//
//	go test ./test/mta -update
//
// writes it anew.
package mta

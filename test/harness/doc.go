// Package harness is what the throw-away MTAs for tests, test/postfix and test/sendmail, have in common: the mail that
// came out of them, and what they need to start, to be waited for and to leave nothing behind.
//
// Their own tests have in common what lies in victim.go, givesup.go and milter.go.
package harness

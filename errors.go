//go:build cgo

package milter

import "errors"

// What errors.Is finds in the errors of this package.
var (
	// ErrServerClosed is what ListenAndServe returns after Shutdown or Close.
	ErrServerClosed = errors.New("milter: server closed")

	// ErrStage: the call is not allowed now. Session's methods work while one of its callbacks runs, Modifier's while
	// the end-of-message callback that was given it runs, Negotiation's while Negotiate runs.
	ErrStage = errors.New("not allowed at this stage")

	// ErrNotNegotiated: the filter did not ask for the action, or the MTA does not have it. See Server.Actions.
	ErrNotNegotiated = errors.New("action not negotiated")

	// ErrArgument: an argument that libmilter would refuse, cut short, or hand on in a form that breaks the mail.
	ErrArgument = errors.New("invalid argument")

	// ErrInUse: libmilter has a server in this process already, or the address has somebody who answers on it.
	ErrInUse = errors.New("in use")

	// ErrConnection: the connection to the MTA was lost, or the MTA stopped reading.
	ErrConnection = errors.New("connection to the MTA lost")
)

// Error is a call that failed: libmilter says MI_FAILURE and no more, Err says why.
type Error struct {
	Op  string // the C function: "smfi_addheader"
	Err error  // the cause, for errors.Is
}

var _ error = (*Error)(nil)

// Error gives the function and the cause.
func (e *Error) Error() string { return "milter: " + e.Op + ": " + e.Err.Error() }

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

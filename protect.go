//go:build cgo

package milter

import (
	"errors"
	"iter"
	"runtime"
	"runtime/debug"
)

// errGoexit stands for a handler that called runtime.Goexit, where a panic has its value.
var errGoexit = errors.New("runtime.Goexit called in a callback")

// crash is how a handler ended that did not return.
type crash struct {
	value any // the panic's value, or errGoexit
	stack []byte
}

// protect runs a handler and gives what it returned, or how it crashed.
//
// The handler runs as a coroutine, which is a goroutine of its own on the same thread: runtime.Goexit ends a goroutine for
// good, and the one that C called must not end, for it has to return to C (the Go runtime ends the process otherwise).
func protect(s *Session, handler func(s *Session) Status) (status Status, crashed *crash) {
	defer func() {
		if recover() != nil && crashed == nil { // Goexit's, see below; anything else would be a fault of this function
			crashed = &crash{value: errGoexit}
		}
	}()
	run, _ := iter.Pull(func(func(struct{}) bool) {
		returned := false
		defer func() {
			unlockOSThread()
			if returned {
				return
			}
			crashed = &crash{value: recover(), stack: debug.Stack()}
			if crashed.value == nil {
				crashed.value = errGoexit
				panic(errGoexit) // in place of the Goexit, which would go on in the goroutine that C called
			}
		}()
		status = handler(s)
		returned = true
	})
	run()
	return status, crashed
}

// unlockOSThread takes back what a handler has locked and not unlocked: a coroutine must leave its thread as it was, or
// the Go runtime ends the process. Unlocking what is not locked does nothing.
func unlockOSThread() {
	for range 8 {
		runtime.UnlockOSThread()
	}
}

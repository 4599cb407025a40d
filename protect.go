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

// outcome is what a handler returned, or how it crashed.
type outcome struct {
	status  Status
	crashed *crash
}

// of runs a handler in a coroutine. After runtime.Goexit it panics, in place of the Goexit, which would go on in the
// goroutine that the coroutine belongs to: who resumes the coroutine recovers.
func (o *outcome) of(handler func() Status) {
	*o = outcome{}
	returned := false
	defer func() {
		unlockOSThread()
		if returned {
			return
		}
		o.crashed = &crash{value: recover(), stack: debug.Stack()}
		if o.crashed.value == nil {
			o.crashed.value = errGoexit
			panic(errGoexit)
		}
	}()
	o.status = handler()
	returned = true
}

// shielded runs f in a coroutine made for it, so that it may crash: in a callback, where a thread's own is not at hand.
func shielded(f func()) {
	defer func() { _ = recover() }() // Goexit's, see outcome.of
	run, _ := iter.Pull(func(func(struct{}) bool) {
		new(outcome).of(func() Status { f(); return SMFIS_CONTINUE })
	})
	run()
}

// unlockOSThread takes back what a handler has locked and not unlocked: a coroutine must leave its thread as it was, or
// the Go runtime ends the process. Unlocking what is not locked does nothing.
func unlockOSThread() {
	for range 8 {
		runtime.UnlockOSThread()
	}
}

//go:build cgo

package milter

import (
	"iter"
	"sync"
	"sync/atomic"
)

// thread is one of libmilter's threads, as far as it calls Go. Handlers run on it as a coroutine, which is a goroutine of
// its own on the same thread, made at the first callback and kept for the next ones: runtime.Goexit ends a goroutine for
// good, and the one that C called must not end, for it has to return to C (the Go runtime ends the process otherwise).
type thread struct {
	resume func() (struct{}, bool) // runs the coroutine up to the end of a handler; nil: there is none
	stop   func()

	// The callback that runs.
	session *Session
	step    step
	args    arguments
	outcome outcome
}

// run runs a callback's handler.
func (t *thread) run(s *Session, st step, args arguments) outcome {
	if t.resume == nil {
		t.resume, t.stop = iter.Pull(t.coroutine)
	}
	endSlice()
	t.session, t.step, t.args = s, st, args
	t.switchOver()
	t.session, t.args = nil, arguments{}
	return t.outcome
}

// switchOver lets the coroutine run. A handler that called runtime.Goexit has ended it, see outcome.of.
func (t *thread) switchOver() {
	defer func() {
		if recover() != nil {
			t.resume = nil
		}
	}()
	t.resume()
}

// coroutine runs one handler after the other.
func (t *thread) coroutine(yield func(struct{}) bool) {
	for {
		t.outcome.of(func() Status { return t.session.dispatch(t.step, &t.args) })
		if !yield(struct{}{}) {
			return
		}
	}
}

// threads are libmilter's threads by number, from 1, which C keeps for each: it is looked up faster than a handle.
var threads struct {
	mu   sync.Mutex
	list atomic.Pointer[[]*thread] // replaced when it grows
	free []uint32
}

// beginThread gives a thread its number.
func beginThread() uint32 {
	threads.mu.Lock()
	defer threads.mu.Unlock()
	if last := len(threads.free) - 1; last >= 0 {
		number := threads.free[last]
		threads.free = threads.free[:last]
		return number
	}
	var list []*thread
	if old := threads.list.Load(); old != nil {
		list = append(list, *old...)
	}
	list = append(list, &thread{})
	threads.list.Store(&list)
	return uint32(len(list))
}

// endThread takes the number back: the thread calls Go no more.
func endThread(number uint32) {
	keepWakeful()
	t := threadOf(number)
	if t.resume != nil {
		t.stop()
		t.resume = nil
	}
	threads.mu.Lock()
	defer threads.mu.Unlock()
	threads.free = append(threads.free, number)
}

func threadOf(number uint32) *thread { return (*threads.list.Load())[number-1] }

//go:build cgo

package milter

import (
	"runtime"
	"sync"
	"time"
)

// A thread that returns from Go to C keeps its P for the next callback, and the runtime's monitor (sysmon) takes the P away
// when the thread has been in C for 10 ms. But it also takes it from a thread in C when one time slice of 10 ms is over, and
// slices begin when the scheduler runs a goroutine: callbacks do not go through the scheduler. So without turns for it the
// monitor takes each P it finds in C, and each time looks again 20 µs later: thousands of times a second, a tenth of a
// CPU, and callbacks have to find themselves other Ps.

// timeslice is how long a P is used for callbacks until the scheduler is given a turn. A variable for the tests.
var timeslice = 8 * time.Millisecond

// timeslices holds when each P's slice began. A sync.Pool keeps a value for each P, which is what is wanted here; a wrong one
// costs a turn too many or too few, no more.
var timeslices = sync.Pool{New: func() any { return new(time.Time) }}

// keepSlice gives Go's scheduler a turn if the time slice of the P that the callback runs on is over.
func keepSlice() {
	now := time.Now()
	began := timeslices.Get().(*time.Time)
	over := now.Sub(*began) >= timeslice
	timeslices.Put(began)
	if !over {
		return
	}
	runtime.Gosched() // comes back on another P, as a rule
	began = timeslices.Get().(*time.Time)
	*began = now
	timeslices.Put(began)
}

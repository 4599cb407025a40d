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
//
// A turn costs some 50 µs, as other threads have to wake up for it. With many Ps in use that is more than the monitor costs,
// and there are none.

const (
	turnsWindow = 100 * time.Millisecond
	turnsPs     = 10 // Ps in use up to which there are turns
)

// timeslice is how long a P is used for callbacks until the scheduler is given a turn. A variable for the tests.
var timeslice = 8 * time.Millisecond

// timeslices holds when each P's slice began. A sync.Pool keeps a value for each P, which is what is wanted here; a wrong one
// costs a turn too many or too few, no more.
var timeslices = sync.Pool{New: func() any { return new(time.Time) }}

// endSlice gives Go's scheduler a turn if the time slice of the P that the callback runs on is over.
func endSlice() {
	now := time.Now()
	began := timeslices.Get().(*time.Time)
	over := now.Sub(*began) >= timeslice
	if over {
		*began = now
	}
	timeslices.Put(began)
	if !over || !turns.due(now) {
		return
	}
	runtime.Gosched() // comes back on another P, as a rule
	began = timeslices.Get().(*time.Time)
	*began = now
	timeslices.Put(began)
}

// turns counts how many time slices end, to know how many Ps are in use.
var turns turnCount

type turnCount struct {
	mu           sync.Mutex
	began        time.Time // the window
	count, final int       // in this window, in the one before
}

// due tells whether there is a turn at the end of a slice.
func (c *turnCount) due(now time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now.Sub(c.began) >= turnsWindow {
		c.began, c.count, c.final = now, 0, c.count
	}
	c.count++
	return c.final <= turnsPs*int(turnsWindow/timeslice)
}

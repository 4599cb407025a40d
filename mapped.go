//go:build cgo

package milter

import (
	"sync"
	"sync/atomic"
	"time"
)

// Bodies in files are mapped while Message runs, and what a handler reads of them counts as the process's memory. When many
// come at once, which one after the other would fit, they would all be read at the same time, a slice each. So beyond
// mappedAtOnce they wait for others to end; handlers that are slow for other reasons than the processor are not
// held up for it: one more is let in after as long as its size takes at mappedPace.
const (
	mappedAtOnce = 96 << 20  // bytes
	mappedPace   = 250 << 20 // bytes a second
)

// mappedBodies are the bodies that are mapped.
type mappedBodies struct {
	turn  sync.Mutex // who is next to be let in
	size  atomic.Int64
	ended chan struct{} // of capacity 1: one has ended
}

func newMappedBodies() *mappedBodies { return &mappedBodies{ended: make(chan struct{}, 1)} }

// enter waits until a body of so many bytes may be mapped.
func (b *mappedBodies) enter(size int) {
	b.turn.Lock()
	defer b.turn.Unlock()
	var timeout <-chan time.Time
	for open := b.size.Load(); open > 0 && open+int64(size) > mappedAtOnce; open = b.size.Load() {
		if timeout == nil {
			timeout = time.After(time.Duration(float64(size) / mappedPace * float64(time.Second)))
		}
		select {
		case <-b.ended:
			continue
		case <-timeout:
		}
		break
	}
	b.size.Add(int64(size))
}

func (b *mappedBodies) leave(size int) {
	b.size.Add(-int64(size))
	select {
	case b.ended <- struct{}{}:
	default:
	}
}

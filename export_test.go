//go:build cgo

package milter

import (
	"math"
	"unsafe"

	_ "github.com/mattn/go-pointer"
)

//go:linkname handles github.com/mattn/go-pointer.store
var handles map[unsafe.Pointer]any

// OpenHandles is how many session handles C could hold.
func OpenHandles() int { return len(handles) }

// MonitorIsAwake tells whether the runtime's monitor is kept awake because a thread of libmilter's has ended.
func MonitorIsAwake() bool {
	wakeful.mu.Lock()
	defer wakeful.mu.Unlock()
	return wakeful.on
}

// NoTimeslices is before a server runs: callbacks give Go's scheduler no turns.
func NoTimeslices() { timeslice = math.MaxInt64 }

// SendBody sends the pieces of a body that next returns until io.EOF.
func (m *Modifier) SendBody(next func() ([]byte, error)) error { return m.sendBody(bodyWhole, 1, next) }

// StayAlive is what KeepAlive does from time to time.
func (m *Modifier) StayAlive() error { return m.stayAlive() }

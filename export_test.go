//go:build cgo

package milter

import (
	"unsafe"

	_ "github.com/mattn/go-pointer"
)

//go:linkname handles github.com/mattn/go-pointer.store
var handles map[unsafe.Pointer]any

// OpenHandles is how many session handles C could hold.
func OpenHandles() int { return len(handles) }

// ThreadsLingered is how many threads of libmilter's have waited before they ended.
func ThreadsLingered() int { return threadsLingered() }

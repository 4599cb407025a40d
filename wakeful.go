//go:build cgo

package milter

import (
	"sync"
	"time"
)

// When a thread of C's that has called Go ends while Go stops the world, as each garbage collection does, the stop can miss
// the P that the thread still has, and stand still for up to a minute: until the runtime's monitor looks after it (a fault of
// Go 1.26: dropm against stopTheWorldWithSema). The monitor sleeps until the next timer is due. So one is due soon for as long
// as threads end, and the stop takes milliseconds.

const (
	wakefulEvery = 10 * time.Millisecond
	wakefulFor   = time.Second // after the end of a thread
)

// wakeful is the timer that keeps the runtime's monitor awake.
var wakeful struct {
	mu    sync.Mutex
	on    bool
	ended time.Time // when the last thread did
}

// keepWakeful is for a thread that is about to end.
func keepWakeful() {
	wakeful.mu.Lock()
	defer wakeful.mu.Unlock()
	wakeful.ended = time.Now()
	if !wakeful.on {
		wakeful.on = true
		time.AfterFunc(wakefulEvery, stayWakeful)
	}
}

// stayWakeful is the timer's end, and the next one's beginning.
func stayWakeful() {
	wakeful.mu.Lock()
	defer wakeful.mu.Unlock()
	wakeful.on = time.Since(wakeful.ended) < wakefulFor
	if wakeful.on {
		time.AfterFunc(wakefulEvery, stayWakeful)
	}
}

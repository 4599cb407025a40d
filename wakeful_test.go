//go:build cgo

package milter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// wakeful reports whether the runtime's monitor is kept awake: before, when threads have ended, and long after.
var wakeful = register("wakeful", func(e *child) *milter.Server {
	srv := &milter.Server{}
	closed := make(chan struct{}, 3)
	srv.Callbacks.Close = func(*milter.Session) { closed <- struct{}{} }
	served := e.serving(srv)
	e.emit(0, "before", milter.MonitorIsAwake())
	for range cap(closed) {
		<-closed
	}
	e.emit(0, "awake", becomes(true))
	e.emit(0, "asleep", becomes(false))
	_ = srv.Close()
	<-served
	return nil
})

// becomes waits for the monitor to be kept awake or not.
func becomes(awake bool) bool {
	for began := time.Now(); milter.MonitorIsAwake() != awake; time.Sleep(time.Millisecond) {
		if time.Since(began) > waitLong {
			return false
		}
	}
	return true
}

// Where each connection has a thread of its own, none ends without care for a stop of the world, see wakeful.go.
func TestThreadsEnd(t *testing.T) {
	t.Parallel()
	if !withoutFD() {
		return // Debian's libmilter: its workers do not end with a connection
	}
	p := start(t, wakeful)
	for range 3 {
		p.session().Quit()
	}
	assert.Equal(t, []string{"false"}, p.awaitName("before").Args)
	assert.Equal(t, []string{"true"}, p.awaitName("awake").Args)
	assert.Equal(t, []string{"true"}, p.awaitName("asleep").Args)
	p.exits()
}

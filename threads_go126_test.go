//go:build cgo && go1.26

package milter_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	milter "github.com/libmilter/go-libmilter"
)

// lingering tells how many threads have waited before their end, once three sessions are over.
var lingering = register("lingering", func(e *child) *milter.Server {
	srv := &milter.Server{}
	closed := make(chan struct{}, 3)
	srv.Callbacks.Close = func(*milter.Session) { closed <- struct{}{} }
	served := e.serving(srv)
	for range cap(closed) {
		<-closed
	}
	for began := time.Now(); milter.ThreadsLingered() < cap(closed) && time.Since(began) < waitLong; {
		time.Sleep(time.Millisecond)
	}
	e.emit(0, "lingered", milter.ThreadsLingered())
	_ = srv.Close()
	<-served
	return nil
})

// Where each connection has a thread of its own, none ends without its wait, see thread_end.c.
func TestThreadsLinger(t *testing.T) {
	t.Parallel()
	if !withoutFD() {
		return // Debian's libmilter: its workers do not end with a connection
	}
	p := start(t, lingering)
	for range 3 {
		p.session().Quit()
	}
	assert.Equal(t, []string{"3"}, p.awaitName("lingered").Args)
	p.exits()
}

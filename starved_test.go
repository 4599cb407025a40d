//go:build cgo && linux

package milter_test

import (
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// starved may have as many descriptors more than it has as its argument says, before it starts.
var starved = register("starved", func(e *child) *milter.Server {
	free, err := syscall.Dup(1) // package os would have made the poller
	if err != nil {
		panic(err)
	}
	_ = syscall.Close(free)
	more, _ := strconv.Atoi(e.arg)
	limit := syscall.Rlimit{Cur: uint64(free + more), Max: uint64(free + more)}
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		panic(err)
	}
	return &milter.Server{Callbacks: recorder(e)}
})

// More MTAs than there are descriptors wait, and do not end the filter.
func TestStarved(t *testing.T) {
	t.Parallel()
	for kind, addr := range everyAddress(t) {
		if strings.HasPrefix(kind, "fd") {
			continue // as the others
		}
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			const more = 30
			p := start(t, starved, withAddr(addr()), withArg(strconv.Itoa(more)))
			var all []*wire
			for range 3 * more {
				all = append(all, p.connect())
			}
			for i, w := range all { // threads end, and whoever waits takes the descriptors
				w.Close()
				if i < more/2 {
					require.Eventually(t, func() bool { return len(p.named("close")) > i }, waitLong, time.Millisecond)
				}
			}
			w := p.session()
			w.open()
			w.Quit()
			p.stop()
		})
	}
}

// A server without descriptors does not start, and does not end the process.
func TestStarvedAtOnce(t *testing.T) {
	t.Parallel()
	p := spawn(t, starved, withArg("0"))
	p.awaitExit()
	assert.Equal(t, "milter: smfi_opensocket: no file descriptors for Go's network poller: too many open files",
		p.awaitName("ended").Args[0])
}

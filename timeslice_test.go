//go:build cgo && linux && !race

package milter_test

// With the race detector callbacks are too slow, and sync.Pool forgets too much, to show what this is about.

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// sliced reports how often the runtime's monitor has woken up while callbacks came.
var sliced = register("sliced", func(e *child) *milter.Server {
	if e.arg == "without" {
		milter.NoTimeslices()
	}
	srv := &milter.Server{Callbacks: milter.Callbacks{
		Unknown: func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE },
	}}
	go func() {
		for srv.Stats().Callbacks < 1000 {
			time.Sleep(10 * time.Millisecond)
		}
		before := wakeups()
		time.Sleep(300 * time.Millisecond)
		e.emit(0, "wakeups", wakeups()-before)
	}()
	return srv
})

// wakeups is how often the runtime's monitor has slept: it is the first thread that the runtime makes.
func wakeups() int {
	threads, _ := filepath.Glob("/proc/self/task/*")
	ids := make([]int, len(threads))
	for i, thread := range threads {
		ids[i], _ = strconv.Atoi(filepath.Base(thread))
	}
	slices.Sort(ids)
	status, _ := os.ReadFile(fmt.Sprintf("/proc/self/task/%d/status", ids[1]))
	_, rest, _ := strings.Cut(string(status), "\nvoluntary_ctxt_switches:")
	line, _, _ := strings.Cut(rest, "\n")
	n, _ := strconv.Atoi(strings.TrimSpace(line))
	return n
}

// Not parallel: the runtime's monitor is woken up by whatever else goes on.
func TestTimeslices(t *testing.T) {
	measure := func(arg string) int {
		p := start(t, sliced, withArg(arg))
		var senders sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			w := p.session()
			senders.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						w.Unknown("XYZZY")
					}
				}
			})
		}
		n, err := strconv.Atoi(p.awaitName("wakeups").Args[0])
		require.NoError(t, err)
		close(stop)
		senders.Wait()
		p.kill()
		return n
	}
	var with, without int
	for began := time.Now(); time.Since(began) < waitLong; {
		with, without = measure("with"), measure("without")
		if with*2 < without {
			return
		}
	}
	assert.Fail(t, "the runtime's monitor wakes up as often as without time slices", "%d to %d times in 0.3 s", with, without)
}

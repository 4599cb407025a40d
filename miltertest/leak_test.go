package miltertest_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// A test that has ended leaves nothing but libmilter itself, as the package's page says.
func TestNothingLeft(t *testing.T) {
	const library = "github.com/libmilter/go-libmilter."
	libmilter := []goleak.Option{goleak.IgnoreAnyFunction(library + "(*Server).serve"),
		goleak.IgnoreAnyFunction(library + "smfiMain"), goleak.IgnoreAnyFunction(library + "(*thread).coroutine"), goleak.IgnoreTopFunction("runtime.goexit")}
	var before, after runtime.MemStats
	for round := range 3 {
		if round == 1 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		for range 100 {
			outcome := try(t, func(t testing.TB) {
				f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(s *milter.Session, _ string) milter.Status {
					s.Local = make([]byte, 100_000)
					return milter.SMFIS_CONTINUE
				}})
				var all sync.WaitGroup
				for range 4 {
					all.Go(func() {
						c, err := f.Dial()
						assert.NoError(t, err)
						c.Send(miltertest.Mail{})
						c.Close() // in the middle of a session
					})
				}
				all.Wait()
			})
			require.False(t, outcome.failed, outcome.text())
		}
		require.NoError(t, goleak.Find(libmilter...))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	assert.Less(t, int64(after.HeapAlloc)-int64(before.HeapAlloc), int64(10<<20), "200 rounds of 400 KB each")
}

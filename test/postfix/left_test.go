package postfix

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// running is what a victim says of its server.
type running struct {
	Dir, Addr string
	Master    int
}

// TestNothingLeft ends a test in every way, in a process of its own, and looks for what its server left behind.
func TestNothingLeft(t *testing.T) {
	harness.RequireRoot(t, "Postfix")
	requirePrograms(t)
	for _, end := range harness.Ends {
		t.Run(end, func(t *testing.T) {
			var victim running
			out := harness.RunVictim(t, end, &victim)
			if end == "fails" {
				assert.Contains(t, out, "daemon started -- version", "the mail log is shown")
			}
			harness.AssertNothingLeft(t, victim.Dir, victim.Addr)
			assert.True(t, harness.Poll(func() bool { return !harness.GroupLives(victim.Master) }), "a daemon is left of %+v", victim)
		})
	}
}

// TestVictim is what TestNothingLeft runs: a server at work in a test that ends as it is told.
func TestVictim(t *testing.T) {
	harness.RequireVictim(t)
	s := Start(t, Config{})
	s.SMTPSource("-m", "5")
	s.WaitDelivered(5)
	master, err := s.masterPID()
	require.NoError(t, err)
	require.Contains(t, harness.ProcessesIn(s.dir), fmt.Sprintf("/proc/%d", master))
	harness.EndVictim(t, running{s.dir, s.addr, master})
}

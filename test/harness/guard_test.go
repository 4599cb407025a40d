package harness

import (
	"os/exec"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestNothingLeft ends a test in every way, in a process of its own, and looks for what it left behind.
func TestNothingLeft(t *testing.T) {
	for _, end := range Ends {
		t.Run(end, func(t *testing.T) {
			var dir string
			RunVictim(t, end, &dir)
			assert.True(t, Poll(func() bool { return gone(dir) }), "something is left of %s", dir)
		})
	}
}

// TestVictim is what TestNothingLeft runs: a process that works in a folder, with a guard for both.
func TestVictim(t *testing.T) {
	RequireVictim(t)
	dir := TempDir(t, "victim-")
	cmd := exec.Command("sleep", "1h")
	cmd.Dir = dir
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		assert.NoError(t, cmd.Process.Kill())
		assert.Error(t, cmd.Wait())
	})
	pid := strconv.Itoa(cmd.Process.Pid)
	StartGuard(t, dir, `kill "$2"`, pid)
	require.Contains(t, ProcessesIn(dir), "/proc/"+pid)
	EndVictim(t, dir)
}

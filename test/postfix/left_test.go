package postfix

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// victimEnv makes this test binary the victim of TestNothingLeft: the way in which it shall end.
const victimEnv = "POSTFIX_TEST_VICTIM"

// running is what a victim says of its server.
type running struct {
	Dir, Addr string
	Master    int
}

// TestNothingLeft ends a test in every way, in a process of its own, and looks for what its server left behind.
func TestNothingLeft(t *testing.T) {
	requireRoot(t)
	requirePrograms(t)
	for _, end := range []string{"passes", "fails", "panics", "exits", "is killed"} {
		t.Run(end, func(t *testing.T) {
			victim := runVictim(t, end)
			assert.True(t, poll(func() bool { return gone(victim) }), "something is left of %+v", victim)
			_, err := net.Dial("tcp", victim.Addr)
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
	}
}

// TestVictim is what TestNothingLeft runs: a server at work in a test that ends as it is told.
func TestVictim(t *testing.T) {
	end, ok := os.LookupEnv(victimEnv)
	if !ok {
		t.Skip("runs as a part of TestNothingLeft")
	}
	s := Start(t, Config{})
	s.SMTPSource("-m", "5")
	s.WaitDelivered(5)
	master, err := s.masterPID()
	require.NoError(t, err)
	out := os.NewFile(3, "report")
	require.NoError(t, json.NewEncoder(out).Encode(running{s.dir, s.addr, master}))
	switch end {
	case "fails":
		t.Fatal("as told")
	case "panics":
		panic("as told")
	case "exits":
		os.Exit(1)
	case "is killed":
		require.NoError(t, syscall.Kill(os.Getpid(), syscall.SIGKILL))
	}
}

// runVictim runs TestVictim to its end.
func runVictim(t *testing.T, end string) running {
	t.Helper()
	r, w, err := os.Pipe()
	require.NoError(t, err)
	defer r.Close()
	cmd := exec.Command(os.Args[0], "-test.run=^TestVictim$", "-test.count=1")
	cmd.Env = append(os.Environ(), victimEnv+"="+end)
	cmd.ExtraFiles = []*os.File{w}
	out, err := cmd.CombinedOutput()
	require.NoError(t, w.Close())
	require.Equal(t, end == "passes", err == nil, "%v\n%s", err, out)
	var victim running
	require.NoError(t, json.NewDecoder(r).Decode(&victim), "%s", out)
	if end == "fails" {
		assert.Contains(t, string(out), "daemon started -- version", "the mail log is shown")
	}
	return victim
}

// gone says whether nothing is left of a victim's server: no folder, no daemon, and no sink and no guard, whose arguments name
// the folder.
func gone(victim running) bool {
	if _, err := os.Stat(victim.Dir); !os.IsNotExist(err) || groupLives(victim.Master) {
		return false
	}
	paths, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	return !slices.ContainsFunc(paths, func(path string) bool {
		args, _ := os.ReadFile(path)
		return bytes.Contains(args, []byte(victim.Dir))
	})
}

package harness

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// victimEnv makes a test binary a victim: the way in which its TestVictim shall end.
const victimEnv = "HARNESS_TEST_VICTIM"

// Ends are the ways in which a victim can end.
var Ends = []string{"passes", "fails", "panics", "exits", "is killed"}

// RunVictim runs TestVictim of the test's own package in another process, which ends in one of the [Ends]. It fills
// report with what the victim gave to [EndVictim], and returns what the process printed.
func RunVictim(t *testing.T, end string, report any) (output string) {
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
	require.NoError(t, json.NewDecoder(r).Decode(report), "%s", out)
	return string(out)
}

// RequireVictim skips a TestVictim that was not started by [RunVictim].
func RequireVictim(t *testing.T) {
	t.Helper()
	if _, ok := os.LookupEnv(victimEnv); !ok {
		t.Skip("runs as a part of TestNothingLeft")
	}
}

// EndVictim hands a victim's report over and ends it as it is told.
func EndVictim(t *testing.T, report any) {
	t.Helper()
	out := os.NewFile(3, "report")
	require.NoError(t, json.NewEncoder(out).Encode(report))
	switch os.Getenv(victimEnv) {
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

// AssertNothingLeft asserts that soon neither the folder of a victim's server is there nor a process in it, and that
// nobody listens on its address.
func AssertNothingLeft(t *testing.T, dir, addr string) {
	t.Helper()
	assert.True(t, Poll(func() bool { return gone(dir) }), "something is left of %s", dir)
	_, err := net.Dial("tcp", addr)
	assert.ErrorIs(t, err, syscall.ECONNREFUSED)
}

// gone says whether neither a folder is there nor a process in it.
func gone(dir string) bool {
	_, err := os.Stat(dir)
	return os.IsNotExist(err) && len(ProcessesIn(dir)) == 0
}

// ProcessesIn returns the processes, as folders of /proc, whose arguments name the folder, or that work in it: an MTA may
// write over its arguments.
func ProcessesIn(dir string) []string {
	processes, _ := filepath.Glob("/proc/[0-9]*")
	return slices.DeleteFunc(processes, func(process string) bool {
		args, _ := os.ReadFile(process + "/cmdline")
		cwd, _ := os.Readlink(process + "/cwd")
		return !bytes.Contains(args, []byte(dir)) && !strings.HasPrefix(cwd, dir)
	})
}

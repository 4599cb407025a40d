package harness

import (
	"os"
	"testing"
)

// RequireRoot gives the test up when it does not run as root, as whom the MTA is started.
func RequireRoot(t testing.TB, mta string) {
	t.Helper()
	if os.Geteuid() != 0 {
		GiveUp(t, mta+" is started as root: run this test as root")
	}
}

// GiveUp ends a test that cannot run here: it is skipped, but fails in CI, where it must run.
func GiveUp(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	} else {
		t.Skip(reason)
	}
}

package harness

import (
	"net"
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

// RequireIPv6 skips the test on a machine without ::1, in CI as well: containers often have none.
func RequireIPv6(t testing.TB) {
	t.Helper()
	l, err := net.Listen("tcp6", "[::1]:0")
	if err != nil {
		t.Skip("no IPv6: ", err)
	}
	_ = l.Close()
}

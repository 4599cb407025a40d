package harness

import (
	"io"
	"os/exec"
	"syscall"
	"testing"
)

// A guard waits for a line on its standard input. When that ends without one, the test process has died with nothing
// cleaned up, by its -timeout or by a signal: the guard then does that in its place.
const (
	guardBegin = `read -r done && exit` + "\n"
	guardEnd   = "\n" + `rm -rf "$1" || { sleep 1; rm -rf "$1"; }`
)

// StartGuard has the folder dir removed even when the test process dies before its cleanups run. The lines of shell in
// script come before that, to end what still runs. For them $1 is dir, and $2 and so on are args.
//
// The guard is in a process group of its own: what ends the test process from a terminal must not end it.
func StartGuard(t testing.TB, dir, script string, args ...string) {
	t.Helper()
	guard := exec.Command("sh", append([]string{"-c", guardBegin + script + guardEnd, "guard", dir}, args...)...)
	guard.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err := guard.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := guard.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := io.WriteString(stdin, "done\n"); err != nil {
			t.Error(err)
		}
		if err := guard.Wait(); err != nil {
			t.Error(err)
		}
	})
}

//go:build cgo

package milter_test

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	milter "github.com/libmilter/go-libmilter"
)

// TestMain also is the entry of the filters that the tests start: libmilter runs once for each process, so each filter
// under test is a process of its own, made of this very binary.
func TestMain(m *testing.M) {
	if name := os.Getenv(envFilter); name != "" {
		os.Exit(runFilter(name))
	}
	code := m.Run()
	if err := leftovers(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leftovers tells of session handles that C could still hold, and of goroutines that should have ended.
func leftovers() error {
	if n := milter.OpenHandles(); n != 0 {
		return fmt.Errorf("%d session handles are left", n)
	}
	// A thread of libmilter's own that has called Go keeps a goroutine for its next call, with nothing on its stack, and one for
	// handlers.
	return goleak.Find(goleak.IgnoreTopFunction("runtime.goexit"), goleak.IgnoreAnyFunction("github.com/libmilter/go-libmilter.(*thread).coroutine"),
		goleak.IgnoreAnyFunction("github.com/libmilter/go-libmilter_test.exitWithParent"))
}

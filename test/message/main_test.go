package message

import (
	"os"
	"testing"
)

// TestMain also is the entry of the filter that real MTAs connect to: libmilter runs once for each process, and in this one
// it is miltertest's.
func TestMain(m *testing.M) {
	if addr, ok := os.LookupEnv(envFilterAddr); ok {
		os.Exit(runFilter(addr))
	}
	os.Exit(m.Run())
}

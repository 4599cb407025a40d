//go:build cgo

package mta

import (
	"flag"
	"os"
	"testing"
)

var update = flag.Bool("update", false, "write docs/mta-matrix.md from what is seen")

// TestMain also is the entry of the filters: libmilter runs once for each process.
func TestMain(m *testing.M) {
	if text, ok := os.LookupEnv(envScript); ok {
		os.Exit(runFilter(text))
	}
	os.Exit(m.Run())
}

package main

import (
	"os"
	"testing"
)

// TestMain runs the program itself in a process that a test has started for it.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_GREYLIST") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

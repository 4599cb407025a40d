package harness

import (
	"errors"
	"os"
	"strings"
	"testing"
)

// ReadLog returns what stands in a log so far, which is nothing before it is there.
func ReadLog(t testing.TB, path string) string {
	t.Helper()
	log, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(log)
}

// LastLines returns the last n lines of a log. What stands behind its last line break is a line, too.
func LastLines(log string, n int) string {
	lines := strings.SplitAfter(log, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "")
}

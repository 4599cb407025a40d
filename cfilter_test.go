//go:build cgo

package milter_test

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// buildCFilter compiles the reference filter in C.
func buildCFilter(t testing.TB) string {
	bin := filepath.Join(tempDir(t), "cfilter")
	out, err := exec.Command("gcc", "-std=c17", "-o", bin, "test/cfilter/cfilter.c", "-lmilter").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// startC starts the reference filter with actions and callbacks ("none" for none).
func startC(t testing.TB, bin string, actions milter.Action, callbacks string) *process {
	if callbacks == "none" {
		callbacks = ""
	}
	return startProgram(t, bin, func(addr string) []string {
		return []string{addr, fmt.Sprintf("%x", uint32(actions)), callbacks}
	})
}

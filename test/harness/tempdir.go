package harness

import (
	"os"
	"path/filepath"
	"testing"
)

// TempDir makes a folder that other users can enter, which [testing.TB.TempDir] does not. Its name begins with prefix. It
// is removed when the test ends.
func TempDir(t testing.TB, prefix string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	requireOpen(t, dir)
	return dir
}

// requireOpen fails the test when other users cannot enter dir or a folder above it.
func requireOpen(t testing.TB, dir string) {
	t.Helper()
	for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			t.Fatalf("%s has mode %v: other users cannot enter it; set TMPDIR to another folder", dir, info.Mode())
		}
	}
}

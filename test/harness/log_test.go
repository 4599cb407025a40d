package harness

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestReadLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	assert.Empty(t, ReadLog(t, path))
	require.NoError(t, os.WriteFile(path, []byte("line\n"), 0o600))
	assert.Equal(t, "line\n", ReadLog(t, path))
}

func TestLastLines(t *testing.T) {
	assert.Equal(t, "b\nc", LastLines("a\nb\nc", 2))
	assert.Equal(t, "a\nb\n", LastLines("a\nb\n", 10))
	assert.Empty(t, LastLines("", 10))
}

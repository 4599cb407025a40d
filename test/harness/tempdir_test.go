package harness

import (
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestClosedTempDir(t *testing.T) {
	closed := t.TempDir()
	require.NoError(t, os.Chmod(closed, 0o700))
	t.Setenv("TMPDIR", closed)
	v := &verdict{TB: t}
	TempDir(v, "x-")
	require.NotEmpty(t, v.failed)
	assert.Contains(t, v.failed[0], closed+" has mode drwx------: other users cannot enter it")
}

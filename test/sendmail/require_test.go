package sendmail

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

func TestMissingPrograms(t *testing.T) {
	module := t.TempDir()
	require.NoError(t, os.WriteFile(module+"/go.mod", nil, 0o644))
	require.NoError(t, os.Mkdir(module+"/test", 0o755))
	t.Chdir(module + "/test")
	t.Setenv("PATH", module)
	harness.AssertGivesUp(t, []string{
		"m4 is not in PATH: make test-deps installs it",
		"stat " + module + "/.cache/sendmail/usr/libexec/sendmail/sendmail: no such file or directory: make test-deps unpacks it",
		"stat " + module + "/.cache/sendmail/usr/share/sendmail/cf/m4/cf.m4: no such file or directory: make test-deps unpacks it",
	}, func(t testing.TB) { requirePrograms(t) })
}

func TestNoModule(t *testing.T) {
	t.Chdir("/")
	_, err := moduleDir()
	require.EqualError(t, err, "no go.mod above the working directory")
}

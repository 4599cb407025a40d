package docker

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// TestOwnProgram makes a module of the README's first program and what examples/docker has to be copied, with the library
// as a clone in its folder.
func TestOwnProgram(t *testing.T) {
	dir := t.TempDir()
	cloneLibrary(t, filepath.Join(dir, "go-libmilter"))
	for _, name := range []string{"Dockerfile", "healthy", ".dockerignore"} {
		copyFile(t, root+"/examples/docker/"+name, filepath.Join(dir, name))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(readmeProgram(t)), 0o600))
	for _, args := range []string{
		"init example.org/filter",
		"edit -require github.com/libmilter/go-libmilter@v0.0.0 -replace github.com/libmilter/go-libmilter=./go-libmilter",
		"tidy",
	} {
		cmd := exec.Command("go", append([]string{"mod"}, strings.Fields(args)...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "go mod %s:\n%s", args, out)
	}
	testFilter(t, build(t, "own", dir), nil, 6e6, testReadmeProgram, beforeData)
}

// readmeProgram is the README's first program, for the container's network.
func readmeProgram(t *testing.T) string {
	readme, err := os.ReadFile(root + "/README.md")
	require.NoError(t, err)
	_, program, _ := strings.Cut(string(readme), "```go\n")
	program, _, _ = strings.Cut(program, "```")
	listens := strings.Replace(program, "inet:8890@127.0.0.1", "inet:8890@0.0.0.0", 1)
	require.NotEqual(t, program, listens)
	return listens
}

func testReadmeProgram(t *testing.T, c *container) {
	result := c.send(miltertest.Mail{Data: "Subject: Hello\n\nHow are you?\n"})
	require.Equal(t, "Subject: Hello\nX-Filtered: yes\n", result.Header.String())
	result = c.send(miltertest.Mail{To: []string{"sales@example.com"}})
	require.Equal(t, milter.SMFIS_REJECT, result.Verdict)
}

// cloneLibrary copies the library as it is here, committed or not.
func cloneLibrary(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.CopyFS(filepath.Join(dir, "internal"), os.DirFS(root+"/internal")))
	for _, pattern := range []string{"*.go", "*.[ch]", "go.mod", "go.sum"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		require.NoError(t, err)
		require.NotEmpty(t, files, pattern)
		for _, file := range files {
			if !strings.HasSuffix(file, "_test.go") {
				copyFile(t, file, filepath.Join(dir, filepath.Base(file)))
			}
		}
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	require.NoError(t, err)
	info, err := os.Stat(from)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(to, data, info.Mode().Perm()))
}

//go:build cgo

package milter_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// installs is what every message of a failed build names.
var installs = []string{"Debian, Ubuntu:", "libmilter-dev", "Fedora:", "sendmail-milter-devel", "Alpine:", "FreeBSD: mail/libmilter"}

// buildCopy builds the package's sources, each changed by change, and gives what go build says.
func buildCopy(t *testing.T, change func(name, text string) string, env ...string) []string {
	dir := tempDir(t)
	files, err := filepath.Glob("*.[ch]")
	require.NoError(t, err)
	goFiles, err := filepath.Glob("*.go")
	require.NoError(t, err)
	for _, name := range append(append(files, goFiles...), "go.mod", "go.sum") {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(change(name, string(text))), 0o600))
	}
	require.NoError(t, os.CopyFS(filepath.Join(dir, "internal"), os.DirFS("internal")))
	build := exec.Command("go", "build", ".")
	build.Dir = dir
	build.Env = append(os.Environ(), env...)
	out, err := build.CombinedOutput()
	require.Error(t, err, "it must not build")
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func TestBuildWithoutCgo(t *testing.T) {
	t.Parallel()
	lines := buildCopy(t, func(_, text string) string { return text }, "CGO_ENABLED=0")
	require.Len(t, lines, 2, "the package's name, and one line: %q", lines)
	assert.Contains(t, lines[1], "go-libmilter needs cgo: CGO_ENABLED=1, a C compiler and libmilter.")
	for _, word := range installs {
		assert.Contains(t, lines[1], word)
	}
}

func TestBuildWithoutHeaders(t *testing.T) {
	t.Parallel()
	lines := buildCopy(t, func(_, text string) string {
		return strings.ReplaceAll(text, "<libmilter/mfapi.h>", "<libmilter/not-installed.h>")
	})
	last := lines[len(lines)-1]
	assert.Contains(t, last, "error: #error libmilter is missing.")
	for _, word := range installs {
		assert.Contains(t, last, word)
	}
	assert.Equal(t, 1, strings.Count(strings.Join(lines, "\n"), "error:"), "one error: %q", lines)
}

// A wrong prototype of a callback must not compile: the C compiler checks each export against smfiDesc.
func TestBuildWithWrongPrototype(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ file, from, to string }{
		"export": {"cgo_callbacks.go", "struct_milter_caller, argv **C.char", "struct_milter_caller, argv **C.uint"},
		"shim":   {"bridge.c", "on_header(SMFICTX *ctx, char *name, char *value)", "on_header(SMFICTX *ctx, char *name, int *value)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lines := buildCopy(t, func(name, text string) string {
				if name != tc.file {
					return text
				}
				changed := strings.Replace(text, tc.from, tc.to, 1)
				require.NotEqual(t, text, changed)
				if name == "cgo_callbacks.go" { // keep the Go side right: only C is to object
					changed = strings.Replace(changed, "address, args := envelope(argv)", "address, args := envelope((**C.char)(unsafe.Pointer(argv)))", 1)
				}
				return changed
			})
			assert.Contains(t, strings.Join(lines, "\n"), "[-Werror=incompatible-pointer-types]")
		})
	}
}

// The program in the README is the package's Example, which the compiler has seen.
func TestReadmeProgram(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("README.md")
	require.NoError(t, err)
	_, program, _ := strings.Cut(string(readme), "```go\n")
	program, _, _ = strings.Cut(program, "```")
	example, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	want := strings.NewReplacer("//go:build cgo\n\n", "", "package milter_test", "package main", "func Example()", "func main()").Replace(string(example))
	assert.Equal(t, want, program)
}

package main

import (
	"bytes"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// command runs the command with these arguments, in this process, and gives what it prints.
func command(t *testing.T, args ...string) (same bool, output string) {
	set, err := parseFlags(args)
	require.NoError(t, err)
	var out bytes.Buffer
	same, err = set.run(&out)
	require.NoError(t, err, "%s", out.String())
	return same, out.String()
}

func TestFiltersAgree(t *testing.T) {
	t.Parallel()
	same, output := command(t, "-n=60", "-batch=30", "-models=installed")
	assert.True(t, same, "%s", output)
	assert.Contains(t, output, "seed 1: 240 sessions, ")
	assert.Contains(t, output, ": 0 differences")
}

var repeatLine = regexp.MustCompile(`(?m)^=== repeat: go run ./test/conformance (.*)$`)

// A filter that goes wrong once is found, in the session where it does, and the printed command shows it again.
func TestDifferenceIsFound(t *testing.T) {
	t.Parallel()
	same, output := command(t, "-n=40", "-batch=40", "-models=installed", "-policies=negotiate", "-fault=100")
	require.False(t, same, "%s", output)
	assert.Equal(t, 1, strings.Count(output, "=== session "), "%s", output)
	assert.Contains(t, output, ": 1 differences")
	first := marked(output)
	require.Len(t, first, 2, "%s", output)
	repeat := repeatLine.FindStringSubmatch(output)
	require.NotNil(t, repeat, "%s", output)

	same, again := command(t, strings.Fields(repeat[1])...)
	require.False(t, same, "%s", again)
	assert.Equal(t, strings.Split(output, "\n=== ")[1], strings.Split(again, "\n=== ")[1], "the same session")
	for _, line := range first {
		assert.Contains(t, again, line[len(">> C  "):], "what differed first")
	}
	assert.Len(t, marked(again), 2, "%s", again)
}

// marked gives the lines that are marked as the first that differ among callbacks.
func marked(output string) (lines []string) {
	callbacks, _, _ := strings.Cut(output[strings.Index(output, "Callbacks"):], "Replies:")
	for line := range strings.Lines(callbacks) {
		if strings.HasPrefix(line, ">> ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func TestBlindRunFails(t *testing.T) {
	t.Parallel()
	r := &result{coverage: coverage{}, w: &bytes.Buffer{}}
	assert.False(t, r.reached(&settings{sessions: large, policies: policies}))
	assert.True(t, r.reached(&settings{sessions: large - 1, policies: policies}), "a small run need not see all")
	assert.True(t, r.reached(&settings{sessions: large, policies: policies[:1]}), "nor does one policy")
	assert.Contains(t, r.w.(*bytes.Buffer).String(), "never seen: calls: smfi_addheader MI_FAILURE;")
}

func TestWrongFlags(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		`libmilter has no model "x": write pool, threads or installed`:      {"-models=x"},
		`there is no policy "x", only negotiate, default, some and message`: {"-policies=x"},
		"-session needs one of -models and one of -policies":                {"-session=3"},
		`unknown argument "x"`:                                      {"x"},
		"-batch and -workers must be at least 1":                    {"-batch=0"},
		"-hostile needs -asan, which looks at what is not compared": {"-hostile"},
	} {
		_, err := parseFlags(args)
		assert.EqualError(t, err, want)
	}
}

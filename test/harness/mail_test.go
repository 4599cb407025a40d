package harness

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSplitFields(t *testing.T) {
	tests := []struct {
		name, head string
		want       []string
	}{
		{"none", "", nil},
		{"one", "A: 1", []string{"A: 1"}},
		{"folded", "A: 1\nB:  folded\n\tonce\n x\nC:", []string{"A: 1", "B:  folded\n\tonce\n x", "C:"}},
		{"line break at the end", "A: 1\n", []string{"A: 1"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.Equal(t, tt.want, SplitFields(tt.head))
		})
	}
}

func TestParsePath(t *testing.T) {
	tests := []struct {
		text string
		want Path
	}{
		{"<>", Path{}},
		{"<> SIZE=1", Path{Args: []string{"SIZE=1"}}},
		{"<a@example.org>", Path{Address: "a@example.org"}},
		{`<"a \" > b"@example.org> X=<1>`, Path{Address: `"a \" > b"@example.org`, Args: []string{"X=<1>"}}},
	}
	for _, tt := range tests {
		t.Run(tt.text, func(t *testing.T) {
			got, err := ParsePath(tt.text)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
	_, err := ParsePath("a@example.org")
	require.EqualError(t, err, `no envelope address in "a@example.org"`)
}

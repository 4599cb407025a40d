package ascii

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

const (
	kelvin = "\u212a" // which Unicode folds to k
	longS  = "\u017f" // and this to s
)

func TestEqualFold(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		s, t string
		want bool
	}{
		{"", "", true},
		{"Subject", "sUBJECT", true},
		{"X-Key", "x-kEY", true},
		{"Subject", "Subjec", false},
		{"X-Key", "X-" + kelvin + "ey", false},
		{"x-" + kelvin, "X-" + kelvin, true},
		{"Subject", longS + "ubject", false},
		{"[", "{", false}, // 32 apart, as letters are
		{"@", "`", false},
		{"\xc9", "\xe9", false},
		{"É", "é", false},
	} {
		assert.Equal(t, test.want, EqualFold(test.s, test.t), "%q and %q", test.s, test.t)
		assert.Equal(t, test.want, EqualFold(test.t, test.s), "%q and %q", test.t, test.s)
		assert.Equal(t, test.want, ToLower(test.s) == ToLower(test.t), "%q and %q", test.s, test.t)
	}
}

func TestToLower(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "x-1": "x-1", "X-ABZ[@": "x-abz[@", kelvin: kelvin, longS + "S": longS + "s", "É\xc9A": "É\xc9a",
	} {
		assert.Equal(t, want, ToLower(s), "%q", s)
	}
	assert.Zero(t, testing.AllocsPerRun(100, func() { ToLower("x-name") }), "what is in lower case is not copied")
}

func FuzzASCII(f *testing.F) {
	f.Add("X-Key", "x-"+kelvin+"ey")
	f.Fuzz(func(t *testing.T, s, u string) {
		if isASCII(s) && isASCII(u) {
			assert.Equal(t, strings.EqualFold(s, u), EqualFold(s, u))
			assert.Equal(t, strings.ToLower(s), ToLower(s))
		}
		assert.Equal(t, EqualFold(s, u), ToLower(s) == ToLower(u))
	})
}

func isASCII(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r > 127 }) < 0
}

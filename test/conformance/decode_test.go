package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestDecode(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		sent   bool
		stream string
		want   []string
	}{
		"nothing":            {true, "", nil},
		"no data":            {true, "\x00\x00\x00\x01T", []string{"SMFIC_DATA"}},
		"texts":              {true, "\x00\x00\x00\x06Ra\x00\xe9\x00\x00", []string{`SMFIC_RCPT "a" "\xe9" ""`}},
		"wrong length":       {true, "\x00\x00\x00\x07Ra\x00\xe9\x00\x00", []string{`SMFIC_RCPT "a" "\xe9" "", its length says 7`}},
		"two":                {false, "\x00\x00\x00\x01c\x00\x00\x00\x01s", []string{"SMFIR_CONTINUE", "SMFIR_SKIP"}},
		"no command":         {true, "\x00\x00\x00\x01!", []string{"'!'"}},
		"length 0":           {true, "\x00\x00\x00\x00T\x00\x00\x00\x01A", []string{"SMFIC_DATA, its length says 0", "SMFIC_ABORT"}},
		"no positive length": {true, "\x80\x00\x00\x00T\x00\x00\x00\x01A", []string{"SMFIC_DATA, its length says 2147483648", "SMFIC_ABORT"}},
		"cut in the data":    {true, "\x00\x00\x00\xffUab", []string{`SMFIC_UNKNOWN "ab"(no NUL), its length says 255`}},
		"cut in the head":    {true, "\x00\x00\x00\x01T\x00\x00", []string{"SMFIC_DATA", `less than a packet's head: "\x00\x00"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, decode([]byte(tc.stream), tc.sent))
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		c, golang []string
		want      string
	}{
		"same":    {[]string{"a", "b"}, []string{"a", "b"}, "     a\n     b\n"},
		"differ":  {[]string{"a", "b", "c"}, []string{"a", "x", "c"}, "     a\n>> C  b\n   C  c\n>> Go x\n   Go c\n"},
		"long":    {[]string{"a", "b", "c", "d"}, nil, ">> C  a\n   C  b\n   C  … and 2 more\n>> Go nothing\n"},
		"missing": {[]string{"a"}, []string{"a", "x"}, "     a\n>> C  nothing\n>> Go x\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got strings.Builder
			compare(&got, 1, tc.c, tc.golang)
			assert.Equal(t, tc.want, got.String())
		})
	}
}

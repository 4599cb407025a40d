package sendmail

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

func TestParsePath(t *testing.T) {
	tests := []struct {
		arg  string
		want harness.Path
	}{
		{"FROM:<>", harness.Path{}},
		{"From:<> SIZE=1", harness.Path{Args: []string{"SIZE=1"}}},
		{"To:<a@example.org> NOTIFY=NEVER ORCPT=rfc822;a@example.org", harness.Path{Address: "a@example.org", Args: []string{"NOTIFY=NEVER", "ORCPT=rfc822;a@example.org"}}},
		{`To:<"a > b"@example.org>`, harness.Path{Address: `"a > b"@example.org`}},
	}
	for _, tt := range tests {
		t.Run(tt.arg, func(t *testing.T) {
			got, err := parsePath(tt.arg)
			require.NoError(t, err)
			assert.Equal(t, tt.want, got)
		})
	}
}

func TestParsePathErrors(t *testing.T) {
	tests := []struct{ arg, message string }{
		{"FROM:a@example.org", `no envelope address in "a@example.org"`},
		{"<a@example.org>", `no keyword in "<a@example.org>"`},
		{":<a@example.org>", `no keyword in ":<a@example.org>"`},
	}
	for _, tt := range tests {
		t.Run(tt.arg, func(t *testing.T) {
			_, err := parsePath(tt.arg)
			require.EqualError(t, err, tt.message)
		})
	}
}

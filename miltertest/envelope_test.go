package miltertest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The cases of test/mta, section "Recipients", are compared with the real MTAs there.
func TestAddresses(t *testing.T) {
	for text, want := range map[string]string{
		"":                  "",
		"<>":                "",
		"a@b":               "a@b",
		" <a@b> ":           "a@b",
		"< a@b >":           "a@b",
		"Name <a@b> (note)": "a@b",
		`"Na, me" <a@b>`:    "a@b",
		`<"x> y"@b>`:        `"x> y"@b`,
		`<"x\" y"@b>`:       `"x\" y"@b`,
		"<a(x(y)z)@b>":      "a@b",
		"<a@b>, c@d":        "a@b|c@d",
		"<@x,@y:a@b>":       "@x,@y:a@b",
		"<a b@c>":           "ab@c",
		`a\`:                `a\`,
		`"open`:             `"open`,
		"(open":             "",
		"<a@b":              "a@b",
		",,":                "",
	} {
		assert.Equal(t, want, strings.Join(KindPostfix.addresses(text), "|"), text)
	}
	assert.Equal(t, []string{"a.b@c"}, KindSendmail.addresses("<a b@c>"))
}

func TestRcpt(t *testing.T) {
	for _, tc := range []struct {
		addr, postfix, postfixKey, sendmail, sendmailKey string
	}{
		{"a@b.c", "<a@b.c>", "a@b.c", "<a@b.c>", "a@b.c"},
		{"A@B.c", "<A@B.c>", "A@B.c", "<A@B.c>", "A@B.c"},
		{"@x,@y:a@b.c", "<a@b.c>", "a@b.c", "<a@b.c>", "a@b.c"},
		{"a@b.c.", "<a@b.c>", "a@b.c.", "<a@b.c>", "a@b.c"},
		{`"a"@b`, "<a@b>", "a@b", `<"a"@b>`, `"a"@b`},
		{`"a b"@c`, `<"a b"@c>`, "a b@c", `<"a b"@c>`, `"a b"@c`},
		{`"a\"b"@c`, `<"a\"b"@c>`, `a"b@c`, `<"a\"b"@c>`, `"a\"b"@c`},
		{"a@b@c", `<"a@b"@c>`, "a@b@c", `<"a@b"@c>`, `"a@b"@c`},
		{"postmaster", "<postmaster>", "postmaster", "<postmaster>", "postmaster"},
	} {
		assert.Equal(t, rcpt{path: tc.postfix + " X=1", key: tc.postfixKey}, KindPostfix.rcpt(tc.addr, []string{"X=1"}))
		assert.Equal(t, rcpt{path: tc.sendmail, key: tc.sendmailKey}, KindSendmail.rcpt(tc.addr, nil))
	}
}

// Whatever a filter names, what is removed is not there any more, and what is added to an empty
// envelope is.
func FuzzEnvelope(f *testing.F) {
	for _, addr := range []string{"<a@b>", "@x:a@b", `"a\"b"@c`, "<a,b@c>, d", `\`, "a@b.", "(", "@", "@:"} {
		f.Add(addr)
	}
	f.Fuzz(func(t *testing.T, addr string) {
		for _, kind := range []Kind{KindPostfix, KindSendmail} {
			e := newEnvelope(kind, nil)
			e.add(addr, nil, true)
			e.add(addr, nil, true)
			require.LessOrEqual(t, len(e.rcpts), 1, "%s: %q", kind, e.paths())
			require.Equal(t, len(kind.addresses(addr)) > 0, len(e.rcpts) == 1)
			if kind == KindSendmail || len(e.rcpts) == 1 && !strings.HasPrefix(kind.addresses(addr)[0], "@") {
				e.remove(addr)
				require.Empty(t, e.paths())
			}
		}
	})
}

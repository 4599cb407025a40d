package miltertest

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMessage(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		data   string
		header Header
		body   string
	}{
		"empty":              {"", nil, ""},
		"header":             {"A: 1\nB:2\n", Header{{"A", "1", false}, {"B", "2", true}}, ""},
		"no last line end":   {"A: 1", Header{{"A", "1", false}}, ""},
		"header and body":    {"A: 1\n\nx\n\ny", Header{{"A", "1", false}}, "x\r\n\r\ny\r\n"},
		"CRLF":               {"A: 1\r\n\r\nx\r\n", Header{{"A", "1", false}}, "x\r\n"},
		"mbox":               {"From a@x Mon Nov 23 2026\nA: 1\n\nx\n", Header{{"A", "1", false}}, "x\r\n"},
		"quoted mbox":        {">From a@x\n\nx\n", nil, "x\r\n"},
		"no header":          {"\nA: 1\n", nil, "A: 1\r\n"},
		"body at once":       {"hello\nA: 1\n", nil, "hello\r\nA: 1\r\n"},
		"body in the header": {"A: 1\nhello\nB: 2\n", Header{{"A", "1", false}}, "hello\r\nB: 2\r\n"},
		"folded":             {"A: 1\r\n\t2\r\n  3\r\nB: 4\r\n\r\n", Header{{"A", "1\n\t2\n  3", false}, {"B", "4", false}}, ""},
		"blanks":             {"A :  1 \nB:\t2\nC:\nD: \n\n", Header{{"A", " 1 ", false}, {"B", "\t2", true}, {"C", "", true}, {"D", "", false}}, ""},
		"8-bit":              {"A: \xe4\n\n\xe4\n", Header{{"A", "\xe4", false}}, "\xe4\r\n"},
		"blank in a name":    {"A b: 1\n\n", nil, "A b: 1\r\n\r\n"},
		"no name":            {": 1\n", nil, ": 1\r\n"},
		"blank first":        {" A: 1\n", nil, " A: 1\r\n"},
		"NUL in the body":    {"\n\x00\n", nil, "\x00\r\n"},
		"CR in a line":       {"A: 1\r2\n\n3\r4\n", Header{{"A", "1\r2", false}}, "3\r4\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := parseMessage(tc.data)
			require.NoError(t, err)
			assert.Equal(t, tc.header, m.header)
			assert.Equal(t, tc.body, m.body)
		})
	}
}

func TestSplitPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string][]string{
		"":                               {""},
		"<>":                             {"<>"},
		"a@example.org":                  {"a@example.org"},
		" <a@example.org> ":              {"<a@example.org>"},
		"<a@example.org> SIZE=1":         {"<a@example.org>", "SIZE=1"},
		"< a@example.org > SIZE=1":       {"< a@example.org >", "SIZE=1"},
		"<a@example.org>  SIZE=1\tX=2":   {"<a@example.org>", "SIZE=1", "X=2"},
		`<"a b"@example.org> SIZE=1`:     {`<"a b"@example.org>`, "SIZE=1"},
		`<"a\" b\\"@example.org> SIZE=1`: {`<"a\" b\\"@example.org>`, "SIZE=1"},
		`"a> b"@example.org SIZE=1`:      {`"a> b"@example.org`, "SIZE=1"},
	} {
		addr, args := splitPath(path)
		assert.Equal(t, want, append([]string{addr}, args...), path)
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string][2]string{
		"unix:/run/filter.sock":    {"unix", "/run/filter.sock"},
		"local:/run/filter.sock":   {"unix", "/run/filter.sock"},
		"unix:filter.sock":         {"unix", "filter.sock"},
		"unix:@filter":             {"unix", "./@filter"},
		"unix:./8890":              {"unix", "./8890"},
		"/run/a:b@c":               {"unix", "/run/a:b@c"},
		"inet:8891@mx.example.org": {"tcp4", "mx.example.org:8891"},
		"inet:8891@192.0.2.1":      {"tcp4", "192.0.2.1:8891"},
		"inet:8891":                {"tcp4", "127.0.0.1:8891"},
		"inet6:8891@2001:db8::1":   {"tcp6", "[2001:db8::1]:8891"},
		"inet6:8891@[2001:db8::1]": {"tcp6", "[2001:db8::1]:8891"},
		"inet6:8891":               {"tcp6", "[::1]:8891"},
	} {
		network, address, err := ParseAddress(in)
		require.NoError(t, err)
		assert.Equal(t, want, [2]string{network, address})
	}
}

func TestParseAddressMistaken(t *testing.T) {
	t.Parallel()
	const want = "want unix:/path, local:/path, /path, inet:port@host or inet6:port@host"
	for in, text := range map[string]string{
		"":                  want,
		"unix:":             want,
		"filter.sock":       want,
		"example.com":       want,
		"http:x":            want,
		":8890":             want + ": write inet:8890",
		"8890":              want + ": write inet:8890",
		"unix:8890":         want + ": write inet:8890",
		"tcp:8890":          want + ": write inet:8890",
		"localhost:8890":    want + ": write inet:8890@localhost",
		"127.0.0.1:8890":    want + ": write inet:8890@127.0.0.1",
		"8890@127.0.0.1":    want + ": write inet:8890@127.0.0.1",
		"[::1]:8890":        want + ": write inet6:8890@[::1]",
		"127.0.0.1":         want + ": write inet:port@127.0.0.1",
		"inet:25x":          `bad port "25x", want port@host`,
		"inet:localhost:25": `bad port "localhost:25", want port@host: write inet:25@localhost`,
		"inet6:[::1]:25":    `bad port "[::1]:25", want port@host: write inet6:25@[::1]`,
		"inet:8890@":        `no host after the @ in "8890@": write inet:8890`,
	} {
		network, address, err := ParseAddress(in)
		assert.EqualError(t, err, text, in)
		assert.Empty(t, network+address)
	}
}

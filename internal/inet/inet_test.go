package inet

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestMeant(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		":8890":                      "inet:8890",
		"8890":                       "inet:8890",
		"*:8890":                     "inet:8890",
		"localhost:8890":             "inet:8890@localhost",
		"mx.example.org:8890":        "inet:8890@mx.example.org",
		"127.0.0.1:8890":             "inet:8890@127.0.0.1",
		"[127.0.0.1]:8890":           "inet:8890@127.0.0.1",
		"[::1]:8890":                 "inet6:8890@[::1]",
		"8890@127.0.0.1":             "inet:8890@127.0.0.1",
		"8890@localhost":             "inet:8890@localhost",
		"8890@::1":                   "inet6:8890@[::1]",
		"8890@[::1]":                 "inet6:8890@[::1]",
		"8890@":                      "inet:8890",
		"127.0.0.1":                  "inet:port@127.0.0.1",
		"::1":                        "inet6:port@[::1]",
		"[::1]":                      "inet6:port@[::1]",
		"2001:db8::1:8890":           "inet6:port@[2001:db8::1:8890]", // no port that could be told apart
		"localhost":                  "inet:port@localhost",
		"tcp:8890":                   "inet:8890",
		"tcp:127.0.0.1:8890":         "inet:8890@127.0.0.1",
		"tcp://127.0.0.1:8890":       "inet:8890@127.0.0.1",
		"TCP:8890@localhost":         "inet:8890@localhost",
		"tcp4:localhost:8890":        "inet:8890@localhost",
		"tcp6:[::1]:8890":            "inet6:8890@[::1]",
		"tcp6:localhost:8890":        "inet6:8890@localhost",
		"tcp6:8890":                  "inet6:8890",
		"inet:127.0.0.1:8890":        "inet:8890@127.0.0.1", // as Postfix has it
		"inet:localhost:8890":        "inet:8890@localhost",
		"inet:[::1]:8890":            "inet6:8890@[::1]",
		"inet:8890@::1":              "inet6:8890@[::1]",
		"inet6:[::1]:8890":           "inet6:8890@[::1]",
		"inet6:8890@127.0.0.1":       "inet:8890@127.0.0.1",
		"unix:8890":                  "inet:8890",
		"unix:localhost:8890":        "inet:8890@localhost",
		"local:8890@127.0.0.1":       "inet:8890@127.0.0.1",
		"":                           "",
		":":                          "",
		"@":                          "",
		"tcp:":                       "",
		"inet:":                      "",
		"s":                          "",
		"filter.sock":                "",
		"example.com":                "", // may be a file
		"8890.sock":                  "",
		"filter@example.com":         "",
		"smtp@::1":                   "",
		"a:b:8890":                   "",
		"8890@[127.0.0.1]x":          "",
		"8890@a@b":                   "",
		"unix:filter.sock":           "",
		"unix:@filter":               "",
		"inet:25x@127.0.0.1":         "",
		"0":                          "",
		"70000":                      "",
		"localhost:70000":            "",
		"/run/8890":                  "",
		"./8890":                     "",
		"unix:./8890":                "",
		"unix:/run/localhost:8890":   "",
		"run/127.0.0.1:8890":         "",
		"http://127.0.0.1:8890":      "",
		"tcp://127.0.0.1:8890/":      "",
		"unix:/run/filter@localhost": "",
	} {
		assert.Equal(t, want, Meant(text), "%q", text)
	}
}

// What is meant is an address that needs no help, unless its port is still to be named.
func TestMeantIsRight(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"inet:8890", "inet:8890@localhost", "inet:8890@127.0.0.1",
		"inet6:8890", "inet6:8890@[::1]", "inet6:8890@localhost",
	} {
		assert.Equal(t, text, Meant(text))
	}
}

package main

import (
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseAddress(t *testing.T) {
	for _, tt := range []struct{ in, network, address string }{
		{"unix:/run/filter.sock", "unix", "/run/filter.sock"},
		{"local:/run/filter.sock", "unix", "/run/filter.sock"},
		{"unix:filter.sock", "unix", "filter.sock"},
		{"/run/a:b@c", "unix", "/run/a:b@c"},
		{"inet:8891@mx.example.org", "tcp4", "mx.example.org:8891"},
		{"inet:8891@192.0.2.1", "tcp4", "192.0.2.1:8891"},
		{"inet:8891", "tcp4", "127.0.0.1:8891"},
		{"inet6:8891@2001:db8::1", "tcp6", "[2001:db8::1]:8891"},
		{"inet6:8891@[2001:db8::1]", "tcp6", "[2001:db8::1]:8891"},
		{"inet6:8891", "tcp6", "[::1]:8891"},
	} {
		t.Run(tt.in, func(t *testing.T) {
			network, address, err := parseAddress(tt.in)
			require.NoError(t, err)
			assert.Equal(t, tt.network, network)
			assert.Equal(t, tt.address, address)
		})
	}
}

func TestParseAddressErrors(t *testing.T) {
	for in, want := range map[string]string{
		"":                        "want unix:/path",
		"unix:":                   "want unix:/path",
		"inet:":                   "want unix:/path",
		"filter.sock":             "want unix:/path",
		"tcp:8891@mx.example.org": "want unix:/path",
		"fd:3":                    "want unix:/path",
		"inet:@mx.example.org":    `bad port ""`,
		"inet:0@mx.example.org":   `bad port "0"`,
		"inet:65536@mx":           `bad port "65536"`,
		"inet:mx.example.org:25":  `bad port "mx.example.org:25"`,
		"inet:25@":                "no host",
		"inet6:25@[]":             "no host",
		"inet6:25@[::1":           "no closing bracket",
	} {
		t.Run(in, func(t *testing.T) {
			_, _, err := parseAddress(in)
			assert.ErrorContains(t, err, want)
		})
	}
}

func TestParseClient(t *testing.T) {
	for in, want := range map[string]client{
		"192.0.2.1:25":          {"c", milter.FamilyInet, "192.0.2.1", 25},
		"[2001:db8::1]:0":       {"c", milter.FamilyInet6, "2001:db8::1", 0},
		"[::ffff:192.0.2.1]:25": {"c", milter.FamilyInet6, "::ffff:192.0.2.1", 25},
		"unix:/run/client.sock": {"c", milter.FamilyUnix, "/run/client.sock", 0},
		"unknown":               {"c", milter.FamilyUnknown, "unknown", 0},
	} {
		t.Run(in, func(t *testing.T) {
			c := client{name: "c", port: 1}
			require.NoError(t, c.parse(in))
			assert.Equal(t, want, c)
		})
	}
	for _, in := range []string{"", "unix:", "192.0.2.1", "2001:db8::1:25", "192.0.2.1:70000", "mx.example.org:25"} {
		t.Run("bad "+in, func(t *testing.T) {
			assert.Error(t, new(client).parse(in))
		})
	}
}

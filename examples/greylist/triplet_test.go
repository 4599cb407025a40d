package main

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTriplet(t *testing.T) {
	for name, tc := range map[string]struct {
		client, sender, recipient string
		want                      triplet
	}{
		"IPv4":             {"192.0.2.77", "<A@Example.org>", "<B@Example.com>", triplet{"192.0.2.0/24", "a@example.org", "b@example.com"}},
		"IPv6":             {"2001:db8:1:2:3::4", "<a@b>", "<c@d>", triplet{"2001:db8:1:2::/64", "a@b", "c@d"}},
		"null sender":      {"192.0.2.1", "<>", "<c@d>", triplet{"192.0.2.0/24", "", "c@d"}},
		"no brackets":      {"192.0.2.1", "a@b", "c@d", triplet{"192.0.2.0/24", "a@b", "c@d"}},
		"unknown client":   {"", "<a@b>", "<c@d>", triplet{"", "a@b", "c@d"}},
		"extension":        {"192.0.2.1", "<list+c=d@b>", "<c@d>", triplet{"192.0.2.0/24", "list@b", "c@d"}},
		"number":           {"192.0.2.1", "<bounce-4711-c@b9.example>", "<c@d>", triplet{"192.0.2.0/24", "bounce-#-c@b9.example", "c@d"}},
		"name with digits": {"192.0.2.1", "<user42@b>", "<c@d>", triplet{"192.0.2.0/24", "user42@b", "c@d"}},
		"BATV":             {"192.0.2.1", "<prvs=1234abcdef=a@b>", "<c@d>", triplet{"192.0.2.0/24", "a@b", "c@d"}},
		"recipient as is":  {"192.0.2.1", "<a@b>", "<c+x1@d>", triplet{"192.0.2.0/24", "a@b", "c+x1@d"}},
	} {
		t.Run(name, func(t *testing.T) {
			client, _ := netip.ParseAddr(tc.client)
			require.Equal(t, tc.want, newTriplet(client, tc.sender, tc.recipient))
		})
	}
}

func TestTripletKey(t *testing.T) {
	a, b := triplet{"192.0.2.0/24", "a@b", "c@d"}, triplet{"192.0.2.0/24", "a@bc", "@d"}
	require.Equal(t, a.key(), a.key())
	require.NotEqual(t, a.key(), b.key(), "the same letters, parted elsewhere")
	require.Len(t, b.key(), 22)
	require.NotEqual(t, a.key(), triplet{"192.0.2.0/24", "", "c@d"}.key())
}

package main

import (
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNetworkList(t *testing.T) {
	var list networkList
	require.NoError(t, list.UnmarshalText([]byte("192.0.2.0/24, 198.51.100.7, 2001:db8::/32")))
	for addr, want := range map[string]bool{
		"192.0.2.200": true, "192.0.3.1": false, "198.51.100.7": true, "198.51.100.8": false,
		"2001:db8:1::1": true, "2001:db9::1": false,
	} {
		require.Equal(t, want, list.contains(netip.MustParseAddr(addr)), addr)
	}
	require.False(t, list.contains(netip.Addr{}), "an address that is not known")
}

func TestDomainList(t *testing.T) {
	var list domainList
	require.NoError(t, list.UnmarshalText([]byte("Example.org,.example.net")))
	for name, want := range map[string]bool{
		"example.org": true, "mail.EXAMPLE.org": true, "a.b.example.org.": true, "mail.example.net": true,
		"badexample.org": false, "example.org.evil.example": false, "org": false, "unknown": false, "": false,
	} {
		require.Equal(t, want, list.contains(name), name)
	}
	require.False(t, domainList{}.contains("example.org"))
}

func TestRecipientList(t *testing.T) {
	var list recipientList
	require.NoError(t, list.UnmarshalText([]byte("Boss@example.com,example.net,postmaster@")))
	for recipient, want := range map[string]bool{
		"boss@example.com": true, "BOSS@Example.com": true, "clerk@example.com": false,
		"anybody@example.net": true, "anybody@sub.example.net": false,
		"postmaster@example.com": true, "postmaster": true, "": false,
	} {
		require.Equal(t, want, list.contains(recipient), recipient)
	}
}

func TestListFromFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "clients")
	require.NoError(t, os.WriteFile(path, []byte("# friends\nexample.org  # a friend\n\n\texample.net\r\n"), 0o600))
	var list domainList
	require.NoError(t, list.UnmarshalText([]byte("example.com, @"+path)))
	require.Equal(t, domainList{"example.com": true, "example.net": true, "example.org": true}, list)
}

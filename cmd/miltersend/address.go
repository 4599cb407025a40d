package main

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/d--j/go-milter"
)

// parseAddress reads a filter's address in the forms of smfi_setconn and returns what net.Dial takes.
// A port with no host, where a filter listens on every interface, is dialled on the loopback.
func parseAddress(s string) (network, address string, err error) {
	if strings.HasPrefix(s, "/") {
		return "unix", s, nil
	}
	kind, rest, _ := strings.Cut(s, ":")
	switch {
	case rest == "":
	case kind == "unix", kind == "local":
		return "unix", rest, nil
	case kind == "inet":
		return parseInet("tcp4", rest, "127.0.0.1")
	case kind == "inet6":
		return parseInet("tcp6", rest, "::1")
	}
	return "", "", errors.New("want unix:/path, local:/path, /path, inet:port@host or inet6:port@host")
}

// parseInet reads port@host, where the host may stand in brackets.
func parseInet(network, s, loopback string) (string, string, error) {
	service, host, hasHost := strings.Cut(s, "@")
	if !hasHost {
		host = loopback
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return "", "", fmt.Errorf("no closing bracket in %q", s)
		}
	}
	if host == "" {
		return "", "", fmt.Errorf("no host after the @ in %q", s)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil || port == 0 {
		return "", "", fmt.Errorf("bad port %q, want port@host", service)
	}
	return network, net.JoinHostPort(host, strconv.Itoa(port)), nil
}

// client is the SMTP client that the filter is told about.
type client struct {
	name   string
	family milter.ProtoFamily
	addr   string
	port   uint16
}

// parse reads ip:port, [ip6]:port, unix:/path or unknown; the name is left alone.
func (c *client) parse(s string) error {
	if s == "unknown" {
		c.family, c.addr, c.port = milter.FamilyUnknown, "unknown", 0
		return nil
	}
	if path, ok := strings.CutPrefix(s, "unix:"); ok && path != "" {
		c.family, c.addr, c.port = milter.FamilyUnix, path, 0
		return nil
	}
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		return errors.New("want ip:port, [ip6]:port, unix:/path or unknown")
	}
	c.family, c.addr, c.port = milter.FamilyInet6, ap.Addr().String(), ap.Port()
	if ap.Addr().Is4() {
		c.family = milter.FamilyInet
	}
	return nil
}

// String is the client as an MTA logs it: name [address]:port.
func (c client) String() string {
	switch c.family {
	case milter.FamilyInet, milter.FamilyInet6:
		return fmt.Sprintf("%s [%s]:%d", c.name, c.addr, c.port)
	default:
		return fmt.Sprintf("%s [%s]", c.name, c.addr)
	}
}

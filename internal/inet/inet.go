// Package inet knows how the address of a filter on TCP is mistaken: libmilter wants
// inet:port@host, most else has host:port, and libmilter takes what it does not know for the path
// of a unix socket.
package inet

import (
	"net"
	"strconv"
	"strings"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// Meant returns the inet or inet6 address that text was meant to be: a port, a port and a host in
// either order, or a host alone, with another program's prefix ("tcp:") or none. It returns "" if
// text looks like none of them. A text with a slash is a path.
func Meant(text string) string {
	kind, rest := cutKind(text)
	host, port := split(rest)
	switch {
	case strings.Contains(rest, "/"), port == "" && !isHost(host), host != "" && !mayBeHost(host):
		return ""
	case port == "":
		port = "port"
	}
	family := "inet"
	isIP := net.ParseIP(host) != nil
	if strings.Contains(host, ":") || strings.HasSuffix(kind, "6") && !isIP {
		family = "inet6"
	}
	switch {
	case host == "", host == "*":
		return family + ":" + port
	case strings.Contains(host, ":"):
		host = "[" + host + "]"
	}
	return family + ":" + port + "@" + host
}

// cutKind takes what stands before an address away.
func cutKind(text string) (kind, rest string) {
	for _, kind := range []string{"tcp", "tcp4", "tcp6", "inet", "inet6", "unix", "local"} {
		if head := kind + ":"; len(text) > len(head) && ascii.EqualFold(text[:len(head)], head) {
			return kind, strings.TrimPrefix(text[len(head):], "//")
		}
	}
	return "", text
}

// split returns the host and the port in a text, "" for what is not there.
func split(text string) (host, port string) {
	if ip := unbracket(text); net.ParseIP(ip) != nil {
		return ip, ""
	}
	if port, host, found := strings.Cut(text, "@"); found {
		if !isPort(port) {
			return "", ""
		}
		return unbracket(host), port
	}
	last := strings.LastIndexByte(text, ':')
	if port := text[last+1:]; isPort(port) {
		return unbracket(text[:max(last, 0)]), port
	}
	return text, ""
}

func unbracket(host string) string {
	if inner, found := strings.CutPrefix(host, "["); found {
		return strings.TrimSuffix(inner, "]")
	}
	return host
}

func isPort(text string) bool {
	n, err := strconv.ParseUint(text, 10, 16)
	return err == nil && n > 0
}

// isHost reports whether a text without a port can be nothing but a host: a name with dots may be a
// file's.
func isHost(text string) bool {
	return text == "localhost" || net.ParseIP(text) != nil
}

// mayBeHost reports whether a text beside a port can be a host.
func mayBeHost(text string) bool {
	if strings.Contains(text, ":") {
		return net.ParseIP(text) != nil
	}
	return !strings.ContainsAny(text, "@[] ")
}

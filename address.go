//go:build cgo

package milter

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"syscall"

	"github.com/libmilter/go-libmilter/internal/ascii"
	"github.com/libmilter/go-libmilter/internal/inet"
)

// address is a listening address as smfi_setconn takes it, taken apart.
type address struct {
	text    string
	network string // "unix", "tcp4", "tcp6" or "fd"
	path    string // unix: the socket's path
	host    string // tcp: empty is any
	port    int    // tcp
	fd      int    // fd
}

// maxUnixPath is the longest path that libmilter takes for a unix socket.
const maxUnixPath = len(syscall.RawSockaddrUnix{}.Path) - 2

// parseAddress reads unix:/path, local:/path, /path, inet:port@host, inet6:port@host and fd:N,
// strictly where libmilter would take a wrong address for another one: a port of 70000 for 4464, of
// "25x" for 25, and 8890@localhost for the path of a unix socket.
func parseAddress(text string) (address, error) {
	if text == "" {
		return address{}, fmt.Errorf("%w: no address; write unix:/path, inet:port@host, inet6:port@host or fd:N", ErrArgument)
	}
	if err := checkText("address", text); err != nil {
		return address{}, err
	}
	kind, rest, found := strings.Cut(text, ":")
	if !found {
		kind, rest = "", text
	}
	addr := address{text: text}
	switch ascii.ToLower(kind) {
	case "", "unix", "local":
		addr.network, addr.path = "unix", rest
		if strings.HasPrefix(rest, "@") { // no file's name to Go's system calls
			addr.path = "./" + rest
		}
		return addr, addr.checkPath()
	case "inet":
		addr.network = "tcp4"
		return addr, addr.parsePortHost(rest)
	case "inet6":
		addr.network = "tcp6"
		return addr, addr.parsePortHost(rest)
	case "fd":
		fd, err := strconv.ParseInt(rest, 10, 32)
		if err != nil || !isDigits(rest) {
			return address{}, fmt.Errorf("%w: address %q: %q is not a file descriptor", ErrArgument, text, rest)
		}
		addr.network, addr.fd = "fd", int(fd)
		return addr, nil
	}
	return address{}, fmt.Errorf("%w: address %q: %q is none of unix, local, inet, inet6, fd; write %s",
		ErrArgument, text, kind, cmp.Or(inet.Meant(text), "unix:path or inet:port@host"))
}

func (a *address) checkPath() error {
	switch {
	case a.path == "":
		return fmt.Errorf("%w: address %q has no path", ErrArgument, a.text)
	case inet.Meant(a.text) != "":
		return fmt.Errorf("%w: address %q looks like a host or a port, not like a path; "+
			"write %s, or unix:./%s for a unix socket", ErrArgument, a.text, inet.Meant(a.text), a.path)
	case len(a.path) > maxUnixPath:
		return fmt.Errorf("%w: address %q: the path has %d bytes, over %d: %w", ErrArgument, a.text, len(a.path), maxUnixPath,
			syscall.ENAMETOOLONG)
	}
	return nil
}

func (a *address) parsePortHost(text string) (err error) {
	port, host, hasHost := strings.Cut(text, "@")
	if a.port, err = parsePort(port); err != nil {
		return fmt.Errorf("%w: address %q: %q is not a port of 1 to 65535, nor a service's name; write %s",
			ErrArgument, a.text, port, cmp.Or(inet.Meant(a.text), "inet:port@host"))
	}
	inner, closed := strings.CutSuffix(strings.TrimPrefix(host, "["), "]")
	bracketed := closed && host[0] == '['
	if bracketed {
		host = inner
	}
	isIP := net.ParseIP(host) != nil
	isIPv4 := isIP && !strings.Contains(host, ":")
	switch {
	case hasHost && host == "":
		return fmt.Errorf("%w: address %q has an @ and no host behind it", ErrArgument, a.text)
	case bracketed && !isIP, strings.ContainsAny(host, "[]"), isIP && isIPv4 != (a.network == "tcp4"):
		return fmt.Errorf("%w: address %q: %q is not an address of its family; write %s",
			ErrArgument, a.text, host, cmp.Or(inet.Meant(a.text), "inet:port@IPv4 or inet6:port@[IPv6]"))
	}
	a.host = host
	return nil
}

// parsePort reads a port's number, or the name of a service, which begins with a letter.
func parsePort(port string) (int, error) {
	if isDigits(port) {
		n, err := strconv.ParseUint(port, 10, 16)
		if n == 0 {
			err = strconv.ErrRange
		}
		return int(n), err
	}
	if first := port[0] | 0x20; first < 'a' || first > 'z' {
		return 0, strconv.ErrSyntax
	}
	return net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
}

// hostPort is the address as package net takes it, to listen on (tcp only).
func (a *address) hostPort() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// fdAddr gives what is needed to dial the socket that an fd: address names.
func fdAddr(fd int) (network, addr string, err error) {
	kind, err := syscall.GetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_TYPE)
	if err != nil {
		return "", "", err
	}
	if kind != syscall.SOCK_STREAM {
		return "", "", fmt.Errorf("socket of type %d: %w", kind, syscall.ESOCKTNOSUPPORT)
	}
	if _, err := syscall.Getpeername(fd); err == nil {
		return "", "", syscall.EISCONN // libmilter would close it
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		return "", "", err
	}
	switch name := name.(type) {
	case *syscall.SockaddrInet4:
		return "tcp4", (&net.TCPAddr{IP: name.Addr[:], Port: name.Port}).String(), nil
	case *syscall.SockaddrInet6:
		return "tcp6", (&net.TCPAddr{IP: name.Addr[:], Port: name.Port}).String(), nil
	case *syscall.SockaddrUnix:
		return "unix", name.Name, nil
	}
	return "", "", syscall.EAFNOSUPPORT
}

//go:build cgo

package milter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"syscall"
	"time"
)

// socket is the listening socket, which libmilter keeps to itself.
type socket struct {
	addr    address
	network string // to dial the socket
	target  string
	unix    *unixSocket // nil unless it was made here
}

// dialTimeout is how long the own socket, or somebody else's at the same path, may take to answer.
const dialTimeout = time.Second

// openSocket opens the socket that libmilter is to serve. Its errors say why: libmilter writes that
// to syslog alone.
func openSocket(addr address, remove bool, mode fs.FileMode, backlog int) (*socket, error) {
	sock := &socket{addr: addr, network: addr.network, target: addr.hostPort()}
	var err error
	switch addr.network {
	case "unix":
		return openUnix(addr, remove, mode, backlog)
	case "fd":
		sock.network, sock.target, err = fdAddr(addr.fd)
		if err != nil {
			return nil, fmt.Errorf("%w: address %q is no listening socket: %w",
				ErrArgument, addr.text, err)
		}
	}
	if err := smfiSetconn(addr.text); err != nil {
		return nil, err
	}
	before := listeners()
	delete(before, addr.fd) // fd: was open before
	if err := smfiOpensocket(); err != nil {
		return nil, addr.whyNotOpened()
	}
	sendAtOnce(before)
	return sock, nil
}

// whyNotOpened tries for itself what libmilter could not do, for the sake of the error.
func (a *address) whyNotOpened() error {
	var listener net.Listener
	var err error
	switch a.network {
	case "fd":
		return fmt.Errorf("%w: address %q: this libmilter has no fd: addresses (Debian's and Ubuntu's has): %w", ErrArgument,
			a.text, errors.ErrUnsupported)
	case "unix":
		listener, err = net.Listen("unix", a.path)
	default:
		listener, err = net.Listen(a.network, a.hostPort())
	}
	if err == nil {
		_ = listener.Close()
		return fmt.Errorf("bind %s: %w, though the address is free; libmilter gives its reason to syslog", a.text, errFailure)
	}
	return bindError(*a, err)
}

// bindError is a bind that failed. Of what package net says, the system's own error is what counts.
func bindError(addr address, err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("bind %s: %w: %w", addr.text, ErrInUse, syscall.EADDRINUSE)
	case errors.As(err, &errno):
		return fmt.Errorf("bind %s: %w", addr.text, errno)
	}
	return fmt.Errorf("bind %s: %w", addr.text, err)
}

// dial connects to the own socket.
func (sock *socket) dial() (net.Conn, error) {
	return net.DialTimeout(sock.network, sock.target, dialTimeout)
}

// close gives back what the library holds; the listening socket itself is libmilter's.
func (sock *socket) close() {
	if sock.unix != nil {
		sock.unix.close()
	}
}

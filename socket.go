//go:build cgo

package milter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// socket is the listening socket, which libmilter has opened and keeps to itself.
type socket struct {
	addr    address
	network string // to dial the socket
	target  string

	file fs.FileInfo // unix: the socket in the file system
	ref  *os.File    // unix, on Linux: the same, reached also when its path is gone
}

// dialTimeout is how long the own socket, or somebody else's at the same path, may take to answer.
const dialTimeout = time.Second

// openSocket has libmilter open the socket. Its errors say why: libmilter writes that to syslog alone.
func openSocket(addr address, remove bool, mode fs.FileMode) (*socket, error) {
	sock := &socket{addr: addr, network: addr.network, target: addr.hostPort()}
	var err error
	switch addr.network {
	case "unix":
		sock.target = addr.path
		err = checkUnixPath(addr, remove)
	case "fd":
		sock.network, sock.target, err = fdAddr(addr.fd)
		if err != nil {
			err = fmt.Errorf("%w: address %q is no listening socket: %w", ErrArgument, addr.text, err)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := smfiSetconn(addr.text); err != nil {
		return nil, err
	}
	if !sock.open(remove, mode) {
		return nil, addr.whyNotOpened()
	}
	return sock, nil
}

// open is smfi_opensocket, with the permissions that a unix socket is to have.
func (sock *socket) open(remove bool, mode fs.FileMode) bool {
	if sock.addr.network != "unix" {
		before := listeners()
		delete(before, sock.addr.fd) // fd: was open before
		opened := smfiOpensocket(false) == nil
		sendAtOnce(before)
		return opened
	}
	if mode != 0 {
		// So that nobody can connect before settle has set the mode. The umask is the whole process's: a file that is
		// created in this moment elsewhere gets fewer rights, not more.
		defer syscall.Umask(syscall.Umask(0o777&^int(mode) | 0o077))
	}
	return smfiOpensocket(remove) == nil
}

// settle sets the mode of a unix socket, and keeps hold of it beyond its path.
func (sock *socket) settle(mode fs.FileMode) (err error) {
	if sock.addr.network != "unix" {
		return nil
	}
	if mode != 0 {
		if err := os.Chmod(sock.addr.path, mode); err != nil {
			return err
		}
	}
	if sock.file, err = os.Lstat(sock.addr.path); err != nil {
		return err
	}
	if runtime.GOOS != "linux" {
		return nil
	}
	const oPath = 0x200000 // O_PATH, which package syscall lacks
	sock.ref, err = os.OpenFile(sock.addr.path, oPath|syscall.O_CLOEXEC, 0)
	if err == nil {
		sock.target = "/proc/self/fd/" + strconv.Itoa(int(sock.ref.Fd()))
	}
	return err
}

// checkUnixPath looks at what is at the path: a socket that nobody answers on may be removed, nothing else.
func checkUnixPath(addr address, remove bool) error {
	info, err := os.Lstat(addr.path) // libmilter follows a symbolic link to a socket, and would then remove the link
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // a folder that does not exist is found out by bind
	case err != nil:
		return fmt.Errorf("bind %s: %w", addr.text, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("bind %s: there is a file that is no socket, it is left alone: %w", addr.text, fs.ErrExist)
	}
	conn, err := net.DialTimeout("unix", addr.path, dialTimeout)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("bind %s: %w: somebody answers on the socket: %w", addr.text, ErrInUse, syscall.EADDRINUSE)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("bind %s: %w: there is a socket, and it cannot be told whether somebody answers on it: %w", addr.text,
			ErrInUse, err)
	case !remove:
		return fmt.Errorf("bind %s: a socket was left there by a process that has ended, remove it or set RemoveSocket: %w",
			addr.text, syscall.EADDRINUSE)
	}
	return nil
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
	var errno syscall.Errno
	switch {
	case err == nil:
		_ = listener.Close()
		return fmt.Errorf("bind %s: %w, though the address is free; libmilter gives its reason to syslog", a.text, errFailure)
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("bind %s: %w: %w", a.text, ErrInUse, syscall.EADDRINUSE)
	case errors.As(err, &errno):
		return fmt.Errorf("bind %s: %w", a.text, errno)
	}
	return fmt.Errorf("bind %s: %w", a.text, err)
}

// dial connects to the own socket.
func (sock *socket) dial() (net.Conn, error) {
	return net.DialTimeout(sock.network, sock.target, dialTimeout)
}

// unlink removes the unix socket from the file system, and nothing else that has come to its path.
func (sock *socket) unlink() {
	if sock.file == nil {
		return
	}
	if info, err := os.Lstat(sock.addr.path); err == nil && os.SameFile(info, sock.file) {
		_ = os.Remove(sock.addr.path)
	}
}

// sparing runs stop, which is smfi_stop, and keeps somebody else's socket that has come to the path in the meantime, a
// successor's for instance: libmilter, unless it runs as root, removes whatever socket is there.
func (sock *socket) sparing(stop func()) {
	path := sock.addr.path
	info, err := os.Lstat(path)
	if sock.file == nil || os.Geteuid() == 0 || err != nil || os.SameFile(info, sock.file) {
		stop()
		return
	}
	spare := path + "." + strconv.Itoa(os.Getpid())
	err = os.Link(path, spare)
	if err != nil { // the file system, or the kernel where the socket is another user's, does not allow links
		err = os.Rename(path, spare)
	}
	stop()
	if err != nil {
		return
	}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		_ = os.Rename(spare, path)
	} else {
		_ = os.Remove(spare)
	}
}

// close gives back what the library holds; the listening socket itself is libmilter's.
func (sock *socket) close() {
	sock.unlink()
	if sock.ref != nil {
		_ = sock.ref.Close()
	}
}

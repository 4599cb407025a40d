//go:build cgo

package milter

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// This file makes unix sockets. libmilter binds by path, under whatever umask there is, and removes
// what is at that path when it stops; so it is given a socket that listens already, and does not
// know where.

// unixSocket is a server's unix socket in the file system.
type unixSocket struct {
	addr   address
	file   fs.FileInfo // nil until it is bound
	ref    *os.File    // on Linux: the same, reached also when its path is gone
	unlink func()      // removes it from the file system, and nothing else that has come to its path
}

// openUnix makes the socket and has libmilter serve it.
func openUnix(addr address, remove bool, mode fs.FileMode, backlog int) (*socket, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, bindError(addr, err)
	}
	defer syscall.Close(fd) // libmilter has its own descriptor of it then
	u := &unixSocket{addr: addr}
	u.unlink = sync.OnceFunc(u.remove)
	if err = u.listen(fd, remove, mode, backlog); err == nil {
		err = lend(fd, addr)
	}
	if err != nil {
		u.close()
		return nil, err
	}
	return &socket{addr: addr, network: "unix", target: u.target(), unix: u}, nil
}

// listen has the socket listen at its path. Of servers that come to one path at once, one gets it.
func (u *unixSocket) listen(fd int, remove bool, mode fs.FileMode, backlog int) error {
	defer lockFolder(filepath.Dir(u.addr.path))()
	if err := clearPath(u.addr, remove); err != nil {
		return err
	}
	err := u.bind(fd, mode)
	if err == nil {
		err = u.hold()
	}
	if err == nil && mode != 0 && u.file.Mode().Perm() != mode {
		err = fmt.Errorf("the permissions are %v, not SocketMode's %v: has the folder a default ACL?",
			u.file.Mode().Perm(), mode)
	}
	if err == nil {
		err = syscall.Listen(fd, backlog)
	}
	if err != nil {
		return bindError(u.addr, err)
	}
	return nil
}

// bind makes the file. From its first moment it has the permissions that it is to have.
func (u *unixSocket) bind(fd int, mode fs.FileMode) error {
	if mode != 0 {
		return bindUnix(fd, u.addr.path, mode)
	}
	return syscall.Bind(fd, &syscall.SockaddrUnix{Name: u.addr.path})
}

// hold keeps hold of the file that was bound.
func (u *unixSocket) hold() error {
	info, err := os.Lstat(u.addr.path)
	switch {
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("somebody has put another file in the socket's place: %w", fs.ErrExist)
	}
	u.file = info
	if runtime.GOOS != "linux" {
		return nil
	}
	const oPath = 0x200000 // O_PATH, which package syscall lacks
	u.ref, err = os.OpenFile(u.addr.path, oPath|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	return err
}

// target is where the socket is dialled.
func (u *unixSocket) target() string {
	if u.ref == nil {
		return u.addr.path
	}
	return "/proc/self/fd/" + strconv.Itoa(int(u.ref.Fd()))
}

// remove is unlink, which runs it once.
func (u *unixSocket) remove() {
	if u.file == nil {
		return
	}
	defer lockFolder(filepath.Dir(u.addr.path))()
	if info, err := os.Lstat(u.addr.path); err == nil && os.SameFile(info, u.file) {
		_ = os.Remove(u.addr.path)
	}
}

func (u *unixSocket) close() {
	u.unlink()
	if u.ref != nil {
		_ = u.ref.Close()
	}
}

// lockPause and lockTries are how long lockFolder waits: two seconds in all. A server holds the
// lock for milliseconds, or for dialTimeout if somebody else's socket does not answer.
const (
	lockPause = 5 * time.Millisecond
	lockTries = 400
)

// lockFolder keeps other servers away from the folder's sockets until unlock. A folder that cannot
// be locked, as it must not be read, its file system has no locks or somebody else keeps it locked,
// keeps no server from starting: two that then find the same old socket at the same moment may both
// remove it, and the first to bind is the one that nobody reaches.
func lockFolder(dir string) (unlock func()) {
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return func() {}
	}
	for range lockTries {
		if err = syscall.Flock(fd, syscall.LOCK_EX|syscall.LOCK_NB); err != syscall.EWOULDBLOCK {
			break
		}
		time.Sleep(lockPause)
	}
	return func() {
		_ = syscall.Flock(fd, syscall.LOCK_UN) // a process that is just being started has fd too
		_ = syscall.Close(fd)
	}
}

// clearPath looks at what is at the path, and removes, if it may, a socket that nobody answers on;
// nothing else.
func clearPath(addr address, remove bool) error {
	info, err := os.Lstat(addr.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // a folder that does not exist is found out by bind
	case err != nil:
		return fmt.Errorf("bind %s: %w", addr.text, err)
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("bind %s: there is a file that is no socket, it is left alone: %w",
			addr.text, fs.ErrExist)
	}
	conn, err := net.DialTimeout("unix", addr.path, dialTimeout)
	switch {
	case err == nil:
		_ = conn.Close()
		return fmt.Errorf("bind %s: %w: somebody answers on the socket: %w",
			addr.text, ErrInUse, syscall.EADDRINUSE)
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case !errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("bind %s: %w: there is a socket, "+
			"and it cannot be told whether somebody answers on it: %w", addr.text, ErrInUse, err)
	case !remove:
		return fmt.Errorf("bind %s: a socket was left there by a process that has ended, "+
			"remove it or set RemoveSocket: %w", addr.text, syscall.EADDRINUSE)
	}
	if err := os.Remove(addr.path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("bind %s: a socket was left there by a process that has ended: %w",
			addr.text, err)
	}
	return nil
}

// lend gives libmilter the socket to serve. libmilter takes no descriptors (Debian's addition
// apart), so it opens a placeholder in a folder that nobody else may enter, and the placeholder's
// descriptor becomes one of the socket's.
func lend(fd int, addr address) error {
	err := lendBy(fd, os.TempDir(), "milter-")
	if err == nil {
		return nil
	}
	beside := lendBy(fd, filepath.Dir(addr.path), ".milter-") // where a socket could be made
	if beside == nil {
		return nil
	}
	return fmt.Errorf("bind %s: libmilter is handed the socket by way of a temporary folder, "+
		"which can be neither in os.TempDir's (%w) nor beside the socket (%w)", addr.text, err, beside)
}

// lendBy is lend with a placeholder in a folder in parent.
func lendBy(fd int, parent, prefix string) error {
	dir, err := os.MkdirTemp(parent, prefix)
	if err != nil {
		return err
	}
	defer os.Remove(dir)
	path := filepath.Join(dir, "s")
	if len(path) > maxUnixPath {
		return &fs.PathError{Op: "bind", Path: path, Err: syscall.ENAMETOOLONG}
	}
	placeholder := address{text: "unix:" + path, network: "unix", path: path}
	if err := smfiSetconn(placeholder.text); err != nil {
		return err
	}
	syscall.ForkLock.RLock() // libmilter's socket is close-on-exec a moment after it was made
	err = smfiOpensocket()
	syscall.ForkLock.RUnlock()
	_ = os.Remove(path)
	if err != nil {
		return placeholder.whyNotOpened()
	}
	to, err := boundTo(path)
	if err == nil {
		err = replaceDescriptor(fd, to)
	}
	if err != nil { // libmilter holds on to a socket that nobody reaches
		stopProcess()
		smfiStop()
	}
	return err
}

// boundTo returns the process's descriptor of the unix socket with this path.
func boundTo(path string) (int, error) {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	for fd := range int(min(uint64(limit.Cur), 1<<30)) {
		name, err := syscall.Getsockname(fd)
		if unix, is := name.(*syscall.SockaddrUnix); err == nil && is && unix.Name == path {
			return fd, nil
		}
	}
	return 0, fmt.Errorf("no descriptor of the socket %s: %w", path, syscall.EBADF)
}

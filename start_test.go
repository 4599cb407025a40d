//go:build cgo

package milter_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// starting guards libmilter in the test's own process: one start at a time, and none after one that should have failed.
var (
	starting sync.Mutex
	started  string // the address of a server that has started
)

// startFails starts a server in the test's own process, which must fail: it leaves libmilter to the next one.
func startFails(t testing.TB, srv *milter.Server) error {
	t.Helper()
	starting.Lock()
	defer starting.Unlock()
	require.Empty(t, started, "libmilter is spent: a server started that should not have")
	result := make(chan error, 1)
	go func() { result <- srv.ListenAndServe() }()
	select {
	case err := <-result:
		require.Error(t, err)
		assert.Equal(t, milter.Stats{}, srv.Stats())
		return err
	case <-time.After(waitLong):
		_ = srv.Close()
		started = srv.Addr
		require.FailNow(t, "the server serves, or does not return", srv.Addr)
		return nil
	}
}

// isAll requires that an error is each of targets, and of no other kind that a program would tell apart.
func isAll(t testing.TB, err error, targets ...error) {
	t.Helper()
	var call *milter.Error
	assert.ErrorAs(t, err, &call)
	for _, target := range targets {
		assert.ErrorIs(t, err, target)
	}
	for _, other := range []error{milter.ErrServerClosed, milter.ErrStage, milter.ErrNotNegotiated, milter.ErrArgument,
		milter.ErrInUse, milter.ErrConnection} {
		if !contains(targets, other) {
			assert.NotErrorIs(t, err, other)
		}
	}
}

func contains(errs []error, err error) bool {
	for _, e := range errs {
		if e == err {
			return true
		}
	}
	return false
}

// listenUnix leaves a socket at path that somebody answers on until the test ends.
func listenUnix(t testing.TB, path string) net.Listener {
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// staleSocket leaves a socket at path that nobody answers on.
func staleSocket(t testing.TB, path string) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	require.NoError(t, err)
	l.SetUnlinkOnClose(false)
	require.NoError(t, l.Close())
}

// freePort gives a port that nobody uses, outside of the range that the kernel gives away by itself.
func freePort(t testing.TB, host string) int {
	t.Helper()
	// A process that is just being started somewhere else has a copy of every socket until it is another program.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	for range 1000 {
		port := 10000 + int(uint32(os.Getpid())*31+ports.Add(1))%20000
		if l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port))); err == nil {
			require.NoError(t, l.Close())
			return port
		}
	}
	require.FailNow(t, "no free port")
	return 0
}

var ports atomic.Uint32

func TestStartUnix(t *testing.T) {
	t.Parallel()
	const leftAlone = "there is a file that is no socket, it is left alone: file already exists"
	const answers = "in use: somebody answers on the socket: address already in use"
	notSocket := []error{fs.ErrExist}
	inUse := []error{milter.ErrInUse, syscall.EADDRINUSE}
	for name, tc := range map[string]struct {
		path    string // in a folder of the test's own, "s" if empty
		prepare func(t *testing.T, path string)
		text    string // with RemoveSocket and without
		is      []error
	}{
		"no such directory": {"none/s", nil, "no such file or directory", []error{fs.ErrNotExist, syscall.ENOENT}},
		"file for a directory": {"f/s", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(filepath.Dir(path), nil, 0o600))
		}, "lstat PATH: not a directory", []error{syscall.ENOTDIR}},
		"regular file": {"", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path, []byte("content"), 0o600))
		}, leftAlone, notSocket},
		"directory": {"", func(t *testing.T, path string) { require.NoError(t, os.Mkdir(path, 0o700)) }, leftAlone, notSocket},
		"pipe":      {"", func(t *testing.T, path string) { require.NoError(t, syscall.Mkfifo(path, 0o600)) }, leftAlone, notSocket},
		"dangling symlink": {"", func(t *testing.T, path string) {
			require.NoError(t, os.Symlink("nowhere", path))
		}, leftAlone, notSocket},
		"symlink to a file": {"", func(t *testing.T, path string) {
			require.NoError(t, os.WriteFile(path+"2", nil, 0o600))
			require.NoError(t, os.Symlink(path+"2", path))
		}, leftAlone, notSocket},
		"symlink to a stale socket": {"", func(t *testing.T, path string) {
			staleSocket(t, path+"2")
			require.NoError(t, os.Symlink(path+"2", path))
		}, leftAlone, notSocket},
		"live socket": {"", func(t *testing.T, path string) { listenUnix(t, path) }, answers, inUse},
		"datagram socket": {"", func(t *testing.T, path string) {
			c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
			require.NoError(t, err)
			t.Cleanup(func() { _ = c.Close() })
		}, "in use: there is a socket, and it cannot be told whether somebody answers on it: dial unix PATH: connect: protocol wrong type for socket",
			[]error{milter.ErrInUse, syscall.EPROTOTYPE}},
		"socket that is too busy to answer": {"", func(t *testing.T, path string) {
			fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
			require.NoError(t, err)
			t.Cleanup(func() { _ = syscall.Close(fd) })
			require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: path}))
			require.NoError(t, syscall.Listen(fd, 0))
			for range 100 { // fills the backlog
				conn, err := net.Dial("unix", path)
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
			require.Fail(t, "the backlog takes all")
		}, "in use: there is a socket, and it cannot be told whether somebody answers on it: dial unix PATH: connect: resource temporarily unavailable",
			[]error{milter.ErrInUse, syscall.EAGAIN}},
	} {
		for _, remove := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/RemoveSocket %v", name, remove), func(t *testing.T) {
				t.Parallel()
				dir := tempDir(t)
				path := filepath.Join(dir, cmp.Or(tc.path, "s"))
				if tc.prepare != nil {
					tc.prepare(t, path)
				}
				before := listing(t, dir)
				err := startFails(t, &milter.Server{Addr: "unix:" + path, RemoveSocket: remove, SocketMode: 0o660})
				assert.EqualError(t, err, "milter: smfi_opensocket: bind unix:"+path+": "+strings.ReplaceAll(tc.text, "PATH", path))
				isAll(t, err, tc.is...)
				assert.Equal(t, before, listing(t, dir))
			})
		}
	}
}

// listing tells what is in a folder: names, inodes, modes, contents.
func listing(t testing.TB, dir string) (list []string) {
	require.NoError(t, filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		require.NoError(t, err)
		info, err := os.Lstat(path)
		require.NoError(t, err)
		content := ""
		if info.IsDir() {
			list = append(list, fmt.Sprint(path, info.Mode()))
			return nil
		}
		if info.Mode().IsRegular() {
			b, err := os.ReadFile(path)
			require.NoError(t, err)
			content = string(b)
		}
		list = append(list, fmt.Sprint(path, info.Sys().(*syscall.Stat_t).Ino, info.Mode(), info.ModTime(), content))
		return nil
	}))
	return list
}

func TestStartLiveFilter(t *testing.T) {
	t.Parallel()
	p := start(t, recording)
	w := p.session()
	w.open()
	link := filepath.Join(tempDir(t), "link")
	require.NoError(t, os.Symlink(strings.TrimPrefix(p.Addr, "unix:"), link))
	for _, addr := range []string{p.Addr, strings.TrimPrefix(p.Addr, "unix:"), "unix:" + link} {
		for _, remove := range []bool{false, true} {
			isAll(t, startFails(t, &milter.Server{Addr: addr, RemoveSocket: remove}), tern(addr == "unix:"+link, fs.ErrExist, milter.ErrInUse))
		}
	}
	w.mail()
	w.Quit()
	w = p.session() // the path still leads to the filter
	w.open()
	w.mail()
	w.Quit()
	p.stop()
}

func tern(cond bool, yes, no error) error {
	if cond {
		return yes
	}
	return no
}

var removing = register("removing", func(e *child) *milter.Server {
	return &milter.Server{Callbacks: recorder(e), RemoveSocket: e.arg == "remove"}
})

func TestStartStaleSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(tempDir(t), "s")
	staleSocket(t, path)
	before := listing(t, filepath.Dir(path))
	err := startFails(t, &milter.Server{Addr: "unix:" + path})
	assert.EqualError(t, err, "milter: smfi_opensocket: bind unix:"+path+
		": a socket was left there by a process that has ended, remove it or set RemoveSocket: address already in use")
	isAll(t, err, syscall.EADDRINUSE)
	assert.Equal(t, before, listing(t, filepath.Dir(path)))

	p := start(t, removing, withAddr("unix:"+path), withArg("remove"))
	w := p.session()
	w.open()
	w.Quit()
	p.stop()
	assert.NoFileExists(t, path)
}

// Nothing to remove is no error.
func TestStartRemoveNothing(t *testing.T) {
	t.Parallel()
	p := start(t, removing, withArg("remove"))
	p.session().Quit()
	p.stop()
}

func TestStartPathLength(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	pathOf := func(n int) string { return dir + "/" + strings.Repeat("x", n-len(dir)-1) }
	for _, n := range []int{107, 108, 109, 5000} {
		err := startFails(t, &milter.Server{Addr: "unix:" + pathOf(n), RemoveSocket: true})
		assert.EqualError(t, err, fmt.Sprintf("milter: smfi_setconn: invalid argument: address %q: the path has %d bytes, over 106: file name too long",
			"unix:"+pathOf(n), n))
		isAll(t, err, milter.ErrArgument, syscall.ENAMETOOLONG)
	}
	p := start(t, recording, withAddr("unix:"+pathOf(106)))
	w := p.session()
	w.open()
	w.Quit()
	p.stop()
	assert.Empty(t, listing(t, dir)[1:])
}

// nobody is the user of that name, on every system that has one.
const nobody = 65534

// asNobody runs the filter without rights. The test's binary can be in a folder that nobody else may enter.
func asNobody(p *process) {
	if os.Geteuid() == 0 {
		p.cmd.Path = "/proc/self/exe"
		p.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
}

// startFailing reports the error that ListenAndServe returns at once.
var startFailing = register("start failing", func(e *child) *milter.Server {
	srv := &milter.Server{Addr: e.addr, Callbacks: recorder(e), RemoveSocket: e.arg == "remove"}
	if e.arg == "timeout" {
		srv.Timeout = 2147483*time.Second + 1
	}
	err := srv.ListenAndServe()
	e.emit(0, "failed", err, errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EACCES), errors.Is(err, milter.ErrInUse))
	return nil
})

func TestStartPermission(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode    fs.FileMode // of the folder
		prepare func(t *testing.T, path string)
		text    string
		inUse   bool
	}{
		"folder closed":      {0o600, nil, "lstat PATH: permission denied", false},
		"folder read-only":   {0o555, nil, "permission denied", false},
		"live socket":        {0o755, func(t *testing.T, path string) { listenUnix(t, path) }, "in use: there is a socket, and it cannot be told whether somebody answers on it: dial unix PATH: connect: permission denied", true},
		"other's old socket": {0o755, staleSocketT, "in use: there is a socket, and it cannot be told whether somebody answers on it: dial unix PATH: connect: permission denied", true},
	} {
		for _, remove := range []string{"", "remove"} {
			t.Run(name+"/"+remove, func(t *testing.T) {
				t.Parallel()
				dir := tempDir(t)
				path := filepath.Join(dir, "s")
				if tc.prepare != nil {
					tc.prepare(t, path)
					require.NoError(t, os.Chmod(path, 0))
				}
				require.NoError(t, os.Chmod(dir, tc.mode))
				before := []string{}
				if os.Geteuid() == 0 {
					before = listing(t, dir)
				}
				p := spawn(t, startFailing, asNobody, withAddr("unix:"+path), withArg(remove))
				p.awaitExit()
				require.True(t, p.cmd.ProcessState.Success(), "%s", p.output)
				text := "milter: smfi_opensocket: bind unix:" + path + ": " + strings.ReplaceAll(tc.text, "PATH", path)
				assert.Equal(t, []string{text, "true", "true", fmt.Sprint(tc.inUse)}, p.awaitName("failed").Args)
				if os.Geteuid() == 0 {
					assert.Equal(t, before, listing(t, dir))
				}
				require.NoError(t, os.Chmod(dir, 0o777)) // so that it can be removed
			})
		}
	}
}

// A part of a second counts as one, which must not take the longest Timeout beyond what libmilter can count.
func TestStartTimeoutRounded(t *testing.T) {
	t.Parallel()
	p := spawn(t, startFailing, withArg("timeout"))
	assert.Equal(t, "milter: smfi_register: invalid argument: Timeout 596h31m23.000000001s", p.awaitName("failed").Args[0])
	p.awaitExit()
}

func staleSocketT(t *testing.T, path string) { staleSocket(t, path) }

func TestStartTCP(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	taken6, err := net.Listen("tcp6", "[::1]:0")
	require.NoError(t, err)
	defer taken6.Close()
	port := func(l net.Listener) int { return l.Addr().(*net.TCPAddr).Port }
	inUse := []error{milter.ErrInUse, syscall.EADDRINUSE}
	for name, tc := range map[string]struct {
		addr, text string
		is         []error
	}{
		"port in use":             {fmt.Sprintf("inet:%d@127.0.0.1", port(taken)), "in use: address already in use", inUse},
		"port in use, by name":    {fmt.Sprintf("inet:%d@localhost", port(taken)), "in use: address already in use", inUse},
		"port in use, bracketed":  {fmt.Sprintf("inet:%d@[127.0.0.1]", port(taken)), "in use: address already in use", inUse},
		"port in use, on any":     {fmt.Sprintf("inet:%d", port(taken)), "in use: address already in use", inUse},
		"port in use, IPv6":       {fmt.Sprintf("inet6:%d@[::1]", port(taken6)), "in use: address already in use", inUse},
		"port in use, IPv6 plain": {fmt.Sprintf("inet6:%d@::1", port(taken6)), "in use: address already in use", inUse},
		"another's address":       {"inet:8890@192.0.2.1", "cannot assign requested address", []error{syscall.EADDRNOTAVAIL}},
		"another's address, IPv6": {"inet6:8890@[2001:db8::1]", "cannot assign requested address", []error{syscall.EADDRNOTAVAIL}},
	} {
		t.Run(name, func(t *testing.T) { // not parallel: the listeners are closed at the end
			err := startFails(t, &milter.Server{Addr: tc.addr, RemoveSocket: true})
			assert.EqualError(t, err, "milter: smfi_opensocket: bind "+tc.addr+": "+tc.text)
			isAll(t, err, tc.is...)
		})
	}
}

func TestStartUnknownHost(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"inet", "inet6"} {
		addr := kind + ":8890@nohost.invalid"
		err := startFails(t, &milter.Server{Addr: addr}) // in bounded time
		isAll(t, err)
		var lookup *net.DNSError
		require.ErrorAs(t, err, &lookup)
		assert.Equal(t, "nohost.invalid", lookup.Name)
		assert.True(t, strings.HasPrefix(err.Error(), "milter: smfi_opensocket: bind "+addr+": "), "%v", err)
		assert.Contains(t, err.Error(), "lookup nohost.invalid")
	}
}

func TestStartMalformed(t *testing.T) {
	t.Parallel()
	noPort := func(port string) string {
		return fmt.Sprintf("%q is not a port of 1 to 65535, nor a service's name; write ", port)
	}
	for addr, text := range map[string]string{
		"":                                    "no address; write unix:/path, inet:port@host, inet6:port@host or fd:N",
		"unix:":                               "has no path",
		"local:":                              "has no path",
		":":                                   "has no path",
		"inet:":                               noPort(""),
		"inet:@127.0.0.1":                     noPort(""),
		"inet:0@127.0.0.1":                    noPort("0"),
		"inet:70000@127.0.0.1":                noPort("70000"),
		"inet:65536":                          noPort("65536"),
		"inet:-1@127.0.0.1":                   noPort("-1"),
		"inet:+25@127.0.0.1":                  noPort("+25"),
		"inet:25x@127.0.0.1":                  noPort("25x"),
		"inet: 8890@127.0.0.1":                noPort(" 8890"),
		"inet:8890 @127.0.0.1":                noPort("8890 "),
		"inet:nosuchservice@::1":              noPort("nosuchservice"),
		"inet:3com-tsmux@127.0.0.1":           noPort("3com-tsmux"), // libmilter would take port 3
		"inet:99999999999999999999@127.0.0.1": noPort("99999999999999999999"),
		"inet:127.0.0.1:8890":                 noPort("127.0.0.1:8890") + "inet:8890@127.0.0.1",
		"inet6:[::1]:8890":                    noPort("[::1]:8890") + "inet6:8890@[::1]",
		"inet:8890@":                          "has an @ and no host behind it",
		"inet6:8890@":                         "has an @ and no host behind it",
		"inet:8890@[]":                        "has an @ and no host behind it",
		"inet:8890@::1":                       `"::1" is not an address of its family; write inet6:8890@[::1]`,
		"inet:8890@[::1]":                     `"::1" is not an address of its family`,
		"inet6:8890@127.0.0.1":                `"127.0.0.1" is not an address of its family`,
		"inet6:8890@[127.0.0.1]":              `"127.0.0.1" is not an address of its family`,
		"inet:8890@[localhost]":               `"localhost" is not an address of its family`,
		"inet:8890@[127.0.0.1]x":              `"[127.0.0.1]x" is not an address of its family`,
		"inet:8890@[127.0.0.1":                `"[127.0.0.1" is not an address of its family`,
		":8890":                               "looks like a host or a port, not like a path; write inet:8890, or unix:./8890 for a unix socket",
		"8890":                                "; write inet:8890, or unix:./8890 for",
		"unix:8890":                           "; write inet:8890, or unix:./8890 for",
		"local:localhost:8890":                "; write inet:8890@localhost, or unix:./localhost:8890 for",
		"8890@127.0.0.1":                      "; write inet:8890@127.0.0.1, or unix:./8890@127.0.0.1 for",
		"127.0.0.1":                           "; write inet:port@127.0.0.1, or unix:./127.0.0.1 for",
		"localhost":                           "; write inet:port@localhost, or unix:./localhost for",
		"localhost:8890":                      `"localhost" is none of unix, local, inet, inet6, fd; write inet:8890@localhost`,
		"127.0.0.1:8890":                      "; write inet:8890@127.0.0.1",
		"[::1]:8890":                          "; write inet6:8890@[::1]",
		"tcp:8890":                            `"tcp" is none of unix, local, inet, inet6, fd; write inet:8890`,
		"tcp://127.0.0.1:8890":                "; write inet:8890@127.0.0.1",
		"unixx:/run/s":                        `"unixx" is none of unix, local, inet, inet6, fd; write unix:path or inet:port@host`,
		"/run/a:b":                            `"/run/a" is none of unix, local, inet, inet6, fd`,
		"unix:/run/\x00s":                     `address has '\x00' at byte 10`,
		"inet:8890\x00@127.0.0.1":             `address has '\x00' at byte 9`,
		"unix:/run/s\n":                       `address has '\n' at byte 11`,
		"fd:":                                 `"" is not a file descriptor`,
		"fd:-1":                               `"-1" is not a file descriptor`,
		"fd:x":                                `"x" is not a file descriptor`,
		"fd:3x":                               `"3x" is not a file descriptor`,
		"fd:+3":                               `"+3" is not a file descriptor`,
		"fd: 3":                               `" 3" is not a file descriptor`,
		"fd:99999999999":                      `"99999999999" is not a file descriptor`,
	} {
		t.Run(fmt.Sprintf("%q", addr), func(t *testing.T) {
			t.Parallel()
			err := startFails(t, &milter.Server{Addr: addr})
			isAll(t, err, milter.ErrArgument)
			assert.Contains(t, err.Error(), "milter: smfi_setconn: invalid argument: ")
			assert.Contains(t, err.Error(), text)
			assert.NotContains(t, err.Error(), "\x00")
			assert.NotContains(t, err.Error(), "\n")
		})
	}
}

// withoutFD tells that this libmilter has no fd: addresses, which Debian has added to upstream's.
func withoutFD() bool { return os.Getenv("MILTER_TEST_MODEL") == "threads" }

// A file descriptor that is none to listen on is told apart, with fd: in libmilter or without.
func TestStartBadFD(t *testing.T) {
	t.Parallel()
	file, err := os.Create(filepath.Join(tempDir(t), "f"))
	require.NoError(t, err)
	defer file.Close()
	datagram, err := net.ListenPacket("udp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer datagram.Close()
	datagramFile, err := datagram.(*net.UDPConn).File()
	require.NoError(t, err)
	defer datagramFile.Close()
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer syscall.Close(pair[0])
	defer syscall.Close(pair[1])
	for name, tc := range map[string]struct {
		fd   int
		text string
		is   []error
	}{
		"no file":          {1 << 20, "bad file descriptor", []error{syscall.EBADF}},
		"regular file":     {int(file.Fd()), "socket operation on non-socket", []error{syscall.ENOTSOCK}},
		"datagram socket":  {int(datagramFile.Fd()), "socket of type 2: socket type not supported", []error{syscall.ESOCKTNOSUPPORT}},
		"connected socket": {pair[0], "transport endpoint is already connected", []error{syscall.EISCONN}},
	} {
		t.Run(name, func(t *testing.T) {
			addr := fmt.Sprintf("fd:%d", tc.fd)
			err := startFails(t, &milter.Server{Addr: addr})
			prefix := fmt.Sprintf("milter: smfi_opensocket: invalid argument: address %q is no listening socket: ", addr)
			assert.Contains(t, err.Error(), prefix+tc.text)
			isAll(t, err, append(tc.is, milter.ErrArgument)...)
			assert.NotErrorIs(t, err, errors.ErrUnsupported)
		})
	}
	_, err = file.Stat()
	assert.NoError(t, err, "the file is still open")
	_, err = syscall.Getpeername(pair[0])
	assert.NoError(t, err, "the socket is still open")
}

// withListener has the filter inherit a listening socket, as file descriptor 4.
func withListener(t testing.TB, l net.Listener) option {
	file, err := l.(interface{ File() (*os.File, error) }).File()
	require.NoError(t, err)
	t.Cleanup(func() { _ = file.Close() })
	return func(p *process) {
		p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, file)
		p.Addr = "fd:4"
	}
}

// startFD starts a filter on an inherited socket of the kind of addr, which only the filter has when this returns.
func startFD(t testing.TB, name, addr string, options ...option) *process {
	network, target := dialAddr(t, addr)
	l, err := net.Listen(network, target)
	require.NoError(t, err)
	if u, ok := l.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	inherit := withListener(t, l)
	require.NoError(t, l.Close())
	p := spawn(t, name, append(options, inherit)...)
	_ = p.cmd.ExtraFiles[len(p.cmd.ExtraFiles)-1].Close() // as long as it is open here, connections do not end with the filter
	p.Addr = addr
	return p
}

func TestStartInheritedSocket(t *testing.T) {
	t.Parallel()
	for name, addr := range map[string]string{
		"unix": "unix:" + filepath.Join(tempDir(t), "s"),
		"inet": fmt.Sprintf("inet:%d@127.0.0.1", freePort(t, "127.0.0.1")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if withoutFD() {
				p := startFD(t, startFailing, addr)
				p.awaitExit()
				assert.Equal(t, `milter: smfi_opensocket: invalid argument: address "fd:4": this libmilter has no fd: addresses (Debian's and Ubuntu's has): unsupported operation`,
					p.awaitName("failed").Args[0])
				return
			}
			p := startFD(t, recording, addr)
			w := p.session()
			w.open()
			w.mail()
			w.Quit()
			p.stop()
			if path, unix := strings.CutPrefix(addr, "unix:"); unix {
				assert.FileExists(t, path, "the socket's path is its owner's")
			}
		})
	}
}

func TestStartWithoutFD(t *testing.T) {
	t.Parallel()
	if !withoutFD() {
		return // TestStartInheritedSocket has it work
	}
	l := listenUnix(t, filepath.Join(tempDir(t), "s"))
	file, err := l.(*net.UnixListener).File()
	require.NoError(t, err)
	defer file.Close()
	isAll(t, startFails(t, &milter.Server{Addr: fmt.Sprintf("fd:%d", file.Fd())}), milter.ErrArgument, errors.ErrUnsupported)
}

// errorIs reports an error, and which of the package's it is.
func (e *child) errorIs(name string, err error) {
	is := []string{}
	for text, target := range map[string]error{"closed": milter.ErrServerClosed, "in use": milter.ErrInUse} {
		if errors.Is(err, target) {
			is = append(is, text)
		}
	}
	if len(is) == 2 {
		is = []string{"closed and in use"}
	}
	e.emit(0, name, err, strings.Join(is, ""))
}

var second = register("second", func(e *child) *milter.Server {
	srv := &milter.Server{Callbacks: recorder(e)}
	srv.Callbacks.Helo = func(*milter.Session, string) milter.Status {
		other := &milter.Server{Addr: e.addr + "2", Callbacks: recorder(e)}
		e.errorIs("other", other.ListenAndServe())
		e.errorIs("other on the same address", (&milter.Server{Addr: e.addr, RemoveSocket: true}).ListenAndServe())
		e.errorIs("function", milter.ListenAndServe(e.addr+"3", 0, milter.Callbacks{}))
		e.errorIs("same", srv.ListenAndServe())
		e.emit(0, "others stopped", other.Shutdown(context.Background()), other.Close())
		return milter.SMFIS_CONTINUE
	}
	return srv
})

func TestStartSecondServer(t *testing.T) {
	t.Parallel()
	const text = "milter: smfi_register: in use: libmilter has one server for each process, and another one runs in this"
	p := start(t, second)
	w := p.session()
	w.open()
	for _, name := range []string{"other", "other on the same address", "function", "same"} {
		assert.Equal(t, []string{text, "in use"}, p.awaitName(name).Args, name)
	}
	assert.Equal(t, []string{"<nil>", "<nil>"}, p.awaitName("others stopped").Args)
	w.mail()
	w.Quit()
	w = p.session()
	w.upTo("Connect")
	w.Quit()
	dir := filepath.Dir(strings.TrimPrefix(p.Addr, "unix:"))
	assert.Len(t, listing(t, dir), 2, "the folder and the one socket")
	p.stop()
	assert.Len(t, listing(t, dir), 1)
}

var again = register("again", func(e *child) *milter.Server {
	for _, addr := range []string{e.addr + "/none/s", "inet:70000", "fd:1048576"} {
		e.errorIs("failed before", (&milter.Server{Addr: addr, SocketMode: 0o600, Debug: 6, MaxDataSize: 10, Timeout: time.Second}).ListenAndServe())
	}
	srv := &milter.Server{Addr: e.addr, Callbacks: recorder(e)}
	_ = (&milter.Server{Addr: "inet:70000"}).ListenAndServe()
	srv.Callbacks.Close = func(*milter.Session) { go srv.Shutdown(context.Background()) }
	e.errorIs("first", srv.ListenAndServe())
	e.errorIs("same", srv.ListenAndServe())
	e.errorIs("other", (&milter.Server{Addr: e.addr + "2"}).ListenAndServe())
	e.errorIs("wrong", (&milter.Server{Addr: "inet:70000"}).ListenAndServe())
	e.errorIs("function", milter.ListenAndServe(e.addr, 0, milter.Callbacks{}))
	e.emit(0, "stop again", srv.Shutdown(context.Background()), srv.Close())
	e.emit(0, "leftovers", leftovers())
	return nil
})

// A failed start leaves libmilter to the next server; after a stop there is none.
func TestStartAgain(t *testing.T) {
	t.Parallel()
	const text = "milter: smfi_main: in use: libmilter was stopped and cannot run again in this process, start a new one"
	p := start(t, again)
	w := p.session()
	w.open()
	w.mail()
	w.Quit()
	p.awaitExit()
	require.True(t, p.cmd.ProcessState.Success(), "%v\n%s", p.events(), p.output)
	assert.Empty(t, p.output.String(), "a setting of a server that did not start")
	failed := p.named("failed before")
	require.Len(t, failed, 3)
	for _, e := range failed {
		assert.Empty(t, e.Args[1])
	}
	assert.Equal(t, []string{"milter: server closed", "closed"}, p.awaitName("first").Args)
	assert.Equal(t, []string{text + ": milter: server closed", "closed and in use"}, p.awaitName("same").Args)
	for _, name := range []string{"other", "wrong", "function"} { // a program must not take these for a clean end
		assert.Equal(t, []string{text, "in use"}, p.awaitName(name).Args, name)
	}
	assert.Equal(t, []string{"<nil>", "<nil>"}, p.awaitName("stop again").Args)
	assert.Equal(t, []string{"<nil>"}, p.awaitName("leftovers").Args)
	assert.Len(t, listing(t, filepath.Dir(strings.TrimPrefix(p.Addr, "unix:"))), 1)
}

func TestStartAfterShutdown(t *testing.T) {
	t.Parallel()
	for name, stop := range map[string]func(srv *milter.Server) error{
		"Shutdown": func(srv *milter.Server) error { return srv.Shutdown(context.Background()) },
		"Shutdown with a context that has ended": func(srv *milter.Server) error {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return srv.Shutdown(ctx)
		},
		"Close": (*milter.Server).Close,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tempDir(t), "s")
			srv := &milter.Server{Addr: "unix:" + path}
			require.NoError(t, stop(srv))
			require.NoError(t, stop(srv))
			assert.Equal(t, milter.ErrServerClosed, startFails(t, srv))
			assert.NoFileExists(t, path)
			// libmilter itself was not touched: another server gets as far as its own fault.
			isAll(t, startFails(t, &milter.Server{Addr: "inet:70000"}), milter.ErrArgument)
		})
	}
}

func TestStartWrongFields(t *testing.T) {
	t.Parallel()
	tooLarge := math.MaxInt32 // and one more, where int has room for it
	if strconv.IntSize > 32 {
		tooLarge++
	}
	setsymlist := func(stage milter.Stage, macros ...string) *milter.Server {
		return &milter.Server{Macros: map[milter.Stage][]string{stage: macros}}
	}
	for name, tc := range map[string]struct {
		srv  *milter.Server
		op   string
		text string
	}{
		"Name with NUL":         {&milter.Server{Name: "a\x00b"}, "smfi_register", `Name "a\x00b"`},
		"Name with LF":          {&milter.Server{Name: "a\nb"}, "smfi_register", `Name "a\nb"`},
		"Timeout negative":      {&milter.Server{Timeout: -1}, "smfi_register", "Timeout -1ns"},
		"Timeout too long":      {&milter.Server{Timeout: math.MaxInt64}, "smfi_register", "Timeout 2562047h47m16.854775807s"},
		"Timeout just too long": {&milter.Server{Timeout: 2147484 * time.Second}, "smfi_register", "Timeout 596h31m24s"},
		"Backlog negative":      {&milter.Server{Backlog: -1}, "smfi_register", "Backlog -1"},
		"Backlog too large":     {&milter.Server{Backlog: tooLarge}, "smfi_register", "Backlog 2147483648"},
		"MaxDataSize negative":  {&milter.Server{MaxDataSize: -1}, "smfi_register", "MaxDataSize -1"},
		"MaxDataSize too large": {&milter.Server{MaxDataSize: tooLarge}, "smfi_register", "MaxDataSize 2147483648"},
		"Debug negative":        {&milter.Server{Debug: -1}, "smfi_register", "Debug -1 is not 0 to 6"},
		"Debug too high":        {&milter.Server{Debug: 7}, "smfi_register", "Debug 7 is not 0 to 6"},
		"SocketMode not of permissions": {&milter.Server{SocketMode: fs.ModeSetuid | 0o660}, "smfi_register",
			"SocketMode urw-rw---- has more than permissions"},
		"TempDir with NUL":           {&milter.Server{TempDir: "a\x00b"}, "smfi_register", `TempDir "a\x00b"`},
		"Macros of a negative stage": {setsymlist(-1, "i"), "smfi_setsymlist", "there is no Stage(-1)"},
		"Macros of no stage":         {setsymlist(7, "i"), "smfi_setsymlist", "there is no Stage(7)"},
		"Macros without name":        {setsymlist(milter.SMFIM_EOM, "i", ""), "smfi_setsymlist", `macro name ""`},
		"Macros with blank":          {setsymlist(milter.SMFIM_EOM, "a b"), "smfi_setsymlist", `macro name "a b"`},
		"Macros with NUL":            {setsymlist(milter.SMFIM_EOM, "a\x00"), "smfi_setsymlist", `macro name "a\x00"`},
		"Macros with LF":             {setsymlist(milter.SMFIM_EOM, "a\n"), "smfi_setsymlist", `macro name "a\n"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tempDir(t), "s")
			tc.srv.Addr = "unix:" + path
			err := startFails(t, tc.srv)
			isAll(t, err, milter.ErrArgument)
			assert.True(t, strings.HasPrefix(err.Error(), "milter: "+tc.op+": invalid argument: "), "%v", err)
			assert.Contains(t, err.Error(), tc.text)
			assert.NoFileExists(t, path)
		})
	}
}

func toMessage(*milter.Session, *milter.Message, *milter.Modifier) milter.Status {
	return milter.SMFIS_CONTINUE
}

const keptThere = ": bodies over 256 KiB are kept there, name another folder or set MaxBody to less"

// A folder that cannot take bodies is found out at the start, not at the first long one.
func TestStartTempDir(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		prepare func(t *testing.T, path string)
		text    string
		is      error
	}{
		"none":     {func(*testing.T, string) {}, "no such file or directory", fs.ErrNotExist},
		"file":     {func(t *testing.T, path string) { require.NoError(t, os.WriteFile(path, nil, 0o600)) }, "not a directory", syscall.ENOTDIR},
		"no files": {func(t *testing.T, path string) { require.NoError(t, os.Symlink("/proc/self/fd", path)) }, "no such file or directory", fs.ErrNotExist},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			path := filepath.Join(dir, "bodies")
			tc.prepare(t, path)
			before := listing(t, dir)
			srv := &milter.Server{Addr: "unix:" + dir + "/s", TempDir: path, Callbacks: milter.Callbacks{Message: toMessage}}
			err := startFails(t, srv)
			assert.EqualError(t, err, fmt.Sprintf("milter: smfi_register: TempDir %q cannot take a file: %s", path, tc.text)+keptThere)
			isAll(t, err, tc.is)
			assert.Equal(t, before, listing(t, dir))
		})
	}
}

// No file is made where no body comes to one.
func TestStartTempDirNotUsed(t *testing.T) {
	t.Parallel()
	for name, srv := range map[string]*milter.Server{
		"no Message": {Callbacks: milter.Callbacks{EOM: func(*milter.Session, *milter.Modifier) milter.Status { return milter.SMFIS_CONTINUE }}},
		"NoBody":     {Callbacks: milter.Callbacks{Message: toMessage}, MaxBody: milter.NoBody},
		"in memory":  {Callbacks: milter.Callbacks{Message: toMessage}, MaxBody: 256 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv.Addr, srv.TempDir = "inet:70000", "/nowhere"
			isAll(t, startFails(t, srv), milter.ErrArgument) // the address
			srv.MaxBody = max(srv.MaxBody, 256<<10+1)
			if srv.Callbacks.Message != nil {
				isAll(t, startFails(t, srv), fs.ErrNotExist)
			}
		})
	}
}

// unwritable makes files, as far as it may, and cannot write to them.
var unwritable = register("unwritable", func(e *child) *milter.Server {
	if e.arg != "" {
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
			panic(err)
		}
	}
	err := (&milter.Server{Addr: e.addr, Callbacks: milter.Callbacks{Message: toMessage}}).ListenAndServe()
	e.emit(0, "failed", err, errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EFBIG))
	return nil
})

// The folder is the system's unless the server has another, and a byte must find room there.
func TestStartTempDirUnwritable(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		mode fs.FileMode
		arg  string
		want []string
	}{
		"read-only": {0o555, "", []string{"permission denied", "true", "false"}},
		"no room":   {0o777, "no room", []string{"file too large", "false", "true"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			require.NoError(t, os.Chmod(dir, tc.mode))
			p := spawn(t, unwritable, asNobody, withArg(tc.arg), func(p *process) { p.cmd.Env = append(p.cmd.Environ(), "TMPDIR="+dir) })
			p.exits()
			tc.want[0] = fmt.Sprintf("milter: smfi_register: TempDir %q cannot take a file: %s", dir, tc.want[0]) + keptThere
			assert.Equal(t, tc.want, p.awaitName("failed").Args)
		})
	}
}

// What has no look of a host or a port is a path, and so is all with a slash.
func TestStartRelativePath(t *testing.T) {
	t.Parallel()
	for _, addr := range []string{"filter.sock", "unix:filter.sock", ":filter.sock", "example.com", "./8890", "unix:./localhost:8890"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			p := spawn(t, recording, withAddr(addr), func(p *process) { p.cmd.Dir = dir })
			p.Addr = "unix:" + filepath.Join(dir, addr[strings.Index(addr, ":")+1:])
			p.dialled().Quit()
			p.stop()
			assert.Empty(t, listing(t, dir)[1:])
		})
	}
}

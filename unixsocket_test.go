//go:build cgo && linux

package milter_test

import (
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// creating creates files while servers bind, and reports the permissions of those that the umask is
// not to blame for.
var creating = register("creating", func(e *child) *milter.Server {
	syscall.Umask(0)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 300 {
			srv := &milter.Server{Addr: e.addr + "/none/s", SocketMode: 0o600}
			_ = srv.ListenAndServe()
		}
	}()
	wrong := fs.FileMode(0)
	for n := 0; ; n++ {
		path := fmt.Sprint(e.arg, "/", n)
		fd, err := syscall.Open(path, syscall.O_CREAT|syscall.O_EXCL|syscall.O_CLOEXEC, 0o666)
		if err != nil {
			panic(err)
		}
		var stat syscall.Stat_t
		_ = syscall.Fstat(fd, &stat)
		_, _ = syscall.Close(fd), syscall.Unlink(path)
		if mode := fs.FileMode(stat.Mode).Perm(); mode != 0o666 {
			wrong = mode
		}
		select {
		case <-done:
			e.emit(0, "wrong", wrong)
			return nil
		default:
		}
	}
})

// While a socket is bound with its mode, nobody else's files have another one.
func TestSocketModeIsTheSocketsAlone(t *testing.T) {
	t.Parallel()
	p := spawn(t, creating, withArg(tempDir(t)))
	p.exits()
	assert.Equal(t, []string{"----------"}, p.awaitName("wrong").Args)
}

// Whoever may write to the folder, and puts a link in the socket's place, has nobody change the
// mode of another file.
func TestSocketModeFollowsNoLink(t *testing.T) {
	t.Parallel()
	for range 30 {
		victim := filepath.Join(tempDir(t), "victim")
		require.NoError(t, os.WriteFile(victim, nil, 0o600))
		p := spawn(t, fielded, withFields(t, fields{SocketMode: 0o666, Umask: -1}))
		path := strings.TrimPrefix(p.Addr, "unix:")
		require.NoError(t, os.Symlink(victim, path+"2"))
		for syscall.Access(path, 0) != nil {
			select {
			case <-p.gone:
				require.Fail(t, "there was no socket")
			default:
			}
		}
		require.NoError(t, syscall.Rename(path+"2", path))
		p.tell()
		p.awaitExit() // it may have seen the link, which is an error
		info, err := os.Stat(victim)
		require.NoError(t, err)
		require.Equal(t, fs.FileMode(0o600), info.Mode())
		link, err := os.Readlink(path)
		require.NoError(t, err, "the link is another's")
		require.Equal(t, victim, link)
	}
}

// Where the folder's default ACL allows less than SocketMode, the server says so instead of
// listening in vain.
func TestSocketModeAgainstACL(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	acl := []byte{2, 0, 0, 0}                                    // the version
	for _, entry := range [][2]byte{{1, 7}, {4, 5}, {0x20, 5}} { // owner, group, others
		acl = append(acl, entry[0], 0, entry[1], 0, 0xff, 0xff, 0xff, 0xff)
	}
	err := syscall.Setxattr(dir, "system.posix_acl_default", acl, 0)
	if err == syscall.EOPNOTSUPP {
		t.Skip("the file system has no ACLs")
	}
	require.NoError(t, err)
	srv := &milter.Server{Addr: "unix:" + dir + "/s", SocketMode: 0o660}
	assert.EqualError(t, startFails(t, srv), "milter: smfi_opensocket: bind "+srv.Addr+
		": the permissions are -rw-r-----, not SocketMode's -rw-rw----: has the folder a default ACL?")
	assert.Len(t, listing(t, dir), 1)
}

const inUseText = ": in use: somebody answers on the socket: address already in use"

// released starts when the pipe that it inherits is closed, and reports an error.
var released = register("released", func(e *child) *milter.Server {
	srv := &milter.Server{Addr: e.addr, Callbacks: recorder(e), RemoveSocket: true}
	barrier := os.NewFile(4, "barrier")
	e.emit(0, "ready")
	_, _ = barrier.Read(make([]byte, 1))
	e.errorIs("failed", srv.ListenAndServe())
	return nil
})

// Of filters that start at once on an old socket one serves, and the others say that they do not.
func TestStartTogether(t *testing.T) {
	t.Parallel()
	const filters = 4
	for range 20 {
		barrier, release, err := os.Pipe()
		require.NoError(t, err)
		path := filepath.Join(tempDir(t), "s")
		staleSocket(t, path)
		var all []*process
		for range filters {
			all = append(all, spawn(t, released, withAddr("unix:"+path), func(p *process) {
				p.cmd.ExtraFiles = append(p.cmd.ExtraFiles, barrier)
			}))
		}
		for _, p := range all {
			p.awaitName("ready")
		}
		require.NoError(t, barrier.Close())
		require.NoError(t, release.Close())

		failed := make(chan *process, filters)
		for _, p := range all {
			go func() {
				<-p.gone
				failed <- p
			}()
		}
		for range filters - 1 {
			select {
			case p := <-failed:
				assert.Equal(t, []string{"milter: smfi_opensocket: bind unix:" + path + inUseText, "in use"},
					p.awaitName("failed").Args)
			case <-time.After(waitLong):
				require.Fail(t, "more than one filter serves")
			}
		}
		for _, p := range all {
			select {
			case <-p.gone:
			default:
				w := p.dialled() // the one that is left
				w.open()
				w.Quit()
				p.kill()
			}
		}
	}
}

// A folder that cannot be locked keeps no filter from starting, nor from removing its socket.
func TestStartUnlockable(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"locked": func(t *testing.T, dir string) {
			folder, err := os.Open(dir)
			require.NoError(t, err)
			t.Cleanup(func() { _ = folder.Close() })
			require.NoError(t, syscall.Flock(int(folder.Fd()), syscall.LOCK_EX))
		},
		"not readable": func(t *testing.T, dir string) { require.NoError(t, os.Chmod(dir, 0o333)) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := tempDir(t)
			spoil(t, dir)
			p := start(t, removing, asNobody, withAddr("unix:"+dir+"/s"), withArg("remove"))
			w := p.session()
			w.open()
			w.Quit()
			p.stop()
			assert.NoFileExists(t, dir+"/s")
		})
	}
}

// watch gives what happens in a folder until the test asks: the names, and what was done to them.
func watch(t testing.TB, dir string) (happened func() []string) {
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC | syscall.IN_NONBLOCK)
	require.NoError(t, err)
	file := os.NewFile(uintptr(fd), "inotify")
	t.Cleanup(func() { _ = file.Close() })
	_, err = syscall.InotifyAddWatch(fd, dir, syscall.IN_CREATE|syscall.IN_DELETE|syscall.IN_MOVE|syscall.IN_ATTRIB)
	require.NoError(t, err)
	return func() (names []string) {
		buf := make([]byte, 1<<16)
		n, err := syscall.Read(fd, buf)
		if err == syscall.EAGAIN {
			return nil
		}
		require.NoError(t, err)
		const head = syscall.SizeofInotifyEvent
		for buf = buf[:n]; len(buf) > 0; {
			length := head + int(buf[12]) + int(buf[13])<<8
			names = append(names, fmt.Sprintf("%x %s", buf[4:8], strings.TrimRight(string(buf[head:length]), "\x00")))
			buf = buf[length:]
		}
		return names
	}
}

// A filter whose path another one has taken, and the file beside it, stops without touching the
// folder.
func TestStopTouchesNothing(t *testing.T) {
	t.Parallel()
	for user, options := range map[string][]option{"same user": nil, "nobody": {asNobody}} {
		t.Run(user, func(t *testing.T) {
			t.Parallel()
			p := start(t, recording, options...)
			path := strings.TrimPrefix(p.Addr, "unix:")
			require.NoError(t, os.Remove(path))
			next := spawn(t, recording, append(options, withAddr(p.Addr))...)
			next.dialled().Quit()
			beside := fmt.Sprintf("%s.%d", path, p.cmd.Process.Pid)
			require.NoError(t, os.WriteFile(beside, []byte("x"), 0o600))
			before := listing(t, filepath.Dir(path))
			happened := watch(t, filepath.Dir(path))
			p.stop()
			assert.Empty(t, happened())
			assert.Equal(t, before, listing(t, filepath.Dir(path)))
			next.session().Quit()
			next.stop()
			assert.Equal(t, []string{fmt.Sprintf("%x s", []byte{0, 2, 0, 0})}, happened(), "its own socket is deleted")
		})
	}
}

// A name that begins with an @ is a file's, as libmilter has it, not one in the abstract namespace.
func TestStartUnixAt(t *testing.T) {
	t.Parallel()
	dir := tempDir(t)
	inDir := func(p *process) { p.cmd.Dir = dir; p.Addr = "unix:@s" }
	p := spawn(t, removing, inDir, withArg("remove"))
	path := filepath.Join(dir, "@s")
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	}, waitLong, time.Millisecond)
	before := listing(t, dir)
	for _, arg := range []string{"remove", ""} {
		second := spawn(t, startFailing, inDir, withArg(arg))
		second.awaitExit()
		assert.Equal(t, []string{"milter: smfi_opensocket: bind unix:@s" + inUseText, "false", "false", "true"},
			second.awaitName("failed").Args)
	}
	assert.Equal(t, before, listing(t, dir))
	p.stop()
	assert.NoFileExists(t, path)
}

// libmilter gets the socket also where the system's folder for temporary files is of no use.
func TestStartUnixWithoutTemp(t *testing.T) {
	t.Parallel()
	withTemp := func(dir string) option {
		return func(p *process) { p.cmd.Env = append(p.cmd.Environ(), "TMPDIR="+dir) }
	}
	for name, dir := range map[string]string{
		"none": "/nowhere", "no files": "/proc/self", "long": "/tmp/" + strings.Repeat("x", 100),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, recording, withTemp(dir))
			w := p.session()
			w.open()
			w.Quit()
			p.stop()
			assert.Len(t, listing(t, filepath.Dir(strings.TrimPrefix(p.Addr, "unix:"))), 1)
		})
	}
	t.Run("no other", func(t *testing.T) {
		t.Parallel()
		dir := tempDir(t)
		path := dir + "/" + strings.Repeat("x", 100-len(dir)-2)
		require.NoError(t, os.Mkdir(path, 0o777))
		p := spawn(t, startFailing, withTemp("/nowhere"), withAddr("unix:"+path+"/s"))
		p.exits()
		assert.Regexp(t, "^milter: smfi_opensocket: bind "+p.Addr+
			": libmilter is handed the socket by way of a temporary folder, which can be neither in os.TempDir's \\(stat /nowhere: no such file or directory\\) "+
			"nor beside the socket \\(bind "+path+"/.milter-[0-9]+/s: file name too long\\)$", p.awaitName("failed").Args[0])
		assert.Len(t, listing(t, path), 1)
	})
}

// inheriting starts a program in a callback, which reports the sockets that it has inherited.
var inheriting = register("inheriting", func(e *child) *milter.Server {
	cb := recorder(e)
	cb.Helo = func(s *milter.Session, _ string) milter.Status {
		read, write, _ := os.Pipe()
		null, _ := os.Open(os.DevNull)
		p, err := os.StartProcess("/bin/ls", []string{"ls", "-l", "/proc/self/fd"},
			&os.ProcAttr{Files: []*os.File{null, write, null}})
		_ = write.Close()
		listed, _ := io.ReadAll(read)
		e.emit(s.ID(), "inherited", strings.Contains(string(listed), "socket:"), string(listed), err)
		_, _ = p.Wait()
		return milter.SMFIS_CONTINUE
	}
	return &milter.Server{Callbacks: cb}
})

func TestUnixSocketIsNotInherited(t *testing.T) {
	t.Parallel()
	p := start(t, inheriting)
	w := p.session()
	w.open()
	w.Quit()
	inherited := p.awaitName("inherited").Args
	assert.Equal(t, "false", inherited[0], inherited[1])
	assert.Contains(t, inherited[1], "pipe:")
	p.stop()
}

//go:build cgo

package milter_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// fields are those of milter.Server that can be said in a filter's argument.
type fields struct {
	Name         string
	Actions      milter.Action
	Macros       map[milter.Stage][]string
	Timeout      time.Duration
	Backlog      int
	MaxDataSize  int
	Debug        int
	RemoveSocket bool
	SocketMode   fs.FileMode
	Umask        int // the process's, -1 leaves it
}

func withFields(t testing.TB, f fields) option {
	arg, err := json.Marshal(f)
	require.NoError(t, err)
	return withArg(string(arg))
}

// fielded records with the fields that its argument says. Only at connect does it report the umask.
var fielded = register("fielded", func(e *child) *milter.Server {
	f := fields{}
	if err := json.Unmarshal([]byte(e.arg), &f); err != nil {
		panic(err)
	}
	if f.Umask >= 0 {
		syscall.Umask(f.Umask)
	}
	cb := recorder(e)
	cb.Negotiate = nil
	cb.Connect = func(*milter.Session, string, net.Addr) milter.Status {
		mask := syscall.Umask(0)
		syscall.Umask(mask)
		e.emit(0, "umask", mask)
		return milter.SMFIS_CONTINUE
	}
	return &milter.Server{Callbacks: cb, Name: f.Name, Actions: f.Actions, Macros: f.Macros, Timeout: f.Timeout, Backlog: f.Backlog,
		MaxDataSize: f.MaxDataSize, Debug: f.Debug, RemoveSocket: f.RemoveSocket, SocketMode: f.SocketMode}
})

func TestServerMacros(t *testing.T) {
	t.Parallel()
	macros := map[milter.Stage][]string{
		milter.SMFIM_CONNECT: {"j", "{client_addr}"},
		milter.SMFIM_HELO:    {},
		milter.SMFIM_ENVFROM: {"i", "{auth_authen}", "{mail_addr}"},
		milter.SMFIM_ENVRCPT: {"{rcpt_addr}"},
		milter.SMFIM_DATA:    {"i"},
		milter.SMFIM_EOM:     {"i", "{msg_id}"},
		milter.SMFIM_EOH:     {"{x}"},
	}
	list := "\x00\x00\x00\x00" + z("j {client_addr}") + "\x00\x00\x00\x01" + z("") + "\x00\x00\x00\x02" + z("i {auth_authen} {mail_addr}") +
		"\x00\x00\x00\x03" + z("{rcpt_addr}") + "\x00\x00\x00\x04" + z("i") + "\x00\x00\x00\x05" + z("i {msg_id}") + "\x00\x00\x00\x06" + z("{x}")
	for name, tc := range map[string]struct {
		macros  map[milter.Stage][]string
		offered milter.Action
		actions milter.Action
		list    string
	}{
		"all stages":              {macros, allActions, milter.SMFIF_ADDHDRS | milter.SMFIF_SETSYMLIST, list},
		"one stage":               {map[milter.Stage][]string{milter.SMFIM_EOM: {"i"}}, allActions, milter.SMFIF_ADDHDRS | milter.SMFIF_SETSYMLIST, "\x00\x00\x00\x05" + z("i")},
		"none":                    {nil, allActions, milter.SMFIF_ADDHDRS, ""},
		"MTA without SETSYMLIST":  {macros, allActions &^ milter.SMFIF_SETSYMLIST, milter.SMFIF_ADDHDRS, ""},
		"MTA with ADDHDRS alone":  {macros, milter.SMFIF_ADDHDRS, milter.SMFIF_ADDHDRS, ""},
		"MTA with SETSYMLIST too": {macros, milter.SMFIF_ADDHDRS | milter.SMFIF_SETSYMLIST, milter.SMFIF_ADDHDRS | milter.SMFIF_SETSYMLIST, list},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, fielded, withFields(t, fields{Actions: milter.SMFIF_ADDHDRS, Macros: tc.macros}))
			for range 2 { // it is asked for on each connection
				w := p.offer(tc.offered, allProtocol)
				assert.Equal(t, reply('O', optneg(6, tc.actions, 0), tc.list), w.last())
				w.open()
				w.mail()
				w.Quit()
			}
			p.stop()
		})
	}
}

// An MTA that falls silent in mid-command is dropped after Timeout, not before it, and its session ends.
func TestServerTimeout(t *testing.T) {
	t.Parallel()
	for timeout, seconds := range map[time.Duration]int{time.Millisecond: 1, time.Second: 1, 1001 * time.Millisecond: 2} {
		t.Run(timeout.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, fielded, withFields(t, fields{Timeout: timeout}))
			w := p.session()
			w.open()
			w.WriteBytes([]byte{0, 0, 0, 20, 'M', '<', 'f'}) // of <from@example.org>
			silent := time.Now()
			w.WaitClosed()
			assert.GreaterOrEqual(t, time.Since(silent), time.Duration(seconds)*time.Second-100*time.Millisecond)
			p.awaitName("close")
			w = p.session()
			w.open()
			w.mail()
			w.Quit()
			p.stop()
			assert.Contains(t, p.awaitName("ended").Args[1], "SessionsOpen:0 SessionsTotal:2 SessionsCutOff:0 Messages:1")
		})
	}
}

// listenBacklog asks the kernel for a listening socket's backlog.
func listenBacklog(t *testing.T, flags, addr string) int {
	ss, err := exec.LookPath("ss")
	if err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "ss is not in PATH: install the Debian package iproute2")
		t.Skip("ss is not in PATH: install the Debian package iproute2")
	}
	out, err := exec.Command(ss, "-H", "-l", "-n", flags).Output()
	require.NoError(t, err)
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		for i, field := range fields {
			if field == "LISTEN" && len(fields) > i+3 && fields[i+3] == addr {
				n, err := strconv.Atoi(fields[i+2]) // Send-Q: what listen was given, up to the system's own limit
				require.NoError(t, err)
				return n
			}
		}
	}
	require.FailNow(t, "ss shows no listening socket", "%s in\n%s", addr, out)
	return 0
}

func TestServerBacklog(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("/proc/sys/net/core/somaxconn")
	require.NoError(t, err)
	limit, err := strconv.Atoi(strings.TrimSpace(string(text)))
	require.NoError(t, err)
	for _, backlog := range []int{0, 1, 7, 1 << 30} {
		want := min(backlog, limit)
		if backlog == 0 {
			want = min(4096, limit) // SOMAXCONN of <sys/socket.h>
		}
		t.Run(strconv.Itoa(backlog), func(t *testing.T) {
			t.Parallel()
			port := freePort(t, "127.0.0.1")
			p := start(t, fielded, withFields(t, fields{Backlog: backlog}), withAddr(fmt.Sprintf("inet:%d@127.0.0.1", port)))
			assert.Equal(t, want, listenBacklog(t, "-t", fmt.Sprintf("127.0.0.1:%d", port)))
			p.stop()
			p = start(t, fielded, withFields(t, fields{Backlog: backlog}))
			assert.Equal(t, want, listenBacklog(t, "-x", strings.TrimPrefix(p.Addr, "unix:")))
			p.stop()
		})
	}
}

func TestServerMaxDataSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		max, size int // of the packet's data, its command's letter excluded
		taken     bool
	}{
		{0, 65534, true}, {0, 65535, true}, {0, 65536, false}, {0, 100000, false},
		{1 << 20, 100000, true}, {1 << 20, 1 << 20, true}, {1 << 20, 1<<20 + 1, false},
		{1000, 1000, true}, {1000, 1001, false},
	} {
		t.Run(fmt.Sprintf("%d of %d", tc.size, tc.max), func(t *testing.T) {
			t.Parallel()
			p := start(t, fielded, withFields(t, fields{MaxDataSize: tc.max}))
			w := p.fragile()
			w.Negotiate()
			w.upTo("EOH")
			body := strings.Repeat("b", tc.size)
			if tc.taken {
				w.continues(w.Segment(body))
				assert.Equal(t, packets{reply('c')}, w.end())
				w.Quit()
				assert.NoError(t, w.Err())
				assert.Equal(t, []string{strconv.Quote(body)}, p.awaitName("segment").Args)
			} else {
				w.Segment(body) // the filter reads the packet's head, and leaves
				assert.ErrorIs(t, w.Err(), io.EOF)
			}
			p.stop()
			assert.Len(t, p.named("close"), 1)
			assert.Len(t, p.named("segment"), map[bool]int{true: 1}[tc.taken])
		})
	}
}

func TestServerDebug(t *testing.T) {
	t.Parallel()
	for level, want := range map[int]string{0: "", 1: "", 5: "got cmd 'H' len 19", 6: "nextmask"} {
		t.Run(strconv.Itoa(level), func(t *testing.T) {
			t.Parallel()
			p := start(t, fielded, withFields(t, fields{Debug: level}))
			w := p.session()
			w.open()
			w.Quit()
			p.stop()
			if want == "" {
				assert.Empty(t, p.output.String())
			} else {
				assert.Contains(t, p.output.String(), want)
			}
		})
	}
}

func TestServerSocketMode(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		umask      int
		mode, want fs.FileMode
	}{
		{0o022, 0, 0o755}, {0o077, 0, 0o700}, {0, 0, 0o777},
		{0o022, 0o660, 0o660}, {0o077, 0o666, 0o666}, {0o777, 0o777, 0o777}, {0, 0o600, 0o600}, {0, 0o200, 0o200},
	} {
		t.Run(fmt.Sprintf("%04o with umask %04o", tc.mode, tc.umask), func(t *testing.T) {
			t.Parallel()
			p := start(t, fielded, withFields(t, fields{SocketMode: tc.mode, Umask: tc.umask}))
			w := p.session() // the filter serves, so the mode is set
			info, err := os.Lstat(strings.TrimPrefix(p.Addr, "unix:"))
			require.NoError(t, err)
			assert.Equal(t, fs.ModeSocket|tc.want, info.Mode())
			w.open()
			w.Quit()
			assert.Equal(t, []string{strconv.Itoa(tc.umask)}, p.awaitName("umask").Args, "the umask is what it was")
			p.stop()
		})
	}
}

// SocketMode is of a unix socket, and means nothing to others.
func TestServerSocketModeElsewhere(t *testing.T) {
	t.Parallel()
	p := start(t, fielded, withFields(t, fields{SocketMode: 0o600, RemoveSocket: true, Umask: 0o027}),
		withAddr(fmt.Sprintf("inet:%d@127.0.0.1", freePort(t, "127.0.0.1"))))
	w := p.session()
	w.open()
	w.Quit()
	assert.Equal(t, []string{strconv.Itoa(0o027)}, p.awaitName("umask").Args)
	p.stop()
}

func TestServerAddresses(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		addr, host string
		dial       string // %d is the port
	}{
		{"inet:%d@127.0.0.1", "127.0.0.1", ""},
		{"inet:%d@[127.0.0.1]", "127.0.0.1", ""},
		{"inet:%d@localhost", "127.0.0.1", "inet:%d@127.0.0.1"},
		{"inet:%d", "0.0.0.0", "inet:%d@127.0.0.1"},
		{"INET:%d@127.0.0.1", "127.0.0.1", "inet:%d@127.0.0.1"},
		{"inet6:%d@[::1]", "::1", ""},
		{"inet6:%d@::1", "::1", "inet6:%d@[::1]"},
		{"inet6:%d", "::", "inet6:%d@[::1]"},
	} {
		t.Run(tc.addr, func(t *testing.T) {
			t.Parallel()
			port := freePort(t, tc.host)
			p := spawn(t, recording, withAddr(fmt.Sprintf(tc.addr, port)))
			if tc.dial != "" {
				p.Addr = fmt.Sprintf(tc.dial, port)
			}
			p.awaitSocket()
			for range 2 {
				w := p.session()
				w.open()
				w.mail()
				w.Quit()
			}
			p.stop()
			_, target := dialAddr(p.t, p.Addr)
			_, err := net.DialTimeout("tcp", target, waitLong)
			assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		})
	}
	for _, addr := range []string{"local:%s", "%s", "UNIX:%s", ":%s"} {
		t.Run(addr, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(tempDir(t), "s")
			p := spawn(t, recording, withAddr(fmt.Sprintf(addr, path)))
			p.Addr = "unix:" + path
			p.awaitSocket()
			w := p.session()
			w.open()
			w.mail()
			w.Quit()
			p.stop()
			assert.NoFileExists(t, path)
		})
	}
}

// A conversation with something of everything that is counted.
var counted = register("counted", func(e *child) *milter.Server {
	srv := &milter.Server{Callbacks: recorder(e)}
	srv.Callbacks.Unknown = func(_ *milter.Session, command string) milter.Status {
		switch command {
		case "stats":
			for began := time.Now(); srv.Stats().SessionsOpen > 2 && time.Since(began) < waitLong; {
				time.Sleep(time.Millisecond) // the probe's Close has been seen, and is about to return
			}
			e.emit(0, "stats", fmt.Sprintf("%+v", srv.Stats()))
		case "panic":
			panic("a panic that the test wants")
		case "status":
			return 75
		}
		return milter.SMFIS_CONTINUE
	}
	e.emit(0, "before", fmt.Sprintf("%+v", srv.Stats()))
	return srv
})

func TestServerStats(t *testing.T) {
	t.Parallel()
	p := start(t, counted)
	first := p.session()  // negotiate
	first.open()          // connect, helo
	first.mail()          // mailfrom, rcptto, data, header, eoh, segment, eom
	first.envelope()      // mailfrom, rcptto
	first.Abort()         // abort
	second := p.session() // negotiate
	second.open()         // connect, helo
	require.Equal(t, milter.SMFIS_TEMPFAIL, second.Unknown("panic").Status)
	require.Equal(t, milter.SMFIS_TEMPFAIL, second.Unknown("status").Status)
	first.mail()
	p.connect().Close() // a probe: close alone
	p.await("close of the probe", func(e event) bool { return e.Name == "close" })
	second.continues(second.Unknown("stats"))
	second.Quit()
	first.Quit()
	p.stop()
	zero := "{SessionsOpen:0 SessionsTotal:0 SessionsCutOff:0 Messages:0 Callbacks:0 Panics:0 BadStatuses:0}"
	assert.Equal(t, []string{zero}, p.awaitName("before").Args)
	// 1+2+7+2+1 callbacks on the first, 1+2+2 on the second, 7 on the first, 1 of the probe, and the one that reports
	assert.Equal(t, []string{"{SessionsOpen:2 SessionsTotal:3 SessionsCutOff:0 Messages:2 Callbacks:27 Panics:1 BadStatuses:1}"},
		p.awaitName("stats").Args)
	// and two times close
	assert.Equal(t, []string{"<nil>", "{SessionsOpen:0 SessionsTotal:3 SessionsCutOff:0 Messages:2 Callbacks:29 Panics:1 BadStatuses:1}"},
		p.awaitName("ended").Args)
}

// loud panics in a callback, once with no Logger of its own, as its argument says.
var loud = register("loud", func(e *child) *milter.Server {
	text := func(name string) *slog.Logger {
		return slog.New(slog.NewTextHandler(writerFunc(func(line []byte) (int, error) {
			e.emit(0, name, string(bytes.TrimSpace(line)))
			return len(line), nil
		}), nil))
	}
	slog.SetDefault(text("default"))
	srv := &milter.Server{Addr: e.addr, Callbacks: recorder(e)}
	switch e.arg {
	case "own":
		srv.Logger = text("own")
	case "panics":
		srv.Logger = slog.New(slog.NewTextHandler(writerFunc(func([]byte) (int, error) { panic("logger") }), nil))
	}
	srv.Callbacks.Helo = func(*milter.Session, string) milter.Status { panic("helo") }
	if e.arg != "" {
		return srv
	}
	err := srv.ListenAndServe() // runFilter would set a Logger
	e.errorIs("served", err)
	return nil
})

func TestServerLogger(t *testing.T) {
	t.Parallel()
	for logger, want := range map[string]map[string]int{
		"":       {"default": 1, "own": 0},
		"own":    {"default": 0, "own": 1},
		"panics": {"default": 0, "own": 0},
	} {
		t.Run(logger, func(t *testing.T) {
			t.Parallel()
			p := start(t, loud, withArg(logger))
			w := p.session()
			w.upTo("Connect")
			assert.Equal(t, milter.SMFIS_TEMPFAIL, w.Helo("client.example.org").Status)
			w.mail()
			w.Quit()
			p.awaitName("close")
			for name, n := range want {
				logs := p.named(name)
				require.Len(t, logs, n, name)
				for _, e := range logs {
					assert.Contains(t, e.Args[0], `level=ERROR msg="milter: callback panicked, answered SMFIS_TEMPFAIL" callback=xxfi_helo panic=helo`)
					assert.Contains(t, e.Args[0], "session=1")
				}
			}
			if logger != "" {
				p.stop()
			}
		})
	}
}

// simple is what ListenAndServe, the function, makes: a server with a name, and no way to stop it but the process's end.
var simple = register("simple", func(e *child) *milter.Server {
	e.errorIs("served", milter.ListenAndServe(e.addr, milter.SMFIF_ADDHDRS, recorder(e)))
	return nil
})

func TestServerListenAndServe(t *testing.T) {
	t.Parallel()
	p := start(t, simple)
	w := p.session()
	w.open()
	w.mail()
	w.Quit()
	p.awaitName("close")
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM)) // nobody asked for it with os/signal: Go ends the process
	p.awaitExit()
	status := p.cmd.ProcessState.Sys().(syscall.WaitStatus)
	assert.True(t, status.Signaled() && status.Signal() == syscall.SIGTERM, "%v", p.cmd.ProcessState)
	assert.Empty(t, p.named("served"))

	starting.Lock()
	defer starting.Unlock()
	isAll(t, milter.ListenAndServe("inet:70000", 0, milter.Callbacks{}), milter.ErrArgument)
	isAll(t, milter.ListenAndServe("unix:"+filepath.Join(tempDir(t), "none", "s"), 0, milter.Callbacks{}), fs.ErrNotExist)
}

// Debug prints to standard output: a daemon that has closed it would have the lines go to what is there instead.
func TestServerDebugClosedOutput(t *testing.T) {
	t.Parallel()
	p := spawn(t, closedOutput)
	p.awaitExit()
	e := p.awaitName("failed")
	assert.Contains(t, e.Args[0], "milter: smfi_register: invalid argument: Debug needs standard output: ")
	assert.Contains(t, e.Args[0], "bad file descriptor")
}

var closedOutput = register("closed output", func(e *child) *milter.Server {
	if err := syscall.Close(1); err != nil {
		panic(err)
	}
	e.emit(0, "failed", (&milter.Server{Addr: e.addr, Debug: 1}).ListenAndServe())
	return nil
})

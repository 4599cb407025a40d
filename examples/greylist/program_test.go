package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/harness"
)

// process is the program in a process of its own.
type process struct {
	t          *testing.T
	cmd        *exec.Cmd
	addr, http string
	log        string // the path of a file, so that a line is there before what it tells of is answered
	ended      chan error
}

func startProgram(t *testing.T, args ...string) *process {
	t.Helper()
	host, port, err := net.SplitHostPort(freeAddr(t))
	require.NoError(t, err)
	return startProgramOn(t, fmt.Sprintf("inet:%s@%s", port, host), freeAddr(t), args...)
}

// startProgramOn starts the program on addresses that another one may have had before.
func startProgramOn(t *testing.T, addr, http string, args ...string) *process {
	t.Helper()
	dir := harness.TempDir(t, "greylist-")
	p := &process{t: t, addr: addr, http: http, log: filepath.Join(dir, "log"), ended: make(chan error, 1)}
	log, err := os.Create(p.log)
	require.NoError(t, err)
	defer log.Close()
	p.cmd = exec.Command(os.Args[0], append([]string{"-addr", p.addr}, args...)...)
	p.cmd.Env = append(os.Environ(), "RUN_GREYLIST=1", "GREYLIST_HTTP="+p.http)
	p.cmd.Stderr = log
	require.NoError(t, p.cmd.Start())
	harness.StartGuard(t, dir, `kill "$2"`, strconv.Itoa(p.cmd.Process.Pid))
	go func() { p.ended <- p.cmd.Wait() }()
	t.Cleanup(func() { _ = p.cmd.Process.Kill() })
	require.True(t, harness.Poll(func() bool { return p.get("/readyz") == "200 ready" }), "the filter is not ready")
	return p
}

// get gives the status and the text of a page, "" if there is no answer.
func (p *process) get(path string) string {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	res, err := client.Get("http://" + p.http + path)
	if err != nil {
		return ""
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	return fmt.Sprintf("%d %s", res.StatusCode, strings.TrimSpace(string(text)))
}

// sessions gives how many sessions are open.
func (p *process) sessions() int { return p.metric("milter_sessions_open") }

// metric gives a figure of /metrics.
func (p *process) metric(name string) (value int) {
	p.t.Helper()
	_, after, found := strings.Cut(p.get("/metrics"), "\n"+name+" ")
	require.True(p.t, found, "no %s at %s", name, p.http)
	_, err := fmt.Sscan(after, &value)
	require.NoError(p.t, err)
	return value
}

// hostPort is addr as others write it.
func (p *process) hostPort() string {
	port, host, _ := strings.Cut(strings.TrimPrefix(p.addr, "inet:"), "@")
	return net.JoinHostPort(host, port)
}

// kill ends the program as a crash does.
func (p *process) kill() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Kill())
	<-p.ended
}

func (p *process) terminate() {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(syscall.SIGTERM))
}

// wait gives the exit status and the log.
func (p *process) wait() (status int, log string) {
	p.t.Helper()
	select {
	case <-p.ended:
		return p.cmd.ProcessState.ExitCode(), harness.ReadLog(p.t, p.log)
	case <-time.After(harness.Patience):
		p.t.Fatal("the program does not end")
		return
	}
}

// open begins a session, as far as a sender.
func (p *process) open() *miltertest.Conn {
	p.t.Helper()
	var c *miltertest.Conn
	mta := miltertest.Postfix()
	mta.T = p.t
	require.True(p.t, harness.Poll(func() (ok bool) {
		var err error
		c, err = mta.Dial(p.addr)
		return err == nil
	}), "the filter does not answer")
	c.Connect("client.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000})
	c.Helo("client.example.org")
	c.MailFrom("<a@example.org>")
	return c
}

func TestProbesAreNoSessions(t *testing.T) {
	p := startProgram(t)
	for range 20 {
		require.Equal(t, "200 ok", p.get("/healthz"))
		require.Equal(t, "200 ready", p.get("/readyz"))
	}
	metrics := p.get("/metrics")
	for _, line := range []string{"milter_sessions_total 0", "milter_sessions_open 0", `greylist_decisions_total{outcome="known"} 0`,
		"greylist_store_breaker_open 0", "greylist_store_seconds_count 0", "go_goroutines "} {
		require.Contains(t, metrics, "\n"+line)
	}
	p.terminate()
	status, log := p.wait()
	require.Zero(t, status, log)
}

func TestDrain(t *testing.T) {
	p := startProgram(t, "-redis", startRedis(t).url, "-store-timeout", "10s", "-drain-delay", "1h", "-drain", "1m")
	c := p.open()
	p.terminate()
	require.True(t, harness.Poll(func() bool { return p.get("/readyz") == "503 not ready" }))
	require.Equal(t, "200 ok", p.get("/healthz"), "it is not to be killed")

	late := p.open() // by a balancer that has not looked yet
	require.Equal(t, 451, late.RcptTo("<b@example.com>").Code)
	late.Quit()

	p.terminate() // the delay is over: who comes now is refused
	require.True(t, harness.Poll(func() bool {
		refused, err := miltertest.Postfix().Dial(p.addr)
		if err == nil {
			refused.Close()
		}
		return err != nil
	}))
	require.Equal(t, 451, c.RcptTo("<c@example.com>").Code, "an open session goes on")
	require.Contains(t, p.get("/metrics"), "\n"+`greylist_decisions_total{outcome="first_seen"} 2`)
	c.Quit()

	status, log := p.wait()
	require.Zero(t, status, log)
	require.Contains(t, log, `"msg":"draining"`)
	require.Contains(t, log, `"msg":"stopped","cut_off":0`)
}

func TestDrainHasADeadline(t *testing.T) {
	p := startProgram(t, "-drain", "100ms")
	p.open()
	p.terminate()
	status, log := p.wait()
	require.Equal(t, 1, status)
	require.Contains(t, log, "1 session cut off")
}

func TestProgramThatCannotStart(t *testing.T) {
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"filter's port": {[]string{"-addr", "inet:" + port + "@127.0.0.1"}, "address already in use"},
		"HTTP's port":   {[]string{"-http", taken.Addr().String()}, "address already in use"},
		"flag":          {[]string{"-delay", "x"}, `invalid value "x" for flag -delay`},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0], tc.args...)
			cmd.Env = append(os.Environ(), "RUN_GREYLIST=1")
			out, err := cmd.CombinedOutput()
			require.ErrorContains(t, err, "exit status 1")
			require.Contains(t, string(out), tc.want)
		})
	}
}

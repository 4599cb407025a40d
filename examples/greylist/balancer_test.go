package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/harness"
)

const haproxyConfig = "../../deploy/haproxy/haproxy.cfg"

func requireHaproxy(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("haproxy"); err != nil {
		harness.GiveUp(t, "haproxy is not in PATH: install the Debian package haproxy")
	}
}

func TestHaproxyConfig(t *testing.T) {
	requireHaproxy(t)
	out, err := exec.Command("haproxy", "-c", "-f", haproxyConfig).CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.NotContains(t, string(out), "[WARNING]")
}

// haproxy is a balancer of a test's own.
type haproxy struct {
	t      *testing.T
	listen string
	addr   string // the same as smfi_setconn has it
	dir    string
	cmd    *exec.Cmd
}

// startHaproxy runs the configuration with other addresses, and checks ten times as often.
func startHaproxy(t *testing.T, filters ...*process) *haproxy {
	t.Helper()
	requireHaproxy(t)
	b := &haproxy{t: t, listen: freeAddr(t), dir: harness.TempDir(t, "greylist-")}
	host, port, _ := net.SplitHostPort(b.listen)
	b.addr = "inet:" + port + "@" + host
	b.configure(filters...)
	admin := fmt.Sprintf("global\n\tstats socket %s mode 600 level admin\n", b.path("admin"))
	require.NoError(t, os.WriteFile(b.path("admin.cfg"), []byte(admin), 0o600))

	var out bytes.Buffer
	running, end := context.WithCancel(context.Background())
	// With a master, which SIGUSR2 tells to read its configuration again.
	b.cmd = exec.CommandContext(running, "haproxy", "-W", "-f", b.path("haproxy.cfg"), "-f", b.path("admin.cfg"))
	b.cmd.Stdout, b.cmd.Stderr = &out, &out
	b.cmd.Cancel = func() error { return b.cmd.Process.Signal(syscall.SIGTERM) } // the worker ends with it
	b.cmd.WaitDelay = harness.Patience
	require.NoError(t, b.cmd.Start())
	harness.StartGuard(t, b.dir, `kill "$2"`, strconv.Itoa(b.cmd.Process.Pid))
	t.Cleanup(func() {
		end()
		_ = b.cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", &out)
		}
	})
	require.True(t, harness.Poll(func() bool {
		c, err := b.dial()
		if err == nil {
			c.Quit()
		}
		return err == nil
	}), "haproxy does not answer")
	return b
}

func (b *haproxy) path(name string) string { return filepath.Join(b.dir, name) }

// configure writes the configuration for these filters. A check may take as long as it may with the file's inter: what is
// often asked must not be down for being slow.
func (b *haproxy) configure(filters ...*process) {
	b.t.Helper()
	text, err := os.ReadFile(haproxyConfig)
	require.NoError(b.t, err)
	config := strings.NewReplacer("127.0.0.1:8890\n", b.listen+"\n", "inter 2s", "inter 200ms", "slowstart 30s", "",
		"\ttimeout server 15m\n", "\ttimeout server 15m\n\ttimeout check 2s\n").Replace(string(text))
	config = regexp.MustCompile(`(?m)^\tserver .*\n`).ReplaceAllString(config, "")
	for _, filter := range filters {
		_, checked, _ := net.SplitHostPort(filter.http)
		config += fmt.Sprintf("\tserver %s %s check port %s\n", filter.server(), filter.hostPort(), checked)
	}
	require.NoError(b.t, os.WriteFile(b.path("haproxy.cfg"), []byte(config), 0o600))
}

// reload changes the filters of a balancer that runs, as systemctl reload haproxy does. Each must be up at its end.
func (b *haproxy) reload(filters ...*process) {
	b.t.Helper()
	b.configure(filters...)
	require.NoError(b.t, b.cmd.Process.Signal(syscall.SIGUSR2))
	for _, filter := range filters {
		b.waitFor(filter, "UP")
	}
}

// server is a filter's name in the configuration.
func (p *process) server() string {
	_, port, _ := net.SplitHostPort(p.hostPort())
	return "filter" + port
}

// state changes a filter's state: ready, or maint for one that gets no new sessions.
func (b *haproxy) state(filter *process, state string) {
	b.t.Helper()
	answer, err := b.ask("set server filters/" + filter.server() + " state " + state)
	require.NoError(b.t, err)
	require.Empty(b.t, strings.TrimSpace(answer))
}

// waitFor waits until the balancer holds a filter for UP, DOWN or MAINT.
func (b *haproxy) waitFor(filter *process, status string) {
	b.t.Helper()
	require.True(b.t, harness.Poll(func() bool { return b.stats(filter)["status"] == status }), "%s is not %s: %v", filter.server(), status, b.stats(filter))
}

// stats gives the balancer's figures of a filter by their names in "show stat"; none while it is not known.
func (b *haproxy) stats(filter *process) map[string]string {
	answer, err := b.ask("show stat")
	if err != nil {
		return nil
	}
	rows, err := csv.NewReader(strings.NewReader(strings.TrimPrefix(answer, "# "))).ReadAll()
	require.NoError(b.t, err, answer)
	for _, row := range rows {
		if row[1] != filter.server() {
			continue
		}
		stats := map[string]string{}
		for i, name := range rows[0] {
			stats[name] = row[i]
		}
		return stats
	}
	return nil
}

// ask gives a command to the balancer. It may be away while it reads its configuration.
func (b *haproxy) ask(command string) (answer string, err error) {
	conn, err := net.Dial("unix", b.path("admin"))
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, command); err != nil {
		return "", err
	}
	text, err := io.ReadAll(conn)
	return string(text), err
}

func (b *haproxy) dial() (*miltertest.Conn, error) { return miltertest.Postfix().Dial(b.addr) }

// A filter that is deployed anew behind the balancer: no session meets one that refuses, and those that are open go on.
func TestDrainBehindHaproxy(t *testing.T) {
	args := []string{"-redis", startRedis(t).url, "-store-timeout", "10s", "-drain-delay", "1h", "-drain", "1m"}
	leaving, staying := startProgram(t, args...), startProgram(t, args...)
	b := startHaproxy(t, leaving, staying)

	var open []*miltertest.Conn
	for range 6 { // leastconn: some on each
		c, err := b.dial()
		require.NoError(t, err)
		open = append(open, c)
	}
	require.Positive(t, leaving.sessions())
	require.Positive(t, staying.sessions())

	served := func() bool {
		c, err := b.dial()
		require.NoError(t, err)
		c.Quit()
		return b.stats(leaving)["status"] == "DOWN"
	}
	leaving.terminate()
	require.True(t, harness.Poll(served), "HAProxy does not see that a filter leaves")
	leaving.terminate() // the delay is over
	require.True(t, harness.Poll(func() bool { served(); return refuses(leaving) }))
	for range 20 {
		served()
	}
	for i, c := range open {
		c.Connect("client.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000})
		c.Helo("client.example.org")
		c.MailFrom("<a@example.org>")
		require.Equal(t, 451, c.RcptTo(fmt.Sprintf("<b%d@example.com>", i)).Code)
		c.Quit()
	}
	status, log := leaving.wait()
	require.Zero(t, status, log)
}

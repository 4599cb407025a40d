package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

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
	t    *testing.T
	addr string // as smfi_setconn has it
}

// startHaproxy runs the configuration with other addresses, and checks ten times as often.
func startHaproxy(t *testing.T, filters ...*process) *haproxy {
	t.Helper()
	requireHaproxy(t)
	text, err := os.ReadFile(haproxyConfig)
	require.NoError(t, err)
	addr, dir := freeAddr(t), t.TempDir()
	config := strings.NewReplacer("127.0.0.1:8890\n", addr+"\n", "inter 2s", "inter 200ms", "slowstart 30s", "").Replace(string(text))
	config = regexp.MustCompile(`(?m)^\tserver .*\n`).ReplaceAllString(config, "")
	for i, filter := range filters {
		_, checked, _ := net.SplitHostPort(filter.http)
		config += fmt.Sprintf("\tserver filter%d %s check port %s\n", i, filter.hostPort(), checked)
	}
	path := filepath.Join(dir, "haproxy.cfg")
	require.NoError(t, os.WriteFile(path, []byte(config), 0o600))

	var out bytes.Buffer
	cmd := exec.Command("haproxy", "-db", "-f", path) // in the foreground
	cmd.Stdout, cmd.Stderr = &out, &out
	require.NoError(t, cmd.Start())
	harness.StartGuard(t, dir, `kill "$2"`, strconv.Itoa(cmd.Process.Pid))
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("haproxy said:\n%s", &out)
		}
	})
	host, port, _ := net.SplitHostPort(addr)
	b := &haproxy{t, "inet:" + port + "@" + host}
	require.True(t, harness.Poll(func() bool {
		c, err := b.dial()
		if err == nil {
			c.Quit()
		}
		return err == nil
	}), "haproxy does not answer")
	return b
}

func (b *haproxy) dial() (*miltertest.Conn, error) { return miltertest.Postfix().Dial(b.addr) }

// A filter that is deployed anew behind the balancer: no session meets one that refuses, and those that are open go on.
func TestDrainBehindHaproxy(t *testing.T) {
	args := []string{"-redis", startRedis(t).url, "-store-timeout", "10s", "-drain-delay", "2s", "-drain", "1m"}
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

	leaving.terminate()
	for until := time.Now().Add(3 * time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		c, err := b.dial()
		require.NoError(t, err)
		c.Quit()
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

package main

import (
	"bytes"
	"context"
	"net"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// redisServer is a Redis of a test's own.
type redisServer struct {
	t    *testing.T
	url  string
	dir  string
	args []string
	out  bytes.Buffer
	cmd  *exec.Cmd
}

// startRedis starts a Redis that keeps nothing but what args say, on a free port of the loopback, until the test ends.
func startRedis(t *testing.T, args ...string) *redisServer {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		harness.GiveUp(t, "redis-server is not in PATH: install the Debian package redis-server")
	}
	addr := freeAddr(t)
	_, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	r := &redisServer{t: t, url: "redis://" + addr + "/0", dir: harness.TempDir(t, "greylist-")}
	r.args = append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", r.dir, "--save", "", "--appendonly", "no"}, args...)
	t.Cleanup(func() {
		r.stop()
		if t.Failed() {
			t.Logf("redis-server said:\n%s", &r.out)
		}
	})
	r.start()
	return r
}

// start starts the process, also after it has ended: with what it wrote down before.
func (r *redisServer) start() {
	r.t.Helper()
	r.cmd = exec.Command("redis-server", r.args...)
	r.cmd.Stdout = &r.out
	require.NoError(r.t, r.cmd.Start())
	harness.StartGuard(r.t, r.dir, `kill "$2"`, strconv.Itoa(r.cmd.Process.Pid))
	client := r.client(r.t)
	require.True(r.t, harness.Poll(func() bool { return client.Ping(context.Background()).Err() == nil }), "Redis does not answer")
}

// stop ends the process, whichever state it is in.
func (r *redisServer) stop() {
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait()
}

// client gives a client for what the test itself asks.
func (r *redisServer) client(t *testing.T) *redis.Client {
	t.Helper()
	options, err := redis.ParseURL(r.url)
	require.NoError(t, err)
	client := redis.NewClient(options)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// freeAddr gives an address of the loopback that nobody listens on.
func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return l.Addr().String()
}

// silentAddr is where connections are taken and nothing is ever said: a store that hangs.
func silentAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0") // the kernel accepts, nobody reads
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// clock is a time that the test sets.
type clock struct{ time.Time }

func newClock() *clock { return &clock{time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) now() time.Time { return c.Time }

func (c *clock) advance(d time.Duration) { c.Time = c.Add(d) }

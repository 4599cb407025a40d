package docker

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/harness"
)

// limit is how long a command may take: a build fetches packages and compiles Go.
const limit = 10 * time.Minute

// try runs a command and gives what it wrote to both outputs.
func try(env []string, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// docker runs the docker command, which must succeed, and gives its output.
func docker(t testing.TB, args ...string) string {
	t.Helper()
	out, err := try(nil, "docker", args...)
	require.NoError(t, err, "docker %s:\n%s", strings.Join(args, " "), out)
	return out
}

// inspect gives a field of what Docker knows of an object.
func inspect[T any](t testing.TB, object, field string) (value T) {
	t.Helper()
	text := docker(t, "inspect", "--format", "{{json "+field+"}}", object)
	require.NoError(t, json.Unmarshal([]byte(text), &value), text)
	return value
}

// container is one that a test has started, with a filter in it.
type container struct {
	t    testing.TB
	name string
	addr string // where the filter is reached from here, as smfi_setconn has it
}

// looksOften is for HEALTHCHECK's command to be run often enough for a test.
var looksOften = []string{"--health-interval", "500ms", "--health-retries", "2", "--health-timeout", "5s"}

// start starts a container with a read-only root, as little privileged as can be, and waits until the filter answers.
func start(t testing.TB, image string, flags ...string) *container {
	t.Helper()
	c := &container{t: t, name: fmt.Sprintf("milter-test-%d-%d", os.Getpid(), time.Now().UnixNano())}
	harness.StartGuard(t, t.TempDir(), `docker rm -f -v "$2" >/dev/null`, c.name)
	t.Cleanup(c.remove)
	args := append([]string{"run", "-d", "--name", c.name, "--read-only", "--cap-drop", "ALL",
		"--security-opt", "no-new-privileges", "-p", "127.0.0.1::8890"}, looksOften...)
	docker(t, append(append(args, flags...), image)...)

	host, port, err := net.SplitHostPort(docker(t, "port", c.name, "8890/tcp"))
	require.NoError(t, err)
	c.addr = "inet:" + port + "@" + host
	require.True(t, harness.Poll(c.answers), "the filter does not answer: %s", c.logs())
	return c
}

func (c *container) remove() {
	if c.t.Failed() {
		c.t.Logf("%s said:\n%s", c.name, harness.LastLines(c.logs(), 30))
	}
	_, err := try(nil, "docker", "rm", "-f", "-v", c.name)
	assert.NoError(c.t, err)
}

// logs gives what the program has written.
func (c *container) logs() string {
	out, _ := try(nil, "docker", "logs", c.name)
	return out
}

// answers tells whether the filter takes a session.
func (c *container) answers() bool {
	conn, err := miltertest.Postfix().Dial(c.addr)
	if err == nil {
		conn.Quit()
	}
	return err == nil
}

// open begins a session.
func (c *container) open() *miltertest.Conn {
	c.t.Helper()
	mta := miltertest.Postfix()
	mta.T = c.t
	conn, err := mta.Dial(c.addr)
	require.NoError(c.t, err)
	return conn
}

// send sends a mail on a connection of its own.
func (c *container) send(mail miltertest.Mail) *miltertest.Result {
	c.t.Helper()
	conn := c.open()
	defer conn.Quit()
	return conn.Send(mail)
}

// health is what the health check says.
func (c *container) health() string {
	c.t.Helper()
	return inspect[string](c.t, c.name, ".State.Health.Status")
}

func (c *container) requireHealth(want string) {
	c.t.Helper()
	require.True(c.t, harness.Poll(func() bool { return c.health() == want }), "not %s, but %s: %s",
		want, c.health(), docker(c.t, "inspect", "--format", "{{json .State.Health.Log}}", c.name))
}

// check runs the health check once more, with other arguments, and gives its exit status and what it says.
func (c *container) check(args ...string) (status int, says string) {
	cmd := exec.Command("docker", append([]string{"exec", c.name, "healthy"}, args...)...)
	var out bytes.Buffer
	cmd.Stdout = &out
	_ = cmd.Run()
	return cmd.ProcessState.ExitCode(), strings.TrimSpace(out.String())
}

// dialAndWait connects to the container itself, past Docker's proxy, and says nothing until the test ends.
func (c *container) dialAndWait() {
	c.t.Helper()
	addr := inspect[string](c.t, c.name, ".NetworkSettings.IPAddress")
	conn, err := net.Dial("tcp", net.JoinHostPort(addr, "8890"))
	require.NoError(c.t, err)
	c.t.Cleanup(func() { _ = conn.Close() })
}

// stop is "docker stop". It gives the program's exit status, and how long it took.
func (c *container) stop() (status int, took time.Duration) {
	begin := time.Now()
	docker(c.t, "stop", c.name)
	return inspect[int](c.t, c.name, ".State.ExitCode"), time.Since(begin)
}

// freePort gives a port of the loopback that nobody listens on.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

package docker

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/harness"
)

// base is what the filters' images begin with.
const base = "debian:bookworm-slim"

// unprivileged is what the images run as.
const unprivileged = 65532

var aClient = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000}

// testFilter tests what every filter's image has to do: flags are those of docker run, room is how many bytes the image
// may add to its base, mails tests the filter's answers, and halfway begins a mail and gives what ends it.
func testFilter(t *testing.T, image string, flags []string, room int64, mails func(*testing.T, *container), halfway func(*testing.T, *miltertest.Conn) func()) {
	t.Run("size", func(t *testing.T) {
		added := inspect[int64](t, image, ".Size") - inspect[int64](t, base, ".Size")
		t.Logf("%.1f MB more than %s", float64(added)/1e6, base)
		assert.Less(t, added, room)
	})
	c := start(t, image, flags...)
	t.Run("unprivileged", func(t *testing.T) {
		require.Equal(t, strconv.Itoa(unprivileged), docker(t, "exec", c.name, "stat", "-c", "%u", "/proc/1"))
		require.Regexp(t, `^\d+(:\d+)?$`, inspect[string](t, image, ".Config.User"))
		out, err := try(nil, "docker", "exec", "--user", "0", c.name, "touch", "/usr/local/bin/x")
		require.Error(t, err)
		require.Contains(t, out, "Read-only file system")
	})
	t.Run("mails", func(t *testing.T) { mails(t, c) })
	t.Run("health", func(t *testing.T) { testHealth(t, c) })
	t.Run("drain", func(t *testing.T) { testDrain(t, c, halfway) })
}

// testHealth has the filter hang: its process stands still, and the kernel goes on to take connections.
func testHealth(t *testing.T, c *container) {
	c.requireHealth("healthy")
	docker(t, "kill", "--signal", "STOP", c.name)
	c.dialAndWait()
	c.requireHealth("unhealthy")
	docker(t, "kill", "--signal", "CONT", c.name)
	c.requireHealth("healthy")
}

// testDrain stops the container in the middle of a mail, which comes to its end.
func testDrain(t *testing.T, c *container, halfway func(*testing.T, *miltertest.Conn) func()) {
	conn := c.open()
	finish := halfway(t, conn)
	type end struct {
		status int
		took   time.Duration
	}
	stopped := make(chan end, 1)
	go func() {
		status, took := c.stop()
		stopped <- end{status, took}
	}()
	require.True(t, harness.Poll(func() bool { return !c.answers() }), "new sessions are still taken")
	require.True(t, inspect[bool](t, c.name, ".State.Running"))
	finish()
	conn.Quit()
	select {
	case e := <-stopped:
		require.Zero(t, e.status)
		require.Less(t, e.took, 10*time.Second, "docker stop has killed it")
	case <-time.After(harness.Patience):
		require.Fail(t, "docker stop does not end")
	}
}

// beforeData begins a mail as far as its recipient, and ends it with header, body and end of message.
func beforeData(t *testing.T, conn *miltertest.Conn) (finish func()) {
	conn.Connect("client.example.org", aClient)
	conn.Helo("client.example.org")
	conn.MailFrom("<a@example.org>")
	require.True(t, conn.RcptTo("<b@example.com>").Continues())
	conn.Data()
	return func() {
		conn.Header("Subject", "drained")
		conn.EOH()
		conn.Segment("body\r\n")
		require.Equal(t, milter.SMFIS_ACCEPT, conn.EOM().Verdict)
	}
}

package docker

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// build builds an image, named so that the next run finds its layers.
func build(t *testing.T, name, context string, flags ...string) (image string) {
	t.Helper()
	image = "milter-test-" + name
	docker(t, append(append([]string{"build", "-t", image}, flags...), context)...)
	return image
}

// TestExamples builds each example as the Dockerfile says.
func TestExamples(t *testing.T) {
	for name, tc := range map[string]struct {
		flags   []string
		room    int64
		mails   func(*testing.T, *container)
		halfway func(*testing.T, *miltertest.Conn) func()
	}{
		"log": {nil, 6e6, testLog, beforeData},
		"attachments": {
			// What is larger than 256 KiB of a mail is in a file.
			[]string{"--tmpfs", "/tmp"}, 8e6, testAttachments, beforeData,
		},
		"greylist": {
			[]string{"-e", "GREYLIST_STORE_DOWN=defer", "-e", "GREYLIST_HTTP=127.0.0.1:9090",
				"--health-cmd", "healthy http://127.0.0.1:9090/readyz"},
			16e6, testGreylist, beforeRecipient,
		},
	} {
		t.Run(name, func(t *testing.T) {
			image := build(t, name, root, "--build-arg", "EXAMPLE="+name)
			testFilter(t, image, tc.flags, tc.room, tc.mails, tc.halfway)
		})
	}
}

// testLog sends a mail, and looks that the health check has said nothing to the filter.
func testLog(t *testing.T, c *container) {
	c.requireHealth("healthy")
	before := c.logs()
	for range 5 {
		status, says := c.check("8890")
		require.Zero(t, status, says)
	}
	require.Equal(t, before, c.logs(), "a check is a session")

	require.Equal(t, milter.SMFIS_ACCEPT, c.send(miltertest.Mail{Data: "Subject: Hello\n\nHow are you?\n"}).Verdict)
	require.Contains(t, c.logs(), `header: "Subject": "Hello"`)

	for arg, want := range map[string]string{
		"8891":                         "nothing listens on port 8891",
		"http://127.0.0.1:8891/readyz": "",
		"x":                            "usage: healthy PORT or healthy http://HOST:PORT/PATH",
	} {
		status, says := c.check(arg)
		require.Equal(t, 1, status, arg)
		require.Equal(t, want, says)
	}
}

func testAttachments(t *testing.T, c *container) {
	require.Equal(t, milter.SMFIS_ACCEPT, c.send(miltertest.Mail{
		Data: "Subject: long\n\n" + strings.Repeat(strings.Repeat("x", 70)+"\n", 10_000),
	}).Verdict)
	result := c.send(miltertest.Mail{Data: "Subject: bad\nContent-Type: application/octet-stream; name=a.exe\n\nMZ\n"})
	require.Equal(t, milter.SMFIS_REJECT, result.Verdict)
	require.Equal(t, 550, result.Reply.Code)
}

// testGreylist is without a store: its answers with one are TestCompose's.
func testGreylist(t *testing.T, c *container) {
	result := c.send(miltertest.Mail{})
	require.Equal(t, milter.SMFIS_TEMPFAIL, result.Verdict)
	require.Equal(t, 451, result.Refused["<recipient@example.com>"].Code)
	status, says := c.check("http://127.0.0.1:9090/missing")
	require.Equal(t, 1, status)
	require.Equal(t, "http://127.0.0.1:9090/missing answers with status 404", says)
}

// beforeRecipient begins a mail as far as its sender.
func beforeRecipient(t *testing.T, conn *miltertest.Conn) (finish func()) {
	conn.Connect("client.example.org", aClient)
	conn.Helo("client.example.org")
	require.True(t, conn.MailFrom("<a@example.org>").Continues())
	return func() { require.Equal(t, 451, conn.RcptTo("<b@example.com>").Code) }
}

// TestWithoutTmpfs has a filter that keeps long bodies in files, and nowhere to.
func TestWithoutTmpfs(t *testing.T) {
	image := build(t, "attachments", root, "--build-arg", "EXAMPLE=attachments")
	out, err := try(nil, "docker", "run", "--rm", "--read-only", "--cap-drop", "ALL", image)
	require.Error(t, err)
	require.Contains(t, out, `TempDir "/tmp" cannot take a file: read-only file system`)
}

// TestStopInTime has a session that does not end: the program gives it up before docker stop kills it.
func TestStopInTime(t *testing.T) {
	c := start(t, build(t, "log", root, "--build-arg", "EXAMPLE=log"))
	beforeData(t, c.open())
	status, _ := c.stop()
	require.Equal(t, 1, status, "137 is SIGKILL's")
	require.Contains(t, c.logs(), "1 session cut off")
}

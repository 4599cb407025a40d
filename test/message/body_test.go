package message

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// randomBody has no lines: what is cut or doubled shows.
func randomBody(size int) string {
	body := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(size)}).Read(body)
	return string(body)
}

// openTempFiles gives the files without a name that the process holds in a folder.
func openTempFiles(t *testing.T, dir string) (files []string) {
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, entry := range entries {
		target, err := os.Readlink("/proc/self/fd/" + entry.Name())
		if name, ok := strings.CutPrefix(target, dir+"/"); ok && err == nil && !strings.HasPrefix(name, "miltertest") { // its socket
			files = append(files, target)
		}
	}
	return files
}

// mapped tells whether the process has a mapping of a file in a folder.
func mapped(t *testing.T, dir string) bool {
	maps, err := os.ReadFile("/proc/self/maps")
	require.NoError(t, err)
	return bytes.Contains(maps, []byte(dir+"/"))
}

// sendBody sends a mail with a body, in pieces of 65,535 bytes and as many as the filter wants, and gives how many bytes
// were sent.
func sendBody(t *testing.T, c *miltertest.Conn, body string) (sent int) {
	c.MailFrom("a@example.org")
	c.RcptTo("b@example.org")
	for sent < len(body) {
		piece := body[sent:min(sent+65535, len(body))]
		sent += len(piece)
		if c.Segment(piece).Status == milter.SMFIS_SKIP {
			break
		}
	}
	require.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict)
	return sent
}

// A body of any size comes whole; beyond 256 KiB it is in a file that has no name, and is gone afterwards.
func TestBody(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var body string
	ct := miltertest.InCallback(t)
	f := miltertest.StartServer(t, &milter.Server{TempDir: dir, Callbacks: milter.Callbacks{
		Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
			assert.True(ct, string(msg.Body) == body, "%d bytes, %d were sent", len(msg.Body), len(body))
			assert.False(ct, msg.Truncated)
			inFile := len(body) > 256<<10
			assert.Equal(ct, inFile, mapped(t, dir))
			if inFile {
				assert.Equal(ct, []string{" (deleted)"}, suffixes(openTempFiles(t, dir)))
			}
			entries, err := os.ReadDir(dir)
			assert.NoError(ct, err)
			assert.Empty(ct, entries)
			for i := range msg.Body {
				msg.Body[i] = 'x' // the handler's own, in a file as well
			}
			return milter.SMFIS_CONTINUE
		},
	}})
	c := f.Connect()
	for _, size := range []int{0, 1, 65535, 65536, 256<<10 - 1, 256 << 10, 256<<10 + 1, 300_000, 1 << 20, 3, 10 << 20} {
		body = randomBody(size)
		sendBody(t, c, body)
		assert.False(t, mapped(t, dir), "after %d bytes", size)
	}
	c.Quit()
	assert.Empty(t, openTempFiles(t, dir))
}

func suffixes(files []string) (list []string) {
	for _, file := range files {
		list = append(list, file[strings.LastIndex(file, " "):])
	}
	return list
}

// The folder for bodies is the system's, unless the server has another.
func TestTempDirDefault(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	var file []string
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: func(*milter.Session, *milter.Message, *milter.Modifier) milter.Status {
		file = openTempFiles(t, dir)
		return milter.SMFIS_CONTINUE
	}})
	f.Send(miltertest.Mail{Data: "\n" + strings.Repeat("0123456789\n", 30_000)})
	assert.Len(t, file, 1)
}

// What was sent of a mail that does not reach its end is given back, in whatever way it is given up.
func TestBodyGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var got mails
	f := miltertest.StartServer(t, &milter.Server{TempDir: dir, Callbacks: milter.Callbacks{Message: got.add}})
	for name, end := range map[string]func(c *miltertest.Conn){
		"abort":       func(c *miltertest.Conn) { c.Abort(); c.Quit() },
		"lost":        func(c *miltertest.Conn) { c.Close() },
		"out of turn": func(c *miltertest.Conn) { c.MailFrom("c@example.org"); c.Quit() },
		"quit":        func(c *miltertest.Conn) { c.Quit() },
		"garbage":     func(c *miltertest.Conn) { c.WriteBytes([]byte("\xff\xff\xff\xff")); c.Close() },
	} {
		c := f.Connect()
		c.MailFrom("a@example.org")
		c.RcptTo("b@example.org")
		for range 8 {
			c.Segment(strings.Repeat("x", 65535))
		}
		end(c)
		require.Eventually(t, func() bool { return len(openTempFiles(t, dir)) == 0 }, waitLong, tick, name)
	}
	assert.Empty(t, got.take())
}

// MaxBody cuts the body, and the MTA sends no more if it knows SMFIS_SKIP.
func TestMaxBody(t *testing.T) {
	t.Parallel()
	const piece = 65535
	noSkip := miltertest.Postfix()
	noSkip.Protocol &^= milter.SMFIP_SKIP
	for _, test := range []struct {
		max, size int
		mta       miltertest.MTA
		body      int
		truncated bool
		sent      int
	}{
		{1000, 999, miltertest.Postfix(), 999, false, 999},
		{1000, 1000, miltertest.Postfix(), 1000, false, 1000},
		{1000, 1001, miltertest.Postfix(), 1000, true, 1001},
		{1000, 10 * piece, miltertest.Postfix(), 1000, true, piece},
		{1000, 10 * piece, miltertest.Sendmail(), 1000, true, piece},
		{1000, 10 * piece, noSkip, 1000, true, 10 * piece},
		{1000, 10 * piece, miltertest.Version2(), 1000, true, 10 * piece},
		{2 * piece, 10 * piece, miltertest.Postfix(), 2 * piece, true, 3 * piece},
		{2 * piece, 2 * piece, miltertest.Postfix(), 2 * piece, false, 2 * piece},
		{8 * piece, 10 * piece, miltertest.Postfix(), 8 * piece, true, 9 * piece},
		{8*piece + 7, 10 * piece, noSkip, 8*piece + 7, true, 10 * piece},
	} {
		t.Run(fmt.Sprintf("%d of %d, %v %d", test.max, test.size, test.mta.Kind, test.mta.Version), func(t *testing.T) {
			t.Parallel()
			var got mails
			f := miltertest.StartServer(t, &milter.Server{MaxBody: int64(test.max), TempDir: t.TempDir(), Callbacks: milter.Callbacks{Message: got.add}})
			c := f.With(test.mta).Connect()
			for range 2 {
				body := randomBody(test.size)
				assert.Equal(t, test.sent, sendBody(t, c, body))
				seen := got.take()
				require.Len(t, seen, 1)
				assert.True(t, seen[0].Body == body[:test.body], "%d bytes", len(seen[0].Body))
				assert.Equal(t, test.truncated, seen[0].Truncated)
			}
		})
	}
}

// A Segment callback that wants no more cuts the body as well.
func TestSegmentSkips(t *testing.T) {
	t.Parallel()
	var got mails
	f := miltertest.StartServer(t, &milter.Server{Protocol: milter.SMFIP_SKIP, Callbacks: milter.Callbacks{
		Segment: func(*milter.Session, []byte) milter.Status { return milter.SMFIS_SKIP },
		Message: got.add,
	}})
	assert.Equal(t, 65535, sendBody(t, f.Connect(), randomBody(200_000)))
	seen := got.take()
	require.Len(t, seen, 1)
	assert.Len(t, seen[0].Body, 65535)
	assert.True(t, seen[0].Truncated)
}

// A folder that can no longer take the body costs this mail, for now, and no other.
func TestNoFile(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, dir string){
		"no folder": func(t *testing.T, dir string) { require.NoError(t, os.Remove(dir)) },
		"a file": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(dir))
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		},
		"no files": func(t *testing.T, dir string) {
			require.NoError(t, os.Remove(dir))
			require.NoError(t, os.Symlink("/proc/self/fd", dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			var log lines
			dir := t.TempDir() + "/bodies"
			require.NoError(t, os.Mkdir(dir, 0o700))
			f := miltertest.StartServer(t, &milter.Server{TempDir: dir, Logger: log.logger(), Callbacks: milter.Callbacks{Message: got.add}})
			spoil(t, dir)
			c := f.Connect()
			large := miltertest.Mail{Data: "Subject: large\n\n" + strings.Repeat("0123456789\n", 100_000)}
			assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(large).Verdict)
			assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Data: "Subject: small\n\nx\n"}).Verdict)
			seen := got.take()
			require.Len(t, seen, 1)
			assert.Equal(t, "x\r\n", seen[0].Body)
			assert.Contains(t, log.String(), `msg="milter: mail not collected, answered SMFIS_TEMPFAIL"`)
			assert.Contains(t, log.String(), "keeping the body in a file in "+dir)
			assert.Equal(t, 1, strings.Count(log.String(), "\n"))
		})
	}
}

package postfix

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

func TestPortTaken(t *testing.T) {
	harness.RequireRoot(t, "Postfix")
	requirePrograms(t)
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()

	s := prepare(t, Config{})
	require.False(t, s.startOn(l.Addr().String()))
	s.startPostfix()
	transcript, exit := s.Swaks("--to", "recipient@example.org")
	require.Zero(t, exit, transcript)
	s.WaitDelivered(1)
}

// TestLinkedTempDir has the sink's files under two names: the sink must not be seen to have closed what it has open.
func TestLinkedTempDir(t *testing.T) {
	harness.RequireRoot(t, "Postfix")
	requirePrograms(t)
	link := filepath.Join(TempDir(t), "link")
	require.NoError(t, os.Symlink(TempDir(t), link))
	t.Setenv("TMPDIR", link)

	s := Start(t, Config{})
	conn, err := net.Dial("unix", s.path("sink"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "LHLO client.example.org\r\nMAIL FROM:<a@example.com>\r\n")
	require.NoError(t, err)
	s.wait("file of the mail", func() bool {
		files, err := os.ReadDir(s.path("mails"))
		return err == nil && len(files) == 1
	})
	assert.Empty(t, s.Delivered())

	_, err = fmt.Fprintf(conn, "RCPT TO:<b@example.org>\r\nDATA\r\nA: 1\r\n\r\nbody\r\n.\r\n")
	require.NoError(t, err)
	assert.Equal(t, []harness.Mail{{
		From:   harness.Path{Address: "a@example.com"},
		Rcpts:  []harness.Path{{Address: "b@example.org"}},
		Header: []string{"A: 1"},
		Body:   []byte("body\n"),
	}}, s.WaitDelivered(1))
}

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	harness.AssertGivesUp(t, []string{
		"postfix is not in PATH: install the Debian package postfix",
		"smtp-sink is not in PATH: install the Debian package postfix",
		"smtp-source is not in PATH: install the Debian package postfix",
		"swaks is not in PATH: install the Debian package swaks",
	}, requirePrograms)
}

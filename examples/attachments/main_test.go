package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
)

// TestMain runs the program itself in a process that a test has started for it.
func TestMain(m *testing.M) {
	if os.Getenv("RUN_ATTACHMENTS") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command is the program in a process of its own, and what it logs.
func command(t *testing.T, args ...string) (cmd *exec.Cmd, log *bytes.Buffer) {
	t.Helper()
	log = &bytes.Buffer{}
	cmd = exec.CommandContext(t.Context(), os.Args[0], args...)
	cmd.Env = append(os.Environ(), "RUN_ATTACHMENTS=1")
	cmd.Stderr = log
	return cmd, log
}

// SIGTERM lets a session that is open come to its end.
func TestProgram(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "socket")
	cmd, log := command(t, "-addr", "unix:"+socket)
	require.NoError(t, cmd.Start())
	require.Eventually(t, func() bool {
		conn, err := net.Dial("unix", socket)
		return err == nil && conn.Close() == nil
	}, 30*time.Second, 20*time.Millisecond)

	mta := miltertest.Postfix()
	mta.T = t
	c, err := mta.Dial("unix:" + socket)
	require.NoError(t, err)
	c.Connect("client.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 40000})
	c.Helo("client.example.org")
	c.MailFrom("<a@example.org>")
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	c.RcptTo("<b@example.com>")
	c.Header("Content-Type", " text/plain; name=evil.exe")
	c.EOH()
	require.Equal(t, evilReply, c.EOM().Reply.String())
	c.Quit()

	require.NoError(t, cmd.Wait(), log)
	lines := strings.Split(strings.TrimSpace(log.String()), "\n")
	require.Contains(t, lines[0], `"msg":"serving"`)
	require.Contains(t, lines[len(lines)-1], `"msg":"stopped","mails":1,"cut_off":0`)
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args string
		want string
	}{
		{"-help", "Usage of attachments:\n"},
		{"x", `attachments: "x" is no flag`},
		{"-none", "attachments: flag provided but not defined: -none"},
		{"-max-parts 0", "attachments: -max-parts is below 1"},
		{"-addr nowhere:", "attachments: "},
	} {
		t.Run(tc.args, func(t *testing.T) {
			cmd, log := command(t, strings.Fields(tc.args)...)
			err := cmd.Run()
			require.Contains(t, log.String(), tc.want)
			require.Equal(t, tc.args == "-help", err == nil, fmt.Sprint(err))
		})
	}
}

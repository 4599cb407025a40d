package harness

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// RunWith runs a command with a text on its standard input, and returns what it printed and its
// exit code.
func RunWith(t testing.TB, cmd *exec.Cmd, stdin string) (output string, exit int) {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatal(err)
	}
	return out.String(), cmd.ProcessState.ExitCode()
}

// Dialogue is a running command's standard output, to be read, and input, to be written.
type Dialogue struct {
	io.Reader
	io.WriteCloser
}

// StartDialogue starts a command that reads and answers. It is killed when the test ends, if it has
// not ended before.
func StartDialogue(t testing.TB, cmd *exec.Cmd) *Dialogue {
	t.Helper()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return &Dialogue{stdout, stdin}
}

// SetDeadline bounds how long it is read.
func (d *Dialogue) SetDeadline(t time.Time) error { return d.Reader.(*os.File).SetReadDeadline(t) }

package sendmail

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/libmilter/go-libmilter/test/harness"
)

// unpacked is where scripts/deps.sh unpacks Debian's packages, in the module's folder.
const unpacked = ".cache/sendmail"

// The programs and files of Debian's packages that are used, in the folder in which they are unpacked.
const (
	program = "usr/libexec/sendmail/sendmail"  // of sendmail-bin
	cfM4    = "usr/share/sendmail/cf/m4/cf.m4" // of sendmail-cf
)

// requirePrograms gives the test up when Sendmail or m4 is missing, and returns the folder in which Sendmail is unpacked.
func requirePrograms(t testing.TB) string {
	t.Helper()
	if _, err := exec.LookPath("m4"); err != nil {
		harness.GiveUp(t, "m4 is not in PATH: make test-deps installs it")
	}
	root, err := moduleDir()
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(root, unpacked)
	for _, file := range []string{program, cfM4} {
		if _, err := os.Stat(filepath.Join(dir, file)); err != nil {
			harness.GiveUp(t, err.Error()+": make test-deps unpacks it")
		}
	}
	return dir
}

// moduleDir returns the folder of the module whose test this is: a test runs in its package's folder.
func moduleDir() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = parent
	}
}

// requireName gives the test up when Sendmail would sleep over the host's name. It says whether Sendmail shall have a UTS
// namespace.
func requireName(t testing.TB) (namespace bool) {
	t.Helper()
	cmd := exec.Command("true")
	enterNamespace(cmd)
	err := cmd.Run()
	if err == nil {
		return true
	}
	name, nameErr := os.Hostname()
	if nameErr != nil {
		t.Fatal(nameErr)
	}
	if !strings.Contains(name, ".") {
		harness.GiveUp(t, "the host's name "+name+" has no dot, with which Sendmail sleeps for a minute, and a UTS namespace to change it in cannot be had: "+err.Error())
	}
	return false
}

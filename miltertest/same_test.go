package miltertest_test

import (
	"bufio"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// startC runs the reference filter in C, which continues at every step: callbacks are "connect,helo", "all", ….
func startC(t *testing.T, bin string, actions milter.Action, callbacks string) (addr string) {
	addr = "unix:" + filepath.Join(t.TempDir(), "s")
	cmd := exec.Command(bin, addr, fmt.Sprintf("%x", uint32(actions)), callbacks)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "ready\n", line)
	return addr
}

func buildC(t *testing.T) (bin string) {
	bin = filepath.Join(t.TempDir(), "cfilter")
	out, err := exec.Command("gcc", "-std=c17", "-o", bin, "../test/cfilter/cfilter.c", "-lmilter").CombinedOutput()
	require.NoError(t, err, "%s", out)
	return bin
}

// continuing gives the same callbacks in Go.
func continuing(names string) (cb milter.Callbacks) {
	ok := func(*milter.Session, string, []string) milter.Status { return milter.SMFIS_CONTINUE }
	plain := func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
	for name := range strings.SplitSeq(names, ",") {
		switch name {
		case "helo":
			cb.Helo = func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
		case "envfrom":
			cb.MailFrom = ok
		case "envrcpt":
			cb.RcptTo = ok
		case "data":
			cb.Data = plain
		case "header":
			cb.Header = func(*milter.Session, string, string) milter.Status { return milter.SMFIS_CONTINUE }
		case "eoh":
			cb.EOH = plain
		case "body":
			cb.Segment = func(*milter.Session, []byte) milter.Status { return milter.SMFIS_CONTINUE }
		case "unknown":
			cb.Unknown = func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
		}
	}
	return cb
}

// On the wire, a filter of this process cannot be told from one in C that has libmilter to itself: what it asks for, where
// it refuses, and how it answers.
func TestSameAsCFilter(t *testing.T) {
	t.Parallel()
	bin := buildC(t)
	for _, callbacks := range []string{"", "helo", "envfrom,envrcpt,eom", "header,eoh,body", "helo,data,unknown",
		"helo,envfrom,envrcpt,data,header,eoh,body,unknown,eom,abort,close"} {
		for _, actions := range []milter.Action{0, milter.SMFIF_ADDHDRS, 0x1ff} {
			t.Run(callbacks+" "+actions.String(), func(t *testing.T) {
				t.Parallel()
				c := startC(t, bin, actions, callbacks)
				f := miltertest.Start(t, actions, continuing(callbacks))
				for _, mta := range offers() {
					inC, errC := mta.Dial(c)
					inGo, errGo := f.With(mta).Dial()
					if errC != nil || errGo != nil {
						require.EqualError(t, errGo, fmt.Sprint(errC), "%+v", mta)
						continue
					}
					assert.Equal(t, converse(inC), converse(inGo), "%+v", mta)
				}
			})
		}
	}
}

// offers are MTAs old and new.
func offers() (mtas []miltertest.MTA) {
	for _, version := range []int{1, 2, 3, 4, 6, 7} {
		for _, actions := range []milter.Action{0, milter.SMFIF_ADDHDRS, 0xf, 0x1ff} {
			for _, protocol := range []milter.Protocol{0, 0x3f, 0x7f, 0x1fffff &^ milter.SMFIP_SKIP, 0x1fffff} {
				mtas = append(mtas, miltertest.MTA{Version: version, Actions: actions, Protocol: protocol,
					MacroLists: miltertest.Postfix().MacroLists,
					Macros:     miltertest.Macros{miltertest.EveryStage: {"i": "4Yq2cB1mVgz"}}})
			}
		}
	}
	return mtas
}

// converse has a conversation and gives its packets.
func converse(c *miltertest.Conn) []string {
	c.Send(miltertest.Mail{To: []string{"<a@example.com>", "<b@example.com> NOTIFY=NEVER"}, Data: "A: 1\nB:2\n\nbody\n"})
	c.Unknown("XYZZY")
	c.MailFrom("<>")
	c.Abort()
	c.Send(miltertest.Mail{})
	c.QuitNC()
	c.Send(miltertest.Mail{Data: "no header\n"})
	c.Quit()
	return strings.Split(c.Transcript().String()+fmt.Sprint(c.Err()), "\n")
}

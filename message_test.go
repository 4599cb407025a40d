//go:build cgo

package milter_test

import (
	"os/signal"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// Callbacks.Message in a process of its own: what is registered with libmilter, and what the system can refuse to a process.
// All else is in test/message.

// deciding reports each mail's size, and lets it pass. As its argument says, it can write no large file.
var deciding = register("deciding", func(e *child) *milter.Server {
	srv := &milter.Server{}
	if e.arg == "files of 1 MB" {
		srv.MaxBody = 1 << 30          // so that pieces are answered
		signal.Ignore(syscall.SIGXFSZ) // which would end any program
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 1 << 20, Max: 1 << 20}); err != nil {
			panic(err)
		}
	}
	srv.Callbacks.Message = func(s *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
		e.emit(s.ID(), "message", msg.From.Address, len(msg.Rcpts), msg.Header.Len(), len(msg.Body))
		return milter.SMFIS_CONTINUE
	}
	return srv
})

// The steps of a mail come without callbacks of their own, and without answers.
func TestMessageAlone(t *testing.T) {
	t.Parallel()
	p := start(t, deciding)
	w := p.session()
	_, _, protocol := w.Negotiated()
	assert.Zero(t, protocol&(milter.SMFIP_NOCONNECT|milter.SMFIP_NOHELO|milter.SMFIP_NOMAIL|milter.SMFIP_NORCPT|milter.SMFIP_NOHDRS|milter.SMFIP_NOBODY))
	require.Equal(t, milter.SMFIP_NODATA|milter.SMFIP_NOUNKNOWN|milter.SMFIP_NOEOH, protocol&(milter.SMFIP_NODATA|milter.SMFIP_NOUNKNOWN|milter.SMFIP_NOEOH))
	for range 2 {
		w.Write('M', z("<a@example.org>"))
		w.Write('R', z("<b@example.org>"))
		w.Write('R', z("<c@example.org>"))
		w.Write('L', z("Subject", " x"))
		w.Write('B', "body\r\n")
		assert.Equal(t, reply('c'), w.ask('E'))
	}
	w.Quit()
	p.stop()
	for _, e := range p.named("message") {
		assert.Equal(t, []string{"<a@example.org>", "2", "1", "6"}, e.Args)
	}
	assert.Len(t, p.named("message"), 2)
	assert.Contains(t, p.awaitName("ended").Args[1], "Messages:2 Callbacks:4") // negotiate, two ends, close
}

// A body that the system takes no more of costs its mail, and nothing else.
func TestMessageNoRoom(t *testing.T) {
	t.Parallel()
	p := start(t, deciding, withArg("files of 1 MB"))
	w := p.session()
	send := func(pieces int) string {
		w.Write('M', z("<a@example.org>"))
		w.Write('R', z("<b@example.org>"))
		for range pieces {
			if answer := w.ask('B', strings.Repeat("x", 65535)); answer.Code == 's' {
				break
			}
		}
		return string(w.ask('E').Code)
	}
	for range 3 {
		assert.Equal(t, "t", send(20), "over 1 MB")
		assert.Equal(t, "c", send(10))
	}
	w.Quit()
	p.stop()
	logs := p.named("log")
	require.Len(t, logs, 3)
	for _, e := range logs {
		assert.Contains(t, e.Args[0], "milter: mail not collected, answered SMFIS_TEMPFAIL")
		assert.Contains(t, e.Args[0], syscall.EFBIG.Error())
	}
}

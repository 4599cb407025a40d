//go:build cgo

package milter_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// noReply are the steps that can go without an answer, in the order of a mail, each with its bit and
// the callback.
var noReply = []struct {
	step     string // as in ordinary
	callback string // as in callbackNames
	bit      milter.Protocol
}{
	{"Connect", "connect", milter.SMFIP_NR_CONN},
	{"Helo", "helo", milter.SMFIP_NR_HELO},
	{"MailFrom", "mailfrom", milter.SMFIP_NR_MAIL},
	{"RcptTo", "rcptto", milter.SMFIP_NR_RCPT},
	{"Data", "data", milter.SMFIP_NR_DATA},
	{"Header", "header", milter.SMFIP_NR_HDR},
	{"EOH", "eoh", milter.SMFIP_NR_EOH},
	{"Segment", "segment", milter.SMFIP_NR_BODY},
}

// A handler that fails at a step without an answer does not let the mail pass: the next answer is SMFIS_TEMPFAIL, and the
// log says both. What is between the two does not reach the filter.
func TestFailureWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	var all milter.Protocol
	for _, step := range noReply {
		all |= step.bit
	}
	for i, failed := range noReply {
		for how, what := range map[string]string{
			"panic": "callback panicked", "goexit": "callback panicked", "75": "callback returned no valid status",
		} {
			for name, silent := range map[string]milter.Protocol{"alone": failed.bit, "all": all} {
				t.Run(fmt.Sprint(failed.step, " ", how, " ", name), func(t *testing.T) {
					t.Parallel()
					p := start(t, failing, withArg(fmt.Sprint(failed.callback, " ", how, "/", uint32(silent))))
					w := p.session()
					next := "EOM"
					if name == "alone" && i+1 < len(noReply) {
						next = noReply[i+1].step
					}
					assert.Equal(t, milter.SMFIS_TEMPFAIL, w.until("Connect", next).Status)
					w.Abort()
					// A step of the client's decides about all of its mails, one of a mail about that one.
					second := max(place(next), place("MailFrom"))
					assert.Equal(t, milter.SMFIS_TEMPFAIL, w.until("MailFrom", ordinary[second].name).Status)
					w.Quit()
					p.stop()
					checkFailureLog(t, p, failed.callback, what, next)
				})
			}
		}
	}
}

// place returns where in ordinary a step is.
func place(name string) int {
	for i, step := range ordinary {
		if step.name == name {
			return i
		}
	}
	panic("there is no step " + name)
}

// until takes the steps from first on, and returns the reply to the last.
func (w *wire) until(first, last string) (reply miltertest.Reply) {
	for _, step := range ordinary[place(first) : place(last)+1] {
		reply = step.take(w)
	}
	return reply
}

// checkFailureLog requires a line about each failure, the client's or one of each mail, and about each
// mail's answer.
func checkFailureLog(t *testing.T, p *process, callback, what, next string) {
	t.Helper()
	type record struct{ Msg, Callback, Failed string }
	var got []record
	for _, log := range p.named("log") {
		var r record
		require.NoError(t, json.Unmarshal([]byte(log.Args[0]), &r))
		if r.Msg != "milter: callback answered a step that was negotiated without replies, answer dropped" {
			got = append(got, r)
		}
	}
	c, at := callbackNames[callback].c, callbackNames[strings.ToLower(next)].c
	failure := record{"milter: " + what + ", SMFIS_TEMPFAIL is the next answer", c, ""}
	answer := record{"milter: answered SMFIS_TEMPFAIL, in place of a step without an answer that failed", at, c}
	switch {
	case callback == "connect" && next == "Helo":
		assert.Equal(t, []record{failure, answer, {answer.Msg, "xxfi_envfrom", c}}, got)
	case callback == "connect" || callback == "helo":
		assert.Equal(t, []record{failure, answer, answer}, got)
	default:
		assert.Equal(t, []record{failure, answer, failure, answer}, got)
	}
}

// A failure at a step of one mail does not decide about the next one; a command that is unknown has no mail.
func TestFailureWithoutAnAnswerEnds(t *testing.T) {
	t.Parallel()
	t.Run("the next mail", func(t *testing.T) {
		t.Parallel()
		p := start(t, failingOnce)
		w := p.session()
		w.MailFrom("a@example.org")
		assert.Equal(t, milter.SMFIS_NOREPLY, w.Header("A", "b").Status)
		assert.Equal(t, milter.SMFIS_NOREPLY, w.Header("C", "d").Status)
		assert.Equal(t, packets{reply('t')}, w.end())
		for range 2 {
			w.MailFrom("a@example.org")
			w.Header("A", "b")
			assert.Equal(t, packets{reply('c')}, w.end())
		}
		w.Quit()
		p.stop()
		assert.Len(t, p.named("header"), 3, "one that failed, and those of the other mails")
		assert.Len(t, p.named("eom"), 2)
	})
	t.Run("unknown command", func(t *testing.T) {
		t.Parallel()
		p := start(t, failing, withArg(fmt.Sprint("unknown panic/", uint32(milter.SMFIP_NR_UNKN))))
		w := p.session()
		w.open()
		assert.Equal(t, milter.SMFIS_NOREPLY, w.Unknown("FOO").Status)
		w.mail()
		w.Quit()
		p.stop()
		logs := p.named("log")
		require.Len(t, logs, 1)
		assert.Contains(t, logs[0].Args[0], "callback panicked, there is no answer to it")
	})
}

// failingOnce fails at the first field of the first mail, which has no answer.
var failingOnce = register("failing once", func(e *child) *milter.Server {
	failed := false
	return &milter.Server{Protocol: milter.SMFIP_NR_HDR, Callbacks: milter.Callbacks{
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status { return milter.SMFIS_CONTINUE },
		Header: func(s *milter.Session, name, value string) milter.Status {
			e.emit(s.ID(), "header")
			if !failed {
				failed = true
				panic("out of order")
			}
			return milter.SMFIS_NOREPLY
		},
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			e.emit(s.ID(), "eom")
			return milter.SMFIS_CONTINUE
		},
	}}
})

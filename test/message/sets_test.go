package message

import (
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/script"
)

// beside are the callbacks that may be set beside Message and count how often they come.
var beside = []struct {
	name string
	set  func(cb *milter.Callbacks, n *atomic.Int64)
}{
	{"Unknown", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Unknown = func(*milter.Session, string) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Data", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Data = func(*milter.Session) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"EOH", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.EOH = func(*milter.Session) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Connect", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Connect = func(*milter.Session, string, net.Addr) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Helo", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Helo = func(*milter.Session, string) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"MailFrom", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.MailFrom = func(*milter.Session, string, []string) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"RcptTo", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.RcptTo = func(*milter.Session, string, []string) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Header", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Header = func(*milter.Session, string, string) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Segment", func(cb *milter.Callbacks, n *atomic.Int64) {
		cb.Segment = func(*milter.Session, []byte) milter.Status { n.Add(1); return milter.SMFIS_CONTINUE }
	}},
	{"Abort", func(cb *milter.Callbacks, n *atomic.Int64) { cb.Abort = func(*milter.Session) { n.Add(1) } }},
}

// play plays a script, and requires that Message is given its mail.
func play(t *testing.T, f *miltertest.Filter, got *mails, s script.Session) {
	t.Helper()
	require.Equal(t, milter.SMFIS_ACCEPT, s.Play(f.Connect()).Verdict, "%v", s)
	seen := got.take()
	require.Len(t, seen, 1, "%v", s)
	assert.Equal(t, "<a@example.org>", seen[0].From.Address)
	assert.Len(t, seen[0].Rcpts, 1)
	assert.Equal(t, s.Header, len(seen[0].Header) == 1)
	assert.Equal(t, s.Body, seen[0].Body != "")
}

// Whatever callbacks are set beside Message, and wherever commands come that the MTA does not know, and RSET: libmilter keeps
// its place in the mail. (libmilter's table of states is the process's, and only gets more lenient; TestSetsAlone in the
// library's own tests has a process for each set that makes a difference to it.)
func TestSets(t *testing.T) {
	t.Parallel()
	for set := range 1 << len(beside) {
		var names []string
		var calls atomic.Int64
		var got mails
		srv := &milter.Server{}
		for i, callback := range beside {
			if set&(1<<i) != 0 {
				callback.set(&srv.Callbacks, &calls)
				names = append(names, callback.name)
			}
		}
		srv.Callbacks.Message = got.add
		t.Run(strings.Join(names, "+"), func(t *testing.T) {
			t.Parallel()
			f := miltertest.StartServer(t, srv)
			for place := range script.AllPlaces {
				shape := (set + int(place)) % 4
				play(t, f, &got, script.Session{Place: place, Times: 1 + set%2, Header: shape&1 != 0, Body: shape&2 != 0})
			}
			reset := []string{"MailFrom", "RcptTo"}[set%2]
			play(t, f, &got, script.Session{Place: script.BeforeRcpt, Times: 1, Reset: reset, Header: true, Body: true})
			assert.Equal(t, len(names) > 0, calls.Load() > 0)
		})
	}
}

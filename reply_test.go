//go:build cgo

package milter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// leaving sets a reply at the recipient, and what it returns there is not what goes with it: the
// recipient "later" is refused for good, "now" for now.
var leaving = register("leaving", func(e *child) *milter.Server {
	var kept milter.Status
	return &milter.Server{Callbacks: milter.Callbacks{
		Helo: func(s *milter.Session, identity string) milter.Status {
			return milter.SMFIS_CONTINUE
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			var err error
			switch e.arg {
			case "SetReply":
				err = s.SetReply("550", "5.7.1", "About the first")
			case "SetMLReply":
				err = s.SetMLReply("550", "5.7.1", "About the first")
			case "Reply":
				kept = s.Reply(550, "5.7.1", "About the first")
			case "SetReply, then Reply":
				err = s.SetReply("550", "5.7.1", "Never said")
				kept = s.Reply(550, "5.7.1", "About the first")
			case "used":
				return s.Reply(550, "5.7.1", "About the first")
			}
			if err != nil {
				panic(err)
			}
			if strings.Contains(address, "now") {
				return milter.SMFIS_TEMPFAIL
			}
			return milter.SMFIS_CONTINUE
		},
		Data: func(s *milter.Session) milter.Status {
			if kept == milter.SMFIS_CONTINUE {
				return milter.SMFIS_REJECT
			}
			return kept // of another callback's reply
		},
	}}
})

// A reply that its callback does not use goes out with the next refusal of its class, where C's way was taken, and the log
// says so once. One of Session.Reply does not.
func TestReplyLeftBehind(t *testing.T) {
	t.Parallel()
	const left = "milter: callback set a reply and did not use it, it goes out with the next refusal of its class on this connection"
	const dropped = "milter: callback did not return the status of Session.Reply, reply dropped"
	for how, tc := range map[string]struct {
		rcpt byte
		data miltertest.Packet
		log  []string
	}{
		"SetReply":             {'c', reply('y', z("550 5.7.1 About the first")), []string{left}},
		"SetMLReply":           {'c', reply('y', z("550 5.7.1 About the first")), []string{left}},
		"Reply":                {'c', reply('r'), []string{dropped}},
		"SetReply, then Reply": {'c', reply('y', z("550 5.7.1 Never said")), []string{dropped, left}},
		"used":                 {'y', reply('r'), nil},
	} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := start(t, leaving, withArg(how))
			w := p.session()
			w.until("Connect", "Helo")
			for range 2 {
				w.MailFrom("a@example.org")
				w.RcptTo("b@example.com")
				assert.Equal(t, tc.rcpt, w.last().Code)
				w.Data()
				assert.Equal(t, tc.data, w.last())
			}
			w.Quit()
			p.stop()
			var got []string
			for _, log := range p.named("log") {
				require.Contains(t, log.Args[0], `"callback":"xxfi_envrcpt"`)
				message, _, _ := strings.Cut(log.Args[0][strings.Index(log.Args[0], `"msg":"`)+len(`"msg":"`):], `"`)
				got = append(got, message)
			}
			assert.Equal(t, tc.log, got)
		})
	}
	t.Run("another class", func(t *testing.T) {
		t.Parallel()
		p := start(t, leaving, withArg("Reply"))
		w := p.session()
		w.until("Connect", "MailFrom")
		w.RcptTo("now@example.com")
		assert.Equal(t, reply('t'), w.last())
		w.Quit()
		p.stop()
		assert.Contains(t, p.awaitName("log").Args[0], dropped)
	})
}

// A reply does not outlive a handler that fails.
func TestReplyOfFailure(t *testing.T) {
	t.Parallel()
	p := start(t, replyingAndFailing)
	w := p.session()
	w.Helo("a.example")
	assert.Equal(t, reply('t'), w.last())
	w.MailFrom("a@example.org")
	assert.Equal(t, reply('t'), w.last())
	w.Quit()
	p.stop()
}

var replyingAndFailing = register("replying and failing", func(*child) *milter.Server {
	return &milter.Server{Callbacks: milter.Callbacks{
		Helo: func(s *milter.Session, identity string) milter.Status {
			s.Reply(451, "4.7.1", "Not now")
			panic("out of order")
		},
		MailFrom: func(*milter.Session, string, []string) milter.Status { return milter.SMFIS_TEMPFAIL },
	}}
})

//go:build cgo

package milter_test

import (
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// stateful keeps its state in Local, and reports at each callback what it finds there and which session it is in.
var stateful = register("stateful", func(e *child) *milter.Server {
	step := func(s *milter.Session, name string) milter.Status {
		trail, _ := s.Local.(string)
		s.Local = trail + name + " "
		e.emit(s.ID(), name, trail, s.Context().Err())
		return milter.SMFIS_CONTINUE
	}
	var first atomic.Pointer[milter.Session]
	return &milter.Server{Callbacks: milter.Callbacks{
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			if !first.CompareAndSwap(nil, s) {
				e.emit(s.ID(), "earlier context", first.Load().Context().Err())
			}
			return step(s, "connect")
		},
		Helo:     func(s *milter.Session, identity string) milter.Status { return step(s, "helo") },
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status { return step(s, "mailfrom") },
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			if (milter.Path{Address: address}).Is("refused@example.com") {
				step(s, "refused")
				return milter.SMFIS_REJECT
			}
			return step(s, "rcptto")
		},
		EOM:   func(s *milter.Session, m *milter.Modifier) milter.Status { return step(s, "eom") },
		Abort: func(s *milter.Session) { step(s, "abort") },
		Close: func(s *milter.Session) { step(s, "close") },
	}}
})

// trails gives, for each session, what Local held at its close.
func (p *process) trails() map[uint64]string {
	trails := map[uint64]string{}
	for _, e := range p.named("close") {
		trails[e.Session] += "[" + strings.TrimSpace(e.Args[0]) + "]"
	}
	return trails
}

func TestSessions(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		talk func(p *process, w *wire)
		want map[uint64]string
	}{
		"port probe": {func(p *process, w *wire) { w.Close() }, map[uint64]string{1: "[]"}},
		"only negotiation": {func(p *process, w *wire) {
			w.Negotiate()
			w.Close()
		}, map[uint64]string{1: "[]"}},
		"lost in mid-mail": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			w.envelope()
			w.Close()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto abort]"}},
		"two mails": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			for range 2 {
				w.envelope()
				w.end()
			}
			w.Quit()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto eom mailfrom rcptto eom]"}},
		"RSET": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			w.envelope()
			w.Abort()
			w.envelope()
			w.end()
			w.Quit()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto abort mailfrom rcptto eom]"}},
		"recipient refused": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			w.envelope()
			require.Equal(w.t, milter.SMFIS_REJECT, w.RcptTo("<refused@example.com>").Status)
			w.continues(w.RcptTo("<third@example.com>"))
			w.end()
			w.Quit()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto refused rcptto eom]"}},
		"quit, new connection": {func(p *process, w *wire) {
			w.Negotiate()
			for range 3 {
				w.open()
				w.envelope()
				w.end()
				w.QuitNC()
			}
			w.open()
			w.Quit()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto eom]", 2: "[connect helo mailfrom rcptto eom]",
			3: "[connect helo mailfrom rcptto eom]", 4: "[connect helo]"}},
		// libmilter itself closes again when the connection ends after SMFIC_QUIT_NC: a session that saw nothing.
		"quit, new connection, and none": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			w.envelope()
			w.end()
			w.QuitNC()
			p.awaitName("close") // libmilter reads nothing more once it sees that the peer is gone
			w.Close()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto eom]", 2: "[]"}},
		// It takes SMFIC_QUIT_NC after a mail only: here it is not heard, and the session goes on to its end.
		"quit, new connection, too early": {func(p *process, w *wire) {
			w.Negotiate()
			w.open()
			w.QuitNC()
			w.envelope()
			w.end()
			w.Quit()
		}, map[uint64]string{1: "[connect helo mailfrom rcptto eom]"}},
		"no negotiation": {func(p *process, w *wire) {
			w.continues(w.MailFrom("<a@example.org>"))
			w.Close()
		}, map[uint64]string{1: "[mailfrom abort]"}},
		"garbage": {func(p *process, w *wire) {
			w.WriteBytes([]byte("GET / HTTP/1.0\r\n\r\n"))
			w.WaitClosed()
		}, map[uint64]string{1: "[]"}},
		"empty packet": {func(p *process, w *wire) {
			w.WriteBytes([]byte{0, 0, 0, 0})
			w.Close()
		}, map[uint64]string{1: "[]"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, stateful)
			tc.talk(p, p.connect())
			for session := range tc.want {
				p.await("close", func(e event) bool { return e.Name == "close" && e.Session == session })
			}
			p.stop()
			assert.Equal(t, tc.want, p.trails())
			for _, e := range p.named("earlier context") {
				assert.Equal(t, "context canceled", e.Args[0])
			}
			stats := p.awaitName("ended").Args[1]
			assert.Contains(t, stats, fmt.Sprintf("SessionsOpen:0 SessionsTotal:%d SessionsCutOff:0", len(tc.want)))
		})
	}
}

// keepsTerms changes each mail, and says what it knows of the negotiation.
var keepsTerms = register("keeps terms", func(e *child) *milter.Server {
	return &milter.Server{Callbacks: milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
			n.Actions = milter.SMFIF_ADDHDRS
			n.Protocol |= milter.SMFIP_NR_HELO
			return milter.SMFIS_CONTINUE
		},
		Helo: func(s *milter.Session, identity string) milter.Status { return milter.SMFIS_CONTINUE },
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			actions, protocol := s.Negotiated()
			e.emit(s.ID(), "terms", actions, protocol&milter.SMFIP_NR_HELO)
			e.report(s, "addheader", m.AddHeader("X", "y"))
			e.report(s, "quarantine", m.Quarantine("z"))
			return milter.SMFIS_CONTINUE
		},
	}}
})

// A connection negotiates once: the sessions that follow on it after SMFIC_QUIT_NC are under the same terms.
func TestTermsOutliveQuitNC(t *testing.T) {
	t.Parallel()
	p := start(t, keepsTerms)
	w := p.session()
	for range 3 {
		require.Equal(t, milter.SMFIS_NOREPLY, w.Helo("a.example").Status)
		assert.Equal(t, packets{reply('h', z("X", "y")), reply('c')}, w.end())
		w.QuitNC()
	}
	w.Quit()
	p.stop()
	terms := p.named("terms")
	require.Len(t, terms, 3)
	for i, e := range terms {
		assert.Equal(t, uint64(i+1), e.Session)
		assert.Equal(t, []string{"SMFIF_ADDHDRS", "SMFIP_NR_HELO"}, e.Args)
		assert.Equal(t, []string{"<nil>", ""}, p.named("addheader")[i].Args)
		assert.Equal(t, "ErrNotNegotiated", p.named("quarantine")[i].Args[1])
	}
	assert.Len(t, p.named("log"), 1, "the answer to HELO, once")
}

// A connection at the address of an earlier one, which did negotiate, has none of its terms, in no session.
func TestNoTermsWithoutNegotiation(t *testing.T) {
	t.Parallel()
	p := start(t, keepsTerms)
	for i := range 20 { // some get the memory of the one before
		w := p.session()
		w.Quit()
		w = p.connect()
		for range 2 {
			assert.Equal(t, reply('c'), w.ask('H', z("a.example"))) // answered, since nobody has agreed on anything else
			assert.Equal(t, packets{reply('c')}, w.end())
			w.QuitNC()
			assert.Equal(t, reply('c'), w.ask('C', z("a.example"), "U"))
		}
		w.Quit()
		p.await("terms", func(e event) bool { return e.Name == "terms" && e.Session == uint64(4*i+3) })
	}
	p.stop()
	for i, e := range p.named("terms") {
		assert.Equal(t, []string{"SMFIF_NONE", "Protocol(0)"}, e.Args)
		assert.Equal(t, "ErrNotNegotiated", p.named("addheader")[i].Args[1])
	}
}

// Sessions at the same time keep their states apart; in a build with a worker pool their callbacks change threads.
func TestSessionsAtOnce(t *testing.T) {
	t.Parallel()
	p := start(t, stateful)
	var wg sync.WaitGroup
	for range 20 {
		w := p.session()
		wg.Go(func() {
			w.open()
			for range 10 {
				w.envelope()
				w.Abort()
				w.envelope()
				w.end()
			}
			w.Quit()
		})
	}
	wg.Wait()
	p.stop()
	trails := p.trails()
	require.Len(t, trails, 20)
	for _, trail := range trails {
		assert.Equal(t, "[connect helo"+strings.Repeat(" mailfrom rcptto abort mailfrom rcptto eom", 10)+"]", trail)
	}
}

// macros reports the value of each macro that its argument names, at each callback.
var macros = register("macros", func(e *child) *milter.Server {
	cb := recorder(e)
	look := func(s *milter.Session, when string) milter.Status {
		for _, name := range strings.Split(e.arg, " ") {
			value, ok := s.Macro(name)
			e.emit(s.ID(), when, fmt.Sprintf("%q", name), fmt.Sprintf("%q", value), ok)
		}
		return milter.SMFIS_CONTINUE
	}
	cb.Connect = func(s *milter.Session, host string, addr net.Addr) milter.Status { return look(s, "connect") }
	cb.MailFrom = func(s *milter.Session, address string, args []string) milter.Status { return look(s, "mailfrom") }
	cb.EOM = func(s *milter.Session, m *milter.Modifier) milter.Status { return look(s, "eom") }
	return &milter.Server{Callbacks: cb}
})

func TestMacro(t *testing.T) {
	t.Parallel()
	p := start(t, macros, withArg("j {j} i {client_addr} client_addr {8bit} {empty} {nul\x01} none"))
	mta := p.mta()
	mta.Macros = miltertest.Macros{
		milter.SMFIM_CONNECT: {"j": "mx.example.org", "{client_addr}": "192.0.2.1", "{empty}": ""},
		milter.SMFIM_ENVFROM: {"i": "4QUEUE", "{8bit}": "\xff\x80", "j": "other.example.org"},
		milter.SMFIM_EOM:     {"i": "5QUEUE"},
	}
	w := p.dial(mta)
	w.Negotiate()
	w.open()
	w.envelope()
	w.end()
	w.Quit()
	p.stop()
	values := func(when string) map[string]string {
		found := map[string]string{}
		for _, e := range p.named(when) {
			if e.Args[2] == "true" {
				found[e.Args[0]] = e.Args[1]
			} else {
				assert.Equal(t, `""`, e.Args[1])
			}
		}
		return found
	}
	assert.Equal(t, map[string]string{`"j"`: `"mx.example.org"`, `"{j}"`: `"mx.example.org"`, `"{client_addr}"`: `"192.0.2.1"`, `"{empty}"`: `""`}, values("connect"))
	assert.Equal(t, map[string]string{`"j"`: `"other.example.org"`, `"{j}"`: `"other.example.org"`, `"i"`: `"4QUEUE"`,
		`"{client_addr}"`: `"192.0.2.1"`, `"{8bit}"`: `"\xff\x80"`, `"{empty}"`: `""`}, values("mailfrom"))
	assert.Equal(t, map[string]string{`"j"`: `"other.example.org"`, `"{j}"`: `"other.example.org"`, `"i"`: `"5QUEUE"`,
		`"{client_addr}"`: `"192.0.2.1"`, `"{8bit}"`: `"\xff\x80"`, `"{empty}"`: `""`}, values("eom"))
}

// The log has the queue id of a mail. Before there is one the library asks for no macros of its own accord: a malformed packet
// of them crashes smfi_getsymval.
func TestQueueIDInLog(t *testing.T) {
	t.Parallel()
	for callback, want := range map[string]bool{
		"connect": false, "helo": false, "unknown": false, "mailfrom": true, "header": true, "eom": true, "abort": true, "close": false,
	} {
		t.Run(callback, func(t *testing.T) {
			t.Parallel()
			p := start(t, failing, withArg(callback+" panic"))
			mta := p.mta()
			mta.Macros = miltertest.Macros{milter.SMFIM_CONNECT: {"i": "QUEUE"}}
			w := p.dial(mta)
			w.Negotiate()
			if before := callbackNames[callback].before; before != "" {
				w.upTo(before)
			}
			callbackNames[callback].step(w)
			if callback != "close" {
				w.Quit()
			} else {
				w.WaitClosed()
			}
			p.stop()
			assert.Equal(t, want, strings.Contains(p.awaitName("log").Args[0], `"queue_id":"QUEUE"`))
		})
	}
}

// answer is a reply that a filter gives to HELO.
type answer struct {
	Call   string // SetReply, SetMLReply, Reply
	Code   string
	XCode  string
	Lines  []string
	Status milter.Status
	Before bool // set another reply first
}

var replying = register("replying", func(e *child) *milter.Server {
	var a answer
	if err := json.Unmarshal([]byte(e.arg), &a); err != nil {
		panic(err)
	}
	return &milter.Server{Callbacks: milter.Callbacks{
		Helo: func(s *milter.Session, identity string) milter.Status {
			if a.Before {
				class := "4"
				if a.Code[0] == '5' {
					class = "5"
				}
				if err := s.SetReply(class+"50", class+".0.1", "another"); err != nil {
					panic(err)
				}
			}
			switch a.Call {
			case "SetReply":
				e.report(s, "error", s.SetReply(a.Code, a.XCode, strings.Join(a.Lines, "")))
			case "SetMLReply":
				e.report(s, "error", s.SetMLReply(a.Code, a.XCode, a.Lines...))
			case "Reply":
				var code int
				fmt.Sscan(a.Code, &code)
				return s.Reply(code, a.XCode, a.Lines...)
			}
			return a.Status
		},
	}}
})

func TestReplies(t *testing.T) {
	t.Parallel()
	lines := func(n int) (l []string) {
		for i := range n {
			l = append(l, fmt.Sprint("line ", i+1))
		}
		return l
	}
	ml := func(n int) miltertest.Packet {
		var out []string
		for i, line := range lines(n) {
			mark := "-"
			if i == n-1 {
				mark = " "
			}
			out = append(out, "550"+mark+"5.7.1 "+line)
		}
		return reply('y', z(strings.Join(out, "\r\n")))
	}
	type testCase struct {
		answer
		want miltertest.Packet
		err  string // for SetReply and SetMLReply; a pattern of the log's for Reply
	}
	long := strings.Repeat("x", 980)
	reject, tempfail := milter.SMFIS_REJECT, milter.SMFIS_TEMPFAIL
	cases := map[string]testCase{
		"setreply":                   {answer{"SetReply", "550", "5.7.1", []string{"no"}, reject, false}, reply('y', z("550 5.7.1 no")), ""},
		"setreply tempfail":          {answer{"SetReply", "451", "4.7.1", []string{"later"}, tempfail, false}, reply('y', z("451 4.7.1 later")), ""},
		"setreply 421":               {answer{"SetReply", "421", "", []string{"bye"}, tempfail, false}, reply('y', z("421 bye")), ""},
		"setreply no xcode":          {answer{"SetReply", "550", "", []string{"no"}, reject, false}, reply('y', z("550 no")), ""},
		"setreply code alone":        {answer{"SetReply", "550", "", nil, reject, false}, reply('y', z("550 ")), ""},
		"setreply no text":           {answer{"SetReply", "550", "5.7.1", nil, reject, false}, reply('y', z("550 5.7.1")), ""},
		"setreply percent as it is":  {answer{"SetReply", "550", "", []string{"100%"}, reject, false}, reply('y', z("550 100%")), ""},
		"setreply 8-bit":             {answer{"SetReply", "550", "", []string{"\u00e9"}, reject, false}, reply('y', z("550 \u00e9")), ""},
		"setreply longest":           {answer{"SetReply", "550", "", []string{long}, reject, false}, reply('y', z("550 "+long)), ""},
		"setreply of the other kind": {answer{"SetReply", "450", "", []string{"x"}, reject, false}, reply('r'), ""},
		"setreply and continue":      {answer{"SetReply", "550", "", []string{"x"}, milter.SMFIS_CONTINUE, false}, reply('c'), ""},
		"setreply no code":           {answer{"SetReply", "", "", []string{"x"}, reject, false}, reply('r'), `reply code "" is not 4xx or 5xx`},
		"setreply 250":               {answer{"SetReply", "250", "", []string{"x"}, reject, false}, reply('r'), `reply code "250" is not 4xx or 5xx`},
		"setreply 5xx":               {answer{"SetReply", "5xx", "", []string{"x"}, reject, false}, reply('r'), `reply code "5xx" is not 4xx or 5xx`},
		"setreply 5500":              {answer{"SetReply", "5500", "", []string{"x"}, reject, false}, reply('r'), `reply code "5500" is not 4xx or 5xx`},
		"setreply xcode":             {answer{"SetReply", "550", "5.7", []string{"x"}, reject, false}, reply('r'), `enhanced code "5.7" is not of the form 5.7.1`},
		"setreply xcode 3":           {answer{"SetReply", "550", "3.7.1", []string{"x"}, reject, false}, reply('r'), `enhanced code "3.7.1" is not`},
		"setreply xcode long":        {answer{"SetReply", "550", "5.7.1000", []string{"x"}, reject, false}, reply('r'), `enhanced code "5.7.1000" is not`},
		"setreply xcode longest":     {answer{"SetReply", "550", "5.777.100", []string{"x"}, reject, false}, reply('y', z("550 5.777.100 x")), ""},
		"setreply CR":                {answer{"SetReply", "550", "", []string{"a\rb"}, reject, false}, reply('r'), `reply text has '\r' at byte 1`},
		"setreply LF":                {answer{"SetReply", "550", "", []string{"a\n"}, reject, false}, reply('r'), `reply text has '\n' at byte 1`},
		"setreply NUL":               {answer{"SetReply", "550", "", []string{"\x00"}, reject, false}, reply('r'), `reply text has '\x00' at byte 0`},
		"setreply too long":          {answer{"SetReply", "550", "", []string{long + "x"}, reject, false}, reply('r'), `reply text has 981 bytes, over 980`},
		"setmlreply no xcode":        {answer{"SetMLReply", "550", "", []string{"a", "b"}, reject, false}, reply('y', z("550-5.0.0 a\r\n550 5.0.0 b")), ""},
		"setmlreply 4xx":             {answer{"SetMLReply", "450", "", []string{"a", ""}, tempfail, false}, reply('y', z("450-4.0.0 a\r\n450 4.0.0 ")), ""},
		"setmlreply none":            {answer{"SetMLReply", "550", "5.7.1", nil, reject, false}, reply('r'), "0 lines of text, 1 to 32 can be sent"},
		"setmlreply 33":              {answer{"SetMLReply", "550", "5.7.1", lines(33), reject, false}, reply('r'), "33 lines of text, 1 to 32 can be sent"},
		"setmlreply LF":              {answer{"SetMLReply", "550", "5.7.1", []string{"a", "b\nc"}, reject, false}, reply('r'), `reply text has '\n' at byte 1`},
		"reply":                      {answer{"Reply", "550", "5.7.1", []string{"no"}, 0, false}, reply('y', z("550 5.7.1 no")), ""},
		"reply tempfail":             {answer{"Reply", "451", "", []string{"later"}, 0, false}, reply('y', z("451 later")), ""},
		"reply percent":              {answer{"Reply", "550", "", []string{"At 100% of 5%%"}, 0, false}, reply('y', z("550 At 100%% of 5%%%%")), ""},
		"reply lines":                {answer{"Reply", "550", "5.7.1", []string{"a%", "b"}, 0, false}, reply('y', z("550-5.7.1 a%%\r\n550 5.7.1 b")), ""},
		"reply no text":              {answer{"Reply", "550", "5.7.1", nil, 0, false}, reply('y', z("550 5.7.1 ")), ""},
		"reply no text, no xcode":    {answer{"Reply", "550", "", nil, 0, true}, reply('y', z("550 ")), ""},
		"reply LF":                   {answer{"Reply", "550", "", []string{"a\nb"}, 0, true}, reply('y', z("550 a?b")), "1 bytes that are not printable ASCII"},
		"reply 8-bit":                {answer{"Reply", "450", "4.7.1", []string{"caf\u00e9"}, 0, true}, reply('y', z("450 4.7.1 caf??")), "2 bytes that are not"},
		"reply xcode":                {answer{"Reply", "450", "x", []string{"a"}, 0, false}, reply('y', z("450 a")), `enhanced code \\"x\\", which is not 4.x.x, is left out`},
		"reply xcode of 4xx":         {answer{"Reply", "550", "4.7.1", []string{"a"}, 0, false}, reply('y', z("550 a")), `"level":"WARN".*enhanced code \\"4.7.1\\", which is not 5.x.x, is left out`},
		"reply digit":                {answer{"Reply", "550", "", []string{"4 apples"}, 0, false}, reply('y', z("550 5.0.0 4 apples")), "enhanced code 5.0.0 stands before"},
		"reply code":                 {answer{"Reply", "250", "", []string{"a"}, 0, true}, reply('y', z("451 ")), `"level":"ERROR".*code 250 is not one of 400 to 599`},
		"reply code 0":               {answer{"Reply", "0", "", []string{"a"}, 0, false}, reply('y', z("451 ")), "code 0 is not one of 400 to 599"},
		"reply longest":              {answer{"Reply", "550", "5.7.1", []string{long}, 0, false}, reply('y', z("550-5.7.1 "+long[:289]+"\r\n550-5.7.1 "+long[:289]+"\r\n550-5.7.1 "+long[:289]+"\r\n550 5.7.1 "+long[:113])), "1 lines of more than 289 bytes are broken"},
		"reply 33 lines":             {answer{"Reply", "550", "5.7.1", lines(33), 0, false}, ml(32), "1 lines are left out: a reply has at most 32"},
	}
	for n := 1; n <= 32; n++ {
		cases[fmt.Sprint("setmlreply ", n)] = testCase{answer{"SetMLReply", "550", "5.7.1", lines(n), reject, false}, ml(n), ""}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arg, err := json.Marshal(tc.answer)
			require.NoError(t, err)
			p := start(t, replying, withArg(string(arg)))
			w := p.session()
			w.Helo("a.example")
			assert.Equal(t, tc.want, w.last())
			w.Quit()
			p.stop()
			switch {
			case tc.Call == "Reply" && tc.err == "":
				assert.Empty(t, p.named("log"))
			case tc.Call == "Reply":
				assert.Regexp(t, tc.err, p.awaitName("log").Args[0])
			case tc.err == "":
				assert.Equal(t, []string{"<nil>", ""}, p.awaitName("error").Args)
			default:
				got := p.awaitName("error").Args
				assert.Contains(t, got[0], tc.err)
				assert.Equal(t, "ErrArgument", got[1])
			}
		})
	}
}

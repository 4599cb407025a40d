package miltertest_test

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// recorder gives callbacks that note what they are given, and return what reply says for their name.
func recorder(seen *[]string, reply func(s *milter.Session, name string) milter.Status) milter.Callbacks {
	var mu sync.Mutex // sessions end at the same time
	note := func(s *milter.Session, name string, args ...any) milter.Status {
		mu.Lock()
		*seen = append(*seen, strings.TrimRight(name+" "+fmt.Sprintf(strings.Repeat("%q ", len(args)), args...), " "))
		mu.Unlock()
		if reply == nil {
			return milter.SMFIS_CONTINUE
		}
		return reply(s, name)
	}
	path := func(name string) func(*milter.Session, string, []string) milter.Status {
		return func(s *milter.Session, address string, args []string) milter.Status {
			return note(s, name, address, args)
		}
	}
	return milter.Callbacks{
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			return note(s, "Connect", host, fmt.Sprintf("%T %v", addr, addr))
		},
		Unknown:  func(s *milter.Session, command string) milter.Status { return note(s, "Unknown", command) },
		Helo:     func(s *milter.Session, identity string) milter.Status { return note(s, "Helo", identity) },
		MailFrom: path("MailFrom"),
		RcptTo:   path("RcptTo"),
		Data:     func(s *milter.Session) milter.Status { return note(s, "Data") },
		Header:   func(s *milter.Session, name, value string) milter.Status { return note(s, "Header", name, value) },
		EOH:      func(s *milter.Session) milter.Status { return note(s, "EOH") },
		Segment:  func(s *milter.Session, segment []byte) milter.Status { return note(s, "Segment", string(segment)) },
		EOM:      func(s *milter.Session, m *milter.Modifier) milter.Status { return note(s, "EOM") },
		Abort:    func(s *milter.Session) { note(s, "Abort") },
		Close:    func(s *milter.Session) { note(s, "Close") },
	}
}

// Every step reaches its callback, with what the test said.
func TestSteps(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	c := f.Connect()
	cont := miltertest.Reply{Status: milter.SMFIS_CONTINUE}
	for _, tc := range []struct {
		step func() miltertest.Reply
		want string
	}{
		{func() miltertest.Reply {
			return c.Connect("a.example", &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 65535})
		}, `Connect "a.example" "*net.TCPAddr [2001:db8::1]:65535"`},
		{func() miltertest.Reply { return c.Helo("\xe4") }, `Helo "\xe4"`},
		{func() miltertest.Reply { return c.Unknown("XYZZY now") }, `Unknown "XYZZY now"`},
		{func() miltertest.Reply { return c.MailFrom("a@example.org", "SIZE=1", "BODY=8BITMIME") },
			`MailFrom "<a@example.org>" ["SIZE=1" "BODY=8BITMIME"]`},
		{func() miltertest.Reply { return c.RcptTo("<b@example.com>") }, `RcptTo "<b@example.com>" []`},
		{func() miltertest.Reply { return c.RcptTo("c@example.com", "NOTIFY=NEVER") }, `RcptTo "<c@example.com>" ["NOTIFY=NEVER"]`},
		{c.Data, "Data"},
		{func() miltertest.Reply { return c.Header("Subject", "one\n\ttwo") }, `Header "Subject" "one\n\ttwo"`},
		{c.EOH, "EOH"},
		{func() miltertest.Reply { return c.Segment("Hello\r\n") }, `Segment "Hello\r\n"`},
		{func() miltertest.Reply { return c.EOM().Reply }, "EOM"},
	} {
		seen = nil
		assert.Equal(t, cont, tc.step(), tc.want)
		assert.Equal(t, []string{tc.want}, seen)
	}

	seen = nil
	c.MailFrom("")
	c.Abort()
	c.MailFrom("<>")
	c.Quit()
	assert.Equal(t, []string{`MailFrom "<>" []`, "Abort", `MailFrom "<>" []`, "Abort", "Close"}, seen)
}

func TestClients(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	for want, addr := range map[string]net.Addr{
		"*net.TCPAddr 192.0.2.10:40000":    nil,
		"*net.TCPAddr 198.51.100.1:25":     &net.TCPAddr{IP: net.ParseIP("198.51.100.1"), Port: 25},
		"*net.TCPAddr [2001:db8::1]:65535": &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 65535},
		"*net.UnixAddr /run/client":        &net.UnixAddr{Name: "/run/client", Net: "unix"},
		"<nil> <nil>":                      miltertest.UnknownAddr,
	} {
		seen = nil
		f.Send(miltertest.Mail{Client: "a.example", Addr: addr})
		assert.Equal(t, fmt.Sprintf("Connect %q %q", "a.example", want), seen[0])
	}
}

// The reply is what the filter said, and what the SMTP client is told.
func TestReplies(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name   string
		answer func(s *milter.Session) milter.Status
		want   miltertest.Reply
		text   string
	}{
		{"continue", func(s *milter.Session) milter.Status { return milter.SMFIS_CONTINUE }, miltertest.Reply{}, "SMFIS_CONTINUE"},
		{"reject", func(s *milter.Session) milter.Status { return milter.SMFIS_REJECT }, miltertest.Reply{Status: milter.SMFIS_REJECT, Client: []string{"550 5.7.1 Command rejected"}}, "SMFIS_REJECT"},
		{"accept", func(s *milter.Session) milter.Status { return milter.SMFIS_ACCEPT }, miltertest.Reply{Status: milter.SMFIS_ACCEPT}, "SMFIS_ACCEPT"},
		{"discard", func(s *milter.Session) milter.Status { return milter.SMFIS_DISCARD }, miltertest.Reply{Status: milter.SMFIS_DISCARD}, "SMFIS_DISCARD"},
		{"tempfail", func(s *milter.Session) milter.Status { return milter.SMFIS_TEMPFAIL }, miltertest.Reply{Status: milter.SMFIS_TEMPFAIL, Client: []string{"451 4.7.1 Service unavailable - try again later"}}, "SMFIS_TEMPFAIL"},
		{"code", func(s *milter.Session) milter.Status { return s.Reply(550, "") },
			miltertest.Reply{Status: milter.SMFIS_REJECT, Code: 550, Lines: []string{""}, Raw: "550 ", Client: []string{"550"}}, "SMFIS_REJECT 550"},
		{"line", func(s *milter.Session) milter.Status { return s.Reply(421, "4.3.2", "100% later") },
			miltertest.Reply{Status: milter.SMFIS_TEMPFAIL, Code: 421, XCode: "4.3.2", Lines: []string{"100% later"}, Raw: "421 4.3.2 100%% later", Client: []string{"421 4.3.2 100% later"}},
			"SMFIS_TEMPFAIL 421 4.3.2 100% later"},
		{"lines", func(s *milter.Session) milter.Status { return s.Reply(554, "5.7.1", "one", "", "3.") },
			miltertest.Reply{Status: milter.SMFIS_REJECT, Code: 554, XCode: "5.7.1", Lines: []string{"one", "", "3."},
				Raw: "554-5.7.1 one\r\n554-5.7.1 \r\n554 5.7.1 3.", Client: []string{"554-5.7.1 one", "554-5.7.1", "554 5.7.1 3."}},
			"SMFIS_REJECT 554 5.7.1 one\n\n3."},
		{"no enhanced code", func(s *milter.Session) milter.Status {
			_ = s.SetReply("451", "", "4.7 is not one")
			return milter.SMFIS_TEMPFAIL
		}, miltertest.Reply{Status: milter.SMFIS_TEMPFAIL, Code: 451, Lines: []string{"4.7 is not one"}, Raw: "451 4.7 is not one", Client: []string{"451 4.7 is not one"}},
			"SMFIS_TEMPFAIL 451 4.7 is not one"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
				Helo: func(s *milter.Session, _ string) milter.Status { return tc.answer(s) }})
			c := f.Connect()
			reply := c.Helo("a.example")
			assert.Equal(t, tc.want, reply)
			assert.Equal(t, tc.text, reply.String())
			assert.Equal(t, tc.name == "continue", reply.Continues())
		})
	}
}

// What the filter does not want is not sent, and what it does not answer is not waited for.
func TestUnsentAndUnanswered(t *testing.T) {
	t.Parallel()
	unsent := miltertest.Reply{Unsent: true}
	silent := miltertest.Reply{Status: milter.SMFIS_NOREPLY}
	steps := func(c *miltertest.Conn) []miltertest.Reply {
		return []miltertest.Reply{c.Connect("a", nil), c.Helo("a"), c.Unknown("X"), c.MailFrom("a"), c.RcptTo("a"), c.Data(),
			c.Header("A", "b"), c.EOH(), c.Segment("a")}
	}
	for i, reply := range steps(miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{}).Connect()) {
		assert.Equal(t, unsent, reply, "step %d", i)
		assert.Equal(t, "not sent", reply.String())
		assert.True(t, reply.Continues())
	}

	const noReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_UNKN | milter.SMFIP_NR_MAIL |
		milter.SMFIP_NR_RCPT | milter.SMFIP_NR_DATA | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY
	var seen []string
	f := miltertest.StartServer(t, &milter.Server{Protocol: noReplies, Callbacks: recorder(&seen,
		func(s *milter.Session, name string) milter.Status {
			if name == "EOM" {
				return milter.SMFIS_CONTINUE
			}
			return milter.SMFIS_NOREPLY
		})})
	c := f.Connect()
	for i, reply := range steps(c) {
		assert.Equal(t, silent, reply, "step %d", i)
		assert.True(t, reply.Continues())
	}
	assert.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict)
	assert.Len(t, seen, 10)

	// libmilter gives the replies itself to an MTA without SMFIP_NR_*.
	mta := miltertest.Postfix()
	mta.Protocol &^= noReplies
	for i, reply := range steps(f.With(mta).Connect()) {
		assert.Equal(t, miltertest.Reply{}, reply, "step %d", i)
	}

	// One of version 2 has neither DATA nor unknown commands.
	seen = nil
	f = miltertest.Start(t, milter.SMFIF_NONE, recorder(&seen, nil))
	c = f.With(miltertest.Version2()).Connect()
	for i, reply := range steps(c) {
		assert.Equal(t, i == 2 || i == 5, reply.Unsent, "step %d", i)
	}
	assert.Len(t, seen, 7)
}

func TestSkip(t *testing.T) {
	t.Parallel()
	var seen []string
	f := miltertest.StartServer(t, &milter.Server{Protocol: milter.SMFIP_SKIP,
		Callbacks: recorder(&seen, func(s *milter.Session, name string) milter.Status {
			if name == "RcptTo" || name == "Header" || name == "Segment" {
				return milter.SMFIS_SKIP
			}
			return milter.SMFIS_CONTINUE
		})})
	c := f.Connect()
	for range 2 { // mails
		seen = nil
		result := c.Send(miltertest.Mail{Client: "a", To: []string{"a", "b"}, Data: "A: 1\nB: 2\n\n" + strings.Repeat("x", 70000)})
		assert.Equal(t, []string{"<a>", "<b>"}, result.Rcpts)
		assert.Len(t, result.Header, 2)
		assert.Len(t, result.Body, 70002)
		var short []string
		for _, call := range seen {
			short = append(short, strings.Fields(call)[0])
		}
		if short[0] == "Connect" {
			short = short[2:]
		}
		assert.Equal(t, []string{"MailFrom", "RcptTo", "Data", "Header", "EOH", "Segment", "EOM"}, short)
	}

	// Elsewhere no MTA takes it.
	outcome := try(t, func(t testing.TB) {
		f := miltertest.StartServer(t, &milter.Server{Protocol: milter.SMFIP_SKIP, Callbacks: milter.Callbacks{
			Helo: func(*milter.Session, string) milter.Status { return milter.SMFIS_SKIP }}})
		f.Send(miltertest.Mail{})
	})
	assert.Contains(t, outcome.text(), "miltertest: Helo: the filter answered SMFIS_SKIP, which goes with SMFIP_SKIP, to RcptTo, Header and Segment only")
}

func TestMacros(t *testing.T) {
	t.Parallel()
	names := []string{"j", "_", "{client_addr}", "{client_name}", "{daemon_name}", "i", "{mail_addr}", "{mail_host}", "{rcpt_addr}",
		"{rcpt_host}", "{auth_authen}", "{msg_id}", "{mine}"}
	var steps []string
	note := func(s *milter.Session, step string) milter.Status {
		for _, name := range names {
			if value, ok := s.Macro(name); ok {
				if name == "i" {
					assert.Regexp(t, "^[0-9A-F]{10}$", value)
					value = "ID"
				}
				step += " " + name + "=" + value
			}
		}
		steps = append(steps, step)
		return milter.SMFIS_CONTINUE
	}
	cb := milter.Callbacks{
		Connect:  func(s *milter.Session, _ string, _ net.Addr) milter.Status { return note(s, "Connect") },
		Helo:     func(s *milter.Session, _ string) milter.Status { return note(s, "Helo") },
		MailFrom: func(s *milter.Session, _ string, _ []string) milter.Status { return note(s, "MailFrom") },
		RcptTo:   func(s *milter.Session, _ string, _ []string) milter.Status { return note(s, "RcptTo") },
		Data:     func(s *milter.Session) milter.Status { return note(s, "Data") },
		EOH:      func(s *milter.Session) milter.Status { return note(s, "EOH") },
		EOM:      func(s *milter.Session, m *milter.Modifier) milter.Status { return note(s, "EOM") },
	}
	mail := miltertest.Mail{Client: "c.example", From: "a@example.org", To: []string{"b@example.com"}, Data: "Message-Id: <1@x>\n\n"}
	f := miltertest.Start(t, milter.SMFIF_NONE, cb)

	const client = " j=mx.example.org _=c.example [192.0.2.10]"
	const sender = " {mail_addr}=a@example.org {mail_host}=example.org"
	const rcpt = " {rcpt_addr}=b@example.com {rcpt_host}=example.com"
	f.Send(mail)
	const postfix = client + " {daemon_name}=mx.example.org"
	assert.Equal(t, []string{"Connect" + postfix, "Helo" + postfix, "MailFrom" + postfix + sender, "RcptTo" + postfix + sender + rcpt,
		"Data" + postfix + " i=ID" + sender + rcpt, "EOH" + postfix + " i=ID" + sender + rcpt, "EOM" + postfix + " i=ID" + sender + rcpt}, steps)

	steps = nil
	f.With(miltertest.Sendmail()).Send(mail)
	const sendmail = client + " {daemon_name}=MTA"
	assert.Equal(t, []string{"Connect" + sendmail, "Helo" + sendmail, "MailFrom" + sendmail + " i=ID" + sender,
		"RcptTo" + sendmail + " i=ID" + sender + rcpt, "Data" + sendmail + " i=ID" + sender + rcpt, "EOH" + sendmail + " i=ID" + sender + rcpt,
		"EOM" + sendmail + " i=ID" + sender + rcpt + " {msg_id}=<1@x>"}, steps)

	// The test's own: beside the others, in their place, and at one stage.
	steps = nil
	mta := miltertest.Postfix()
	mta.Macros = miltertest.Macros{
		miltertest.EveryStage: {"{mine}": "1", "{mail_host}": "host"},
		milter.SMFIM_HELO:     {"{auth_authen}": "joe"},
	}
	c := f.With(mta).Connect()
	c.Macro(milter.SMFIM_EOM, "{mine}", "2")
	c.Send(mail)
	assert.Equal(t, "Connect"+postfix+" {mine}=1", steps[0])
	assert.Equal(t, "Helo"+postfix+" {auth_authen}=joe {mine}=1", steps[1])
	assert.Equal(t, "MailFrom"+postfix+" {mail_addr}=a@example.org {mail_host}=host {auth_authen}=joe {mine}=1", steps[2])
	assert.Equal(t, "EOM"+postfix+" i=ID {mail_addr}=a@example.org {mail_host}=host {rcpt_addr}=b@example.com {rcpt_host}=example.com"+
		" {auth_authen}=joe {mine}=2", steps[6])
	c.Quit()

	// The filter's own lists take the place of the MTA's, stage by stage.
	steps = nil
	f = miltertest.StartServer(t, &milter.Server{Callbacks: cb,
		Macros: map[milter.Stage][]string{milter.SMFIM_CONNECT: {"{client_addr}", "{client_name}"}, milter.SMFIM_ENVFROM: {}}})
	f.Send(mail)
	const asked = " {client_addr}=192.0.2.10 {client_name}=c.example"
	assert.Equal(t, []string{"Connect" + asked, "Helo" + asked, "MailFrom" + asked, "RcptTo" + asked + rcpt}, steps[:4])
}

// Progress and every change reach the result, and the mail is what an MTA makes of them.
func TestChanges(t *testing.T) {
	t.Parallel()
	const all = milter.Action(0x1ff)
	f := miltertest.Start(t, all, milter.Callbacks{EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
		for _, err := range []error{
			m.Progress(), m.Progress(),
			m.AddHeader("X-Added", "one\n\ttwo"),
			m.InsertHeader(1, "X-First", "1"),
			m.ChangeHeader("Subject", 1, "new"),
			m.ChangeFrom("<new@example.org>", "RET=HDRS ENVID=1"),
			m.AddRcpt("<added@example.com>"), m.AddRcpt("<b@example.com>"),
			m.AddRcptPar("<par@example.com>", "NOTIFY=NEVER"),
			m.DelRcpt("<a@example.com>"),
			m.ReplaceBody([]byte(strings.Repeat("x", 70000))), m.ReplaceBody([]byte("end\r\n")),
			m.Quarantine("looks odd"),
		} {
			assert.NoError(t, err)
		}
		return milter.SMFIS_CONTINUE
	}})
	result := f.Send(miltertest.Mail{From: "old@example.org", To: []string{"a@example.com", "b@example.com NOTIFY=SUCCESS"},
		Data: "Subject: old\n\nbody\n"})
	assert.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
	assert.Equal(t, "EOM", result.Step)
	assert.Equal(t, 2, result.Progress)
	assert.Equal(t, "<new@example.org> RET=HDRS ENVID=1", result.From)
	assert.Equal(t, []string{"<b@example.com> NOTIFY=SUCCESS", "<added@example.com>", "<b@example.com>", "<par@example.com> NOTIFY=NEVER"}, result.Rcpts)
	assert.Equal(t, "X-First: 1\nSubject: new\nX-Added: one\n\ttwo\n", result.Header.String())
	assert.Equal(t, "new", result.Header.Get("SUBJECT"))
	assert.Equal(t, []string{"1"}, result.Header.Values("x-first"))
	assert.Equal(t, strings.Repeat("x", 70000)+"end\r\n", result.Body)
	assert.Equal(t, "looks odd", result.Quarantine)
	assert.Equal(t, "X-First: 1\r\nSubject: new\r\nX-Added: one\r\n\ttwo\r\n\r\n"+result.Body, result.Data())
	var calls []string
	for _, change := range result.Changes {
		calls = append(calls, change.String())
	}
	assert.Equal(t, []string{`AddHeader("X-Added", "one\n\ttwo")`, `InsertHeader(1, "X-First", "1")`, `ChangeHeader("Subject", 1, "new")`,
		`ChangeFrom("<new@example.org>", "RET=HDRS ENVID=1")`, `AddRcpt("<added@example.com>")`, `AddRcpt("<b@example.com>")`,
		`AddRcptPar("<par@example.com>", "NOTIFY=NEVER")`, `DelRcpt("<a@example.com>")`, `ReplaceBody(65535 bytes)`,
		`ReplaceBody(4465 bytes)`, `ReplaceBody(5 bytes)`, `Quarantine("looks odd")`}, calls)

	empty := miltertest.Start(t, milter.SMFIF_CHGBODY, milter.Callbacks{EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
		require.NoError(t, m.ReplaceBody(nil))
		return milter.SMFIS_ACCEPT
	}})
	assert.Empty(t, empty.Send(miltertest.Mail{Data: "\nbody\n"}).Body)
}

// Package message tests Callbacks.Message on the wire: miltertest's MTAs drive the real libmilter.
package message

import (
	"bytes"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// mail is what Message was given, copied.
type mail struct {
	Host, Addr, Helo string
	From             milter.Path
	Rcpts            []milter.Path
	Header           []string
	Body             string
	Truncated        bool
}

// mails collects what Message is given.
type mails struct {
	mu   sync.Mutex
	seen []mail
}

// add is a Message that lets all mails pass.
func (m *mails) add(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
	seen := mail{Host: msg.Host, Helo: msg.Helo, From: msg.From, Rcpts: msg.Rcpts, Body: string(msg.Body), Truncated: msg.Truncated}
	if msg.Addr != nil {
		seen.Addr = msg.Addr.Network() + " " + msg.Addr.String()
	}
	for name, value := range msg.Header.All() {
		seen.Header = append(seen.Header, name+":"+value)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.seen = append(m.seen, seen)
	return milter.SMFIS_CONTINUE
}

// take gives the mails so far, and forgets them.
func (m *mails) take() []mail {
	m.mu.Lock()
	defer m.mu.Unlock()
	seen := m.seen
	m.seen = nil
	return seen
}

// lines is a Logger whose lines can be read.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

const allNoReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT |
	milter.SMFIP_NR_HDR | milter.SMFIP_NR_BODY

const noOthers = milter.SMFIP_NODATA | milter.SMFIP_NOUNKNOWN | milter.SMFIP_NOEOH

// What is asked for: what Message needs, without answers, and nothing else.
func TestNegotiated(t *testing.T) {
	t.Parallel()
	text := func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
	plain := func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
	path := func(*milter.Session, string, []string) milter.Status { return milter.SMFIS_CONTINUE }
	message := allNoReplies | noOthers | milter.SMFIP_HDR_LEADSPC
	for name, test := range map[string]struct {
		server *milter.Server
		want   milter.Protocol
	}{
		"Message":  {&milter.Server{}, message},
		"no body":  {&milter.Server{MaxBody: milter.NoBody}, message&^milter.SMFIP_NR_BODY | milter.SMFIP_NOBODY},
		"MaxBody":  {&milter.Server{MaxBody: 1000}, message&^milter.SMFIP_NR_BODY | milter.SMFIP_SKIP},
		"RcptTo":   {&milter.Server{Callbacks: milter.Callbacks{RcptTo: path}}, message &^ milter.SMFIP_NR_RCPT},
		"MailFrom": {&milter.Server{Callbacks: milter.Callbacks{MailFrom: path}}, message &^ milter.SMFIP_NR_MAIL},
		"Helo":     {&milter.Server{Callbacks: milter.Callbacks{Helo: text}}, message &^ milter.SMFIP_NR_HELO},
		"Connect": {&milter.Server{Callbacks: milter.Callbacks{Connect: func(*milter.Session, string, net.Addr) milter.Status { return milter.SMFIS_CONTINUE }}},
			message &^ milter.SMFIP_NR_CONN},
		// Its values would change with the space.
		"Header": {&milter.Server{Callbacks: milter.Callbacks{Header: func(*milter.Session, string, string) milter.Status { return milter.SMFIS_CONTINUE }}},
			message &^ (milter.SMFIP_NR_HDR | milter.SMFIP_HDR_LEADSPC)},
		"Segment, no body": {&milter.Server{MaxBody: milter.NoBody, Callbacks: milter.Callbacks{Segment: func(*milter.Session, []byte) milter.Status { return milter.SMFIS_CONTINUE }}},
			message &^ milter.SMFIP_NR_BODY},
		"Data, Unknown, EOH": {&milter.Server{Callbacks: milter.Callbacks{Data: plain, Unknown: text, EOH: plain}}, message &^ noOthers},
		"Protocol":           {&milter.Server{Protocol: milter.SMFIP_NOHELO | milter.SMFIP_RCPT_REJ}, message | milter.SMFIP_NOHELO | milter.SMFIP_RCPT_REJ},
		"Negotiate": {&milter.Server{Callbacks: milter.Callbacks{Negotiate: func(_ *milter.Session, n *milter.Negotiation) milter.Status {
			n.Protocol &^= milter.SMFIP_NR_HDR | milter.SMFIP_SKIP
			return milter.SMFIS_CONTINUE
		}}}, message &^ milter.SMFIP_NR_HDR},
		"all options": {&milter.Server{Callbacks: milter.Callbacks{Negotiate: func(*milter.Session, *milter.Negotiation) milter.Status {
			return milter.SMFIS_ALL_OPTS
		}}}, noOthers | milter.SMFIP_SKIP},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			srv := test.server
			srv.Callbacks.Message = got.add
			f := miltertest.StartServer(t, srv)
			c := f.Connect()
			_, _, protocol := c.Negotiated()
			assert.Equal(t, test.want, protocol)
			r := c.Send(miltertest.Mail{Data: "Subject: x\n\nbody\n"})
			assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
			seen := got.take()
			require.Len(t, seen, 1)
			if protocol&milter.SMFIP_NOBODY == 0 && srv.MaxBody != milter.NoBody {
				assert.Equal(t, "body\r\n", seen[0].Body)
			} else {
				assert.Empty(t, seen[0].Body)
			}
		})
	}
}

// Nothing is sent but the negotiation and one answer, where the MTA has SMFIP_NR_*; where it has not, libmilter answers each
// step by itself.
func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mta  miltertest.MTA
		want string
	}{
		"Postfix":   {miltertest.Postfix(), "Oc"},
		"Sendmail":  {miltertest.Sendmail(), "Oc"},
		"version 2": {miltertest.Version2(), "Occccccc"}, // connect, helo, mail, rcpt, header, body, end
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: got.add}).With(test.mta)
			r := f.Send(miltertest.Mail{Data: "Subject: x\n\nbody\n"})
			assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
			answers := ""
			for _, p := range r.Transcript {
				if !p.Sent {
					answers += string(p.Code)
				}
			}
			assert.Equal(t, test.want, answers)
			assert.Len(t, got.take(), 1)
		})
	}
}

// All that a mail has, to the byte.
func TestWhole(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		mta  miltertest.MTA
		mail miltertest.Mail
		want mail
	}{
		"all": {miltertest.Postfix(), miltertest.Mail{
			Client: "mail.example.net", Addr: &net.TCPAddr{IP: net.ParseIP("2001:db8::1"), Port: 25}, Helo: "[192.0.2.1]",
			From: "<a@example.net> SIZE=1000 BODY=8BITMIME", To: []string{"<b@example.org> NOTIFY=NEVER", "<\"c d\"@example.org>"},
			Data: "Subject:  two spaces\nsubject:none\nX-Folded: a\n\tb\nX-A:\xfc\nX-Empty:\nX-8: \xff\xfe\n\n\xff\x00\r\nb\n",
		}, mail{
			Host: "mail.example.net", Addr: "tcp [2001:db8::1]:25", Helo: "[192.0.2.1]",
			From:   milter.Path{Address: "<a@example.net>", Args: []string{"SIZE=1000", "BODY=8BITMIME"}},
			Rcpts:  []milter.Path{{Address: "<b@example.org>", Args: []string{"NOTIFY=NEVER"}}, {Address: "<\"c d\"@example.org>"}},
			Header: []string{"Subject:  two spaces", "subject:none", "X-Folded: a\n\tb", "X-A:\xfc", "X-Empty:", "X-8: \xff\xfe"},
			Body:   "\xff\x00\r\nb\r\n",
		}},
		"without the space": {miltertest.Version2(), miltertest.Mail{From: "<>", Addr: miltertest.UnknownAddr, Data: "Subject: x\n\n"}, mail{
			Host: "client.example.org", Helo: "client.example.org",
			From:   milter.Path{Address: "<>"},
			Rcpts:  []milter.Path{{Address: "<recipient@example.com>"}},
			Header: []string{"Subject:x"},
		}},
		"unix": {miltertest.Sendmail(), miltertest.Mail{Addr: &net.UnixAddr{Name: "/run/client", Net: "unix"}, Data: "A: b\n\nx"}, mail{
			Host: "client.example.org", Helo: "client.example.org", Addr: "unix /run/client",
			From:   milter.Path{Address: "<sender@example.org>"},
			Rcpts:  []milter.Path{{Address: "<recipient@example.com>"}},
			Header: []string{"A: b"},
			Body:   "x\r\n",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: got.add}).With(test.mta)
			require.Equal(t, milter.SMFIS_ACCEPT, f.Send(test.mail).Verdict)
			if test.want.Rcpts == nil {
				test.want.Rcpts = []milter.Path{}
			}
			assert.Equal(t, []mail{test.want}, got.take())
		})
	}
}

// Callbacks beside Message come as ever; what they refuse is not in the mail.
func TestBeside(t *testing.T) {
	t.Parallel()
	var got mails
	var steps []string
	note := func(step string) milter.Status { steps = append(steps, step); return milter.SMFIS_CONTINUE }
	f := miltertest.StartServer(t, &milter.Server{Protocol: milter.SMFIP_RCPT_REJ, Callbacks: milter.Callbacks{
		Connect: func(_ *milter.Session, host string, _ net.Addr) milter.Status { return note("connect " + host) },
		Helo:    func(_ *milter.Session, identity string) milter.Status { return note("helo " + identity) },
		Unknown: func(_ *milter.Session, command string) milter.Status { return note("unknown " + command) },
		MailFrom: func(_ *milter.Session, address string, _ []string) milter.Status {
			note("mail " + address)
			if (milter.Path{Address: address}).Is("refused@example.org") {
				return milter.SMFIS_REJECT
			}
			return milter.SMFIS_CONTINUE
		},
		RcptTo: func(s *milter.Session, address string, _ []string) milter.Status {
			note("rcpt " + address)
			switch address {
			case "<reject@example.org>":
				return s.Reply(550, "5.1.1", "no such mailbox")
			case "<later@example.org>":
				return milter.SMFIS_TEMPFAIL
			}
			return milter.SMFIS_CONTINUE
		},
		Data:    func(*milter.Session) milter.Status { return note("data") },
		Header:  func(_ *milter.Session, name, value string) milter.Status { return note("header " + name + "=" + value) },
		EOH:     func(*milter.Session) milter.Status { return note("eoh") },
		Segment: func(_ *milter.Session, segment []byte) milter.Status { return note("body " + string(segment)) },
		Message: got.add,
		Abort:   func(*milter.Session) { note("abort") },
		Close:   func(*milter.Session) { note("close") },
	}})
	c := f.Connect()
	c.Connect("client.example.org", nil)
	c.Helo("a")
	c.Helo("b")
	assert.Equal(t, milter.SMFIS_REJECT, c.MailFrom("refused@example.org").Status)
	c.MailFrom("given up@example.org")
	c.RcptTo("b@example.org")
	c.Abort()
	c.MailFrom("a@example.org")
	c.RcptTo("b@example.org")
	assert.Equal(t, 550, c.RcptTo("reject@example.org").Code)
	assert.Equal(t, milter.SMFIS_TEMPFAIL, c.RcptTo("later@example.org").Status)
	c.Macro(milter.SMFIM_ENVRCPT, "{rcpt_mailer}", "error")
	c.RcptTo("unknown@example.org") // refused by the MTA, which was asked to show it
	c.Macro(milter.SMFIM_ENVRCPT, "{rcpt_mailer}", "esmtp")
	c.RcptTo("c@example.org")
	c.Data()
	c.Header("Subject", "x")
	c.EOH()
	c.Segment("1\r\n")
	c.Segment("2\r\n")
	assert.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict)
	c.Unknown("what")
	c.Quit()
	assert.Equal(t, []mail{{
		Host: "client.example.org", Helo: "b",
		From:   milter.Path{Address: "<a@example.org>"},
		Rcpts:  []milter.Path{{Address: "<b@example.org>"}, {Address: "<c@example.org>"}},
		Header: []string{"Subject:x"},
		Body:   "1\r\n2\r\n",
	}}, got.take())
	assert.Equal(t, []string{"connect client.example.org", "helo a", "helo b", "mail <refused@example.org>", "mail <given up@example.org>", "rcpt <b@example.org>", "abort", "mail <a@example.org>",
		"rcpt <b@example.org>", "rcpt <reject@example.org>", "rcpt <later@example.org>", "rcpt <unknown@example.org>", "rcpt <c@example.org>",
		"data", "header Subject=x", "eoh", "body 1\r\n", "body 2\r\n", "unknown what", "close"}, steps)
}

// No state leaks from one mail into the next, whatever ended the one before; what is the connection's stays.
func TestMailAfterMail(t *testing.T) {
	t.Parallel()
	var got mails
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: got.add})
	begin := func(c *miltertest.Conn) {
		c.MailFrom("old@example.org", "SIZE=1")
		c.RcptTo("old@example.com", "NOTIFY=NEVER")
		c.Header("X-Old", "old")
		c.EOH()
		c.Segment(strings.Repeat("old\r\n", 100_000)[:65535])
	}
	for name, end := range map[string]func(c *miltertest.Conn){
		"EOM":      func(c *miltertest.Conn) { begin(c); c.EOM(); got.take() },
		"abort":    func(c *miltertest.Conn) { begin(c); c.Abort() },
		"no abort": begin, // the next MAIL is out of order: libmilter makes it an abort
		"QUIT_NC": func(c *miltertest.Conn) {
			begin(c)
			c.EOM()
			got.take()
			c.QuitNC()
			c.Connect("client.example.org", nil)
			c.Helo("client.example.org")
		},
		"large": func(c *miltertest.Conn) {
			begin(c)
			for range 10 {
				c.Segment(strings.Repeat("x", 65535))
			}
			c.Abort()
		},
		"two mails": func(c *miltertest.Conn) { begin(c); c.EOM(); begin(c); c.EOM(); got.take() },
	} {
		t.Run(name, func(t *testing.T) {
			c := f.For(t).Connect()
			c.Connect("client.example.org", nil)
			c.Helo("client.example.org")
			end(c)
			c.MailFrom("new@example.org")
			c.RcptTo("new@example.com")
			c.Header("X-New", "new")
			c.Segment("new\r\n")
			require.Equal(t, milter.SMFIS_ACCEPT, c.EOM().Verdict, "%v", c.Transcript())
			assert.Equal(t, []mail{{
				Host: "client.example.org", Helo: "client.example.org",
				From:   milter.Path{Address: "<new@example.org>"},
				Rcpts:  []milter.Path{{Address: "<new@example.com>"}},
				Header: []string{"X-New: new"},
				Body:   "new\r\n",
			}}, got.take())
			c.Quit()
		})
	}
}

// Another client on the same connection is another session, without what the first one said.
func TestOtherClient(t *testing.T) {
	t.Parallel()
	var got mails
	c := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: got.add}).Connect()
	c.Connect("first.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 1})
	c.Helo("first")
	c.MailFrom("a@example.org")
	c.RcptTo("b@example.org")
	c.EOM()
	c.QuitNC()
	c.MailFrom("a@example.org") // an MTA that has neither connect nor helo to tell
	c.RcptTo("b@example.org")
	c.EOM()
	seen := got.take()
	require.Len(t, seen, 2)
	assert.Equal(t, []string{"first.example.org", "tcp 192.0.2.1:1", "first"}, []string{seen[0].Host, seen[0].Addr, seen[0].Helo})
	assert.Equal(t, []string{"", "", ""}, []string{seen[1].Host, seen[1].Addr, seen[1].Helo})
}

// Macros of every stage can be read at the end.
func TestMacros(t *testing.T) {
	t.Parallel()
	values := map[string]string{}
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Message: func(s *milter.Session, _ *milter.Message, _ *milter.Modifier) milter.Status {
		for _, name := range []string{"{at_connect}", "{at_helo}", "{at_mail}", "{at_rcpt}", "{at_data}", "{at_eoh}", "{at_eom}", "{at_none}"} {
			value, ok := s.Macro(name)
			if ok {
				values[name] = value
			}
		}
		return milter.SMFIS_CONTINUE
	}})
	c := f.Connect()
	want := map[string]string{}
	for stage, name := range map[milter.Stage]string{milter.SMFIM_CONNECT: "connect", milter.SMFIM_HELO: "helo", milter.SMFIM_ENVFROM: "mail",
		milter.SMFIM_ENVRCPT: "rcpt", milter.SMFIM_EOM: "eom"} {
		c.Macro(stage, "{at_"+name+"}", "value at "+name)
		want["{at_"+name+"}"] = "value at " + name
	}
	c.Send(miltertest.Mail{Data: "A: b\n\nc"})
	assert.Equal(t, want, values)
}

// A filter that asks for macros still gets the one by which Header tells the MTAs apart.
func TestServerMacros(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		asked []string
		want  map[string]bool
	}{
		"without it": {[]string{"j"}, map[string]bool{"v": true, "{daemon_addr}": true, "j": true, "{daemon_name}": false}},
		"with it":    {[]string{"v"}, map[string]bool{"v": true, "{daemon_addr}": true, "j": false, "{daemon_name}": false}},
		"none asked": {nil, map[string]bool{"v": true, "{daemon_addr}": true, "j": true, "{daemon_name}": true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := map[string]bool{}
			srv := &milter.Server{Callbacks: milter.Callbacks{Message: func(s *milter.Session, _ *milter.Message, _ *milter.Modifier) milter.Status {
				for macro := range tc.want {
					_, got[macro] = s.Macro(macro)
				}
				return milter.SMFIS_CONTINUE
			}}}
			if tc.asked != nil {
				srv.Macros = map[milter.Stage][]string{milter.SMFIM_CONNECT: tc.asked}
			}
			miltertest.StartServer(t, srv).Send(miltertest.Mail{})
			assert.Equal(t, tc.want, got)
		})
	}
}

func TestPathIs(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"<sales@example.com>", "sales@example.com", "<Sales@EXAMPLE.com>", "<@relay.example:sales@example.com>",
		`<"sales"@example.com>`, `<"s\ales"@example.com>`, "<sales@example.com.>", "<sales(all of us)@example.com>", "< sales @ example.com >",
		`<sales@(a (nested) "comment)example.com>`,
	} {
		assert.True(t, milter.Path{Address: address}.Is("sales@example.com"), address)
		assert.True(t, milter.Path{Address: "sales@example.com"}.Is(address), address)
	}
	for _, address := range []string{
		"<sales@example.org>", "<sale@example.com>", "<sales+x@example.com>", "<sales@sub.example.com>", "<>", "", "<sales>",
		"<\u017fales@example.com>", `<"sales@example.com"@example.org>`, "<sales@example.com", `<"sa les"@example.com>`, "<(sales@example.com)>",
	} {
		want := address == "<sales@example.com" // whose bracket is forgotten
		assert.Equal(t, want, milter.Path{Address: address}.Is("sales@example.com"), address)
	}
	for _, null := range []string{"<>", "", " <> "} {
		assert.True(t, milter.Path{Address: null}.Is(""), null)
		assert.False(t, milter.Path{Address: null}.Is("a@example.org"), null)
	}
	assert.True(t, milter.Path{Address: `<"a b"@example.org>`}.Is(`"a b"@example.org`))
	assert.True(t, milter.Path{Address: `<"a\"b"@example.org>`}.Is(`"a\"b"@example.org`))
	assert.False(t, milter.Path{Address: `<"a b"@example.org>`}.Is(`ab@example.org`))
}

func TestPath(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]string{
		"<a@example.org>": "a@example.org", "a@example.org": "a@example.org", "<>": "", "": "",
		"<@relay.example,@b.example:a@example.org>": "a@example.org",
		`<"a>b"@example.org>`:                       `"a>b"@example.org`,
		`<"@:"@example.org>`:                        `"@:"@example.org`,
		"<postmaster>":                              "postmaster",
		" <a@example.org> ":                         "a@example.org",
		"<a@example.org":                            "a@example.org",
	} {
		path := milter.Path{Address: address}
		assert.Equal(t, want, path.Mailbox(), address)
		assert.Equal(t, want == "", path.IsNull(), address)
	}
	path := milter.Path{Args: []string{"SIZE=1000", "body=8BITMIME", "SMTPUTF8", "ENVID=a=b", "X="}}
	for name, want := range map[string][]any{
		"SIZE": {"1000", true}, "size": {"1000", true}, "BODY": {"8BITMIME", true}, "SMTPUTF8": {"", true}, "ENVID": {"a=b", true},
		"X": {"", true}, "SIZ": {"", false}, "": {"", false},
	} {
		value, ok := path.Arg(name)
		assert.Equal(t, want, []any{value, ok}, name)
	}
}

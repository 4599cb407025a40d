package main

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const smallMail = "From: a@example.org\nTo: b@example.org\nSubject: one\n\ttwo \xe4\n\nhello\n"

func TestConversation(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail(smallMail, f.serve(t), "-from-args", "SIZE=123  BODY=8BITMIME", "-rcpt-args", "NOTIFY=NEVER", "-")
	assert.Equal(t, left{stdout: `NEGOTIATED version 6, actions SMFIF_ADDHDRS|SMFIF_CHGBODY|SMFIF_ADDRCPT|SMFIF_DELRCPT|SMFIF_CHGHDRS|SMFIF_QUARANTINE|SMFIF_CHGFROM|SMFIF_ADDRCPT_PAR|SMFIF_SETSYMLIST, protocol none
Connect client.example.org [192.0.2.10]:40000 -> SMFIS_CONTINUE
Helo client.example.org -> SMFIS_CONTINUE
MailFrom <a@example.org> SIZE=123 BODY=8BITMIME -> SMFIS_CONTINUE
RcptTo <b@example.org> NOTIFY=NEVER -> SMFIS_CONTINUE
Data -> SMFIS_CONTINUE
Header From: a@example.org -> SMFIS_CONTINUE
Header To: b@example.org -> SMFIS_CONTINUE
Header Subject: one\n\ttwo \xe4 -> SMFIS_CONTINUE
EOH -> SMFIS_CONTINUE
Segment 7 bytes -> SMFIS_CONTINUE
EOM -> SMFIS_ACCEPT
Quit
VERDICT accept

no changes
`}, got)
	assert.Equal(t, []string{
		"connect client.example.org tcp4 192.0.2.10", "helo client.example.org",
		"mail a@example.org SIZE=123 BODY=8BITMIME", "rcpt b@example.org NOTIFY=NEVER", "data",
		"header From=a@example.org", "header To=b@example.org", "header Subject=one\n\ttwo \xe4", "eoh",
		"body hello\r\n", "eom",
	}, f.seen())
}

func TestInet(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	f := &fakeFilter{}
	f.serveOn(t, listener)
	got := sendMail(smallMail, "inet:"+port+"@127.0.0.1")
	assert.Zero(t, got.status, got.stderr)
	assert.Len(t, f.seen(), 11)
}

func TestClients(t *testing.T) {
	for addr, want := range map[string]struct{ seen, printed string }{
		"192.0.2.1:25":     {"tcp4 192.0.2.1", "[192.0.2.1]:25"},
		"[2001:db8::1]:25": {"tcp6 2001:db8::1", "[2001:db8::1]:25"},
		"unix:/run/c":      {"unix /run/c", "[/run/c]"},
		"unknown":          {"unknown ", "[unknown]"},
	} {
		t.Run(addr, func(t *testing.T) {
			f := &fakeFilter{}
			got := sendMail(smallMail, f.serve(t), "-client-name", "c.example.net", "-client-addr", addr, "-helo", "h.example.net")
			assert.Zero(t, got.status, got.stderr)
			assert.Contains(t, got.stdout, "Connect c.example.net "+want.printed+" -> SMFIS_CONTINUE\nHelo h.example.net ->")
			assert.Equal(t, strings.TrimSpace("connect c.example.net "+want.seen), f.seen()[0])
		})
	}
}

func TestVerdicts(t *testing.T) {
	steps := map[string]string{ // and the start of the line that shows it
		"connect": "Connect ", "helo": "Helo ", "mail": "MailFrom ", "rcpt": "RcptTo ", "data": "Data ",
		"header": "Header From", "eoh": "EOH ", "body": "Segment ", "eom": "EOM ",
	}
	for _, tt := range []struct {
		name          string
		reply         *milter.Response
		status        int
		want, verdict string
	}{
		{"accept", milter.RespAccept, 0, "SMFIS_ACCEPT", "accept"},
		{"reject", milter.RespReject, 10, "SMFIS_REJECT", "reject"},
		{"tempfail", milter.RespTempFail, 11, "SMFIS_TEMPFAIL", "tempfail"},
		{"discard", milter.RespDiscard, 12, "SMFIS_DISCARD", "discard"},
		{"550", reply(t, 550, "5.7.1 100% refused"), 10, "SMFIS_REJECT 550 5.7.1 100% refused", "reject 550 5.7.1 100% refused"},
		{"421", reply(t, 421, "4.3.2 later"), 11, "SMFIS_TEMPFAIL 421 4.3.2 later", "tempfail 421 4.3.2 later"},
		{"lines", reply(t, 554, "5.7.1 one\ntwo\x1b[2J"), 10, "SMFIS_REJECT 554 5.7.1 one\n  two\\x1b[2J", "reject 554 5.7.1 one\n  two\\x1b[2J"},
	} {
		for step, line := range steps {
			if tt.name == "discard" && (step == "connect" || step == "helo") {
				continue // TestDiscardOfNothing
			}
			t.Run(tt.name+" "+step, func(t *testing.T) {
				f := &fakeFilter{replies: map[string]*milter.Response{step: tt.reply}}
				got := sendMail(smallMail, f.serve(t))
				assert.Equal(t, tt.status, got.status, got.stderr)
				_, shown, _ := strings.Cut(got.stdout, "\n"+line)
				_, shown, _ = strings.Cut(shown, "-> ")
				assert.True(t, strings.HasPrefix(shown, tt.want+"\n"), got.stdout)
				_, end, _ := strings.Cut(got.stdout, "\nVERDICT ")
				assert.True(t, strings.HasPrefix(end, tt.verdict+"\n"), end)
				assert.Equal(t, tt.status == 0, strings.HasSuffix(end, "\nno changes\n"), end)
				events := f.seen()
				assert.True(t, strings.HasPrefix(events[len(events)-1], step), "steps after the verdict: %q", events)
			})
		}
	}
}

func TestDiscardOfNothing(t *testing.T) {
	for step, name := range map[string]string{"connect": "Connect", "helo": "Helo"} {
		f := &fakeFilter{replies: map[string]*milter.Response{step: milter.RespDiscard}}
		got := sendMail(smallMail, f.serve(t))
		assert.Equal(t, exitError, got.status)
		assert.Regexp(t, "^miltersend: "+name+": the filter answered SMFIS_DISCARD, and there is no mail yet", got.stderr)
		assert.NotContains(t, got.stdout, "VERDICT")
	}
}

func TestRefusedRecipients(t *testing.T) {
	const three = "one@example.org, <two@example.org>"
	no, later := reply(t, 550, "5.1.1 no such user"), reply(t, 450, "4.2.1 later")
	for _, tt := range []struct {
		name    string
		replies map[string]*milter.Response
		status  int
		want    []string
		aborted bool
	}{
		{"one", map[string]*milter.Response{"rcpt two@example.org": no}, 0, []string{
			"RcptTo <one@example.org> -> SMFIS_CONTINUE\nRcptTo <two@example.org> -> SMFIS_REJECT 550 5.1.1 no such user\nRcptTo <three@example.org> -> SMFIS_CONTINUE\nData",
			"VERDICT accept\n",
			" RCPT TO:<one@example.org>\n-RCPT TO:<two@example.org>\n RCPT TO:<three@example.org>\n"}, false},
		{"all", map[string]*milter.Response{"rcpt": no}, 10, []string{
			"RcptTo <three@example.org> -> SMFIS_REJECT 550 5.1.1 no such user\nAbort\nQuit\nVERDICT reject 550 5.1.1 no such user\n"}, true},
		{"all, one for now", map[string]*milter.Response{"rcpt": no, "rcpt two@example.org": later}, 11, []string{
			"Abort\nQuit\nVERDICT tempfail 450 4.2.1 later\n"}, true},
		{"discard", map[string]*milter.Response{"rcpt two@example.org": milter.RespDiscard}, 12, []string{
			"RcptTo <two@example.org> -> SMFIS_DISCARD\nQuit\nVERDICT discard\n"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{replies: tt.replies, aborted: make(chan struct{}, 1)}
			got := sendMail(smallMail, f.serve(t), "-rcpt", three, "-rcpt", "three@example.org")
			assert.Equal(t, tt.status, got.status, got.stderr)
			for _, want := range tt.want {
				assert.Contains(t, got.stdout, want)
			}
			if tt.aborted {
				<-f.aborted
				assert.NotContains(t, f.seen(), "data")
			}
		})
	}
}

func TestSkip(t *testing.T) {
	f := &fakeFilter{replies: map[string]*milter.Response{
		"rcpt": milter.RespSkip, "header": milter.RespSkip, "body": milter.RespSkip}}
	mail := "A: 1\nB: 2\n\n" + strings.Repeat("x", 65535)
	got := sendMail(mail, f.serve(t, milter.WithProtocol(milter.OptSkip)), "-rcpt", "one@example.org,two@example.org")
	assert.Zero(t, got.status, got.stderr)
	for _, want := range []string{
		"protocol SMFIP_SKIP\n",
		"RcptTo <one@example.org> -> SMFIS_SKIP\nRcptTo <two@example.org> -> not sent\nData -> SMFIS_CONTINUE\n",
		"Header A: 1 -> SMFIS_SKIP\nHeader B: 2 -> not sent\nEOH -> SMFIS_CONTINUE\n",
		"Segment 65535 bytes -> SMFIS_SKIP\nSegment 2 bytes -> not sent\nEOM -> SMFIS_ACCEPT\n",
	} {
		assert.Contains(t, got.stdout, want)
	}
	assert.Len(t, f.seen(), 9)
}

func TestNotAskedFor(t *testing.T) {
	none := milter.OptNoConnect | milter.OptNoHelo | milter.OptNoMailFrom | milter.OptNoRcptTo | milter.OptNoData |
		milter.OptNoHeaders | milter.OptNoEOH | milter.OptNoBody
	f := &fakeFilter{}
	got := sendMail(smallMail, f.serve(t, milter.WithProtocol(none)))
	assert.Zero(t, got.status, got.stderr)
	assert.Contains(t, got.stdout, "protocol SMFIP_NOCONNECT|SMFIP_NOHELO|SMFIP_NOMAIL|SMFIP_NORCPT|SMFIP_NOBODY|SMFIP_NOHDRS|SMFIP_NOEOH|SMFIP_NODATA\n")
	assert.Equal(t, 10, strings.Count(got.stdout, " -> not sent\n"))
	assert.Equal(t, []string{"eom"}, f.seen())
}

func TestNoReplyAsked(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail(smallMail, f.serve(t, milter.WithProtocol(milter.OptNoReplies)))
	assert.Zero(t, got.status, got.stderr)
	assert.Contains(t, got.stdout, "SMFIP_NR_HDR|")
	assert.Equal(t, 10, strings.Count(got.stdout, " -> SMFIS_NOREPLY\n"))
	assert.Len(t, f.seen(), 11)
}

func TestOldFilter(t *testing.T) {
	addr := serveRaw(t, func(conn net.Conn) {
		readPackets(conn, 'O')
		_, _ = conn.Write(packet("O\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x10"))
		for _, command := range []byte("CHMRLLLNE") {
			readPackets(conn, command)
			_, _ = conn.Write(packet("c"))
		}
		readPackets(conn, 'Q')
	})
	got := sendMail(smallMail, addr)
	assert.Zero(t, got.status, got.stderr)
	for _, want := range []string{
		"NEGOTIATED version 2, actions none, protocol SMFIP_NOBODY\n",
		"\nData -> not sent\n",
		"\nEOM -> SMFIS_CONTINUE\nQuit\nVERDICT accept\n",
	} {
		assert.Contains(t, got.stdout, want)
	}
}

func TestOffer(t *testing.T) {
	for _, tt := range []struct {
		args string
		want negotiation
	}{
		{"", negotiation{6, 0x1ff, 0x1fffff}},
		{"-mta sendmail", negotiation{6, 0x1ff, 0x1fffff}},
		{"-version 6", negotiation{6, 0x1ff, 0x1fffff}},
		{"-version 5", negotiation{5, 0x3f, 0x37f}},
		{"-version 4", negotiation{4, 0x3f, 0x37f}},
		{"-version 3", negotiation{3, 0x3f, 0x17f}},
		{"-version 2", negotiation{2, 0x3f, 0x7f}},
		{"-version 2 -mta sendmail", negotiation{2, 0x3f, 0x7f}},
		{"-without SMFIP_SKIP,SMFIF_CHGBODY", negotiation{6, 0x1fd, 0x1ffbff}},
		{"-without SMFIP_SKIP -without SMFIF_CHGBODY,SMFIF_SETSYMLIST -version 2", negotiation{2, 0x3d, 0x7f}},
	} {
		t.Run(tt.args, func(t *testing.T) {
			offered := make(chan negotiation, 1)
			addr := serveRaw(t, func(conn net.Conn) {
				var offer struct {
					Length uint32
					Code   byte
					negotiation
				}
				_ = binary.Read(conn, binary.BigEndian, &offer)
				offered <- offer.negotiation
			})
			sendMail(smallMail, addr, strings.Fields(tt.args)...)
			assert.Equal(t, tt.want, <-offered)
		})
	}
}

// negotiation is what SMFIC_OPTNEG carries.
type negotiation struct{ Version, Actions, Protocol uint32 }

func TestLeadingSpace(t *testing.T) {
	const mail = "A:1\nB: 2\nC:  3\nD:\t4\n\n"
	for _, tt := range []struct {
		name     string
		protocol milter.OptProtocol
		want     []string
	}{
		{"taken", 0, []string{"header A=1", "header B=2", "header C= 3", "header D=\t4"}},
		{"kept", milter.OptHeaderLeadingSpace, []string{"header A=1", "header B= 2", "header C=  3", "header D=\t4"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{}
			got := sendMail(mail, f.serve(t, milter.WithProtocol(tt.protocol)))
			assert.Zero(t, got.status, got.stderr)
			assert.Equal(t, tt.want, f.seen()[5:9])
			assert.Contains(t, got.stdout, "Header A:1 -> SMFIS_CONTINUE\nHeader B: 2 -> SMFIS_CONTINUE\nHeader C:  3 -> SMFIS_CONTINUE\nHeader D:\\t4 -> SMFIS_CONTINUE\n")
		})
	}
}

func TestBodies(t *testing.T) {
	const segment = 65535
	for _, tt := range []struct {
		name, body string
		segments   []int
	}{
		{"none", "", nil},
		{"one line", "x\r\n", []int{3}},
		{"one segment", strings.Repeat("x", segment-2) + "\r\n", []int{segment}},
		{"three", strings.Repeat("0123456\r\n", 20000), []int{segment, segment, 180000 - 2*segment}},
	} {
		for _, protocol := range []milter.OptProtocol{0, milter.OptNoBodyReply} {
			t.Run(tt.name, func(t *testing.T) {
				f := &fakeFilter{}
				got := sendMail("A: 1\n\n"+tt.body, f.serve(t, milter.WithProtocol(protocol)))
				require.Zero(t, got.status, got.stderr)
				var body strings.Builder
				var segments []int
				for _, event := range f.seen() {
					if segment, ok := strings.CutPrefix(event, "body "); ok {
						body.WriteString(segment)
						segments = append(segments, len(segment))
					}
				}
				assert.Equal(t, tt.segments, segments)
				assert.Equal(t, tt.body, body.String())
			})
		}
	}
}

func TestMacros(t *testing.T) {
	macros := func(names ...string) func(milter.Modifier, string) string {
		return func(m milter.Modifier, step string) string {
			var b strings.Builder
			for _, name := range names {
				if value, ok := m.GetEx(name); ok {
					b.WriteString(" " + name + "=" + value)
				}
			}
			return b.String()
		}
	}
	for _, tt := range []struct {
		name  string
		names []string
		opts  []milter.Option
		args  []string
		want  []string
	}{
		{"postfix", []string{"j", "{daemon_addr}", "{if_name}"}, nil, []string{"-mta", "postfix"}, []string{
			"connect client.example.org tcp4 192.0.2.10 j=mx.example.org {daemon_addr}=192.0.2.25"}},
		{"sendmail", []string{"j", "{daemon_addr}", "{if_name}"}, nil, []string{"-mta", "sendmail"}, []string{
			"connect client.example.org tcp4 192.0.2.10 j=mx.example.org {if_name}=mx.example.org"}},
		{"envelope", []string{"{mail_addr}", "{mail_host}", "{rcpt_addr}", "{rcpt_host}"}, nil, nil, []string{
			"helo client.example.org", "mail a@example.org {mail_addr}=a@example.org {mail_host}=example.org",
			"rcpt b@example.org {mail_addr}=a@example.org {mail_host}=example.org {rcpt_addr}=b@example.org {rcpt_host}=example.org"}},
		{"set", []string{"i", "{mail_host}", "{auth_type}", "{own}"}, nil,
			[]string{"-macro", "i=Q1", "-macro", "mail_host=h", "-macro", "{auth_type}=PLAIN", "-macro", "own=x=y"}, []string{
				"connect client.example.org tcp4 192.0.2.10 {own}=x=y", "helo client.example.org {own}=x=y",
				"mail a@example.org i=Q1 {mail_host}=h {auth_type}=PLAIN {own}=x=y"}},
		{"set by stage", []string{"{own}"}, nil, []string{"-macro", "mail:own=m", "-macro", "eom:own=e"}, []string{
			"helo client.example.org", "mail a@example.org {own}=m", "eoh {own}=m", "eom {own}=e"}},
		{"asked for by the filter", []string{"j", "{mail_addr}", "{mail_host}", "{rcpt_addr}"},
			[]milter.Option{milter.WithMacroRequest(milter.StageMail, []string{"{mail_addr}"})}, nil, []string{
				"helo client.example.org j=mx.example.org", "mail a@example.org j=mx.example.org {mail_addr}=a@example.org",
				"rcpt b@example.org j=mx.example.org {mail_addr}=a@example.org {rcpt_addr}=b@example.org"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{macros: macros(tt.names...)}
			got := sendMail(smallMail, f.serve(t, tt.opts...), tt.args...)
			assert.Zero(t, got.status, got.stderr)
			for _, want := range tt.want {
				assert.Contains(t, f.seen(), want)
			}
		})
	}
}

func silence(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

package main

import (
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
	assert.Equal(t, result{stdout: `NEGOTIATED version 6, actions SMFIF_ADDHDRS|SMFIF_CHGBODY|SMFIF_ADDRCPT|SMFIF_DELRCPT|SMFIF_CHGHDRS|SMFIF_QUARANTINE|SMFIF_CHGFROM|SMFIF_ADDRCPT_PAR|SMFIF_SETSYMLIST, protocol none
CONNECT client.example.org [192.0.2.10]:40000 -> continue
HELO client.example.org -> continue
MAIL FROM:<a@example.org> SIZE=123 BODY=8BITMIME -> continue
RCPT TO:<b@example.org> NOTIFY=NEVER -> continue
DATA -> continue
HEADER From: a@example.org -> continue
HEADER To: b@example.org -> continue
HEADER Subject: one\n\ttwo \xe4 -> continue
END OF HEADER -> continue
BODY 7 bytes -> continue
END OF MESSAGE -> accept
  no changes
QUIT
VERDICT accept
`}, got)
	assert.Equal(t, []string{
		"connect client.example.org tcp4 192.0.2.10", "helo client.example.org",
		"mail a@example.org SIZE=123 BODY=8BITMIME", "rcpt b@example.org NOTIFY=NEVER", "data",
		"header From=a@example.org", "header To=b@example.org", "header Subject=one\n\ttwo \xe4", "eoh",
		"body hello\r\n", "eom",
	}, f.seen())
}

func TestSentArgs(t *testing.T) {
	assert.Equal(t, "SIZE=1\x00BODY=8BITMIME", sentArgs([]string{"SIZE=1", "BODY=8BITMIME"}))
	assert.Empty(t, sentArgs(nil))
}

func TestClients(t *testing.T) {
	for addr, want := range map[string]struct{ seen, printed string }{
		"[2001:db8::1]:25": {"tcp6 2001:db8::1", "[2001:db8::1]:25"},
		"unix:/run/c":      {"unix /run/c", "[/run/c]"},
		"unknown":          {"unknown ", "[unknown]"},
	} {
		t.Run(addr, func(t *testing.T) {
			f := &fakeFilter{}
			got := sendMail(smallMail, f.serve(t), "-client-name", "c.example.net", "-client-addr", addr, "-helo", "h.example.net")
			assert.Zero(t, got.status, got.stderr)
			assert.Contains(t, got.stdout, "CONNECT c.example.net "+want.printed+" -> continue\nHELO h.example.net ->")
			assert.Equal(t, strings.TrimSpace("connect c.example.net "+want.seen), f.seen()[0])
		})
	}
}

func TestVerdicts(t *testing.T) {
	steps := map[string]string{ // and the start of the line that shows it
		"connect": "CONNECT ", "helo": "HELO ", "mail": "MAIL ", "rcpt": "RCPT ", "data": "DATA ",
		"header": "HEADER From", "eoh": "END OF HEADER ", "body": "BODY ", "eom": "END OF MESSAGE ",
	}
	for _, tt := range []struct {
		name   string
		reply  *milter.Response
		status int
		want   string
	}{
		{"accept", milter.RespAccept, 0, "accept"},
		{"reject", milter.RespReject, 10, "reject"},
		{"tempfail", milter.RespTempFail, 11, "tempfail"},
		{"discard", milter.RespDiscard, 12, "discard"},
		{"550", reply(t, 550, "5.7.1 100% refused"), 10, "reject 550 5.7.1 100% refused"},
		{"421", reply(t, 421, "4.3.2 later"), 11, "tempfail 421 4.3.2 later"},
		{"lines", reply(t, 554, "5.7.1 one\ntwo\x1b[2J"), 10, "reject\n  554-5.7.1 one\n  554 5.7.1 two\\x1b[2J"},
	} {
		for step, line := range steps {
			if tt.name == "discard" && (step == "connect" || step == "helo") {
				continue // not a reply to these: the client takes it for continue
			}
			t.Run(tt.name+" "+step, func(t *testing.T) {
				f := &fakeFilter{replies: map[string]*milter.Response{step: tt.reply}}
				got := sendMail(smallMail, f.serve(t))
				assert.Equal(t, tt.status, got.status, got.stderr)
				assert.Regexp(t, `(?m)^`+line+`.*-> `+strings.Split(tt.want, " ")[0], got.stdout)
				assert.True(t, strings.HasSuffix(got.stdout, "QUIT\nVERDICT "+tt.want+"\n"), got.stdout)
				events := f.seen()
				assert.True(t, strings.HasPrefix(events[len(events)-1], step), "steps after the verdict: %q", events)
			})
		}
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
			"RCPT TO:<one@example.org> -> continue\nRCPT TO:<two@example.org> -> reject 550 5.1.1 no such user\nRCPT TO:<three@example.org> -> continue\nDATA",
			"RCPT TO:<one@example.org>\nRCPT TO:<three@example.org>\n\n", "VERDICT accept"}, false},
		{"all", map[string]*milter.Response{"rcpt": no}, 10, []string{
			"RCPT TO:<three@example.org> -> reject 550 5.1.1 no such user\nABORT\nQUIT\nVERDICT reject 550 5.1.1 no such user\n"}, true},
		{"all, one for now", map[string]*milter.Response{"rcpt": no, "rcpt two@example.org": later}, 11, []string{
			"ABORT\nQUIT\nVERDICT tempfail 450 4.2.1 later\n"}, true},
		{"discard", map[string]*milter.Response{"rcpt two@example.org": milter.RespDiscard}, 12, []string{
			"RCPT TO:<two@example.org> -> discard\nQUIT\nVERDICT discard\n"}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := &fakeFilter{replies: tt.replies, aborted: make(chan struct{})}
			got := sendMail(smallMail, f.serve(t), "-rcpt", three, "-rcpt", "three@example.org", "-show")
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
	mail := "A: 1\nB: 2\n\n" + strings.Repeat("x", maxChunk)
	got := sendMail(mail, f.serve(t, milter.WithProtocol(milter.OptSkip)), "-rcpt", "one@example.org,two@example.org")
	assert.Zero(t, got.status, got.stderr)
	for _, want := range []string{
		"protocol SMFIP_SKIP\n",
		"RCPT TO:<one@example.org> -> skip\nRCPT TO:<two@example.org> -> (skipped)\nDATA -> continue\n",
		"HEADER A: 1 -> skip\nHEADER B: 2 -> (skipped)\nEND OF HEADER -> continue\n",
		"BODY 65535 bytes -> skip\nBODY 2 bytes -> (skipped)\nEND OF MESSAGE -> accept\n",
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
	assert.Equal(t, 10, strings.Count(got.stdout, " -> (not asked for)\n"))
	assert.Equal(t, []string{"eom"}, f.seen())
}

func TestNoReplyAsked(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail(smallMail, f.serve(t, milter.WithProtocol(milter.OptNoReplies)))
	assert.Zero(t, got.status, got.stderr)
	assert.Contains(t, got.stdout, "SMFIP_NR_HDR|")
	assert.Equal(t, 10, strings.Count(got.stdout, " -> (no reply asked)\n"))
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
	})
	got := sendMail(smallMail, addr)
	assert.Zero(t, got.status, got.stderr)
	for _, want := range []string{
		"NEGOTIATED version 2, actions none, protocol SMFIP_NOBODY|SMFIP_NOUNKNOWN|SMFIP_NODATA\n",
		"DATA -> (not asked for)\n",
		"END OF MESSAGE -> continue\n  no changes\nQUIT\nVERDICT accept\n",
	} {
		assert.Contains(t, got.stdout, want)
	}
}

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
			assert.Contains(t, got.stdout, "HEADER A:1 -> continue\nHEADER B: 2 -> continue\nHEADER C:  3 -> continue\nHEADER D:\\t4 -> continue\n")
		})
	}
}

func TestBodies(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		chunks     []int
	}{
		{"none", "", nil},
		{"one line", "x\r\n", []int{3}},
		{"one chunk", strings.Repeat("x", maxChunk-2) + "\r\n", []int{maxChunk}},
		{"three", strings.Repeat("0123456\r\n", 20000), []int{maxChunk, maxChunk, 180000 - 2*maxChunk}},
	} {
		for _, protocol := range []milter.OptProtocol{0, milter.OptNoBodyReply} {
			t.Run(tt.name, func(t *testing.T) {
				f := &fakeFilter{}
				got := sendMail("A: 1\n\n"+tt.body, f.serve(t, milter.WithProtocol(protocol)))
				require.Zero(t, got.status, got.stderr)
				var body strings.Builder
				var chunks []int
				for _, event := range f.seen() {
					if chunk, ok := strings.CutPrefix(event, "body "); ok {
						body.WriteString(chunk)
						chunks = append(chunks, len(chunk))
					}
				}
				assert.Equal(t, tt.chunks, chunks)
				assert.Equal(t, tt.body, body.String())
			})
		}
	}
}

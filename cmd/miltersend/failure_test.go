package main

import (
	"bytes"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilterClosesConnection(t *testing.T) {
	for step, name := range map[string]string{
		"connect": "Connect", "helo": "Helo", "mail": "MailFrom", "rcpt": "RcptTo", "data": "Data",
		"header": "Header", "eoh": "EOH", "body": "Segment", "eom": "EOM",
	} {
		t.Run(step, func(t *testing.T) {
			f := &fakeFilter{breaks: step}
			got := sendMail(smallMail, f.serve(t))
			assert.Equal(t, exitError, got.status)
			assert.Equal(t, "miltersend: "+name+": the filter closed the connection: EOF\n", got.stderr)
			assert.NotContains(t, got.stdout, "VERDICT")
			assert.NotContains(t, got.stdout, "\n"+name+" ", "a step without a reply is shown")
		})
	}
}

// answer gives a filter that answers the negotiation with all of these, and then says nothing more.
func answer(answers ...[]byte) func(net.Conn) {
	return func(conn net.Conn) {
		readPackets(conn, 'O')
		_, _ = conn.Write(bytes.Join(answers, nil))
		silence(conn)
	}
}

func TestFilterBreaksProtocol(t *testing.T) {
	tenContinues := bytes.Repeat(packet("c"), 10)
	for _, tt := range []struct {
		name   string
		filter func(conn net.Conn)
		want   string
	}{
		{"closed at once", func(net.Conn) {}, "Negotiate: the filter closed the connection: EOF"},
		{"other protocol", answer([]byte("HTTP/1.1 400 Bad Request\r\n")), "Negotiate: .*1213486160 bytes, which is no milter packet"},
		{"empty packet", answer(make([]byte, 4)), "Negotiate: .*0 bytes, which is no milter packet"},
		{"empty packet later", answer(asksNothing, make([]byte, 4)), "Connect: .*0 bytes, which is no milter packet"},
		{"huge packet", answer(asksNothing, []byte("\xff\xff\xff\xffc")), "Connect: .*4294967295 bytes, which is no milter packet"},
		{"packet cut off", func(conn net.Conn) {
			readPackets(conn, 'O')
			_, _ = conn.Write(asksNothing[:9])
		}, "Negotiate: the filter closed the connection"},
		{"no answer to the negotiation", answer(packet("c")), "Negotiate: the filter answered what is no negotiation: < SMFIR_CONTINUE"},
		{"short answer", answer(packet("O\x00\x00\x00\x06")), "Negotiate: the filter answered what is no negotiation"},
		{"version 7", answer(packet("O\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00")), "Negotiate: the filter speaks protocol version 7, the MTA 2 to 6"},
		{"unknown action", answer(packet("O\x00\x00\x00\x06\x80\x00\x00\x00\x00\x00\x00\x00")), "Negotiate: the filter asks for 0x80000000, which the MTA does not offer"},
		{"macros with no end", answer(packet(string(asksNothing[4:]) + "\x00\x00\x00\x01j")), "Negotiate: the filter asks for macros in a form"},
		{"macros cut off", answer(packet(string(asksNothing[4:]) + "\x00")), "Negotiate: the filter asks for macros in a form"},
		{"unknown reply", answer(asksNothing, packet("\x1b")), `Connect: the filter sent what is no reply: < '\\x1b'`},
		{"malformed reply", answer(asksNothing, packet("yhello\x00")), "Connect: the filter sent a malformed SMTP reply"},
		{"reply that Postfix does not take", answer(asksNothing, packet("y550 4.7.1 No\x00")), `Connect: Postfix takes the reply "550 4.7.1 No" for malformed`},
		{"pieces of a body apart", answer(packet("O\x00\x00\x00\x06\x00\x00\x00\x02\x00\x00\x00\x00"), tenContinues, packet("ba"), packet("p"), packet("bb")), "EOM: Postfix takes no more of a new body"},
		{"change before end of message", answer(asksNothing, packet("hA\x00b\x00")), "Connect: the filter sent .*at end of message only"},
		{"malformed change", answer(asksNothing, tenContinues, packet("m\x00")), "EOM: the filter sent a malformed packet"},
		{"change not negotiated", answer(asksNothing, tenContinues, packet("hA\x00b\x00")), "EOM: the filter sent AddHeader without having negotiated SMFIF_ADDHDRS"},
		{"too much", answer(asksNothing, bytes.Repeat(packet("p"), 1<<20+1)), "Connect: the filter sent 1048577 packets of 0 bytes in all, and no end of it"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sendMail(smallMail, serveRaw(t, tt.filter))
			assert.Equal(t, exitError, got.status, got.stdout)
			assert.Regexp(t, "^miltersend: "+tt.want, got.stderr)
			assert.NotContains(t, got.stdout, "VERDICT")
		})
	}
}

func TestSlowFilter(t *testing.T) {
	for _, tt := range []struct {
		name   string
		filter func(conn net.Conn)
		limit  string
		step   string
	}{
		{"silent", silence, "-timeout", "Negotiate"},
		{"silent after the negotiation", answer(asksNothing), "-timeout", "Connect"},
		{"silent after the negotiation, to the end", answer(asksNothing), "-limit", "Connect"},
		{"half a packet", answer(asksNothing, []byte("\x00\x00\x00\x09y")), "-timeout", "Connect"},
		{"progress forever", func(conn net.Conn) {
			_, err := conn.Write(asksNothing)
			for err == nil {
				_, err = conn.Write(packet("p"))
			}
		}, "-limit", "Connect"},
		{"does not close", answer(asksNothing, bytes.Repeat(packet("c"), 11)), "-timeout", "Quit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sendMail(smallMail, serveRaw(t, tt.filter), tt.limit, "100ms")
			assert.Equal(t, exitError, got.status, got.stdout)
			assert.Regexp(t, "^miltersend: "+tt.step+": the filter did not (answer in time|close the connection): .*\n  It may take .*-timeout.*-limit", got.stderr)
			assert.Equal(t, tt.step == "Quit", strings.Contains(got.stdout, "\nVERDICT accept\n"))
		})
	}
}

func TestNoFilter(t *testing.T) {
	dir := t.TempDir()
	deaf := filepath.Join(dir, "deaf")
	listener, err := net.Listen("unix", deaf)
	require.NoError(t, err)
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	require.NoError(t, listener.Close())
	require.NoError(t, os.Symlink("loop", filepath.Join(dir, "loop")))
	for _, tt := range []struct{ path, why, advice string }{
		{"none", "no such file or directory", "  There is no such socket: does the filter run, "},
		{"deaf", "connection refused", "  Nothing listens there: does the filter run, "},
		{"loop", "too many levels of symbolic links", ""},
	} {
		t.Run(tt.path, func(t *testing.T) {
			got := sendMail(smallMail, "unix:"+filepath.Join(dir, tt.path))
			assert.Equal(t, exitError, got.status)
			assert.Regexp(t, "^miltersend: Dial: dial unix .*"+tt.path+": connect: "+tt.why+"\n"+tt.advice, got.stderr)
			assert.Empty(t, got.stdout)
		})
	}
}

func TestRefusedNegotiation(t *testing.T) {
	const advice = "  A filter closes the connection here if the MTA offers less than it needs. Its log may say what that is."
	for args, offered := range map[string]string{
		"":                       "",
		"-without SMFIF_CHGBODY": " Offered is version 6, without SMFIF_CHGBODY.",
		"-without SMFIP_SKIP":    " Offered is version 6, without SMFIP_SKIP.",
		"-version 4":             " Offered is version 4, without SMFIF_CHGFROM|SMFIF_ADDRCPT_PAR|SMFIF_SETSYMLIST|SMFIP_NR_HDR|SMFIP_SKIP|SMFIP_RCPT_REJ|SMFIP_NR_CONN|SMFIP_NR_HELO|SMFIP_NR_MAIL|SMFIP_NR_RCPT|SMFIP_NR_DATA|SMFIP_NR_UNKN|SMFIP_NR_EOH|SMFIP_NR_BODY|SMFIP_HDR_LEADSPC.",
	} {
		got := sendMail(smallMail, serveRaw(t, func(conn net.Conn) { readPackets(conn, 'O') }), strings.Fields(args)...)
		assert.Equal(t, exitError, got.status)
		assert.Equal(t, "miltersend: Negotiate: the filter closed the connection: EOF\n"+advice+offered+"\n", got.stderr)
	}
}

package miltertest

import (
	"bufio"
	"net"
	"net/smtp"
	"net/textproto"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
	"github.com/libmilter/go-libmilter/test/sendmail"
)

// The packets that the MTA of this package sends for a mail are those of the real ones: which come when, with which macros,
// and what is in them.

func TestConversationPostfix(t *testing.T) {
	w := startWitness(t)
	s := postfix.Start(t, postfix.Config{Milters: []string{w.addr}, Params: map[string]string{"smtputf8_enable": "no"}})
	sendConversation(t, s.Addr())
	got := w.saw()
	// Postfix gives a mail up that has come to its end, which no filter on libmilter is told.
	got = slices.DeleteFunc(got, func(packet string) bool { return packet == abort })
	want := conversationOf(t, Postfix(), "[127.0.0.1]")
	assert.Equal(t, slices.DeleteFunc(want, func(packet string) bool { return packet == abort }), got)
}

const abort = "> SMFIC_ABORT"

func TestConversationSendmail(t *testing.T) {
	w := startWitness(t)
	s := sendmail.Start(t, sendmail.Config{Milters: []string{w.addr}})
	sendConversation(t, s.Addr())
	mta := Sendmail()
	mta.MacroLists[milter.SMFIM_CONNECT] = []string{"j", "_"} // the others are a daemon's only
	assert.Equal(t, conversationOf(t, mta, "localhost"), w.saw())
}

// A mail of a program on the MTA's own machine.
func TestConversationPostfixLocal(t *testing.T) {
	w := startWitness(t)
	s := postfix.Start(t, postfix.Config{Params: map[string]string{"non_smtpd_milters": w.addr}})
	output, exit := s.Submit(conversationData, "-f", "from@example.org", "--", "to@example.com", "other@example.net")
	require.Zero(t, exit, output)
	s.WaitDelivered(1)
	got := slices.DeleteFunc(w.saw(), func(packet string) bool { return packet == abort })
	assert.Equal(t, localConversationOf(t, Postfix()), got)
}

func TestConversationSendmailLocal(t *testing.T) {
	w := startWitness(t)
	s := sendmail.Start(t, sendmail.Config{Milters: []string{w.addr}})
	d := s.SubmitSMTP()
	require.NoError(t, d.SetDeadline(time.Now().Add(harness.Patience)))
	conn := textproto.NewConn(d)
	_, _, err := conn.ReadResponse(220)
	require.NoError(t, err)
	for _, step := range []struct {
		code int
		line string
	}{
		{250, "EHLO localhost"}, {250, "MAIL FROM:<from@example.org>"}, {250, "RCPT TO:<to@example.com>"}, {250, "RCPT TO:<other@example.net>"},
		{354, "DATA"}, {250, strings.ReplaceAll(conversationData, "\n", "\r\n") + "."}, {221, "QUIT"},
	} {
		require.NoError(t, conn.PrintfLine("%s", step.line))
		_, _, err := conn.ReadResponse(step.code)
		require.NoError(t, err, step.line)
	}
	assert.Equal(t, localConversationOf(t, Sendmail()), w.saw())
}

const conversationData = "Subject: one\n\ttwo\nX-Tight:1\nX-Empty:\nTo: to@example.com\nMessage-Id: <1@example.org>\n" +
	"Date: Mon, 23 Nov 2026 00:00:00 +0000\nFrom: from@example.org\n\nbody\n\nend\n"

// sendConversation sends two mails on a connection, and gives one up.
func sendConversation(t *testing.T, addr string) {
	client, err := smtp.Dial(addr)
	require.NoError(t, err)
	defer client.Close()
	require.NoError(t, client.Hello("client.example.org"))
	for i := range 3 {
		require.NoError(t, client.Mail("from@example.org"))
		require.NoError(t, client.Rcpt("to@example.com"))
		if i == 1 {
			require.NoError(t, client.Reset())
			continue
		}
		require.NoError(t, client.Rcpt("other@example.net"))
		data, err := client.Data()
		require.NoError(t, err)
		_, err = data.Write([]byte(conversationData))
		require.NoError(t, err)
		require.NoError(t, data.Close())
	}
	require.NoError(t, client.Quit())
}

// conversationOf gives what an MTA of this package sends for the same.
func conversationOf(t *testing.T, mta MTA, client string) []string {
	w := startWitness(t)
	mta.T = t
	c, err := mta.Dial(w.addr)
	require.NoError(t, err)
	mail := Mail{Client: client, Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Helo: "client.example.org",
		From: "from@example.org BODY=8BITMIME", To: []string{"to@example.com", "other@example.net"}, Data: conversationData}
	c.Send(mail)
	c.MailFrom("from@example.org", "BODY=8BITMIME")
	c.RcptTo(mail.To[0])
	c.Abort()
	c.Send(mail)
	c.Quit()
	return w.saw()
}

// localConversationOf gives what an MTA of this package sends for a Mail.Local.
func localConversationOf(t *testing.T, mta MTA) []string {
	w := startWitness(t)
	mta.T = t
	c, err := mta.Dial(w.addr)
	require.NoError(t, err)
	c.Send(Mail{Local: true, From: "from@example.org", To: []string{"to@example.com", "other@example.net"}, Data: conversationData})
	c.Quit()
	return w.saw()
}

// witness is a filter that takes every step and notes it.
type witness struct {
	addr string
	over sync.WaitGroup
	seen []string
}

func startWitness(t *testing.T) *witness {
	path := filepath.Join(postfix.TempDir(t), "filter")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o666))
	t.Cleanup(func() { _ = l.Close() })
	w := &witness{addr: "unix:" + path}
	w.over.Go(func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		w.serve(conn)
	})
	return w
}

// saw waits for the end of the session and gives its packets.
func (w *witness) saw() []string {
	w.over.Wait()
	return w.seen
}

func (w *witness) serve(conn net.Conn) {
	c := &Conn{in: bufio.NewReader(conn)}
	for {
		p, err := c.readPacket()
		if err != nil {
			return
		}
		p.Sent = true
		w.seen = append(w.seen, witnessed(p))
		switch p.Code {
		case cmdMacro, cmdAbort:
		case cmdQuit:
			return
		case cmdNegotiate:
			_, _ = conn.Write(frame(cmdNegotiate, negotiation{6, 0, 0}.data()))
		default:
			_, _ = conn.Write(frame(replyContinue, ""))
		}
	}
}

// port is a client's port, and one that it is compared by.
var port = regexp.MustCompile(`'4' \d+ `)

// witnessed gives a packet without what differs from one time to the next.
func witnessed(p Packet) string {
	if p.Code == cmdMacro {
		var names []string
		texts := strings.Split(p.Data[1:], "\x00")
		for i := 0; i+1 < len(texts); i += 2 {
			names = append(names, texts[i])
		}
		slices.Sort(names)
		return strings.Join(append([]string{"macros of", p.Data[:1]}, names...), " ")
	}
	return port.ReplaceAllString(p.String(), "'4' PORT ")
}

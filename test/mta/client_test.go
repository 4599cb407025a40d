//go:build cgo

package mta

import (
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// reply is what the MTA said to a command.
type reply struct {
	to    string // the command's verb, "message" for the end of a mail, "connect" for the greeting
	code  int
	lines []string // with their codes
}

func (r reply) refused() bool { return r.code >= 400 }

// client is an SMTP client, on one connection after the other.
type client struct {
	t       testing.TB
	conn    connection
	text    *textproto.Conn
	replies []reply
}

// connection is a net.Conn, or a program that speaks SMTP.
type connection interface {
	io.ReadWriteCloser
	SetDeadline(t time.Time) error
}

// dial makes a connection and takes the greeting.
func (c *client) dial(addr string) {
	c.t.Helper()
	conn, err := net.Dial("tcp", addr)
	require.NoError(c.t, err)
	c.use(conn)
	c.take("connect")
}

// use goes on with a connection, and gives up waiting on it in time.
func (c *client) use(conn connection) {
	c.t.Helper()
	require.NoError(c.t, conn.SetDeadline(time.Now().Add(2*harness.Patience)))
	c.conn, c.text = conn, textproto.NewConn(conn)
}

// hangUp ends the connection, where there is one.
func (c *client) hangUp() {
	if c.conn != nil {
		_ = c.conn.Close()
		c.conn = nil
	}
}

// write sends text as it is.
func (c *client) write(text string) {
	c.t.Helper()
	_, err := c.conn.Write([]byte(text))
	require.NoError(c.t, err)
}

// take takes a reply.
func (c *client) take(to string) reply {
	c.t.Helper()
	r := reply{to: to}
	for {
		line, err := c.text.ReadLine()
		require.NoError(c.t, err, "the reply to %s; before it: %v", to, c.replies)
		_, err = fmt.Sscanf(line, "%3d", &r.code)
		require.NoError(c.t, err, line)
		r.lines = append(r.lines, strings.TrimRight(line, " "))
		if len(line) < 4 || line[3] != '-' {
			break
		}
	}
	c.replies = append(c.replies, r)
	return r
}

// command sends a command and takes the reply.
func (c *client) command(line string) reply {
	c.t.Helper()
	c.write(line + "\r\n")
	verb, _, _ := strings.Cut(line, " ")
	return c.take(verb)
}

// message sends a mail after DATA, without waiting for the reply. Its lines end in LF here.
func (c *client) message(text string) {
	c.t.Helper()
	lines := strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\r\n")
	c.write(strings.ReplaceAll("\r\n"+lines, "\r\n.", "\r\n..")[2:] + "\r\n.\r\n")
}

// mail is one mail, as a client gives it to the MTA.
type mail struct {
	from  string   // what stands behind MAIL FROM:
	rcpts []string // and RCPT TO:
	text  string
}

// deliver sends a mail as clients do: it stops at the first reply that says there is no point in going on.
func (c *client) deliver(m mail) {
	c.t.Helper()
	if n := len(c.replies); n > 0 && c.replies[n-1].to == "connect" && c.replies[n-1].refused() {
		return
	}
	if !c.command("EHLO client.example.org").refused() {
		c.send(m)
	}
}

// send sends a mail on a connection with a greeting, which Sendmail lets come seven times before it slows down.
func (c *client) send(m mail) {
	c.t.Helper()
	if c.command("MAIL FROM:" + m.from).refused() {
		return
	}
	accepted := 0
	for _, rcpt := range m.rcpts {
		if !c.command("RCPT TO:" + rcpt).refused() {
			accepted++
		}
	}
	if accepted == 0 || c.command("DATA").refused() {
		return
	}
	c.message(m.text)
	c.take("message")
}

// startTLS goes on in TLS, with cert as the client's certificate.
func (c *client) startTLS(cert tls.Certificate) {
	c.t.Helper()
	require.Equal(c.t, 220, c.command("STARTTLS").code, "%v", c.replies)
	conn := tls.Client(c.conn.(net.Conn), &tls.Config{
		InsecureSkipVerify:   true, // the server's certificate is the test's own
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &cert, nil },
		// The same cipher wherever the test runs.
		MaxVersion:   tls.VersionTLS12,
		CipherSuites: []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384},
	})
	require.NoError(c.t, conn.Handshake())
	c.use(conn)
}

// auth logs in as the user that the MTAs know.
func (c *client) auth() {
	c.t.Helper()
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + account + "\x00" + password))
	require.Equal(c.t, 235, c.command("AUTH PLAIN "+plain).code, "%v", c.replies)
}

// conversation sends commands one by one, whatever the MTA says to them.
func (c *client) conversation(lines ...string) {
	c.t.Helper()
	for _, line := range lines {
		c.command(line)
	}
}

// pipeline sends commands at once, and then takes the replies.
func (c *client) pipeline(lines ...string) {
	c.t.Helper()
	c.write(strings.Join(lines, "\r\n") + "\r\n")
	for _, line := range lines {
		verb, _, _ := strings.Cut(line, " ")
		c.take(verb)
	}
}

// quit ends the connection as clients do. Where the MTA has ended it before, that is all right.
func (c *client) quit() {
	if _, err := c.conn.Write([]byte("QUIT\r\n")); err == nil {
		_, _ = c.text.ReadLine()
	}
	c.hangUp()
}

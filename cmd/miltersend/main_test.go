package main

import (
	"bytes"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestFilterClosesConnection(t *testing.T) {
	for step, name := range map[string]string{
		"connect": "CONNECT", "helo": "HELO", "mail": "MAIL FROM:<a@example.org>", "rcpt": "RCPT TO:<b@example.org>",
		"data": "DATA", "header": "HEADER From", "eoh": "END OF HEADER", "body": "BODY", "eom": "END OF MESSAGE",
	} {
		t.Run(step, func(t *testing.T) {
			f := &fakeFilter{breaks: step}
			got := sendMail(smallMail, f.serve(t))
			assert.Equal(t, exitError, got.status)
			assert.True(t, strings.HasPrefix(got.stderr, "miltersend: "+name+": "), got.stderr)
			assert.Contains(t, got.stderr, "the filter closed the connection")
			assert.NotContains(t, got.stdout, "VERDICT")
		})
	}
}

func TestFilterBreaksProtocol(t *testing.T) {
	silence := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	answer := func(answers ...[]byte) func(net.Conn) {
		return func(conn net.Conn) {
			readPackets(conn, 'O')
			_, _ = conn.Write(bytes.Join(answers, nil))
			silence(conn)
		}
	}
	for _, tt := range []struct {
		name   string
		filter func(conn net.Conn)
		want   string
	}{
		{"closed at once", func(net.Conn) {}, "NEGOTIATE: .*the filter closed the connection"},
		{"other protocol", answer([]byte("HTTP/1.1 400 Bad Request\r\n")), "NEGOTIATE: .*1213486160 bytes, which is no milter packet"},
		{"empty packet", answer(make([]byte, 4)), "NEGOTIATE: .*0 bytes, which is no milter packet"},
		{"empty packet later", answer(offer, make([]byte, 4)), "CONNECT: .*0 bytes, which is no milter packet"},
		{"packet cut off", func(conn net.Conn) {
			readPackets(conn, 'O')
			_, _ = conn.Write(offer[:9])
		}, "NEGOTIATE: .*the filter closed the connection"},
		{"no answer to the negotiation", answer(packet("c")), "NEGOTIATE: .*unexpected code"},
		{"short answer", answer(packet("O\x00\x00\x00\x06")), "NEGOTIATE: .*unexpected data size"},
		{"version 7", answer(packet("O\x00\x00\x00\x07\x00\x00\x00\x00\x00\x00\x00\x00")), "NEGOTIATE: .*unsupported protocol version: 7"},
		{"unknown action", answer(packet("O\x00\x00\x00\x06\x80\x00\x00\x00\x00\x00\x00\x00")), "NEGOTIATE: .*unsupported actions"},
		{"macros with no end", answer(packet(string(offer[4:]) + "\x00\x00\x00\x01j")), "NEGOTIATE: .*malformed list of macros"},
		{"macros cut off", answer(packet(string(offer[4:]) + "\x00")), "NEGOTIATE: .*malformed list of macros"},
		{"unknown reply", answer(offer, packet("\x1b")), `CONNECT: .*unexpected code: \\x1b`},
		{"malformed reply", answer(offer, packet("yhello\x00")), "CONNECT: .*malformed SMTP response"},
		{"change before end of message", answer(offer, packet("hA\x00b\x00")), "CONNECT: .*unexpected code"},
		{"malformed change", func(conn net.Conn) {
			readPackets(conn, 'O')
			_, _ = conn.Write(bytes.Join([][]byte{offer, bytes.Repeat(packet("c"), 10), packet("m\x00")}, nil))
			silence(conn)
		}, "END OF MESSAGE: .*missing header index"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sendMail(smallMail, serveRaw(t, tt.filter))
			assert.Equal(t, exitError, got.status, got.stdout)
			assert.Regexp(t, "^miltersend: "+tt.want, got.stderr)
			assert.Equal(t, 1, strings.Count(got.stderr, "\n"))
		})
	}
}

func TestSlowFilter(t *testing.T) {
	silence := func(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }
	for _, tt := range []struct {
		name   string
		filter func(conn net.Conn)
		limit  string
	}{
		{"silent", silence, "-timeout"},
		{"silent to the end", silence, "-limit"},
		{"silent after the negotiation", func(conn net.Conn) {
			_, _ = conn.Write(offer)
			silence(conn)
		}, "-timeout"},
		{"progress forever", func(conn net.Conn) {
			_, err := conn.Write(offer)
			for err == nil {
				_, err = conn.Write(packet("p"))
			}
		}, "-limit"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := sendMail(smallMail, serveRaw(t, tt.filter), tt.limit, "100ms")
			assert.Equal(t, exitError, got.status, got.stdout)
			assert.Contains(t, got.stderr, "the filter did not answer in time")
		})
	}
}

func TestReceivedLimit(t *testing.T) {
	reader, writer := net.Pipe()
	defer reader.Close()
	defer writer.Close()
	go func() { _, _ = writer.Write(packet("p")) }()
	conn := &filterConn{Conn: reader, received: maxReceived}
	_, err := conn.Read(make([]byte, 1))
	assert.ErrorContains(t, err, "more than 268435456 bytes")
}

func TestNoFilter(t *testing.T) {
	got := sendMail(smallMail, "unix:"+filepath.Join(t.TempDir(), "f"))
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stderr, "no such file or directory")
	assert.Empty(t, got.stdout)
}

func TestInet(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(listener.Addr().String())
	require.NoError(t, err)
	f := &fakeFilter{}
	server := milter.NewServer(milter.WithMilter(func() milter.Milter { return f }))
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	got := sendMail(smallMail, "inet:"+port+"@127.0.0.1")
	assert.Zero(t, got.status, got.stderr)
	_ = server.Close()
	<-done
}

func TestUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "-addr is required"},
		{[]string{"-addr", "tcp:1@h"}, "want unix:/path"},
		{[]string{"-addr", "/f", "a.eml", "b.eml"}, "one mail at a time, not 2"},
		{[]string{"-addr", "/f", "-timeout", "0"}, "must be above zero"},
		{[]string{"-addr", "/f", "-limit", "-1s"}, "must be above zero"},
		{[]string{"-addr", "/f", "-rcpt", "a@example.org,"}, "empty address"},
		{[]string{"-addr", "/f", "-client-addr", "x"}, "want ip:port"},
		{[]string{"-addr", "/f", "-macro", "x"}, "want name=value"},
		{[]string{"-addr", "/f", "-nothing"}, "not defined: -nothing"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(tt.args, strings.NewReader(""), &stdout, &stderr))
			assert.Contains(t, stderr.String(), tt.want)
			assert.Empty(t, stdout.String())
		})
	}
}

func TestHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	assert.Zero(t, run([]string{"-help"}, strings.NewReader(""), &stdout, &stderr))
	assert.Contains(t, stdout.String(), "-client-addr")
	assert.Contains(t, stdout.String(), "13  quarantined")
	assert.Empty(t, stderr.String())
}

func TestUnreadableMail(t *testing.T) {
	got := sendMail("", "/f", filepath.Join(t.TempDir(), "none.eml"))
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stderr, "none.eml: no such file or directory")

	got = sendMail("A: \x00\n", "/f")
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stderr, "NUL byte")
}

func TestEmptyMail(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail("", f.serve(t))
	assert.Zero(t, got.status, got.stderr)
	assert.Equal(t, []string{"rcpt rcpt@example.org", "data", "eoh", "eom"}, f.seen()[3:])
}

// The mails of examples/mail reach a filter byte for byte.
func TestExampleMails(t *testing.T) {
	for _, name := range []string{"plain.eml", "report.eml"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join("..", "..", "examples", "mail", name)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			f := &fakeFilter{}
			got := sendMail("", f.serve(t, milter.WithProtocol(milter.OptHeaderLeadingSpace)), path)
			require.Zero(t, got.status, got.stderr)

			var mail strings.Builder
			for _, event := range f.seen() {
				step, about, _ := strings.Cut(event, " ")
				switch step {
				case "header":
					mail.WriteString(strings.Replace(about, "=", ":", 1) + "\n")
				case "eoh":
					mail.WriteString("\n")
				case "body":
					mail.WriteString(strings.ReplaceAll(about, "\r\n", "\n"))
				}
			}
			assert.Equal(t, string(raw), mail.String())
		})
	}
}

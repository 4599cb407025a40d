package sendmail

import (
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/libmilter/go-libmilter/internal/ascii"
	"github.com/libmilter/go-libmilter/test/harness"
)

// sink is an SMTP server that takes every mail.
type sink struct {
	l      net.Listener
	served sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when no more are to be served
	mails []harness.Mail
}

// startSink starts the sink, which is stopped when the test ends.
func (s *Server) startSink() {
	s.t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		s.t.Fatal(err)
	}
	k := &sink{l: l, conns: map[net.Conn]bool{}}
	s.sink = k
	k.served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return // closed
			}
			k.served.Go(func() { k.serve(conn) })
		}
	})
	s.t.Cleanup(k.stop)
}

func (k *sink) stop() {
	_ = k.l.Close()
	k.mu.Lock()
	for conn := range k.conns {
		_ = conn.Close()
	}
	k.conns = nil
	k.mu.Unlock()
	k.served.Wait()
}

func (k *sink) addr() string { return k.l.Addr().String() }

func (k *sink) delivered() []harness.Mail {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.mails)
}

// serve speaks SMTP on a connection until its end.
func (k *sink) serve(conn net.Conn) {
	defer conn.Close()
	k.mu.Lock()
	open := k.conns != nil
	if open {
		k.conns[conn] = true
	}
	k.mu.Unlock()
	if !open {
		return
	}
	defer func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		delete(k.conns, conn)
	}()
	text := textproto.NewConn(conn)
	_ = text.PrintfLine("220 sink ESMTP")
	var mail harness.Mail
	for {
		line, err := text.ReadLine()
		if err != nil {
			return
		}
		reply, err := k.command(text, &mail, line)
		if err != nil || text.PrintfLine("%s", reply) != nil {
			return
		}
	}
}

// command does what a command says, and returns the reply.
func (k *sink) command(text *textproto.Conn, mail *harness.Mail, line string) (reply string, err error) {
	verb, arg, _ := strings.Cut(line, " ")
	switch ascii.ToLower(verb) {
	case "ehlo":
		return "250-sink\r\n250-8BITMIME\r\n250-SIZE\r\n250 DSN", nil
	case "mail":
		*mail = harness.Mail{}
		mail.From, err = parsePath(arg)
	case "rcpt":
		var rcpt harness.Path
		rcpt, err = parsePath(arg)
		mail.Rcpts = append(mail.Rcpts, rcpt)
	case "data":
		if err := text.PrintfLine("354 go on"); err != nil {
			return "", err
		}
		content, err := text.ReadDotBytes()
		if err != nil {
			return "", err
		}
		k.take(*mail, string(content))
	case "quit":
		return "221 bye", nil
	}
	return "250 ok", err
}

// take keeps a mail.
func (k *sink) take(mail harness.Mail, content string) {
	head, body, _ := strings.Cut("\n"+content, "\n\n")
	mail.Header, mail.Body = harness.SplitFields(strings.TrimPrefix(head, "\n")), []byte(body)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.mails = append(k.mails, mail)
}

// keyword stands before the path in the argument of a MAIL or RCPT command.
var keyword = regexp.MustCompile(`^[A-Za-z]+:`)

// parsePath reads the argument of a MAIL or RCPT command: FROM:<a@example.org> SIZE=1.
func parsePath(arg string) (harness.Path, error) {
	before := keyword.FindString(arg)
	if before == "" {
		return harness.Path{}, fmt.Errorf("no keyword in %q", arg)
	}
	return harness.ParsePath(arg[len(before):])
}

package miltertest

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
)

// Mail is a mail for Send: a client, an envelope and what follows DATA. Every field may be left empty.
type Mail struct {
	// Local tells that the mail does not come by SMTP, but from a program on the MTA's own machine. To Postfix that is a mail
	// for non_smtpd_milters, whatever the program has used: a client that is always the same, addresses without angle
	// brackets and ESMTP arguments, "" for the null sender. To Sendmail it is "sendmail -bs": a client whose address is not
	// known. (What Sendmail is given on its command line no filter sees.) The defaults of Client, Addr and Helo are theirs.
	Local bool

	// Client is the SMTP client's host name. The default is "client.example.org".
	Client string
	// Addr is the client's address, a *net.TCPAddr or a *net.UnixAddr. The default is 192.0.2.10, port 40000. See
	// UnknownAddr.
	Addr net.Addr
	// Helo is what the client calls itself. The default is Client.
	Helo string

	// From is the sender, with ESMTP arguments if there are any: "a@example.org", "<a@example.org> SIZE=1000", and "<>"
	// for the null sender. The default is "<sender@example.org>".
	From string
	// To are the recipients, likewise. The default is "<recipient@example.com>".
	To []string

	// Data is the message: header, empty line, body. Lines end with LF or CRLF. As in Postfix, the first line that is no
	// header field begins the body, so that a message may lack either; a first line "From …", an mbox's, is left out. What the MTA drops before a filter sees it is not
	// sent: Bcc, Content-Length and Return-Path by Postfix, an empty Date, From or Message-Id by Sendmail.
	Data string
}

// UnknownAddr is the address of a client whose address the MTA does not know: the filter is given nil.
var UnknownAddr net.Addr = unknownAddr{}

type unknownAddr struct{}

func (unknownAddr) Network() string { return "unknown" }
func (unknownAddr) String() string  { return "unknown" }

// message is what Data holds: the fields in order, and the body with CRLF line ends.
type message struct {
	header Header
	body   string
}

// Message gives the header and the body of Data as Send sends them. An error says what the milter protocol cannot carry.
func (m Mail) Message() (header Header, body string, err error) {
	msg, err := parseMessage(m.Data)
	return msg.header, msg.body, err
}

// complete gives the mail with what it leaves empty, and its message.
func (m Mail) complete(kind Kind) (Mail, message, error) {
	if m.Local {
		m = m.local(kind)
	}
	m.Client = firstOf(m.Client, "client.example.org")
	m.Helo = firstOf(m.Helo, m.Client)
	m.From = firstOf(m.From, "<sender@example.org>")
	if m.To == nil {
		m.To = []string{"<recipient@example.com>"}
	}
	if slices.Contains(m.To, "") {
		return m, message{}, errors.New("a recipient is empty")
	}
	if m.Addr == nil {
		m.Addr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 40000}
	}
	msg, err := parseMessage(m.Data)
	return m, msg, err
}

// local gives a local mail the client that the MTA shows.
func (m Mail) local(kind Kind) Mail {
	m.Client = firstOf(m.Client, "localhost")
	switch {
	case m.Addr != nil:
	case kind == KindSendmail:
		m.Addr = UnknownAddr
	default:
		m.Addr = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)}
	}
	return m
}

func firstOf(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

// parseMessage splits a message into header and body.
func parseMessage(data string) (message, error) {
	var m message
	if strings.HasPrefix(strings.TrimLeft(data, ">"), "From ") { // an mbox's
		data = data[lineLength(data):]
	}
	for data != "" {
		text, rest := cutField(data)
		if text == "" {
			data = rest // the empty line
			break
		}
		f, ok := parseField(text)
		if !ok {
			break
		}
		if strings.Contains(text, "\x00") {
			return m, fmt.Errorf("header field %s holds a NUL, which the milter protocol cannot carry", f.Name)
		}
		m.header = append(m.header, f)
		data = rest
	}
	m.body = toCRLF(data)
	return m, nil
}

// cutField cuts off the first line and the folded lines that continue it. The text has LF line ends and no last one.
func cutField(data string) (text, rest string) {
	end := lineLength(data)
	if strings.TrimRight(data[:end], "\r\n") != "" {
		for end < len(data) && (data[end] == ' ' || data[end] == '\t') {
			end += lineLength(data[end:])
		}
	}
	return strings.TrimSuffix(strings.ReplaceAll(data[:end], "\r\n", "\n"), "\n"), data[end:]
}

// lineLength is the length of the first line with its line end.
func lineLength(data string) int {
	if i := strings.IndexByte(data, '\n'); i >= 0 {
		return i + 1
	}
	return len(data)
}

// parseField splits a field at its colon. Like MTAs it lets blanks stand before the colon.
func parseField(text string) (Field, bool) {
	name, raw, ok := strings.Cut(text, ":")
	name = strings.TrimRight(name, " \t")
	for _, c := range []byte(name) {
		ok = ok && c > ' ' && c <= '~'
	}
	return newField(name, raw), ok && name != ""
}

// toCRLF gives every line the line end that it has in SMTP, the last one too.
func toCRLF(body string) string {
	body = strings.ReplaceAll(body, "\r\n", "\n")
	if body != "" && !strings.HasSuffix(body, "\n") {
		body += "\n"
	}
	return strings.ReplaceAll(body, "\n", "\r\n")
}

// splitPath parts an address, in brackets or not, from the ESMTP arguments behind it.
func splitPath(path string) (addr string, args []string) {
	path = strings.TrimSpace(path)
	end, quotes, escaped, brackets := 0, false, false, false
	for ; end < len(path); end++ {
		c := path[end]
		switch {
		case escaped:
			escaped = false
		case quotes && c == '\\':
			escaped = true
		case c == '"':
			quotes = !quotes
		case !quotes && (c == '<' || c == '>'):
			brackets = c == '<'
		}
		if !quotes && !brackets && (c == ' ' || c == '\t') {
			break
		}
	}
	return path[:end], strings.Fields(path[end:])
}

// joinPath is the opposite.
func joinPath(addr string, args []string) string {
	return strings.Join(append([]string{addr}, args...), " ")
}

// brackets gives an address its angle brackets.
func brackets(addr string) string {
	if strings.HasPrefix(addr, "<") {
		return addr
	}
	return "<" + addr + ">"
}

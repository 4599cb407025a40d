package main

import (
	"bytes"
	"fmt"
	netmail "net/mail"
	"strings"
)

// field is one header field. Its value is all that follows the colon: the blank, 8-bit bytes, and the folding as LF and blank.
type field struct{ name, value string }

// message is a mail: its fields in order, and its body with CRLF line ends.
type message struct {
	header []field
	body   []byte
}

// parseMessage splits a mail, with CRLF or LF line ends, into header and body. As in Postfix the first line that is no header
// field begins the body, so a mail may lack either.
func parseMessage(raw []byte) (*message, error) {
	m := &message{}
	for len(raw) > 0 {
		text, rest := cutField(raw)
		if text == "" {
			raw = rest // the empty line
			break
		}
		f, ok := parseField(text)
		if !ok {
			break
		}
		if strings.IndexByte(text, 0) >= 0 {
			return nil, fmt.Errorf("header field %s holds a NUL byte, which the milter protocol cannot carry", f.name)
		}
		m.header = append(m.header, f)
		raw = rest
	}
	m.body = toCRLF(raw)
	return m, nil
}

// cutField cuts off the first line and the folded lines that continue it. The text it returns has LF line ends and no last one.
func cutField(raw []byte) (text string, rest []byte) {
	end := lineLength(raw)
	if len(bytes.TrimRight(raw[:end], "\r\n")) > 0 {
		for end < len(raw) && isBlank(raw[end]) {
			end += lineLength(raw[end:])
		}
	}
	text = strings.ReplaceAll(string(raw[:end]), "\r\n", "\n")
	return strings.TrimSuffix(text, "\n"), raw[end:]
}

// lineLength is the length of the first line with its line end.
func lineLength(raw []byte) int {
	if i := bytes.IndexByte(raw, '\n'); i >= 0 {
		return i + 1
	}
	return len(raw)
}

// parseField splits a field at its colon. Like MTAs it lets blanks stand before the colon.
func parseField(text string) (field, bool) {
	name, value, ok := strings.Cut(text, ":")
	name = strings.TrimRight(name, " \t")
	if !ok || name == "" {
		return field{}, false
	}
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' {
			return field{}, false
		}
	}
	return field{name, value}, true
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

// toCRLF gives every line the line end that it has in SMTP, the last one too.
func toCRLF(body []byte) []byte {
	body = bytes.ReplaceAll(body, []byte("\r\n"), []byte("\n"))
	if len(body) > 0 && body[len(body)-1] != '\n' {
		body = append(body, '\n')
	}
	return bytes.ReplaceAll(body, []byte("\n"), []byte("\r\n"))
}

// sender is the envelope sender that the header names.
func (m *message) sender() string {
	if path, ok := m.get("Return-Path"); ok && path == "<>" {
		return ""
	}
	for _, name := range []string{"Return-Path", "From"} {
		if addrs := m.addresses(name); len(addrs) > 0 {
			return addrs[0]
		}
	}
	return "sender@example.org"
}

// recipients are the envelope recipients that the header names.
func (m *message) recipients() []string {
	if addrs := m.addresses("To"); len(addrs) > 0 {
		return addrs
	}
	return []string{"rcpt@example.org"}
}

// addresses are those of the first field of that name; none if it cannot be read.
func (m *message) addresses(name string) []string {
	value, _ := m.get(name)
	list, err := netmail.ParseAddressList(value)
	if err != nil {
		return nil
	}
	addrs := make([]string, len(list))
	for i, a := range list {
		addrs[i] = a.Address
	}
	return addrs
}

// get is the first field of that name, unfolded.
func (m *message) get(name string) (string, bool) {
	for _, f := range m.header {
		if strings.EqualFold(f.name, name) {
			return strings.TrimSpace(strings.ReplaceAll(f.value, "\n", "")), true
		}
	}
	return "", false
}

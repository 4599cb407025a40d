package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
)

// isSigned reports whether a part is an S/MIME message that is not a multipart (RFC 8551, 3.5.2).
func (p *part) isSigned() bool {
	return p.says("application/pkcs7-mime", "application/x-pkcs7-mime") || p.isNamed("smime.p7m")
}

// signed goes through what is signed. What is encrypted is not read, and passes. What has no header
// is a text, or a file as signed invoices are.
func (w *walker) signed(p *part, body []byte, depth int) bool {
	for _, text := range w.decoded(p, body) {
		content, err := signedContent(text)
		if err != nil {
			w.failed(err)
		}
		header, body := []field(nil), content
		if lines, _ := cutHeader(content); saysWhatItIs(lines[:min(len(lines), maxHeader)]) {
			header, body = w.split(content)
		}
		if !w.part(header, body, "text/plain", depth) {
			return false
		}
	}
	return true
}

// saysWhatItIs reports whether there is a field of MIME's in a header.
func saysWhatItIs(lines []byte) bool {
	return slices.ContainsFunc(fields(lines), func(f field) bool {
		return strings.HasPrefix(f.name, "Content-")
	})
}

var errSigned = errors.New("a signed part (S/MIME) cannot be read")

// What can be in a message (RFC 5652, 3; RFC 5083).
var (
	oidSigned        = []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02")
	oidEnveloped     = []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x03")
	oidAuthEnveloped = []byte("\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x17")
)

// maxDepth is how deep elements may be in each other.
const maxDepth = 16

// The tags that are needed.
const (
	berOID      = 0x06
	berSequence = 0x30
	berOctetsIn = 0x24 // in pieces
)

// signedContent gives what is signed in a message; nil if it is encrypted, or only certificates.
// Some messages are in base64 once more.
func signedContent(message []byte) ([]byte, error) {
	if decoded, err := base64.StdEncoding.DecodeString(string(bytes.TrimSpace(message))); err == nil {
		message = decoded
	}
	info := elementsOf(message, berSequence)
	if len(info) < 2 || info[0].tag != berOID {
		return nil, errSigned
	}
	if kind := info[0].content; bytes.Equal(kind, oidEnveloped) || bytes.Equal(kind, oidAuthEnveloped) {
		return nil, nil
	} else if !bytes.Equal(kind, oidSigned) {
		return nil, errSigned
	}
	return encapsulated(info[1].content)
}

// encapsulated gives the content of signed data (RFC 5652, 5.1).
func encapsulated(signed []byte) ([]byte, error) {
	data := elementsOf(signed, berSequence)
	if len(data) < 3 {
		return nil, errSigned
	}
	inner := elements(data[2].content)
	if len(inner) < 1 {
		return nil, errSigned
	}
	if len(inner) == 1 {
		return nil, nil
	}
	octets := elements(inner[1].content)
	if len(octets) != 1 {
		return nil, errSigned
	}
	return octets[0].octets(0), nil
}

// element is an element of BER: what Outlook signs has elements that do not say how long they are.
type element struct {
	tag     byte
	content []byte
}

// elementsOf gives those in an element; nil if it is not of the tag.
func elementsOf(text []byte, tag byte) []element {
	outer, _, ok := nextElement(text, 0)
	if !ok || outer.tag != tag {
		return nil
	}
	return elements(outer.content)
}

// elements gives the elements of a content; nil if it has others.
func elements(content []byte) (all []element) {
	for len(content) > 0 {
		e, rest, ok := nextElement(content, 0)
		if !ok {
			return nil
		}
		all = append(all, e)
		content = rest
	}
	return all
}

// octets gives a text, which may be in pieces.
func (e element) octets(depth int) []byte {
	if e.tag != berOctetsIn || depth > maxDepth {
		return e.content
	}
	var text []byte
	for _, piece := range elements(e.content) {
		text = append(text, piece.octets(depth+1)...)
	}
	return text
}

// nextElement takes an element from a text.
func nextElement(text []byte, depth int) (e element, rest []byte, ok bool) {
	if len(text) < 2 || text[0]&0x1f == 0x1f || depth > maxDepth {
		return element{}, nil, false
	}
	e.tag = text[0]
	length, rest := int(text[1]), text[2:]
	if length == 0x80 {
		return openElement(e.tag, rest, depth)
	}
	if length > 0x80 {
		octets := length & 0x7f
		if octets > 4 || octets > len(rest) {
			return element{}, nil, false
		}
		length = 0
		for _, octet := range rest[:octets] {
			length = length<<8 | int(octet)
		}
		rest = rest[octets:]
	}
	if length > len(rest) {
		return element{}, nil, false
	}
	e.content = rest[:length]
	return e, rest[length:], true
}

// openElement takes an element whose end two zeros make.
func openElement(tag byte, text []byte, depth int) (e element, rest []byte, ok bool) {
	for rest = text; !bytes.HasPrefix(rest, []byte{0, 0}); {
		if _, rest, ok = nextElement(rest, depth+1); !ok {
			return element{}, nil, false
		}
	}
	return element{tag, text[:len(text)-len(rest)]}, rest[2:], true
}

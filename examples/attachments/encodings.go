package main

import (
	"bytes"
	"encoding/base64"
	"errors"
	"io"
	"slices"
	"strings"
)

var (
	errEncoding = errors.New("an attached mail has an unknown encoding")
	errDecoding = errors.New("an attached mail cannot be decoded")
)

// encodingIn gives an encoding without what is not of it.
func encodingIn(value string) string {
	value = withoutComments(strings.ToLower(unfoldings(value)[0]))
	value = strings.TrimLeft(value, " \t\"'")
	if i := strings.IndexAny(value, " \t;,\"'"); i >= 0 {
		value = value[:i]
	}
	return value
}

// isPlain reports whether a text in an encoding is as it is.
func isPlain(encoding string) bool {
	return slices.Contains([]string{"", "7bit", "8bit", "binary"}, encoding)
}

// newDecoder gives what decodes a text as mail programs do, which go on where a text is broken; nil
// if there is nothing to decode, or the encoding is not known.
func newDecoder(encoding string, text []byte) io.Reader {
	switch encoding {
	case "base64":
		return &base64Decoder{rest: text}
	case "quoted-printable":
		return &quotedPrintableDecoder{rest: text}
	}
	return nil
}

// base64Decoder decodes a text (RFC 2045, 6.8). It leaves out what is not of it, and fails at its
// end.
type base64Decoder struct {
	rest    []byte
	decoded []byte
	padded  bool
	broken  bool
	buffer  [3]byte
}

func (b *base64Decoder) Read(p []byte) (n int, err error) {
	for n < len(p) {
		if len(b.decoded) == 0 && !b.next() {
			break
		}
		copied := copy(p[n:], b.decoded)
		b.decoded = b.decoded[copied:]
		n += copied
	}
	switch {
	case n > 0:
		return n, nil
	case b.broken:
		return 0, errDecoding
	}
	return 0, io.EOF
}

// next decodes the next four letters, or those that are in front of padding.
func (b *base64Decoder) next() bool {
	var letters [4]byte
	n := 0
	for i, c := range b.rest {
		switch {
		case isBase64(c):
			b.broken = b.broken || b.padded
			letters[n] = c
			n++
		case c == '=':
			b.padded = true
		case c > ' ':
			b.broken = true
		}
		if n == len(letters) || c == '=' && n > 0 {
			b.rest = b.rest[i+1:]
			return b.decode(letters[:n])
		}
	}
	b.rest = nil
	return n > 0 && b.decode(letters[:n])
}

func (b *base64Decoder) decode(letters []byte) bool {
	b.broken = b.broken || len(letters) == 1                   // which is no byte
	n, _ := base64.RawStdEncoding.Decode(b.buffer[:], letters) // its letters are right
	b.decoded = b.buffer[:n]
	return true
}

func isBase64(c byte) bool {
	return 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z' || '0' <= c && c <= '9' || c == '+' || c == '/'
}

// quotedPrintableDecoder decodes a text (RFC 2045, 6.7), and leaves what is no code.
type quotedPrintableDecoder struct {
	rest    []byte
	decoded []byte
}

func (q *quotedPrintableDecoder) Read(p []byte) (int, error) {
	for len(q.decoded) == 0 {
		if len(q.rest) == 0 {
			return 0, io.EOF
		}
		q.next()
	}
	n := copy(p, q.decoded)
	q.decoded = q.decoded[n:]
	return n, nil
}

// next decodes a line, or as much of one.
func (q *quotedPrintableDecoder) next() {
	const most = 64 << 10
	end := len(q.rest)
	if i := bytes.IndexByte(q.rest, '\n'); i >= 0 {
		end = i + 1
	}
	if end > most {
		end = most
		if i := bytes.LastIndexByte(q.rest[end-2:end], '='); i >= 0 {
			end -= 2 - i // a code is not parted
		}
	}
	line := q.rest[:end]
	q.rest = q.rest[end:]
	text := bytes.TrimRight(line, " \t\r\n")
	if soft := bytes.TrimSuffix(text, []byte("=")); len(soft) < len(text) {
		line = soft
	}
	q.decoded = []byte(unhex(string(line), '='))
}

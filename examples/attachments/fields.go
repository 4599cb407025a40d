package main

import (
	"bytes"
	"errors"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// The fields that say what a part is, and those that some programs take a name from if there is
// none in the others: Outlook the description, Thunderbird the next two.
const (
	contentType        = "Content-Type"
	contentDisposition = "Content-Disposition"
	contentEncoding    = "Content-Transfer-Encoding"
)

var nameFields = []string{"Content-Description", "Content-Name", "X-Sun-Data-Name"}

// field is a field of a header.
type field struct {
	name  string // as textproto.CanonicalMIMEHeaderKey has it
	value []byte // folded as it was

	// longer is the value for programs that take lines that are no fields for what goes on: nil if
	// there are none.
	longer []byte
}

// newField takes from a name what no name can have, blanks and signs that are not seen for
// instance.
func newField(name string, value []byte) field {
	return field{textproto.CanonicalMIMEHeaderKey(strings.Map(func(r rune) rune {
		if '!' <= r && r <= '~' {
			return r
		}
		return -1
	}, name)), value, nil}
}

// hasBareCR reports whether there is a CR in the field that does not end a line with the LF.
func (f field) hasBareCR() bool {
	return bytes.ContainsRune(bytes.ReplaceAll(f.value, []byte("\r\n"), nil), '\r')
}

// fields gives the fields of a header.
func fields(lines []byte) (header []field) {
	for line := range bytes.Lines(lines) {
		last := len(header) - 1
		if last >= 0 && (line[0] == ' ' || line[0] == '\t') {
			header[last].goOn(line)
			continue
		}
		name, value, found := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		if last >= 0 && !fieldName.Match(name) {
			header[last].mayGoOn(line)
		}
		if found {
			header = append(header, newField(string(name), slices.Clone(value)))
		}
	}
	return header
}

// goOn takes a line that is folded.
func (f *field) goOn(line []byte) {
	f.value = append(append(f.value, '\n'), line...)
	if f.longer != nil {
		f.longer = append(append(f.longer, '\n'), line...)
	}
}

// mayGoOn takes a line that is not a field.
func (f *field) mayGoOn(line []byte) {
	if f.longer == nil {
		f.longer = slices.Clone(f.value)
	}
	f.longer = append(append(f.longer, "\n "...), line...)
}

var fieldName = regexp.MustCompile(`^[\w-]+[ \t]*$`)

// errUnclear is for a header that ends elsewhere for some programs.
var errUnclear = errors.New(
	"the header of a part has a CR by itself, a NUL, a line of blanks" +
		" or one that begins as a boundary does")

// unclear reports whether there are programs for which a header ends in front of its end, or has
// other lines.
func unclear(lines []byte) bool {
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(line)) == 0 || bytes.ContainsAny(line, "\r\x00") ||
			bytes.HasPrefix(line, []byte("--")) {
			return true
		}
	}
	return false
}

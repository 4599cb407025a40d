package main

import (
	"bytes"
	"errors"
	"net/textproto"
	"regexp"
	"slices"
	"strings"
)

// The fields that say what a part is, and those that some programs take a name from if there is none
// in the others: Outlook the description, Thunderbird the next two.
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
}

// newField takes from a name what no name can have, blanks and signs that are not seen for instance.
func newField(name string, value []byte) field {
	return field{textproto.CanonicalMIMEHeaderKey(strings.Map(func(r rune) rune {
		if '!' <= r && r <= '~' {
			return r
		}
		return -1
	}, name)), value}
}

// hasBareCR reports whether there is a CR in the field that does not end a line with the LF.
func (f field) hasBareCR() bool {
	return bytes.ContainsRune(bytes.ReplaceAll(f.value, []byte("\r\n"), nil), '\r')
}

// fields gives the fields of a header. Lines that are none are left out by some programs, and taken
// for what goes on by others; here they do, which lets no field end too soon.
func fields(lines []byte) (header []field) {
	for line := range bytes.Lines(lines) {
		name, value, found := bytes.Cut(bytes.TrimRight(line, "\r\n"), []byte(":"))
		indented := bytes.HasPrefix(line, []byte(" ")) || bytes.HasPrefix(line, []byte("\t"))
		last := len(header) - 1
		if last >= 0 && (indented || !found || !fieldName.Match(name)) {
			header[last].value = append(append(header[last].value, '\n'), line...)
		}
		if found && (last < 0 || !indented) {
			header = append(header, newField(string(name), slices.Clone(value)))
		}
	}
	return header
}

var fieldName = regexp.MustCompile(`^[\w-]+[ \t]*$`)

// errUnclear is for a header that ends elsewhere for some programs.
var errUnclear = errors.New("the header of a part has a CR by itself, a NUL or a line of blanks")

// unclear reports whether there are programs for which a header ends in front of its end, or has
// other lines.
func unclear(lines []byte) bool {
	for line := range bytes.Lines(lines) {
		line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
		if len(bytes.TrimSpace(line)) == 0 || bytes.ContainsAny(line, "\r\x00") {
			return true
		}
	}
	return false
}

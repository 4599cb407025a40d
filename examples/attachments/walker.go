package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"iter"
	"mime/quotedprintable"
	"net/textproto"
	"slices"
	"strings"

	"github.com/jhillyerd/enmime/v2"
)

const (
	contentType        = "Content-Type"
	contentDisposition = "Content-Disposition"
	contentEncoding    = "Content-Transfer-Encoding"
)

// limits bound what a mail can cost.
type limits struct {
	parts    int
	depth    int
	unpacked int // bytes
}

// What no mail program writes: a part's header, and its fields of one name.
const (
	maxHeader = 256 << 10
	maxFields = 8 << 10
)

// walker goes through the parts of a mail, each before those in it. The header is read by enmime, which mends what is wrong
// in it as mail programs do. The rest is not: enmime holds a whole mail decoded in memory, however many parts it has and
// however deep they are. Here parts are slices of the mail, and nothing of a file is read but for the line that ends it.
//
// Where a mail can be read in two ways, a part has the names and types of both.
type walker struct {
	limits limits
	visit  func(p *part) (goOn bool)
	fault  error // the first thing that could not be read

	parts    int
	unpacked int
}

// walk visits the mail itself, which is a part, and all in it, until visit wants no more.
func (w *walker) walk(header textproto.MIMEHeader, body []byte) {
	w.part(header, body, "text/plain", 0)
}

// wrong keeps the first fault.
func (w *walker) wrong(format string, args ...any) {
	if w.fault == nil {
		w.fault = fmt.Errorf(format, args...)
	}
}

// part visits a part and those in it. otherwise is its type if it does not say. Like the functions below, it tells whether to
// go on.
func (w *walker) part(header textproto.MIMEHeader, body []byte, otherwise string, depth int) bool {
	if w.parts++; w.parts > w.limits.parts {
		w.wrong("it has more than %d parts", w.limits.parts)
		return false
	}
	p := w.read(header)
	if len(p.types) == 0 {
		p.types = []string{otherwise}
	}
	if !w.visit(p) {
		return false
	}
	isMultipart, isMail := p.isMultipart(), p.isMail()
	if (isMultipart || isMail) && depth >= w.limits.depth {
		w.wrong("its parts are in each other, more than %d deep", w.limits.depth)
		return true
	}
	return (!isMultipart || w.multipart(p, body, depth)) && (!isMail || w.mail(p, body, depth))
}

// multipart goes through the parts that a boundary parts. A body that lacks the last boundary is taken as it is: mail
// programs do.
func (w *walker) multipart(p *part, body []byte, depth int) bool {
	if len(p.boundaries) != 1 {
		w.wrong("a part has %d boundaries in place of one", len(p.boundaries))
	}
	if len(p.boundaries) == 0 {
		return true
	}
	otherwise := "text/plain"
	if slices.Contains(p.types, "multipart/digest") {
		otherwise = "message/rfc822"
	}
	found := false
	for segment := range segments(body, p.boundaries[0]) {
		found = true
		header, body := w.split(segment)
		if !w.part(header, body, otherwise, depth+1) {
			return false
		}
	}
	if !found {
		w.wrong("the boundary of a part is not in it")
	}
	return true
}

// mail goes through a mail that is attached.
func (w *walker) mail(p *part, body []byte, depth int) bool {
	text := w.unpack(p.encoding, body)
	header, body := w.split(bytes.TrimLeft(text, "\r\n"))
	return w.part(header, body, "text/plain", depth+1)
}

// split parts a header from what follows it.
func (w *walker) split(text []byte) (header textproto.MIMEHeader, body []byte) {
	fields, body := cutHeader(text)
	if len(fields) > maxHeader {
		w.wrong("the header of a part has more than %d bytes", maxHeader)
		fields = fields[:maxHeader]
	}
	for len(fields) > 0 && !isField(fields) {
		_, fields, _ = bytes.Cut(fields, []byte("\n"))
	}
	if len(fields) == 0 {
		return nil, body
	}
	header, err := enmime.ReadHeader(bufio.NewReader(bytes.NewReader(fields)), mended{})
	if err != nil {
		w.wrong("the header of a part cannot be read")
	}
	return header, body
}

// isField tells whether a header's first line is a field's: enmime mends all but the first.
func isField(fields []byte) bool {
	line, _, _ := bytes.Cut(fields, []byte("\n"))
	return bytes.IndexByte(line, ':') > 0 && line[0] != ' ' && line[0] != '\t'
}

// mended is not told what enmime has mended.
type mended struct{}

func (mended) AddError(string, string, ...any)   {}
func (mended) AddWarning(string, string, ...any) {}

// unpack decodes a body.
func (w *walker) unpack(encoding string, body []byte) []byte {
	var decoder io.Reader
	switch encoding {
	case "", "7bit", "8bit", "binary":
		return body
	case "base64":
		decoder = base64.NewDecoder(base64.StdEncoding, bytes.NewReader(body))
	case "quoted-printable":
		decoder = quotedprintable.NewReader(bytes.NewReader(body))
	default:
		w.wrong("an attached mail has an unknown encoding")
		return body
	}
	room := w.limits.unpacked - w.unpacked
	decoded, err := io.ReadAll(io.LimitReader(decoder, int64(room)+1))
	if err != nil {
		w.wrong("an attached mail cannot be decoded")
	}
	if len(decoded) > room {
		w.wrong("the mails that are attached have more than %d bytes", w.limits.unpacked)
		decoded = decoded[:room]
	}
	w.unpacked += len(decoded)
	return decoded
}

// part is what a part of a mail says that it is.
type part struct {
	names      []string
	types      []string // lower case
	boundaries []string
	encoding   string // lower case
}

// name gives the name that a mail program shows, "" if there is none.
func (p *part) name() string {
	if len(p.names) == 0 {
		return ""
	}
	return p.names[0]
}

func (p *part) isMultipart() bool {
	return slices.ContainsFunc(p.types, func(t string) bool { return strings.HasPrefix(t, "multipart/") })
}

// isMail tells whether a part is a mail, by its type or as a file that a mail program opens as one.
func (p *part) isMail() bool {
	return slices.ContainsFunc(p.types, func(t string) bool { return t == "message/rfc822" || t == "message/global" || t == "message/news" }) ||
		slices.ContainsFunc(p.names, func(name string) bool { return strings.HasSuffix(fileName(name), ".eml") })
}

// read reads the fields that say what a part is. Each may be there more than once.
func (w *walker) read(header textproto.MIMEHeader) *part {
	p := &part{encoding: strings.ToLower(strings.TrimSpace(header.Get(contentEncoding)))}
	for _, value := range w.values(header, contentDisposition) {
		p.names = append(p.names, names(parameters(value))...)
	}
	for _, value := range w.values(header, contentType) {
		if t := mediaType(value); t != "" {
			p.types = append(p.types, t)
		}
		params := parameters(value)
		p.names = append(p.names, names(params)...)
		for _, boundary := range params["boundary"] {
			if boundary = strings.TrimSpace(boundary); boundary != "" && !slices.Contains(p.boundaries, boundary) {
				p.boundaries = append(p.boundaries, boundary)
			}
		}
	}
	return p
}

// values gives the fields of a name, as far as they are not too long.
func (w *walker) values(header textproto.MIMEHeader, name string) []string {
	values := header[name]
	room := maxFields
	for i, value := range values {
		if room -= len(value); room < 0 {
			w.wrong("the %s of a part has more than %d bytes", name, maxFields)
			return values[:i]
		}
	}
	return values
}

// cutHeader parts a header, its lines, from what follows the empty line.
func cutHeader(text []byte) (header, body []byte) {
	for at := 0; at < len(text) && at <= maxHeader; {
		end := at + len(text[at:])
		if i := bytes.IndexByte(text[at:], '\n'); i >= 0 {
			end = at + i + 1
		}
		if len(bytes.TrimRight(text[at:end], "\r\n")) == 0 {
			return text[:at], text[end:]
		}
		at = end
	}
	return text, nil
}

// segments gives what is between the lines that a boundary makes (RFC 2046, 5.1.1), also behind one that says it is the last.
func segments(body []byte, boundary string) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		delimiter := []byte("--" + boundary)
		begin := -1 // of the segment; -1: between a last line and a first
		for at := 0; ; {
			line, end, last := nextDelimiter(body, delimiter, at)
			if begin >= 0 && !yield(body[begin:line]) || line == len(body) {
				return
			}
			begin, at = end, end
			if last {
				begin = -1
			}
		}
	}
}

// nextDelimiter finds the next line that is a delimiter: where it begins and ends, and whether it says that it is the last.
// Where there is none, it begins at the body's end.
func nextDelimiter(body, delimiter []byte, from int) (begin, end int, last bool) {
	for at := from; ; at++ {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return len(body), len(body), false
		}
		at += i
		if at > 0 && body[at-1] != '\n' {
			continue
		}
		line, _, _ := bytes.Cut(body[at:], []byte("\n"))
		switch rest := bytes.TrimSpace(line[len(delimiter):]); {
		case len(rest) == 0:
			return at, min(at+len(line)+1, len(body)), false
		case bytes.HasPrefix(rest, []byte("--")):
			return at, min(at+len(line)+1, len(body)), true
		}
	}
}

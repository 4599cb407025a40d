package main

import (
	"bytes"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
)

// limits bound what a mail can cost.
type limits struct {
	parts    int
	depth    int
	unpacked int // bytes
}

// What no mail program writes: in a part, the header, the fields of one name and boundaries that
// are tried; in a mail, all that files can be called.
const (
	maxHeader     = 256 << 10
	maxFields     = 8 << 10
	maxBoundaries = 8
	maxNamed      = 4 << 20
)

// walker goes through the parts of a mail, each before those in it. Libraries for MIME hold a whole
// mail decoded in memory, however many parts it has and however deep they are. Here parts are
// slices of the mail, and nothing of a file is read but for the line that ends it.
//
// Where a mail can be read in two ways, a part has the names and types of both. Where that would
// not do, since it is not sure where a part begins or ends, there is a fault.
type walker struct {
	limits limits
	visit  func(p *part) (goOn bool)
	fault  error // the first thing that could not be read

	parts    int
	named    int // bytes
	unpacked int
	searched bool // not only the names of what is in the mail were read
}

// walk visits the mail itself, which is a part, and all in it, until visit wants no more.
func (w *walker) walk(header []field, body []byte) {
	if slices.ContainsFunc(header, field.hasBareCR) {
		w.failed(errUnclear)
	}
	w.part(header, body, "text/plain", 0)
}

// wrong keeps the first fault.
func (w *walker) wrong(format string, args ...any) { w.failed(fmt.Errorf(format, args...)) }

func (w *walker) failed(err error) {
	if w.fault == nil {
		w.fault = err
	}
}

// show shows a part to visit.
func (w *walker) show(p *part) bool {
	if p.fault != nil {
		w.failed(p.fault)
	}
	if !w.visit(p) {
		return false
	}
	if w.named += p.size; w.named > maxNamed {
		w.wrong("the names of its parts have more than %d bytes", maxNamed)
		return false
	}
	return true
}

// count counts a part, and tells whether it is one too many.
func (w *walker) count() bool {
	if w.parts++; w.parts > w.limits.parts {
		w.wrong("it has more than %d parts", w.limits.parts)
		return false
	}
	return true
}

// part visits a part and those in it. otherwise is its type if it does not say. Like the functions
// below, it tells whether to go on.
func (w *walker) part(header []field, body []byte, otherwise string, depth int) bool {
	if !w.count() {
		return false
	}
	p := w.read(header, otherwise)
	if !w.show(p) {
		return false
	}
	if p.isBinHex() {
		w.failed(errBinHex)
	}
	if p.isText() && !w.text(p, body) {
		return false
	}
	if !p.isContainer() {
		return true
	}
	w.searched = true
	if depth >= w.limits.depth {
		w.wrong("its parts are in each other, more than %d deep", w.limits.depth)
		return true
	}
	return w.inside(p, body, depth+1)
}

// inside goes through what is in a part, which can be more than one thing to different programs.
func (w *walker) inside(p *part, body []byte, depth int) bool {
	return (!p.isMultipart() || w.multipart(p, body, depth)) &&
		(!p.isMail() || w.mail(p, body, depth)) &&
		(!p.isSigned() || w.signed(p, body, depth)) &&
		(!p.isTNEF() || w.tnef(p, body, depth))
}

// multipart goes through the parts that a boundary parts. A body that lacks the last boundary is
// taken as it is: mail programs do. They do not agree on whether it can have an encoding, which it
// is not to have.
func (w *walker) multipart(p *part, body []byte, depth int) bool {
	if len(p.boundaries) != 1 && p.says("multipart/") {
		w.wrong("a part has %d boundaries in place of one", len(p.boundaries))
	}
	found := len(p.boundaries) == 0
	for _, text := range w.alsoDecoded(p, body) {
		for _, boundary := range p.boundaries[:min(len(p.boundaries), maxBoundaries)] {
			for s := range w.segments(text, boundary) {
				found = true
				if !w.segment(p, s, depth) {
					return false
				}
			}
		}
	}
	if !found && p.says("multipart/") {
		w.wrong("the boundary of a part is not in it")
	}
	return true
}

// alsoDecoded gives the body of a multipart, and what it is if it is decoded first.
func (w *walker) alsoDecoded(p *part, body []byte) [][]byte {
	bodies := [][]byte{body}
	for _, encoding := range p.encodings {
		if newDecoder(encoding, body) != nil {
			text, _ := w.unpack(encoding, body) // most often it is not encoded
			bodies = append(bodies, text)
		}
	}
	return bodies
}

// segment goes through what boundaries part. Where it is not sure that they do, what is wrong with
// it does not count.
func (w *walker) segment(p *part, s segment, depth int) bool {
	fault := w.fault
	header, body := w.split(s.text)
	if !w.part(header, body, p.otherwise(), depth) {
		return false
	}
	if !s.sure {
		w.fault = fault
	}
	return true
}

// mail goes through a mail that is attached. To some programs it has no header if it begins with an
// empty line.
func (w *walker) mail(p *part, body []byte, depth int) bool {
	for _, text := range w.decoded(p, body) {
		behind := bytes.TrimLeft(text, "\r\n")
		if len(behind) < len(text) && !w.part(nil, behind, "text/plain", depth) {
			return false
		}
		header, body := w.split(behind)
		if !w.part(header, body, "text/plain", depth) {
			return false
		}
	}
	return true
}

// split parts a header from what follows it.
func (w *walker) split(text []byte) (header []field, body []byte) {
	lines, body := cutHeader(text)
	if len(lines) > maxHeader {
		w.wrong("the header of a part has more than %d bytes", maxHeader)
		lines = lines[:maxHeader]
	}
	if unclear(lines) {
		w.failed(errUnclear)
	}
	return fields(lines), body
}

// decoded gives a part's body decoded, once for each encoding that it says it has.
func (w *walker) decoded(p *part, body []byte) (bodies [][]byte) {
	if len(p.encodings) > 1 {
		w.wrong("an attached mail has %d encodings", len(p.encodings))
	}
	for _, encoding := range p.encodings {
		if isPlain(encoding) {
			bodies = append(bodies, body)
			continue
		}
		text, err := w.unpack(encoding, body)
		if err != nil {
			w.failed(err)
		}
		bodies = append(bodies, text)
	}
	return bodies
}

// unpack decodes a body, also one that is broken.
func (w *walker) unpack(encoding string, body []byte) ([]byte, error) {
	decoder := newDecoder(encoding, body)
	if decoder == nil {
		return body, errEncoding
	}
	room := w.limits.unpacked - w.unpacked
	decoded, err := io.ReadAll(io.LimitReader(decoder, int64(room)+1))
	if len(decoded) > room {
		w.wrong("the mails that are attached have more than %d bytes", w.limits.unpacked)
		decoded = decoded[:room]
	}
	w.unpacked += len(decoded)
	return decoded, err
}

// part is what a part of a mail says that it is.
type part struct {
	reading
	encodings []string // lower case; "" if it does not say
}

// name gives the name that a mail program shows, "" if there is none.
func (p *part) name() string {
	if len(p.names) == 0 {
		return ""
	}
	return p.names[0]
}

// says reports whether a type of the part begins so.
func (p *part) says(prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return slices.ContainsFunc(p.types, func(t string) bool { return strings.HasPrefix(t, prefix) })
	})
}

// isNamed reports whether the part is a file whose name ends so.
func (p *part) isNamed(extensions ...string) bool {
	return slices.ContainsFunc(p.names, func(name string) bool {
		return extensionOf(name, extensions) != ""
	})
}

// isMultipart reports whether there are parts in the part, which a boundary alone can mean, too.
func (p *part) isMultipart() bool { return p.says("multipart/") || len(p.boundaries) > 0 }

// isMail reports whether a part is a mail, by its type or as a file that a mail program opens as
// one. What stands for a file elsewhere (message/external-body) has a header, too.
func (p *part) isMail() bool {
	return p.says("message/rfc822", "message/global", "message/news", "message/external-body") ||
		p.isNamed(".eml")
}

func (p *part) isContainer() bool {
	return p.isMultipart() || p.isMail() || p.isSigned() || p.isTNEF()
}

// otherwise gives the type of parts that do not say one.
func (p *part) otherwise() string {
	if p.says("multipart/digest") {
		return "message/rfc822"
	}
	return "text/plain"
}

// read reads the fields that say what a part is. Each may be there more than once.
func (w *walker) read(header []field, otherwise string) *part {
	p := &part{}
	for _, value := range w.values(header, contentDisposition) {
		p.parametersOf(value)
	}
	for _, value := range w.values(header, contentType) {
		p.typeAndParametersOf(value)
	}
	for _, name := range nameFields {
		for _, value := range w.values(header, name) {
			for _, text := range unfoldings(value) {
				p.reading.name(text)
			}
		}
	}
	for _, value := range w.values(header, contentEncoding) {
		add(&p.encodings, encodingIn(value))
	}
	if len(p.encodings) == 0 {
		p.encodings = []string{""}
	}
	if len(p.types) == 0 {
		p.types = []string{otherwise}
	}
	return p
}

// values gives the fields of a name, as far as they are not too long.
func (w *walker) values(header []field, name string) (values []string) {
	room := maxFields
	for _, f := range header {
		if f.name != name {
			continue
		}
		if room -= len(f.value) + len(f.longer); room < 0 {
			w.wrong("the %s of a part has more than %d bytes", name, maxFields)
			return values
		}
		values = append(values, string(f.value))
		if f.longer != nil {
			values = append(values, string(f.longer))
		}
	}
	return values
}

// segment is what is between two boundaries.
type segment struct {
	text []byte
	sure bool // or there are programs that do not take it for a part
}

// segments gives what is between the lines that a boundary makes (RFC 2046, 5.1.1), also behind one
// that says it is the last. There are programs for which a line does that only begins so: as that
// of parts in this one may, whose boundary is longer.
func (w *walker) segments(body []byte, boundary string) iter.Seq[segment] {
	return func(yield func(segment) bool) {
		delimiter := []byte("--" + boundary)
		begin, unsure := -1, -1 // of the segment that is open
		for at := 0; ; {
			line := nextDelimiter(body, delimiter, at)
			if line.kind == unclearLine {
				w.wrong("a line of a part is not clearly its boundary")
			}
			if unsure >= 0 {
				text := body[unsure:line.begin]
				if len(bytes.TrimSpace(text)) > 0 && !yield(segment{text, false}) {
					return
				}
			}
			unsure = line.end
			if line.kind == separator || line.kind == terminator {
				if begin >= 0 && !yield(segment{body[begin:line.begin], true}) {
					return
				}
				begin = -1
			}
			if line.kind == separator {
				begin, unsure = line.end, -1
			}
			if line.begin == len(body) {
				return
			}
			at = line.end
		}
	}
}

// delimiterLine is a line that begins as a boundary does, with its place in the body.
type delimiterLine struct {
	begin, end int
	kind       lineKind
}

type lineKind int

const (
	separator lineKind = iota
	terminator
	longerLine  // it may be another's
	unclearLine // there are programs for which it is one, and others for which it is not
)

// nextDelimiter finds the next line that begins as a delimiter does. Where there is none, it begins
// at the body's end.
func nextDelimiter(body, delimiter []byte, from int) delimiterLine {
	for at := from; ; at++ {
		i := bytes.Index(body[at:], delimiter)
		if i < 0 {
			return delimiterLine{begin: len(body), end: len(body)}
		}
		if at += i; at > 0 && body[at-1] != '\n' && body[at-1] != '\r' {
			continue
		}
		line, _, _ := bytes.Cut(body[at:], []byte("\n"))
		kind := kindOf(bytes.TrimSuffix(line[len(delimiter):], []byte("\r")))
		if at > 0 && body[at-1] == '\r' {
			kind = unclearLine
		}
		return delimiterLine{at, min(at+len(line)+1, len(body)), kind}
	}
}

// kindOf tells what a line is by what is behind the delimiter.
func kindOf(rest []byte) lineKind {
	dashes := bytes.HasPrefix(rest, []byte("--"))
	switch blank := len(bytes.Trim(bytes.TrimPrefix(rest, []byte("--")), " \t")) == 0; {
	case blank && dashes:
		return terminator
	case blank:
		return separator
	case dashes || bytes.ContainsAny(rest[:1], " \t\r\x00"):
		return unclearLine
	}
	return longerLine
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

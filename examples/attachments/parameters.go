package main

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Mail programs do not agree on what a field says that is not well-formed, or that says a thing
// twice, and parsers (mime.ParseMediaType, enmime's) give one reading of it or none. What follows
// gives them all: a name is refused if one program shows it. That a reading is one too many does
// no harm, as long as ordinary mail has none that is refused.
var (
	mediaTypePattern = regexp.MustCompile(`([\w.+-]+)\s*/\s*([\w.+-]+)`)
	parameterPattern = regexp.MustCompile(
		`(?i)\b(filename|name|boundary)["']?(?:\s*\*([^=;"]*))?\s*=\s*`)
	foldPattern = regexp.MustCompile(`[\r\n]+[ \t]*`)
)

// What no mail program writes: more names in a field, more pieces that do not fit, more encodings
// in each other, and more that a part could be called.
const (
	maxParameters = 64
	maxUnfit      = 16
	maxReadings   = 8
	maxNames      = 32 << 10 // bytes
)

var (
	errPieces     = errors.New("the pieces of a parameter do not fit together")
	errParameters = fmt.Errorf("a field has more than %d names", maxParameters)
	errNames      = fmt.Errorf("the names of a part have more than %d bytes", maxNames)
)

// reading is what fields may say.
type reading struct {
	types      []string // lower case
	names      []string // the one that most programs show is the first
	boundaries []string
	fault      error // the first thing that could not be read

	read map[string]bool // values of names
	size int             // of names
}

// add adds a value that is not there.
func add(values *[]string, value string) {
	if !slices.Contains(*values, value) {
		*values = append(*values, value)
	}
}

func (r *reading) wrong(err error) {
	if r.fault == nil {
		r.fault = err
	}
}

// typeAndParametersOf reads a Content-Type.
func (r *reading) typeAndParametersOf(field string) {
	for _, text := range r.parametersOf(field) {
		head, _, _ := strings.Cut(text, ";")
		for _, match := range mediaTypePattern.FindAllStringSubmatch(head, -1) {
			add(&r.types, strings.ToLower(match[1]+"/"+match[2]))
		}
		if len(r.types) == 0 && strings.Contains(strings.ToLower(head), "multipart") {
			add(&r.types, "multipart/mixed")
		}
	}
}

// parametersOf reads a Content-Type's or a Content-Disposition's parameters, and gives its
// spellings.
func (r *reading) parametersOf(field string) []string {
	texts, err := spellings(field)
	r.wrong(err)
	for i, text := range texts {
		r.parameters(text, i == 0)
	}
	return texts
}

// unfoldings gives a field without its line ends, and without the blanks behind them.
func unfoldings(field string) (texts []string) {
	add(&texts, strings.NewReplacer("\r", "", "\n", "").Replace(field))
	add(&texts, foldPattern.ReplaceAllString(field, ""))
	return texts
}

// spellings gives a field as programs have it in front of them when they look for parameters:
// unfolded, some with encoded words (RFC 2047) decoded, some without comments.
func spellings(field string) (texts []string, err error) {
	texts = unfoldings(field)
	for _, text := range texts {
		decoded, wrong := decodeWords(text, true, decodeCharset)
		add(&texts, decoded)
		err = cmp.Or(err, wrong)
	}
	for _, text := range texts {
		add(&texts, withoutComments(text))
	}
	return texts, err
}

// withoutComments leaves out what is in parentheses, which may be in each other (RFC 5322, 3.2.2).
func withoutComments(text string) string {
	if !strings.Contains(text, "(") {
		return text
	}
	var rest strings.Builder
	quoted, depth := false, 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\' && i+1 < len(text):
			if depth == 0 {
				rest.WriteString(text[i : i+2])
			}
			i++
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
		case c == ')' && depth > 0:
			depth--
			continue
		}
		if depth == 0 {
			rest.WriteByte(text[i])
		}
	}
	return rest.String()
}

// parameter is one of those that say names or boundaries.
type parameter struct {
	name     string // lower case
	section  string // the number of a piece, as it is written; "" if the value is whole
	piece    bool
	extended bool     // in percent-encoding (RFC 2231)
	values   []string // the first is RFC 2045's
	loose    []string // what programs read that know no quotation marks
}

// parameters reads all parameters, also those that are in the quotation marks of others. If the
// text is plain, which is as it was sent, pieces are to fit.
func (r *reading) parameters(text string, plain bool) {
	matches := parameterPattern.FindAllStringSubmatchIndex(text, maxParameters+1)
	if len(matches) > maxParameters {
		r.wrong(errParameters)
		return
	}
	pieces := map[string][]parameter{}
	for _, m := range matches {
		p := parameter{name: strings.ToLower(text[m[2]:m[3]])}
		if m[4] >= 0 {
			section := strings.Join(strings.Fields(text[m[4]:m[5]]), "")
			p.section = strings.TrimSuffix(section, "*")
			p.extended = section == "" || p.section != section
			p.piece = p.section != ""
		}
		p.values, p.loose = values(text[m[1]:])
		if p.piece {
			pieces[p.name] = append(pieces[p.name], p)
		} else {
			r.whole(p)
		}
	}
	for _, name := range []string{"filename", "name", "boundary"} {
		if !r.inPieces(name, pieces[name]) && plain {
			r.wrong(errPieces)
		}
	}
}

// values gives a parameter's value as those read it that know quotation marks, and as others do.
func values(rest string) (values, loose []string) {
	naive, _, _ := strings.Cut(rest, ";")
	naive = strings.TrimSpace(strings.ReplaceAll(naive, `"`, ""))
	if !strings.HasPrefix(rest, `"`) {
		value, _, _ := strings.Cut(rest, ";")
		value = strings.TrimSpace(value)
		add(&values, value)
		add(&values, strings.Trim(value, `'<>`))
		if i := strings.IndexAny(value, " \t,("); i > 0 {
			add(&values, value[:i]) // what ends a value, programs do not agree on
		}
		add(&loose, naive)
		return values, loose
	}
	end := quotedEnd(rest)
	raw := rest[1:end]
	add(&values, unquote(raw))
	add(&values, raw)
	behind, _, _ := strings.Cut(strings.TrimPrefix(rest[end:], `"`), ";")
	if behind != "" && !strings.ContainsAny(behind[:1], " \t") {
		add(&values, raw+strings.ReplaceAll(behind, `"`, ""))
	}
	add(&loose, raw+strings.ReplaceAll(behind, `"`, ""))
	add(&loose, naive)
	if until := strings.IndexByte(rest[1:], '"'); until >= 0 {
		add(&loose, rest[1:1+until]) // a backslash does not escape
	}
	return values, loose
}

// quotedEnd gives where a quoted text ends: at its last quotation mark or, if it lacks, at the end.
func quotedEnd(text string) int {
	for i := 1; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return len(text)
}

// unquote takes the backslashes from a quoted text.
func unquote(raw string) string {
	if !strings.Contains(raw, `\`) {
		return raw
	}
	var text strings.Builder
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && i+1 < len(raw) {
			i++
		}
		text.WriteByte(raw[i])
	}
	return text.String()
}

// whole takes a parameter that is not in pieces.
func (r *reading) whole(p parameter) {
	if p.name == "boundary" {
		for _, value := range p.values {
			if p.extended {
				value = unpercent(withoutCharset(value))
			}
			r.boundary(value)
		}
		return
	}
	for _, value := range slices.Concat(p.values, p.loose) {
		if p.extended {
			r.extended(value)
		}
		r.name(value)
	}
}

func (r *reading) boundary(value string) {
	if value = strings.TrimRight(value, " \t"); value != "" {
		add(&r.boundaries, value)
	}
}

// inPieces takes a parameter's pieces (RFC 2231, 3), and reports whether they fit together. Where
// they do not, there are programs that end at the first one that is wrong, and others that take the
// first, the last or all of those with the same number.
func (r *reading) inPieces(name string, pieces []parameter) bool {
	if len(pieces) == 0 {
		return true
	}
	sorted := slices.Clone(pieces)
	slices.SortStableFunc(sorted, func(a, b parameter) int { return cmp.Compare(a.index(), b.index()) })
	r.joined(name, sorted)
	r.joined(name, pieces)
	if fit(sorted) {
		return true
	}
	if len(pieces) > maxUnfit {
		r.wrong(errPieces)
		return false
	}
	same := func(a, b parameter) bool { return a.index() == b.index() }
	firsts := slices.CompactFunc(slices.Clone(sorted), same)
	slices.Reverse(sorted)
	lasts := slices.CompactFunc(slices.Clone(sorted), same)
	slices.Reverse(lasts)
	for _, choice := range [][]parameter{pieces, firsts, lasts} {
		for i := range choice {
			r.joined(name, choice[:i+1])
			r.joined(name, choice[i:])
		}
	}
	return false
}

// index gives a piece's number; -1 if it has none.
func (p *parameter) index() int {
	index, err := strconv.Atoi(p.section)
	if err != nil {
		return -1
	}
	return index
}

// fit reports whether pieces are numbered as they are to be, from 0 on.
func fit(sorted []parameter) bool {
	for i := range sorted {
		if sorted[i].section != strconv.Itoa(i) {
			return false
		}
	}
	return true
}

// joined takes the value that pieces make, of which each may have two.
func (r *reading) joined(name string, pieces []parameter) {
	r.join(name, pieces, func(p *parameter) string { return p.values[0] })
	r.join(name, pieces, func(p *parameter) string { return p.values[len(p.values)-1] })
}

func (r *reading) join(name string, pieces []parameter, value func(p *parameter) string) {
	var whole strings.Builder
	charset := ""
	for i := range pieces {
		text := value(&pieces[i])
		if pieces[i].extended {
			if i == 0 {
				charset, text = charsetOf(text), withoutCharset(text)
			}
			text = unpercent(text)
		}
		whole.WriteString(text)
	}
	if name == "boundary" {
		r.boundary(whole.String())
		return
	}
	r.decoded(charset, whole.String())
	r.name(whole.String())
}

// extended takes a name that has its character set and language in front: utf-8'en'%e2%82%ac.
func (r *reading) extended(value string) {
	r.decoded(charsetOf(value), unpercent(withoutCharset(value)))
	r.name(unpercent(withoutCharset(value)))
}

// charsetOf gives the character set of an extended value, "" if it says none.
func charsetOf(value string) string {
	if parts := strings.SplitN(value, "'", 3); len(parts) == 3 {
		return parts[0]
	}
	return ""
}

func withoutCharset(value string) string {
	parts := strings.SplitN(value, "'", 3)
	return parts[len(parts)-1]
}

// decoded takes a name that is in a character set.
func (r *reading) decoded(charset, text string) {
	decoded, err := decodeCharset(charset, text)
	if err != nil {
		r.wrong(err)
	}
	r.name(decoded)
}

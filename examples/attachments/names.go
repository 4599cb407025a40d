package main

import (
	"io"
	"maps"
	"mime"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/jhillyerd/enmime/v2"
)

// Parsers of these fields, mime.ParseMediaType and those that build on it, leave out what is not well-formed, or is there
// twice, or in a character set that they do not know. Mail programs show it all the same. What follows leaves out nothing.
var (
	mediaTypePattern = regexp.MustCompile(`([\w.+-]+)\s*/\s*([\w.+-]+)`)
	parameterPattern = regexp.MustCompile(`([\w-]+)((?:\*\d*)*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"?|([^;]*))`)
	escapePattern    = regexp.MustCompile(`\\(.)`)
	percentPattern   = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)
)

// nameParameters are those that are file names.
var nameParameters = []string{"filename", "name"}

func isName(parameter string) bool { return slices.Contains(nameParameters, parameter) }

// mediaType gives the type that a Content-Type names, "" if it does not.
func mediaType(field string) string {
	name, _, _ := strings.Cut(field, ";")
	match := mediaTypePattern.FindStringSubmatch(name)
	if match == nil {
		return ""
	}
	return strings.ToLower(match[1] + "/" + match[2])
}

// parameters gives all values of a field's parameters, by their names in lower case. A value in pieces (RFC 2231) is one
// value; of those in a character set, only ASCII can be relied on.
func parameters(field string) map[string][]string {
	params := map[string][]string{}
	pieces := map[string]map[int]string{}
	for _, match := range parameterPattern.FindAllStringSubmatch(field, -1) {
		name, stars := strings.ToLower(match[1]), match[2]
		value := escapePattern.ReplaceAllString(match[3], "$1") + strings.TrimSpace(match[4])
		if strings.HasSuffix(stars, "*") {
			value = unescape(value, stars == "*" || stars == "*0*")
		}
		index, err := strconv.Atoi(strings.Trim(stars, "*"))
		if err != nil {
			params[name] = append(params[name], value)
			if word, _, more := strings.Cut(strings.TrimSpace(match[4]), " "); more && isName(name) {
				params[name] = append(params[name], word) // what ends an unquoted value, programs do not agree on
			}
			continue
		}
		if pieces[name] == nil {
			pieces[name] = map[int]string{}
		}
		pieces[name][index] += value
	}
	for name, values := range pieces {
		var whole strings.Builder
		for _, index := range slices.Sorted(maps.Keys(values)) {
			whole.WriteString(values[index])
		}
		params[name] = append(params[name], whole.String())
	}
	return params
}

// unescape decodes an extended value, of which the first piece has character set and language in front: utf-8'en'%e2%82%ac.
func unescape(value string, first bool) string {
	if first {
		if parts := strings.SplitN(value, "'", 3); len(parts) == 3 {
			value = parts[2]
		}
	}
	return percentPattern.ReplaceAllStringFunc(value, func(code string) string {
		octet, _ := strconv.ParseUint(code[1:], 16, 8)
		return string([]byte{byte(octet)})
	})
}

// names gives the file names among parameters, as a mail program may show them: decoded, and cut where some cut them.
func names(params map[string][]string) (names []string) {
	for _, key := range nameParameters {
		for _, value := range params[key] {
			for _, name := range decodings(value) {
				names = append(names, name)
				if i := strings.IndexAny(name, "\x00;"); i > 0 {
					names = append(names, name[:i])
				}
			}
		}
	}
	return names
}

// decodings gives a name with its encoded words (RFC 2047) decoded: in their character sets, and where one is not known, as
// if it were ASCII.
func decodings(value string) []string {
	decoded := enmime.DecodeRFC2047(value)
	if !strings.Contains(decoded, "=?") {
		return []string{decoded}
	}
	asASCII := mime.WordDecoder{CharsetReader: func(_ string, text io.Reader) (io.Reader, error) { return text, nil }}
	if other, err := asASCII.DecodeHeader(decoded); err == nil {
		return []string{decoded, other}
	}
	return []string{decoded}
}

// fileName gives a name as a file has it, in lower case: without what cannot be seen, and without the dots, blanks
// and quotation marks at its end, which Windows and mail programs leave out.
func fileName(name string) string {
	visible := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
	return strings.TrimRightFunc(visible, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune(`."'`, r) })
}

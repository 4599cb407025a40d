package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
)

// Encoded words, and what is between two of them, which is not of the text.
var (
	wordPattern  = regexp.MustCompile(`=\?([^?]*)\?([BbQq])\?(.*?)\?=`)
	betweenWords = regexp.MustCompile(`\?=\s+=\?`)
)

// name takes a name, and what comes of it when it is decoded, once or again: some programs decode
// encoded words and percent-encoding in places that are not theirs.
func (r *reading) name(value string) {
	if r.read[value] || r.size > maxNames {
		return
	}
	if r.read == nil {
		r.read = map[string]bool{}
	}
	r.read[value] = true
	for _, form := range r.forms(value) {
		add(&r.names, form)
		for _, cut := range []string{"\x00", ";", "::$"} { // the last begins an NTFS stream
			if front, _, found := strings.Cut(form, cut); found && front != "" {
				add(&r.names, front)
			}
		}
	}
}

// forms gives a name as it is and decoded, decoded ones in front.
func (r *reading) forms(value string) []string {
	forms := []string{value}
	for i := 0; i < len(forms) && len(forms) < maxReadings; i++ {
		if r.size += len(forms[i]); r.size > maxNames {
			r.wrong(errNames)
		}
		words, err := decodeWords(forms[i], true, decodeCharset)
		r.wrong(err)
		add(&forms, words)
		words, _ = decodeWords(forms[i], false, decodeCharset)
		add(&forms, words)
		words, _ = decodeWords(forms[i], false, asASCII)
		add(&forms, words)
		add(&forms, unpercent(forms[i]))
		if strings.Contains(forms[i], "\x1b") { // as some send it, without encoded words
			words, _ = decodeCharset("iso-2022-jp", forms[i])
			add(&forms, words)
		}
	}
	slices.SortStableFunc(forms, func(a, b string) int {
		return cmp.Compare(strings.Count(a, "=?"), strings.Count(b, "=?"))
	})
	return forms
}

// decodeWords decodes encoded words (RFC 2047), also broken ones. Those of one character set are
// one text if they are taken together: a character may be in two of them.
func decodeWords(text string, together bool, decode charsetDecoder) (string, error) {
	if !strings.Contains(text, "=?") {
		return text, nil
	}
	text = betweenWords.ReplaceAllString(text, "?==?")
	var decoded, octets strings.Builder
	var fault error
	charset, end := "", 0
	flush := func() {
		word, err := decode(charset, octets.String())
		decoded.WriteString(word)
		octets.Reset()
		fault = cmp.Or(fault, err)
	}
	for _, m := range wordPattern.FindAllStringSubmatchIndex(text, -1) {
		is, _, _ := strings.Cut(strings.ToLower(text[m[2]:m[3]]), "*") // a language may follow
		if !together || m[0] > end || is != charset {
			flush()
			decoded.WriteString(text[end:m[0]])
		}
		octets.WriteString(decodeWord(text[m[4]], text[m[6]:m[7]]))
		charset, end = is, m[1]
	}
	flush()
	decoded.WriteString(text[end:])
	return decoded.String(), fault
}

// decodeWord decodes an encoded word's text, and leaves out what is not of the encoding.
func decodeWord(kind byte, text string) string {
	if kind == 'Q' || kind == 'q' {
		return unhex(strings.ReplaceAll(text, "_", " "), '=')
	}
	octets, _ := io.ReadAll(&base64Decoder{rest: []byte(text)}) // as far as it goes
	return string(octets)
}

// charsets are names that mail programs know, and the index of the web's does not.
var charsets = map[string]string{
	"cp932": "shift_jis", "ms932": "shift_jis", "cp936": "gbk", "cp949": "euc-kr", "cp950": "big5",
	"x-unknown": "utf-8", "unknown-8bit": "utf-8", "unknown": "utf-8", "default": "utf-8",
}

// charsetDecoder gives a text that is in a character set in UTF-8.
type charsetDecoder func(charset, text string) (string, error)

// asASCII is the charsetDecoder of programs that know no other.
func asASCII(_, text string) (string, error) { return text, nil }

// decodeCharset is a charsetDecoder. In a character set that is not known, a text may say anything.
func decodeCharset(charset, text string) (string, error) {
	charset = strings.ToLower(strings.TrimSpace(charset))
	if charset == "" || text == "" {
		return text, nil
	}
	known := encodingOf(cmp.Or(charsets[charset], charset))
	if known == nil {
		return text, fmt.Errorf("a file name is in the character set %.40q, which is not known", charset)
	}
	decoded, err := known.NewDecoder().String(text)
	if err != nil {
		return text, fmt.Errorf("a file name in the character set %.40q cannot be read", charset)
	}
	return decoded, nil
}

// encodingOf gives a character set's encoding, nil if it is not known.
func encodingOf(charset string) encoding.Encoding {
	known, err := htmlindex.Get(charset)
	if err != nil || known == encoding.Replacement {
		known, _ = ianaindex.MIME.Encoding(charset)
	}
	return known
}

// unpercent decodes %41, and leaves what is no code.
func unpercent(value string) string { return unhex(value, '%') }

// unhex decodes what a sign and two hexadecimal digits stand for.
func unhex(value string, sign byte) string {
	if strings.IndexByte(value, sign) < 0 {
		return value
	}
	var text strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == sign && i+2 < len(value) {
			if octet, err := strconv.ParseUint(value[i+1:i+3], 16, 8); err == nil {
				text.WriteByte(byte(octet))
				i += 2
				continue
			}
		}
		text.WriteByte(value[i])
	}
	return text.String()
}

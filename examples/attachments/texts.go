package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"
)

// What begins a file in a text.
var (
	uuencodePattern = regexp.MustCompile(`^begin(?:-base64)?[ \t]+[0-7]{3,4}[ \t]+(.+)$`)
	yEncPattern     = regexp.MustCompile(`^=ybegin[ \t].*\bname=(.+)$`)
	binHex          = []byte("(This file must be converted with BinHex")
)

// isText reports whether programs look for files in the part's text.
func (p *part) isText() bool {
	return p.says("text/") || slices.ContainsFunc(p.encodings, func(encoding string) bool {
		return strings.Contains(encoding, "uu")
	})
}

// isBinHex reports whether a part is in an encoding that has the file's name in it.
func (p *part) isBinHex() bool {
	return p.says("application/mac-binhex") ||
		slices.ContainsFunc(p.encodings, func(e string) bool { return strings.Contains(e, "binhex") })
}

// text looks for files in a text.
func (w *walker) text(p *part, body []byte) bool {
	w.searched = true
	readers := []io.Reader{bytes.NewReader(body)}
	for _, encoding := range p.encodings {
		if decoder := newDecoder(encoding, body); decoder != nil {
			readers = append(readers, decoder)
		}
	}
	for _, reader := range readers {
		if !w.lines(bufio.NewReaderSize(reader, 64<<10)) {
			return false
		}
	}
	return true
}

// lines goes through the lines of a text. To some programs a CR by itself ends one, too.
func (w *walker) lines(text *bufio.Reader) bool {
	for within := false; ; {
		chunk, err := text.ReadSlice('\n')
		for line := range bytes.SplitSeq(chunk, []byte("\r")) {
			if !within && !w.line(bytes.TrimRight(line, " \t\n")) {
				return false
			}
			within = false
		}
		within = errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !within {
			return true
		}
	}
}

// line visits the file that a line begins.
func (w *walker) line(line []byte) bool {
	if bytes.HasPrefix(line, binHex) {
		w.failed(errBinHex)
	}
	match := uuencodePattern.FindSubmatch(line)
	if match == nil {
		match = yEncPattern.FindSubmatch(line)
	}
	if match == nil {
		return true
	}
	return w.count() && w.file(string(match[1]))
}

var errBinHex = errors.New("a file is in BinHex")

// file visits a file that is not a part.
func (w *walker) file(names ...string) bool {
	p := &part{}
	for _, name := range names {
		p.reading.name(name)
	}
	return w.show(p)
}

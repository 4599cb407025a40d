package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"iter"
	"strings"
	"unicode/utf16"
)

// isTNEF reports whether a part is what Outlook makes of a mail for another Outlook, which shows
// the files in it.
func (p *part) isTNEF() bool {
	return p.says("application/ms-tnef", "application/vnd.ms-tnef") || p.isNamed("winmail.dat")
}

func (w *walker) tnef(p *part, body []byte, depth int) bool {
	for _, text := range w.decoded(p, body) {
		if !w.attributes(text, depth) {
			return false
		}
	}
	return true
}

var errTNEF = errors.New("an attachment of Outlook's (TNEF) cannot be read")

// The attributes of TNEF (MS-OXTNEF, 2.1.3.2) that have names in them, and the properties.
const (
	tnefSignature = 0x223e9f78

	attAttachTitle         = 0x00018010
	attAttachTransportName = 0x00069001
	attAttachment          = 0x00069005

	pidTagDisplayName        = 0x3001
	pidTagAttachDataObject   = 0x3701
	pidTagAttachExtension    = 0x3703
	pidTagAttachFilename     = 0x3704
	pidTagAttachLongFilename = 0x3707
)

// attributes goes through the attributes of TNEF: level, number, length, data, checksum.
func (w *walker) attributes(text []byte, depth int) bool {
	in := &littleEndian{rest: text}
	if in.uint32() != tnefSignature || depth > w.limits.depth {
		w.failed(errTNEF)
		return true
	}
	in.take(2) // the key
	for len(in.rest) > 0 && !in.short {
		in.take(1)
		attribute := in.uint32()
		data := in.take(int(in.uint32()))
		in.take(2)
		if in.short {
			break
		}
		if !w.attribute(attribute, data, depth) {
			return false
		}
	}
	if in.short {
		w.failed(errTNEF)
	}
	return true
}

func (w *walker) attribute(attribute uint32, data []byte, depth int) bool {
	switch attribute {
	case attAttachTitle, attAttachTransportName:
		return w.count() && w.file(string(bytes.TrimRight(data, "\x00")))
	case attAttachment:
		return w.properties(data, depth)
	}
	return true
}

// properties goes through the properties of a file: type, number, value.
func (w *walker) properties(data []byte, depth int) bool {
	in := &littleEndian{rest: data}
	for range in.uint32() {
		kind, id := in.uint16(), in.uint16()
		in.propertyName(id)
		for value := range in.values(kind) {
			if !w.property(kind, id, value, depth) {
				return false
			}
		}
		if in.short {
			w.failed(errTNEF)
			break
		}
	}
	return true
}

func (w *walker) property(kind, id uint16, value []byte, depth int) bool {
	switch id {
	case pidTagDisplayName, pidTagAttachExtension, pidTagAttachFilename, pidTagAttachLongFilename:
		return w.count() && w.file(propertyText(kind, value))
	case pidTagAttachDataObject: // a mail, behind the number of its interface
		if len(value) > 20 && binary.LittleEndian.Uint32(value[16:]) == tnefSignature {
			return w.attributes(value[16:], depth+1)
		}
	}
	return true
}

// propertyText gives a text in UTF-8: some are in UTF-16.
func propertyText(kind uint16, value []byte) string {
	const unicodeText = 0x1f
	if kind&^multiple != unicodeText {
		return string(bytes.TrimRight(value, "\x00"))
	}
	var units []uint16
	for ; len(value) >= 2; value = value[2:] {
		units = append(units, binary.LittleEndian.Uint16(value))
	}
	return strings.TrimRight(string(utf16.Decode(units)), "\x00")
}

// littleEndian reads numbers and bytes until there are too few.
type littleEndian struct {
	rest  []byte
	short bool
}

func (in *littleEndian) take(n int) []byte {
	if n < 0 || n > len(in.rest) {
		in.short, in.rest = true, nil
		return nil
	}
	taken := in.rest[:n]
	in.rest = in.rest[n:]
	return taken
}

func (in *littleEndian) uint16() uint16 {
	if b := in.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (in *littleEndian) uint32() uint32 {
	if b := in.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

// padded takes bytes that fill up to a multiple of four.
func (in *littleEndian) padded(n uint32) []byte {
	data := in.take(int(n))
	in.take(int(-n & 3))
	return data
}

// propertyName takes the name of a property that has one.
func (in *littleEndian) propertyName(id uint16) {
	if id < 0x8000 {
		return
	}
	in.take(16)
	if in.uint32() == 0 {
		in.take(4)
		return
	}
	in.padded(in.uint32())
}

// multiple is a property's type if it has several values.
const multiple = 0x1000

// propertySizes are those of the types that have one (MS-OXCDATA, 2.11.1), filled up.
var propertySizes = map[uint16]uint32{
	0x02: 4, 0x03: 4, 0x04: 4, 0x0a: 4, 0x0b: 4, 0x05: 8, 0x06: 8, 0x07: 8, 0x14: 8, 0x40: 8, 0x48: 16,
}

// values takes a property's values.
func (in *littleEndian) values(kind uint16) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		size, fixed := propertySizes[kind&^multiple]
		count := uint32(1)
		if !fixed || kind&multiple != 0 {
			count = in.uint32()
		}
		for range count {
			if !fixed {
				size = in.uint32()
			}
			if value := in.padded(size); in.short || !yield(value) {
				return
			}
		}
	}
}

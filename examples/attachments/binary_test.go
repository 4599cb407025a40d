package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"slices"
	"unicode/utf16"
)

// tnef is a file as Outlook writes it.
func tnef(attributes ...[]byte) []byte {
	file := binary.LittleEndian.AppendUint32(nil, tnefSignature)
	file = binary.LittleEndian.AppendUint16(file, 1)
	return append(file, slices.Concat(attributes...)...)
}

func attribute(number uint32, data []byte) []byte {
	sum := uint16(0)
	for _, octet := range data {
		sum += uint16(octet)
	}
	a := binary.LittleEndian.AppendUint32([]byte{2}, number)
	a = binary.LittleEndian.AppendUint32(a, uint32(len(data)))
	return binary.LittleEndian.AppendUint16(append(a, data...), sum)
}

// property is a list of three: a number, one that has a name, and one of the given type.
func property(id, kind uint16, value []byte) []byte {
	p := []byte("\x03\x00\x00\x00" + "\x03\x00\x05\x37\x01\x00\x00\x00" + "\x40\x10\x00\x80" + "0123456789abcdef" +
		"\x01\x00\x00\x00\x06\x00\x00\x00x\x00y\x00\x00\x00\x00\x00" + "\x01\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08")
	p = binary.LittleEndian.AppendUint16(p, kind)
	p = binary.LittleEndian.AppendUint16(p, id)
	p = binary.LittleEndian.AppendUint32(p, 1)
	p = binary.LittleEndian.AppendUint32(p, uint32(len(value)))
	return append(append(p, value...), make([]byte, -len(value)&3)...)
}

func utf16Text(text string) (octets []byte) {
	for _, unit := range utf16.Encode([]rune(text + "\x00")) {
		octets = binary.LittleEndian.AppendUint16(octets, unit)
	}
	return octets
}

// deepTNEF is an attribute that holds a mail, in which is one that does.
func deepTNEF(depth int) (inner []byte) {
	for range depth {
		inner = attribute(attAttachment, property(pidTagAttachDataObject, 0x0d, append(make([]byte, 16), tnef(inner)...)))
	}
	return inner
}

func tnefMail(attributes ...[]byte) string {
	return entity("Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64", encoded(tnef(attributes...)))
}

// berElement is an element with a length (X.690, 8.1.3).
func berElement(tag byte, contents ...[]byte) []byte {
	content := slices.Concat(contents...)
	length := []byte{0x84}
	length = binary.BigEndian.AppendUint32(length, uint32(len(content)))
	return slices.Concat([]byte{tag}, length, content)
}

// openBER is an element without one.
func openBER(tag byte, contents ...[]byte) []byte {
	return slices.Concat([]byte{tag, 0x80}, slices.Concat(contents...), []byte{0, 0})
}

func oid[T ~string | ~[]byte](octets T) []byte {
	return append([]byte{0x06, byte(len(octets))}, octets...)
}

// signed is signed data with a content, without signatures.
func signed(content ...[]byte) []byte {
	inner := berElement(0x30, oid("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"), berElement(0xa0, content...))
	return berElement(0x30, oid(oidSigned), berElement(0xa0, berElement(0x30, berElement(0x02, []byte{1}), berElement(0x31), inner, berElement(0x31))))
}

// openSigned is signed data of which no element says how long it is, and the content is in pieces.
func openSigned(pieces ...string) []byte {
	var octets []byte
	for _, piece := range pieces {
		octets = append(octets, berElement(0x04, []byte(piece))...)
	}
	inner := openBER(0x30, oid("\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01"), openBER(0xa0, openBER(0x24, octets)))
	return openBER(0x30, oid(oidSigned), openBER(0xa0, openBER(0x30, berElement(0x02, []byte{1}), berElement(0x31), inner)))
}

// deepBER is elements in each other.
func deepBER(depth int) []byte {
	return slices.Concat(bytes.Repeat([]byte{0x30, 0x80}, depth), make([]byte, 2*depth))
}

func signedMail(message []byte) string {
	return entity("Content-Type: application/pkcs7-mime; smime-type=signed-data; name=smime.p7m\nContent-Transfer-Encoding: base64", encoded(message))
}

// encoded is in base64, in lines.
func encoded(octets []byte) string {
	var lines []byte
	for chunk := range slices.Chunk(octets, 57) {
		lines = append(base64.StdEncoding.AppendEncode(lines, chunk), '\n')
	}
	return string(lines)
}

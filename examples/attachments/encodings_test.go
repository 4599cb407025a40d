package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime/quotedprintable"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What is broken is decoded as far as a mail program may do.
func TestDecoders(t *testing.T) {
	for _, tc := range []struct {
		name     string
		encoding string
		text     string
		want     string
		err      error
	}{
		{"base64", "base64", "ZXZp\r\nbC5l\r\neGU=\r\n", "evil.exe", nil},
		{"base64, no padding", "base64", "ZXZpbC5leGU", "evil.exe", nil},
		{"base64, too much padding", "base64", "ZXZpbC5leGU===", "evil.exe", nil},
		{"base64, other signs", "base64", "Z!X-Zp\x00b\xffC5leGU=", "evil.exe", errDecoding},
		{"base64, padding within", "base64", "ZXY=aWwu=ZXhl", "evil.exe", errDecoding},
		{"base64, a letter too many", "base64", "ZXZpbC5leGU=Z", "evil.exe", errDecoding},
		{"base64, letters by themselves", "base64", "Z=Z=Z=", "", errDecoding},
		{"base64, nothing", "base64", "", "", nil},
		{"quoted-printable", "quoted-printable", "ev=69l=\r\n.e=78e \t\r\n", "evil.exe \t\r\n", nil},
		{"quoted-printable, lower case", "quoted-printable", "=6a=6A", "jj", nil},
		{"quoted-printable, no codes", "quoted-printable", "=ZZ=4 ==2eexe=", "=ZZ=4 =.exe", nil},
		{"quoted-printable, blanks behind a soft end", "quoted-printable", "evil= \t\n.exe", "evil.exe", nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			decoded, err := io.ReadAll(newDecoder(tc.encoding, []byte(tc.text)))
			assert.Equal(t, tc.want, string(decoded))
			assert.ErrorIs(t, err, tc.err)
		})
	}
}

// A code is not parted, however long a line is.
func TestLongLine(t *testing.T) {
	text := bytes.Repeat([]byte("=41B"), 100000)
	decoded, err := io.ReadAll(newDecoder("quoted-printable", text))
	assert.NoError(t, err)
	assert.Equal(t, bytes.Repeat([]byte("AB"), 100000), decoded)
}

// What the standard library decodes is decoded in the same way.
func FuzzDecoders(f *testing.F) {
	f.Add([]byte("ZXZpbC5leGU="))
	f.Add([]byte("ev=69l=\r\n.exe"))
	f.Add([]byte("Z=\n"))
	f.Fuzz(func(t *testing.T, text []byte) {
		got, err := io.ReadAll(newDecoder("base64", text))
		if want, wrong := base64.StdEncoding.DecodeString(string(text)); wrong == nil {
			assert.NoError(t, err)
			assert.Equal(t, want, append([]byte{}, got...))
		}
		coded := &bytes.Buffer{}
		writer := quotedprintable.NewWriter(coded)
		writer.Binary = true
		_, _ = writer.Write(text)
		_ = writer.Close()
		got, err = io.ReadAll(newDecoder("quoted-printable", coded.Bytes()))
		assert.NoError(t, err)
		assert.Equal(t, append([]byte{}, text...), append([]byte{}, got...))
	})
}

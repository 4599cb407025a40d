package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestFileNames(t *testing.T) {
	for name, want := range map[string][]string{
		"Evil.EXE":             {"evil.exe"},
		"evil.exe. . ":         {"evil.exe"},
		`'evil.exe'`:           {"'evil.exe"},
		"evil.e\u200bxe":       {"evil.exe"},
		"evil\u202etxt.exe":    {"eviltxt.exe"},
		"evil.exe\r\n\t":       {"evil.exe"},
		"\xff\xfe evil.exe":    {"\ufffd\ufffd evil.exe"},
		"photo.exe.jpg":        {"photo.exe.jpg"},
		"":                     {""},
		"\u0130stanbul.EXE":    {"istanbul.exe"},
		"full\u3000width.exe ": {"full width.exe"},
		"evil．ｅｘｅ":             {"evil.exe"},
		`C:\dir\evil.e?xe`:     {`c:\dir\evil.e?xe`, "cdirevil.exe"},
		"evil.exe/":            {"evil.exe/", "evil.exe"},
	} {
		assert.Equal(t, want, fileNames(name), "%q", name)
	}
}

func TestMediaType(t *testing.T) {
	for field, want := range map[string][]string{
		"text/plain":                       {"text/plain"},
		"Multipart/Mixed; boundary=a":      {"multipart/mixed"},
		" multipart / mixed;boundary=a":    {"multipart/mixed"},
		"(a comment) multipart/mixed":      {"multipart/mixed"},
		"(a; comment) multipart/mixed":     {"multipart/mixed"},
		"(text/plain) multipart/mixed":     {"text/plain", "multipart/mixed"},
		`multipart/mixed boundary="a"`:     {"multipart/mixed"},
		`multipart\mixed; boundary="a"`:    {"multipart/mixed"},
		"application/x-msdownload (x)":     {"application/x-msdownload"},
		"=?us-ascii?q?text/javascript?=":   {"text/javascript"},
		"cannot open (No such file)":       nil,
		`; name="a/b"`:                     nil,
		"":                                 nil,
		"application/vnd.ms-excel.x+xml;x": {"application/vnd.ms-excel.x+xml"},
	} {
		r := &reading{}
		r.typeAndParametersOf(field)
		assert.Equal(t, want, r.types, "%q", field)
	}
}

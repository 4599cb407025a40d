package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

// A file's name comes to light in every form that mail programs read.
func TestNames(t *testing.T) {
	for _, tc := range []struct {
		name  string
		field string
		want  []string
	}{
		{"quoted", `attachment; filename="evil.exe"`, []string{"evil.exe"}},
		{"bare", `attachment; filename=evil.exe`, []string{"evil.exe"}},
		{"upper case, blanks", `ATTACHMENT ; FileName = "Evil.EXE" ; size=1`, []string{"Evil.EXE"}},
		{"comment behind", `attachment; filename="evil.exe" (x)`, []string{"evil.exe"}},
		{"no type", `filename="evil.exe"`, []string{"evil.exe"}},
		{"no semicolon", `attachment filename=evil.exe`, []string{"evil.exe"}},
		{"bare, more behind", `attachment; filename=evil.exe a.txt`, []string{"evil.exe a.txt", "evil.exe"}},
		{"quote that is not closed", `attachment; filename="evil.exe`, []string{"evil.exe"}},
		{"quote that is not closed, more behind", `attachment; filename="evil.exe; size=1`, []string{"evil.exe; size=1", "evil.exe"}},
		{"escaped", `attachment; filename="e\vil\.e\"xe"`, []string{`evil.e"xe`}},
		{"twice", `attachment; filename="a.txt"; filename="evil.exe"`, []string{"a.txt", "evil.exe"}},
		{"a name that ends so", `attachment; xfilename=a.txt; filename=evil.exe`, []string{"evil.exe"}},
		{"in another value", `attachment; x="; name=evil.exe"; name="a.txt"`, []string{"a.txt"}},
		{"NUL", "attachment; filename=\"evil.exe\x00.txt\"", []string{"evil.exe\x00.txt", "evil.exe"}},

		{"RFC 2231", `attachment; filename*=utf-8'en'evil%2Eexe`, []string{"evil.exe"}},
		{"RFC 2231, beside a plain one", `attachment; filename="a.txt"; filename*=utf-8''evil.exe`, []string{"a.txt", "evil.exe"}},
		{"RFC 2231, character set not known", `attachment; filename*=x-none''%c3%a9vil.e%78e`, []string{"évil.exe"}},
		{"RFC 2231, character set left out", `attachment; filename*=''evil.exe`, []string{"evil.exe"}},
		{"RFC 2231, no quotation marks", `attachment; filename*=evil%2eexe`, []string{"evil.exe"}},
		{"RFC 2231, broken code", `attachment; filename*=utf-8''%zz%2+evil%2eexe`, []string{"%zz%2+evil.exe"}},
		{"RFC 2231, pieces", `attachment; filename*0="evil"; filename*1=".e"; filename*2=xe`, []string{"evil.exe"}},
		{"RFC 2231, pieces not in order", `attachment; filename*2=xe; filename*0*=iso-8859-1''ev%69l; filename*1*=%2ee`, []string{"evil.exe"}},
		{"RFC 2231, more than nine pieces", `attachment; name*0=a; name*1=b; name*2=c; name*3=d; name*4=e; name*5=f; name*6=g; name*7=h; name*8=i; name*9=.e; name*10=xe`,
			[]string{"abcdefghi.exe"}},
		{"RFC 2231, a piece lacks", `attachment; filename*0="evil."; filename*2="exe"`, []string{"evil.exe"}},

		{"RFC 2047", `attachment; filename="=?utf-8?B?ZXZpbC5leGU=?="`, []string{"evil.exe"}},
		{"RFC 2047, two words", `attachment; filename="=?utf-8?q?evil?= =?utf-8?b?LmV4ZQ==?="`, []string{"evil.exe"}},
		{"RFC 2047, bare", `attachment; filename==?iso-8859-1?Q?=E9vil.exe?=`, []string{"évil.exe"}},
		{"RFC 2047, character set not known", `attachment; filename="=?x-none?Q?evil=2Eexe?="`, []string{"=?x-none?Q?evil=2Eexe?=", "evil.exe"}},

		{"none", `attachment`, nil},
		{"empty", `attachment; filename=""`, []string{""}},
		{"nothing", ``, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			assert.Equal(t, tc.want, names(parameters(tc.field)))
		})
	}
}

func TestFileName(t *testing.T) {
	for name, want := range map[string]string{
		"Evil.EXE":             "evil.exe",
		"evil.exe. . ":         "evil.exe",
		`'evil.exe'`:           "'evil.exe",
		"evil.e\u200bxe":       "evil.exe",
		"evil\u202etxt.exe":    "eviltxt.exe",
		"evil.exe\r\n\t":       "evil.exe",
		"\xff\xfe evil.exe":    "\ufffd\ufffd evil.exe",
		"photo.exe.jpg":        "photo.exe.jpg",
		"":                     "",
		"\u0130stanbul.EXE":    "istanbul.exe",
		"full\u3000width.exe ": "full\u3000width.exe",
	} {
		assert.Equal(t, want, fileName(name), "%q", name)
	}
}

func TestMediaType(t *testing.T) {
	for field, want := range map[string]string{
		"text/plain":                       "text/plain",
		"Multipart/Mixed; boundary=a":      "multipart/mixed",
		" multipart / mixed;boundary=a":    "multipart/mixed",
		"(a comment) multipart/mixed":      "multipart/mixed",
		`multipart/mixed boundary="a"`:     "multipart/mixed",
		"application/x-msdownload (x)":     "application/x-msdownload",
		"cannot open (No such file)":       "",
		`; name="a/b"`:                     "",
		"":                                 "",
		"application/vnd.ms-excel.x+xml;x": "application/vnd.ms-excel.x+xml",
	} {
		assert.Equal(t, want, mediaType(field), "%q", field)
	}
}

package main

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/libmilter/go-libmilter/miltertest"
)

// hiddenNames are headers of a part that some mail program shows as evil.exe, or under a name that
// Windows takes for one that ends in .exe.
var hiddenNames = []struct {
	name   string
	header string
}{
	// The syntax of fields.
	{"quoted", `Content-Disposition: attachment; filename="evil.exe"`},
	{"bare", `Content-Disposition: attachment; filename=evil.exe`},
	{"upper case, blanks", `CONTENT-DISPOSITION: ATTACHMENT ; FileName = "Evil.EXE" ; size=1`},
	{"a TAB in front of the colon", "Content-Disposition\t: attachment; filename=evil.exe"},
	{"blanks in front of the colon", "Content-Disposition \t : attachment; filename=evil.exe"},
	{"a form feed in front of the colon", "Content-Disposition\f: attachment; filename=evil.exe"},
	{"a sign that is not seen in the name", "\u200bContent-Disposition: attachment; filename=evil.exe"},
	{"indented", " Content-Disposition: attachment; filename=evil.exe"},
	{"folded behind the colon", "Content-Disposition:\n attachment;\n\tfilename=evil.exe"},
	{"folded in the name of the parameter", "Content-Disposition: attachment; file\n name=evil.exe"},
	{"folded in the value", "Content-Disposition: attachment; filename=\"evil.\n exe\""},
	{"folded without a blank", "Content-Disposition: attachment;\nfilename=evil.exe"},
	{"folded without a blank, a colon in it", "Content-Disposition: attachment;\nfilename=\"a:evil.exe\""},
	{"a blank in a line", "Content-Disposition: attachment\nno field\n ; filename=evil.exe"},
	{"twice, the first", "Content-Disposition: attachment; filename=evil.exe\nContent-Disposition: inline"},
	{"twice, the last", "Content-Disposition: inline; filename=a.txt\nContent-Disposition: attachment; filename=evil.exe"},
	{"behind a field that is none", "what is this\nContent-Disposition: attachment; filename=evil.exe"},

	// What is in front of the parameters.
	{"no disposition", `Content-Disposition: filename="evil.exe"`},
	{"nothing in front of the semicolon", `Content-Disposition: ; filename="evil.exe"`},
	{"inline", `Content-Disposition: inline; filename="evil.exe"`},
	{"a disposition that is none", `Content-Disposition: a/b c; filename="evil.exe"`},
	{"no semicolon", `Content-Disposition: attachment filename="evil.exe"`},
	{"a comma", `Content-Disposition: attachment, filename="evil.exe"`},
	{"semicolons", `Content-Disposition: attachment;;; ;filename="evil.exe"`},
	{"a comment", `Content-Disposition: (x) attachment (y); (z) filename (a) = (b) evil.exe (c)`},
	{"a comment, a semicolon in it", `Content-Disposition: (;filename=a.txt) attachment; filename=(;")"evil.exe"`},
	{"comments in each other", `Content-Disposition: attachment; filename=(a(b)\)c)"evil.exe"`},
	{"a comment in the value", `Content-Disposition: attachment; filename=evil(x).exe`},
	{"in a text", `Content-Type: text/plain; charset=us-ascii; name=evil.exe`},
	{"as the type's name", `Content-Type: application/octet-stream; name="evil.exe"`},
	{"no type", `Content-Type: ; name="evil.exe"`},
	{"name in the disposition", `Content-Disposition: attachment; name="evil.exe"`},
	{"filename in the type", `Content-Type: application/octet-stream; filename="evil.exe"`},
	{"different in both", "Content-Type: a/b; name=\"evil.exe\"\nContent-Disposition: attachment; filename=a.txt"},
	{"as the description", `Content-Description: evil.exe`},
	{"as the description, encoded", `Content-Description: =?utf-8?B?ZXZpbC5leGU=?=`},
	{"as the part's name", `Content-Name: evil.exe`},
	{"as Sun's name", `X-Sun-Data-Name: evil.exe`},

	// The syntax of values.
	{"bare, more behind", `Content-Disposition: attachment; filename=evil.exe a.txt`},
	{"bare, a comma behind", `Content-Disposition: attachment; filename=evil.exe,a.txt`},
	{"bare, a comment behind", `Content-Disposition: attachment; filename=evil.exe(.txt)`},
	{"a comment behind", `Content-Disposition: attachment; filename="evil.exe" (x)`},
	{"more behind", `Content-Disposition: attachment; filename="evil.exe" .txt`},
	{"quoted in part", `Content-Disposition: attachment; filename="evil".exe`},
	{"quoted in two parts", `Content-Disposition: attachment; filename="evil"".exe"`},
	{"quoted at the end", `Content-Disposition: attachment; filename=evil".exe"`},
	{"in single quotation marks", `Content-Disposition: attachment; filename='evil.exe'`},
	{"in angle brackets", `Content-Disposition: attachment; filename=<evil.exe>`},
	{"a quotation mark that is not closed", `Content-Disposition: attachment; filename="evil.exe`},
	{"one that is not closed, more behind", `Content-Disposition: attachment; filename="evil.exe; size=1`},
	{"one that is not opened", `Content-Disposition: attachment; filename=evil.exe"; size=1`},
	{"escaped", `Content-Disposition: attachment; filename="e\vil\.e\xe"`},
	{"a quotation mark that is escaped", `Content-Disposition: attachment; filename="evil.exe\"; x=".txt"`},
	{"a backslash that does not escape", `Content-Disposition: attachment; x="\"; filename=evil.exe; y=\""`},
	{"in the value of another", `Content-Disposition: attachment; x="; filename=evil.exe"; filename="a.txt"`},
	{"a semicolon in it", `Content-Disposition: attachment; filename="evil.exe;.txt"`},
	{"twice, the first of them", `Content-Disposition: attachment; filename=evil.exe; filename=a.txt`},
	{"twice, the last of them", `Content-Disposition: attachment; filename=a.txt; filename=evil.exe`},
	{"a parameter's name in quotation marks", `Content-Disposition: attachment; "filename"=evil.exe`},

	// Pieces (RFC 2231).
	{"pieces", `Content-Disposition: attachment; filename*0="evil"; filename*1=".e"; filename*2=xe`},
	{"pieces in blanks", `Content-Disposition: attachment; filename * 0 = "evil"; filename *1= .exe`},
	{"pieces, folded", "Content-Disposition: attachment;\n filename*0=evil;\n filename*1=.exe"},
	{"pieces not in order", `Content-Disposition: attachment; filename*2=xe; filename*0*=iso-8859-1''ev%69l; filename*1*=%2ee`},
	{"pieces taken as they come", `Content-Disposition: attachment; filename*1=evil; filename*0=.exe`},
	{"pieces, more than nine", `Content-Type: a/b; name*0=a; name*1=b; name*2=c; name*3=d; name*4=e; name*5=f; name*6=g; name*7=h; ` +
		`name*8=i; name*9=.e; name*10=xe`},
	{"pieces beside a whole name", `Content-Disposition: attachment; filename=a.txt; filename*0=evil; filename*1=.exe`},
	{"a whole name beside pieces", `Content-Disposition: attachment; filename*0=a; filename*1=.txt; filename=evil.exe`},
	{"a piece in percent-encoding that is none", `Content-Disposition: attachment; filename*0=evil; filename*1=%2eexe`},
	{"a character set in a later piece", `Content-Disposition: attachment; filename*0=a; filename*1*=utf-8''evil%2eexe`},
	{"pieces, more behind", `Content-Disposition: attachment; filename*0=evil; filename*1=.exe x`},
	{"encoded words in pieces", `Content-Disposition: attachment; filename*0="=?utf-8?B?ZXZp"; filename*1="bC5leGU=?="`},
	{"a piece that is there twice", `Content-Disposition: attachment; filename*0=evil; filename*1=.exe; filename*1=.txt`},
	{"a piece that is there twice, the last", `Content-Disposition: attachment; filename*0=evil; filename*1=.txt; filename*1=.exe`},
	{"two pieces that are there twice", `Content-Disposition: attachment; filename*0=a; filename*0=evil; filename*1=.exe; filename*1=.txt`},
	{"a gap", `Content-Disposition: attachment; filename*0=evil.exe; filename*2=.txt`},
	{"a gap that is closed", `Content-Disposition: attachment; filename*0="evil."; filename*2="exe"`},
	{"no first piece", `Content-Disposition: attachment; filename*1=evil; filename*2=.exe`},
	{"zeros in front", `Content-Disposition: attachment; filename*0=evil.exe; filename*01=.txt`},
	{"zeros in front of each", `Content-Disposition: attachment; filename*00=evil; filename*01=.exe`},
	{"zeros in front of the second first piece", `Content-Disposition: attachment; filename*0=evil.exe; filename*00=.txt`},
	{"a number that is none", `Content-Disposition: attachment; filename*0=evil.exe; filename*x=.txt`},
	{"a number below zero", `Content-Disposition: attachment; filename*0=evil.exe; filename*-1=.txt`},
	{"a large number", `Content-Disposition: attachment; filename*0=evil.exe; filename*99999999999999999999=.txt`},
	{"two stars", `Content-Disposition: attachment; filename**=utf-8''evil%2eexe`},

	// Encodings of values.
	{"RFC 2231", `Content-Disposition: attachment; filename*=utf-8'en'evil%2Eexe`},
	{"RFC 2231, quoted", `Content-Disposition: attachment; filename*="utf-8''evil%2Eexe"`},
	{"RFC 2231, beside a plain name", `Content-Disposition: attachment; filename="a.txt"; filename*=utf-8''evil.exe`},
	{"RFC 2231, a plain name beside it", `Content-Disposition: attachment; filename*=utf-8''a.txt; filename="evil.exe"`},
	{"RFC 2231, twice", `Content-Disposition: attachment; filename*=utf-8''a.txt; filename*=utf-8''evil.exe`},
	{"RFC 2231, no character set", `Content-Disposition: attachment; filename*=''evil.exe`},
	{"RFC 2231, one quotation mark", `Content-Disposition: attachment; filename*=utf-8'evil%2eexe`},
	{"RFC 2231, no quotation marks", `Content-Disposition: attachment; filename*=evil%2eexe`},
	{"RFC 2231, broken code", `Content-Disposition: attachment; filename*=utf-8''%zz%2+evil%2eexe`},
	{"RFC 2231, UTF-16", `Content-Disposition: attachment; filename*=utf-16be''%00e%00v%00i%00l%00.%00e%00x%00e`},
	{"RFC 2231, EBCDIC", `Content-Disposition: attachment; filename*=ibm037''%85%a5%89%93%4b%85%a7%85`},
	{"percent-encoding that is none", `Content-Disposition: attachment; filename="evil%2E%65xe"`},
	{"RFC 2047", `Content-Type: text/plain; name="=?utf-8?B?ZXZpbC5leGU=?="`},
	{"RFC 2047, bare", `Content-Disposition: attachment; filename==?iso-8859-1?Q?evil=2Eexe?=`},
	{"RFC 2047, two words", `Content-Disposition: attachment; filename="=?utf-8?q?evil?= =?utf-8?b?LmV4ZQ==?="`},
	{"RFC 2047, two words, folded", "Content-Disposition: attachment; filename=\"=?utf-8?q?evil?=\n =?utf-8?b?LmV4ZQ==?=\""},
	{"RFC 2047, two words in each other's quanta", `Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC4?= =?utf-8?B?ZXhl?="`},
	{"RFC 2047, no padding", `Content-Disposition: attachment; filename="=?utf-8?B?ZXZpbC5leGU?="`},
	{"RFC 2047, signs that are not base64", `Content-Disposition: attachment; filename="=?utf-8?B?ZXZp!bC5.leGU=?="`},
	{"RFC 2047, blanks in it", `Content-Disposition: attachment; filename="=?utf-8?Q?evil .exe?="`},
	{"RFC 2047, a question mark in it", `Content-Disposition: attachment; filename="=?utf-8?Q?evil?.=65xe?="`},
	{"ISO-2022-JP as it is", "Content-Disposition: attachment; filename=\"evil.e\x1b$B\x1b(Bxe\""},
	{"RFC 2047, folded within", "Content-Disposition: attachment; filename=\"=?utf-8?Q?evil=2\n Eexe?=\""},
	{"RFC 2047, a language", `Content-Disposition: attachment; filename="=?utf-8*en?Q?evil=2Eexe?="`},
	{"RFC 2047, the name around it", `Content-Disposition: attachment; filename="evil.=?us-ascii?Q?exe?="`},
	{"RFC 2047 in RFC 2047", `Content-Disposition: attachment; filename="=?utf-8?B?PT91dGYtOD9RP2V2aWw9MkVleGU/PQ==?="`},
	{"RFC 2047 in RFC 2231", `Content-Disposition: attachment; filename*=utf-8''=?utf-8?Q?evil=2Eexe?=`},
	{"RFC 2047, the whole field", `Content-Disposition: =?utf-8?q?attachment=3b_filename=3d=22evil=2eexe=22?=`},
	{"RFC 2047, the parameter", `Content-Disposition: attachment; =?utf-8?q?filename=3devil=2eexe?=`},
	{"RFC 2047, UTF-16", `Content-Disposition: attachment; filename="=?utf-16le?B?ZQB2AGkAbAAuAGUAeABlAA==?="`},
	{"RFC 2047, UTF-16 with bytes the other way", `Content-Disposition: attachment; filename="=?utf-16?B?AGUAdgBpAGwALgBlAHgAZQ==?="`},
	{"RFC 2047, EBCDIC", `Content-Disposition: attachment; filename="=?ibm037?Q?=85=a5=89=93=4b=85=a7=85?="`},
	{"RFC 2047, ISO-2022-JP around nothing", "Content-Disposition: attachment; filename=\"=?iso-2022-jp?Q?evil.e=1B$B=1B(Bxe?=\""},

	// What a name is for Windows, and what is seen of it.
	{"a dot behind it", `Content-Disposition: attachment; filename="evil.exe."`},
	{"dots and blanks behind it", `Content-Disposition: attachment; filename="evil.exe. . "`},
	{"an NTFS stream", `Content-Disposition: attachment; filename="evil.exe::$DATA"`},
	{"a slash behind it", `Content-Disposition: attachment; filename="evil.exe/"`},
	{"a backslash behind it", `Content-Disposition: attachment; filename="evil.exe\\"`},
	{"a path", `Content-Disposition: attachment; filename="a.txt/..\\evil.exe"`},
	{"signs that no file name can have", `Content-Disposition: attachment; filename="evil.e?x*e"`},
	{"a NUL that is encoded", `Content-Disposition: attachment; filename*=utf-8''evil.exe%00.txt`},
	{"a line end that is encoded", `Content-Disposition: attachment; filename*=utf-8''evil.exe%0d%0a`},
	{"right to left", "Content-Disposition: attachment; filename*=utf-8''evil%e2%80%aetxt.exe"},
	{"a joiner", "Content-Disposition: attachment; filename=\"evil.e\u200dxe\""},
	{"a soft hyphen", "Content-Disposition: attachment; filename=\"evil.ex\u00ade\""},
	{"fullwidth letters", "Content-Disposition: attachment; filename=\"evil．ｅｘｅ\""},
	{"a one dot leader", "Content-Disposition: attachment; filename=\"evil\u2024exe\""},
	{"two extensions", `Content-Disposition: attachment; filename="a.pdf                         .exe"`},

	// Types.
	{"a type", `Content-Type: application/x-msdownload`},
	{"a type, upper case", `Content-Type: APPLICATION/X-MSDownload; name=a.txt`},
	{"a comment in front of the type", `Content-Type: (text/plain) application/x-msdownload`},
	{"a comment in front of the type, a semicolon in it", `Content-Type: (text/plain;) application/x-msdownload`},
	{"comments in the type", `Content-Type: application (x) / (y) x-msdownload`},
	{"a type, folded", "Content-Type:\n application/\n x-msdownload"},
	{"a type in quotation marks", `Content-Type: "application/x-msdownload"`},
	{"a type behind another", `Content-Type: text/plain, application/x-msdownload`},
	{"a type that is there twice", "Content-Type: text/plain\nContent-Type: application/x-msdownload"},
	{"a type in an encoded word", `Content-Type: =?us-ascii?Q?application/x-msdownload?=`},
	{"a piece of a mail", `Content-Type: message/partial; id=x; number=1; total=2`},
}

// A mail is refused in whatever way a file's name or type is spelled.
func TestSpellings(t *testing.T) {
	f, _ := startFilter(t)
	for _, tc := range hiddenNames {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			part := entity(tc.header, "MZ\n")
			for where, mail := range map[string]string{
				"in a part":         multipart("b", text, part, pdf),
				"in a mail in it":   multipart("b", text, entity("Content-Type: message/rfc822", "Subject: x\n"+multipart("c", part))),
				"at the end of all": strings.TrimSuffix(multipart("b", part), "\n\nMZ\n\n--b--\n"),
			} {
				result := f.For(t).Send(miltertest.Mail{Data: mail})
				assert.Regexp(t, `^SMFIS_REJECT 550 5\.7\.1 We do not take `, result.Reply.String(), where)
			}
		})
	}
}

// A mail is refused if a name is in a character set that is not known: it may be any.
func TestUnreadable(t *testing.T) {
	f, _ := startFilter(t)
	for _, tc := range []struct {
		name   string
		header string
	}{
		{"RFC 2231, UTF-7", `Content-Disposition: attachment; filename*=utf-7''evil+AC4-exe`},
		{"RFC 2231, unknown character set", `Content-Disposition: attachment; filename*=x-none''%85%a5%89%93%4b%85%a7%85`},
		{"RFC 2047, UTF-7", `Content-Disposition: attachment; filename="=?utf-7?Q?evil+AC4-exe?="`},
		{"RFC 2047, unknown character set", `Content-Disposition: attachment; filename="=?x-none?Q?=85=a5=89=93=4b=85=a7=85?="`},
		{"RFC 2047, the whole field in an unknown character set", `Content-Disposition: =?x-none?Q?=85=a5=89=93=4b=85=a7=85?=`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			result := f.For(t).Send(miltertest.Mail{Data: multipart("b", text, entity(tc.header, "MZ\n"))})
			assert.Regexp(t, `^SMFIS_REJECT 550 5\.6\.0 .*: a file name is in the character set ".*", which is not known\.$`, result.Reply.String())
		})
	}
}

// uuencoded is how a file begins in a text.
const uuencoded = "begin 644 evil.exe\n#0V%T\n`\nend\n"

// Mails in which some mail program shows a file that others do not.
func TestHidden(t *testing.T) {
	f, _ := startFilter(t)
	encoded := func(encoding, text string) string {
		return entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: "+encoding, text)
	}
	mixed := func(header, body string) string { return entity("Content-Type: multipart/mixed; "+header, body) }
	in := func(b string) string { return "--" + b + "\n\nHello\n--" + b + "\n" + evil + "--" + b + "--\n" }
	const unsure = broken + "a line of a part is not clearly its boundary."
	const unclear = broken + "the header of a part has a CR by itself, a NUL, a line of blanks or one that begins as a boundary does."

	for _, tc := range []struct {
		name string
		mail string
		want string
	}{
		// Where parts begin and end.
		{"two boundaries, the first", mixed("boundary=a; boundary=b", in("a")), evilReply},
		{"two boundaries, the last", mixed("boundary=a; boundary=b", in("b")), evilReply},
		{"two boundaries, nothing found", mixed("boundary=a; boundary=b", "--a\n\n--b\n\n"), broken + "a part has 2 boundaries in place of one."},
		{"two types, the multipart first", "Content-Type: multipart/mixed; boundary=b\nContent-Type: text/plain\n\n" + in("b"), evilReply},
		{"two types, the multipart last", "Content-Type: text/plain\nContent-Type: multipart/mixed; boundary=b\n\n" + in("b"), evilReply},
		{"a boundary in pieces that do not fit", mixed("boundary*0=b; boundary*2=c", in("b")), evilReply},
		{"a boundary in a comment", entity("Content-Type: multipart/mixed; (boundary=x) boundary=b", in("b")), evilReply},
		{"a boundary with a backslash", mixed(`boundary="b\c"`, in("bc")), evilReply},
		{"a boundary with a backslash that stays", mixed(`boundary="b\c"`, in(`b\c`)), evilReply},
		{"a boundary in single quotation marks", mixed(`boundary='b'`, in("b")), evilReply},
		{"a boundary with a blank in it", mixed(`boundary=b c`, in("b")), evilReply},
		{"a boundary without a multipart", entity("Content-Type: text/plain; boundary=b", in("b")), evilReply},
		{"a multipart without a subtype", entity("Content-Type: multipart; boundary=b", in("b")), evilReply},
		{"a multipart with a comment in front", entity("Content-Type: (text/plain;) multipart/mixed; boundary=b", in("b")), evilReply},
		{"a multipart that has another slash", entity(`Content-Type: multipart\mixed; boundary=b`, in("b")), evilReply},
		{"a line that is longer than the boundary", mixed("boundary=b", "--b\n\n--bc\n"+evil), evilReply},
		{"a line that has more behind the boundary", mixed("boundary=b", "--b\n\n--b c\n\n"), unsure},
		{"a last line that has more behind it", mixed("boundary=b", "--b\n\n--b--c\n\n"), unsure},
		{"a boundary behind a CR", mixed("boundary=b", "--b\n\nx\r--b\r\n\n"), unsure},
		{"a boundary in front of a CR", mixed("boundary=b", "--b\n\n--b\rX: y\n\n"), unsure},
		{"behind the last boundary", mixed("boundary=b", "--b\n\n--b--\n"+evil), evilReply},
		{"in what is encoded before it is parted", "Content-Transfer-Encoding: quoted-printable\n" +
			mixed("boundary=b", "--b\nContent-Disp=6Fsition: attachment; filename=evil.exe\n\n"), evilReply},
		{"in what is in base64 before it is parted", "Content-Transfer-Encoding: base64\n" + mixed("boundary=b", base64Text(in("b"))), evilReply},

		// Where headers end.
		{"a CR in a header", multipart("b", "X: y\rContent-Disposition: attachment\n\nx"), unclear},
		{"a NUL in a header", multipart("b", "X: y\x00z\n\nx"), unclear},
		{"a line of blanks in a header", multipart("b", "X: y\n \nContent-Type: text/plain\n\nx"), unclear},
		{"no end of a header", multipart("b", "Content-Type: multipart/mixed; boundary=c\n--c\nX: y\n\nx\n--c--\n"), unclear},
		{"a CR in the mail's header", "X: y\rContent-Type: multipart/mixed; boundary=b\n\nx", unclear},

		// How mails are attached.
		{"two encodings, the first", encoded("base64\nContent-Transfer-Encoding: 7bit", base64Text(evil)), evilReply},
		{"two encodings, the last", encoded("7bit\nContent-Transfer-Encoding: base64", base64Text(evil)), evilReply},
		{"two encodings, nothing found", encoded("7bit\nContent-Transfer-Encoding: base64", base64Text(text)), broken + "an attached mail has 2 encodings."},
		{"an encoding with a comment", encoded("(7bit) base64 (x)", base64Text(evil)), evilReply},
		{"an encoding with a semicolon", encoded("base64;", base64Text(evil)), evilReply},
		{"an encoding in quotation marks", encoded(`"base64"`, base64Text(evil)), evilReply},
		{"an encoding, folded", encoded("\n base64", base64Text(evil)), evilReply},
		{"quoted-printable that is broken", encoded("quoted-printable", "X: =ZZ=\n\nContent-Disp=6Fsition: attachment; filename=evil.exe\n\n"), evilReply},
		{"a mail without a name that is one", entity("Content-Type: application/octet-stream; name=\"=?utf-8?Q?x=2Eeml?=\"", evil), evilReply},
		{"a mail elsewhere", entity("Content-Type: message/external-body; access-type=url", "Content-Type: a/b; name=evil.exe\n\n"), evilReply},

		// Files in texts.
		{"uuencode", entity("", "Hello\n\n"+uuencoded), evilReply},
		{"uuencode, first line", entity("Content-Type: text/plain", uuencoded), evilReply},
		{"uuencode in a part", multipart("b", entity("Content-Type: text/plain; charset=utf-8", "x\n"+uuencoded)), evilReply},
		{"uuencode in base64", multipart("b", entity("Content-Transfer-Encoding: base64", base64Text("x\n"+uuencoded))), evilReply},
		{"uuencode in quoted-printable", multipart("b", entity("Content-Transfer-Encoding: quoted-printable", "=ZZ\nbegin=20644 evil.e=\nxe\n")), evilReply},
		{"uuencode as an encoding", multipart("b", entity("Content-Type: a/b\nContent-Transfer-Encoding: x-uuencode", uuencoded)), evilReply},
		{"base64 as uuencode has it", entity("", "begin-base64 644 evil.exe\nTVo=\n====\n"), evilReply},
		{"uuencode behind a long line", entity("", strings.Repeat("x", 200000)+"\n"+uuencoded), evilReply},
		{"uuencode, in lines of CR", entity("", "x\r"+strings.ReplaceAll(uuencoded, "\n", "\r")), evilReply},
		{"uuencode in HTML", entity("Content-Type: text/html", uuencoded), evilReply},
		{"yEnc", entity("", "=ybegin line=128 size=2 name=evil.exe\nxx\n=yend size=2\n"), evilReply},
		{"BinHex", entity("", "(This file must be converted with BinHex 4.0)\n:#h4\n"), broken + "a file is in BinHex."},
		{"BinHex, as a type", multipart("b", entity("Content-Type: application/mac-binhex40", ":#h4\n")), broken + "a file is in BinHex."},
		{"BinHex, as an encoding", multipart("b", entity("Content-Transfer-Encoding: mac-binhex40", ":#h4\n")), broken + "a file is in BinHex."},
		{"many files in a text", entity("", strings.Repeat("begin 644 a.txt\n", 2000)), broken + "it has more than 1000 parts."},

		// Outlook's own.
		{"TNEF, a title", tnefMail(attribute(attAttachTitle, []byte("evil.exe\x00"))), evilReply},
		{"TNEF, a long name", tnefMail(attribute(attAttachTitle, []byte("EVIL~1.TXT\x00")),
			attribute(attAttachment, property(pidTagAttachLongFilename, 0x1f, utf16Text("evil.exe")))), evilReply},
		{"TNEF, a mail in it", tnefMail(attribute(attAttachment, property(pidTagAttachDataObject, 0x0d,
			append(make([]byte, 16), tnef(attribute(attAttachTitle, []byte("evil.exe\x00")))...)))), evilReply},
		{"TNEF, by its name", strings.Replace(tnefMail(attribute(attAttachTitle, []byte("evil.exe\x00"))), "application/ms-tnef", "a/b", 1), evilReply},
		{"TNEF, nothing found", tnefMail(attribute(attAttachTitle, []byte("a.txt\x00")),
			attribute(attAttachment, property(pidTagAttachLongFilename, 0x1f, utf16Text("a.txt")))), accepted},
		{"TNEF, cut off", tnefMail(attribute(attAttachTitle, []byte("a.txt\x00"))[:8]), broken + "an attachment of Outlook's (TNEF) cannot be read."},
		{"TNEF that is none", entity("Content-Type: application/ms-tnef", "x\n"), broken + "an attachment of Outlook's (TNEF) cannot be read."},

		// Signed, as S/MIME does it without a multipart.
		{"signed", signedMail(signed(berElement(0x04, []byte(evil)))), evilReply},
		{"signed, in pieces without a length", signedMail(openSigned(evil[:40], evil[40:])), evilReply},
		{"signed, in base64 twice", signedMail([]byte(base64.StdEncoding.EncodeToString(signed(berElement(0x04, []byte(multipart("b", evil))))))), evilReply},
		{"signed, by its name", strings.Replace(signedMail(signed(berElement(0x04, []byte(evil)))), "application/pkcs7-mime", "a/b", 1), evilReply},
		{"signed, cut off", signedMail(signed(berElement(0x04, []byte(evil)))[:40]), broken + "a signed part (S/MIME) cannot be read."},
		{"signed, too deep", signedMail(deepBER(1000)), broken + "a signed part (S/MIME) cannot be read."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, tc.want, f.For(t).Send(miltertest.Mail{Data: tc.mail}).Reply.String())
		})
	}
}

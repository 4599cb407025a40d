package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// logBuffer holds the log, whose lines come from libmilter's threads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

// last gives the last line's fields, but for the time and the session.
func (b *logBuffer) last(t *testing.T) map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(b.text.Bytes()), []byte("\n"))
	var fields map[string]any
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &fields))
	require.Contains(t, fields, "session")
	delete(fields, "time")
	delete(fields, "session")
	return fields
}

func startFilter(t *testing.T, args ...string) (*miltertest.Filter, *logBuffer) {
	t.Helper()
	log := &logBuffer{}
	cfg, err := parse(args, log)
	require.NoError(t, err)
	return miltertest.StartServer(t, newServer(cfg, slog.New(slog.NewJSONHandler(log, nil)))), log
}

// entity is a part, or a mail: its header and its body.
func entity(header, body string) string { return header + "\n\n" + body }

// multipart is one whose boundary is b.
func multipart(b string, parts ...string) string {
	var text strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&text, "--%s\n%s\n", b, part)
	}
	return entity(fmt.Sprintf("Content-Type: multipart/mixed; boundary=%q", b), text.String()+"--"+b+"--\n")
}

// nested is a part in so many others.
func nested(depth int, part string) string {
	var front, back strings.Builder
	for i := range depth {
		fmt.Fprintf(&front, "Content-Type: multipart/mixed; boundary=n%d.\n\n--n%d.\n", i, i)
		fmt.Fprintf(&back, "--n%d.--\n", depth-1-i)
	}
	return front.String() + part + "\n" + back.String()
}

// base64Text is a body in base64, with lines of 76 characters.
func base64Text(text string) string {
	var lines strings.Builder
	code := base64.StdEncoding.EncodeToString([]byte(strings.ReplaceAll(text, "\n", "\r\n")))
	for len(code) > 76 {
		lines.WriteString(code[:76] + "\n")
		code = code[76:]
	}
	return lines.String() + code + "\n"
}

var (
	text = entity("Content-Type: text/plain", "Hello\n")
	pdf  = entity("Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64", "JVBERi0=\n")
	evil = entity("Content-Type: application/octet-stream\nContent-Disposition: attachment; filename=evil.exe", "MZ\n")
)

const (
	accepted  = "SMFIS_CONTINUE"
	evilReply = `SMFIS_REJECT 550 5.7.1 We do not take the attachment "evil.exe" (.exe).`
	broken    = "SMFIS_REJECT 550 5.6.0 We cannot tell which files are attached to this mail: "
)

func TestAttachments(t *testing.T) {
	f, _ := startFilter(t, "-max-parts", "100", "-max-unpacked", "100000")

	// Each mail is sent in a row's name; a reply that ends with ": " may go on.
	for _, tc := range []struct {
		name string
		mail string
		want string
	}{
		{"no MIME", "Subject: Hello\n\nname=evil.exe\n", accepted},
		{"no body", "Subject: Hello\n", accepted},
		{"nothing", "", accepted},
		{"a text and a file", multipart("b", text, pdf), accepted},
		{"an attached mail", multipart("b", text, entity("Content-Type: message/rfc822", multipart("c", text, pdf))), accepted},
		{"deep, but not too deep", nested(20, text), accepted},
		{"a boundary that begins as another does", multipart("b", text, multipart("bb", text, pdf), pdf), accepted},
		{"a last boundary that lacks", strings.TrimSuffix(multipart("b", text, pdf), "--b--\n"), accepted},
		{"a last boundary that lacks, in a part", multipart("b", strings.TrimSuffix(multipart("c", text), "--c--\n"), text), accepted},
		{"a name in a text", multipart("b", entity("Content-Type: text/plain", "Content-Disposition: attachment; filename=evil.exe\n")), accepted},
		{"a bounce", entity(`Content-Type: multipart/report; boundary=b`, "--b\n\nSorry\n--b\nContent-Type: message/delivery-status\n\nAction: failed\n\n"+
			"--b\nContent-Type: text/rfc822-headers\n\nSubject: x\n--b--\n"), accepted},

		{"the mail itself is the file", evil, evilReply},
		{"a file", multipart("b", text, evil), evilReply},
		{"a file between two", multipart("b", text, evil, pdf), evilReply},
		{"by the name in its type", multipart("b", entity("Content-Type: application/octet-stream; name=evil.exe", "MZ\n")), evilReply},
		{"two types", multipart("b", entity("Content-Type: text/plain\nContent-Type: text/plain; name=evil.exe", "MZ\n")), evilReply},
		{"two dispositions", multipart("b", entity("Content-Disposition: inline\nContent-Disposition: attachment; filename=evil.exe", "MZ\n")), evilReply},
		{"folded", multipart("b", entity("Content-Disposition: attachment;\n\tfilename=\n evil.exe", "MZ\n")), evilReply},
		{"folded, in the mail's header", entity("Content-Disposition: attachment;\n\tfilename*0=evil;\n filename*1=.exe", "MZ\n"), evilReply},
		{"folded wrongly", multipart("b", entity("Content-Disposition: attachment;\nfilename=evil.exe", "MZ\n")), evilReply},
		{"a blank in front of the colon", multipart("b", entity("Content-Disposition : attachment; filename=evil.exe", "MZ\n")), evilReply},
		{"lines that are no header", multipart("b", entity("what is this\n: and this\nContent-Disposition: attachment; filename=evil.exe", "MZ\n")), evilReply},
		{"a first line that is indented", multipart("b", entity(" x: y\nContent-Disposition: attachment; filename=evil.exe", "MZ\n")), evilReply},
		{"a first line of an mbox", entity("Content-Type: message/rfc822", "From a@example.org Thu Jan  1 00:00:00 1970\n"+evil), evilReply},
		{"a first line of an mbox, quoted", entity("Content-Type: message/rfc822", ">From a@example.org Thu Jan  1 00:00:00 1970\n"+evil), evilReply},
		{"fields that have no name", multipart("b", entity("X: y\n: z\n\x01bad: z\nContent-Disposition: attachment; filename=evil.exe", "MZ\n")), evilReply},
		{"no empty line", multipart("b", "Content-Disposition: attachment; filename=evil.exe"), evilReply},
		{"encoded name", multipart("b", entity(`Content-Disposition: attachment; filename*=utf-8''%65vil.exe`, "MZ\n")), evilReply},
		{"encoded name, as a word", multipart("b", entity(`Content-Type: text/plain; name="=?utf-8?B?ZXZpbC5leGU=?="`, "MZ\n")), evilReply},
		{"a name that is not ASCII", multipart("b", entity(`Content-Disposition: attachment; filename*=utf-8''r%C3%A9sum%C3%A9.exe`, "MZ\n")),
			`SMFIS_REJECT 550 5.7.1 We do not take the attachment "r\u00e9sum\u00e9.exe" (.exe).`},
		{"a name of signs", multipart("b", entity(`Content-Disposition: attachment; filename="100% \"sure\".js"`, "MZ\n")),
			`SMFIS_REJECT 550 5.7.1 We do not take the attachment "100% \"sure\".js" (.js).`},
		{"a long name", multipart("b", entity(`Content-Disposition: attachment; filename="`+strings.Repeat("x", 500)+`.exe"`, "MZ\n")),
			`SMFIS_REJECT 550 5.7.1 We do not take the attachment "...` + strings.Repeat("x", 96) + `.exe" (.exe).`},
		{"by its type", multipart("b", entity("Content-Type: Application/X-MSDownload; name=a.txt", "MZ\n")),
			`SMFIS_REJECT 550 5.7.1 We do not take the attachment "a.txt" (application/x-msdownload).`},
		{"by its type, without a name", multipart("b", entity("Content-Type: application/x-msdownload", "MZ\n")),
			`SMFIS_REJECT 550 5.7.1 We do not take attachments of type application/x-msdownload.`},
		{"a piece of a mail", entity("Content-Type: message/partial; number=1; total=2; id=x", evil), `SMFIS_REJECT 550 5.7.1 We do not take attachments of type message/partial.`},

		{"in parts of parts", multipart("b", text, multipart("c", text, multipart("d", pdf, evil))), evilReply},
		{"as deep as parts may be", nested(20, evil), evilReply},
		{"behind a part whose last boundary lacks", multipart("b", strings.TrimSuffix(multipart("c", text), "--c--\n"), evil), evilReply},
		{"behind a last boundary", multipart("b", text) + "--b\n" + evil, evilReply},
		{"with a boundary that has blanks behind it", "Content-Type: multipart/mixed; boundary=b\n\n--b \t\n" + evil, evilReply},
		{"with a boundary that is encoded", "Content-Type: multipart/mixed; boundary*0=\"b \"; boundary*1*=%63\n\n--b c\n" + evil, evilReply},
		{"in a mail", multipart("b", entity("Content-Type: message/rfc822", multipart("c", text, evil))), evilReply},
		{"in a mail in a mail", entity("Content-Type: message/rfc822", entity("Subject: x\nContent-Type: message/rfc822", evil)), evilReply},
		{"in a mail behind empty lines", entity("Content-Type: message/rfc822", "\n\n"+evil), evilReply},
		{"in a mail in base64", multipart("b", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: BASE64", base64Text(multipart("c", text, evil)))), evilReply},
		{"in a mail in quoted-printable", multipart("b", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: quoted-printable",
			"Content-Disposition: attachment; filename=3D=\nevil.exe\n\nMZ\n")), evilReply},
		{"in a mail that is a file", multipart("b", entity("Content-Type: application/octet-stream; name=\"Re: x.eml\"\nContent-Transfer-Encoding: base64", base64Text(evil))), evilReply},
		{"in a digest", entity("Content-Type: multipart/digest; boundary=b", "--b\n\n"+evil+"\n--b--\n"), evilReply},

		{"in front of what is broken", multipart("b", evil, "Content-Type: multipart/mixed\n\n"), evilReply},
		{"behind what is broken", multipart("b", "Content-Type: multipart/mixed\n\n", evil), evilReply},
		{"no boundary", "Content-Type: multipart/mixed\n\n--b\n" + evil, broken + "a part has 0 boundaries in place of one."},
		{"another boundary", "Content-Type: multipart/mixed; boundary=a\n\n--b\n" + evil, broken + "the boundary of a part is not in it."},
		{"two boundaries", "Content-Type: multipart/mixed; boundary=a; boundary=b\n\n--a\n\n--b\n" + pdf, broken + "a part has 2 boundaries in place of one."},
		{"two boundaries, in two types", "Content-Type: multipart/mixed; boundary=a\nContent-Type: multipart/mixed; boundary=b\n\n--a\n\n--b\n" + pdf,
			broken + "a part has 2 boundaries in place of one."},
		{"broken base64", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", "!!!!\n"), broken + "an attached mail cannot be decoded."},
		{"broken base64, the file in front", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", base64Text(evil)+"!!!!\n"), evilReply},
		{"unknown encoding", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: x-none", "Subject: x\n"), broken + "an attached mail has an unknown encoding."},
		{"a header too long", multipart("b", entity(strings.Repeat("X-Filler: x\n", 30000), "x")), broken + "the header of a part has more than 262144 bytes."},
		{"a part that is all header", multipart("b", strings.Repeat("x", 300000)), broken + "the header of a part has more than 262144 bytes."},
		{"a type too long", multipart("b", entity("Content-Type: text/plain"+strings.Repeat("; a=b", 3000), "x")), broken + "the Content-Type of a part has more than 8192 bytes."},

		{"too deep", nested(21, text), broken + "its parts are in each other, more than 20 deep."},
		{"far too deep", nested(10000, evil), broken + "its parts are in each other, more than 20 deep."},
		{"far too deep, a file beside", multipart("b", nested(10000, text), evil), evilReply},
		{"mails in mails", strings.Repeat("Content-Type: message/rfc822\n\n", 10000) + evil, broken + "its parts are in each other, more than 20 deep."},
		{"too many parts", multipart("b", strings.Repeat("\n--b\n", 100)), broken + "it has more than 100 parts."},
		{"far too many parts", multipart("b", strings.Repeat("\n--b\n", 200000)), broken + "it has more than 100 parts."},
		{"too much to decode", entity("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64", base64Text(strings.Repeat("Subject: x\n", 10000))),
			broken + "the mails that are attached have more than 100000 bytes."},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			result := f.For(t).Send(miltertest.Mail{Data: tc.mail})
			assert.Equal(t, tc.want, result.Reply.String())
			assert.Empty(t, result.Changes)
		})
	}
}

// With -accept-broken, what cannot be read passes, but not what was found.
func TestAcceptBroken(t *testing.T) {
	f, log := startFilter(t, "-accept-broken")

	require.Equal(t, milter.SMFIS_ACCEPT, f.Send(miltertest.Mail{Data: "Content-Type: multipart/mixed\n\nx\n"}).Verdict)
	require.Equal(t, map[string]any{"level": "WARN", "msg": "accepted, though not read to its end", "client": "192.0.2.10",
		"sender": "<sender@example.org>", "error": "a part has 0 boundaries in place of one", "queue_id": log.queueID(t)}, log.last(t))

	require.Equal(t, evilReply, f.Send(miltertest.Mail{Data: multipart("b", "Content-Type: multipart/mixed\n\n", evil)}).Reply.String())
}

// queueID gives the last line's.
func (b *logBuffer) queueID(t *testing.T) any {
	t.Helper()
	id := b.last(t)["queue_id"]
	require.NotEmpty(t, id)
	return id
}

// A body that was cut off could have held a file.
func TestTruncated(t *testing.T) {
	for _, tc := range []struct {
		name string
		mail string
		want string
	}{
		{"in front of the cut", multipart("b", evil, entity("", strings.Repeat("x", 5000))), evilReply},
		{"behind the cut", multipart("b", entity("", strings.Repeat("x", 5000)), evil), broken + "it is too long."},
		{"a text", entity("Subject: x", strings.Repeat("x", 5000)), broken + "it is too long."},
		{"a file", entity("Content-Type: application/pdf", strings.Repeat("x", 5000)), accepted},
		{"short", multipart("b", text), accepted},
	} {
		t.Run(tc.name, func(t *testing.T) {
			log := &logBuffer{}
			cfg, err := parse(nil, log)
			require.NoError(t, err)
			srv := newServer(cfg, slog.New(slog.NewJSONHandler(log, nil)))
			srv.MaxBody = 1000
			result := miltertest.StartServer(t, srv).Send(miltertest.Mail{Data: tc.mail})
			require.Equal(t, tc.want, result.Reply.String())
		})
	}
}

func TestLists(t *testing.T) {
	f, log := startFilter(t, "-extensions", "ZIP, .tar.gz", "-types", "")
	for file, refused := range map[string]bool{"a.zip": true, "a.tar.gz": true, "a.gz": false, "evil.exe": false, "unzip": false} {
		mail := multipart("b", entity("Content-Type: application/x-msdownload; name="+file, "x"))
		require.Equal(t, refused, f.Send(miltertest.Mail{Data: mail}).Verdict == milter.SMFIS_REJECT, file)
	}

	f.Send(miltertest.Mail{From: "<>", Addr: miltertest.UnknownAddr, Data: "Content-Type: text/plain; name=a.zip\n\nx\n"})
	require.Equal(t, map[string]any{"level": "INFO", "msg": "refused", "client": "", "sender": "<>", "file": "a.zip", "because": ".zip",
		"queue_id": log.queueID(t)}, log.last(t))
}

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// count walks through a mail and gives how many parts it has visited.
func count(w *walker, mail string) (visits int) {
	w.visit = func(*part) bool { visits++; return true }
	w.walk([]field{newField(contentType, []byte("message/rfc822"))}, []byte(mail))
	return visits
}

// What is found ends the search: a mail that would be too much is not read on.
func TestStopsAtTheFirst(t *testing.T) {
	visits := 0
	w := &walker{limits: limits{parts: 10, depth: 2}, visit: func(p *part) bool {
		visits++
		return p.name() == ""
	}}
	w.walk([]field{newField(contentType, []byte("multipart/mixed; boundary=b"))}, []byte("--b\n\n--b\n"+evil+strings.Repeat("--b\n\n", 100)))
	require.Equal(t, 3, visits)
	require.NoError(t, w.fault)
}

// Mails that are made to be slow cost no more than the limits say.
func TestHostile(t *testing.T) {
	const size = 256 << 10
	fill := func(text string) string { return strings.Repeat(text, size/len(text)) }
	mixed := "Content-Type: multipart/mixed; boundary=b\n\n"
	typed := func(parameters string) string { return mixed + fill("--b\nContent-Type: a/b;"+parameters+"\n\n") }
	for name, mail := range map[string]string{
		"almost boundaries":          mixed + "--b\n\n" + fill("--b"),
		"almost boundaries, a line":  mixed + "--b\n\n" + fill("--bb\n"),
		"lines that are empty":       mixed + "--b\n\n" + fill("\n"),
		"blanks behind a boundary":   mixed + "--b" + fill(" ") + "\n\nx",
		"parameters":                 typed(strings.Repeat("a=b;", 2000)),
		"pieces":                     typed(strings.Repeat("name*1=b;", 800)),
		"pieces that do not fit":     typed(strings.Repeat("name*1=\""+strings.Repeat("=?a?q?%41?= ", 38)+"\";", 16)),
		"names":                      typed(strings.Repeat("name="+strings.Repeat("x", 110)+" ", 64)),
		"names that do not end":      typed(strings.Repeat("name=\""+strings.Repeat("\\x", 55)+" ", 63)),
		"names of encoded words":     typed(strings.Repeat("name=\""+strings.Repeat("=?a?q?%41?= ", 9)+" ", 63)),
		"quotes":                     typed(strings.Repeat(`name="\`, 1000)),
		"comments":                   typed(strings.Repeat("(", 4000) + strings.Repeat(")", 4000)),
		"encoded words":              typed("name=\"" + strings.Repeat("=?x?q?", 1300) + "\""),
		"boundaries":                 mixed + "--b\nContent-Type: multipart/mixed" + strings.Repeat("; boundary=x", 64) + "\n\n" + fill("--x\n\n"),
		"descriptions":               mixed + fill("--b\nContent-Description: "+strings.Repeat("=?utf-8?q?=3d?=", 500)+"\n\n"),
		"fields":                     mixed + fill("--b\n"+strings.Repeat("a:b\n", 60000)+"\n"),
		"lines that are no fields":   mixed + fill("--b\nX: y\n"+strings.Repeat("\x01:\n", 60000)+"\n"),
		"files in a text":            "\n" + fill("begin 644 x\n"),
		"padding":                    "Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n" + fill("A="),
		"TNEF":                       tnefMail(bytes.Repeat(attribute(attAttachTitle, []byte("x")), 10000)),
		"TNEF in TNEF":               tnefMail(deepTNEF(30)),
		"BER in BER":                 signedMail(deepBER(100000)),
		"deep, a large part in each": nested(19, "\n"+fill("x\n")),
	} {
		t.Run(name, func(t *testing.T) {
			w := &walker{limits: limits{parts: 1000, depth: 20, unpacked: 1 << 20}}
			require.LessOrEqual(t, count(w, mail), 1000)
			require.LessOrEqual(t, w.named, maxNamed+maxNames+maxFields)
			require.LessOrEqual(t, w.unpacked, 1<<20)
		})
	}
}

// Whatever comes, the walk ends within its limits.
func FuzzWalk(f *testing.F) {
	for _, mail := range []string{text, pdf, evil, multipart("b", text, multipart("c", pdf, evil)), nested(30, evil),
		"Content-Type: multipart/digest; boundary*0=\"b\"\n\n--b\n\n" + evil + "\n--b--\n",
		"Content-Type: message/rfc822; name*=utf-8''x%2eeml\nContent-Transfer-Encoding: base64\n\n" + base64Text(evil),
		"Content-Type: multipart/mixed; boundary=\"=?utf-8?q?b?=\"\nContent-Type: message/rfc822\n\n--b\n\n" + evil} {
		f.Add(mail)
	}
	f.Fuzz(func(t *testing.T, mail string) {
		w := &walker{limits: limits{parts: 50, depth: 5, unpacked: 1000}}
		if visits := count(w, mail); visits > 50 || w.unpacked > 1000 || w.parts > 50 && w.fault == nil {
			t.Errorf("%d parts, %d bytes, %v", visits, w.unpacked, w.fault)
		}
	})
}

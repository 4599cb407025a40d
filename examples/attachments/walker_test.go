package main

import (
	"strings"
	"testing"
	"time"

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

// Mails that are made to be slow take no longer than others of their size.
func TestHostile(t *testing.T) {
	const size = 2 << 20
	fill := func(text string) string { return strings.Repeat(text, size/len(text)) }
	mixed := "Content-Type: multipart/mixed; boundary=b\n\n"
	for name, mail := range map[string]string{
		"almost boundaries":          mixed + "--b\n\n" + fill("--b"),
		"almost boundaries, a line":  mixed + "--b\n\n" + fill("--bb\n"),
		"lines that are empty":       mixed + "--b\n\n" + fill("\n"),
		"blanks behind a boundary":   mixed + "--b" + fill(" ") + "\n\nx",
		"parameters":                 mixed + fill("--b\nContent-Type: a/b"+strings.Repeat(";a=b", 2000)+"\n\n"),
		"pieces of names":            mixed + fill("--b\nContent-Type: a/b"+strings.Repeat(";name*1=b", 800)+"\n\n"),
		"quotes":                     mixed + fill("--b\nContent-Type: a/b;"+strings.Repeat(`name="\`, 1000)+"\n\n"),
		"encoded words":              mixed + fill("--b\nContent-Type: a/b;name=\""+strings.Repeat("=?x?q?", 1300)+"\"\n\n"),
		"fields":                     mixed + fill("--b\n"+strings.Repeat("a:b\n", 60000)+"\n"),
		"lines that are no fields":   mixed + fill("--b\n"+strings.Repeat("\x01:\n", 60000)+"\n"),
		"deep, a large part in each": nested(19, "\n"+fill("x\n")),
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			count(&walker{limits: limits{parts: 1000, depth: 20, unpacked: 1 << 20}}, mail)
			require.Less(t, time.Since(start), 10*time.Second)
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

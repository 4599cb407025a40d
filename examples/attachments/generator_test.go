package main

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

// generator spells a forbidden file in ways that it puts together by chance. The same seed gives the
// same mail.
type generator struct{ *rand.Rand }

func pick[T any](g *generator, choices ...T) T { return choices[g.IntN(len(choices))] }

func (g *generator) chance(of int) bool { return g.IntN(of) == 0 }

// mail puts a file into a few others.
func (g *generator) mail() string {
	entity := g.file()
	for range g.IntN(4) {
		entity = g.container(entity)
	}
	return entity
}

// container puts an entity into another.
func (g *generator) container(inner string) string {
	switch g.IntN(8) {
	case 0:
		return entity("Content-Type: message/rfc822", inner)
	case 1:
		return entity("Content-Type: application/octet-stream; name="+pick(g, "x.eml", `"=?utf-8?q?x=2eeml?="`)+
			"\nContent-Transfer-Encoding: "+pick(g, "base64", " BASE64 ", "base64 (x)", `"base64"`), base64Text(inner))
	case 2:
		return entity("Content-Type: Message/RFC822; (x)\nContent-Transfer-Encoding: quoted-printable", g.quotedPrintable(inner))
	case 3:
		return signedMail(signed(berElement(0x04, []byte(inner))))
	case 4:
		return signedMail(openSigned(inner[:len(inner)/2], inner[len(inner)/2:]))
	default:
		return g.multipart(inner)
	}
}

func (g *generator) quotedPrintable(text string) string {
	var coded strings.Builder
	for i := range len(text) {
		if c := text[i]; c == '=' || c != '\n' && g.chance(4) {
			fmt.Fprintf(&coded, "=%02X", c)
		} else {
			coded.WriteByte(c)
		}
		if g.chance(40) {
			coded.WriteString("=\n")
		}
	}
	return coded.String()
}

// multipart puts an entity between others.
func (g *generator) multipart(inner string) string {
	boundary := fmt.Sprintf("=_%x", g.Uint32())
	header := pick(g, "Content-Type", "content-type", "CONTENT-TYPE\t", "Content-Type ") + ":" + pick(g, " ", "", "\n\t") +
		pick(g, "multipart/mixed", "Multipart/Related", "(text/plain;) multipart/x", "multipart / mixed") + g.semicolon() +
		pick(g, `boundary="`+boundary+`"`, `boundary=`+boundary, `BOUNDARY = (x) "`+boundary+`"`, `boundary*=us-ascii''`+boundary,
			fmt.Sprintf(`boundary*1=%q; boundary*0*=''%s`, boundary[3:], boundary[:3]))
	var body strings.Builder
	body.WriteString(pick(g, "", "This is a multi-part message.\n"))
	for _, part := range g.among(inner, text, pdf, "\nHello\n", "Content-Type: text/html\n\n<p>\n") {
		fmt.Fprintf(&body, "--%s%s\n%s\n", boundary, pick(g, "", " ", "\t"), part)
	}
	return entity(header, body.String()+pick(g, "--"+boundary+"--\n", "--"+boundary+"--", "", "--"+boundary+"--\nfooter\n"))
}

// among puts a text among some of the others.
func (g *generator) among(text string, others ...string) (all []string) {
	for _, other := range others {
		if g.chance(3) {
			all = append(all, other)
		}
	}
	at := g.IntN(len(all) + 1)
	return append(all[:at:at], append([]string{text}, all[at:]...)...)
}

// file is a part that is the file.
func (g *generator) file() string {
	name := g.name()
	if ascii := strings.Trim(name, ". "); g.chance(8) && isASCII(ascii) {
		return pick(g,
			entity("Content-Type: text/plain", "Hello\n\nbegin 644 "+ascii+"\n#0V%T\n`\nend\n"),
			entity("", "=ybegin line=128 size=2 name="+ascii+"\nxx\n=yend size=2\n"),
			tnefMail(attribute(attAttachTitle, []byte(ascii+"\x00"))),
			tnefMail(attribute(attAttachment, property(pidTagAttachLongFilename, 0x1f, utf16Text(name)))))
	}
	field := pick(g, "Content-Disposition", "content-disposition", "CONTENT-DISPOSITION", "Content-Type") + pick(g, "", " ", "\t", " \t ") + ":"
	head := pick(g, " attachment", "attachment", " inline", "", " (x) attachment (;)", " a/b", "\n attachment")
	parameters := g.among(strings.Join(g.parameters(name), g.semicolon()), `size=1`, `x="; y"`, `filename=a.txt`, `name="b.txt"`,
		`filename*=utf-8''c.txt`, `creation-date="Mon, 2 Nov 2026 10:00:00 +0100"`)
	fields := g.among(field+head+g.semicolon()+strings.Join(parameters, g.semicolon()), "Content-Transfer-Encoding: base64",
		"Content-Description: a file", "X-Filler: "+strings.Repeat("x", 200), "Content-Disposition: inline", "Content-Type: image/png; name=d.png",
		"no field")
	return entity(strings.Join(fields, "\n"), "TVo=\n")
}

func isASCII(text string) bool { return len(text) == utf8.RuneCountInString(text) }

// semicolon is between parameters.
func (g *generator) semicolon() string {
	return pick(g, ";", "; ", ";\n ", " ;\n\t", ";;", "; (x) ", ";\t(a (;) b)\n ")
}

// name is one that Windows takes for a program's.
func (g *generator) name() string {
	stem := pick(g, "evil", "a.pdf", "r\u00e9sum\u00e9", "\u8cc7\u6599", "a b", "100%")
	extension := pick(g, defaultExtensions...)
	switch g.IntN(8) {
	case 0:
		extension = strings.ToUpper(extension)
	case 1:
		extension = extension[:2] + pick(g, "\u200b", "\u202e", "\u00ad", "\ufeff") + extension[2:]
	case 2:
		extension = strings.Map(func(r rune) rune { return r - '!' + '！' }, extension) // fullwidth
	}
	return stem + extension + pick(g, "", "", "", ".", " .", "::$DATA", "/")
}

// parameters spells a name.
func (g *generator) parameters(name string) []string {
	key := pick(g, "filename", "name", "FileName", "NAME")
	is := pick(g, "=", " = ", "= ", " =\n ")
	switch g.IntN(6) {
	case 0:
		if !strings.ContainsAny(name, " %:/") {
			return []string{key + is + name}
		}
		fallthrough
	case 1:
		return []string{key + is + g.quoted(name)}
	case 2:
		return []string{key + is + `"` + g.words(name) + `"`}
	case 3:
		return []string{key + "*" + is + pick(g, "utf-8''", "UTF-8'en'", "''", "unknown-8bit''") + g.percent(name)}
	default:
		return g.pieces(key, is, name)
	}
}

func (g *generator) quoted(text string) string {
	var quoted strings.Builder
	for _, r := range text {
		if r < utf8.RuneSelf && g.chance(5) {
			quoted.WriteByte('\\')
		}
		quoted.WriteRune(r)
	}
	return `"` + quoted.String() + pick(g, `"`, `"`, `" (x)`)
}

// words gives a text in encoded words.
func (g *generator) words(text string) string {
	runes := []rune(text)
	at := g.IntN(len(runes))
	var words []string
	for _, piece := range []string{string(runes[:at]), string(runes[at:])} {
		charset := pick(g, "utf-8", "UTF-8", "utf-8*en", "x-unknown")
		if g.chance(2) {
			coded := base64.StdEncoding.EncodeToString([]byte(piece))
			if g.chance(3) {
				coded = strings.TrimRight(coded, "=")
			}
			words = append(words, "=?"+charset+"?"+pick(g, "B", "b")+"?"+coded+"?=")
			continue
		}
		var coded strings.Builder
		for _, octet := range []byte(piece) {
			fmt.Fprintf(&coded, "=%02X", octet)
		}
		words = append(words, "=?"+charset+"?"+pick(g, "Q", "q")+"?"+coded.String()+"?=")
	}
	return strings.Join(words, pick(g, " ", "", "\n ", "  "))
}

func (g *generator) percent(text string) string {
	var coded strings.Builder
	for _, octet := range []byte(text) {
		if octet >= utf8.RuneSelf || strings.IndexByte(` %;:/"'()`, octet) >= 0 || g.chance(3) {
			fmt.Fprintf(&coded, pick(g, "%%%02X", "%%%02x"), octet)
		} else {
			coded.WriteByte(octet)
		}
	}
	return coded.String()
}

// pieces gives a name in pieces, of which some are wrong.
func (g *generator) pieces(key, is, name string) (parameters []string) {
	piece := func(section, text string, extended bool) string {
		if extended {
			return key + pick(g, "*", "* ", " *") + section + "*" + is + text
		}
		return key + "*" + section + is + `"` + text + `"`
	}
	coded := g.chance(2) || strings.ContainsAny(name, `%"`)
	zeros := pick(g, "", "", "", "0")
	rest := []rune(name)
	last := 0
	for i := 0; len(rest) > 0; i++ {
		n := min(1+g.IntN(6), len(rest))
		text := string(rest[:n])
		if rest = rest[n:]; coded {
			text = g.percent(text)
			if i == 0 {
				text = "utf-8''" + text
			}
		}
		parameters = append(parameters, piece(fmt.Sprintf("%s%d", zeros, i), text, coded))
		last = i
	}
	switch g.IntN(6) {
	case 0: // what does not fit ends a name
		parameters = append(parameters, piece(pick(g, fmt.Sprint(last), fmt.Sprint(last+2), fmt.Sprint("0", last+1), "x"), ".txt", false))
	case 1: // the last of two
		parameters = append([]string{piece(fmt.Sprint(g.IntN(last+1)), "x", false)}, parameters...)
	case 2:
		g.Shuffle(len(parameters), func(i, j int) { parameters[i], parameters[j] = parameters[j], parameters[i] })
	}
	return parameters
}

// verdict tells why a mail is refused, "" if it passes.
func verdict(mail string) (because string) {
	r := refused{extensions: defaultExtensions, types: defaultTypes}
	w := &walker{limits: limits{parts: 1000, depth: 20, unpacked: 1 << 20}, visit: func(p *part) bool {
		if found := r.find(p); found != nil {
			because = found.because
		}
		return because == ""
	}}
	w.walk([]field{newField(contentType, []byte("message/rfc822"))}, []byte(mail))
	if because == "" && w.fault != nil {
		because = w.fault.Error()
	}
	return because
}

// No spelling passes, whatever it is put together of.
func FuzzSpellings(f *testing.F) {
	for seed := range uint64(1000) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		g := &generator{rand.New(rand.NewPCG(seed, 0))}
		if mail := g.mail(); verdict(mail) == "" {
			t.Errorf("passes:\n%s", mail)
		}
	})
}

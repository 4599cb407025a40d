package miltertest

import (
	"slices"
	"strings"
)

// rcpt is a recipient as an MTA holds it.
type rcpt struct {
	path  string // with its ESMTP arguments behind
	key   string // what a filter's DelRcpt is compared with
	added bool   // by the filter
}

// envelope are the recipients of a mail. Neither MTA takes two spellings for one address that
// differ in upper and lower case when a filter names them, the domain included.
type envelope struct {
	kind  Kind
	rcpts []rcpt
}

// newEnvelope takes the recipients that the client has given.
func newEnvelope(kind Kind, paths []string) *envelope {
	e := &envelope{kind: kind}
	for _, path := range paths {
		addr, args := splitPath(path)
		if list := kind.addresses(addr); len(list) > 0 {
			e.give(list[0], args)
		}
	}
	return e
}

func (e *envelope) paths() (paths []string) {
	for _, r := range e.rcpts {
		paths = append(paths, r.path)
	}
	return paths
}

// give adds a recipient of the client's, unless it is there.
func (e *envelope) give(addr string, args []string) {
	r := e.kind.rcpt(addr, args)
	if !slices.ContainsFunc(e.rcpts, func(other rcpt) bool { return e.same(r, other) }) {
		e.rcpts = append(e.rcpts, r)
	}
}

// same reports whether the MTA drops one of the two, for it is the other one again.
func (e *envelope) same(a, b rcpt) bool {
	if e.kind == KindSendmail {
		return a.key == b.key
	}
	return strings.EqualFold(a.path, b.path)
}

// add is AddRcpt and AddRcptPar. Postfix looks for a recipient that is there among those that a
// filter has added only, and both take one address: but for Sendmail's AddRcpt, which takes a list.
func (e *envelope) add(list string, args []string, one bool) {
	all := e.kind.addresses(list)
	if (one || e.kind == KindPostfix) && len(all) > 1 {
		all = all[:1]
	}
	for _, addr := range all {
		r := e.kind.rcpt(addr, args)
		r.added = true
		there := func(other rcpt) bool { return (other.added || e.kind == KindSendmail) && e.same(r, other) }
		if !slices.ContainsFunc(e.rcpts, there) {
			e.rcpts = append(e.rcpts, r)
		}
	}
}

// remove is DelRcpt. Postfix takes one address, and leaves its source route, which those that it
// compares it with have lost.
func (e *envelope) remove(list string) {
	all := e.kind.addresses(list)
	if e.kind == KindPostfix && len(all) > 0 {
		all = all[:1]
		if strings.HasPrefix(all[0], "@") {
			return
		}
	}
	for _, addr := range all {
		key := e.kind.rcpt(addr, nil).key
		e.rcpts = slices.DeleteFunc(e.rcpts, func(r rcpt) bool { return r.key == key })
	}
}

// rcpt returns a recipient as the MTA holds it: without a source route and a dot at the end. Postfix
// also takes off quotes that need not be, Sendmail puts some that must.
func (k Kind) rcpt(addr string, args []string) rcpt {
	if strings.HasPrefix(addr, "@") {
		if _, behind, found := strings.Cut(addr, ":"); found {
			addr = behind
		}
	}
	local, at, domain := cutLast(addr)
	if k == KindPostfix {
		local = unquotedLocal(local)
	} else if strings.Contains(local, "@") && !strings.HasPrefix(local, `"`) {
		local = quotedLocal(local)
	}
	held := strings.TrimRight(domain, ".")
	r := rcpt{key: local + at + domain}
	if k == KindSendmail {
		r.key = local + at + held
	} else {
		local = quotedLocal(local)
	}
	r.path = joinPath("<"+local+at+held+">", args)
	return r
}

// addresses returns the addresses in a text: without brackets, comments, phrases and blanks.
func (k Kind) addresses(text string) []string {
	var r addressReader
	if k == KindSendmail {
		r.joint = "."
	}
	for len(text) > 0 {
		n := 1
		if text[0] == '\\' && len(text) > 1 {
			n = 2
		}
		r.read(text[:n])
		text = text[n:]
	}
	r.endAddress()
	return r.list
}

// addressReader takes a text byte by byte, or a backslash and what it is for together.
type addressReader struct {
	joint string   // between words that stand apart
	list  []string // the addresses so far
	words []string // of the address
	word  strings.Builder

	comments int  // that are open
	quotes   bool // in quotes
	brackets bool // behind a <
	behind   bool // behind a >, where no address is
}

func (r *addressReader) read(text string) {
	switch {
	case r.comments > 0, text == "(" && !r.quotes:
		r.comments += map[string]int{"(": 1, ")": -1}[text]
	case r.behind && text != ",":
	case text == `"`:
		r.quotes = !r.quotes
		r.word.WriteString(text)
	case r.quotes:
		r.word.WriteString(text)
	default:
		r.readPlain(text)
	}
}

// readPlain reads what is neither in a comment nor in quotes.
func (r *addressReader) readPlain(text string) {
	switch {
	case text == "<":
		r.endWord()
		r.words, r.brackets = nil, true // what came before is a phrase
	case text == ">":
		r.endAddress()
		r.brackets, r.behind = false, true
	case text == "," && !r.brackets:
		r.endAddress()
		r.behind = false
	case text == " ", text == "\t":
		r.endWord()
	default:
		r.word.WriteString(text)
	}
}

func (r *addressReader) endWord() {
	if r.word.Len() > 0 {
		r.words = append(r.words, r.word.String())
		r.word.Reset()
	}
}

func (r *addressReader) endAddress() {
	r.endWord()
	if len(r.words) > 0 {
		r.list = append(r.list, strings.Join(r.words, r.joint))
	}
	r.words = nil
}

// cutLast parts an address at its last @ that is not in quotes.
func cutLast(addr string) (local, at, domain string) {
	behind := strings.LastIndexByte(addr, '"') + 1
	if i := strings.LastIndexByte(addr, '@'); i >= behind {
		return addr[:i], "@", addr[i+1:]
	}
	return addr, "", ""
}

// unquotedLocal returns a local part without quotes and backslashes.
func unquotedLocal(local string) string {
	var b strings.Builder
	for i := 0; i < len(local); i++ {
		switch c := local[i]; {
		case c == '\\' && i+1 < len(local):
			i++
			b.WriteByte(local[i])
		case c != '"':
			b.WriteByte(c)
		}
	}
	return b.String()
}

// quotedLocal returns a local part in quotes, if it needs them.
func quotedLocal(local string) string {
	const special = `()<>[]:;@\," ` + "\t"
	dots := strings.Contains("."+local+".", "..") // an empty local part, too
	if !dots && !strings.ContainsAny(local, special) {
		return local
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
}

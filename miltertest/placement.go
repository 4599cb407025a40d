package miltertest

import (
	"slices"
	"strings"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// Kind is the MTA whose ways with a header are followed.
type Kind int

// The MTAs that speak the milter protocol. They differ in how they count and place header fields.
const (
	KindPostfix Kind = iota
	KindSendmail
)

// String gives the MTA's name.
func (k Kind) String() string {
	if k == KindSendmail {
		return "Sendmail"
	}
	return "Postfix"
}

// hides tells whether the MTA drops a field from a mail before the filter sees it.
func (k Kind) hides(f Field) bool {
	if k == KindSendmail {
		return strings.TrimSpace(f.Value) == "" && isOneOf(f.Name, sendmailFilled)
	}
	return isOneOf(f.Name, postfixDrops)
}

// place gives the header as the MTA delivers it after the filter's changes, without the fields that the MTA adds itself. sent
// is the header that the filter was shown. leadingSpace tells that SMFIP_HDR_LEADSPC was negotiated: a change's Value is then
// all that follows the colon, otherwise the MTA puts a space before it.
//
// That is what Postfix 3.7 and Sendmail 8.17 do with a mail that is received and delivered by SMTP, in their default
// settings. Left out is what they do to the text of a field, with or without a filter: Sendmail rewrites addresses
// (a@B,c becomes a@B, c@its.domain) and shortens long MIME fields, both break lines that are too long for SMTP. Left out, too:
// without the space, AddHeader("From", "") and the like are lost in Sendmail if the mail has such a field.
func (k Kind) place(sent Header, changes []Change, leadingSpace bool) Header {
	var list fieldList
	if k == KindSendmail {
		list = newSendmailList(sent)
	} else {
		list = newPostfixList(sent)
	}
	for _, c := range changes {
		f := Field{Name: c.Name, Value: c.Value}
		if leadingSpace {
			f = newField(c.Name, c.Value)
		}
		switch {
		case c.Op == AddHeader:
			list.add(f)
		case c.Op == InsertHeader:
			list.insert(max(c.Index, 0), f)
		case c.Op == ChangeHeader && c.Value == "":
			list.remove(c.Index, c.Name)
		case c.Op == ChangeHeader:
			list.change(c.Index, f)
		}
	}
	return list.delivered()
}

// fieldList is the header of a mail that an MTA is working on. A method with an index takes that of the change.
type fieldList interface {
	add(Field)
	insert(index int, f Field)
	change(index int, f Field)
	remove(index int, name string)
	delivered() Header
}

// listed is a field in an MTA's list.
type listed struct {
	Field
	own  bool // the MTA's, by itself: counted here and there, and not shown
	gone bool // deleted, but still counted
}

func (l listed) is(name string) bool { return ascii.EqualFold(l.Name, name) }

// isOneOf tells whether name is one of names, which are in lower case.
func isOneOf(name string, names []string) bool {
	return slices.Contains(names, ascii.ToLower(name))
}

// postfixList is Postfix's header. Its first field is the Received field that Postfix puts in front of each mail:
// InsertHeader counts it, ChangeHeader never finds it.
type postfixList []listed

// postfixDrops are the fields that Postfix removes from a mail that it receives, before the filter sees them
// (message_drop_headers). It keeps those that a filter adds.
var postfixDrops = []string{"bcc", "content-length", "resent-bcc", "return-path"}

func newPostfixList(sent Header) *postfixList {
	list := postfixList{{Field: Field{Name: "Received"}, own: true}}
	for _, f := range sent {
		if !KindPostfix.hides(f) {
			list = append(list, listed{Field: f})
		}
	}
	return &list
}

func (p *postfixList) add(f Field) {
	*p = append(*p, listed{Field: f})
}

func (p *postfixList) insert(index int, f Field) {
	*p = slices.Insert(*p, min(index, len(*p)), listed{Field: f})
}

func (p *postfixList) change(index int, f Field) {
	if i := p.find(index, f.Name); i >= 0 {
		(*p)[i].Field = f // its name is now written as in the change
	} else {
		p.add(f)
	}
}

func (p *postfixList) remove(index int, name string) {
	if i := p.find(index, name); i >= 0 {
		*p = slices.Delete(*p, i, i+1) // the next ones move up: a second call removes another
	}
}

// find gives the place of the index-th field of a name, 0 being as good as 1; -1 if there is none.
func (p *postfixList) find(index int, name string) int {
	return slices.IndexFunc(*p, func(l listed) bool {
		if l.own || !l.is(name) {
			return false
		}
		index--
		return index <= 0
	})
}

func (p *postfixList) delivered() Header {
	var header Header
	for _, l := range *p {
		if !l.own {
			header = append(header, l.Field)
		}
	}
	return header
}

// sendmailList is Sendmail's header. It begins with a place for each of the fields that Sendmail adds if they are missing,
// in the order of its configuration's H lines. InsertHeader counts all these places, used or not.
type sendmailList struct {
	fields []listed
	resent bool // the mail has come with a Resent- field
	hasTo  bool // the mail has come with a field that names recipients
}

// sendmailOwn are the H lines of Sendmail's default configuration.
var sendmailOwn = []string{"Return-Path", "Received", "Resent-Date", "Date", "Resent-From", "From", "Full-Name", "Resent-Message-Id", "Message-Id"}

// What Sendmail does with some fields; see HdrInfo in its conf.c.
var (
	sendmailResent = []string{"resent-sender", "resent-from", "resent-reply-to", "resent-to", "resent-cc", "resent-bcc", "resent-message-id", "resent-date"}
	sendmailTo     = []string{"to", "cc", "apparently-to"}
	sendmailBcc    = []string{"bcc", "resent-bcc"}

	// Delivered to some mailers only, of which SMTP is none.
	sendmailLocal = []string{"return-path", "full-name", "content-length"}
	// Added by Sendmail if the mail has one without a value, which then is dropped before the filter sees it.
	sendmailFilled = []string{"resent-date", "date", "resent-from", "from", "full-name", "resent-message-id", "message-id"}
)

func newSendmailList(sent Header) *sendmailList {
	s := &sendmailList{}
	for _, name := range sendmailOwn {
		s.fields = append(s.fields, listed{Field: Field{Name: name}, own: true})
	}
	for _, f := range sent {
		s.resent = s.resent || isOneOf(f.Name, sendmailResent)
		s.hasTo = s.hasTo || isOneOf(f.Name, sendmailTo)
		if !KindSendmail.hides(f) {
			s.fields = append(s.fields, listed{Field: f})
		}
	}
	return s
}

// add puts a field in the place that Sendmail has for it, even if the mail came with one, or else before the first of its
// name, or else at the end.
func (s *sendmailList) add(f Field) {
	if i := s.ownPlace(f.Name); i >= 0 {
		s.set(i, f)
		return
	}
	i := slices.IndexFunc(s.fields, func(l listed) bool { return l.is(f.Name) })
	if i < 0 {
		i = len(s.fields)
	}
	s.fields = slices.Insert(s.fields, i, listed{Field: f})
}

// insert puts a field behind the one at index, not before it.
func (s *sendmailList) insert(index int, f Field) {
	s.fields = slices.Insert(s.fields, min(index+1, len(s.fields)), listed{Field: f})
}

func (s *sendmailList) change(index int, f Field) {
	if i := s.find(index, f.Name); i >= 0 {
		s.set(i, f)
	} else {
		s.add(f)
	}
}

func (s *sendmailList) remove(index int, name string) {
	if i := s.find(index, name); i >= 0 {
		s.fields[i].gone = true
	}
}

// set gives the field at i another value. Its name stays as it was written.
func (s *sendmailList) set(i int, f Field) {
	s.fields[i] = listed{Field: Field{s.fields[i].Name, f.Value, f.NoSpace}}
}

// find gives the place of the index-th field of a name, deleted ones counted and 0 being as good as 1, or else the place
// that Sendmail has for it, or else -1.
func (s *sendmailList) find(index int, name string) int {
	i := slices.IndexFunc(s.fields, func(l listed) bool {
		if l.own || !l.is(name) {
			return false
		}
		index--
		return index <= 0
	})
	if i < 0 {
		i = s.ownPlace(name)
	}
	return i
}

// ownPlace gives the place that Sendmail has for a field of this name and that no filter has used yet; -1 if there is none.
// Its own Received field stays as it is.
func (s *sendmailList) ownPlace(name string) int {
	if ascii.EqualFold(name, "Received") {
		return -1
	}
	return slices.IndexFunc(s.fields, func(l listed) bool { return l.own && l.is(name) })
}

func (s *sendmailList) delivered() Header {
	var header Header
	for _, l := range s.fields {
		switch {
		case l.own, l.gone, isOneOf(l.Name, sendmailLocal):
		case isOneOf(l.Name, sendmailResent) && !s.resent:
		case isOneOf(l.Name, sendmailBcc):
			if !s.hasTo {
				header = append(header, Field{Name: l.Name, NoSpace: true})
			}
		default:
			header = append(header, l.Field)
		}
	}
	return header
}

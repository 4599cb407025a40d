//go:build cgo

package milter

import (
	"fmt"
	"iter"
	"slices"
	"strings"
)

// Header is the header of a Message: its fields in order, to the byte, and the edits that the filter makes. No C function.
//
// Edits are recorded. When Message returns SMFIS_CONTINUE or SMFIS_ACCEPT they become the fewest calls of smfi_chgheader,
// smfi_insheader and smfi_addheader that give this header, on Postfix and on Sendmail, though the two number and place
// fields in ways of their own. That is after all of Modifier's calls, and does not count what those have done to the header:
// fields of one name are best edited in one of the two ways.
//
// Postfix and Sendmail are told apart by the macro "v", which Postfix sends by itself, and is asked for where Server.Macros
// asks for others at SMFIM_CONNECT; a filter that calls Negotiation.SetSymList for that stage asks for it, too. It matters
// for a field that is inserted between two that were there, which on Sendmail stands elsewhere if an earlier filter of the
// mail has deleted fields or added its From, Date or Message-Id. And it matters for a From, Date or Message-Id in a mail
// that came without: Sendmail has added one itself by then, which is not shown and is deleted (without SMFIF_CHGHDRS the new
// one takes its place). Postfix with always_add_missing_headers keeps its own as well.
//
// An edit needs SMFIF_ADDHDRS for a new field, SMFIF_CHGHDRS for one that is changed or deleted. Where the MTA did not grant
// it, the method says so (ErrNotNegotiated), and unless the edit is taken back with Reset, or by others, none is made and the
// mail is answered SMFIS_TEMPFAIL.
//
// Values that are given have no blank in front; the one behind the colon is added. Lines of a folded value are parted by LF
// or CRLF and begin with a blank. Names are the same in upper and lower case. A Header is not for several goroutines at a
// time; after Message has returned it can be read, and edits fail with ErrStage.
type Header struct {
	modifier *Modifier // nil: not of a mail
	spaced   bool      // SMFIP_HDR_LEADSPC: values have their leading space
	sent     []headerField
	fields   []headerField // sent itself until the first edit
}

type headerField struct {
	name, value string
	origin      int // its place in sent, counted from 1; 0 is a new one
}

func (f *headerField) is(name string) bool { return strings.EqualFold(f.name, name) }

// content is the value without the blanks in front.
func (f *headerField) content() string { return strings.TrimLeft(f.value, " \t\r\n") }

// Len gives the number of fields.
func (h *Header) Len() int { return len(h.fields) }

// At gives the i-th field, counted from 0, as it was sent: with SMFIP_HDR_LEADSPC, which Message asks for, value is all that
// follows the colon, usually with a space in front. It panics if there are fewer fields.
func (h *Header) At(i int) (name, value string) { return h.fields[i].name, h.fields[i].value }

// All gives all fields in order, as At does.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range h.fields {
			if !yield(f.name, f.value) {
				return
			}
		}
	}
}

// Get gives the value of the first field of this name, without blanks in front; "" if there is none. Folded lines and
// encoded words are left as they are.
func (h *Header) Get(name string) string {
	if i := h.index(name); i >= 0 {
		return h.fields[i].content()
	}
	return ""
}

// Has tells whether there is a field of this name.
func (h *Header) Has(name string) bool { return h.index(name) >= 0 }

// Values gives the values of all fields of this name, as Get does; nil if there are none.
func (h *Header) Values(name string) (values []string) {
	for _, f := range h.fields {
		if f.is(name) {
			values = append(values, f.content())
		}
	}
	return values
}

func (h *Header) index(name string) int {
	return slices.IndexFunc(h.fields, func(f headerField) bool { return f.is(name) })
}

// Add adds a field at the end.
//
// Errors of this and the other edits: ErrArgument for an empty name, for a NUL or CR, for an LF that would begin another
// field, and for a field that is over Server.MaxDataSize; ErrNotNegotiated, see Header; ErrStage after Message has returned.
// But for ErrNotNegotiated the header stays as it was.
func (h *Header) Add(name, value string) error {
	return h.insert("smfi_addheader", len(h.fields), name, value)
}

// Insert inserts a field so that it is the i-th, counted from 0: 0 is in front of all, Len at the end. An i beyond that is
// ErrArgument. What the MTA itself puts in front (Received) stays there. Other errors: see Add.
func (h *Header) Insert(i int, name, value string) error {
	return h.insert("smfi_insheader", i, name, value)
}

// Set gives the first field of this name another value and deletes the others, or adds one at the end if there is none.
// Errors: see Add.
func (h *Header) Set(name, value string) error {
	first := h.index(name)
	if first < 0 {
		return h.insert("smfi_addheader", len(h.fields), name, value)
	}
	const op = "smfi_chgheader"
	value, err := h.check(op, name, value)
	if err != nil {
		return err
	}
	needs := h.needsAll(name)
	h.fields = slices.Concat(h.fields[:first+1], h.without(name, first+1))
	h.fields[first].value = value
	return h.granted(op, needs)
}

// SetAt gives the i-th field, counted from 0, another value. An i beyond Len is ErrArgument. Other errors: see Add.
func (h *Header) SetAt(i int, value string) error {
	const op = "smfi_chgheader"
	if err := h.checkIndex(op, i, len(h.fields)-1); err != nil {
		return err
	}
	value, err := h.check(op, h.fields[i].name, value)
	if err != nil {
		return err
	}
	h.fields = slices.Clone(h.fields)
	h.fields[i].value = value
	return h.granted(op, h.needs(i))
}

// Del deletes all fields of this name; there may be none. Errors: ErrStage, ErrNotNegotiated, see Add.
func (h *Header) Del(name string) error {
	const op = "smfi_chgheader"
	if err := h.editable(op); err != nil {
		return err
	}
	rest := h.without(name, 0)
	if len(rest) == len(h.fields) {
		return nil
	}
	needs := h.needsAll(name)
	h.fields = rest
	return h.granted(op, needs)
}

// DelAt deletes the i-th field, counted from 0. An i beyond Len is ErrArgument. Other errors: see Add.
func (h *Header) DelAt(i int) error {
	const op = "smfi_chgheader"
	if err := h.editable(op); err != nil {
		return err
	}
	if err := h.checkIndex(op, i, len(h.fields)-1); err != nil {
		return err
	}
	needs := h.needs(i)
	h.fields = slices.Concat(h.fields[:i], h.fields[i+1:])
	return h.granted(op, needs)
}

// Reset takes back all edits.
func (h *Header) Reset() { h.fields = h.sent }

// needs gives the action that an edit of the i-th field is: a new one is never changed.
func (h *Header) needs(i int) Action {
	if h.fields[i].origin == 0 {
		return SMFIF_ADDHDRS
	}
	return SMFIF_CHGHDRS
}

// needsAll gives the actions that an edit of all fields of a name is.
func (h *Header) needsAll(name string) (needs Action) {
	for i := range h.fields {
		if h.fields[i].is(name) {
			needs |= h.needs(i)
		}
	}
	return needs
}

func (h *Header) insert(op string, i int, name, value string) error {
	value, err := h.check(op, name, value)
	if err == nil {
		err = h.checkIndex(op, i, len(h.fields))
	}
	if err != nil {
		return err
	}
	h.fields = slices.Insert(slices.Clone(h.fields), i, headerField{name: name, value: value})
	return h.granted(op, SMFIF_ADDHDRS)
}

// without gives the fields from the first on, those of a name left out.
func (h *Header) without(name string, first int) (rest []headerField) {
	for _, f := range h.fields[first:] {
		if !f.is(name) {
			rest = append(rest, f)
		}
	}
	return rest
}

func (h *Header) checkIndex(op string, i, last int) error {
	if i < 0 || i > last {
		return &Error{op, fmt.Errorf("%w: index %d in a header of %d fields", ErrArgument, i, len(h.fields))}
	}
	return nil
}

// editable tells whether edits come in time.
func (h *Header) editable(op string) error {
	if h.modifier == nil {
		return nil
	}
	select {
	case <-h.modifier.over:
		return &Error{op, fmt.Errorf("%w: Message has returned", ErrStage)}
	default:
		return nil
	}
}

// check gives the value as it is kept, or tells what is wrong with a field.
func (h *Header) check(op, name, value string) (string, error) {
	if err := h.editable(op); err != nil {
		return "", err
	}
	value, err := checkHeader(name, value)
	if err != nil {
		return "", &Error{op, err}
	}
	if h.spaced && (value == "" || !strings.Contains(" \t\n", value[:1])) {
		value = " " + value
	}
	// smfi_insheader's packet, the longest: an index and two NULs.
	if size := len(name) + len(value) + 6; h.modifier != nil && size > h.modifier.session.filter.maxDataSize {
		return "", &Error{op, h.modifier.session.tooLarge(size)}
	}
	return value, nil
}

// granted tells whether the mail may be edited so.
func (h *Header) granted(op string, needs Action) error {
	if h.modifier == nil {
		return nil
	}
	s := h.modifier.session
	if lacking := needs &^ s.terms.actions; lacking != 0 {
		return &Error{op, s.notGranted(lacking)}
	}
	return nil
}

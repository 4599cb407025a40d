//go:build cgo

package milter

import (
	"fmt"
	"iter"
	"strings"

	"github.com/libmilter/go-libmilter/internal/header"
)

// Header is the header of a Message: its fields in order, to the byte, and the edits that the filter makes. No C function.
//
// Edits are recorded. When Message returns SMFIS_CONTINUE or SMFIS_ACCEPT they become the fewest calls of smfi_chgheader,
// smfi_insheader and smfi_addheader that give this header, on Postfix and on Sendmail, though the two number and place
// fields in ways of their own. That is after all of Modifier's calls, and does not count what those have done to the header:
// fields of one name are best edited in one of the two ways.
//
// What the MTA holds may be more than the filter is shown: Postfix's own Received field, before which PREPEND and filters
// before this one may have put others, and which header_checks may have dropped; Sendmail's places for fields that its
// configuration names, and those that filters before this one have deleted. Whatever that is, fields are changed and deleted
// as the filter has seen them, a new one in front is before all that was shown, and a new one at the end is behind it. For one
// between two, those that are to stand behind it are deleted and put to the end again. This takes SMFIF_CHGHDRS and
// SMFIP_HDR_LEADSPC, and is done for up to 100 of them. Elsewhere it is inserted by its number, which is right for a mail that
// nobody has changed before, on a Sendmail with the usual H lines, and otherwise may be some fields off.
//
// Only for that number, Postfix and Sendmail are told apart: by the macros "v", "p", "{if_name}", "{msg_id}" and
// "{daemon_addr}". What one sends of them by itself is enough, also with milter_macro_v or milter_connect_macros in main.cf. If
// the filter asks for others at SMFIM_CONNECT, those that are needed are asked for besides.
//
// A From, Date or Message-Id that is new in a mail without: Sendmail has added one itself by then, which is not shown and is
// deleted (without SMFIF_CHGHDRS the new one takes its place).
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
	list     *header.List
}

// content is a value without the blanks in front.
func content(value string) string { return strings.TrimLeft(value, " \t\r\n") }

// Len gives the number of fields.
func (h *Header) Len() int { return h.fields().Len() }

// At gives the i-th field, counted from 0, as it was sent: with SMFIP_HDR_LEADSPC, which Message asks for, value is all that
// follows the colon, usually with a space in front. It panics if there are fewer fields.
func (h *Header) At(i int) (name, value string) {
	f := h.fields().At(i)
	return f.Name, f.Value
}

// All gives all fields in order, as At does. It gives those that there were when it began, whatever is edited meanwhile.
func (h *Header) All() iter.Seq2[string, string] {
	return func(yield func(name, value string) bool) {
		for _, f := range h.fields().Fields() {
			if !yield(f.Name, f.Value) {
				return
			}
		}
	}
}

// Get gives the value of the first field of this name, without blanks in front; "" if there is none. Folded lines and
// encoded words are left as they are.
func (h *Header) Get(name string) string {
	f, _ := h.fields().First(name)
	return content(f.Value)
}

// Has tells whether there is a field of this name.
func (h *Header) Has(name string) bool {
	_, ok := h.fields().First(name)
	return ok
}

// Values gives the values of all fields of this name, as Get does; nil if there are none.
func (h *Header) Values(name string) (values []string) {
	for _, f := range h.fields().Named(name) {
		values = append(values, content(f.Value))
	}
	return values
}

// fields gives the list of them. A Header that is of no mail has none to begin with.
func (h *Header) fields() *header.List {
	if h.list == nil {
		h.list = header.NewList(nil)
	}
	return h.list
}

// Add adds a field at the end.
//
// Errors of this and the other edits: ErrArgument for a name that has other characters than RFC 5322 allows in one (printable
// ASCII, no blank, no colon) or none, for a NUL or CR, for an LF that would begin another field, and for a field that is over
// Server.MaxDataSize; ErrNotNegotiated, see Header; ErrStage after Message has returned. But for ErrNotNegotiated the header
// stays as it was.
func (h *Header) Add(name, value string) error {
	return h.insert("smfi_addheader", h.Len(), name, value)
}

// Insert inserts a field so that it is the i-th, counted from 0: 0 is in front of all, Len at the end. An i beyond that is
// ErrArgument. In front is also before the Received field that the MTA adds, which is not shown. Other errors: see Add.
func (h *Header) Insert(i int, name, value string) error {
	return h.insert("smfi_insheader", i, name, value)
}

// Set gives the first field of this name another value and deletes the others, or adds one at the end if there is none.
// Errors: see Add.
func (h *Header) Set(name, value string) error {
	named := h.fields().Named(name)
	if len(named) == 0 {
		return h.insert("smfi_addheader", h.Len(), name, value)
	}
	const op = "smfi_chgheader"
	value, err := h.check(op, name, value)
	if err != nil {
		return err
	}
	h.list.SetNamed(name, value)
	return h.granted(op, needs(named...))
}

// SetAt gives the i-th field, counted from 0, another value. An i beyond Len is ErrArgument. Other errors: see Add.
func (h *Header) SetAt(i int, value string) error {
	const op = "smfi_chgheader"
	if err := h.checkIndex(op, i, h.Len()-1); err != nil {
		return err
	}
	f := h.list.At(i)
	value, err := h.check(op, f.Name, value)
	if err != nil {
		return err
	}
	h.list.Set(i, value)
	return h.granted(op, needs(f))
}

// Del deletes all fields of this name; there may be none. Errors: ErrStage, ErrNotNegotiated, see Add.
func (h *Header) Del(name string) error {
	const op = "smfi_chgheader"
	if err := h.editable(op); err != nil {
		return err
	}
	named := h.fields().Named(name)
	h.list.DeleteNamed(name)
	return h.granted(op, needs(named...))
}

// DelAt deletes the i-th field, counted from 0. An i beyond Len is ErrArgument. Other errors: see Add.
func (h *Header) DelAt(i int) error {
	const op = "smfi_chgheader"
	if err := h.editable(op); err != nil {
		return err
	}
	if err := h.checkIndex(op, i, h.Len()-1); err != nil {
		return err
	}
	f := h.list.At(i)
	h.list.Delete(i)
	return h.granted(op, needs(f))
}

// Reset takes back all edits.
func (h *Header) Reset() { h.fields().Reset() }

// needs gives the actions that an edit of fields is: a new one is never changed.
func needs(fields ...header.Field) (actions Action) {
	for _, f := range fields {
		if f.Origin == 0 {
			actions |= SMFIF_ADDHDRS
		} else {
			actions |= SMFIF_CHGHDRS
		}
	}
	return actions
}

func (h *Header) insert(op string, i int, name, value string) error {
	value, err := h.check(op, name, value)
	if err != nil {
		return err
	}
	if err := checkFieldName(name); err != nil {
		return &Error{op, err}
	}
	if err := h.checkIndex(op, i, h.Len()); err != nil {
		return err
	}
	h.list.Insert(i, name, value)
	return h.granted(op, SMFIF_ADDHDRS)
}

func (h *Header) checkIndex(op string, i, last int) error {
	if i < 0 || i > last {
		return &Error{op, fmt.Errorf("%w: index %d in a header of %d fields", ErrArgument, i, h.Len())}
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

// check gives the value as it is kept, or tells what is wrong with it. The name is one that a field may have, or has.
func (h *Header) check(op, name, value string) (string, error) {
	if err := h.editable(op); err != nil {
		return "", err
	}
	value, err := headerValue(value)
	if err != nil {
		return "", &Error{op, err}
	}
	if h.spaced && (value == "" || !strings.Contains(" \t\n", value[:1])) {
		value = " " + value
	}
	if size := header.Size(name, value); h.modifier != nil && size > h.modifier.session.filter.maxDataSize {
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

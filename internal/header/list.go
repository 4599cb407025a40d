// Package header is the header of a mail that a filter edits: its fields in order, and the calls of libmilter that make of
// the header which the MTA holds what the filter has made of it. It knows no libmilter.
package header

import (
	"slices"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// Field is one field.
type Field struct {
	Name, Value string
	Origin      int // its place among the fields that were sent, counted from 1; 0 is a new one
}

// List is the fields of a header, in order. What one edit costs hardly grows with their number.
type List struct {
	sent   []Field
	now    []Field // what the fields are; nil after an edit, until they are asked for
	edited bool

	order   *sequence            // all entries; nil until the first edit
	names   map[string]*sequence // those of a name in lower case; nil until a long header is asked for one
	spreads int                  // how often the entries were given other places
}

// entry is a field of a header that is edited.
type entry struct {
	Field
	place int64 // grows from entry to entry
}

const (
	apart = 1 << 40 // of places, so that others have room in between
	long  = 64      // fields: fewer are looked through faster than a map is made
)

// NewList returns the list of the fields that were sent, which it keeps.
func NewList(sent []Field) *List {
	for i := range sent {
		sent[i].Origin = i + 1
	}
	return &List{sent: sent, now: sent}
}

// Sent returns the fields as they were sent. They are not to be changed.
func (l *List) Sent() []Field { return l.sent }

// Fields returns the fields as they are now, and stay in what it has returned. They are not to be changed.
func (l *List) Fields() []Field {
	if l.now == nil && l.order != nil {
		l.now = make([]Field, 0, l.order.length)
		for e := range l.order.all() {
			l.now = append(l.now, e.Field)
		}
	}
	return l.now
}

// Edited reports whether there was an edit since the last Reset.
func (l *List) Edited() bool { return l.edited }

// Len returns the number of fields.
func (l *List) Len() int {
	if l.order == nil {
		return len(l.sent)
	}
	return l.order.length
}

// At returns the i-th field, counted from 0. It panics if there are fewer.
func (l *List) At(i int) Field {
	if l.now == nil && l.order != nil {
		return l.order.at(i).Field
	}
	return l.now[i]
}

// First returns the first field of a name, and whether there is one.
func (l *List) First(name string) (f Field, ok bool) {
	switch {
	case l.order == nil && len(l.sent) < long:
		for i := range l.sent {
			if ascii.EqualFold(l.sent[i].Name, name) {
				return l.sent[i], true
			}
		}
	case l.short():
		for e := range l.order.all() {
			if ascii.EqualFold(e.Name, name) {
				return e.Field, true
			}
		}
	default:
		if named := l.index()[ascii.ToLower(name)]; named != nil && named.length > 0 {
			return named.at(0).Field, true
		}
	}
	return Field{}, false
}

// Named returns the fields of a name, in order.
func (l *List) Named(name string) (fields []Field) {
	if l.order == nil && len(l.sent) < long {
		for _, f := range l.sent {
			if ascii.EqualFold(f.Name, name) {
				fields = append(fields, f)
			}
		}
		return fields
	}
	for _, e := range l.named(name) {
		fields = append(fields, e.Field)
	}
	return fields
}

// Insert inserts a new field so that it is the i-th, counted from 0. It panics if i is beyond Len.
func (l *List) Insert(i int, name, value string) {
	l.edit()
	e := &entry{Field: Field{Name: name, Value: value}, place: l.room(i)}
	l.order.add(e)
	if l.names != nil {
		l.enter(e)
	}
}

// Set gives the i-th field, counted from 0, another value. It panics if there are fewer.
func (l *List) Set(i int, value string) {
	l.edit()
	l.order.at(i).Value = value
}

// Delete deletes the i-th field, counted from 0. It panics if there are fewer.
func (l *List) Delete(i int) {
	l.edit()
	l.remove(l.order.at(i))
}

// SetNamed gives the first field of a name another value and deletes the others. There must be one.
func (l *List) SetNamed(name, value string) {
	l.edit()
	named := l.named(name)
	named[0].Value = value
	l.remove(named[1:]...)
}

// DeleteNamed deletes all fields of a name.
func (l *List) DeleteNamed(name string) {
	if named := l.named(name); len(named) > 0 {
		l.edit()
		l.remove(named...)
	}
}

// Reset takes back all edits.
func (l *List) Reset() { *l = List{sent: l.sent, now: l.sent} }

// edit is called before each edit.
func (l *List) edit() {
	l.open()
	l.now, l.edited = nil, true
}

// open makes the entries.
func (l *List) open() {
	if l.order != nil {
		return
	}
	entries := make([]entry, len(l.sent))
	for i, f := range l.sent {
		entries[i] = entry{f, int64(i) * apart}
	}
	l.order = newSequence(entries)
}

// short reports whether entries are looked through for a name.
func (l *List) short() bool {
	l.open()
	return l.names == nil && l.order.length < long
}

// named returns the entries of a name, in order.
func (l *List) named(name string) (named []*entry) {
	if !l.short() {
		if named := l.index()[ascii.ToLower(name)]; named != nil {
			return slices.Concat(named.pieces...)
		}
		return nil
	}
	for e := range l.order.all() {
		if ascii.EqualFold(e.Name, name) {
			named = append(named, e)
		}
	}
	return named
}

// index returns the entries by name.
func (l *List) index() map[string]*sequence {
	if l.names == nil {
		l.open()
		l.names = map[string]*sequence{}
		for e := range l.order.all() {
			l.enter(e)
		}
	}
	return l.names
}

func (l *List) enter(e *entry) {
	key := ascii.ToLower(e.Name)
	named := l.names[key]
	if named == nil {
		named = &sequence{}
		l.names[key] = named
	}
	named.add(e)
}

func (l *List) remove(entries ...*entry) {
	for _, e := range entries {
		l.order.remove(e)
		if l.names != nil {
			l.names[ascii.ToLower(e.Name)].remove(e)
		}
	}
}

// room returns a place for an entry that is to be the i-th.
func (l *List) room(i int) int64 {
	switch length := l.order.length; {
	case length == 0:
		return 0
	case i == 0:
		return l.order.at(0).place - apart
	case i == length:
		return l.order.at(length-1).place + apart
	}
	before, behind := l.order.at(i-1).place, l.order.at(i).place
	if behind-before < 2 {
		l.spread()
		return l.room(i)
	}
	return before + (behind-before)/2
}

// spread gives the entries places that are apart again: after some forty insertions at one place.
func (l *List) spread() {
	l.spreads++
	place := int64(0)
	for e := range l.order.all() {
		e.place = place
		place += apart
	}
}

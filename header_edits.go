//go:build cgo

package milter

import (
	"cmp"
	"slices"
	"strings"
)

// This file turns the edits of a Header into calls. What it relies on is measured on Postfix 3.7 and Sendmail 8.17 (see
// miltertest's placement.go):
//
//   - smfi_chgheader finds a field by its name and number. Postfix counts anew after a deletion and Sendmail does not, so
//     changes and deletions go from the last field to the first, before there are new fields.
//   - smfi_insheader counts all fields. Postfix counts its own Received as the first. Sendmail counts nine places in front
//     and those that were deleted, and inserts behind the one it counts to. Beyond the end is the end, for both.
//   - smfi_addheader is Postfix's end of the header. Sendmail puts a field whose name the mail has before the first of them,
//     and some others in front.
//   - Sendmail adds a From, Date or Message-Id where there is none before it asks filters. It shows none of them, counts each as
//     one of the nine, and smfi_chgheader finds it where the mail has no other of its name. It delivers it beside one that a
//     filter inserts, but not beside one that is added.

// headerCall is a call that edits the header.
type headerCall struct {
	op          string
	index       int
	name, value string // an empty value: deletes
}

const (
	behindAll      = 1 << 20 // an index of smfi_insheader's
	sendmailPlaces = 9       // in front of the fields of a mail
)

// sendmailOwn are the fields that Sendmail has a place for, in front.
var sendmailOwn = []string{"return-path", "received", "resent-date", "date", "resent-from", "from", "full-name",
	"resent-message-id", "message-id"}

// send makes the edits. Nothing is sent if one of them is not allowed.
func (h *Header) send(m *Modifier) error {
	isPostfix := func() bool {
		version, _ := m.session.Macro(mtaVersion) // Sendmail's begins with its number, if it is sent at all
		return version != "" && (version[0] < '0' || version[0] > '9')
	}
	calls := h.calls(m.session.terms.actions, isPostfix)
	for _, c := range calls {
		needs := SMFIF_ADDHDRS
		if c.op == "smfi_chgheader" {
			needs = SMFIF_CHGHDRS
		}
		if err := h.granted(c.op, needs); err != nil {
			return err
		}
	}
	for _, c := range calls {
		if err := m.edit(c); err != nil {
			return err
		}
	}
	return nil
}

// edit makes one of the calls. Its value is already what follows the colon.
func (m *Modifier) edit(c headerCall) error {
	s := m.session
	return m.do(c.op, SMFIF_NONE, len(c.name)+len(c.value)+6, func() error {
		switch c.op {
		case "smfi_chgheader":
			return smfiChgheader(s.conn, &s.text, c.name, c.index, c.value)
		case "smfi_insheader":
			return smfiInsheader(s.conn, &s.text, c.index, c.name, c.value)
		default:
			return smfiAddheader(s.conn, &s.text, c.name, c.value)
		}
	})
}

// calls gives the calls that make the header as it was sent what it is now, with no more than one for a field where they may
// be made.
func (h *Header) calls(can Action, isPostfix func() bool) []headerCall {
	if len(h.fields) == len(h.sent) && (len(h.sent) == 0 || &h.fields[0] == &h.sent[0]) {
		return nil
	}
	fields := align(h.sent, h.fields, can)
	return append(h.changes(fields), h.insertions(fields, can, isPostfix)...)
}

// align gives the fields other origins, so that the fewest calls make them of those that were sent. What was done by way of a
// deletion and an addition may be one change, and the other way round. It is the usual edit distance, in which a call that
// cannot be made costs more than all that can.
func align(sent, fields []headerField, can Action) []headerField {
	const tooMany = 1 << 20 // what this takes goes with the product: in large headers the edits stay as they were made
	same := func(a, b headerField) bool { return a.name == b.name && a.value == b.value }
	begin, end := 0, 0 // what is the same on both sides stays
	for begin < min(len(sent), len(fields)) && same(sent[begin], fields[begin]) {
		begin++
	}
	for end < min(len(sent), len(fields))-begin && same(sent[len(sent)-1-end], fields[len(fields)-1-end]) {
		end++
	}
	from, to := sent[begin:len(sent)-end], fields[begin:len(fields)-end]
	if len(from)*len(to) > tooMany {
		return fields
	}
	price := func(action Action) int {
		if can&action == 0 {
			return tooMany * 4
		}
		return 1
	}
	add, change := price(SMFIF_ADDHDRS), price(SMFIF_CHGHDRS) // change: or delete
	keep := func(i, j int) (cost int, ok bool) {
		f := to[j]
		switch {
		case same(from[i], f):
			return 0, true
		case from[i].name != f.name: // which Sendmail would not change
			return 0, false
		case f.value == "" && f.origin > 0 && sent[f.origin-1].value == "": // one that was sent so: no change makes it
			return 0, false
		}
		return change, true
	}
	width := len(to) + 1
	least := make([]int, (len(from)+1)*width) // to make what is left of to from what is left of from
	for i := len(from); i >= 0; i-- {
		for j := len(to); j >= 0; j-- {
			switch here := i*width + j; {
			case i == len(from):
				least[here] = (len(to) - j) * add
			case j == len(to):
				least[here] = (len(from) - i) * change
			default:
				least[here] = min(least[here+width]+change, least[here+1]+add)
				if cost, ok := keep(i, j); ok {
					least[here] = min(least[here], least[here+width+1]+cost)
				}
			}
		}
	}
	fields = slices.Clone(fields)
	for k := range fields {
		fields[k].origin = 0
	}
	for k := range begin {
		fields[k].origin = k + 1
	}
	for k := range end {
		fields[len(fields)-1-k].origin = len(sent) - k
	}
	for i, j := 0, 0; i < len(from) && j < len(to); {
		here := i*width + j
		if cost, ok := keep(i, j); ok && least[here] == least[here+width+1]+cost {
			fields[begin+j].origin = begin + i + 1
			i, j = i+1, j+1
		} else if least[here] == least[here+width]+change {
			i++
		} else {
			j++
		}
	}
	return fields
}

// changes gives the calls for the fields that are changed or deleted, from the last to the first.
func (h *Header) changes(fields []headerField) (calls []headerCall) {
	now := make([]*headerField, len(h.sent))
	for i := range fields {
		if origin := fields[i].origin; origin > 0 {
			now[origin-1] = &fields[i]
		}
	}
	numbers := make([]int, len(h.sent)) // among those of the same name
	seen := map[string]int{}
	for i, f := range h.sent {
		key := strings.ToLower(f.name)
		seen[key]++
		numbers[i] = seen[key]
	}
	for i, f := range slices.Backward(h.sent) {
		switch {
		case now[i] == nil:
			calls = append(calls, headerCall{"smfi_chgheader", numbers[i], f.name, ""})
		case now[i].value != f.value:
			// An empty value would delete the field: a space is as empty as it can be.
			calls = append(calls, headerCall{"smfi_chgheader", numbers[i], f.name, cmp.Or(now[i].value, " ")})
		}
	}
	return calls
}

// insertions gives the calls for the new fields, from the first to the last, so that all that is before one of them is in its
// place already.
func (h *Header) insertions(fields []headerField, can Action, isPostfix func() bool) (calls []headerCall) {
	displaced := h.displaced(fields, isPostfix)
	if can&SMFIF_CHGHDRS != 0 {
		for _, name := range displaced {
			calls = append(calls, headerCall{"smfi_chgheader", 1, name, ""})
		}
		displaced = nil
	}
	isNew := func(f headerField) bool { return f.origin == 0 }
	last := len(fields) - 1 // the last that was there before
	for last >= 0 && isNew(fields[last]) {
		last--
	}
	front, between := 0, 0 // new ones so far, before the first that was there and behind it
	place := 0             // in Sendmail's list, of the field before
	for t, f := range fields {
		own := slices.IndexFunc(displaced, f.is)
		switch {
		case !isNew(f):
			place = sendmailPlaces + front + between + f.origin - 1
		case own >= 0:
			calls = append(calls, headerCall{"smfi_addheader", 0, f.name, f.value})
			displaced = slices.Delete(displaced, own, own+1)
		case t > last:
			calls = append(calls, h.addition(fields[:t], f))
		case place == 0:
			// In front, the count is the same for both: Sendmail's lands among its places.
			front++
			calls = append(calls, headerCall{"smfi_insheader", front, f.name, f.value})
		case isPostfix():
			calls = append(calls, headerCall{"smfi_insheader", t + 1, f.name, f.value})
		default:
			calls = append(calls, headerCall{"smfi_insheader", place, f.name, f.value})
			between++
			place++
		}
	}
	return calls
}

// displaced gives the names of the new fields that Sendmail has added one of as well, as the mail came without: that is to go.
// If it cannot be deleted, smfi_addheader takes its place, wherever that is.
func (h *Header) displaced(fields []headerField, isPostfix func() bool) (names []string) {
	for _, f := range fields {
		if f.origin == 0 && isSendmailOwn(f.name) && !slices.ContainsFunc(names, f.is) && !f.is("received") &&
			!slices.ContainsFunc(h.sent, func(s headerField) bool { return s.is(f.name) }) && !isPostfix() {
			names = append(names, f.name)
		}
	}
	return names
}

func isSendmailOwn(name string) bool { return slices.Contains(sendmailOwn, strings.ToLower(name)) }

// addition gives the call for a field at the end, behind all others.
func (h *Header) addition(before []headerField, f headerField) headerCall {
	same := func(other headerField) bool { return other.is(f.name) }
	if slices.ContainsFunc(h.sent, same) || slices.ContainsFunc(before, same) || isSendmailOwn(f.name) {
		return headerCall{"smfi_insheader", behindAll, f.name, f.value}
	}
	return headerCall{"smfi_addheader", 0, f.name, f.value}
}

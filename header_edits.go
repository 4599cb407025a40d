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
		version, _ := m.session.Macro("v") // Sendmail's begins with its number, if it is sent at all
		return version != "" && (version[0] < '0' || version[0] > '9')
	}
	calls := h.calls(isPostfix)
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

// calls gives the calls that make the header as it was sent what it is now.
func (h *Header) calls(isPostfix func() bool) []headerCall {
	if len(h.fields) == len(h.sent) && (len(h.sent) == 0 || &h.fields[0] == &h.sent[0]) {
		return nil
	}
	fields := reuse(h.sent, h.fields)
	return append(h.changes(fields), h.insertions(fields, isPostfix)...)
}

// reuse lets a new field take the place of a deleted one of the same name, where no other field is between them: one call
// in place of two.
func reuse(sent, fields []headerField) []headerField {
	fields = slices.Clone(fields)
	last := 0 // the origin of the field before the gap
	for begin := 0; begin <= len(fields); {
		end, next := begin, len(sent)+1
		for ; end < len(fields); end++ {
			if fields[end].origin > 0 {
				next = fields[end].origin
				break
			}
		}
		reuseInGap(sent[last:next-1], fields[begin:end], last)
		last, begin = next, end+1
	}
	return fields
}

// reuseInGap is reuse between two fields that stay. deleted begin at origin first+1. It finds the longest common subsequence,
// counting a field that is the same twice.
func reuseInGap(deleted, added []headerField, first int) {
	const tooMany = 1 << 20
	if len(deleted) == 0 || len(added) == 0 || len(deleted)*len(added) > tooMany {
		return
	}
	worth := func(i, j int) int {
		switch {
		case deleted[i].name != added[j].name:
			return 0
		case deleted[i].value == added[j].value:
			return 2
		}
		return 1
	}
	width := len(added) + 1
	best := make([]int, (len(deleted)+1)*width) // of what is left behind i and j
	for i := len(deleted) - 1; i >= 0; i-- {
		for j := len(added) - 1; j >= 0; j-- {
			best[i*width+j] = max(best[(i+1)*width+j], best[i*width+j+1])
			if w := worth(i, j); w > 0 {
				best[i*width+j] = max(best[i*width+j], w+best[(i+1)*width+j+1])
			}
		}
	}
	for i, j := 0, 0; i < len(deleted) && j < len(added); {
		w := worth(i, j)
		switch best[i*width+j] {
		case best[(i+1)*width+j]:
			i++
		case best[i*width+j+1]:
			j++
		default:
			if w > 0 {
				added[j].origin = first + i + 1
			}
			i, j = i+1, j+1
		}
	}
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
func (h *Header) insertions(fields []headerField, isPostfix func() bool) (calls []headerCall) {
	isNew := func(f headerField) bool { return f.origin == 0 }
	last := len(fields) - 1 // the last that was there before
	for last >= 0 && isNew(fields[last]) {
		last--
	}
	front, between := 0, 0 // new ones so far, before the first that was there and behind it
	place := 0             // in Sendmail's list, of the field before
	for t, f := range fields {
		switch {
		case !isNew(f):
			place = sendmailPlaces + front + between + f.origin - 1
		case t > last:
			calls = append(calls, h.addition(fields[:t], f))
		case place == 0:
			// In front, the count is the same for both: Sendmail's lands among its places.
			calls = append(calls, headerCall{"smfi_insheader", t + 1, f.name, f.value})
			front++
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

// addition gives the call for a field at the end, behind all others.
func (h *Header) addition(before []headerField, f headerField) headerCall {
	same := func(other headerField) bool { return other.is(f.name) }
	if slices.ContainsFunc(h.sent, same) || slices.ContainsFunc(before, same) || slices.Contains(sendmailOwn, strings.ToLower(f.name)) {
		return headerCall{"smfi_insheader", behindAll, f.name, f.value}
	}
	return headerCall{"smfi_addheader", 0, f.name, f.value}
}

package header

import (
	"cmp"
	"slices"

	"github.com/libmilter/go-libmilter/internal/ascii"
)

// This file turns the edits of a header into calls. What it relies on is measured on Postfix 3.7 and Sendmail 8.17 (see
// miltertest's placement.go and test/message):
//
//   - smfi_chgheader finds a field by its name and number, counted as the filter was shown them. Postfix counts anew after a
//     deletion and Sendmail does not, so changes and deletions go from the last field to the first, before there are new ones.
//   - smfi_insheader at 0 is before all that the filter was shown, and beyond the end is behind it, whatever else the MTA holds.
//   - smfi_insheader in between counts what the filter is not shown, too, and cannot know. Postfix counts its Received field,
//     before which its own PREPEND and other filters have put fields or not, and which header_checks may have dropped. Sendmail
//     counts a place for each H line of its configuration (nine, unless there are more) and what other filters have deleted, and
//     inserts behind the field that it counts to. So a field that is to stand between two is put at the end, and those that are
//     to stand behind it are deleted and put behind it anew.
//   - smfi_addheader is not the end on Sendmail: it gives a field that is there already or was deleted by another filter, or that
//     Sendmail has a place for, that one's place.
//   - Sendmail adds a From, Date or Message-Id where there is none before it asks filters. It shows none of them, counts each as
//     one of the nine, and smfi_chgheader finds it where the mail has no other of its name. It delivers it beside one that a
//     filter inserts, but not beside one that is added.

// Op is a function of libmilter that edits a header.
type Op string

// The functions.
const (
	Change Op = "smfi_chgheader" // an empty value deletes
	Insert Op = "smfi_insheader"
	Add    Op = "smfi_addheader"
)

// Call is a call of it.
type Call struct {
	Op          Op
	Index       int
	Name, Value string
}

// Terms are what may be done to a header.
type Terms struct {
	Add, Change bool        // SMFIF_ADDHDRS, SMFIF_CHGHDRS
	Exact       bool        // SMFIP_HDR_LEADSPC: a field that is given again is the same to the byte
	MaxSize     int         // of a packet
	IsPostfix   func() bool // asked where the MTAs differ and there is no way for both
}

const (
	behindAll      = 1 << 20 // an index of smfi_insheader's
	sendmailPlaces = 9       // in front of the fields of a mail
	mostMoved      = 100     // fields that are deleted and put to the end for the sake of one before them
)

// sendmailOwn are the fields that Sendmail has a place for, in front, but for Received.
var sendmailOwn = []string{"return-path", "resent-date", "date", "resent-from", "from", "full-name", "resent-message-id", "message-id"}

// Calls returns the calls that make the header as it was sent what it is now: the fewest that do so on both MTAs.
func (l *List) Calls(t Terms) []Call {
	sent, fields := l.sent, l.plan(t)
	return append(changes(sent, fields), insertions(sent, fields, t)...)
}

// Size is the length of the longest packet that a field is in: smfi_insheader's, with an index and two NULs.
func Size(name, value string) int { return len(name) + len(value) + 6 }

// plan returns the fields as they are now, each with the origin that the calls make it of. What was done by way of a deletion
// and an addition may be one change, and the other way round.
func (l *List) plan(t Terms) []Field {
	now := l.Fields()
	if settled(now, now) && onlyAdded(l.sent, now) {
		return now
	}
	fields, ok := align(l.sent, now, t, true)
	if !ok {
		fields = now
	}
	if settled(now, fields) || !t.Add || !t.Change || !t.Exact {
		return fields
	}
	certain, ok := align(l.sent, now, t, false)
	if !ok {
		certain = putBehind(now)
	}
	if mayMove(now, certain, t) {
		return certain
	}
	return fields
}

// putBehind returns the fields with all from the first new one between two on as new ones, which go to the end.
func putBehind(now []Field) []Field {
	fields := slices.Clone(now)
	i := max(slices.IndexFunc(fields, Field.kept), 0)
	for i < len(fields) && fields[i].kept() {
		i++
	}
	for ; i < len(fields); i++ {
		fields[i].Origin = 0
	}
	return fields
}

// settled reports whether all new fields are in front of those that were sent or behind them. What is in front has been put
// there: it comes to stand before the Received field of the MTA, too.
func settled(now, fields []Field) bool {
	i := 0
	for i < len(fields) && !fields[i].kept() && !now[i].kept() {
		i++
	}
	for i < len(fields) && fields[i].kept() {
		i++
	}
	for i < len(fields) && !fields[i].kept() {
		i++
	}
	return i == len(fields)
}

// onlyAdded reports whether nothing was changed or deleted.
func onlyAdded(sent, now []Field) bool {
	kept := 0
	for _, f := range now {
		if f.kept() {
			if f.Value != sent[f.Origin-1].Value {
				return false
			}
			kept++
		}
	}
	return kept == len(sent)
}

// mayMove reports whether the fields that have lost their origin can be given again, and are few.
func mayMove(now, fields []Field, t Terms) bool {
	moved := 0
	for i, f := range fields {
		if f.Origin == 0 && now[i].Origin > 0 {
			moved++
			if moved > mostMoved || Size(f.Name, f.Value) > t.MaxSize {
				return false
			}
		}
	}
	return true
}

// changes returns the calls for the fields that are changed or deleted, from the last to the first.
func changes(sent, fields []Field) (calls []Call) {
	if onlyAdded(sent, fields) {
		return nil
	}
	now := make([]*Field, len(sent))
	for i, f := range fields {
		if f.Origin > 0 {
			now[f.Origin-1] = &fields[i]
		}
	}
	numbers := number(sent)
	for i, f := range slices.Backward(sent) {
		switch {
		case now[i] == nil:
			calls = append(calls, Call{Change, numbers[i], f.Name, ""})
		case now[i].Value != f.Value:
			// An empty value would delete the field: a space is as empty as it can be.
			calls = append(calls, Call{Change, numbers[i], f.Name, cmp.Or(now[i].Value, " ")})
		}
	}
	return calls
}

// number counts each field among those of its name, from 1.
func number(fields []Field) []int {
	numbers := make([]int, len(fields))
	seen := map[string]int{}
	for i, f := range fields {
		key := ascii.ToLower(f.Name)
		seen[key]++
		numbers[i] = seen[key]
	}
	return numbers
}

// insertions returns the calls for the new fields. Those in front come last, from the last to the first: it does not matter to
// them what they stand before, nor to the others that they do.
func insertions(sent, fields []Field, t Terms) (calls []Call) {
	own := displaced(sent, fields)
	if t.Change {
		for _, name := range own {
			calls = append(calls, Call{Change, 1, name, ""})
		}
		own = nil
	} else if len(own) > 0 && t.IsPostfix() {
		own = nil
	}
	first := slices.IndexFunc(fields, Field.kept)
	last := len(fields) - 1
	for last >= 0 && !fields[last].kept() {
		last--
	}
	var front []Call
	between, place := 0, 0 // what is inserted between two, and the place of the field before in Sendmail's list
	for i, f := range fields {
		switch taken := slices.IndexFunc(own, f.is); {
		case f.kept():
			place = sendmailPlaces + between + f.Origin - 1
		case taken >= 0: // it takes the place of Sendmail's, wherever that is: no mail has two
			calls = append(calls, Call{Add, 0, f.Name, f.Value})
			own = slices.Delete(own, taken, taken+1)
		case i > last:
			calls = append(calls, Call{Insert, behindAll, f.Name, f.Value})
		case i < first:
			front = append(front, Call{Insert, 0, f.Name, f.Value})
		case t.IsPostfix():
			calls = append(calls, Call{Insert, i + 1 - len(front), f.Name, f.Value})
		default:
			calls = append(calls, Call{Insert, place, f.Name, f.Value})
			between++
			place++
		}
	}
	slices.Reverse(front)
	return append(calls, front...)
}

// displaced returns the names of the new fields that Sendmail has added one of as well, as the mail came without: that is to
// go. On Postfix there is none, and to delete it does nothing.
func displaced(sent, fields []Field) (names []string) {
	for _, own := range sendmailOwn {
		added := slices.IndexFunc(fields, func(f Field) bool { return !f.kept() && f.is(own) })
		if added >= 0 && !slices.ContainsFunc(sent, func(f Field) bool { return f.is(own) }) {
			names = append(names, fields[added].Name)
		}
	}
	return names
}

func (f Field) is(name string) bool { return ascii.EqualFold(f.Name, name) }

func (f Field) kept() bool { return f.Origin > 0 }

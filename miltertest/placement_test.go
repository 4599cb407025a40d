package miltertest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// placement is a case for Kind.place and for the MTAs themselves: a mail's header as it is sent, the filter's changes, and
// the header as it is delivered, without the fields that the MTA adds itself.
type placement struct {
	name         string
	leadingSpace bool // SMFIP_HDR_LEADSPC was negotiated
	sent         string
	changes      []Change
	both         string // what is delivered, if the MTAs agree
	postfix      string
	sendmail     string
}

func (p placement) want(kind Kind) string {
	switch {
	case p.both != "":
		return p.both
	case kind == KindSendmail:
		return p.sendmail
	}
	return p.postfix
}

func add(name, value string) Change {
	return Change{Op: AddHeader, Name: name, Value: value}
}

func insert(index int, name, value string) Change {
	return Change{Op: InsertHeader, Index: index, Name: name, Value: value}
}

func change(name string, index int, value string) Change {
	return Change{Op: ChangeHeader, Index: index, Name: name, Value: value}
}

func remove(name string, index int) Change { return change(name, index, "") }

// The headers of most cases. Times have no weekday, by which they differ from Sendmail's own.
const (
	abc   = "A: 1\nB: 2\nC: 3\n"
	xyxx  = "X: 1\nY: y\nX: 2\nX: 3\n"
	named = "From: a@example.org\nDate: 1 Jan 2001 12:00 +0000\nMessage-Id: <1@example.org>\nSubject: s\n"
	hops  = "Received: 1\nReceived: 2\nA: 1\n"
)

var placements = []placement{
	{name: "unchanged", sent: named + abc, both: named + abc},
	{name: "other operations", sent: abc, changes: []Change{{Op: ReplaceBody, Value: "x"}}, both: abc},
	{name: "values as they were written", sent: "A:1\nB:\t2\nC:  3\nD:\nE: \nF: 6\n\tmore\n  again\n", both: "A:1\nB:\t2\nC:  3\nD:\nE: \nF: 6\n\tmore\n  again\n"},
	{name: "8-bit values", sent: "A: gr\xfc\xdf \x80\x9f\n", changes: []Change{add("N", "grüße \x80\x9f")}, both: "A: gr\xfc\xdf \x80\x9f\nN: grüße \x80\x9f\n"},

	// Insertion.
	{name: "insert at 0", sent: abc, changes: []Change{insert(0, "N", "n")}, both: "N: n\n" + abc},
	{name: "insert at 1", sent: abc, changes: []Change{insert(1, "N", "n")}, both: "N: n\n" + abc},
	{name: "insert at 2", sent: abc, changes: []Change{insert(2, "N", "n")}, postfix: "A: 1\nN: n\nB: 2\nC: 3\n", sendmail: "N: n\n" + abc},
	{name: "insert at the end", sent: abc, changes: []Change{insert(4, "N", "n")}, postfix: abc + "N: n\n", sendmail: "N: n\n" + abc},
	{name: "insert far behind the end", sent: abc, changes: []Change{insert(1000, "N", "n")}, both: abc + "N: n\n"},
	{name: "insert behind Sendmail's own", sent: abc, changes: []Change{insert(8, "N", "n")}, postfix: abc + "N: n\n", sendmail: "N: n\n" + abc},
	{name: "insert behind Sendmail's own and one", sent: abc, changes: []Change{insert(9, "N", "n")}, postfix: abc + "N: n\n", sendmail: "A: 1\nN: n\nB: 2\nC: 3\n"},
	{name: "Sendmail's own are counted if the mail has them", sent: named, changes: []Change{insert(9, "N", "n")}, postfix: named + "N: n\n", sendmail: "From: a@example.org\nN: n\n" + strings.TrimPrefix(named, "From: a@example.org\n")},
	{name: "insert twice at 0", sent: abc, changes: []Change{insert(0, "N", "n"), insert(0, "M", "m")}, both: "M: m\nN: n\n" + abc},
	{name: "insert twice at 2", sent: abc, changes: []Change{insert(2, "N", "n"), insert(2, "M", "m")}, postfix: "A: 1\nM: m\nN: n\nB: 2\nC: 3\n", sendmail: "M: m\nN: n\n" + abc},
	{name: "insert one behind the other", sent: abc, changes: []Change{insert(0, "N", "n"), insert(2, "M", "m")}, both: "N: n\nM: m\n" + abc},
	{name: "insert at 10 and behind", sent: abc, changes: []Change{insert(10, "N", "n"), insert(10, "M", "m"), insert(12, "O", "o"), insert(99, "P", "p")},
		postfix: abc + "N: n\nM: m\nO: o\nP: p\n", sendmail: "A: 1\nB: 2\nM: m\nN: n\nO: o\nC: 3\nP: p\n"},
	{name: "insert a name that is there", sent: xyxx, changes: []Change{insert(1, "X", "n")}, both: "X: n\n" + xyxx},
	{name: "insert behind a deleted field", sent: abc, changes: []Change{remove("A", 1), insert(2, "N", "n"), insert(10, "M", "m")}, postfix: "B: 2\nN: n\nC: 3\nM: m\n", sendmail: "N: n\nM: m\nB: 2\nC: 3\n"},
	{name: "insert a folded field", sent: abc, changes: []Change{insert(0, "N", "n\n\tmore")}, both: "N: n\n\tmore\n" + abc},
	{name: "insert an empty field", sent: abc, changes: []Change{insert(0, "N", "")}, both: "N: \n" + abc},

	// Addition.
	{name: "add", sent: abc, changes: []Change{add("N", "n"), add("M", "m")}, both: abc + "N: n\nM: m\n"},
	{name: "add to nothing", changes: []Change{add("N", "n"), insert(0, "M", "m")}, both: "M: m\nN: n\n"},
	{name: "add a name that is there", sent: abc + xyxx, changes: []Change{add("X", "n")}, postfix: abc + xyxx + "X: n\n", sendmail: abc + "X: n\n" + xyxx},
	{name: "add a name that is there in other case", sent: abc + xyxx, changes: []Change{add("x", "n")}, postfix: abc + xyxx + "x: n\n", sendmail: abc + "x: n\n" + xyxx},
	{name: "add twice", sent: abc, changes: []Change{add("N", "n"), add("M", "m"), add("N", "2")}, postfix: abc + "N: n\nM: m\nN: 2\n", sendmail: abc + "N: 2\nN: n\nM: m\n"},
	{name: "add a folded field", sent: abc, changes: []Change{add("N", "n\n\tmore\n again")}, both: abc + "N: n\n\tmore\n again\n"},
	{name: "add an empty field", sent: abc, changes: []Change{add("N", "")}, both: abc + "N: \n"},
	{name: "add with blanks", sent: abc, changes: []Change{add("N", "  n ")}, both: abc + "N:   n \n"},
	{name: "add Subject", sent: abc, changes: []Change{add("Subject", "n")}, both: abc + "Subject: n\n"},
	{name: "add From, which Sendmail would", sent: abc, changes: []Change{add("from", "n@example.org")}, postfix: abc + "from: n@example.org\n", sendmail: "From: n@example.org\n" + abc},
	{name: "add Message-Id and Date, which Sendmail would", sent: abc, changes: []Change{add("Message-Id", "<n@example.org>"), add("Date", "2 Jan 2001 12:00 +0000")},
		postfix: abc + "Message-Id: <n@example.org>\nDate: 2 Jan 2001 12:00 +0000\n", sendmail: "Date: 2 Jan 2001 12:00 +0000\nMessage-Id: <n@example.org>\n" + abc},
	{name: "add Message-Id, which is there", sent: named, changes: []Change{add("message-id", "<n@example.org>")}, postfix: named + "message-id: <n@example.org>\n", sendmail: "Message-Id: <n@example.org>\n" + named},
	{name: "add Message-Id twice", sent: abc, changes: []Change{add("Message-Id", "<n@example.org>"), add("Message-ID", "<m@example.org>")},
		postfix: abc + "Message-Id: <n@example.org>\nMessage-ID: <m@example.org>\n", sendmail: "Message-ID: <m@example.org>\nMessage-Id: <n@example.org>\n" + abc},

	// Change.
	{name: "change the first", sent: xyxx, changes: []Change{change("X", 1, "n")}, both: "X: n\nY: y\nX: 2\nX: 3\n"},
	{name: "change the second", sent: xyxx, changes: []Change{change("X", 2, "n")}, both: "X: 1\nY: y\nX: n\nX: 3\n"},
	{name: "change the third", sent: xyxx, changes: []Change{change("X", 3, "n")}, both: "X: 1\nY: y\nX: 2\nX: n\n"},
	{name: "change the fourth of three", sent: abc + xyxx, changes: []Change{change("X", 4, "n")}, postfix: abc + xyxx + "X: n\n", sendmail: abc + "X: n\n" + xyxx},
	{name: "change index 0", sent: xyxx, changes: []Change{change("X", 0, "n")}, both: "X: n\nY: y\nX: 2\nX: 3\n"},
	{name: "change in other case", sent: xyxx, changes: []Change{change("x", 2, "n")}, postfix: "X: 1\nY: y\nx: n\nX: 3\n", sendmail: "X: 1\nY: y\nX: n\nX: 3\n"},
	{name: "change what is not there", sent: abc, changes: []Change{change("N", 1, "n")}, both: abc + "N: n\n"},
	{name: "change index 0 of what is not there", sent: abc, changes: []Change{change("N", 0, "n")}, both: abc + "N: n\n"},
	{name: "change to a folded value", sent: abc, changes: []Change{change("B", 1, "n\n\tmore")}, both: "A: 1\nB: n\n\tmore\nC: 3\n"},
	{name: "change a field without the space", sent: "A:1\nB:\t2\n", changes: []Change{change("A", 1, "n"), change("B", 1, "m")}, both: "A: n\nB: m\n"},
	{name: "change to a blank", sent: abc, changes: []Change{change("B", 1, " ")}, both: "A: 1\nB:  \nC: 3\n"},
	{name: "change twice", sent: abc, changes: []Change{change("B", 1, "n"), change("B", 1, "m")}, both: "A: 1\nB: m\nC: 3\n"},
	{name: "change From, which Sendmail would add", sent: abc, changes: []Change{change("From", 1, "n@example.org")}, postfix: abc + "From: n@example.org\n", sendmail: "From: n@example.org\n" + abc},
	{name: "change From, which is there", sent: named, changes: []Change{change("From", 1, "n@example.org")}, both: strings.Replace(named, "a@", "n@", 1)},
	{name: "change the second Message-Id of one", sent: named, changes: []Change{change("Message-Id", 2, "<n@example.org>")}, postfix: named + "Message-Id: <n@example.org>\n", sendmail: "Message-Id: <n@example.org>\n" + named},

	// Changes of what the filter has added.
	{name: "change what was added", sent: abc, changes: []Change{add("N", "n"), change("N", 1, "m")}, both: abc + "N: m\n"},
	{name: "change what was inserted", sent: abc, changes: []Change{insert(0, "N", "n"), change("N", 1, "m")}, both: "N: m\n" + abc},
	{name: "change the first, one was added", sent: xyxx, changes: []Change{add("X", "n"), change("X", 1, "m")}, postfix: "X: m\nY: y\nX: 2\nX: 3\nX: n\n", sendmail: "X: m\n" + xyxx},
	{name: "change the fourth, one was added", sent: xyxx, changes: []Change{add("X", "n"), change("X", 4, "m")}, postfix: xyxx + "X: m\n", sendmail: "X: n\nX: 1\nY: y\nX: 2\nX: m\n"},
	{name: "change the first, one was inserted", sent: xyxx, changes: []Change{insert(0, "X", "n"), change("X", 1, "m")}, both: "X: m\n" + xyxx},
	{name: "delete what was added", sent: abc, changes: []Change{add("N", "n"), remove("N", 1)}, both: abc},

	// Deletion.
	{name: "delete the first", sent: xyxx, changes: []Change{remove("X", 1)}, both: "Y: y\nX: 2\nX: 3\n"},
	{name: "delete the second, in other case", sent: xyxx, changes: []Change{remove("x", 2)}, both: "X: 1\nY: y\nX: 3\n"},
	{name: "delete index 0", sent: xyxx, changes: []Change{remove("X", 0)}, both: "Y: y\nX: 2\nX: 3\n"},
	{name: "delete the fourth of three", sent: xyxx, changes: []Change{remove("X", 4)}, both: xyxx},
	{name: "delete what is not there", sent: abc, changes: []Change{remove("N", 1)}, both: abc},
	{name: "delete all upwards", sent: xyxx, changes: []Change{remove("X", 1), remove("X", 2), remove("X", 3)}, postfix: "Y: y\nX: 2\n", sendmail: "Y: y\n"},
	{name: "delete all downwards", sent: xyxx, changes: []Change{remove("X", 3), remove("X", 2), remove("X", 1)}, both: "Y: y\n"},
	{name: "delete the first thrice", sent: xyxx, changes: []Change{remove("X", 1), remove("X", 1), remove("X", 1)}, postfix: "Y: y\n", sendmail: "Y: y\nX: 2\nX: 3\n"},
	{name: "delete the first, change the second", sent: xyxx, changes: []Change{remove("X", 1), change("X", 2, "n")}, postfix: "Y: y\nX: 2\nX: n\n", sendmail: "Y: y\nX: n\nX: 3\n"},
	{name: "delete the first, change the first", sent: xyxx, changes: []Change{remove("X", 1), change("X", 1, "n")}, postfix: "Y: y\nX: n\nX: 3\n", sendmail: "X: n\nY: y\nX: 2\nX: 3\n"},
	{name: "delete, then add", sent: abc, changes: []Change{remove("A", 1), add("A", "n")}, postfix: "B: 2\nC: 3\nA: n\n", sendmail: "A: n\nB: 2\nC: 3\n"},
	{name: "delete, then insert", sent: abc, changes: []Change{remove("B", 1), insert(1, "B", "n")}, both: "B: n\nA: 1\nC: 3\n"},
	{name: "delete Message-Id", sent: "Message-Id: <1@example.org>\nA: 1\n", changes: []Change{remove("Message-Id", 1)}, both: "A: 1\n"},
	{name: "delete Message-Id, then add", sent: "A: 1\nMessage-Id: <1@example.org>\n", changes: []Change{remove("Message-Id", 1), add("Message-Id", "<n@example.org>")},
		postfix: "A: 1\nMessage-Id: <n@example.org>\n", sendmail: "Message-Id: <n@example.org>\nA: 1\n"},
	{name: "delete Message-Id, then change", sent: "Message-Id: <1@example.org>\nA: 1\n", changes: []Change{remove("Message-Id", 1), change("Message-Id", 1, "<n@example.org>")},
		postfix: "A: 1\nMessage-Id: <n@example.org>\n", sendmail: "Message-Id: <n@example.org>\nA: 1\n"},
	{name: "delete From, which Sendmail would add", sent: abc, changes: []Change{remove("From", 1)}, both: abc},
	{name: "delete From, which Sendmail would add, then add", sent: abc, changes: []Change{remove("From", 1), add("From", "n@example.org")}, postfix: abc + "From: n@example.org\n", sendmail: "From: n@example.org\n" + abc},

	// Received, of which the MTA adds one in front.
	{name: "change the first Received", sent: hops, changes: []Change{change("Received", 1, "n")}, both: "Received: n\nReceived: 2\nA: 1\n"},
	{name: "change the third Received of two", sent: hops, changes: []Change{change("Received", 3, "n")}, postfix: hops + "Received: n\n", sendmail: "Received: n\n" + hops},
	{name: "change Received, which is not there", sent: abc, changes: []Change{change("Received", 1, "n")}, postfix: abc + "Received: n\n", sendmail: "Received: n\n" + abc},
	{name: "delete Received, which is not there", sent: abc, changes: []Change{remove("Received", 1)}, both: abc},
	{name: "add Received", sent: hops, changes: []Change{add("Received", "n")}, postfix: hops + "Received: n\n", sendmail: "Received: n\n" + hops},
	{name: "insert Received, change the first", sent: hops, changes: []Change{insert(0, "Received", "n"), change("Received", 1, "m")}, both: "Received: m\n" + hops},
	{name: "insert Received, change the second", sent: abc, changes: []Change{insert(0, "Received", "n"), change("Received", 2, "m")}, postfix: "Received: n\n" + abc + "Received: m\n", sendmail: "Received: m\nReceived: n\n" + abc},

	// Fields that an MTA treats in a way of its own.
	{name: "Return-Path", sent: "Return-Path: <a@example.org>\nA: 1\n", changes: []Change{insert(1, "Return-Path", "<n@example.org>")}, postfix: "Return-Path: <n@example.org>\nA: 1\n", sendmail: "A: 1\n"},
	{name: "Full-Name, Content-Length", sent: "Full-Name: a\nContent-Length: 5\nA: 1\n", changes: []Change{add("Content-Length", "6")}, postfix: "Full-Name: a\nA: 1\nContent-Length: 6\n", sendmail: "A: 1\n"},
	{name: "fields that Postfix drops are not counted", sent: "Bcc: a@example.org\nA: 1\n", changes: []Change{insert(2, "N", "n")}, postfix: "A: 1\nN: n\n", sendmail: "N: n\nBcc:\nA: 1\n"},
	{name: "Bcc", sent: "Bcc: a@example.org\nA: 1\n", changes: []Change{add("To", "n@example.org")}, postfix: "A: 1\nTo: n@example.org\n", sendmail: "Bcc:\nA: 1\nTo: n@example.org\n"},
	{name: "Bcc beside To", sent: "To: a@example.org\nBcc: a@example.org\n", changes: []Change{add("Bcc", "n@example.org")}, postfix: "To: a@example.org\nBcc: n@example.org\n", sendmail: "To: a@example.org\n"},
	{name: "Resent-To added to a mail that is not resent", sent: abc, changes: []Change{add("Resent-To", "n@example.org")}, postfix: abc + "Resent-To: n@example.org\n", sendmail: abc},
	{name: "Resent-To added to a mail that is resent", sent: "Resent-From: a@example.org\nA: 1\n", changes: []Change{add("Resent-To", "n@example.org")}, both: "Resent-From: a@example.org\nA: 1\nResent-To: n@example.org\n"},
	{name: "empty fields that Sendmail fills", sent: "Message-Id:\nSubject:\nA: 1\nFrom: \n", changes: []Change{change("Message-Id", 1, "<n@example.org>")}, postfix: "Message-Id: <n@example.org>\nSubject:\nA: 1\nFrom: \n", sendmail: "Message-Id: <n@example.org>\nSubject:\nA: 1\n"},

	// The cases without SMFIP_HDR_LEADSPC are also made with it, each value with a space before it: see allPlacements.
	{name: "no space", leadingSpace: true, sent: abc, changes: []Change{add("N", "n"), insert(1, "M", "m"), change("B", 1, "b"), change("From", 1, "n@example.org")},
		postfix: "M:m\nA: 1\nB:b\nC: 3\nN:n\nFrom:n@example.org\n", sendmail: "M:m\nFrom:n@example.org\nA: 1\nB:b\nC: 3\nN:n\n"},
	{name: "no space, folded", leadingSpace: true, sent: abc, changes: []Change{add("N", "\n\tmore"), add("M", "\tm\n more")}, both: abc + "N:\n\tmore\nM:\tm\n more\n"},
	{name: "two spaces", leadingSpace: true, sent: abc, changes: []Change{add("N", "  n")}, both: abc + "N:  n\n"},
	{name: "nothing, with SMFIP_HDR_LEADSPC", leadingSpace: true, sent: abc, changes: []Change{add("N", ""), insert(0, "M", "")}, both: "M:\n" + abc + "N:\n"},
	{name: "change to a space", leadingSpace: true, sent: abc, changes: []Change{change("B", 1, " ")}, both: "A: 1\nB: \nC: 3\n"},
}

// allPlacements gives the cases, and those without SMFIP_HDR_LEADSPC once more with it.
func allPlacements() []placement {
	all := slices.Clone(placements)
	for _, p := range placements {
		if !p.leadingSpace {
			all = append(all, p.withLeadingSpace())
		}
	}
	return all
}

func (p placement) withLeadingSpace() placement {
	p.name += ", leading space"
	p.leadingSpace = true
	changes := p.changes
	p.changes = nil
	for _, c := range changes {
		if deletion := c.Op == ChangeHeader && c.Value == ""; !deletion {
			c.Value = " " + c.Value
		}
		p.changes = append(p.changes, c)
	}
	return p
}

// parseHeader makes a header of fields, each with its name and colon, its lines parted by LF.
func parseHeader(fields []string) (header Header) {
	for _, field := range fields {
		name, raw, _ := strings.Cut(field, ":")
		header = append(header, newField(name, raw))
	}
	return header
}

// splitHeader makes a header of a text that has no folded first line.
func splitHeader(text string) Header {
	var fields []string
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t") {
			fields[len(fields)-1] += "\n" + line
		} else {
			fields = append(fields, line)
		}
	}
	return parseHeader(fields)
}

func TestPlace(t *testing.T) {
	for _, p := range allPlacements() {
		for _, kind := range []Kind{KindPostfix, KindSendmail} {
			t.Run(fmt.Sprintf("%v/%s", kind, p.name), func(t *testing.T) {
				assert.Equal(t, p.want(kind), kind.place(splitHeader(p.sent), p.changes, p.leadingSpace).String())
			})
		}
	}
}

func TestKindString(t *testing.T) {
	assert.Equal(t, "Postfix", KindPostfix.String())
	assert.Equal(t, "Sendmail", KindSendmail.String())
}

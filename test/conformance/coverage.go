package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
)

// coverage counts what has been seen, in kinds: a test that no longer reaches something must not go on to pass.
type coverage map[string]map[string]int

// The kinds, in the order of the table.
const (
	kindOffer   = "versions offered"
	kindSent    = "packets sent"
	kindFamily  = "address families sent"
	kindReply   = "packets received"
	kindLines   = "lines of SMFIR_REPLYCODE"
	kindAgreed  = "protocol bits that were agreed on"
	kindAnswer  = "callbacks"
	kindCall    = "calls"
	kindSession = "sessions"
)

var kinds = []string{kindSession, kindOffer, kindSent, kindFamily, kindAnswer, kindCall, kindReply, kindLines, kindAgreed}

func (c coverage) count(kind, what string) {
	if c[kind] == nil {
		c[kind] = map[string]int{}
	}
	c[kind][what]++
}

func (c coverage) add(other coverage) {
	for kind, counts := range other {
		for what, n := range counts {
			if c[kind] == nil {
				c[kind] = map[string]int{}
			}
			c[kind][what] += n
		}
	}
}

func (c coverage) total(kind string) (total int) {
	for _, n := range c[kind] {
		total += n
	}
	return total
}

// see counts a session, as the C filter answered it.
func (c coverage) see(o outcome) {
	for p, whole := range packets(o.session.stream) {
		c.seeSent(p, whole)
	}
	for p := range packets(o.c.stream) {
		c.seeReceived(p)
	}
	c.count(kindSession, strings.TrimSuffix(o.session.how, ", with pauses"))
	if strings.HasSuffix(o.session.how, "pauses") {
		c.count(kindSession, "with pauses")
	}
	c.seeNotes(o.c.notes)
}

// seeNotes counts what the callbacks did.
func (c coverage) seeNotes(notes []string) {
	closed := 0
	for _, note := range notes {
		name, result, _ := strings.Cut(note, " ")
		switch {
		case name == "":
		case strings.HasPrefix(name, "smfi_"):
			c.count(kindCall, note)
		default:
			answer, _, _ := strings.Cut(result, " ")
			c.count(kindAnswer, strings.TrimSuffix(name+" "+answer, " -"))
		}
		if name == "close" {
			closed++
		}
	}
	if closed > 1 {
		c.count(kindSession, "with SMFIC_QUIT_NC taken")
	}
}

func (c coverage) seeSent(p packet, whole bool) {
	name := nameOf(p.code, true)
	c.count(kindSent, name)
	switch {
	case !whole:
		c.count(kindSent, "cut short")
	case p.length != uint32(len(p.data))+1:
		c.count(kindSent, "with a length that is none")
	case p.code == 'O' && len(p.data) >= 12:
		c.count(kindOffer, fmt.Sprint(min(binary.BigEndian.Uint32(p.data), 8)))
	case p.code == 'E' && len(p.data) > 0:
		c.count(kindSent, name+" with data")
	case p.code == 'D' && len(p.data) > 0 && strings.Contains(macroStages, string(p.data[:1])):
		c.count(kindSent, name+" of "+string(p.data[:1]))
	case p.code == 'C':
		_, rest, _ := strings.Cut(string(p.data), "\x00")
		if rest != "" && strings.Contains(families, rest[:1]) {
			c.count(kindFamily, rest[:1])
		}
	}
}

// macroStages are the commands that macros can belong to, families the address families, as libmilter knows them.
const macroStages, families = "CHMRTNE", "46LU"

func (c coverage) seeReceived(p packet) {
	name := nameOf(p.code, false)
	c.count(kindReply, name)
	switch {
	case p.code == 'y':
		c.count(kindLines, lineCount(1+bytes.Count(p.data, []byte("\r\n"))))
	case p.code == 'O' && len(p.data) >= 12:
		if len(p.data) > 12 {
			c.count(kindReply, name+" with macros")
		}
		for bit := range protocolBits {
			if binary.BigEndian.Uint32(p.data[8:])&(1<<bit) != 0 {
				c.count(kindAgreed, fmt.Sprintf("%#07x", 1<<bit))
			}
		}
	}
}

// protocolBits is how many SMFIP_* bits there are, without those of the packets' size.
const protocolBits = 21

func lineCount(n int) string {
	if n > 1 && n < 32 {
		return "2 to 31"
	}
	return fmt.Sprint(n)
}

// print writes the table.
func (c coverage) print(w io.Writer) {
	for _, kind := range kinds {
		fmt.Fprintf(w, "\n%s\n", kind)
		table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for i, what := range slices.Sorted(maps.Keys(c[kind])) {
			fmt.Fprintf(table, "\t%s\t%d", what, c[kind][what])
			if i%3 == 2 {
				fmt.Fprintln(table)
			}
		}
		fmt.Fprintln(table)
		table.Flush()
	}
}

// missing gives what must be seen in a run of all policies, and was not.
func (c coverage) missing() (missing []string) {
	need := func(kind string, what ...string) {
		for _, w := range what {
			if c[kind][w] == 0 {
				missing = append(missing, kind+": "+w)
			}
		}
	}
	need(kindSession, "in one piece", "packet by packet", "byte by byte", "cut at random", "with pauses", "with SMFIC_QUIT_NC taken")
	need(kindOffer, "0", "1", "2", "3", "4", "5", "6", "7", "8")
	for _, letter := range []byte("ABCDEHKLMNOQRTU") {
		need(kindSent, nameOf(letter, true))
	}
	need(kindSent, "no command")
	need(kindSent, "cut short", "with a length that is none", "SMFIC_BODYEOB with data")
	for _, stage := range macroStages {
		need(kindSent, "SMFIC_MACRO of "+string(stage))
	}
	need(kindFamily, strings.Split(families, "")...)
	need(kindLines, "1", "2 to 31", "32")
	for bit := range protocolBits {
		need(kindAgreed, fmt.Sprintf("%#07x", 1<<bit))
	}
	for _, letter := range []byte("+-2abcdehimpqrstyO") {
		need(kindReply, nameOf(letter, false))
	}
	need(kindReply, "SMFIC_OPTNEG with macros")
	need(kindAnswer, "abort", "close", "negotiate SMFIS_ALL_OPTS")
	for _, status := range []string{"REJECT", "TEMPFAIL", "DISCARD", "ACCEPT", "NOREPLY", "SKIP"} {
		for _, callback := range allCallbacks[:len(allCallbacks)-2] { // without abort and close
			need(kindAnswer, callback+" SMFIS_"+status, callback+" SMFIS_CONTINUE")
		}
	}
	for _, call := range calls {
		need(kindCall, call+" MI_SUCCESS")
		if call != "smfi_progress" { // it only fails where the MTA has gone
			need(kindCall, call+" MI_FAILURE")
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

var calls = []string{"smfi_setreply", "smfi_setmlreply", "smfi_setsymlist", "smfi_addheader", "smfi_chgheader", "smfi_insheader", "smfi_chgfrom",
	"smfi_addrcpt", "smfi_addrcpt_par", "smfi_delrcpt", "smfi_replacebody", "smfi_quarantine", "smfi_progress"}

//go:build cgo

package main

import (
	"bytes"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

// What the filter does besides looking: calls of the binding's with arguments drawn from the history, and statuses.
// cfilter/choices.c is the same in C, and says why the texts are these.

var (
	longLine    = strings.Repeat("x", 980)
	longestLine = strings.Repeat("x", 981)
	longValue   = strings.Repeat("x", 1000)
	hugeValue   = strings.Repeat("x", 70000)
	body        = makeBody()
)

func makeBody() []byte {
	b := make([]byte, 200000+256)
	for i := range b {
		b[i] = byte(i*7 + i/251)
	}
	return b
}

func oneOf[T any](h *history, choices []T) T { return choices[h.draw(uint32(len(choices)))] }

var macroNames = []string{"j", "_", "i", "{i}", "x", "{x}", "{client_addr}", "{auth_authen}", "{mail_addr}", "{rcpt_addr}", "{none}"}

func (h *history) lookAtMacros(s *milter.Session) {
	for _, name := range macroNames {
		if value, ok := s.Macro(name); ok {
			mix(h, value)
		} else {
			h.mixNull()
		}
	}
}

var lines = []string{"", "No.", "100%% \xe9\xff", longLine}

func (h *history) chooseLine() string {
	switch h.draw(200) {
	case 0:
		return longestLine // one byte too long
	case 1:
		return "two\r\nlines"
	}
	return oneOf(h, lines)
}

var (
	rcodes, wrongRcodes = []string{"450", "451", "421", "499", "550", "554", "552", "599"}, []string{"", "250", "55", "5555", "5x0", "45\xb2"}
	xcodes, wrongXcodes = []string{"", "", "4.7.1", "5.7.1", "2.0.0", "5.123.456"}, []string{"5.7", "6.1.1", "5.1234.1", "5.7.1 ", "5..1"}
)

func (h *history) chooseCode(right, wrong []string) string {
	if h.draw(12) == 0 {
		return oneOf(h, wrong)
	}
	return oneOf(h, right)
}

func (h *history) chooseSetReply(s *milter.Session) {
	rcode := h.chooseCode(rcodes, wrongRcodes)
	xcode := h.chooseCode(xcodes, wrongXcodes)
	h.noteCall("smfi_setreply", s.SetReply(rcode, xcode, h.chooseLine()))
}

// chooseSetMLReply sets 1 to 33 lines, of which 33 are too many.
func (h *history) chooseSetMLReply(s *milter.Session) {
	rcode := h.chooseCode(rcodes, wrongRcodes)
	xcode := h.chooseCode(xcodes, wrongXcodes)
	l := make([]string, 1+h.draw(33))
	for i := range l {
		l[i] = h.chooseLine()
	}
	h.noteCall("smfi_setmlreply", s.SetMLReply(rcode, xcode, l...))
}

// chooseReply sets a reply, or mostly none.
func (h *history) chooseReply(s *milter.Session) {
	switch kind := h.draw(100); {
	case kind < 10:
		h.chooseSetReply(s)
	case kind < 18:
		h.chooseSetMLReply(s)
	}
}

var (
	names     = []string{"X-Filtered", "Subject", "X-\xe9", "Received", ""}
	values    = []string{"", "yes", " a\n\tb\n c", "\xe9\xff 8-bit", longValue}
	indexes   = []int{0, 1, 2, 65536, 2147483647, -1}
	addresses = []string{"<a@example.org>", "<>", "<\xe9@example.org>", longValue, ""}
	arguments = []string{"", "RET=HDRS ENVID=x", "NOTIFY=NEVER ORCPT=rfc822;\xe9"}
	reasons   = []string{"policy", "100% \xe9", longValue, ""}
	lengths   = []int{0, 1, 100, 100, 1000, 1000, 5000, 65534, 65535, 65536, 131070, 200000}
)

func (h *history) chooseValue() string {
	if h.draw(40) == 0 {
		return hugeValue
	}
	return oneOf(h, values)
}

func (h *history) chooseReplaceBody(m *milter.Modifier) error {
	length := oneOf(h, lengths)
	offset := int(h.draw(256))
	segment := body[offset : offset+length]
	if h.draw(2) == 0 {
		return m.ReplaceBodyFrom(bytes.NewReader(segment))
	}
	return m.ReplaceBody(segment)
}

func (h *history) chooseChange(m *milter.Modifier) {
	switch h.draw(10) {
	case 0:
		name := oneOf(h, names)
		h.noteCall("smfi_addheader", m.AddHeader(name, h.chooseValue()))
	case 1:
		name := oneOf(h, names)
		index := oneOf(h, indexes)
		h.noteCall("smfi_chgheader", m.ChangeHeader(name, index, h.chooseValue()))
	case 2:
		index := oneOf(h, indexes)
		name := oneOf(h, names)
		h.noteCall("smfi_insheader", m.InsertHeader(index, name, h.chooseValue()))
	case 3:
		address := oneOf(h, addresses)
		h.noteCall("smfi_chgfrom", m.ChangeFrom(address, oneOf(h, arguments)))
	case 4:
		h.noteCall("smfi_addrcpt", m.AddRcpt(oneOf(h, addresses)))
	case 5:
		address := oneOf(h, addresses)
		h.noteCall("smfi_addrcpt_par", m.AddRcptPar(address, oneOf(h, arguments)))
	case 6:
		h.noteCall("smfi_delrcpt", m.DelRcpt(oneOf(h, addresses)))
	case 7:
		h.noteCall("smfi_replacebody", h.chooseReplaceBody(m))
	case 8:
		h.noteCall("smfi_quarantine", m.Quarantine(oneOf(h, reasons)))
	case 9:
		h.noteCall("smfi_progress", m.Progress())
	}
}

// chooseChanges makes any number of changes.
func (h *history) chooseChanges(m *milter.Modifier) {
	for range h.draw(7) {
		h.chooseChange(m)
	}
}

var symLists = [][]string{nil, {"i"}, {"j", "{client_addr}"}, {"{mail_addr}", "i", "x"}}

// chooseSymLists asks for macros, any number of times.
func (h *history) chooseSymLists(n *milter.Negotiation) {
	if h.draw(4) != 0 {
		return
	}
	for range h.draw(6) {
		stage := milter.Stage(h.draw(uint32(milter.SMFIM_EOH)+3)) - 1 // one below, one above what there is
		h.noteCall("smfi_setsymlist", n.SetSymList(stage, oneOf(h, symLists)...))
	}
}

var otherStatuses = []milter.Status{milter.SMFIS_REJECT, milter.SMFIS_TEMPFAIL, milter.SMFIS_DISCARD, milter.SMFIS_ACCEPT,
	milter.SMFIS_NOREPLY, milter.SMFIS_SKIP}

// chooseStatus gives SMFIS_CONTINUE in so many of a hundred cases, any other status that a callback may return in the rest.
func (h *history) chooseStatus(percent uint32) milter.Status {
	if h.draw(100) < percent {
		return milter.SMFIS_CONTINUE
	}
	return oneOf(h, otherStatuses)
}

//go:build cgo

package milter

import (
	"sync"

	"github.com/libmilter/go-libmilter/internal/header"
)

// send makes the edits. Nothing is sent if one of them is not allowed.
func (h *Header) send(m *Modifier) error {
	if !h.list.Edited() {
		return nil
	}
	s := m.session
	can := s.terms.actions
	calls := h.list.Calls(header.Terms{
		Add:       can&SMFIF_ADDHDRS != 0,
		Change:    can&SMFIF_CHGHDRS != 0,
		Exact:     h.spaced,
		MaxSize:   s.filter.maxDataSize,
		IsPostfix: sync.OnceValue(s.isPostfix),
	})
	for _, c := range calls {
		needs := SMFIF_ADDHDRS
		if c.Op == header.Change {
			needs = SMFIF_CHGHDRS
		}
		if err := h.granted(string(c.Op), needs); err != nil {
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
func (m *Modifier) edit(c header.Call) error {
	s := m.session
	return m.do(string(c.Op), SMFIF_NONE, header.Size(c.Name, c.Value), func() error {
		switch c.Op {
		case header.Change:
			return smfiChgheader(s.conn, &s.text, c.Name, c.Index, c.Value)
		case header.Insert:
			return smfiInsheader(s.conn, &s.text, c.Index, c.Name, c.Value)
		default:
			return smfiAddheader(s.conn, &s.text, c.Name, c.Value)
		}
	})
}

// Macros that tell the MTAs apart. Postfix knows none that are Sendmail's here.
const (
	macroVersion   = "v"             // a number is Sendmail's, or that of a Postfix with a milter_macro_v of its own
	macroProcess   = "p"             // Sendmail, if it is asked
	macroInterface = "{if_name}"     // Sendmail at connect
	macroMessageID = "{msg_id}"      // Sendmail at end of message
	macroDaemon    = "{daemon_addr}" // Postfix at connect; Sendmail, if it is asked
)

// mtaMacros are those that are asked for where a filter asks for others at SMFIM_CONNECT.
var mtaMacros = []string{macroVersion, macroProcess, macroDaemon}

// isPostfix reports whether the MTA is Postfix, as far as its macros tell. One that sends nothing of all this is more often a
// Postfix with milter_connect_macros of its own than a Sendmail that has been told to leave out what it sends at two stages.
func (s *Session) isPostfix() bool {
	version, _ := s.Macro(macroVersion)
	if version != "" && !isDigits(version[:1]) { // "Postfix 3.7.11"
		return true
	}
	for _, name := range []string{macroProcess, macroInterface, macroMessageID} {
		if _, ok := s.Macro(name); ok {
			return false
		}
	}
	_, ok := s.Macro(macroDaemon)
	return ok || version == ""
}

//go:build cgo

package milter

import (
	"fmt"
	"log/slog"
	"slices"
)

// Negotiation is what xxfi_negotiate is given and gives: what the MTA offers (f0 to f3), and what the filter asks for
// (pf0 to pf3). It is valid until Negotiate returns.
type Negotiation struct {
	// OfferedActions (f0) are the actions that the MTA allows.
	OfferedActions Action
	// OfferedProtocol (f1) are the protocol bits that the MTA has, and the SMFIP_NR_* bits, which libmilter makes up for
	// where the MTA lacks them.
	OfferedProtocol Protocol
	// OfferedF2 and OfferedF3 (f2, f3) are for future use: 0.
	OfferedF2, OfferedF3 uint32

	// Actions (pf0) is preset to all that the MTA allows. Like the fields below it is used when Negotiate returns
	// SMFIS_CONTINUE; to ask for what the MTA does not offer ends the connection with the MTA.
	Actions Action
	// Protocol (pf1) is preset to the SMFIP_NO* bits of the callbacks that are nil and SMFIP_SKIP if the MTA has it, as
	// libmilter does, and to those bits of Server.Protocol that are offered.
	Protocol Protocol
	// F2 and F3 (pf2, pf3) are for future use.
	F2, F3 uint32

	session *Session
	listed  map[Stage]bool
	over    bool
}

// SetSymList is smfi_setsymlist: it asks the MTA for the macros at a stage, in place of those that the MTA would send by
// itself. No macros asks for none (with Callbacks.Message, those that the library itself needs are asked for at SMFIM_CONNECT and
// SMFIM_ENVRCPT all the same). Each stage can be asked for once. Names are written as the MTA knows them, "i" or
// "{client_addr}". The MTA heeds it if it offers SMFIF_SETSYMLIST and Actions has it.
//
// It may be called while Negotiate runs. Errors: ErrArgument, ErrStage.
//
// Source: smfi_setsymlist.html.
func (n *Negotiation) SetSymList(stage Stage, macros ...string) error {
	const op = "smfi_setsymlist"
	if n.session != nil && n.session.filter.callbacks.Message != nil {
		macros = withNeeded(stage, macros)
	}
	list, err := symList(macros)
	switch {
	case err != nil:
		return &Error{op, err}
	case stage < SMFIM_CONNECT || stage > SMFIM_EOH:
		return &Error{op, fmt.Errorf("%w: there is no %v", ErrArgument, stage)}
	case n.session == nil:
		return &Error{op, fmt.Errorf("%w: not Negotiate's", ErrStage)}
	}
	return n.session.do(op, func() error {
		switch {
		case n.over:
			return fmt.Errorf("%w: Negotiate has returned", ErrStage)
		case n.listed[stage]:
			return fmt.Errorf("%w: the macros of %v were set before", ErrArgument, stage)
		}
		if err := smfiSetsymlist(n.session.conn, &n.session.text, stage, list); err != nil {
			return err
		}
		n.listed[stage] = true
		return nil
	})
}

// negotiate fills in what the filter asks for on a connection: by Callbacks.Negotiate, or else what libmilter itself
// would ask for without xxfi_negotiate, with Server.Protocol and Server.Macros on top.
func (s *Session) negotiate(n *Negotiation) Status {
	if !s.seat(n) {
		return SMFIS_REJECT
	}
	f := s.filter
	f.meet()
	if f.phase.Load() != phaseServing {
		return SMFIS_REJECT
	}
	n.session, n.listed = s, map[Stage]bool{}
	defer func() {
		s.wire.Lock()
		n.over = true
		s.wire.Unlock()
	}()

	implied := n.Protocol &^ SMFIP_SKIP // without xxfi_negotiate libmilter does not ask for SMFIP_SKIP
	asked := (f.protocol | f.collecting(n.OfferedProtocol)) & n.OfferedProtocol
	status := SMFIS_CONTINUE
	if f.callbacks.Negotiate != nil {
		n.Protocol |= asked
		status = f.callbacks.Negotiate(s, n)
	} else {
		n.Actions = f.actions
		n.Protocol = implied | asked
	}
	f.setSymLists(n)
	s.agree(n, status, implied)
	if status == SMFIS_CONTINUE || status == SMFIS_ALL_OPTS {
		s.logCutOff(n.OfferedActions, n.OfferedProtocol)
	}
	if f.guest && status == SMFIS_ALL_OPTS { // libmilter would take the host's
		n.Actions, n.Protocol = s.terms.actions, s.terms.protocol
		return SMFIS_CONTINUE
	}
	return status
}

// emulated are the protocol bits that libmilter makes up for, or leaves out, where an MTA has not got them.
const emulated = SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_DATA | SMFIP_NR_UNKN |
	SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY | SMFIP_NODATA | SMFIP_NOUNKNOWN

// logCutOff tells of an MTA that lacks what the filter wants: libmilter closes its connection, and
// says so to syslog alone.
func (s *Session) logCutOff(offeredActions Action, offeredProtocol Protocol) {
	tell := func(what string, lacking, wanted, offered fmt.Stringer, remedy string) {
		s.filter.logOnce("milter: libmilter closes the connection of an MTA that does not offer "+what, s, stepNegotiate,
			slog.String("lacking", lacking.String()), slog.String("wanted", wanted.String()),
			slog.String("offered", offered.String()), slog.String("remedy", remedy))
	}
	actions, protocol := s.terms.actions, s.terms.protocol
	if lacking := actions &^ offeredActions; lacking != 0 {
		tell("an action that the filter asks for", lacking, actions, offeredActions,
			"ask for less in Server.Actions, or in Callbacks.Negotiate for what is offered")
	}
	if lacking := protocol &^ emulated &^ offeredProtocol; lacking != 0 {
		tell("to leave out a step that has no callback, or another protocol bit", lacking, protocol, offeredProtocol,
			"set the callbacks of the steps that are lacking, or ask for less in Callbacks.Negotiate")
	}
}

// setSymLists asks for Server.Macros, at the stages that Callbacks.Negotiate has not asked for.
func (f *filter) setSymLists(n *Negotiation) {
	if n.OfferedActions&SMFIF_SETSYMLIST == 0 {
		return
	}
	set := func(stage Stage, macros []string) {
		n.Actions |= SMFIF_SETSYMLIST
		_ = n.SetSymList(stage, macros...) // Server.check has seen the names: it fails where Negotiate was first
	}
	for stage, macros := range f.macros {
		set(stage, macros)
	}
	if f.callbacks.Message != nil && n.Protocol&SMFIP_RCPT_REJ != 0 && !n.listed[SMFIM_ENVRCPT] {
		set(SMFIM_ENVRCPT, rcptMacros)
	}
}

// rcptMacros are what Postfix and Sendmail send with a recipient by themselves.
var rcptMacros = []string{"i", "{rcpt_mailer}", "{rcpt_host}", "{rcpt_addr}"}

// neededMacros are those that the library itself looks at, beside Callbacks.Message: what tells the MTAs apart (see Header),
// and what tells a recipient that the MTA has refused (see SMFIP_RCPT_REJ).
var neededMacros = map[Stage][]string{SMFIM_CONNECT: mtaMacros, SMFIM_ENVRCPT: {"{rcpt_mailer}"}}

// withNeeded adds to a stage's macros those of neededMacros that they lack.
func withNeeded(stage Stage, macros []string) []string {
	for _, needed := range neededMacros[stage] {
		if !slices.Contains(macros, needed) {
			macros = append(slices.Clip(macros), needed)
		}
	}
	return macros
}

// agree keeps the terms that libmilter takes after status.
func (s *Session) agree(n *Negotiation, status Status, implied Protocol) {
	terms := negotiated{filter: s.filter, actions: n.Actions, protocol: n.Protocol}
	if status == SMFIS_ALL_OPTS {
		terms.actions, terms.protocol = n.OfferedActions, implied|SMFIP_SKIP&n.OfferedProtocol
	}
	terms.spaced = s.filter.wantsLeadingSpace() && terms.protocol&SMFIP_HDR_LEADSPC != 0
	s.mu.Lock()
	s.terms = terms
	s.mu.Unlock()
	s.instruct()
	running.Load().negotiated.Store(s.conn, terms)
}

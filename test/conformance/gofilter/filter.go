//go:build cgo

package main

import (
	"net"

	milter "github.com/libmilter/go-libmilter"
)

// steps are the callbacks, in the order of cfilter/filter.c's enum step, by the names they have there.
var steps = []string{"negotiate", "connect", "unknown", "helo", "envfrom", "envrcpt", "data", "header", "eoh", "body", "eom", "abort", "close"}

const (
	stepNegotiate = iota
	stepConnect
	stepUnknown
	stepHelo
	stepEnvFrom
	stepEnvRcpt
	stepData
	stepHeader
	stepEOH
	stepBody
	stepEOM
	stepAbort
	stepClose
)

const (
	allNoReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT | milter.SMFIP_NR_DATA |
		milter.SMFIP_NR_UNKN | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY
	allNoSteps = milter.SMFIP_NOCONNECT | milter.SMFIP_NOHELO | milter.SMFIP_NOMAIL | milter.SMFIP_NORCPT | milter.SMFIP_NOBODY |
		milter.SMFIP_NOHDRS | milter.SMFIP_NOEOH | milter.SMFIP_NOUNKNOWN | milter.SMFIP_NODATA
)

// negotiates says whether Negotiate is one of the callbacks.
var negotiates bool

// entered counts the callbacks of this process.
var entered int

// enter begins a callback and, with a session's first, its history.
func enter(s *milter.Session, step int) *history {
	h, ok := s.Local.(*history)
	if !ok {
		h = newHistory()
		s.Local = h
	}
	if entered++; entered == settings.fault {
		h.mixByte(0)
	}
	h.mixNumber(uint64(step))
	return h
}

func (h *history) look(s *milter.Session) {
	if negotiates {
		actions, protocol := s.Negotiated()
		h.mixNumber(uint64(actions))
		h.mixNumber(uint64(protocol))
	}
	h.lookAtMacros(s)
}

// answer is what all callbacks do after they have mixed in their arguments.
func (h *history) answer(s *milter.Session, step int, percent uint32) milter.Status {
	h.look(s)
	h.chooseReply(s)
	status := h.chooseStatus(percent)
	h.noteAnswer(steps[step], status.String())
	return status
}

// How often the callbacks let go on, in percent: sessions are to get deep.
const mostly, nearlyAlways, often = 93, 97, 55

// chooseTerms changes what the filter asks for. It asks for more than is offered now and then.
func (h *history) chooseTerms(n *milter.Negotiation) {
	quarter := milter.Protocol(h.draw(1 << 21))
	quarter &= milter.Protocol(h.draw(1 << 21))
	if h.draw(3) == 0 {
		n.Actions &= milter.Action(h.draw(0x200))
	}
	n.Protocol |= n.OfferedProtocol & allNoReplies & quarter
	if h.draw(2) == 0 {
		n.Protocol |= n.OfferedProtocol & (milter.SMFIP_RCPT_REJ | milter.SMFIP_HDR_LEADSPC)
	}
	if h.draw(2) == 0 {
		n.Protocol &^= milter.SMFIP_SKIP
	}
	if h.draw(12) == 0 {
		n.Protocol |= n.OfferedProtocol & allNoSteps & quarter
	}
	if h.draw(20) == 0 {
		n.Actions |= 1 << h.draw(9)
	}
	if h.draw(20) == 0 {
		n.Protocol |= 1 << h.draw(21)
	}
}

func (h *history) chooseNegotiation(n *milter.Negotiation) milter.Status {
	kind := h.draw(100)
	if kind < 35 {
		return milter.SMFIS_CONTINUE
	}
	h.chooseTerms(n)
	switch {
	case kind < 75:
		return milter.SMFIS_CONTINUE
	case kind < 95:
		return milter.SMFIS_ALL_OPTS
	}
	return h.chooseStatus(0)
}

func onNegotiate(s *milter.Session, n *milter.Negotiation) milter.Status {
	h := enter(s, stepNegotiate)
	for _, given := range []uint32{uint32(n.OfferedActions), uint32(n.OfferedProtocol), n.OfferedF2, n.OfferedF3,
		uint32(n.Actions), uint32(n.Protocol), n.F2, n.F3} {
		h.mixNumber(uint64(given))
	}
	h.look(s)
	h.chooseSymLists(n)
	status := h.chooseNegotiation(n)
	h.noteAnswer(steps[stepNegotiate], status.String())
	return status
}

func (h *history) mixAddress(addr net.Addr) {
	switch addr := addr.(type) {
	case nil:
		mix(h, "no address")
	case *net.TCPAddr:
		mix(h, []byte(addr.IP))
		h.mixNumber(uint64(addr.Port))
	case *net.UnixAddr:
		mix(h, addr.Name)
	default:
		mix(h, "another family")
	}
}

func onConnect(s *milter.Session, host string, addr net.Addr) milter.Status {
	h := enter(s, stepConnect)
	mix(h, host)
	h.mixAddress(addr)
	return h.answer(s, stepConnect, mostly)
}

func onUnknown(s *milter.Session, command string) milter.Status {
	h := enter(s, stepUnknown)
	mix(h, command)
	return h.answer(s, stepUnknown, mostly)
}

func onHelo(s *milter.Session, identity string) milter.Status {
	h := enter(s, stepHelo)
	mix(h, identity)
	return h.answer(s, stepHelo, mostly)
}

func (h *history) mixArguments(address string, args []string) {
	mix(h, address)
	for _, arg := range args {
		mix(h, arg)
	}
	h.mixNull()
}

func onEnvFrom(s *milter.Session, address string, args []string) milter.Status {
	h := enter(s, stepEnvFrom)
	h.mixArguments(address, args)
	return h.answer(s, stepEnvFrom, mostly)
}

func onEnvRcpt(s *milter.Session, address string, args []string) milter.Status {
	h := enter(s, stepEnvRcpt)
	h.mixArguments(address, args)
	return h.answer(s, stepEnvRcpt, mostly)
}

func onData(s *milter.Session) milter.Status {
	return enter(s, stepData).answer(s, stepData, mostly)
}

func onHeader(s *milter.Session, name, value string) milter.Status {
	h := enter(s, stepHeader)
	mix(h, name)
	mix(h, value)
	return h.answer(s, stepHeader, nearlyAlways)
}

func onEOH(s *milter.Session) milter.Status {
	return enter(s, stepEOH).answer(s, stepEOH, mostly)
}

func onBody(s *milter.Session, segment []byte) milter.Status {
	h := enter(s, stepBody)
	mix(h, segment)
	return h.answer(s, stepBody, nearlyAlways)
}

func onEOM(s *milter.Session, m *milter.Modifier) milter.Status {
	h := enter(s, stepEOM)
	h.chooseChanges(m)
	return h.answer(s, stepEOM, often)
}

func onAbort(s *milter.Session) {
	h := enter(s, stepAbort)
	h.look(s)
	h.noteAnswer(steps[stepAbort], "-")
}

func onClose(s *milter.Session) {
	h := enter(s, stepClose)
	h.look(s)
	h.noteAnswer(steps[stepClose], "-")
}

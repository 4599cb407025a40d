//go:build cgo

package milter

/*
#include <netinet/in.h>
#include <sys/un.h>
#include "bridge.h"
*/
import "C"

import (
	"net"
	"unsafe"
)

// This file is the way from C to Go: bridge.c calls these functions with the connection, the handle that smfi_setpriv
// keeps for it, and libmilter's arguments. They convert and call; Session.call does the rest. The preamble holds
// declarations only, as cgo wants it for files with exports.

// callbacks are those callbacks of a smfiDesc that a filter may do without, as bridge.h's bits.
type callbacks uint

// collected are the callbacks that Message is made of.
const collected callbacks = C.MILTER_CONNECT | C.MILTER_HELO | C.MILTER_ENVFROM | C.MILTER_ENVRCPT | C.MILTER_HEADER |
	C.MILTER_BODY | C.MILTER_ABORT

// callbackBits are the callbacks, with the bit of the MTA's that keeps a step away and the one that keeps its answer away.
var callbackBits = []struct {
	callback     callbacks
	no, noAnswer Protocol
	isSet        func(cb *Callbacks) bool
}{
	{C.MILTER_CONNECT, SMFIP_NOCONNECT, SMFIP_NR_CONN, func(cb *Callbacks) bool { return cb.Connect != nil }},
	{C.MILTER_UNKNOWN, SMFIP_NOUNKNOWN, SMFIP_NR_UNKN, func(cb *Callbacks) bool { return cb.Unknown != nil }},
	{C.MILTER_HELO, SMFIP_NOHELO, SMFIP_NR_HELO, func(cb *Callbacks) bool { return cb.Helo != nil }},
	{C.MILTER_ENVFROM, SMFIP_NOMAIL, SMFIP_NR_MAIL, func(cb *Callbacks) bool { return cb.MailFrom != nil }},
	{C.MILTER_ENVRCPT, SMFIP_NORCPT, SMFIP_NR_RCPT, func(cb *Callbacks) bool { return cb.RcptTo != nil }},
	{C.MILTER_DATA, SMFIP_NODATA, SMFIP_NR_DATA, func(cb *Callbacks) bool { return cb.Data != nil }},
	{C.MILTER_HEADER, SMFIP_NOHDRS, SMFIP_NR_HDR, func(cb *Callbacks) bool { return cb.Header != nil }},
	{C.MILTER_EOH, SMFIP_NOEOH, SMFIP_NR_EOH, func(cb *Callbacks) bool { return cb.EOH != nil }},
	{C.MILTER_BODY, SMFIP_NOBODY, SMFIP_NR_BODY, func(cb *Callbacks) bool { return cb.Segment != nil }},
	{C.MILTER_ABORT, 0, 0, func(cb *Callbacks) bool { return cb.Abort != nil }},
}

// set gives the callbacks that are not nil, Message apart.
func (cb *Callbacks) set() (bits callbacks) {
	for _, b := range callbackBits {
		if b.isSet(cb) {
			bits |= b.callback
		}
	}
	return bits
}

// registered gives the callbacks to register: those that are set, and those that Message is made of.
func (srv *Server) registered() callbacks {
	bits := srv.Callbacks.set()
	switch {
	case srv.host:
		return ^callbacks(0)
	case srv.Callbacks.Message == nil:
		return bits
	case srv.MaxBody == NoBody:
		return bits | collected&^C.MILTER_BODY
	}
	return bits | collected
}

// absent gives the steps that libmilter asks the MTA to leave out: those without a callback.
func (bits callbacks) absent() (protocol Protocol) {
	for _, b := range callbackBits {
		if bits&b.callback == 0 {
			protocol |= b.no
		}
	}
	return protocol
}

// unanswered gives the steps of the callbacks that may go without an answer.
func (bits callbacks) unanswered() (protocol Protocol) {
	for _, b := range callbackBits {
		if bits&b.callback != 0 {
			protocol |= b.noAnswer
		}
	}
	return protocol
}

//export milterBegin
func milterBegin(ctx *C.SMFICTX, negotiates C.bool) *C.struct_milter_session {
	return begin(ctx, bool(negotiates))
}

//export milterNegotiate
func milterNegotiate(ctx *C.SMFICTX, handle unsafe.Pointer, f0, f1, f2, f3 C.ulong, pf0, pf1, pf2, pf3 *C.ulong) C.sfsistat {
	n := &Negotiation{
		OfferedActions: Action(f0), OfferedProtocol: Protocol(f1), OfferedF2: uint32(f2), OfferedF3: uint32(f3),
		Actions: Action(*pf0), Protocol: Protocol(*pf1), F2: uint32(*pf2), F3: uint32(*pf3),
	}
	status := call(ctx, handle, stepNegotiate, func(s *Session) Status { return s.negotiate(n) })
	*pf0, *pf1, *pf2, *pf3 = C.ulong(n.Actions), C.ulong(n.Protocol), C.ulong(n.F2), C.ulong(n.F3)
	return C.sfsistat(status)
}

//export milterConnect
func milterConnect(ctx *C.SMFICTX, handle unsafe.Pointer, host *C.char, sockaddr *C.struct_sockaddr) C.sfsistat {
	name, addr := C.GoString(host), netAddr(sockaddr)
	return C.sfsistat(call(ctx, handle, stepConnect, func(s *Session) Status {
		return s.filter.callbacks.Connect(s, name, addr)
	}))
}

//export milterUnknown
func milterUnknown(ctx *C.SMFICTX, handle unsafe.Pointer, command *C.milter_const_char, length C.size_t) C.sfsistat {
	text := string(unsafe.Slice((*byte)(unsafe.Pointer(command)), length))
	return C.sfsistat(call(ctx, handle, stepUnknown, func(s *Session) Status {
		return s.filter.callbacks.Unknown(s, text)
	}))
}

//export milterHelo
func milterHelo(ctx *C.SMFICTX, handle unsafe.Pointer, identity *C.char) C.sfsistat {
	name := C.GoString(identity)
	return C.sfsistat(call(ctx, handle, stepHelo, func(s *Session) Status {
		return s.filter.callbacks.Helo(s, name)
	}))
}

//export milterMailFrom
func milterMailFrom(ctx *C.SMFICTX, handle unsafe.Pointer, argv **C.char) C.sfsistat {
	address, args := envelope(argv)
	return C.sfsistat(call(ctx, handle, stepMailFrom, func(s *Session) Status {
		return s.filter.callbacks.MailFrom(s, address, args)
	}))
}

//export milterRcptTo
func milterRcptTo(ctx *C.SMFICTX, handle unsafe.Pointer, argv **C.char) C.sfsistat {
	address, args := envelope(argv)
	return C.sfsistat(call(ctx, handle, stepRcptTo, func(s *Session) Status {
		return s.filter.callbacks.RcptTo(s, address, args)
	}))
}

//export milterData
func milterData(ctx *C.SMFICTX, handle unsafe.Pointer) C.sfsistat {
	return C.sfsistat(call(ctx, handle, stepData, func(s *Session) Status {
		return s.filter.callbacks.Data(s)
	}))
}

//export milterHeader
func milterHeader(ctx *C.SMFICTX, handle unsafe.Pointer, name, value *C.char) C.sfsistat {
	field, text := C.GoString(name), C.GoString(value)
	return C.sfsistat(call(ctx, handle, stepHeader, func(s *Session) Status {
		return s.filter.callbacks.Header(s, field, text)
	}))
}

//export milterEOH
func milterEOH(ctx *C.SMFICTX, handle unsafe.Pointer) C.sfsistat {
	return C.sfsistat(call(ctx, handle, stepEOH, func(s *Session) Status {
		return s.filter.callbacks.EOH(s)
	}))
}

//export milterSegment
func milterSegment(ctx *C.SMFICTX, handle unsafe.Pointer, segment *C.uchar, length C.size_t) C.sfsistat {
	bytes := unsafe.Slice((*byte)(segment), length)
	return C.sfsistat(call(ctx, handle, stepSegment, func(s *Session) Status {
		return s.filter.callbacks.Segment(s, bytes)
	}))
}

//export milterEOM
func milterEOM(ctx *C.SMFICTX, handle unsafe.Pointer) C.sfsistat {
	return C.sfsistat(call(ctx, handle, stepEOM, (*Session).eom))
}

//export milterAbort
func milterAbort(ctx *C.SMFICTX, handle unsafe.Pointer) C.sfsistat {
	return C.sfsistat(call(ctx, handle, stepAbort, func(s *Session) Status {
		s.filter.callbacks.Abort(s)
		return SMFIS_CONTINUE
	}))
}

//export milterClose
func milterClose(ctx *C.SMFICTX, handle unsafe.Pointer) C.sfsistat {
	return C.sfsistat(call(ctx, handle, stepClose, func(s *Session) Status {
		if s.filter.callbacks.Close != nil {
			s.filter.callbacks.Close(s)
		}
		return SMFIS_CONTINUE
	}))
}

// envelope copies xxfi_envfrom's and xxfi_envrcpt's argument list: the address, then the ESMTP arguments, then NULL.
func envelope(argv **C.char) (address string, args []string) {
	for i := 0; ; i++ {
		arg := *(**C.char)(unsafe.Add(unsafe.Pointer(argv), uintptr(i)*unsafe.Sizeof(*argv)))
		switch {
		case arg == nil:
			return address, args
		case i == 0:
			address = C.GoString(arg)
		default:
			args = append(args, C.GoString(arg))
		}
	}
}

// netAddr copies a client's address, of which libmilter knows three families. NULL is an unknown one.
func netAddr(sockaddr *C.struct_sockaddr) net.Addr {
	if sockaddr == nil {
		return nil
	}
	switch p := unsafe.Pointer(sockaddr); sockaddr.sa_family {
	case C.AF_INET:
		sin := (*C.struct_sockaddr_in)(p)
		return &net.TCPAddr{IP: C.GoBytes(unsafe.Pointer(&sin.sin_addr), net.IPv4len), Port: port(unsafe.Pointer(&sin.sin_port))}
	case C.AF_INET6:
		sin6 := (*C.struct_sockaddr_in6)(p)
		return &net.TCPAddr{IP: C.GoBytes(unsafe.Pointer(&sin6.sin6_addr), net.IPv6len), Port: port(unsafe.Pointer(&sin6.sin6_port))}
	case C.AF_UNIX:
		return &net.UnixAddr{Name: C.GoString(&(*C.struct_sockaddr_un)(p).sun_path[0]), Net: "unix"}
	}
	return nil
}

// port reads a port number in network byte order.
func port(p unsafe.Pointer) int {
	b := (*[2]byte)(p)
	return int(b[0])<<8 | int(b[1])
}

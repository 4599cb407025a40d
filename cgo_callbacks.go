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

// keepsPlace are the callbacks without which libmilter loses its place in a mail: after an unknown command it takes no
// header and no end of message that DATA does not come before, and after DATA no body without a header if it was not to
// hear of the header's end (next_states in its engine.c).
const keepsPlace callbacks = C.MILTER_DATA | C.MILTER_EOH

// registered returns the callbacks to register: those that are set, and those that Message needs.
func (srv *Server) registered() callbacks {
	bits := srv.Callbacks.set()
	if srv.host {
		return ^callbacks(0)
	}
	if srv.Callbacks.Message == nil {
		return bits
	}
	if bits&(C.MILTER_UNKNOWN|C.MILTER_DATA) != 0 {
		bits |= keepsPlace
	}
	if srv.MaxBody == NoBody {
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

//export milterThreadBegin
func milterThreadBegin() C.uint {
	return C.uint(beginThread())
}

//export milterThreadEnd
func milterThreadEnd(number C.uint) {
	endThread(uint32(number))
}

// callerOf finds the thread that C calls on.
func callerOf(c C.struct_milter_caller) caller {
	return caller{threadOf(uint32(c.thread)), c.ctx, c.handle}
}

//export milterNegotiate
func milterNegotiate(c C.struct_milter_caller, f0, f1, f2, f3 C.ulong, pf0, pf1, pf2, pf3 *C.ulong) C.sfsistat {
	n := &Negotiation{
		OfferedActions: Action(f0), OfferedProtocol: Protocol(f1), OfferedF2: uint32(f2), OfferedF3: uint32(f3),
		Actions: Action(*pf0), Protocol: Protocol(*pf1), F2: uint32(*pf2), F3: uint32(*pf3),
	}
	status := call(callerOf(c), stepNegotiate, arguments{negotiation: n})
	*pf0, *pf1, *pf2, *pf3 = C.ulong(n.Actions), C.ulong(n.Protocol), C.ulong(n.F2), C.ulong(n.F3)
	return C.sfsistat(status)
}

//export milterConnect
func milterConnect(c C.struct_milter_caller, host *C.char, sockaddr *C.struct_sockaddr) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepConnect, arguments{text: C.GoString(host), addr: netAddr(sockaddr)}))
}

//export milterUnknown
func milterUnknown(c C.struct_milter_caller, command *C.milter_const_char, length C.size_t) C.sfsistat {
	text := string(unsafe.Slice((*byte)(unsafe.Pointer(command)), length))
	return C.sfsistat(call(callerOf(c), stepUnknown, arguments{text: text}))
}

//export milterHelo
func milterHelo(c C.struct_milter_caller, identity *C.char) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepHelo, arguments{text: C.GoString(identity)}))
}

//export milterMailFrom
func milterMailFrom(c C.struct_milter_caller, argv **C.char) C.sfsistat {
	address, args := envelope(argv)
	return C.sfsistat(call(callerOf(c), stepMailFrom, arguments{text: address, list: args}))
}

//export milterRcptTo
func milterRcptTo(c C.struct_milter_caller, argv **C.char) C.sfsistat {
	address, args := envelope(argv)
	return C.sfsistat(call(callerOf(c), stepRcptTo, arguments{text: address, list: args}))
}

//export milterData
func milterData(c C.struct_milter_caller) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepData, arguments{}))
}

//export milterHeader
func milterHeader(c C.struct_milter_caller, name, value *C.char) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepHeader, arguments{text: C.GoString(name), value: C.GoString(value)}))
}

//export milterEOH
func milterEOH(c C.struct_milter_caller) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepEOH, arguments{}))
}

//export milterSegment
func milterSegment(c C.struct_milter_caller, segment *C.uchar, length C.size_t) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepSegment, arguments{segment: unsafe.Slice((*byte)(segment), length)}))
}

//export milterEOM
func milterEOM(c C.struct_milter_caller) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepEOM, arguments{}))
}

//export milterAbort
func milterAbort(c C.struct_milter_caller) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepAbort, arguments{}))
}

//export milterClose
func milterClose(c C.struct_milter_caller) C.sfsistat {
	return C.sfsistat(call(callerOf(c), stepClose, arguments{}))
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

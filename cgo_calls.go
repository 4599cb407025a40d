//go:build cgo

package milter

/*
#cgo CFLAGS: -Werror=implicit-function-declaration -Werror=incompatible-pointer-types
#cgo freebsd CFLAGS: -I/usr/local/include
#cgo freebsd LDFLAGS: -L/usr/local/lib
#cgo LDFLAGS: -lmilter -lpthread
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>
#include "bridge.h"

#cgo nocallback smfi_getsymval
#cgo noescape smfi_getsymval
#cgo nocallback smfi_setreply
#cgo noescape smfi_setreply
#cgo nocallback milter_setmlreply
#cgo noescape milter_setmlreply
#cgo nocallback smfi_setsymlist
#cgo noescape smfi_setsymlist
#cgo nocallback smfi_setpriv
#cgo nocallback smfi_addheader
#cgo noescape smfi_addheader
#cgo nocallback smfi_insheader
#cgo noescape smfi_insheader
#cgo nocallback smfi_chgheader
#cgo noescape smfi_chgheader
#cgo nocallback smfi_chgfrom
#cgo noescape smfi_chgfrom
#cgo nocallback smfi_addrcpt
#cgo noescape smfi_addrcpt
#cgo nocallback smfi_addrcpt_par
#cgo noescape smfi_addrcpt_par
#cgo nocallback smfi_delrcpt
#cgo noescape smfi_delrcpt
#cgo nocallback smfi_replacebody
#cgo noescape smfi_replacebody
#cgo nocallback smfi_quarantine
#cgo noescape smfi_quarantine
#cgo nocallback smfi_progress
#cgo noescape smfi_progress
*/
import "C"

import (
	"errors"
	"io/fs"
	"syscall"
	"unsafe"
)

// This file is the way from Go to C: a thin function for each smfi_* call, without checks of its own.

// smfictx is libmilter's connection: SMFICTX *.
type smfictx = *C.SMFICTX

// defaultBacklog is what libmilter uses unless smfi_setbacklog says otherwise.
const defaultBacklog = C.SOMAXCONN

// maxReplyLines is how many lines smfi_setmlreply takes.
const maxReplyLines = C.MILTER_MAX_REPLY_LINES

// Version is smfi_version: the version of the libmilter that is loaded. It may be called at any time.
//
// Source: smfi_version.html.
func Version() (major, minor, patch uint) {
	var a, b, c C.uint
	C.smfi_version(&a, &b, &c)
	return uint(a), uint(b), uint(c)
}

// errFailure is MI_FAILURE that left no errno.
var errFailure = errors.New("MI_FAILURE")

// smfiError makes an error of what a libmilter function returned. errno may be one that an earlier call left: it says
// something only where the caller knows that a system call failed.
func smfiError(ret C.int, errno error) error {
	switch {
	case ret == C.MI_SUCCESS:
		return nil
	case errno == nil:
		return errFailure
	}
	return errno
}

// cText is a buffer for the texts of one call, which C gets with a NUL behind each. It grows to what is needed and is
// used again, so that a call allocates nothing.
type cText []byte

func (b *cText) set(texts ...string) {
	*b = (*b)[:0]
	for _, text := range texts {
		*b = append(append(*b, text...), 0)
	}
}

func (b cText) at(offset int) *C.char { return (*C.char)(unsafe.Pointer(&b[offset])) }

// one gives C the text.
func (b *cText) one(text string) *C.char {
	b.set(text)
	return b.at(0)
}

// two gives C both texts.
func (b *cText) two(first, second string) (*C.char, *C.char) {
	b.set(first, second)
	return b.at(0), b.at(len(first) + 1)
}

// orNull gives NULL in place of p if text is empty.
func orNull(p *C.char, text string) *C.char {
	if text == "" {
		return nil
	}
	return p
}

func smfiGetsymval(ctx smfictx, b *cText, name string) (string, bool) {
	value := C.smfi_getsymval(ctx, b.one(name))
	return C.GoString(value), value != nil
}

func smfiSetreply(ctx smfictx, b *cText, rcode, xcode, message string) error {
	b.set(rcode, xcode, message)
	xcodeAt := len(rcode) + 1
	messageAt := xcodeAt + len(xcode) + 1
	ret, errno := C.smfi_setreply(ctx, b.at(0), orNull(b.at(xcodeAt), xcode), orNull(b.at(messageAt), message))
	return smfiError(ret, errno)
}

func smfiSetmlreply(ctx smfictx, b *cText, rcode, xcode string, lines []string) error {
	b.set(rcode, xcode)
	for _, line := range lines {
		*b = append(append(*b, line...), 0)
	}
	xcodeAt := len(rcode) + 1
	linesAt := xcodeAt + len(xcode) + 1
	ret, errno := C.milter_setmlreply(ctx, b.at(0), orNull(b.at(xcodeAt), xcode), b.at(linesAt), C.int(len(lines)))
	return smfiError(ret, errno)
}

func smfiSetsymlist(ctx smfictx, b *cText, stage Stage, macros string) error {
	ret, errno := C.smfi_setsymlist(ctx, C.int(stage), b.one(macros))
	return smfiError(ret, errno)
}

// csession is what C keeps of a session.
type csession = *C.struct_milter_session

// newCSession makes it, all 0; nil if there is no memory. C frees it after xxfi_close.
func newCSession(handle unsafe.Pointer) csession {
	shim := (csession)(C.calloc(1, C.sizeof_struct_milter_session))
	if shim != nil {
		shim.handle = handle
	}
	return shim
}

// freeCSession frees one that C was not given.
func freeCSession(shim csession) { C.milter_session_free(shim) }

// instruct tells C what to do with the session's steps.
func (s *Session) instruct() {
	s.shim.callbacks = C.uint(s.filter.set)
	s.shim.protocol = C.ulong(s.terms.protocol)
	s.shim.rules = s.filter.rules
}

// smfiSetpriv keeps the session on the connection.
func smfiSetpriv(ctx smfictx, shim csession) { C.smfi_setpriv(ctx, unsafe.Pointer(shim)) }

func smfiAddheader(ctx smfictx, b *cText, name, value string) error {
	n, v := b.two(name, value)
	ret, errno := C.smfi_addheader(ctx, n, v)
	return smfiError(ret, errno)
}

func smfiInsheader(ctx smfictx, b *cText, index int, name, value string) error {
	n, v := b.two(name, value)
	ret, errno := C.smfi_insheader(ctx, C.int(index), n, v)
	return smfiError(ret, errno)
}

func smfiChgheader(ctx smfictx, b *cText, name string, index int, value string) error {
	n, v := b.two(name, value)
	ret, errno := C.smfi_chgheader(ctx, n, C.int(index), orNull(v, value))
	return smfiError(ret, errno)
}

func smfiChgfrom(ctx smfictx, b *cText, address, args string) error {
	f, a := b.two(address, args)
	ret, errno := C.smfi_chgfrom(ctx, f, orNull(a, args))
	return smfiError(ret, errno)
}

func smfiAddrcpt(ctx smfictx, b *cText, address string) error {
	ret, errno := C.smfi_addrcpt(ctx, b.one(address))
	return smfiError(ret, errno)
}

func smfiAddrcptPar(ctx smfictx, b *cText, address, args string) error {
	r, a := b.two(address, args)
	ret, errno := C.smfi_addrcpt_par(ctx, r, orNull(a, args))
	return smfiError(ret, errno)
}

func smfiDelrcpt(ctx smfictx, b *cText, address string) error {
	ret, errno := C.smfi_delrcpt(ctx, b.one(address))
	return smfiError(ret, errno)
}

// smfiReplacebody sends segment, of at most math.MaxInt32 bytes.
func smfiReplacebody(ctx smfictx, segment []byte) error {
	if len(segment) == 0 {
		ret, errno := C.smfi_replacebody(ctx, nil, 0)
		return smfiError(ret, errno)
	}
	ret, errno := C.smfi_replacebody(ctx, (*C.uchar)(unsafe.Pointer(&segment[0])), C.int(len(segment)))
	return smfiError(ret, errno)
}

func smfiQuarantine(ctx smfictx, b *cText, reason string) error {
	ret, errno := C.smfi_quarantine(ctx, b.one(reason))
	return smfiError(ret, errno)
}

func smfiProgress(ctx smfictx) error {
	ret, errno := C.smfi_progress(ctx)
	return smfiError(ret, errno)
}

// The functions of the process, not of a connection.

func smfiRegister(name string, actions Action, registered callbacks) error {
	var b cText
	ret, errno := C.milter_register(b.one(name), C.ulong(actions), C.uint(registered))
	return smfiError(ret, errno)
}

func smfiSetconn(addr string) error {
	var b cText
	ret, errno := C.smfi_setconn(b.one(addr))
	return smfiError(ret, errno)
}

func smfiOpensocket() error {
	ret, errno := C.smfi_opensocket(false)
	return smfiError(ret, errno)
}

func smfiSetbacklog(backlog int) error {
	ret, errno := C.smfi_setbacklog(C.int(backlog))
	return smfiError(ret, errno)
}

func smfiSettimeout(seconds int) { C.smfi_settimeout(C.int(seconds)) }

func smfiSetdbg(level int) { C.milter_setdbg(C.int(level)) }

// smfiSetmaxdatasize sets the size and gives the old one.
func smfiSetmaxdatasize(size int) int { return int(C.smfi_setmaxdatasize(C.size_t(size))) }

// smfiMain serves until smfi_stop. It blocks SIGHUP, SIGTERM and SIGINT on the thread it runs on.
func smfiMain() error {
	ret, errno := C.smfi_main()
	return smfiError(ret, errno)
}

func smfiStop() { C.smfi_stop() }

// bindUnix binds the socket to the path with these permissions, whatever the umask.
func bindUnix(fd int, path string, mode fs.FileMode) error {
	var b cText
	if errno := C.milter_bind(C.int(fd), b.one(path), C.mode_t(mode)); errno != 0 {
		return syscall.Errno(errno)
	}
	return nil
}

// replaceDescriptor makes the descriptor to another one of what from is, closed on exec.
func replaceDescriptor(from, to int) error {
	if ret, errno := C.dup3(C.int(from), C.int(to), C.O_CLOEXEC); ret < 0 {
		return errno
	}
	return nil
}

func onMainThread() bool { return bool(C.milter_on_main_thread()) }

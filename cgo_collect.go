//go:build cgo

package milter

/*
#include <stdlib.h>
#include "bridge.h"
*/
import "C"

import (
	"cmp"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// This file reads what collect.c has collected.

// crules is what bounds the collecting of a filter's mails.
type crules = *C.struct_milter_rules

// bodyInMemory is the most of a body that stays in memory, in bytes.
const bodyInMemory = C.MILTER_BODY_IN_MEMORY

// rules makes C's rules of the server's fields, nil if there is nothing to collect. They are never freed: a mail may be open
// as long as the process lives.
func (srv *Server) rules() crules {
	if srv.Callbacks.Message == nil {
		return nil
	}
	l := srv.Limits
	rules := (crules)(C.malloc(C.sizeof_struct_milter_rules))
	*rules = C.struct_milter_rules{
		header_fields: C.size_t(cmp.Or(l.HeaderFields, defaultLimits.HeaderFields)),
		header_bytes:  C.size_t(cmp.Or(l.HeaderBytes, defaultLimits.HeaderBytes)),
		rcpts:         C.size_t(cmp.Or(l.Rcpts, defaultLimits.Rcpts)),
		body:          C.size_t(min(max(cmp.Or(srv.MaxBody, defaultMaxBody), 0), math.MaxInt)), // NoBody is none
		memory:        C.size_t(cmp.Or(l.Memory, defaultLimits.Memory)),
		temp_dir:      C.CString(cmp.Or(srv.TempDir, os.TempDir())),
	}
	return rules
}

// checkTempDir finds out now whether bodies can be kept in files, if there will be any.
func (srv *Server) checkTempDir() error {
	most := cmp.Or(srv.MaxBody, defaultMaxBody)
	if srv.Callbacks.Message == nil || most <= C.MILTER_BODY_IN_MEMORY {
		return nil
	}
	dir := cmp.Or(srv.TempDir, os.TempDir())
	var b cText
	if errno := C.milter_collect_try(b.one(dir)); errno != 0 {
		return fmt.Errorf("TempDir %q cannot take a file: %w: bodies over 256 KiB are kept there, "+
			"name another folder or set MaxBody to less", dir, syscall.Errno(errno))
	}
	return nil
}

// mail is what was collected, copied out of C, but for a body that is in a file.
type mail struct {
	texts         string // see collect.h
	rcpts, fields int
	truncated     bool
	body          []byte
	buffer        *[]byte       // what body is in, one of bodyBuffers
	mapped        *mappedBodies // body is a file's mapping, one of these; nil: it is in a buffer
}

// bodyBuffers are for bodies in memory, one mail after the other: new ones would keep the garbage collector busy, which is
// felt in the slowest percent of mails.
var bodyBuffers = sync.Pool{New: func() any { return new([]byte) }}

// release gives the body back.
func (m *mail) release() {
	if m.mapped == nil {
		bodyBuffers.Put(m.buffer)
		return
	}
	_ = syscall.Munmap(m.body)
	m.mapped.leave(len(m.body))
}

// collected gives the mail that was collected, or why it was not.
func (s *Session) collected() (mail, error) {
	c, rules := &s.shim.mail, s.filter.rules
	switch c.failure {
	case C.MILTER_OK:
	case C.MILTER_HEADER_FIELDS:
		return mail{}, exceeded("HeaderFields", rules.header_fields)
	case C.MILTER_HEADER_BYTES:
		return mail{}, exceeded("HeaderBytes", rules.header_bytes)
	case C.MILTER_RCPTS:
		return mail{}, exceeded("Rcpts", rules.rcpts)
	case C.MILTER_MEMORY:
		return mail{}, exceeded("Memory", rules.memory)
	case C.MILTER_FILE:
		return mail{}, fmt.Errorf("keeping the body in a file in %s: %w", C.GoString(rules.temp_dir), syscall.Errno(c.error))
	}
	m := mail{
		texts:     C.GoStringN(c.texts.at, C.int(c.texts.length)),
		rcpts:     int(c.rcpts),
		fields:    int(c.fields),
		truncated: bool(c.truncated),
	}
	if !c.body_in_file {
		m.buffer = bodyBuffers.Get().(*[]byte)
		*m.buffer = append((*m.buffer)[:0], unsafe.Slice((*byte)(unsafe.Pointer(c.body)), c.body_length)...)
		m.body = *m.buffer
		return m, nil
	}
	s.filter.mapped.enter(int(c.body_length))
	// Private and writable, as a body in memory is: what a handler writes there is its own.
	body, err := syscall.Mmap(int(c.file), 0, int(c.body_length), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_PRIVATE)
	if err != nil {
		s.filter.mapped.leave(int(c.body_length))
		return mail{}, fmt.Errorf("mapping the body's file, %d bytes: %w", c.body_length, err)
	}
	m.body, m.mapped = body, s.filter.mapped
	return m, nil
}

// origin is who sends a session's mails. It is copied when it has changed.
type origin struct {
	version    C.uint
	host, helo string
	addr       net.Addr
}

func (s *Session) collectedOrigin() *origin {
	c, o := s.shim, &s.origin
	if o.version != c.origin {
		*o = origin{c.origin, collectedText(&c.host), collectedText(&c.helo), nil}
		o.addr = netAddr((*C.struct_sockaddr)(unsafe.Pointer(&c.addr)))
	}
	return o
}

// collectedText gives a text that stands alone, without its kind and its NUL.
func collectedText(t *C.struct_milter_texts) string {
	if t.length == 0 {
		return ""
	}
	return C.GoStringN((*C.char)(unsafe.Add(unsafe.Pointer(t.at), 1)), C.int(t.length-2))
}

// The kinds of texts in a mail.
const (
	textFrom  = C.MILTER_TEXT_FROM
	textRcpt  = C.MILTER_TEXT_RCPT
	textArg   = C.MILTER_TEXT_ARG
	textName  = C.MILTER_TEXT_NAME
	textValue = C.MILTER_TEXT_VALUE
)

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"github.com/libmilter/go-libmilter/miltertest"
)

// hint tells what to do about an error of the filter's connection; "" if there is nothing to tell.
func hint(opt *options, err error) string {
	step, _ := stepOf(err)
	switch {
	case step == "Dial" && errors.Is(err, fs.ErrNotExist):
		return "There is no such socket: does the filter run, and does it listen on this path?"
	case step == "Dial" && errors.Is(err, syscall.ECONNREFUSED):
		return "Nothing listens there: does the filter run, and does it listen on this address?"
	case step == "Dial" && errors.Is(err, fs.ErrPermission):
		return "Only those who may write to the socket can connect to it: see Server.SocketMode."
	case step == "Dial" && errors.Is(err, syscall.EAGAIN):
		return "The filter is behind with accepting connections: take a smaller -c, or see Server.Backlog."
	case step == "Negotiate" && errors.Is(err, io.EOF):
		return "A filter closes the connection here if the MTA offers less than it needs. Its log may say what that is." + opt.notOffered()
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fmt.Sprintf("It may take %v for a packet (-timeout) and %v for a step (-limit).", opt.mta.Timeout, opt.mta.Limit)
	}
	return ""
}

// notOffered tells what an MTA of today offers and this one does not.
func (opt *options) notOffered() string {
	full := miltertest.Postfix()
	missing := append(bitNames(full.Actions&^opt.mta.Actions), bitNames(full.Protocol&^opt.mta.Protocol)...)
	if len(missing) == 0 {
		return ""
	}
	return fmt.Sprintf(" Offered is version %d, without %s.", opt.mta.Version, strings.Join(missing, "|"))
}

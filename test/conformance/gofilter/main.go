//go:build cgo

// Gofilter is cfilter on the Go binding: given the same bytes, the two must answer with the same bytes. cfilter/filter.c
// says what the filter does.
//
//	gofilter ADDR SEED ACTIONS CALLBACKS TRACE FAULT
//
// The arguments are cfilter's, and FAULT is the number, from 1, of the callback that is to go wrong: the comparison must find
// it. 0 is none.
package main

/*
#include <syslog.h>

// libmilter has much to say about such sessions.
static void be_quiet(void) { setlogmask(LOG_MASK(LOG_EMERG)); }
*/
import "C"

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"

	milter "github.com/libmilter/go-libmilter"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "gofilter:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 6 {
		return fmt.Errorf("%d arguments, want ADDR SEED ACTIONS CALLBACKS TRACE FAULT", len(args))
	}
	srv := &milter.Server{Addr: args[0], Name: "conformance", Logger: slog.New(slog.DiscardHandler)}
	var err error
	if settings.seed, err = strconv.ParseUint(args[1], 10, 64); err != nil {
		return fmt.Errorf("SEED: %w", err)
	}
	actions, err := strconv.ParseUint(args[2], 16, 32)
	if err != nil {
		return fmt.Errorf("ACTIONS: %w", err)
	}
	srv.Actions = milter.Action(actions)
	if srv.Callbacks, err = callbacks(args[3]); err != nil {
		return err
	}
	settings.trace = args[4] == "1"
	if settings.fault, err = strconv.Atoi(args[5]); err != nil {
		return fmt.Errorf("FAULT: %w", err)
	}
	negotiates = srv.Callbacks.Negotiate != nil
	C.be_quiet()
	go endWithInput()
	return srv.ListenAndServe()
}

// endWithInput ends the filter when its standard input does.
func endWithInput() {
	_, _ = io.Copy(io.Discard, os.Stdin)
	os.Exit(3)
}

// callbacks gives those named in list.
func callbacks(list string) (cb milter.Callbacks, err error) {
	for name := range strings.SplitSeq(list, ",") {
		switch name {
		case "": // strtok, too, skips it
		case "negotiate":
			cb.Negotiate = onNegotiate
		case "connect":
			cb.Connect = onConnect
		case "unknown":
			cb.Unknown = onUnknown
		case "helo":
			cb.Helo = onHelo
		case "envfrom":
			cb.MailFrom = onEnvFrom
		case "envrcpt":
			cb.RcptTo = onEnvRcpt
		case "data":
			cb.Data = onData
		case "header":
			cb.Header = onHeader
		case "eoh":
			cb.EOH = onEOH
		case "body":
			cb.Segment = onBody
		case "eom":
			cb.EOM = onEOM
		case "abort":
			cb.Abort = onAbort
		case "close":
			cb.Close = onClose
		case "message":
			cb.Message = onMessage
			cb.Close = onMessageClose
		default:
			return cb, fmt.Errorf("no callback is called %s", name)
		}
	}
	return cb, nil
}

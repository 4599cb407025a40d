// Log is a filter that changes nothing and prints every event, with the number of its session and all its arguments.
//
//	log -addr unix:/run/log.sock
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

func main() {
	addr := flag.String("addr", "inet:8890@127.0.0.1", "where the MTA finds the filter, as smfi_setconn takes it")
	drain := flag.Duration("drain", 30*time.Second, "how long open sessions may go on after SIGTERM or SIGINT")
	flag.Parse()

	if err := run(*addr, *drain); err != nil {
		fmt.Fprintln(os.Stderr, "log:", err)
		os.Exit(1)
	}
}

// run serves until a signal comes, then lets the open sessions end.
func run(addr string, drain time.Duration) error {
	srv := &milter.Server{Addr: addr, RemoveSocket: true, Callbacks: logTo(os.Stdout)}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	down := make(chan error, 1)
	go func() {
		<-ctx.Done()
		ctx, cancel := context.WithTimeout(context.Background(), drain)
		defer cancel()
		down <- srv.Shutdown(ctx)
	}()

	if err := srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	return <-down
}

// logTo gives a callback set that writes each event to w, a line each, and lets everything pass.
func logTo(w io.Writer) milter.Callbacks {
	event := func(s *milter.Session, format string, args ...any) milter.Status {
		fmt.Fprintf(w, "session %d: "+format+"\n", append([]any{s.ID()}, args...)...)
		return milter.SMFIS_CONTINUE
	}
	return milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
			event(s, "negotiate: MTA offers %v and %v", n.OfferedActions, n.OfferedProtocol)
			return milter.SMFIS_ALL_OPTS
		},
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			if addr == nil {
				return event(s, "connect: %q, address unknown", host)
			}
			return event(s, "connect: %q at %v", host, addr)
		},
		Unknown: func(s *milter.Session, command string) milter.Status {
			return event(s, "unknown: %q", command)
		},
		Helo: func(s *milter.Session, identity string) milter.Status {
			return event(s, "helo: %q", identity)
		},
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
			return event(s, "mailfrom: %q %q", address, args)
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			return event(s, "rcptto: %q %q", address, args)
		},
		Data: func(s *milter.Session) milter.Status {
			return event(s, "data")
		},
		Header: func(s *milter.Session, name, value string) milter.Status {
			return event(s, "header: %q: %q", name, value)
		},
		EOH: func(s *milter.Session) milter.Status {
			return event(s, "eoh")
		},
		Segment: func(s *milter.Session, segment []byte) milter.Status {
			return event(s, "segment: %d bytes, beginning with %.60q", len(segment), segment)
		},
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			queueID, _ := s.Macro("i")
			return event(s, "eom: queue id %q", queueID)
		},
		Abort: func(s *milter.Session) {
			event(s, "abort")
		},
		Close: func(s *milter.Session) {
			event(s, "close")
		},
	}
}

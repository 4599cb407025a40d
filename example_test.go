//go:build cgo

package milter_test

import (
	"context"
	"errors"
	"log"
	"os/signal"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

func Example() {
	srv := &milter.Server{
		Addr:    "inet:8890@127.0.0.1",
		Actions: milter.SMFIF_ADDHDRS,
		Callbacks: milter.Callbacks{
			RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
				if (milter.Path{Address: address}).Is("sales@example.com") { // however the client spells it
					return s.Reply(550, "5.7.1", "We do not take mail for sales any more.")
				}
				return milter.SMFIS_CONTINUE
			},
			EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
				if err := m.AddHeader("X-Filtered", "yes"); err != nil {
					log.Print(err)
					return milter.SMFIS_TEMPFAIL
				}
				return milter.SMFIS_CONTINUE
			},
		},
	}

	// SIGTERM or SIGINT: open sessions may go on for 30 seconds.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	done := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(done)
		drain, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := srv.Shutdown(drain); err != nil {
			log.Print(err)
		}
	})

	if err := srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
		log.Fatal(err)
	}
	<-done
}

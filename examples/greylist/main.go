// Greylist is a filter that turns a first delivery attempt away for some minutes: mail servers try again, most senders of
// spam do not. What it has seen is in Redis, so that any number of filters agree.
//
//	greylist -addr inet:8890@127.0.0.1 -redis redis://127.0.0.1:6379/0 -http 127.0.0.1:9090
//
// Each flag can be set by an environment variable too, -store-down by GREYLIST_STORE_DOWN. docs/scaling.md says how it
// runs on more than one machine.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"

	milter "github.com/libmilter/go-libmilter"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()

	switch err := run(ctx, os.Args[1:], os.LookupEnv, os.Stderr); {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "greylist:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends, then lets the open sessions end.
func run(ctx context.Context, args []string, lookup lookupFunc, logs io.Writer) error {
	cfg, err := parse(args, lookup, logs)
	if err != nil {
		return err
	}
	client, err := newClient(cfg)
	if err != nil {
		return err
	}
	defer client.Close()

	logger := slog.New(slog.NewJSONHandler(logs, &slog.HandlerOptions{Level: cfg.logLevel}))
	redis.SetLogger(redisLog{logger})
	m := newMetrics()
	f := &filter{
		cfg:     cfg,
		store:   newGuard(&store{client: client, cfg: cfg}, cfg, m, logger),
		now:     time.Now,
		metrics: m,
		logger:  logger,
	}
	p := &program{cfg: cfg, logger: logger, metrics: m, srv: f.server()}
	m.observe(p.srv)
	return p.serve(ctx)
}

// program is the filter's server and the HTTP listener beside it.
type program struct {
	cfg     *config
	logger  *slog.Logger
	metrics *metrics
	srv     *milter.Server
	ready   atomic.Bool // new mail may come
}

// serve runs both until ctx ends. The HTTP listener outlives the filter, to be asked during the drain.
func (p *program) serve(ctx context.Context) error {
	stopHTTP, err := p.serveHTTP()
	if err != nil {
		return err
	}
	defer stopHTTP()

	drained := make(chan error, 1)
	go func() {
		<-ctx.Done()
		drained <- p.drain()
	}()

	p.logger.Info("serving", "addr", p.cfg.addr, "http", p.cfg.http, "delay", p.cfg.delay.String())
	p.ready.Store(true) // a socket that cannot be opened ends the program
	if err := p.srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
		return err
	}
	return <-drained
}

// drain says first that no new mail should come, gives those who balance time to see it, which a second signal ends, and then
// waits for open sessions.
func (p *program) drain() error {
	again, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	p.ready.Store(false)
	p.logger.Info("draining", "delay", p.cfg.drainDelay.String(), "sessions", p.srv.Stats().SessionsOpen)
	select {
	case <-time.After(p.cfg.drainDelay):
	case <-again.Done():
	}

	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.drain)
	defer cancel()
	err := p.srv.Shutdown(ctx)
	p.logger.Info("stopped", "cut_off", p.srv.Stats().SessionsCutOff)
	return err
}

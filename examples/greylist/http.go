package main

import (
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// serveHTTP begins to listen, if that is wanted, and gives what stops it.
func (p *program) serveHTTP() (stop func(), err error) {
	if p.cfg.http == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", p.cfg.http)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{
		Handler:           p.handler(),
		ReadHeaderTimeout: 5 * time.Second,
		ErrorLog:          slog.NewLogLogger(p.logger.Handler(), slog.LevelWarn),
	}
	go func() {
		if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			p.logger.Error("http", "error", err.Error())
		}
	}()
	return func() { _ = srv.Close() }, nil
}

// handler answers without a connection to the filter's own socket: a probe is no session.
func (p *program) handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", p.readyz)
	return mux
}

// readyz tells whether new mail may come. The store is not asked: all filters would be taken out of service with it, and
// mail would wait for them, where the configured policy is to say what happens.
func (p *program) readyz(w http.ResponseWriter, _ *http.Request) {
	if !p.ready.Load() {
		http.Error(w, "not ready", http.StatusServiceUnavailable)
		return
	}
	_, _ = io.WriteString(w, "ready\n")
}

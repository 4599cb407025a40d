package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/sony/gobreaker/v2"
)

// The breaker: after so many failures in a row the store is left alone for a while, and then asked by one decision at a time.
const (
	failuresToOpen = 5
	breakFor       = 5 * time.Second
)

// guard bounds what a decision may cost: in time, and, while the store is down, in callbacks that wait for it.
type guard struct {
	store   decider
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[decision]
	metrics *metrics
}

func newGuard(s decider, cfg *config, m *metrics, logger *slog.Logger) *guard {
	return &guard{
		store:   s,
		timeout: cfg.storeTimeout,
		metrics: m,
		breaker: gobreaker.NewCircuitBreaker[decision](gobreaker.Settings{
			Name:        "store",
			Timeout:     breakFor,
			ReadyToTrip: func(counts gobreaker.Counts) bool { return counts.ConsecutiveFailures >= failuresToOpen },
			// A session that ended while its decision was made says nothing about the store.
			IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
			OnStateChange: func(_ string, from, to gobreaker.State) {
				logger.Warn("store", "breaker", to.String(), "was", from.String())
				m.breakerOpen(to != gobreaker.StateClosed)
			},
		}),
	}
}

func (g *guard) decide(ctx context.Context, t triplet, now time.Time) (decision, error) {
	return g.breaker.Execute(func() (decision, error) {
		ctx, cancel := context.WithTimeout(ctx, g.timeout)
		defer cancel()
		began := time.Now()
		d, err := g.store.decide(ctx, t, now)
		g.metrics.storeAsked(time.Since(began), err)
		return d, err
	})
}

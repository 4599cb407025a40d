package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
)

// deciderFunc is a store that a test makes up.
type deciderFunc func(ctx context.Context) error

func (f deciderFunc) decide(ctx context.Context, _ triplet, _ time.Time) (decision, error) {
	return decision{verdict: known}, f(ctx)
}

func guarded(t *testing.T, store deciderFunc) *guard {
	t.Helper()
	return newGuard(store, mustParse(t), newMetrics(), slog.New(slog.NewTextHandler(io.Discard, nil)))
}

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		asked, down := 0, errors.New("down")
		g := guarded(t, func(context.Context) error { asked++; return down })
		ask := func() error {
			_, err := g.decide(t.Context(), aTriplet, time.Now())
			return err
		}

		for range failuresToOpen {
			require.ErrorIs(t, ask(), down)
		}
		require.ErrorIs(t, ask(), gobreaker.ErrOpenState)
		require.Equal(t, failuresToOpen, asked)
		require.Equal(t, 1.0, testutil.ToFloat64(g.metrics.breaker))

		time.Sleep(breakFor + time.Millisecond) // the bubble's time
		require.ErrorIs(t, ask(), down, "one is let through")
		require.ErrorIs(t, ask(), gobreaker.ErrOpenState)

		time.Sleep(breakFor + time.Millisecond)
		down = nil
		require.NoError(t, ask())
		require.NoError(t, ask())
		require.Equal(t, 0.0, testutil.ToFloat64(g.metrics.breaker))
	})
}

func TestDecisionHasADeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guarded(t, func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() })
		began := time.Now()
		_, err := g.decide(t.Context(), aTriplet, began)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, g.timeout, time.Since(began))
	})
}

// Sessions that end while they wait do not open the breaker.
func TestEndedSessionsAreNoFailures(t *testing.T) {
	g := guarded(t, func(ctx context.Context) error { return ctx.Err() })
	ended, end := context.WithCancel(t.Context())
	end()
	for range 2 * failuresToOpen {
		_, err := g.decide(ended, aTriplet, time.Now())
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err := g.decide(t.Context(), aTriplet, time.Now())
	require.NoError(t, err)
}

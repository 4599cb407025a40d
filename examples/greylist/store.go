package main

import (
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// verdict is what the store says about a triplet.
type verdict string

const (
	firstSeen verdict = "first_seen" // nobody has seen it, or too long ago
	early     verdict = "early"      // it has come again, too soon
	retried   verdict = "retried"    // it has come again, in time: known from now on
	known     verdict = "known"      // it has passed before
)

// decision is a verdict and how long the client is to wait.
type decision struct {
	verdict verdict
	wait    time.Duration
}

// decider decides about triplets.
type decider interface {
	decide(ctx context.Context, t triplet, now time.Time) (decision, error)
}

//go:embed decide.lua
var decideLua string

var decideScript = redis.NewScript(decideLua)

// store is Redis. A decision is one key and one script, so that a Redis Cluster can hold the keys too.
type store struct {
	client redis.UniversalClient
	cfg    *config
}

// newClient gives a client that gives up when a decision's time is over. It connects when it is first used.
func newClient(cfg *config) (redis.UniversalClient, error) {
	noNotices := &maintnotifications.Config{Mode: maintnotifications.ModeDisabled} // of hosted Redis: a question for each connection
	if cfg.redisCluster {
		options, err := redis.ParseClusterURL(cfg.redis)
		if err != nil {
			return nil, fmt.Errorf("-redis: %w", err)
		}
		options.ContextTimeoutEnabled, options.DialTimeout, options.DialerRetries = true, cfg.storeTimeout, 1
		options.DisableIdentity, options.MaintNotificationsConfig = true, noNotices
		return redis.NewClusterClient(options), nil
	}
	options, err := redis.ParseURL(cfg.redis)
	if err != nil {
		return nil, fmt.Errorf("-redis: %w", err)
	}
	options.ContextTimeoutEnabled, options.DialTimeout, options.DialerRetries = true, cfg.storeTimeout, 1
	options.DisableIdentity, options.MaintNotificationsConfig = true, noNotices
	return redis.NewClient(options), nil
}

// decide runs the script. When ctx ends, so does it.
func (s *store) decide(ctx context.Context, t triplet, now time.Time) (decision, error) {
	keys := []string{s.cfg.prefix + t.key()}
	reply, err := decideScript.Run(ctx, s.client, keys, now.UnixMilli(), s.cfg.delay.Milliseconds(),
		s.cfg.retryWindow.Milliseconds(), s.cfg.lifetime.Milliseconds()).Slice()
	if err != nil {
		return decision{}, err
	}
	return parseDecision(reply)
}

func parseDecision(reply []any) (decision, error) {
	if len(reply) == 2 {
		name, isText := reply[0].(string)
		wait, isNumber := reply[1].(int64)
		if isText && isNumber {
			return decision{verdict(name), time.Duration(wait) * time.Millisecond}, nil
		}
	}
	return decision{}, fmt.Errorf("the script replied %v", reply)
}

// redisLog is where go-redis writes what it has to say about its connections. What comes of it is in the decision's error.
type redisLog struct{ logger *slog.Logger }

// Printf is redis.SetLogger's interface.
func (l redisLog) Printf(ctx context.Context, format string, args ...any) {
	l.logger.DebugContext(ctx, fmt.Sprintf(format, args...))
}

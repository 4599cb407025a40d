package main

import (
	"context"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

var aTriplet = triplet{network: "192.0.2.0/24", sender: "a@example.org", recipient: "b@example.com"}

// openStore gives a store as a filter has it: with a client of its own.
func openStore(t *testing.T, r *redisServer, args ...string) *store {
	t.Helper()
	cfg := mustParse(t, append([]string{"-redis", r.url, "-store-timeout", "20s"}, args...)...)
	client, err := newClient(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	return &store{client: client, cfg: cfg}
}

func TestLifeOfATriplet(t *testing.T) {
	r := startRedis(t)
	const day = 24 * time.Hour
	type attempt struct {
		after time.Duration // since the attempt before
		want  verdict
		wait  time.Duration
	}
	for name, attempts := range map[string][]attempt{
		"retry in time": {
			{0, firstSeen, 5 * time.Minute},
			{5 * time.Minute, retried, 0},
			{time.Second, known, 0},
		},
		"retries too soon do not count": {
			{0, firstSeen, 5 * time.Minute},
			{time.Minute, early, 4 * time.Minute},
			{time.Minute, early, 3 * time.Minute},
			{3*time.Minute - time.Millisecond, early, time.Millisecond},
			{time.Millisecond, retried, 0},
		},
		"last moment of the window": {
			{0, firstSeen, 5 * time.Minute},
			{2*day - time.Millisecond, retried, 0},
		},
		"retry too late": {
			{0, firstSeen, 5 * time.Minute},
			{2 * day, firstSeen, 5 * time.Minute},
			{5 * time.Minute, retried, 0},
		},
		"known for 36 days since the last mail": {
			{0, firstSeen, 5 * time.Minute},
			{time.Hour, retried, 0},
			{36*day - time.Millisecond, known, 0},
			{36*day - time.Millisecond, known, 0},
			{36 * day, firstSeen, 5 * time.Minute},
		},
		"a filter whose clock is behind": {
			{0, firstSeen, 5 * time.Minute},
			{-time.Minute, early, 5 * time.Minute},
			{6 * time.Minute, retried, 0},
			{-time.Minute, known, 0},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, clock := openStore(t, r, "-prefix", name+":"), newClock()
			for i, a := range attempts {
				clock.advance(a.after)
				d, err := s.decide(t.Context(), aTriplet, clock.now())
				require.NoError(t, err)
				require.Equal(t, decision{a.want, a.wait}, d, "attempt %d", i)
			}
		})
	}
}

// Redis forgets by itself what says no more.
func TestKeysExpire(t *testing.T) {
	r := startRedis(t)
	s, redis, clock := openStore(t, r), r.client(t), newClock()
	ttl := func() time.Duration { return redis.PTTL(t.Context(), "greylist:"+aTriplet.key()).Val() }

	_, err := s.decide(t.Context(), aTriplet, clock.now())
	require.NoError(t, err)
	require.InDelta(t, s.cfg.retryWindow, ttl(), float64(time.Minute))

	clock.advance(time.Minute)
	_, err = s.decide(t.Context(), aTriplet, clock.now())
	require.NoError(t, err)
	require.LessOrEqual(t, ttl(), s.cfg.retryWindow, "an early retry does not extend the window")

	clock.advance(time.Hour)
	_, err = s.decide(t.Context(), aTriplet, clock.now())
	require.NoError(t, err)
	require.InDelta(t, s.cfg.lifetime, ttl(), float64(time.Minute))
}

// Real time, and so short: what has expired is new again, without anybody's clock.
func TestRedisExpires(t *testing.T) {
	r := startRedis(t)
	s, clock := openStore(t, r, "-delay", "1ms", "-retry-window", "20ms"), newClock()
	for range 2 {
		d, err := s.decide(t.Context(), aTriplet, clock.now())
		require.NoError(t, err)
		require.Equal(t, firstSeen, d.verdict)
		require.True(t, harness.Poll(func() bool { return r.client(t).DBSize(t.Context()).Val() == 0 }))
	}
}

func TestForeignValueIsNew(t *testing.T) {
	r := startRedis(t)
	s := openStore(t, r)
	require.NoError(t, r.client(t).Set(t.Context(), "greylist:"+aTriplet.key(), "something else", 0).Err())
	d, err := s.decide(t.Context(), aTriplet, newClock().now())
	require.NoError(t, err)
	require.Equal(t, firstSeen, d.verdict)
}

func TestParseDecision(t *testing.T) {
	for _, reply := range [][]any{nil, {"known"}, {int64(1), int64(2)}, {"known", "0"}} {
		_, err := parseDecision(reply)
		require.ErrorContains(t, err, "the script replied")
	}
}

// Two filters, the same triplet, all at once: one of them is the first, whatever the order.
func TestFiltersAgree(t *testing.T) {
	r := startRedis(t)
	stores, clock := []*store{openStore(t, r), openStore(t, r)}, newClock()

	at := func(when time.Time) map[verdict]int {
		verdicts := make(chan verdict, 50)
		start := make(chan struct{})
		var asking sync.WaitGroup
		for i := range cap(verdicts) {
			asking.Go(func() {
				<-start
				d, err := stores[i%2].decide(context.Background(), aTriplet, when)
				if err != nil {
					t.Error(err)
				}
				verdicts <- d.verdict
			})
		}
		close(start)
		asking.Wait()
		close(verdicts)
		count := map[verdict]int{}
		for v := range verdicts {
			count[v]++
		}
		return count
	}

	require.Equal(t, map[verdict]int{firstSeen: 1, early: 49}, at(clock.now()))
	clock.advance(5 * time.Minute)
	require.Equal(t, map[verdict]int{retried: 1, known: 49}, at(clock.now()))
}

// A Redis that was restarted has lost its scripts: the first decision brings them along.
func TestScriptIsLoadedAgain(t *testing.T) {
	r := startRedis(t)
	s := openStore(t, r)
	for _, want := range []verdict{firstSeen, early} {
		require.NoError(t, r.client(t).ScriptFlush(t.Context()).Err())
		d, err := s.decide(t.Context(), aTriplet, newClock().now())
		require.NoError(t, err)
		require.Equal(t, want, d.verdict)
	}
}

func TestRedisCluster(t *testing.T) {
	r := startRedis(t, "--cluster-enabled", "yes")
	port := strings.TrimSuffix(r.url[strings.LastIndexByte(r.url, ':')+1:], "/0")
	out, err := exec.Command("redis-cli", "-p", port, "cluster", "addslotsrange", "0", "16383").CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.True(t, harness.Poll(func() bool {
		return strings.Contains(r.client(t).ClusterInfo(t.Context()).Val(), "cluster_state:ok")
	}))

	s := openStore(t, r, "-redis-cluster", "-redis", strings.TrimSuffix(r.url, "/0"))
	for _, want := range []verdict{firstSeen, early} {
		d, err := s.decide(t.Context(), aTriplet, newClock().now())
		require.NoError(t, err)
		require.Equal(t, want, d.verdict)
	}
}

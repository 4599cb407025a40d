package main

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
)

// behindPostfix is one filter behind a real Postfix.
type behindPostfix struct {
	t      *testing.T
	filter *process
	mta    *postfix.Server
	mails  []*testMail
}

func startBehindPostfix(t *testing.T, args ...string) *behindPostfix {
	t.Helper()
	filter := startProgram(t, args...)
	return &behindPostfix{t: t, filter: filter, mta: startPostfix(t, filter.hostPort())}
}

// outside is a client that no white list knows, and that Postfix knows no name of.
const outside = "ADDR=192.0.2.10 NAME=[UNAVAILABLE]"

// send sends a mail of its own triplet, or once more, for a client that xclient names. It gives the reply.
func (b *behindPostfix) send(m *testMail, xclient string) reply {
	b.t.Helper()
	session, err := openSMTP(b.mta.Addr(), xclient)
	require.NoError(b.t, err)
	defer session.Quit()
	a, err := m.sendOn(session)
	require.NoError(b.t, err)
	m.attempts = append(m.attempts, a)
	return a.reply
}

// mail gives a mail that is accounted for at the end.
func (b *behindPostfix) mail(id string) *testMail {
	m := &testMail{id: id}
	b.mails = append(b.mails, m)
	return m
}

// outcome requires what the filter has decided about a mail.
func (b *behindPostfix) outcome(m *testMail, want ...string) {
	b.t.Helper()
	require.Equal(b.t, want, b.filter.decidedAbout(m.recipient()))
}

// arrived requires that the mails that were accepted arrived, each once, and no others.
func (b *behindPostfix) arrived() {
	b.t.Helper()
	var accepted, delivered []string
	for _, m := range b.mails {
		if m.accepted() {
			accepted = append(accepted, m.id)
		}
	}
	require.True(b.t, harness.Poll(func() bool { return len(b.mta.Queued()) == 0 }))
	for _, mail := range b.mta.Delivered() {
		delivered = append(delivered, idOf(b.t, mail))
	}
	require.ElementsMatch(b.t, accepted, delivered)
}

func TestPostfixIsTold(t *testing.T) {
	const delay = 2 * time.Second
	b := startBehindPostfix(t, "-redis", startRedis(t).url, "-delay", delay.String(), "-store-timeout", "10s")
	m := b.mail("a")
	r := b.send(m, outside)
	asked := time.Now()
	const text = "4.7.1 Greylisted: mail that is new here has to wait. Please try again in %s."
	require.Equal(t, reply{451, fmt.Sprintf(text, "2 seconds")}, r)

	for !m.accepted() {
		r = b.send(m, "ADDR=192.0.2.99 NAME=mx2.example.org") // the sender's other machine
		if r.accepted() {
			break
		}
		require.Contains(t, []reply{{451, fmt.Sprintf(text, "2 seconds")}, {451, fmt.Sprintf(text, "1 second")}}, r)
		require.Less(t, time.Since(asked), delay+harness.Patience)
		time.Sleep(50 * time.Millisecond)
	}
	require.GreaterOrEqual(t, time.Since(asked), delay-100*time.Millisecond, "it was accepted too soon")

	second := b.mail("b") // another recipient is another triplet
	r = b.send(second, outside)
	require.True(t, r.says(saysGreylisted+"2 seconds."))
	b.outcome(second, "first_seen")
	b.arrived()

	r = b.send(m, outside)
	require.True(t, r.accepted(), "the triplet is known: %v", r)
	require.Equal(t, "known", b.filter.decidedAbout(m.recipient())[len(m.attempts)-1])
}

func TestPostfixAndWhitelists(t *testing.T) {
	b := startBehindPostfix(t, "-redis", startRedis(t).url, "-store-timeout", "10s", "-whitelist-networks", "127.0.0.0/8,198.51.100.0/24",
		"-whitelist-clients", "friends.example", "-whitelist-recipients", "recipient@")
	for _, tc := range []struct {
		id, xclient, outcome string
	}{
		{"nobody", outside, "first_seen"},
		{"name-of-nobody", "ADDR=192.0.2.10 NAME=friends.example.net", "first_seen"},
		{"helo-only", outside + " HELO=mx.friends.example", "first_seen"},
		{"forged-name", "ADDR=192.0.2.10 NAME=[UNAVAILABLE] REVERSE_NAME=mx.friends.example", "first_seen"},
		{"this-machine", "", "whitelisted_network"},
		{"network", "ADDR=198.51.100.3 NAME=[UNAVAILABLE]", "whitelisted_network"},
		{"name", "ADDR=192.0.2.10 NAME=mx.friends.example", "whitelisted_client"},
		{"recipient", outside, "whitelisted_recipient"},
	} {
		t.Run(tc.id, func(t *testing.T) {
			metric := fmt.Sprintf("greylist_decisions_total{outcome=%q}", tc.outcome)
			before := b.filter.metric(metric)
			r := b.send(b.mail(tc.id), tc.xclient)
			assert.Greater(t, b.filter.metric(metric), before)
			if tc.outcome == "first_seen" {
				assert.True(t, r.says(saysGreylisted+"300 seconds."), "%v", r)
				return
			}
			assert.True(t, r.accepted(), "%v", r)
		})
	}
	b.arrived()
}

// A store that is away costs each mail as long as is configured, which is less than Postfix waits, and is then asked no more.
func TestPostfixWhileStoreIsDown(t *testing.T) {
	const timeout = 500 * time.Millisecond
	for name, addr := range map[string]string{"refuses": freeAddr(t), "hangs": silentAddr(t)} {
		for _, policy := range []policy{policyAccept, policyDefer} {
			t.Run(name+", "+string(policy), func(t *testing.T) {
				b := startBehindPostfix(t, "-redis", "redis://"+addr, "-store-timeout", timeout.String(), "-store-down", string(policy))
				for i := range failuresToOpen + 1 { // the last one finds the breaker open
					m := b.mail(fmt.Sprintf("m%d", i))
					r := b.send(m, outside)
					if policy == policyAccept {
						require.True(t, r.accepted(), "%v", r)
						b.outcome(m, "store_down_accepted")
						continue
					}
					require.True(t, r.says(saysStoreDown), "%v", r)
					b.outcome(m, "store_down_deferred")
				}
				require.Equal(t, failuresToOpen, b.filter.metric("greylist_store_failures_total"))
				require.Equal(t, 1, b.filter.metric("greylist_store_breaker_open"))
				b.arrived()
			})
		}
	}
}

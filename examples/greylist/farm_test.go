package main

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"

	"github.com/libmilter/go-libmilter/test/harness"
	"github.com/libmilter/go-libmilter/test/postfix"
)

const scalingPage = "../../docs/scaling.md"

// farm is all of docs/scaling.md's picture on one machine: Postfix, HAProxy, filters and Redis, each in processes of its own.
type farm struct {
	t        *testing.T
	redis    *redisServer
	args     []string   // of each filter
	filters  []*process // those that have ended, too
	running  []*process
	killed   *process // it had no time to end its sessions
	balancer *haproxy
	mta      *postfix.Server
}

// farmDelay is how long a triplet that is new has to wait. What is in the store is by the millisecond, so short will do.
const farmDelay = time.Second

// startFarm starts one with n filters. Clients of the loopback are no exception there.
func startFarm(t *testing.T, n int, args ...string) *farm {
	t.Helper()
	harness.RequireRoot(t, "Postfix")
	requireHaproxy(t)
	f := &farm{t: t, redis: startRedis(t, redisPersistence(t)...)}
	f.args = append([]string{"-redis", f.redis.url, "-whitelist-networks", "", "-delay", farmDelay.String(),
		"-drain-delay", "1h", "-drain", "1m"}, args...)
	for range n {
		f.startFilter()
	}
	f.balancer = startHaproxy(t, f.filters...)
	f.mta = startPostfix(t, f.balancer.listen)
	return f
}

// redisPersistence gives what Redis is told in deploy/kubernetes, but for its folder.
func redisPersistence(t *testing.T) []string {
	t.Helper()
	args := container(t, manifest[*appsv1.StatefulSet](t, redisName).Spec.Template).Args
	require.Equal(t, []string{"--dir", "/data", "--appendonly", "yes"}, args[:4])
	return args[2:]
}

// startPostfix starts one with the line of docs/scaling.md for main.cf, with a filter's or a balancer's address in it.
// Clients may say whose session it is.
func startPostfix(t *testing.T, filter string) *postfix.Server {
	t.Helper()
	page, err := os.ReadFile(scalingPage)
	require.NoError(t, err)
	setting := regexp.MustCompile(`(?m)^    smtpd_milters = (.*)$`).FindSubmatch(page)
	require.NotNil(t, setting, "%s says no smtpd_milters", scalingPage)
	return postfix.Start(t, postfix.Config{
		Milters: []string{strings.ReplaceAll(string(setting[1]), "127.0.0.1:8890", filter)},
		Params:  map[string]string{"smtpd_authorized_xclient_hosts": "127.0.0.1", "relay_domains": "example.com"},
	})
}

// startFilter starts one filter more, which the balancer is not told of.
func (f *farm) startFilter() *process {
	f.t.Helper()
	return f.runs(startProgram(f.t, f.args...))
}

// startAgain starts a filter where one has ended, as whatever supervises it does.
func (f *farm) startAgain(ended *process) *process {
	f.t.Helper()
	return f.runs(startProgramOn(f.t, ended.addr, ended.http, f.args...))
}

func (f *farm) runs(p *process) *process {
	f.filters, f.running = append(f.filters, p), append(f.running, p)
	return p
}

// ends is for a filter that will not run much longer.
func (f *farm) ends(p *process) {
	f.running = slices.DeleteFunc(f.running, func(other *process) bool { return other == p })
}

// ledger gives what the filters have decided so far about mails.
func (f *farm) ledger(mails []*testMail) *ledger {
	l := &ledger{mails: mails, decisions: map[string][]string{}, kept: map[string]int{}}
	for _, filter := range f.filters {
		for _, d := range filter.decisions() {
			l.decisions[d.Recipient] = append(l.decisions[d.Recipient], d.Outcome)
			if filter != f.killed {
				l.kept[d.Recipient]++
			}
		}
	}
	return l
}

// audit requires that mails came through as they should.
func (f *farm) audit(mails []*testMail) {
	f.t.Helper()
	l := f.ledger(mails)
	require.True(f.t, harness.Poll(func() bool { return len(f.mta.Queued()) == 0 }), "Postfix has mail that it did not deliver: %v", f.mta.Queued())
	for _, delivered := range f.mta.Delivered() {
		l.delivered = append(l.delivered, idOf(f.t, delivered))
	}
	faults := l.faults()
	require.Zero(f.t, len(faults), "faults, the first: %s", strings.Join(faults[:min(3, len(faults))], "\n"))
}

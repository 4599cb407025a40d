package main

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// testFilter is a filter with its parts in sight.
type testFilter struct {
	*miltertest.Filter
	metrics *metrics
	clock   *clock
	log     *logBuffer
}

func startFilter(t *testing.T, args ...string) *testFilter {
	t.Helper()
	cfg := mustParse(t, args...)
	client, err := newClient(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })

	tf := &testFilter{metrics: newMetrics(), clock: newClock(), log: &logBuffer{}}
	logger := slog.New(slog.NewJSONHandler(tf.log, nil))
	f := &filter{cfg: cfg, now: tf.clock.now, metrics: tf.metrics, logger: logger,
		store: newGuard(&store{client: client, cfg: cfg}, cfg, tf.metrics, logger)}
	tf.Filter = miltertest.StartServer(t, f.server())
	tf.metrics.observe(tf.Server)
	return tf
}

func (f *testFilter) count(outcome string) float64 {
	return testutil.ToFloat64(f.metrics.decisions.WithLabelValues(outcome))
}

// logBuffer holds the log, whose lines come from libmilter's threads.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logBuffer) Write(line []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(line)
}

// last gives the last line's fields, but for the time and the session.
func (b *logBuffer) last(t *testing.T) map[string]any {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	lines := bytes.Split(bytes.TrimSpace(b.text.Bytes()), []byte("\n"))
	var fields map[string]any
	require.NoError(t, json.Unmarshal(lines[len(lines)-1], &fields))
	require.Contains(t, fields, "session")
	delete(fields, "time")
	delete(fields, "session")
	return fields
}

func TestGreylisting(t *testing.T) {
	f := startFilter(t, "-redis", startRedis(t).url)
	mail := miltertest.Mail{From: "<a@example.org>", To: []string{"<b@example.com>"}}

	reply := f.Send(mail).Reply
	require.Equal(t, "SMFIS_TEMPFAIL 451 4.7.1 Greylisted: mail that is new here has to wait. Please try again in 300 seconds.", reply.String())
	require.Equal(t, map[string]any{"level": "INFO", "msg": "first_seen", "client": "192.0.2.10", "name": "client.example.org",
		"sender": "<a@example.org>", "recipient": "<b@example.com>", "wait": 300.0}, f.log.last(t))

	f.clock.advance(299*time.Second + time.Millisecond)
	require.Equal(t, "Greylisted: mail that is new here has to wait. Please try again in 1 second.", f.Send(mail).Reply.Lines[0])

	f.clock.advance(time.Second)
	mail.Addr = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 99), Port: 1} // the sender's other machine
	require.Equal(t, milter.SMFIS_ACCEPT, f.Send(mail).Verdict)
	require.Equal(t, milter.SMFIS_ACCEPT, f.Send(mail).Verdict)

	for outcome, want := range map[verdict]float64{firstSeen: 1, early: 1, retried: 1, known: 1} {
		require.Equal(t, want, f.count(string(outcome)), outcome)
	}
}

// Recipients are decided about one by one, also on the second mail of a connection.
func TestRecipientsOneByOne(t *testing.T) {
	f := startFilter(t, "-redis", startRedis(t).url, "-whitelist-recipients", "postmaster@")
	mail := miltertest.Mail{From: "<>", To: []string{"<b@example.com>", "<Postmaster@example.com>"}}

	c := f.Connect()
	result := c.Send(mail)
	require.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
	require.Equal(t, []string{"<Postmaster@example.com>"}, result.Rcpts)
	require.Contains(t, result.Refused, "<b@example.com>")

	f.clock.advance(5 * time.Minute)
	require.Equal(t, mail.To, c.Send(mail).Rcpts)
	mail.From = "<a@example.org>"
	require.Equal(t, []string{"<Postmaster@example.com>"}, c.Send(mail).Rcpts, "another sender than the null sender")
	c.Quit()
	require.Equal(t, 3.0, f.count("whitelisted_recipient"))
}

func TestWhoPassesAtOnce(t *testing.T) {
	client := func(ip string) net.Addr { return &net.TCPAddr{IP: net.ParseIP(ip), Port: 40000} }
	sasl := miltertest.Postfix()
	sasl.Macros = miltertest.Macros{milter.SMFIM_ENVFROM: {"{auth_authen}": "a"}}
	forged, resolved := miltertest.Sendmail(), miltertest.Sendmail()
	forged.Macros = miltertest.Macros{milter.SMFIM_CONNECT: {"{client_resolve}": "FORGED"}}
	resolved.Macros = miltertest.Macros{milter.SMFIM_CONNECT: {"{client_resolve}": "OK"}}

	f := startFilter(t, "-redis", startRedis(t).url, "-whitelist-networks", "127.0.0.0/8,198.51.100.0/24,2001:db8::/32",
		"-whitelist-clients", "friends.example", "-whitelist-recipients", "example.net")
	for name, tc := range map[string]struct {
		mta     *miltertest.MTA
		mail    miltertest.Mail
		outcome string
	}{
		"nobody":                 {mail: miltertest.Mail{}, outcome: "first_seen"},
		"null sender":            {mail: miltertest.Mail{From: "<>"}, outcome: "first_seen"},
		"client unknown":         {mail: miltertest.Mail{Addr: miltertest.UnknownAddr}, outcome: "first_seen"},
		"network":                {mail: miltertest.Mail{Addr: client("198.51.100.3")}, outcome: "whitelisted_network"},
		"network in IPv6":        {mail: miltertest.Mail{Addr: client("2001:db8::3")}, outcome: "whitelisted_network"},
		"unix socket":            {mail: miltertest.Mail{Addr: &net.UnixAddr{Name: "/run/x", Net: "unix"}}, outcome: "whitelisted_network"},
		"name":                   {mail: miltertest.Mail{Client: "mx.friends.example"}, outcome: "whitelisted_client"},
		"name that is verified":  {mta: &resolved, mail: miltertest.Mail{Client: "mx.friends.example"}, outcome: "whitelisted_client"},
		"name that is not":       {mta: &forged, mail: miltertest.Mail{Client: "mx.friends.example", From: "x@y"}, outcome: "first_seen"},
		"HELO is no client name": {mail: miltertest.Mail{Helo: "mx.friends.example", From: "h@y"}, outcome: "first_seen"},
		"recipient's domain":     {mail: miltertest.Mail{To: []string{"any@example.net"}}, outcome: "whitelisted_recipient"},
		"authenticated":          {mta: &sasl, mail: miltertest.Mail{}, outcome: "authenticated"},
	} {
		t.Run(name, func(t *testing.T) {
			mta := miltertest.Postfix()
			if tc.mta != nil {
				mta = *tc.mta
			}
			before := f.count(tc.outcome)
			result := f.For(t).With(mta).Send(tc.mail)
			require.Equal(t, before+1, f.count(tc.outcome))
			require.Equal(t, tc.outcome, f.log.last(t)["msg"])
			want := milter.SMFIS_ACCEPT
			if tc.outcome == "first_seen" {
				want = milter.SMFIS_TEMPFAIL
			}
			require.Equal(t, want, result.Verdict)
		})
	}
}

// An authenticated mail says nothing about the next one on its connection.
func TestAuthenticationIsOfOneMail(t *testing.T) {
	f := startFilter(t, "-redis", startRedis(t).url)
	c := f.Connect()
	c.Macro(milter.SMFIM_ENVFROM, "{auth_authen}", "a")
	require.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{}).Verdict)
	c.Macro(milter.SMFIM_ENVFROM, "{auth_authen}", "")
	require.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(miltertest.Mail{}).Verdict)
	c.Quit()
}

// A store that does not answer is waited for as long as is configured: the stand-in for an MTA would wait longer, not for ever.
func TestStoreDown(t *testing.T) {
	const timeout = 200 * time.Millisecond
	for name, addr := range map[string]string{"refuses": freeAddr(t), "hangs": silentAddr(t)} {
		for _, policy := range []policy{policyAccept, policyDefer} {
			t.Run(name+", "+string(policy), func(t *testing.T) {
				f := startFilter(t, "-redis", "redis://"+addr, "-store-timeout", timeout.String(), "-store-down", string(policy))
				for range failuresToOpen + 1 { // the last one finds the breaker open
					result := f.Send(miltertest.Mail{})
					if policy == policyAccept {
						require.Equal(t, milter.SMFIS_ACCEPT, result.Verdict)
						continue
					}
					require.Equal(t, "SMFIS_TEMPFAIL 451 4.3.0 Greylisting is out of order for the moment. Please try again later.", result.Reply.String())
				}
				outcome := "store_down_accepted"
				if policy == policyDefer {
					outcome = "store_down_deferred"
				}
				require.Equal(t, failuresToOpen+1.0, f.count(outcome))
				require.Equal(t, float64(failuresToOpen), testutil.ToFloat64(f.metrics.failures))
				require.Equal(t, 1.0, testutil.ToFloat64(f.metrics.breaker))
				require.Contains(t, f.log.last(t), "error")
			})
		}
	}
}

// A Redis that goes away in mid-service, with connections of the filter's open.
func TestStoreGoesAway(t *testing.T) {
	r := startRedis(t)
	f := startFilter(t, "-redis", r.url, "-store-timeout", "5s")
	require.Equal(t, milter.SMFIS_TEMPFAIL, f.Send(miltertest.Mail{}).Verdict)
	r.stop()
	require.Equal(t, milter.SMFIS_ACCEPT, f.Send(miltertest.Mail{}).Verdict)
	require.Equal(t, 1.0, f.count("store_down_accepted"))
}

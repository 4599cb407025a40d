package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/miltertest"
	"github.com/libmilter/go-libmilter/test/harness"
)

// enough is how many mails must be accepted before, during and after a fault.
const enough = 50

// retryAfter is when clients come again: the delay is over then.
const retryAfter = farmDelay + 100*time.Millisecond

// Filters come and go while mail comes in, and the store does: each accepted mail is delivered once, filtered.
func TestScale(t *testing.T) {
	f := startFarm(t, 3)
	s := &scale{farm: f, load: startLoad(t, f.mta.Addr(), retryAfter)}
	killed, drained, stays := f.filters[0], f.filters[1], f.filters[2]

	s.phase(t, "kill", func(t *testing.T) { killed = s.kill(t, killed) })
	s.phase(t, "drain", func(t *testing.T) { s.drain(t, drained) })
	s.phase(t, "add", func(t *testing.T) { s.add(t, killed, stays) })
	s.phase(t, "restart of Redis", func(t *testing.T) { s.restartRedis(t, "store_down_accepted") })
	s.finish(t)
}

// With the other policy nothing passes while the store is down, and nothing is forgotten.
func TestScaleDefers(t *testing.T) {
	f := startFarm(t, 3, "-store-down", "defer")
	s := &scale{farm: f, load: startLoad(t, f.mta.Addr(), retryAfter)}
	s.phase(t, "restart of Redis", func(t *testing.T) { s.restartRedis(t, "store_down_deferred") })
	s.finish(t)
}

// scale is a farm under load.
type scale struct {
	*farm
	*load
}

// phase lets something happen under load, and tells how much mail was accepted before, during and after it. All filters must
// have had sessions before it, and those that are left, after it.
func (s *scale) phase(t *testing.T, name string, happens func(t *testing.T)) {
	t.Helper()
	ok := t.Run(name, func(t *testing.T) {
		s.load.t = t // what fails, fails here
		defer func() { s.load.t = s.farm.t }()
		began, _ := s.counts("")
		s.used(t)
		before, goneBefore := s.counts(saysNoFilter)
		happens(t)
		during, goneAfter := s.counts(saysNoFilter)
		s.used(t)
		after, _ := s.counts("")
		s.noneIsNewTwice(t)
		t.Logf("accepted: %d before, %d during, %d after; refused for want of a filter: %d", before-began, during-before, after-during, goneAfter-goneBefore)
	})
	require.True(t, ok)
}

// used waits until mail was accepted and each filter got sessions.
func (s *scale) used(t *testing.T) {
	t.Helper()
	before := map[*process]int{}
	for _, p := range s.running {
		before[p] = p.metric("milter_sessions_total")
	}
	s.goesOn(enough)
	for _, p := range s.running {
		s.wait("sessions of "+p.server(), func() bool { return p.metric("milter_sessions_total") > before[p] })
	}
}

// noneIsNewTwice requires that no mail so far was told to wait anew, by whichever filter.
func (s *scale) noneIsNewTwice(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	mails := slices.Clone(s.mails)
	s.mu.Unlock()
	l := s.ledger(mails)
	for _, m := range mails {
		require.LessOrEqual(t, l.timesNew(m), 1, "%s was new to the filters: %v", m.id, l.decisions[m.recipient()])
	}
}

// finish ends the load and looks at what came of it.
func (s *scale) finish(t *testing.T) {
	t.Helper()
	mails := s.load.finish()
	for _, m := range mails {
		require.True(t, m.accepted(), "%s: %v", m.id, m.attempts)
	}
	s.audit(mails)
	t.Logf("%d mails, each accepted and delivered once", len(mails))
}

// held is an SMTP session that stays open, and the filter that has it.
type held struct {
	*smtpSession
	mail   *testMail // which was told to wait
	filter *process
}

// hold opens sessions until each filter has one, and says which.
func (s *scale) hold(t *testing.T, filters ...*process) (all []*held) {
	t.Helper()
	missing := slices.Clone(filters)
	for range 50 {
		h := s.holdOne(t, filters)
		all = append(all, h)
		if missing = slices.DeleteFunc(missing, func(p *process) bool { return p == h.filter }); len(missing) == 0 {
			return all
		}
	}
	require.Fail(t, "filters without a session", "%d sessions, and none on %s", len(all), missing[0].server())
	return nil
}

func (s *scale) holdOne(t *testing.T, filters []*process) *held {
	t.Helper()
	session, err := openSMTP(s.mta.Addr(), "")
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	h := &held{smtpSession: session, mail: s.newMail()}
	require.True(t, s.tryOn(t, h).says(saysGreylisted), "%v", h.mail.attempts)
	for _, p := range filters {
		if len(p.decidedAbout(h.mail.recipient())) > 0 {
			h.filter = p
		}
	}
	require.NotNil(t, h.filter, "no filter knows of %s", h.mail.id)
	return h
}

// tryOn tries the mail of a session that is held.
func (s *scale) tryOn(t *testing.T, h *held) reply {
	t.Helper()
	a, err := h.mail.sendOn(h.smtpSession)
	require.NoError(t, err)
	s.note(h.mail, a)
	return a.reply
}

// until tries the mail until it is accepted. What refuses it meanwhile may be the delay only.
func (s *scale) until(t *testing.T, h *held) {
	t.Helper()
	require.True(t, harness.Poll(func() bool {
		r := s.tryOn(t, h)
		require.True(t, r.accepted() || r.says(saysGreylisted), "%v", r)
		return r.accepted()
	}), "%v", h.mail.attempts)
	_ = h.Quit()
}

// again tries the mail on a new session.
func (s *scale) again(t *testing.T, h *held) {
	t.Helper()
	var err error
	h.smtpSession, err = openSMTP(s.mta.Addr(), "")
	require.NoError(t, err)
	s.until(t, h)
}

// kill ends a filter as a crash does. Mail under way in it has to come again; no other mail has, and no session that begins
// afterwards meets it. It gives the filter that is started in its place.
func (s *scale) kill(t *testing.T, victim *process) *process {
	_, refusedBefore := s.counts(saysNoFilter)
	require.Zero(t, refusedBefore)
	sessions := s.hold(t, slices.Clone(s.running)...)
	s.ends(victim)
	victim.kill()
	s.killed = victim
	gone := time.Now()
	s.balancer.waitFor(victim, "DOWN")
	for _, h := range sessions {
		if h.filter != victim {
			s.until(t, h)
			continue
		}
		for range 2 { // whatever comes in that session
			require.True(t, s.tryOn(t, h).says(saysNoFilter), "%v", h.mail.attempts)
		}
		_ = h.Quit()
		s.again(t, h)
	}
	s.goesOn(enough)
	s.lost(t, gone)

	back := s.startAgain(victim)
	s.balancer.waitFor(back, "UP")
	return back
}

// lost requires that mail was refused for want of a filter, and only in sessions that began before the filter had gone.
func (s *scale) lost(t *testing.T, gone time.Time) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	require.Positive(t, s.refused[saysNoFilter])
	for _, m := range s.mails {
		for _, a := range m.attempts {
			require.False(t, a.says(saysNoFilter) && a.session.After(gone), "%s was refused in a session that began %v after the filter had gone: %v", m.id, a.session.Sub(gone), a.reply)
		}
	}
}

// unharmed runs what must cost no mail as much as a delay for want of a filter.
func (s *scale) unharmed(t *testing.T, run func()) {
	t.Helper()
	_, before := s.counts(saysNoFilter)
	run()
	_, after := s.counts(saysNoFilter)
	require.Equal(t, before, after, "mails that were refused for want of a filter")
}

// drain has a filter end as it is told to. Its sessions go on, also after it has begun to refuse new ones.
func (s *scale) drain(t *testing.T, leaving *process) {
	s.unharmed(t, func() {
		sessions := s.hold(t, slices.Clone(s.running)...)
		s.ends(leaving)
		leaving.terminate()
		s.balancer.waitFor(leaving, "DOWN")
		s.goesOn(enough)
		leaving.terminate() // the delay is over
		require.True(t, harness.Poll(func() bool { return refuses(leaving) }))
		require.Equal(t, "200 ok", leaving.get("/healthz"), "it has sessions")
		for _, h := range sessions {
			s.until(t, h)
		}
		status, log := leaving.wait()
		require.Zero(t, status, log)
		require.Contains(t, log, `"msg":"stopped","cut_off":0`)
	})
}

// refuses tells whether a filter takes no new sessions.
func refuses(p *process) bool {
	c, err := miltertest.Postfix().Dial(p.addr)
	if err == nil {
		c.Quit()
	}
	return err != nil
}

// add has a filter more in the balancer's configuration, and the one that was drained no more.
func (s *scale) add(t *testing.T, others ...*process) {
	s.unharmed(t, func() {
		added := s.startFilter()
		s.balancer.reload(append(others, added)...)
		s.wait("mail through the new filter", func() bool { return len(added.decisions()) > 0 })
		s.goesOn(enough)
	})
}

// restartRedis has Redis end and come back. Until the filters ask it again, what is configured happens to mail; it then
// remembers what it knew.
func (s *scale) restartRedis(t *testing.T, outcome string) {
	s.unharmed(t, func() {
		before := s.holdOne(t, s.running)
		_ = before.Quit()
		count := func() int { return s.decided(outcome) }
		require.Zero(t, count())

		s.redis.stop()
		s.wait("mail that Redis was not asked about", func() bool { return count() >= enough })
		s.breakers("opens", 1)
		s.redis.start()
		s.breakers("closes", 0)
		back := count()
		s.goesOn(enough)
		require.Equal(t, back, count(), "decisions without Redis after it was back")
		s.again(t, before)
		s.remembers(t, before.mail)
	})
}

// breakers waits until those of all filters are so.
func (s *scale) breakers(does string, open int) {
	for _, p := range s.running {
		s.wait("breaker that "+does, func() bool { return p.metric("greylist_store_breaker_open") == open })
	}
}

// decided gives how many recipients had this outcome.
func (s *scale) decided(outcome string) (n int) {
	for _, p := range s.running {
		n += p.metric(fmt.Sprintf("greylist_decisions_total{outcome=%q}", outcome))
	}
	return n
}

// remembers requires that a mail was new once, and then let pass because of that.
func (s *scale) remembers(t *testing.T, m *testMail) {
	t.Helper()
	var outcomes []string
	for _, p := range s.filters {
		outcomes = append(outcomes, p.decidedAbout(m.recipient())...)
	}
	require.ElementsMatch(t, []string{"first_seen", "retried"}, outcomes)
}

// What one filter knows all know: a triplet that is new to one waits once, whichever filter it comes to then.
func TestTripletIsKnownToAll(t *testing.T) {
	f := startFarm(t, 3)
	only := func(p *process) {
		for _, other := range f.filters {
			state := "maint"
			if other == p {
				state = "ready"
			}
			f.balancer.state(other, state)
		}
	}
	a, b, c := f.filters[0], f.filters[1], f.filters[2]
	for i, order := range [][]*process{{a, b, c}, {a, c, b}, {b, a, c}} {
		m := &testMail{id: fmt.Sprintf("m%d", i)}
		try := func() reply {
			session, err := openSMTP(f.mta.Addr(), "")
			require.NoError(t, err)
			defer session.Quit()
			tried, err := m.sendOn(session)
			require.NoError(t, err)
			return tried.reply
		}
		only(order[0])
		require.True(t, try().says(saysGreylisted+"1 second."))
		only(order[1])
		require.True(t, harness.Poll(func() bool { return try().accepted() }))
		only(order[2])
		require.True(t, try().accepted())

		require.Equal(t, []string{"first_seen"}, order[0].decidedAbout(m.recipient()))
		second := order[1].decidedAbout(m.recipient())
		require.Equal(t, strings.Repeat("early ", len(second)-1)+"retried", strings.Join(second, " "))
		require.Equal(t, []string{"known"}, order[2].decidedAbout(m.recipient()))
	}
}

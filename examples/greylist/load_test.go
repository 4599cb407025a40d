package main

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

const (
	senders     = 16
	maxWaiting  = 8  // mails that a sender holds back until they are to be tried again, before it takes no new ones
	maxAttempts = 40 // of a mail
)

// load is mail that comes in all the time: each of its senders sends mail after mail, and what is told to wait again later,
// as MTAs do.
type load struct {
	t          *testing.T
	addr       string
	retryAfter time.Duration
	senders    sync.WaitGroup
	ending     chan struct{} // no new mails are sent
	end        func()

	mu       sync.Mutex
	mails    []*testMail
	accepted int
	refused  map[string]int // by what was said
	broken   error          // what must not happen to any client
}

func startLoad(t *testing.T, addr string, retryAfter time.Duration) *load {
	l := &load{t: t, addr: addr, retryAfter: retryAfter, ending: make(chan struct{}), refused: map[string]int{}}
	l.end = sync.OnceFunc(func() { close(l.ending) })
	for i := range senders {
		l.senders.Go(func() { (&sender{load: l, perSession: 1 + i%4}).run() })
	}
	t.Cleanup(func() {
		l.breaks(errors.New("the test is over"))
		l.end()
		l.senders.Wait()
	})
	return l
}

// newMail gives one more mail, which is accounted for from now on.
func (l *load) newMail() *testMail {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := &testMail{id: fmt.Sprintf("m%d", len(l.mails))}
	l.mails = append(l.mails, m)
	return m
}

// note keeps what became of an attempt.
func (l *load) note(m *testMail, a attempt) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m.attempts = append(m.attempts, a)
	if a.accepted() {
		l.accepted++
		return
	}
	for _, text := range []string{saysGreylisted, saysStoreDown, saysNoFilter} {
		if a.says(text) {
			l.refused[text]++
		}
	}
}

// breaks ends the load for a reason that is kept.
func (l *load) breaks(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.broken == nil {
		l.broken = err
	}
}

func (l *load) err() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// counts gives how many mails were accepted so far, and how many attempts were refused with a text.
func (l *load) counts(text string) (accepted, refused int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted, l.refused[text]
}

// goesOn waits until n mails more have been accepted: the load is seen to run.
func (l *load) goesOn(n int) {
	l.t.Helper()
	before, _ := l.counts("")
	l.wait(fmt.Sprintf("%d mails more", n), func() bool { now, _ := l.counts(""); return now >= before+n })
}

// wait waits for something that the load brings about.
func (l *load) wait(what string, done func() bool) {
	l.t.Helper()
	came := harness.Poll(func() bool { return done() || l.err() != nil })
	require.NoError(l.t, l.err())
	require.True(l.t, came, "no %s within %v", what, harness.Patience)
}

// finish sends no new mails, and those that wait until they are accepted.
func (l *load) finish() []*testMail {
	l.t.Helper()
	l.end()
	l.senders.Wait()
	require.NoError(l.t, l.err())
	return l.mails
}

// sender is one client of the load.
type sender struct {
	*load
	perSession int // mails that it sends on a session, when all goes well
	session    *smtpSession
	sent       int // on the session
	waiting    []waitingMail
}

// waitingMail is a mail that is to be tried again.
type waitingMail struct {
	*testMail
	due time.Time
}

func (s *sender) run() {
	defer s.quit()
	for s.err() == nil {
		m := s.next()
		if m == nil {
			return
		}
		a, err := s.try(m)
		if err != nil {
			s.breaks(fmt.Errorf("%s: %w", m.id, err))
			return
		}
		s.note(m, a)
		if len(m.attempts) == maxAttempts && !a.accepted() {
			s.breaks(fmt.Errorf("%s was refused %d times, at last with %v", m.id, maxAttempts, a.reply))
		}
		if !a.accepted() {
			s.waiting = append(s.waiting, waitingMail{m, time.Now().Add(s.retryAfter)})
		}
	}
}

// next gives the mail that is to be tried now, when it is; nil at the end.
func (s *sender) next() *testMail {
	ending := false
	select {
	case <-s.ending:
		ending = true
	default:
	}
	switch {
	case len(s.waiting) == 0 && ending:
		return nil
	case len(s.waiting) == 0, !ending && len(s.waiting) < maxWaiting && time.Now().Before(s.waiting[0].due):
		return s.newMail()
	}
	m := s.waiting[0]
	s.waiting = s.waiting[1:]
	if wait := time.Until(m.due); wait > 0 {
		s.quit() // a client does not hold a session while it waits
		time.Sleep(wait)
	}
	return m.testMail
}

// try sends a mail on the session, or on a new one.
func (s *sender) try(m *testMail) (attempt, error) {
	if s.session == nil {
		began := time.Now()
		session, err := openSMTP(s.addr, "")
		if err != nil {
			r, err := replyOf(err)
			return attempt{began, r}, err
		}
		s.session, s.sent = session, 0
	}
	a, err := m.sendOn(s.session)
	if s.sent++; err != nil || s.sent == s.perSession || !a.accepted() && !a.says(saysGreylisted) {
		s.quit()
	}
	return a, err
}

func (s *sender) quit() {
	if s.session != nil {
		_ = s.session.Quit()
		_ = s.session.Close()
		s.session = nil
	}
}

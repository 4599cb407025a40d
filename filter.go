//go:build cgo

package milter

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
)

// filter is what libmilter's callbacks work on: the registered callback set, what it asks for, and the open sessions.
type filter struct {
	callbacks   Callbacks
	set         callbacks // those that are not nil
	registered  callbacks // and those that Message is made of
	rules       crules    // what bounds the collecting of mails; nil where Message is
	actions     Action
	protocol    Protocol
	macros      map[Stage][]string
	maxDataSize int
	logger      *slog.Logger
	tempDir     string
	mapped      *mappedBodies
	skips       bool // MaxBody is the filter's own: the MTA is to stop there
	guest       bool // on a host's libmilter, see guest.go
	meetings    atomic.Int64

	phase      atomic.Int32 // a phase
	negotiated sync.Map     // smfictx → negotiated: outlives the session, see Session.begin

	mu       sync.Mutex
	sessions map[*Session]struct{}
	drained  chan struct{} // closed once no session is open, where somebody waits for it

	stats  counters
	logged sync.Map // once → struct{}: what is logged once for each step
}

// phase is what happens to new sessions.
type phase = int32

const (
	phaseServing  phase = iota // taken
	phaseRefusing              // refused at negotiation; those that are open go on
	phaseStopped               // none: what libmilter still calls is answered SMFIS_TEMPFAIL
)

// counters are what Stats shows.
type counters struct {
	sessions, cutOff, messages, callbacks, panics, badStatuses atomic.Int64
}

// running is the filter that libmilter's callbacks reach: one for each process, as libmilter's state is.
var running atomic.Pointer[filter]

func newFilter(srv *Server) *filter {
	f := &filter{
		callbacks:  srv.Callbacks,
		set:        srv.Callbacks.set(),
		registered: srv.registered(),
		rules:      srv.rules(),
		actions:    srv.Actions,
		protocol:   srv.Protocol,
		macros:     maps.Clone(srv.Macros),
		skips:      srv.MaxBody > 0,
		mapped:     newMappedBodies(),
		logger:     srv.Logger,
		tempDir:    srv.TempDir,
		sessions:   map[*Session]struct{}{},
	}
	if f.logger == nil {
		f.logger = slog.Default()
	}
	f.warnOfLostPlace()
	return f
}

// warnOfLostPlace tells of callbacks with which libmilter can lose its place in a mail, after which
// it does not answer the MTA: see keepsPlace. Message has what it takes.
func (f *filter) warnOfLostPlace() {
	cb := &f.callbacks
	warn := func(lacks, in string) {
		shielded(func() {
			f.logger.Warn("milter: set Callbacks." + lacks + " as well, libmilter loses its place in a mail without it " + in)
		})
	}
	switch {
	case cb.Message != nil:
	case cb.Unknown != nil && cb.Data == nil:
		warn("Data", "where a command that is unknown comes behind RCPT")
	case cb.Data != nil && cb.Header != nil && cb.EOH == nil:
		warn("EOH", "that has no header")
	}
}

// add registers a new session, unless the filter has stopped.
func (f *filter) add(s *Session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.phase.Load() == phaseStopped {
		return false
	}
	f.sessions[s] = struct{}{}
	s.id = uint64(f.stats.sessions.Add(1))
	return true
}

// remove takes a session out, and tells whether it was in: false for the second time and after stop.
func (f *filter) remove(s *Session) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, open := f.sessions[s]; !open {
		return false
	}
	delete(f.sessions, s)
	if len(f.sessions) == 0 && f.drained != nil {
		close(f.drained)
		f.drained = nil
	}
	return true
}

// drain gives a channel that is closed as soon as no session is open.
func (f *filter) drain() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.drained != nil {
		return f.drained
	}
	drained := make(chan struct{})
	if len(f.sessions) == 0 {
		close(drained)
	} else {
		f.drained = drained
	}
	return drained
}

// stopIdle stops the filter if no session is open, and tells whether it did.
func (f *filter) stopIdle() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.sessions) > 0 {
		return false
	}
	f.phase.Store(phaseStopped)
	return true
}

// stop ends the sessions that are open, which libmilter may never close (a build with a worker pool does not), and says
// how many there were.
func (f *filter) stop() int {
	f.mu.Lock()
	f.phase.Store(phaseStopped)
	cut := f.sessions
	f.sessions = nil
	if f.drained != nil { // somebody else waits for what will not come
		close(f.drained)
		f.drained = nil
	}
	f.mu.Unlock()

	for s := range cut {
		s.release()
	}
	f.stats.cutOff.Add(int64(len(cut)))
	return len(cut)
}

func (f *filter) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.sessions)
}

// log writes a line about a session. A Logger that panics is the program's own fault, but not the end of it. A nil filter is
// a session's that a program has made by itself.
func (f *filter) log(level slog.Level, message string, s *Session, attrs ...slog.Attr) {
	if f == nil {
		return
	}
	shielded(func() {
		ctx := context.Background()
		if !f.logger.Enabled(ctx, level) {
			return
		}
		attrs = append(attrs, slog.Uint64("session", s.id))
		if queueID := s.queueID(); queueID != "" {
			attrs = append(attrs, slog.String("queue_id", queueID))
		}
		f.logger.LogAttrs(ctx, level, message, attrs...)
	})
}

// once is a line of the log that would come again with each mail.
type once struct {
	message string
	step    step
}

// logOnce is log for what would come again with each mail: once for each step.
func (f *filter) logOnce(message string, s *Session, st step, attrs ...slog.Attr) {
	if _, logged := f.logged.LoadOrStore(once{message, st}, struct{}{}); !logged {
		f.log(slog.LevelWarn, message, s, append([]slog.Attr{slog.String("callback", st.String())}, attrs...)...)
	}
}

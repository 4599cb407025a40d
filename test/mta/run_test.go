//go:build cgo

package mta

import (
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// feature is a case: one row of docs/mta-matrix.md.
type feature struct {
	group, name string
	filter      script
	manner      manner
	ipv6        bool // for machines that have it
	down        bool // the filter is not started: the acts do that
	local       bool // no connection is made: the mail does not come by SMTP
	tapped      bool // the macros are noted
	macros      bool // and stand in the document
	acts        func(r *run)
	kept        int // mails that the MTA takes and, as it was told, does not deliver
	see         []view
	want        []string // what is to be seen
	model       *model   // nil: miltertest does not know

	// The MTAs may differ from what is wanted, the document says how; but not in what is sure.
	varies bool
	sure   []string
}

// view is what is looked at when the acts are over.
type view func(r *run) []string

// station is a running MTA and where it looks for its filter.
type station struct {
	server
	socket   string
	secrets  secrets
	expected int // mails delivered so far, as the cases saw them
}

// newStation starts an MTA.
func newStation(t *testing.T, k kind, s setup) *station {
	dir := harness.TempDir(t, "mta-filter-")
	harness.StartGuard(t, dir, "")
	s.socket = filepath.Join(dir, "filter")
	return &station{server: k.start(t, s), socket: s.socket, secrets: s.secrets}
}

// run is a case on one of the MTAs.
type run struct {
	*client
	t       *testing.T
	station *station
	feature *feature
	filter  *process
	dials   int // connections since the filter was started
	tap     *tap

	submitted int  // mails that the MTA has taken, not by SMTP
	asked     bool // the filter was asked about the first of them

	mails []harness.Mail // that were delivered
	held  int            // mails that were put in quarantine
}

// play runs a case, and gives what is to be seen.
func (f *feature) play(t *testing.T, s *station) (seen []string, tapped *tap) {
	r := &run{client: &client{t: t}, t: t, station: s, feature: f}
	logged, held := len(s.Log()), len(s.Held())
	defer func() {
		if t.Failed() {
			t.Logf("the MTA's log:\n%s", s.Log()[logged:])
		}
	}()
	t.Cleanup(r.hangUp)
	if !f.down {
		r.startFilter()
	}
	if !f.local {
		r.connect()
	}
	f.acts(r)
	r.hangUp()
	r.takeDelivered()
	r.held = len(s.Held()) - held
	r.awaitClose()
	for _, view := range f.see {
		seen = append(seen, view(r)...)
	}
	if r.filter != nil {
		assert.Empty(t, r.filter.events("error", "ended"), "what the filter could not do")
		r.filter.kill()
	}
	return seen, r.tap
}

// startFilter starts the case's filter.
func (r *run) startFilter() {
	r.t.Helper()
	socket := r.station.socket
	if r.feature.tapped {
		socket += "-tapped"
	}
	r.filter = start(r.t, socket, r.feature.filter)
	if r.feature.tapped {
		r.tap = startTap(r.t, r.station.socket, socket)
	}
	r.dials = 0
}

// connect makes the client's connection, in place of the one that it has.
func (r *run) connect() {
	r.t.Helper()
	r.hangUp()
	addr := r.station.Addr()
	if r.feature.ipv6 {
		addr = r.station.Addr6()
	}
	r.dial(addr)
	r.dials++
}

// awaitClose waits until the filter has seen the end of all its sessions, when no more events come.
func (r *run) awaitClose() {
	r.t.Helper()
	if r.filter == nil {
		return
	}
	r.filter.wait("end of the sessions", func() bool {
		begun := len(r.filter.events("negotiate"))
		return begun >= r.dials && len(r.filter.events("close")) == begun
	})
}

// takeDelivered waits for the mails that the MTA has taken.
func (r *run) takeDelivered() {
	r.t.Helper()
	want := r.submitted - r.feature.kept
	for _, reply := range r.replies {
		if reply.to == "message" && !reply.refused() {
			want++
		}
	}
	before := r.station.expected
	require.True(r.t, harness.Poll(func() bool { return len(r.station.Delivered()) >= before+want }),
		"%d mails were taken, %d delivered", want, len(r.station.Delivered())-before)
	mails := r.station.Delivered()
	r.station.expected = len(mails)
	r.mails = slices.Clone(mails[before:])
}

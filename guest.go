//go:build cgo

package milter

import (
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/libmilter/go-libmilter/internal/shared"
)

// This file is the server's side of package shared: servers that are guests on one libmilter, which a server without a
// filter of its own, the host, runs for them.

func init() {
	shared.Listen = listenForGuests
	shared.Join = func(server any) error { return server.(*Server).join() }
	shared.Expect = func(server any, offered uint32) (uint32, func()) {
		return guests.expect(server.(*Server).filter, Action(offered))
	}
	shared.Meet = func(server any) { server.(*Server).filter.meet() }
}

// knownActions are the bits of a negotiation's actions that mean something; libmilter takes any.
const (
	knownActions     = 1<<knownActionBits - 1
	knownActionBits  = 9
	v1Actions        = SMFIF_ADDHDRS | SMFIF_CHGBODY | SMFIF_ADDRCPT | SMFIF_DELRCPT // what libmilter takes no bits for
	announcementBits = 32 - knownActionBits
)

// guests are the connections that are announced, by number.
var guests announcements

type announcements struct {
	mu       sync.Mutex
	last     uint32
	expected map[uint32]announcement
}

// announcement is a connection that is to come.
type announcement struct {
	filter  *filter
	offered Action
}

func (a *announcements) expect(f *filter, offered Action) (offer uint32, cancel func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.expected == nil {
		a.expected = map[uint32]announcement{}
	}
	if offered == 0 {
		offered = v1Actions
	}
	number := a.last
	for taken := true; taken; _, taken = a.expected[number] {
		number = number%(1<<announcementBits-1) + 1
	}
	a.last = number
	a.expected[number] = announcement{f, offered}
	return number<<knownActionBits | uint32(offered)&knownActions, func() { a.take(Action(number << knownActionBits)) }
}

// take gives the announcement that the actions of a negotiation carry, and strikes it off.
func (a *announcements) take(actions Action) (announcement, bool) {
	number := uint32(actions) >> knownActionBits
	a.mu.Lock()
	defer a.mu.Unlock()
	found, ok := a.expected[number]
	delete(a.expected, number)
	return found, ok
}

// listenForGuests starts libmilter with a host.
func listenForGuests(path string) (func() (net.Conn, error), error) {
	host := &Server{
		Addr:   "unix:" + path,
		Logger: slog.New(slog.DiscardHandler),
		host:   true,
	}
	host.Callbacks.Negotiate = func(*Session, *Negotiation) Status { return SMFIS_REJECT } // a connection that nobody expects
	if err := host.claim(); err != nil {
		return nil, err
	}
	if err := host.start(); err != nil {
		host.unclaim()
		return nil, err
	}
	go func() { _ = host.serve() }() // until the process ends: nobody stops it
	host.awaitAccept()
	return host.socket.dial, nil
}

// meet orders, for the race detector, what was done before it by one goroutine with what another does after it.
func (f *filter) meet() {
	if f.guest {
		f.meetings.Add(1)
	}
}

// join makes the server ready to serve connections of a host's libmilter.
func (srv *Server) join() error {
	if err := srv.check(); err != nil {
		return err
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.closing:
		return ErrServerClosed
	case srv.filter != nil:
		return &Error{"smfi_register", fmt.Errorf("%w: the server runs already", ErrInUse)}
	}
	srv.filter = newFilter(srv)
	srv.filter.guest = true
	srv.filter.maxDataSize = running.Load().maxDataSize
	srv.forced = make(chan struct{})
	srv.served = make(chan struct{})
	return nil
}

// seat moves a session that negotiates from the host to the guest that its MTA was announced to, and sets the negotiation
// as libmilter would for that guest alone. It tells whether the session may go on.
func (s *Session) seat(n *Negotiation) bool {
	a, ok := guests.take(n.OfferedActions)
	if !ok {
		return true
	}
	if !a.filter.add(s) {
		return false
	}
	s.filter.remove(s)
	s.filter = a.filter
	s.filter.stats.callbacks.Add(1) // this one: the host's has counted it
	n.OfferedActions, n.Actions = a.offered, a.offered
	n.Protocol |= a.filter.registered.absent()
	return true
}

package main

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

// filter is the milter: it decides for each recipient, before the mail itself is sent.
type filter struct {
	cfg     *config
	store   decider
	now     func() time.Time
	metrics *metrics
	logger  *slog.Logger
}

// state is what a session keeps between its callbacks.
type state struct {
	host   string
	client netip.Addr // not valid where the MTA does not know it
	sender string
}

func (f *filter) server() *milter.Server {
	return &milter.Server{
		Addr:         f.cfg.addr,
		Name:         "greylist",
		RemoveSocket: true,
		Logger:       f.logger,
		Macros: map[milter.Stage][]string{
			milter.SMFIM_CONNECT: {"{client_resolve}"},
			milter.SMFIM_ENVFROM: {"{auth_authen}"},
		},
		Callbacks: milter.Callbacks{Connect: f.connect, MailFrom: f.mailFrom, RcptTo: f.rcptTo},
	}
}

// connect lets clients of the white lists pass with all that they send.
func (f *filter) connect(s *milter.Session, host string, addr net.Addr) milter.Status {
	st := &state{host: host, client: addressOf(addr)}
	s.Local = st
	switch {
	case f.cfg.whitelist.networks.contains(st.client):
		return f.pass(s, "whitelisted_network")
	case nameIsVerified(s) && f.cfg.whitelist.clients.contains(host):
		return f.pass(s, "whitelisted_client")
	}
	return milter.SMFIS_CONTINUE
}

// mailFrom lets authenticated clients pass with this mail.
func (f *filter) mailFrom(s *milter.Session, sender string, _ []string) milter.Status {
	stateOf(s).sender = sender
	if user, _ := s.Macro("{auth_authen}"); user != "" {
		return f.pass(s, "authenticated")
	}
	return milter.SMFIS_CONTINUE
}

// rcptTo decides about a recipient.
func (f *filter) rcptTo(s *milter.Session, recipient string, _ []string) milter.Status {
	if f.cfg.whitelist.recipients.contains(trimPath(recipient)) {
		f.note(s, "whitelisted_recipient", "recipient", recipient)
		return milter.SMFIS_CONTINUE
	}
	st := stateOf(s)
	d, err := f.store.decide(s.Context(), newTriplet(st.client, st.sender, recipient), f.now())
	if err != nil {
		return f.storeDown(s, recipient, err)
	}
	f.note(s, string(d.verdict), "recipient", recipient, "wait", d.wait.Seconds())
	if d.wait <= 0 {
		return milter.SMFIS_CONTINUE
	}
	seconds := int(math.Ceil(d.wait.Seconds()))
	return s.Reply(451, "4.7.1", fmt.Sprintf("Greylisted: mail that is new here has to wait. Please try again in %d %s.", seconds, plural(seconds, "second")))
}

// storeDown is the configured answer where there is no decision.
func (f *filter) storeDown(s *milter.Session, recipient string, err error) milter.Status {
	if f.cfg.storeDown == policyAccept {
		f.note(s, "store_down_accepted", "recipient", recipient, "error", err.Error())
		return milter.SMFIS_CONTINUE
	}
	f.note(s, "store_down_deferred", "recipient", recipient, "error", err.Error())
	return s.Reply(451, "4.3.0", "Greylisting is out of order for the moment. Please try again later.")
}

// pass lets all pass that is still to come: of the connection, or of the mail.
func (f *filter) pass(s *milter.Session, outcome string) milter.Status {
	f.note(s, outcome)
	return milter.SMFIS_ACCEPT
}

// note counts an outcome and logs it.
func (f *filter) note(s *milter.Session, outcome string, args ...any) {
	f.metrics.decided(outcome)
	st := stateOf(s)
	f.logger.With("session", s.ID(), "client", st.client.String(), "name", st.host, "sender", st.sender).Info(outcome, args...)
}

// stateOf gives the session's state, an empty one where an MTA began in mid-session.
func stateOf(s *milter.Session) *state {
	st, ok := s.Local.(*state)
	if !ok {
		st = &state{}
		s.Local = st
	}
	return st
}

// addressOf gives the client's address. A unix socket's is this machine's.
func addressOf(addr net.Addr) netip.Addr {
	switch addr := addr.(type) {
	case *net.TCPAddr:
		return addr.AddrPort().Addr().Unmap().WithZone("")
	case *net.UnixAddr:
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	return netip.Addr{}
}

// nameIsVerified tells whether the client's name leads back to its address. Postfix gives the name "unknown" where it does
// not; Sendmail gives the name all the same, and says so in a macro that Postfix has not.
func nameIsVerified(s *milter.Session) bool {
	resolve, ok := s.Macro("{client_resolve}")
	return !ok || resolve == "OK"
}

func plural(n int, noun string) string {
	if n == 1 {
		return noun
	}
	return noun + "s"
}

package miltertest

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/internal/inet"
)

// MTA is the program at the other end of the filter's connection: what it offers, what it says by itself, and how long it
// waits. Postfix and Sendmail give one to begin with; the zero value is an MTA that offers nothing.
type MTA struct {
	// Kind is the MTA whose ways are followed: where it puts header fields, when it has a queue id.
	Kind Kind

	// Version is the protocol version that the MTA offers: 6, or 2 to 5 for an old one.
	Version int
	// Actions are what the MTA offers. libmilter takes none for SMFIF_ADDHDRS|SMFIF_CHGBODY|SMFIF_ADDRCPT|SMFIF_DELRCPT.
	Actions milter.Action
	// Protocol are the protocol bits that the MTA offers. libmilter takes none for those of version 1.
	Protocol milter.Protocol

	// OnFailure is what the MTA does with mail while a filter fails, and when it sends what the MTA cannot use: SMFIS_ACCEPT
	// is to go on without it (milter_default_action=accept, no F), SMFIS_REJECT to refuse (reject, F=R), and else it is
	// SMFIS_TEMPFAIL (tempfail, F=T).
	OnFailure milter.Status

	// MacroLists are the macros that the MTA sends at each stage if the filter does not ask for others: the names, written
	// "i" or "{client_addr}".
	MacroLists map[milter.Stage][]string
	// Macros are values, by stage (EveryStage for all of them) and name, in place of those that the MTA makes up and
	// beside them. A name that no list has is sent at its stage, or at SMFIM_CONNECT.
	Macros Macros

	// Timeout is how long the filter may take for a packet. 0 is 10 seconds.
	Timeout time.Duration
	// Limit is how long the filter may take for a step, however often it reports progress. 0 is a minute.
	Limit time.Duration

	// Trace, if set, is called after each step of a connection.
	Trace func(Step)

	// T, if set, is the test to end when a connection fails: a filter that does not answer, breaks off, or sends what the
	// protocol does not allow. Filter.Connect sets it.
	T testing.TB
}

// The bits that MTAs of protocol version 6 offer, those of version 2, and those of version 1, which libmilter takes for 0.
const (
	version1Actions  = 0x0f
	version1Protocol = 0x3f

	version6Actions  milter.Action   = 0x1ff
	version6Protocol milter.Protocol = 0x1fffff
	version2Actions  milter.Action   = 0x3f
	version2Protocol milter.Protocol = 0x7f
)

// Postfix gives an MTA that does as Postfix does: protocol version 6 with all that it has, and the macros of its default
// settings. Like Postfix's, its queue id "i" is not known before a first recipient was taken.
func Postfix() MTA {
	return MTA{Kind: KindPostfix, Version: 6, Actions: version6Actions, Protocol: version6Protocol, MacroLists: postfixMacros()}
}

// Sendmail gives an MTA that does as Sendmail does: protocol version 6 with all that it has, and the macros of its default
// settings.
func Sendmail() MTA {
	return MTA{Kind: KindSendmail, Version: 6, Actions: version6Actions, Protocol: version6Protocol, MacroLists: sendmailMacros()}
}

// Version2 gives an MTA as they were before Sendmail 8.14 and Postfix 2.6: protocol version 2, without DATA, unknown
// commands, SMFIS_SKIP, steps without replies, SMFIF_CHGFROM and what else came later.
func Version2() MTA { return Postfix().WithVersion(2) }

// WithVersion gives the MTA as it was at a protocol version, 2 to 6: without the actions and the protocol bits that came
// later.
func (mta MTA) WithVersion(version int) MTA {
	mta.Version = version
	if version < 6 {
		mta.Actions &= version2Actions
		mta.Protocol &= version2Protocol | milter.SMFIP_NOUNKNOWN | milter.SMFIP_NODATA
	}
	if version < 4 {
		mta.Protocol &^= milter.SMFIP_NODATA
	}
	if version < 3 {
		mta.Protocol &^= milter.SMFIP_NOUNKNOWN
	}
	return mta
}

// Unfiltered gives what the MTA holds of a mail without a filter: what a Result's From, Rcpts, Header and Body are to be
// compared with to see what the filter has changed.
func (mta MTA) Unfiltered(mail Mail) (*Result, error) {
	mail, msg, err := mail.complete(mta.Kind)
	if err != nil {
		return nil, err
	}
	var m conversation
	m.hold(mail, mail.To, msg)
	r := &Result{Verdict: milter.SMFIS_ACCEPT}
	r.hold(m, mta.Kind, false)
	return r, nil
}

// Dial connects to a filter, whose address is written as for smfi_setconn (unix:/path, local:/path, /path,
// inet:port@host, inet6:port@host), and negotiates. Without a host it is the loopback's. An error is an *Error, of the step
// "Dial" or "Negotiate".
func (mta MTA) Dial(addr string) (*Conn, error) {
	c, err := mta.Open(addr)
	if err != nil {
		return nil, err
	}
	c.Negotiate()
	return c, c.err
}

// Open is Dial without the negotiation: nothing is said yet. It is for what comes before Conn.Negotiate, or in its place.
func (mta MTA) Open(addr string) (*Conn, error) {
	network, target, err := ParseAddress(addr)
	if err != nil {
		return nil, mta.noConn(fmt.Errorf("filter's address %q: %w", addr, err))
	}
	return mta.open(func() (net.Conn, error) { return net.DialTimeout(network, target, mta.timeout()) })
}

// open connects by way of d, and sends nothing.
func (mta MTA) open(d func() (net.Conn, error)) (*Conn, error) {
	conn, err := d()
	if err != nil {
		return nil, mta.noConn(err)
	}
	return newConn(mta, conn), nil
}

// noConn says why there is no connection, and ends the test, if there is one.
func (mta MTA) noConn(err error) error {
	err = &Error{"Dial", err}
	if mta.T != nil {
		mta.T.Helper()
		mta.T.Fatalf("miltertest: %v", err)
	}
	return err
}

func (mta MTA) timeout() time.Duration { return orElse(mta.Timeout, 10*time.Second) }
func (mta MTA) limit() time.Duration   { return orElse(mta.Limit, time.Minute) }

func orElse(d, otherwise time.Duration) time.Duration {
	if d <= 0 {
		return otherwise
	}
	return d
}

// ParseAddress reads a filter's address as Dial takes it, and gives what net.Dial takes. The error
// for host:port and the like has the right spelling.
func ParseAddress(s string) (network, address string, err error) {
	if strings.HasPrefix(s, "/") {
		return "unix", s, nil
	}
	meant := inet.Meant(s)
	err = errors.New("want unix:/path, local:/path, /path, inet:port@host or inet6:port@host")
	switch kind, rest, _ := strings.Cut(s, ":"); {
	case rest == "":
	case (kind == "unix" || kind == "local") && meant == "":
		if strings.HasPrefix(rest, "@") { // a file's name to libmilter, and to package net none
			rest = "./" + rest
		}
		return "unix", rest, nil
	case kind == "inet":
		network, address, err = parseInet("tcp4", rest, "127.0.0.1")
	case kind == "inet6":
		network, address, err = parseInet("tcp6", rest, "::1")
	}
	if err != nil && meant != "" && meant != s {
		err = fmt.Errorf("%w: write %s", err, meant)
	}
	return network, address, err
}

// parseInet reads port@host, where the host may stand in brackets.
func parseInet(network, s, loopback string) (string, string, error) {
	service, host, hasHost := strings.Cut(s, "@")
	if !hasHost {
		host = loopback
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host, ok = strings.CutSuffix(inner, "]")
		if !ok {
			return "", "", fmt.Errorf("no closing bracket in %q", s)
		}
	}
	if host == "" {
		return "", "", fmt.Errorf("no host after the @ in %q", s)
	}
	port, err := net.LookupPort("tcp", service)
	if err != nil || port == 0 {
		return "", "", fmt.Errorf("bad port %q, want port@host", service)
	}
	return network, net.JoinHostPort(host, strconv.Itoa(port)), nil
}

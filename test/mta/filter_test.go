//go:build cgo

package mta

import (
	"bufio"
	"encoding/gob"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	milter "github.com/libmilter/go-libmilter"
)

// What a filter's process is told: its script, in hexadecimal digits, and where it listens.
const (
	envScript = "MILTER_MTA_SCRIPT"
	envAddr   = "MILTER_MTA_ADDR"
)

// socketMode is the mode of a filter's socket: Postfix runs as a user of its own.
const socketMode = 0o666

// script is what a filter does: it goes on everywhere but where the script says something else.
type script struct {
	Actions  milter.Action
	Protocol milter.Protocol
	Macros   map[milter.Stage][]string // asked for
	Reads    []string                  // macros whose values each callback reports
	Says     map[string]answer         // by callback
	Changes  []change                  // at end of message
	Mails    map[string]script         // by sender: Says and Changes for its mails, in place of the others
}

// answer is what a callback does in place of going on.
type answer struct {
	To     string // only where this is the callback's first argument
	Status milter.Status
	By     string // the method of milter.Session that gives the reply: "SetReply", "SetMLReply", or else "Reply"
	Code   int    // a reply of its own
	XCode  string
	Lines  []string
	Holds  bool          // until the test says "go", the MTA gives up, or the time is over
	For    time.Duration // the time that Holds is limited to
}

// change is a call of milter.Modifier.
type change struct {
	Op          string
	Name, Value string
	Index       int
}

// event is what a filter reports: a line of JSON.
type event struct {
	Name string // the callback, or another word that test and filter agree on
	Args []string
}

func (e event) String() string { return strings.Join(append([]string{e.Name}, e.Args...), " ") }

// child is the filter's side.
type child struct {
	script
	released chan struct{} // closed when the test says "go"

	mu     sync.Mutex
	events *json.Encoder
}

// runFilter is the main function of a filter's process. It serves until it is killed, or the test's process has ended.
func runFilter(text string) int {
	c := &child{released: make(chan struct{}), events: json.NewEncoder(os.NewFile(3, "events"))}
	if err := gob.NewDecoder(hex.NewDecoder(strings.NewReader(text))).Decode(&c.script); err != nil {
		panic(err)
	}
	go c.listen()
	srv := &milter.Server{
		Addr: os.Getenv(envAddr), RemoveSocket: true, SocketMode: socketMode,
		Actions: c.Actions, Protocol: c.Protocol, Callbacks: c.callbacks(), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	}
	c.report("ended", srv.ListenAndServe())
	return 1
}

// listen hears what the test says. Standard input ends with the test's process.
func (c *child) listen() {
	input := bufio.NewReader(os.Stdin)
	if line, _ := input.ReadString('\n'); line == "go\n" {
		close(c.released)
	}
	_, _ = io.Copy(io.Discard, input)
	os.Exit(0)
}

func (c *child) report(name string, args ...any) {
	texts := make([]string, len(args))
	for i, arg := range args {
		texts[i] = fmt.Sprint(arg)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.events.Encode(event{name, texts}); err != nil {
		panic(err)
	}
}

func (c *child) callbacks() milter.Callbacks {
	return milter.Callbacks{
		Negotiate: c.negotiate,
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			if tcp, ok := addr.(*net.TCPAddr); ok && tcp.Port > 0 { // which differs each time
				return c.step(s, "connect", host, fmt.Sprintf("TCP %v", tcp.IP))
			}
			return c.step(s, "connect", host, fmt.Sprintf("%T %v", addr, addr))
		},
		Helo:    func(s *milter.Session, identity string) milter.Status { return c.step(s, "helo", identity) },
		Unknown: func(s *milter.Session, command string) milter.Status { return c.step(s, "unknown", command) },
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
			s.Local = address
			return c.step(s, "mailfrom", append([]string{address}, args...)...)
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			return c.step(s, "rcptto", append([]string{address}, args...)...)
		},
		Data:    func(s *milter.Session) milter.Status { return c.step(s, "data") },
		Header:  func(s *milter.Session, name, value string) milter.Status { return c.step(s, "header", name, value) },
		EOH:     func(s *milter.Session) milter.Status { return c.step(s, "eoh") },
		Segment: func(s *milter.Session, segment []byte) milter.Status { return c.step(s, "segment", brief(segment)) },
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			for _, change := range c.of(s).Changes {
				if err := change.make(m); err != nil {
					c.report("error", change.Op, err)
				}
			}
			return c.step(s, "eom")
		},
		Abort: func(s *milter.Session) { c.step(s, "abort") },
		Close: func(s *milter.Session) { c.step(s, "close") },
	}
}

// brief gives a short segment itself, and says how long another one is.
func brief(segment []byte) string {
	if len(segment) > 100 {
		return fmt.Sprintf("%d bytes", len(segment))
	}
	return string(segment)
}

func (c *child) negotiate(s *milter.Session, n *milter.Negotiation) milter.Status {
	c.report("negotiate", n.OfferedActions, n.OfferedProtocol)
	n.Actions = c.Actions
	n.Protocol = n.Protocol&^milter.SMFIP_SKIP | c.Protocol&n.OfferedProtocol
	if len(c.Macros) > 0 {
		n.Actions |= milter.SMFIF_SETSYMLIST
	}
	for stage, macros := range c.Macros {
		if err := n.SetSymList(stage, macros...); err != nil {
			c.report("error", "SetSymList", err)
		}
	}
	return milter.SMFIS_CONTINUE
}

// step reports a callback, and does what the script says about it.
func (c *child) step(s *milter.Session, name string, args ...string) milter.Status {
	quoted := make([]any, len(args))
	for i, arg := range args {
		quoted[i] = fmt.Sprintf("%q", arg) // it may be no UTF-8, which JSON cannot hold
	}
	c.report(name, quoted...)
	for _, macro := range c.Reads {
		if value, ok := s.Macro(macro); ok {
			c.report("macro", name, macro, value)
		}
	}
	a, ok := c.of(s).Says[name]
	if !ok || a.To != "" && !slices.Contains(args, a.To) {
		return milter.SMFIS_CONTINUE
	}
	if a.Holds {
		c.hold(s, a.For)
	}
	if a.Code != 0 {
		return c.reply(s, a)
	}
	return a.Status
}

// of gives the script for the mail that a session is at.
func (c *child) of(s *milter.Session) script {
	sender, _ := s.Local.(string)
	if of, ok := c.Mails[sender]; ok {
		return of
	}
	return c.script
}

// reply gives a reply, and the status that goes with it.
func (c *child) reply(s *milter.Session, a answer) milter.Status {
	var err error
	switch a.By {
	case "SetReply":
		err = s.SetReply(strconv.Itoa(a.Code), a.XCode, a.Lines[0])
	case "SetMLReply":
		err = s.SetMLReply(strconv.Itoa(a.Code), a.XCode, a.Lines...)
	default:
		return s.Reply(a.Code, a.XCode, a.Lines...)
	}
	if err != nil {
		c.report("error", a.By, err)
	}
	if a.Code >= 500 {
		return milter.SMFIS_REJECT
	}
	return milter.SMFIS_TEMPFAIL
}

// hold makes the callback last.
func (c *child) hold(s *milter.Session, limit time.Duration) {
	c.report("holds")
	over := make(<-chan time.Time)
	if limit > 0 {
		over = time.After(limit)
	}
	select {
	case <-c.released:
	case <-over:
	case <-s.Context().Done():
	}
}

// make makes a change.
func (ch change) make(m *milter.Modifier) error {
	switch ch.Op {
	case "AddHeader":
		return m.AddHeader(ch.Name, ch.Value)
	case "ChangeHeader":
		return m.ChangeHeader(ch.Name, ch.Index, ch.Value)
	case "InsertHeader":
		return m.InsertHeader(ch.Index, ch.Name, ch.Value)
	case "ChangeFrom":
		return m.ChangeFrom(ch.Name, ch.Value)
	case "AddRcpt":
		return m.AddRcpt(ch.Name)
	case "AddRcptPar":
		return m.AddRcptPar(ch.Name, ch.Value)
	case "DelRcpt":
		return m.DelRcpt(ch.Name)
	case "ReplaceBody":
		return m.ReplaceBody([]byte(strings.Repeat(ch.Value, max(1, ch.Index))))
	case "Quarantine":
		return m.Quarantine(ch.Value)
	case "Progress":
		return m.Progress()
	case "KeepAlive":
		m.KeepAlive(keepAlive) // until the callback returns
		return nil
	}
	panic("no change " + ch.Op)
}

//go:build cgo

package milter_test

import (
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// recorder reports every callback with its arguments, %q so that any byte can be told, and lets everything pass.
func recorder(e *child) milter.Callbacks {
	report := func(s *milter.Session, name string, args ...any) milter.Status {
		for i, arg := range args {
			args[i] = fmt.Sprintf("%q", arg)
		}
		e.emit(s.ID(), name, args...)
		return milter.SMFIS_CONTINUE
	}
	return milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
			e.emit(s.ID(), "negotiate", uint32(n.OfferedActions), uint32(n.OfferedProtocol), n.OfferedF2, n.OfferedF3,
				uint32(n.Actions), uint32(n.Protocol), n.F2, n.F3)
			return milter.SMFIS_CONTINUE
		},
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			e.emit(s.ID(), "connect", fmt.Sprintf("%q", host), fmt.Sprintf("%T %v", addr, addr))
			return milter.SMFIS_CONTINUE
		},
		Unknown: func(s *milter.Session, command string) milter.Status { return report(s, "unknown", command) },
		Helo:    func(s *milter.Session, identity string) milter.Status { return report(s, "helo", identity) },
		MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
			return report(s, "mailfrom", address, args)
		},
		RcptTo: func(s *milter.Session, address string, args []string) milter.Status {
			return report(s, "rcptto", address, args)
		},
		Data:    func(s *milter.Session) milter.Status { return report(s, "data") },
		Header:  func(s *milter.Session, name, value string) milter.Status { return report(s, "header", name, value) },
		EOH:     func(s *milter.Session) milter.Status { return report(s, "eoh") },
		Segment: func(s *milter.Session, segment []byte) milter.Status { return report(s, "segment", segment) },
		EOM:     func(s *milter.Session, m *milter.Modifier) milter.Status { return report(s, "eom") },
		Abort:   func(s *milter.Session) { report(s, "abort") },
		Close:   func(s *milter.Session) { report(s, "close") },
	}
}

var recording = register("recording", func(e *child) *milter.Server {
	return &milter.Server{Callbacks: recorder(e), MaxDataSize: 1 << 20}
})

// heard gives the events without logs, as "name arg arg".
func (p *process) heard() (lines []string) {
	for _, e := range p.events() {
		if e.Name != "log" && e.Name != "ended" {
			lines = append(lines, strings.Join(append([]string{e.Name}, e.Args...), " "))
		}
	}
	return lines
}

func TestCallbackArguments(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 200)
	body := strings.Repeat("y", 65535) // the longest that MTAs send
	for name, tc := range map[string]struct {
		before string // the step that leads there, of an ordinary mail
		code   byte
		data   string
		want   string
	}{
		"connect IPv4":           {"", 'C', z("a.example") + "4\x00\x19" + z("192.0.2.1"), `connect "a.example" *net.TCPAddr 192.0.2.1:25`},
		"connect IPv4 high port": {"", 'C', z("a.example") + "4\xff\xfe" + z("192.0.2.1"), `connect "a.example" *net.TCPAddr 192.0.2.1:65534`},
		"connect IPv6":           {"", 'C', z("a.example") + "6\x00\x19" + z("2001:db8::1"), `connect "a.example" *net.TCPAddr [2001:db8::1]:25`},
		"connect IPv6 prefix":    {"", 'C', z("a.example") + "6\x00\x19" + z("IPv6:2001:db8::1"), `connect "a.example" *net.TCPAddr [2001:db8::1]:25`},
		"connect unix":           {"", 'C', z("localhost") + "L\x00\x00" + z("/run/a.sock"), `connect "localhost" *net.UnixAddr /run/a.sock`},
		"connect unknown":        {"", 'C', z("unknown") + "U", `connect "unknown" <nil> <nil>`},
		"connect no name":        {"", 'C', z("") + "U", `connect "" <nil> <nil>`},
		"connect 8-bit name":     {"", 'C', z("h\xe9\xff") + "U", `connect "h\xe9\xff" <nil> <nil>`},
		"helo":                   {"Connect", 'H', z("client.example"), `helo "client.example"`},
		"helo 8-bit":             {"Connect", 'H', z("\xff\xfe\x80"), `helo "\xff\xfe\x80"`},
		"helo empty":             {"Connect", 'H', z(""), `helo ""`},
		"mailfrom":               {"Helo", 'M', z("<a@example.org>"), `mailfrom "<a@example.org>" []`},
		"mailfrom null sender":   {"Helo", 'M', z("<>"), `mailfrom "<>" []`},
		"mailfrom arguments":     {"Helo", 'M', z("<a@example.org>", "SIZE=1", "BODY=8BITMIME", "SMTPUTF8"), `mailfrom "<a@example.org>" ["SIZE=1" "BODY=8BITMIME" "SMTPUTF8"]`},
		"mailfrom 8-bit":         {"Helo", 'M', z("<\xe9@example.org>", "X=\xff"), `mailfrom "<\xe9@example.org>" ["X=\xff"]`},
		"mailfrom long":          {"Helo", 'M', z("<" + long + "@example.org>"), `mailfrom "<` + long + `@example.org>" []`},
		"rcptto":                 {"MailFrom", 'R', z("<b@example.com>"), `rcptto "<b@example.com>" []`},
		"rcptto arguments":       {"MailFrom", 'R', z("<b@example.com>", "NOTIFY=NEVER", "ORCPT=rfc822;b"), `rcptto "<b@example.com>" ["NOTIFY=NEVER" "ORCPT=rfc822;b"]`},
		"unknown":                {"Helo", 'U', z("FOO bar"), `unknown "FOO bar"`},
		"data":                   {"RcptTo", 'T', "", `data`},
		"header":                 {"Data", 'L', z("Subject", "hello"), `header "Subject" "hello"`},
		"header empty value":     {"Data", 'L', z("X-Empty", ""), `header "X-Empty" ""`},
		"header folded":          {"Data", 'L', z("X-Folded", "a\n\tb"), `header "X-Folded" "a\n\tb"`},
		"header leading space":   {"Data", 'L', z("X-Space", "  a "), `header "X-Space" "  a "`},
		"header 8-bit":           {"Data", 'L', z("X-\xe9", "\xff\x80"), `header "X-\xe9" "\xff\x80"`},
		"eoh":                    {"Data", 'N', "", `eoh`},
		"segment":                {"EOH", 'B', "a\r\nb\x00c\xff", `segment "a\r\nb\x00c\xff"`},
		"segment longest":        {"EOH", 'B', body, `segment "` + body + `"`},
		"eom":                    {"EOH", 'E', "", `eom`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, recording)
			w := p.session()
			if tc.before != "" {
				w.upTo(tc.before)
			}
			require.Equal(t, reply('c'), w.ask(tc.code, tc.data))
			w.Quit()
			p.stop()
			heard := slices.DeleteFunc(p.heard(), func(line string) bool { return line == "abort" }) // QUIT in mid-mail
			require.GreaterOrEqual(t, len(heard), 2)
			assert.Equal(t, []string{tc.want, "close"}, heard[len(heard)-2:])
		})
	}
}

func TestAbortAndClose(t *testing.T) {
	t.Parallel()
	p := start(t, recording)
	w := p.session()
	w.upTo("RcptTo")
	w.Abort() // RSET: not answered
	w.mail()
	w.Quit()
	p.stop()
	names := []string{}
	for _, e := range p.events() {
		names = append(names, e.Name)
	}
	assert.Equal(t, []string{"negotiate", "connect", "helo", "mailfrom", "rcptto", "abort",
		"mailfrom", "rcptto", "data", "header", "eoh", "segment", "eom", "close", "ended"}, names)
}

// The text of an unknown command need not end with a NUL; libmilter hands it on as it came.
func TestUnknownWithoutEnd(t *testing.T) {
	t.Parallel()
	p := start(t, recording)
	w := p.session()
	w.open()
	sizes := []int{1, 7, 24, 1000, 60000, 500000}
	for _, size := range sizes {
		require.Equal(t, reply('c'), w.ask('U', strings.Repeat("U", size)))
	}
	w.Quit()
	p.stop()
	got := p.named("unknown")
	require.Len(t, got, len(sizes))
	for i, size := range sizes {
		text, err := strconv.Unquote(got[i].Args[0])
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(text, strings.Repeat("U", size)), "%d bytes", size)
		assert.LessOrEqual(t, len(text), size+4096, "%d bytes and what the allocator rounds up to", size)
	}
}

// A filter whose callbacks are those named by its argument.
var chosen = register("chosen", func(e *child) *milter.Server {
	all := recorder(e)
	all.Negotiate = nil
	cb := milter.Callbacks{}
	for _, name := range strings.Split(e.arg, ",") {
		switch name {
		case "connect":
			cb.Connect = all.Connect
		case "unknown":
			cb.Unknown = all.Unknown
		case "helo":
			cb.Helo = all.Helo
		case "envfrom":
			cb.MailFrom = all.MailFrom
		case "envrcpt":
			cb.RcptTo = all.RcptTo
		case "data":
			cb.Data = all.Data
		case "header":
			cb.Header = all.Header
		case "eoh":
			cb.EOH = all.EOH
		case "body":
			cb.Segment = all.Segment
		case "eom":
			cb.EOM = all.EOM
		case "abort":
			cb.Abort = all.Abort
		case "close":
			cb.Close = all.Close
		case "all":
			cb = all
		}
	}
	return &milter.Server{Callbacks: cb, Actions: milter.SMFIF_ADDHDRS | milter.SMFIF_QUARANTINE}
})

// Without Negotiate, a Go filter says on the wire what a C filter without xxfi_negotiate says: in the answer to every
// offer, and in the replies to what follows, which depend on it.
func TestSameAsCFilter(t *testing.T) {
	t.Parallel()
	cfilter := buildCFilter(t)
	for _, callbacks := range []string{"all", "connect", "unknown", "helo", "envfrom", "envrcpt", "data", "header", "eoh",
		"body", "eom", "abort", "close", "connect,envfrom,eom", "header,body,eom", "none"} {
		t.Run(callbacks, func(t *testing.T) {
			t.Parallel()
			p := start(t, chosen, withArg(callbacks))
			c := startC(t, cfilter, milter.SMFIF_ADDHDRS|milter.SMFIF_QUARANTINE, callbacks)
			for _, version := range []int{1, 2, 3, 4, 6, 7} {
				for _, actions := range []milter.Action{allActions, 0, 0x0f, 0x3f, milter.SMFIF_ADDHDRS} {
					for _, protocol := range []milter.Protocol{allProtocol, 0, 0x7f, 0x3ff, allProtocol &^ milter.SMFIP_SKIP, 0x7fffffff} {
						offer := optneg(version, actions, protocol)
						goSays, cSays := conversation(p.fragile(), offer), conversation(c.fragile(), offer)
						require.Equal(t, cSays, goSays, "version %d, %v, %v", version, actions, protocol)
					}
				}
			}
			p.stop()
		})
	}
}

// conversation offers, sends a mail without looking at what the filter wants, and gives all that it says.
func conversation(w *wire, offer string) packets {
	w.ask('O', offer) // a filter that refuses the offer is gone then
	for _, p := range []struct {
		code byte
		data string
	}{{'C', z("a.example") + "U"}, {'H', z("a.example")}, {'U', z("FOO")}, {'M', z("<a@example.org>")},
		{'R', z("<b@example.org>")}, {'T', ""}, {'L', z("A", "b")}, {'N', ""}, {'B', "b"}, {'E', ""}, {'Q', ""}} {
		w.Write(p.code, p.data)
	}
	w.drain()
	return received(w.Transcript())
}

// Every callback that is nil is not asked for, and libmilter's preset says so.
func TestNegotiationPreset(t *testing.T) {
	t.Parallel()
	p := start(t, recording)
	var want [][]string
	for _, tc := range []struct {
		actions  milter.Action
		protocol milter.Protocol
		want     []milter.Protocol // offered, preset
	}{
		{allActions, allProtocol, []milter.Protocol{allProtocol, milter.SMFIP_SKIP}},
		{milter.SMFIF_ADDHDRS, 0x3ff, []milter.Protocol{0x3ff | noReplies, 0}},
	} {
		w := p.offer(tc.actions, tc.protocol)
		assert.Equal(t, reply('O', optneg(6, tc.actions, tc.want[1])), w.last())
		w.Quit()
		want = append(want, []string{fmt.Sprint(uint32(tc.actions)), fmt.Sprint(uint32(tc.want[0])), "0", "0",
			fmt.Sprint(uint32(tc.actions)), fmt.Sprint(uint32(tc.want[1])), "0", "0"})
	}
	p.stop()
	seen := p.named("negotiate")
	require.Len(t, seen, len(want))
	for i := range want {
		assert.Equal(t, want[i], seen[i].Args)
	}
}

// noReplies are the SMFIP_NR_* bits, which libmilter offers on its own.
const noReplies = milter.SMFIP_NR_CONN | milter.SMFIP_NR_HELO | milter.SMFIP_NR_MAIL | milter.SMFIP_NR_RCPT |
	milter.SMFIP_NR_DATA | milter.SMFIP_NR_UNKN | milter.SMFIP_NR_HDR | milter.SMFIP_NR_EOH | milter.SMFIP_NR_BODY

// terms is what a filter asks for, as its argument.
type terms struct {
	Status   milter.Status
	Actions  milter.Action
	Protocol milter.Protocol
	Lists    [][]string // stage's number, macros...
	Server   milter.Protocol
}

var negotiating = register("negotiating", func(e *child) *milter.Server {
	var want terms
	if err := json.Unmarshal([]byte(e.arg), &want); err != nil {
		panic(err)
	}
	cb := recorder(e)
	var last *milter.Negotiation
	cb.Negotiate = func(s *milter.Session, n *milter.Negotiation) milter.Status {
		if want.Actions != 0 {
			n.Actions = want.Actions
		}
		n.Protocol |= want.Protocol
		for _, list := range want.Lists {
			var stage int
			fmt.Sscan(list[0], &stage)
			e.emit(s.ID(), "setsymlist", n.SetSymList(milter.Stage(stage), list[1:]...))
		}
		last = n
		return want.Status
	}
	cb.Helo = func(s *milter.Session, identity string) milter.Status {
		actions, protocol := s.Negotiated()
		e.emit(s.ID(), "negotiated", actions, protocol)
		e.emit(s.ID(), "late", last.SetSymList(milter.SMFIM_EOH, "i"))
		return milter.SMFIS_CONTINUE
	}
	return &milter.Server{Callbacks: cb, Protocol: want.Server, Macros: map[milter.Stage][]string{milter.SMFIM_EOM: {"i"}}}
})

func TestNegotiate(t *testing.T) {
	t.Parallel()
	eomList := "\x00\x00\x00\x05" + z("i") // Server.Macros
	for name, tc := range map[string]struct {
		terms
		offered milter.Protocol
		want    string // the answer to the offer; none: the filter leaves
		agreed  string
		errors  []string
	}{
		"continue": {terms{}, allProtocol,
			optneg(6, 0x1ff, 0x400) + eomList, allActions.String() + " SMFIP_SKIP", nil},
		"all options": {terms{Status: milter.SMFIS_ALL_OPTS}, allProtocol,
			optneg(6, 0x1ff, 0x400) + eomList, allActions.String() + " SMFIP_SKIP", nil},
		"some": {terms{Actions: milter.SMFIF_ADDHDRS, Protocol: milter.SMFIP_NR_HDR}, allProtocol,
			optneg(6, 0x101, 0x480) + eomList, "SMFIF_ADDHDRS|SMFIF_SETSYMLIST SMFIP_NR_HDR|SMFIP_SKIP", nil},
		"server's protocol is preset": {terms{Server: milter.SMFIP_RCPT_REJ | milter.SMFIP_HDR_LEADSPC}, allProtocol &^ milter.SMFIP_HDR_LEADSPC,
			optneg(6, 0x1ff, 0xc00) + eomList, allActions.String() + " SMFIP_SKIP|SMFIP_RCPT_REJ", nil},
		"no replies that the MTA lacks": {terms{Protocol: noReplies}, 0x7f,
			optneg(6, 0x1ff, 0) + eomList, allActions.String() + " " + noReplies.String(), nil},
		"more than offered": {terms{Protocol: milter.SMFIP_HDR_LEADSPC}, 0x7f, "", "", nil},
		"reject":            {terms{Status: milter.SMFIS_REJECT}, allProtocol, "", "", nil},
		"no status":         {terms{Status: 99}, allProtocol, "", "", nil},
		"macros": {terms{Lists: [][]string{{"0", "j", "{client_addr}"}, {"3"}, {"5", "{mail_addr}"}}}, allProtocol,
			optneg(6, 0x1ff, 0x400) + "\x00\x00\x00\x00" + z("j {client_addr}") + "\x00\x00\x00\x03" + z("") + "\x00\x00\x00\x05" + z("{mail_addr}"),
			allActions.String() + " SMFIP_SKIP", []string{"<nil>", "<nil>", "<nil>"}},
		"macros that cannot be": {terms{Lists: [][]string{{"0", "j"}, {"0", "i"}, {"7", "i"}, {"-1", "i"}, {"1", ""}, {"1", "a b"}, {"1", "a\x00"}}}, allProtocol,
			optneg(6, 0x1ff, 0x400) + "\x00\x00\x00\x00" + z("j") + eomList, allActions.String() + " SMFIP_SKIP",
			[]string{"<nil>", "the macros of SMFIM_CONNECT were set before", "there is no Stage(7)", "there is no Stage(-1)", `macro name ""`, `macro name "a b"`, `macro name "a\x00"`}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			arg, err := json.Marshal(tc.terms)
			require.NoError(t, err)
			p := start(t, negotiating, withArg(string(arg)))
			if tc.want == "" {
				w := p.connect()
				w.Write('O', optneg(6, allActions, tc.offered))
				w.WaitClosed()
			} else {
				w := p.offer(allActions, tc.offered)
				require.Equal(t, reply('O', tc.want), w.last())
				w.open()
				w.Quit()
				assert.Equal(t, tc.agreed, strings.Join(p.awaitName("negotiated").Args, " "))
				assert.Contains(t, p.awaitName("late").Args[0], "smfi_setsymlist: not allowed at this stage")
			}
			p.stop()
			lists := p.named("setsymlist")
			require.Len(t, lists, len(tc.errors))
			for i, want := range tc.errors {
				assert.Contains(t, lists[i].Args[0], want)
			}
		})
	}
}

// A step whose SMFIP_NR_* bit is in Server.Protocol is not answered, whatever its callback returns, and where the MTA
// has no such bit libmilter answers in the filter's place.
var withoutReplies = register("without replies", func(e *child) *milter.Server {
	cb := recorder(e)
	cb.Negotiate = nil
	header := cb.Header
	cb.Header = func(s *milter.Session, name, value string) milter.Status {
		header(s, name, value)
		return milter.SMFIS_REJECT
	}
	cb.EOH = func(*milter.Session) milter.Status { return milter.SMFIS_NOREPLY }
	return &milter.Server{Callbacks: cb, Protocol: noReplies}
})

func TestNoReplies(t *testing.T) {
	t.Parallel()
	for name, offered := range map[string]milter.Protocol{"MTA has them": allProtocol, "MTA lacks them": 0x7f &^ milter.SMFIP_NR_HDR} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, withoutReplies)
			w := p.offer(allActions, offered)
			require.Equal(t, reply('O', optneg(6, 0, noReplies&offered)), w.last())
			want := miltertest.Reply{Status: milter.SMFIS_NOREPLY}
			if offered&noReplies == 0 {
				want.Status = milter.SMFIS_CONTINUE // libmilter answers in the filter's place
			}
			require.Equal(t, slices.Repeat([]miltertest.Reply{want}, 10), []miltertest.Reply{w.Connect("a.example", nil), w.Helo("a.example"),
				w.MailFrom("<a@example.org>"), w.RcptTo("<b@example.org>"), w.Data(), w.Header("A", "b"), w.Header("B", "c"), w.EOH(),
				w.Segment("b"), w.Segment("c")})
			// If a step had been answered that should not be, its reply would come first.
			assert.Equal(t, packets{reply('c')}, w.end())
			w.Quit()
			p.stop()
			logs := p.named("log")
			texts := []string{}
			for _, e := range logs {
				var record struct{ Msg, Callback, Status string }
				require.NoError(t, json.Unmarshal([]byte(e.Args[0]), &record))
				assert.Contains(t, record.Msg, "answered a step that was negotiated without replies")
				texts = append(texts, record.Callback+" "+record.Status)
			}
			slices.Sort(texts) // one for each callback that answered, however often it did
			assert.Equal(t, []string{"xxfi_body SMFIS_CONTINUE", "xxfi_connect SMFIS_CONTINUE", "xxfi_data SMFIS_CONTINUE", "xxfi_envfrom SMFIS_CONTINUE",
				"xxfi_envrcpt SMFIS_CONTINUE", "xxfi_header SMFIS_REJECT", "xxfi_helo SMFIS_CONTINUE"}, texts)
		})
	}
}

// The end-of-message packet may bring the last piece of the body along: EOM comes after it also where body segments are not
// answered.
func TestBodyWithTheEnd(t *testing.T) {
	t.Parallel()
	for name, filter := range map[string]string{"replies": recording, "no replies": withoutReplies} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, filter)
			w := p.session()
			want := miltertest.Reply{}
			if filter == withoutReplies {
				want.Status = milter.SMFIS_NOREPLY
			}
			require.Equal(t, slices.Repeat([]miltertest.Reply{want}, 4),
				[]miltertest.Reply{w.MailFrom("<a@example.org>"), w.RcptTo("<b@example.org>"), w.Data(), w.EOH()})
			assert.Equal(t, reply('c'), w.ask('E', "the last piece"))
			w.Quit()
			p.stop()
			heard := p.heard()
			assert.Equal(t, []string{`segment "the last piece"`, "eom", "close"}, heard[len(heard)-3:])
		})
	}
}

// Callbacks with which libmilter can lose its place in a mail are told of at the start.
func TestLostPlace(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"Unknown":             "set Callbacks.Data as well",
		"Data Header":         "set Callbacks.EOH as well",
		"Unknown Data":        "",
		"Data Header EOH":     "",
		"Header":              "",
		"Unknown Message":     "",
		"Data Header Message": "",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			p := start(t, choosing, withArg(set))
			p.stop()
			if want == "" {
				assert.Empty(t, p.named("log"))
			} else {
				assert.Contains(t, p.awaitName("log").Args[0], want)
			}
		})
	}
}

// choosing has the callbacks that its argument names.
var choosing = register("choosing", func(e *child) *milter.Server {
	var cb milter.Callbacks
	for _, name := range strings.Fields(e.arg) {
		switch name {
		case "Unknown":
			cb.Unknown = func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }
		case "Data":
			cb.Data = func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
		case "Header":
			cb.Header = func(*milter.Session, string, string) milter.Status { return milter.SMFIS_CONTINUE }
		case "EOH":
			cb.EOH = func(*milter.Session) milter.Status { return milter.SMFIS_CONTINUE }
		case "Message":
			cb.Message = func(*milter.Session, *milter.Message, *milter.Modifier) milter.Status { return milter.SMFIS_CONTINUE }
		}
	}
	return &milter.Server{Callbacks: cb}
})

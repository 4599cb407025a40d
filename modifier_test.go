//go:build cgo

package milter_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// change is a call of a Modifier, as the argument of a filter.
type change struct {
	Call  string
	Texts []string
	Index int
	Bytes int // for bodies: so many, made by filler
}

// do makes the call.
func (c change) do(m *milter.Modifier) error {
	switch c.Call {
	case "AddHeader":
		return m.AddHeader(c.Texts[0], c.Texts[1])
	case "ChangeHeader":
		return m.ChangeHeader(c.Texts[0], c.Index, c.Texts[1])
	case "InsertHeader":
		return m.InsertHeader(c.Index, c.Texts[0], c.Texts[1])
	case "ChangeFrom":
		return m.ChangeFrom(c.Texts[0], c.Texts[1])
	case "AddRcpt":
		return m.AddRcpt(c.Texts[0])
	case "AddRcptPar":
		return m.AddRcptPar(c.Texts[0], c.Texts[1])
	case "DelRcpt":
		return m.DelRcpt(c.Texts[0])
	case "ReplaceBody":
		return m.ReplaceBody(filler(c.Bytes))
	case "ReplaceBodyFrom":
		return m.ReplaceBodyFrom(iotest.OneByteReader(strings.NewReader(string(filler(c.Bytes)))))
	case "Quarantine":
		return m.Quarantine(c.Texts[0])
	case "Progress":
		return m.Progress()
	}
	panic(c.Call)
}

// filler is a body in which each place can be told from the next.
func filler(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i % 251)
	}
	return b
}

// plan is what a filter does at end of message.
type plan struct {
	Changes []change
	Status  milter.Status
	Actions milter.Action // asked for; 0 is all
	MaxData int
}

// changing is a filter that reports each call's error, and what errors.Is finds in it.
var changing = register("changing", func(e *child) *milter.Server {
	var p plan
	if err := json.Unmarshal([]byte(e.arg), &p); err != nil {
		panic(err)
	}
	if p.Actions == 0 {
		p.Actions = allActions
	}
	return &milter.Server{Actions: p.Actions, MaxDataSize: p.MaxData, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			for _, c := range p.Changes {
				e.report(s, c.Call, c.do(m))
			}
			return p.Status
		},
	}}
})

// report emits an error: its text, and the sentinels that errors.Is finds.
func (e *child) report(s *milter.Session, name string, err error) {
	var found []string
	for text, target := range map[string]error{"ErrStage": milter.ErrStage, "ErrNotNegotiated": milter.ErrNotNegotiated,
		"ErrArgument": milter.ErrArgument, "ErrConnection": milter.ErrConnection} {
		if errors.Is(err, target) {
			found = append(found, text)
		}
	}
	e.emit(s.ID(), name, err, strings.Join(found, " "))
}

func startPlan(t testing.TB, p plan) *process {
	arg, err := json.Marshal(p)
	require.NoError(t, err)
	return start(t, changing, withArg(string(arg)))
}

// Each call puts the bytes on the wire that the C function of its name does.
func TestModifierOnTheWire(t *testing.T) {
	t.Parallel()
	full := string(filler(65535))
	for name, tc := range map[string]struct {
		change
		want packets
	}{
		"addheader":           {change{Call: "AddHeader", Texts: []string{"X-A", "b c"}}, packets{reply('h', z("X-A", "b c"))}},
		"addheader empty":     {change{Call: "AddHeader", Texts: []string{"X-A", ""}}, packets{reply('h', z("X-A", ""))}},
		"addheader folded":    {change{Call: "AddHeader", Texts: []string{"X-A", "b\n\tc\n d"}}, packets{reply('h', z("X-A", "b\n\tc\n d"))}},
		"addheader CRLF":      {change{Call: "AddHeader", Texts: []string{"X-A", "b\r\n\tc"}}, packets{reply('h', z("X-A", "b\n\tc"))}},
		"addheader 8-bit":     {change{Call: "AddHeader", Texts: []string{"X-\u00e9", "\u00ff \u20ac"}}, packets{reply('h', z("X-\u00e9", "\u00ff \u20ac"))}},
		"addheader longest":   {change{Call: "AddHeader", Texts: []string{"X", strings.Repeat("y", 65532)}}, packets{reply('h', z("X", strings.Repeat("y", 65532)))}},
		"insheader":           {change{Call: "InsertHeader", Texts: []string{"X-A", "b"}, Index: 7}, packets{reply('i', "\x00\x00\x00\x07"+z("X-A", "b"))}},
		"insheader first":     {change{Call: "InsertHeader", Texts: []string{"X-A", "b"}}, packets{reply('i', "\x00\x00\x00\x00"+z("X-A", "b"))}},
		"chgheader":           {change{Call: "ChangeHeader", Texts: []string{"X-A", "b"}, Index: 1}, packets{reply('m', "\x00\x00\x00\x01"+z("X-A", "b"))}},
		"chgheader delete":    {change{Call: "ChangeHeader", Texts: []string{"X-A", ""}, Index: 300}, packets{reply('m', "\x00\x00\x01\x2c"+z("X-A", ""))}},
		"chgfrom":             {change{Call: "ChangeFrom", Texts: []string{"<a@example.org>", ""}}, packets{reply('e', z("<a@example.org>"))}},
		"chgfrom arguments":   {change{Call: "ChangeFrom", Texts: []string{"<>", "RET=HDRS ENVID=x"}}, packets{reply('e', z("<>", "RET=HDRS ENVID=x"))}},
		"addrcpt":             {change{Call: "AddRcpt", Texts: []string{"<a@example.org>"}}, packets{reply('+', z("<a@example.org>"))}},
		"addrcpt_par":         {change{Call: "AddRcptPar", Texts: []string{"<a@example.org>", "NOTIFY=NEVER"}}, packets{reply('2', z("<a@example.org>", "NOTIFY=NEVER"))}},
		"addrcpt_par no args": {change{Call: "AddRcptPar", Texts: []string{"<a@example.org>", ""}}, packets{reply('2', z("<a@example.org>"))}},
		"delrcpt":             {change{Call: "DelRcpt", Texts: []string{"<a@example.org>"}}, packets{reply('-', z("<a@example.org>"))}},
		"replacebody":         {change{Call: "ReplaceBody", Bytes: 10}, packets{reply('b', full[:10])}},
		"replacebody empty":   {change{Call: "ReplaceBody"}, packets{reply('b')}},
		"replacebody pieces":  {change{Call: "ReplaceBody", Bytes: 65535*2 + 1}, bodyPackets(65535*2 + 1)},
		"replacebody reader":  {change{Call: "ReplaceBodyFrom", Bytes: 65535 + 7}, bodyPackets(65535 + 7)},
		"replacebody exactly": {change{Call: "ReplaceBodyFrom", Bytes: 65535}, bodyPackets(65535)},
		"replacebody nothing": {change{Call: "ReplaceBodyFrom"}, packets{reply('b')}},
		"quarantine":          {change{Call: "Quarantine", Texts: []string{"looks odd"}}, packets{reply('q', z("looks odd"))}},
		"progress":            {change{Call: "Progress"}, packets{reply('p')}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := startPlan(t, plan{Changes: []change{tc.change}})
			w := p.session()
			assert.Equal(t, append(tc.want, reply('c')), w.end())
			w.Quit()
			p.stop()
			assert.Equal(t, "<nil>", p.awaitName(tc.Call).Args[0])
		})
	}
}

// bodyPackets are smfi_replacebody's for so many bytes.
func bodyPackets(n int) (list packets) {
	for body := string(filler(n)); body != ""; {
		piece := min(len(body), 65535)
		list = append(list, reply('b', body[:piece]))
		body = body[piece:]
	}
	return list
}

func TestModifierErrors(t *testing.T) {
	t.Parallel()
	ok, bad := []string{"X-A", "b"}, func(texts ...string) []string { return texts }
	for name, tc := range map[string]struct {
		change
		plan
		want, is string
	}{
		"no header name":      {change{Call: "AddHeader", Texts: bad("", "b")}, plan{}, "milter: smfi_addheader: invalid argument: header name is empty", "ErrArgument"},
		"NUL in name":         {change{Call: "AddHeader", Texts: bad("X\x00A", "b")}, plan{}, "milter: smfi_addheader: invalid argument: header name has '\\x00' at byte 1", "ErrArgument"},
		"LF in name":          {change{Call: "InsertHeader", Texts: bad("X\nA", "b")}, plan{}, "milter: smfi_insheader: invalid argument: header name has '\\n' at byte 1", "ErrArgument"},
		"NUL in value":        {change{Call: "AddHeader", Texts: bad("X-A", "b\x00c")}, plan{}, "milter: smfi_addheader: invalid argument: header value has '\\x00'", "ErrArgument"},
		"CR in value":         {change{Call: "AddHeader", Texts: bad("X-A", "b\rc")}, plan{}, "milter: smfi_addheader: invalid argument: header value has '\\r'", "ErrArgument"},
		"new field":           {change{Call: "ChangeHeader", Texts: bad("X-A", "b\nX-B: c"), Index: 1}, plan{}, "milter: smfi_chgheader: invalid argument: header value has a line that does not begin with a blank, which would begin a new field", "ErrArgument"},
		"new field by CRLF":   {change{Call: "AddHeader", Texts: bad("X-A", "b\r\nX-B: c")}, plan{}, "milter: smfi_addheader: invalid argument: header value has a line that does not begin with a blank, which would begin a new field", "ErrArgument"},
		"LF at the end":       {change{Call: "AddHeader", Texts: bad("X-A", "b\n")}, plan{}, "milter: smfi_addheader: invalid argument: header value has a line that does not begin with a blank, which would begin a new field", "ErrArgument"},
		"index below 0":       {change{Call: "ChangeHeader", Texts: ok, Index: -1}, plan{}, "milter: smfi_chgheader: invalid argument: header index -1", "ErrArgument"},
		"index above int":     {change{Call: "InsertHeader", Texts: ok, Index: 1 << 31}, plan{}, "milter: smfi_insheader: invalid argument: header index 2147483648", "ErrArgument"},
		"header too long":     {change{Call: "AddHeader", Texts: bad("X", strings.Repeat("y", 65533))}, plan{}, "milter: smfi_addheader: invalid argument: 65536 bytes, over the 65535 of Server.MaxDataSize", "ErrArgument"},
		"no address":          {change{Call: "AddRcpt", Texts: bad("")}, plan{}, "milter: smfi_addrcpt: invalid argument: address is empty", "ErrArgument"},
		"LF in address":       {change{Call: "DelRcpt", Texts: bad("<a@example.org>\n")}, plan{}, "milter: smfi_delrcpt: invalid argument: address has '\\n' at byte 15", "ErrArgument"},
		"CR in arguments":     {change{Call: "ChangeFrom", Texts: bad("<>", "A=\r")}, plan{}, "milter: smfi_chgfrom: invalid argument: ESMTP arguments has '\\r' at byte 2", "ErrArgument"},
		"NUL in arguments":    {change{Call: "AddRcptPar", Texts: bad("<a@example.org>", "\x00")}, plan{}, "milter: smfi_addrcpt_par: invalid argument: ESMTP arguments has '\\x00' at byte 0", "ErrArgument"},
		"no reason":           {change{Call: "Quarantine", Texts: bad("")}, plan{}, "milter: smfi_quarantine: invalid argument: reason is empty", "ErrArgument"},
		"NUL in reason":       {change{Call: "Quarantine", Texts: bad("a\x00")}, plan{}, "milter: smfi_quarantine: invalid argument: reason has '\\x00' at byte 1", "ErrArgument"},
		"body over a limit":   {change{Call: "ReplaceBody", Bytes: 2000}, plan{MaxData: 1000}, "milter: smfi_replacebody: invalid argument: 2000 bytes, over the 1000 of Server.MaxDataSize", "ErrArgument"},
		"addheader not asked": {change{Call: "AddHeader", Texts: ok}, plan{Actions: milter.SMFIF_CHGHDRS}, "milter: smfi_addheader: action not negotiated: SMFIF_ADDHDRS (asked for and granted: SMFIF_CHGHDRS)", "ErrNotNegotiated"},
		"insheader not asked": {change{Call: "InsertHeader", Texts: ok}, plan{Actions: milter.SMFIF_CHGHDRS}, "milter: smfi_insheader: action not negotiated: SMFIF_ADDHDRS (asked for and granted: SMFIF_CHGHDRS)", "ErrNotNegotiated"},
		"chgheader not asked": {change{Call: "ChangeHeader", Texts: ok}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_chgheader: action not negotiated: SMFIF_CHGHDRS (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"chgfrom not asked":   {change{Call: "ChangeFrom", Texts: bad("<>", "")}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_chgfrom: action not negotiated: SMFIF_CHGFROM (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"addrcpt not asked":   {change{Call: "AddRcpt", Texts: bad("<>")}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_addrcpt: action not negotiated: SMFIF_ADDRCPT (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"addrcpt_par":         {change{Call: "AddRcptPar", Texts: bad("<>", "")}, plan{Actions: milter.SMFIF_ADDRCPT}, "milter: smfi_addrcpt_par: action not negotiated: SMFIF_ADDRCPT_PAR (asked for and granted: SMFIF_ADDRCPT)", "ErrNotNegotiated"},
		"delrcpt not asked":   {change{Call: "DelRcpt", Texts: bad("<>")}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_delrcpt: action not negotiated: SMFIF_DELRCPT (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"body not asked":      {change{Call: "ReplaceBody", Bytes: 3}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_replacebody: action not negotiated: SMFIF_CHGBODY (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"reader not asked":    {change{Call: "ReplaceBodyFrom", Bytes: 3}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_replacebody: action not negotiated: SMFIF_CHGBODY (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
		"quarantine":          {change{Call: "Quarantine", Texts: bad("a")}, plan{Actions: milter.SMFIF_ADDHDRS}, "milter: smfi_quarantine: action not negotiated: SMFIF_QUARANTINE (asked for and granted: SMFIF_ADDHDRS)", "ErrNotNegotiated"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.Changes = []change{tc.change, {Call: "Progress"}} // Progress proves that the mail goes on unharmed
			p := startPlan(t, tc.plan)
			w := p.session()
			assert.Equal(t, packets{reply('p'), reply('c')}, w.end(), "nothing of the refused call is sent")
			w.Quit()
			p.stop()
			got := p.awaitName(tc.Call)
			assert.Equal(t, []string{tc.want, tc.is}, got.Args)
		})
	}
}

// An MTA that does not have an action is not served by a filter that needs it, as with C; the log says why.
func TestModifierOldMTA(t *testing.T) {
	t.Parallel()
	p := startPlan(t, plan{Actions: milter.SMFIF_CHGFROM})
	w := p.connect()
	w.Write('O', optneg(2, 0x3f, 0x7f))
	w.WaitClosed()
	p.stop()
	got := p.awaitName("log").Args[0]
	assert.Contains(t, got, "libmilter closes the connection of an MTA that does not offer an action that the filter asks for")
	assert.Contains(t, got, `"lacking":"SMFIF_CHGFROM","wanted":"SMFIF_CHGFROM","offered":"SMFIF_ADDHDRS|`)
	assert.Contains(t, got, "ask for less in Server.Actions")
}

// So is one that cannot leave out what the filter has no callback for.
func TestOldMTAWithoutSteps(t *testing.T) {
	t.Parallel()
	p := startPlan(t, plan{})
	w := p.connect()
	w.Write('O', optneg(6, allActions, milter.SMFIP_SKIP|milter.SMFIP_NOHELO))
	w.WaitClosed()
	p.stop()
	got := p.awaitName("log").Args[0]
	assert.Contains(t, got, "libmilter closes the connection of an MTA that does not offer to leave out a step that has no callback")
	assert.Contains(t, got, `"lacking":"SMFIP_NOCONNECT|SMFIP_NOMAIL|SMFIP_NORCPT|SMFIP_NOBODY|SMFIP_NOHDRS|SMFIP_NOEOH"`)
	assert.Contains(t, got, `"offered":"SMFIP_NOHELO|`)
	assert.Contains(t, got, "set the callbacks of the steps that are lacking")
	assert.Len(t, p.named("log"), 1)
}

// late keeps what callbacks are given, and uses it when it should not.
var late = register("late", func(e *child) *milter.Server {
	var kept *milter.Modifier
	try := func(s *milter.Session, when string) {
		e.report(s, when+" modifier", kept.AddHeader("X", "y"))
		e.report(s, when+" body", kept.ReplaceBodyFrom(strings.NewReader("x")))
		e.report(s, when+" progress", kept.Progress())
	}
	cb := milter.Callbacks{}
	mails := 0
	cb.EOM = func(s *milter.Session, m *milter.Modifier) milter.Status {
		if mails++; mails == 2 {
			try(s, "next mail")
			return milter.SMFIS_CONTINUE
		}
		kept = m
		kept.KeepAlive(time.Hour) // ends with the callback: leftovers sees to that
		return milter.SMFIS_CONTINUE
	}
	cb.MailFrom = func(s *milter.Session, address string, args []string) milter.Status {
		if kept != nil {
			try(s, "mailfrom")
		}
		return milter.SMFIS_CONTINUE
	}
	cb.Close = func(s *milter.Session) {
		try(s, "close")
		go func() {
			for {
				if err := s.SetReply("550", "", "x"); err != nil {
					_, ok := s.Macro("i")
					e.report(s, "after", err)
					e.emit(s.ID(), "macro after", ok)
					e.report(s, "after mlreply", s.SetMLReply("550", "", "x"))
					e.emit(s.ID(), "reply after", s.Reply(550, "", "x"))
					e.emit(s.ID(), "context after", <-s.Context().Done(), s.Context().Err())
					return
				}
			}
		}()
	}
	return &milter.Server{Actions: milter.SMFIF_ADDHDRS | milter.SMFIF_CHGBODY, Callbacks: cb}
})

func TestTooLate(t *testing.T) {
	t.Parallel()
	p := start(t, late)
	w := p.session()
	for range 2 {
		w.continues(w.MailFrom("<a@example.org>"))
		assert.Equal(t, packets{reply('c')}, w.end())
	}
	w.Quit()
	p.awaitName("context after")
	p.stop()
	for _, when := range []string{"mailfrom", "next mail", "close"} {
		for call, op := range map[string]string{"modifier": "smfi_addheader", "body": "smfi_replacebody", "progress": "smfi_progress"} {
			assert.Equal(t, []string{"milter: " + op + ": not allowed at this stage: the end-of-message callback has returned", "ErrStage"},
				p.awaitName(when+" "+call).Args)
		}
	}
	assert.Equal(t, []string{"milter: smfi_setreply: not allowed at this stage: no callback of the session is running", "ErrStage"}, p.awaitName("after").Args)
	assert.Equal(t, "ErrStage", p.awaitName("after mlreply").Args[1])
	assert.Equal(t, []string{"false"}, p.awaitName("macro after").Args)
	assert.Equal(t, []string{"SMFIS_REJECT"}, p.awaitName("reply after").Args)
	assert.Equal(t, []string{"{}", "context canceled"}, p.awaitName("context after").Args)
}

// gone makes calls until the MTA's end of the connection, which the test closes, is noticed.
var gone = register("gone", func(e *child) *milter.Server {
	return &milter.Server{Actions: allActions, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			e.emit(s.ID(), "eom")
			for {
				if err := m.Progress(); err != nil {
					e.report(s, "progress", err)
					break
				}
			}
			e.report(s, "addheader", m.AddHeader("X", "y"))
			e.report(s, "body", m.ReplaceBodyFrom(strings.NewReader("x")))
			stop := m.KeepAlive(time.Millisecond)
			stop()
			stop()
			return milter.SMFIS_CONTINUE
		},
	}}
})

func TestConnectionGone(t *testing.T) {
	t.Parallel()
	p := start(t, gone)
	w := p.session()
	w.Write('E')
	p.awaitName("eom")
	w.Close()
	for call, op := range map[string]string{"progress": "smfi_progress", "addheader": "smfi_addheader", "body": "smfi_replacebody"} {
		got := p.awaitName(call)
		assert.Contains(t, got.Args[0], "milter: "+op+": connection to the MTA lost: ")
		assert.Equal(t, "ErrConnection", got.Args[1])
	}
	p.stop()
}

var errReader = errors.New("the reader is out of order")

// brokenReader replaces the body by what a reader gives that fails after so many bytes, and then
// returns what its argument says.
var brokenReader = register("broken reader", func(e *child) *milter.Server {
	var n, status int
	var how string
	fmt.Sscan(e.arg, &n, &status, &how)
	return &milter.Server{Actions: milter.SMFIF_CHGBODY, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			end := iotest.ErrReader(errReader)
			if how == "panic" {
				end = readerFunc(func([]byte) (int, error) { panic("reader") })
			}
			err := m.ReplaceBodyFrom(io.MultiReader(strings.NewReader(string(filler(n))), end))
			e.emit(s.ID(), "error", err, errors.Is(err, errReader))
			return milter.Status(status)
		},
	}}
})

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A body that cannot be read to its end is not sent at all, and what EOM returns stands.
func TestReaderThatFails(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		bytes  int
		status milter.Status
		how    string
		want   byte
	}{
		"at once":  {0, milter.SMFIS_CONTINUE, "error", 'c'},
		"continue": {70_000, milter.SMFIS_CONTINUE, "error", 'c'},
		"accept":   {70_000, milter.SMFIS_ACCEPT, "error", 'a'},
		"reject":   {70_000, milter.SMFIS_REJECT, "error", 'r'},
		"in file":  {700_000, milter.SMFIS_DISCARD, "error", 'd'},
		"panic":    {700_000, milter.SMFIS_CONTINUE, "panic", 't'},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, brokenReader, withArg(fmt.Sprint(tc.bytes, " ", int(tc.status), " ", tc.how)))
			w := p.session()
			assert.Equal(t, packets{reply(tc.want)}, w.end())
			w.Quit()
			p.stop()
			if tc.how == "error" {
				assert.Equal(t, []string{"milter: smfi_replacebody: reading the new body: the reader is out of order", "true"}, p.awaitName("error").Args)
			}
		})
	}
}

// halfBody sends two pieces of a body, and cannot read the third again.
var halfBody = register("half a body", func(e *child) *milter.Server {
	var status int
	fmt.Sscan(e.arg, &status)
	return &milter.Server{Actions: milter.SMFIF_CHGBODY, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			left := 2
			err := m.SendBody(func() ([]byte, error) {
				if left--; left < 0 {
					return nil, errReader
				}
				return []byte("piece"), nil
			})
			e.emit(s.ID(), "error", err, errors.Is(err, errReader))
			return milter.Status(status)
		},
	}}
})

func TestHalfABodyIsNotDelivered(t *testing.T) {
	t.Parallel()
	for status, want := range map[milter.Status]byte{
		milter.SMFIS_CONTINUE: 't', milter.SMFIS_ACCEPT: 't', milter.SMFIS_REJECT: 'r', milter.SMFIS_DISCARD: 'd',
	} {
		t.Run(status.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, halfBody, withArg(fmt.Sprint(int(status))))
			w := p.session()
			assert.Equal(t, packets{reply('b', "piece"), reply('b', "piece"), reply(want)}, w.end())
			w.Quit()
			p.stop()
			assert.Equal(t, []string{"milter: smfi_replacebody: reading the new body again: the reader is out of order", "true"},
				p.awaitName("error").Args)
		})
	}
}

// piecewise makes a new body in pieces, with something in between.
var piecewise = register("piecewise", func(e *child) *milter.Server {
	return &milter.Server{Actions: milter.SMFIF_CHGBODY | milter.SMFIF_ADDHDRS, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			for _, call := range strings.Fields(e.arg) {
				var err error
				switch call {
				case "ReplaceBody":
					err = m.ReplaceBody([]byte("x"))
				case "ReplaceBodyFrom":
					err = m.ReplaceBodyFrom(strings.NewReader("y"))
				case "AddHeader":
					err = m.AddHeader("A", "b")
				case "Progress":
					err = m.Progress()
				case "tick":
					err = m.StayAlive()
				}
				if err != nil {
					panic(err)
				}
			}
			return milter.SMFIS_CONTINUE
		},
	}}
})

// What is sent between the pieces of a body is sent as in C, and the log says that Postfix breaks off there. KeepAlive is
// silent between them.
func TestBetweenPieces(t *testing.T) {
	t.Parallel()
	x, y, header, progress := reply('b', "x"), reply('b', "y"), reply('h', z("A", "b")), reply('p')
	for calls, tc := range map[string]struct {
		want   packets
		warned bool
	}{
		"ReplaceBody ReplaceBody":                     {packets{x, x}, false},
		"ReplaceBody AddHeader":                       {packets{x, header}, false},
		"AddHeader Progress ReplaceBody ReplaceBody":  {packets{header, progress, x, x}, false},
		"ReplaceBody AddHeader ReplaceBody":           {packets{x, header, x}, true},
		"ReplaceBody Progress ReplaceBody":            {packets{x, progress, x}, true},
		"ReplaceBody AddHeader ReplaceBodyFrom":       {packets{x, header, y}, true},
		"ReplaceBodyFrom ReplaceBody ReplaceBodyFrom": {packets{y, x, y}, false},
		"ReplaceBodyFrom tick ReplaceBody":            {packets{y, progress, x}, true},
		"tick ReplaceBody tick ReplaceBody tick":      {packets{progress, x, x}, false},
		"ReplaceBody AddHeader tick":                  {packets{x, header, progress}, false},
	} {
		t.Run(calls, func(t *testing.T) {
			t.Parallel()
			p := start(t, piecewise, withArg(calls))
			w := p.session()
			w.Write('E') // to an MTA that takes all
			var got packets
			for len(got) <= len(tc.want) {
				got = append(got, w.Read())
			}
			assert.Equal(t, append(tc.want, reply('c')), got)
			w.Quit()
			p.stop()
			logs := p.named("log")
			if !tc.warned {
				assert.Empty(t, logs)
				return
			}
			require.Len(t, logs, 1)
			assert.Contains(t, logs[0].Args[0], "a piece of a new body was sent after something else, Postfix takes it for a fault")
		})
	}
}

// slowBody replaces the body by what comes slowly, while the MTA is kept alive.
var slowBody = register("slow body", func(*child) *milter.Server {
	return &milter.Server{Actions: milter.SMFIF_CHGBODY, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			defer m.KeepAlive(time.Millisecond)()
			goOn := make(chan os.Signal, 1)
			signal.Notify(goOn, syscall.SIGUSR2)
			end := readerFunc(func(p []byte) (int, error) {
				<-goOn // the MTA has seen that the filter lives
				return 0, io.EOF
			})
			if err := m.ReplaceBodyFrom(io.MultiReader(strings.NewReader(strings.Repeat("x", 1_000_000)), end)); err != nil {
				panic(err)
			}
			return milter.SMFIS_CONTINUE
		},
	}}
})

// The MTA is kept alive while the new body is read, and nothing comes between its pieces.
func TestKeepAliveWithSlowBody(t *testing.T) {
	t.Parallel()
	p := start(t, slowBody)
	w := p.session()
	w.Write('E')
	for range 5 {
		require.Equal(t, reply('p'), w.Read())
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR2))
	var got packets
	for len(got) == 0 || got[len(got)-1].Code == 'p' || got[len(got)-1].Code == 'b' {
		got = append(got, w.Read())
	}
	codes := ""
	bytes := 0
	for _, p := range got {
		codes += string(p.Code)
		bytes += len(p.Data)
	}
	assert.Regexp(t, "^p*b+p*c$", codes)
	assert.Equal(t, 1_000_000, bytes)
	w.Quit()
	p.stop()
}

// keepingAlive waits in EOM until the test lets it go, and changes the mail from several goroutines meanwhile.
var keepingAlive = register("keeping alive", func(e *child) *milter.Server {
	release := make(chan os.Signal, 1)
	signal.Notify(release, syscall.SIGUSR2)
	return &milter.Server{Actions: allActions, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			defer m.KeepAlive(time.Millisecond)()
			done := make(chan bool)
			for range 4 {
				go func() {
					for range 50 {
						if err := m.AddHeader("X-Concurrent", strings.Repeat("y", 100)); err != nil {
							panic(err)
						}
					}
					done <- true
				}()
			}
			for range 4 {
				<-done
			}
			<-release // the slow work that KeepAlive is for
			return milter.SMFIS_CONTINUE
		},
	}}
})

func TestKeepAlive(t *testing.T) {
	t.Parallel()
	p := start(t, keepingAlive)
	w := p.session()
	header, progress := reply('h', z("X-Concurrent", strings.Repeat("y", 100))), reply('p')
	count := map[miltertest.Packet]int{}
	w.Write('E')
	for count[header] < 200 || count[progress] < 3 { // MTA's patience would end here without KeepAlive
		count[w.Read()]++
	}
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGUSR2))
	last := w.Read()
	for last == progress {
		last = w.Read()
	}
	assert.Equal(t, reply('c'), last)
	assert.Equal(t, 200, count[header])
	assert.Len(t, count, 2, "whole packets only")
	w.Quit()
	p.stop()
}

// outliving hands the body to a goroutine that is still reading when EOM returns, or hides a reader's panic.
var outliving = register("outliving", func(e *child) *milter.Server {
	return &milter.Server{Actions: milter.SMFIF_CHGBODY, Callbacks: milter.Callbacks{
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			begun, pieces := make(chan bool), 0
			reader := readerFunc(func(p []byte) (int, error) {
				if pieces++; pieces == 3 {
					if e.arg == "recovered" {
						panic("reader")
					}
					close(begun)
					<-s.Context().Done() // the end of the session, well after EOM
				}
				return len(p), nil
			})
			if e.arg == "recovered" {
				defer func() { _ = recover() }()
				_ = m.ReplaceBodyFrom(reader)
				return milter.SMFIS_CONTINUE
			}
			go func() { e.report(s, "outlived", m.ReplaceBodyFrom(reader)) }()
			<-begun
			return milter.SMFIS_CONTINUE
		},
	}}
})

// A body that is still being read when EOM returns is not sent.
func TestBodyOutlivesEOM(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"goroutine", "recovered"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			p := start(t, outliving, withArg(how))
			w := p.session()
			assert.Equal(t, packets{reply('c')}, w.end())
			w.Quit()
			if how == "goroutine" {
				assert.Equal(t, "ErrStage", p.awaitName("outlived").Args[1])
			}
			p.stop()
		})
	}
}

// Values that a program has made itself are refused, not dereferenced.
func TestZeroValues(t *testing.T) {
	t.Parallel()
	var m milter.Modifier
	require.ErrorIs(t, m.AddHeader("X", "y"), milter.ErrStage)
	require.ErrorIs(t, m.ChangeHeader("X", 1, "y"), milter.ErrStage)
	require.ErrorIs(t, m.InsertHeader(1, "X", "y"), milter.ErrStage)
	require.ErrorIs(t, m.ChangeFrom("<>", ""), milter.ErrStage)
	require.ErrorIs(t, m.AddRcpt("<>"), milter.ErrStage)
	require.ErrorIs(t, m.AddRcptPar("<>", ""), milter.ErrStage)
	require.ErrorIs(t, m.DelRcpt("<>"), milter.ErrStage)
	require.ErrorIs(t, m.ReplaceBody(nil), milter.ErrStage)
	require.ErrorIs(t, m.ReplaceBodyFrom(strings.NewReader("x")), milter.ErrStage)
	require.ErrorIs(t, m.Quarantine("x"), milter.ErrStage)
	require.ErrorIs(t, m.Progress(), milter.ErrStage)
	m.KeepAlive(time.Hour)()
	var s milter.Session
	require.ErrorIs(t, s.SetReply("550", "", ""), milter.ErrStage)
	require.ErrorIs(t, s.SetMLReply("550", "", ""), milter.ErrStage)
	assert.Equal(t, milter.SMFIS_REJECT, s.Reply(550, ""))
	_, ok := s.Macro("i")
	assert.False(t, ok)
	require.NoError(t, s.Context().Err())
	var n milter.Negotiation
	require.ErrorIs(t, n.SetSymList(milter.SMFIM_EOM, "i"), milter.ErrStage)
}

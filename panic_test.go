//go:build cgo

package milter_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"net"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// failing has all callbacks, of which one does what the argument says, in every session that says HELO "bad" or, for
// the callbacks before that, in every one: "callback how". Behind a slash may stand protocol bits to ask for.
var failing = register("failing", func(e *child) *milter.Server {
	arg, protocol, _ := strings.Cut(e.arg, "/")
	callback, how, _ := strings.Cut(arg, " ")
	var bits uint32
	_, _ = fmt.Sscan(protocol, &bits)
	fail := func(name string) milter.Status {
		if name != callback {
			return milter.SMFIS_CONTINUE
		}
		switch how {
		case "panic":
			panic("out of order")
		case "panic nil":
			panic(nil)
		case "fault":
			var p *milter.Server
			p.Addr = "x"
		case "goexit":
			runtime.Goexit()
		case "goexit deferred":
			defer runtime.Goexit()
			panic("swallowed by Goexit")
		case "panic deferred":
			defer panic("the second")
			panic("the first")
		case "locked":
			runtime.LockOSThread()
			runtime.LockOSThread()
			return milter.SMFIS_CONTINUE
		}
		var status int
		_, err := fmt.Sscan(how, &status)
		if err != nil {
			panic(err)
		}
		return milter.Status(status)
	}
	srv := &milter.Server{Protocol: milter.Protocol(bits), Callbacks: milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status { return fail("negotiate") },
		Connect:   func(s *milter.Session, host string, addr net.Addr) milter.Status { return fail("connect") },
		Unknown:   func(s *milter.Session, command string) milter.Status { return fail("unknown") },
		Helo:      func(s *milter.Session, identity string) milter.Status { return fail("helo") },
		MailFrom:  func(s *milter.Session, address string, args []string) milter.Status { return fail("mailfrom") },
		RcptTo:    func(s *milter.Session, address string, args []string) milter.Status { return fail("rcptto") },
		Data:      func(s *milter.Session) milter.Status { return fail("data") },
		Header:    func(s *milter.Session, name, value string) milter.Status { return fail("header") },
		EOH:       func(s *milter.Session) milter.Status { return fail("eoh") },
		Segment:   func(s *milter.Session, segment []byte) milter.Status { return fail("segment") },
		EOM:       func(s *milter.Session, m *milter.Modifier) milter.Status { return fail("eom") },
		Abort:     func(s *milter.Session) { fail("abort") },
		Close:     func(s *milter.Session) { fail("close") },
	}}
	if how == "panic deferred" { // a logger that fails as well
		srv.Logger = slog.New(slog.NewTextHandler(writerFunc(func([]byte) (int, error) { panic("logger") }), nil))
	}
	if how == "goexit deferred" {
		log := e.logger()
		srv.Logger = slog.New(exitingHandler{log.Handler()})
	}
	return srv
})

// exitingHandler logs, and then ends its goroutine.
type exitingHandler struct{ slog.Handler }

func (h exitingHandler) Handle(ctx context.Context, record slog.Record) error {
	_ = h.Handler.Handle(ctx, record)
	runtime.Goexit()
	return nil
}

// callbackNames gives each callback's C name and how a session comes to it: the step that leads there, of an ordinary mail,
// and its own, which is answered or not.
var callbackNames = map[string]struct {
	c        string
	before   string
	step     func(w *wire)
	answered bool
}{
	"negotiate": {"xxfi_negotiate", "", func(w *wire) { w.Write('O', optneg(6, allActions, allProtocol)) }, false},
	"connect":   {"xxfi_connect", "", func(w *wire) { w.Connect("a.example", nil) }, true},
	"helo":      {"xxfi_helo", "", func(w *wire) { w.Helo("a.example") }, true},
	"unknown":   {"xxfi_unknown", "Helo", func(w *wire) { w.Unknown("FOO") }, true},
	"mailfrom":  {"xxfi_envfrom", "Helo", func(w *wire) { w.MailFrom("<a@example.org>") }, true},
	"rcptto":    {"xxfi_envrcpt", "MailFrom", func(w *wire) { w.RcptTo("<a@example.org>") }, true},
	"data":      {"xxfi_data", "RcptTo", func(w *wire) { w.Data() }, true},
	"header":    {"xxfi_header", "Data", func(w *wire) { w.Header("A", "b") }, true},
	"eoh":       {"xxfi_eoh", "Data", func(w *wire) { w.EOH() }, true},
	"segment":   {"xxfi_body", "EOH", func(w *wire) { w.Segment("b") }, true},
	"eom":       {"xxfi_eom", "EOH", func(w *wire) { w.EOM() }, true},
	"abort":     {"xxfi_abort", "RcptTo", func(w *wire) { w.Abort() }, false},
	"close":     {"xxfi_close", "", func(w *wire) { w.Write('Q') }, false},
}

// Every callback may fail in every way: the filter answers SMFIS_TEMPFAIL, says so in its log, and serves on.
func TestFailingCallbacks(t *testing.T) {
	t.Parallel()
	for how, panicked := range map[string]string{"panic": "out of order", "panic nil": "panic called with nil argument",
		"fault": "runtime error: invalid memory address or nil pointer dereference", "goexit": "runtime.Goexit called in a callback",
		"goexit deferred": "runtime.Goexit called in a callback",
		"20":              "", "21": "", "22": "", "-1": "", "-2": "", "5": "", "6": "", "9": "", "75": "", "1000000": ""} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			for name, callback := range callbackNames {
				t.Run(name, func(t *testing.T) {
					if (name == "abort" || name == "close") && panicked == "" {
						return // they have no status
					}
					t.Parallel()
					p := start(t, failing, withArg(name+" "+how))
					const sessions = 3
					for range sessions {
						w := p.connect()
						if name != "negotiate" {
							w.Negotiate()
						}
						if callback.before != "" {
							w.upTo(callback.before)
						}
						callback.step(w)
						if callback.answered {
							assert.Equal(t, reply('t'), w.last())
						}
						switch name {
						case "negotiate", "close":
							w.WaitClosed()
						default:
							w.Quit()
						}
					}
					p.stop()
					logs := p.named("log")
					require.Len(t, logs, sessions)
					var record struct {
						Msg, Level, Callback, Status, Stack string
						Panic                               any
						Session                             uint64
					}
					require.NoError(t, json.Unmarshal([]byte(logs[sessions-1].Args[0]), &record))
					assert.Equal(t, "ERROR", record.Level)
					assert.Equal(t, callback.c, record.Callback)
					assert.NotZero(t, record.Session)
					stats := p.awaitName("ended").Args[1]
					if panicked != "" {
						assert.Contains(t, fmt.Sprint(record.Panic), panicked)
						assert.Contains(t, record.Stack, "panic_test.go:", "the handler's place")
						assert.Contains(t, stats, "Panics:3 BadStatuses:0")
					} else {
						assert.Equal(t, "Status("+how+")", record.Status)
						assert.Contains(t, stats, "Panics:0 BadStatuses:3")
					}
				})
			}
		})
	}
}

// SMFIS_ALL_OPTS is an answer to negotiation only.
func TestAllOptsElsewhere(t *testing.T) {
	t.Parallel()
	p := start(t, failing, withArg("helo 10"))
	w := p.session()
	w.Helo("a.example")
	assert.Equal(t, reply('t'), w.last())
	w.Quit()
	p.stop()
}

// A logger that panics does not make it worse.
func TestFailingLogger(t *testing.T) {
	t.Parallel()
	p := start(t, failing, withArg("helo panic deferred"))
	w := p.session()
	w.Helo("a.example")
	assert.Equal(t, reply('t'), w.last())
	w.Quit()
	p.stop()
}

// A handler that locks its thread and forgets about it does not take the process down.
func TestLockedThread(t *testing.T) {
	t.Parallel()
	p := start(t, failing, withArg("helo locked"))
	for range 5 {
		w := p.session()
		for range 3 {
			w.continues(w.Helo("a.example"))
		}
		w.Quit()
	}
	p.stop()
}

// What libmilter gets is what the handler returned, for every public status.
func TestStatuses(t *testing.T) {
	t.Parallel()
	for status, code := range map[milter.Status]byte{milter.SMFIS_CONTINUE: 'c', milter.SMFIS_REJECT: 'r', milter.SMFIS_DISCARD: 'd',
		milter.SMFIS_ACCEPT: 'a', milter.SMFIS_TEMPFAIL: 't', milter.SMFIS_SKIP: 's'} {
		t.Run(status.String(), func(t *testing.T) {
			t.Parallel()
			p := start(t, failing, withArg(fmt.Sprint("segment ", int(status))))
			w := p.session()
			w.upTo("EOH")
			w.Segment("b")
			assert.Equal(t, reply(code), w.last())
			w.Quit()
			p.stop()
			assert.Empty(t, p.named("log"))
		})
	}
}

// SMFIS_SKIP is handed on also where the MTA does not expect it, as in C; the log says so.
func TestSkipNotNegotiated(t *testing.T) {
	t.Parallel()
	p := start(t, failing, withArg(fmt.Sprint("segment ", int(milter.SMFIS_SKIP))))
	w := p.offer(allActions, allProtocol&^milter.SMFIP_SKIP)
	w.upTo("EOH")
	for range 2 {
		assert.Equal(t, reply('s'), w.ask('B', "b"))
	}
	w.Quit()
	p.stop()
	logs := p.named("log")
	require.Len(t, logs, 1, "once")
	assert.Contains(t, logs[0].Args[0], "SMFIS_SKIP, which was not negotiated")
}

// SMFIS_NOREPLY where a reply is due leaves the MTA waiting, as in C; the log says why.
func TestNoReplyWhereOneIsDue(t *testing.T) {
	t.Parallel()
	p := start(t, failing, withArg(fmt.Sprint("helo ", int(milter.SMFIS_NOREPLY))))
	w := p.session()
	w.upTo("Connect")
	for range 2 {
		w.Write('H', z("a.example"))
	}
	w.continues(w.MailFrom("<a@example.org>")) // its reply is the first to come
	w.Quit()
	p.stop()
	logs := p.named("log")
	require.Len(t, logs, 1, "once")
	assert.Contains(t, logs[0].Args[0], "SMFIS_NOREPLY for a step that was negotiated with replies")
}

// Every function that C calls goes through call, which recovers; milterBegin and its like run nothing
// that is the program's.
func TestEveryExportIsProtected(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "cgo_callbacks.go", nil, parser.ParseComments)
	require.NoError(t, err)
	exports := 0
	for _, decl := range file.Decls {
		function, ok := decl.(*ast.FuncDecl)
		if !ok || function.Doc == nil || !strings.Contains(function.Doc.List[len(function.Doc.List)-1].Text, "//export "+function.Name.Name) {
			continue
		}
		if slices.Contains([]string{"milterBegin", "milterThreadBegin", "milterThreadEnd"}, function.Name.Name) {
			continue
		}
		exports++
		calls := 0
		ast.Inspect(function.Body, func(n ast.Node) bool {
			if call, ok := n.(*ast.CallExpr); ok {
				if name, ok := call.Fun.(*ast.Ident); ok && name.Name == "call" {
					calls++
				}
			}
			return true
		})
		assert.Equal(t, 1, calls, "%s does not go through call", function.Name.Name)
	}
	assert.Equal(t, 13, exports)
}

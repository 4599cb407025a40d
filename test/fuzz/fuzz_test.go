//go:build cgo

// Package fuzz feeds arbitrary bytes to the socket of a filter that runs in the same process: nothing that a peer sends may
// end the process, hold a session up, or leave anything behind.
//
//	go test ./test/fuzz -fuzz FuzzSocket -fuzztime 30m
package fuzz

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"

	_ "github.com/mattn/go-pointer"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
)

// patience is far more than a session needs: one that is not over by then hangs.
const patience = 20 * time.Second

// handles are the session handles that C could hold, and their lock.
//
//go:linkname handles github.com/mattn/go-pointer.store
var handles map[unsafe.Pointer]any

//go:linkname handlesLock github.com/mattn/go-pointer.mutex
var handlesLock sync.RWMutex

func openHandles() int {
	handlesLock.RLock()
	defer handlesLock.RUnlock()
	return len(handles)
}

// oddMacros tells that the session has a macro packet with a name and no value. smfi_getsymval reads behind the end of
// such a list, so that a filter in C would crash too: no callback asks for a macro then.
var oddMacros atomic.Bool

// hasOddMacros finds such a packet wherever one could begin.
func hasOddMacros(sent []byte) bool {
	for ; len(sent) > 5; sent = sent[1:] {
		length := binary.BigEndian.Uint32(sent)
		if sent[4] != 'D' || length < 2 || int64(length) > int64(len(sent)-4) {
			continue
		}
		if bytes.Count(sent[6:4+length], []byte{0})%2 == 1 {
			return true
		}
	}
	return false
}

// listen starts the filter, once for each process.
var listen = sync.OnceValues(func() (string, *milter.Server) {
	dir, err := os.MkdirTemp("", "milterfuzz")
	if err != nil {
		panic(err)
	}
	path := filepath.Join(dir, "s")
	srv := &milter.Server{
		Addr:      "unix:" + path,
		Protocol:  milter.SMFIP_SKIP | milter.SMFIP_HDR_LEADSPC,
		Callbacks: callbacks(),
		Logger:    slog.New(slog.DiscardHandler),
	}
	go func() {
		if err := srv.ListenAndServe(); !errors.Is(err, milter.ErrServerClosed) {
			panic(err)
		}
	}()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		conn, err := net.Dial("unix", path)
		if err == nil {
			_ = conn.Close()
			return path, srv
		}
		if time.Now().After(deadline) {
			panic(err)
		}
	}
})

// decide makes a callback do one of all that callbacks do, by what it was given.
func decide(s *milter.Session, given string) milter.Status {
	h := fnv.New64a()
	_, _ = io.WriteString(h, given)
	sum := h.Sum64()
	if !oddMacros.Load() {
		for _, name := range []string{"i", "{client_addr}", "j", given} {
			_, _ = s.Macro(name)
		}
	}
	switch text := given[:min(len(given), 2000)]; sum % 16 {
	case 0:
		return s.Reply(550, "5.7.1", text)
	case 1:
		_ = s.SetReply("451", "", text)
		return milter.SMFIS_TEMPFAIL
	case 2:
		_ = s.SetMLReply("554", "5.6.0", text, given, "", text)
		return milter.SMFIS_REJECT
	case 3:
		panic(text)
	case 4:
		runtime.Goexit()
	case 5:
		return milter.Status(sum >> 8 % 30)
	case 6:
		return milter.SMFIS_SKIP
	case 7:
		return milter.SMFIS_NOREPLY
	}
	return milter.SMFIS_CONTINUE
}

// change makes each change of a mail.
func change(m *milter.Modifier, given string) {
	_ = m.AddHeader(given, given)
	_ = m.ChangeHeader("Subject", len(given), given)
	_ = m.InsertHeader(1, "X-Given", given)
	_ = m.ChangeFrom(given, given)
	_ = m.AddRcpt("<a@example.org>")
	_ = m.AddRcptPar("<b@example.org>", given)
	_ = m.DelRcpt(given)
	_ = m.ReplaceBody([]byte(given))
	_ = m.Quarantine(given)
	_ = m.Progress()
}

func callbacks() milter.Callbacks {
	note := func(s *milter.Session, text string) milter.Status {
		s.Local = text
		return decide(s, text)
	}
	path := func(s *milter.Session, address string, args []string) milter.Status {
		for _, arg := range args {
			address += arg
		}
		return note(s, address)
	}
	return milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
			switch (n.OfferedActions ^ milter.Action(n.OfferedProtocol)) % 4 {
			case 0:
				return milter.SMFIS_ALL_OPTS
			case 1:
				n.Protocol |= n.OfferedProtocol & (milter.SMFIP_NR_HDR | milter.SMFIP_NR_BODY | milter.SMFIP_NR_CONN | milter.SMFIP_NOHELO)
			case 2:
				_ = n.SetSymList(milter.SMFIM_ENVFROM, "i", "j")
			}
			return milter.SMFIS_CONTINUE
		},
		Connect: func(s *milter.Session, host string, addr net.Addr) milter.Status {
			if addr != nil {
				host += addr.String()
			}
			return note(s, host)
		},
		Unknown:  note,
		Helo:     note,
		MailFrom: path,
		RcptTo:   path,
		Data:     func(s *milter.Session) milter.Status { return decide(s, "data") },
		Header:   func(s *milter.Session, name, value string) milter.Status { return note(s, name+value) },
		EOH:      func(s *milter.Session) milter.Status { return decide(s, "eoh") },
		Segment:  func(s *milter.Session, segment []byte) milter.Status { return note(s, string(segment)) },
		EOM: func(s *milter.Session, m *milter.Modifier) milter.Status {
			given, _ := s.Local.(string)
			change(m, given)
			return decide(s, given+"eom")
		},
		Abort: func(s *milter.Session) { decide(s, "abort") },
		Close: func(s *milter.Session) { decide(s, "close") },
	}
}

func FuzzSocket(f *testing.F) {
	for _, session := range seeds {
		f.Add(session)
	}
	path, srv := listen()
	f.Fuzz(func(t *testing.T, sent []byte) {
		oddMacros.Store(hasOddMacros(sent))
		conn, err := net.Dial("unix", path)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
		go func() { // libmilter may stop reading before the end, and what it has sent must not hold it up
			_, _ = conn.Write(sent)
			_ = conn.(*net.UnixConn).CloseWrite()
		}()
		_, err = io.Copy(io.Discard, conn)
		require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the session hangs")
		awaitEnd(t, srv)
	})
}

// awaitEnd waits until nothing of the session is left.
func awaitEnd(t *testing.T, srv *milter.Server) {
	for deadline := time.Now().Add(patience); srv.Stats().SessionsOpen > 0 || openHandles() > 0; time.Sleep(50 * time.Microsecond) {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			require.Fail(t, "something of the session is left", "%d handles, %+v\n%s", openHandles(), srv.Stats(),
				stacks[:runtime.Stack(stacks, true)])
		}
	}
}

func TestMain(m *testing.M) {
	code := m.Run()
	path, srv := listen()
	_ = srv.Close()
	_ = os.RemoveAll(filepath.Dir(path))
	os.Exit(code)
}

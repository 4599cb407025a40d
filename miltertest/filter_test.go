package miltertest_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

func accept(*milter.Session, string, []string) milter.Status { return milter.SMFIS_ACCEPT }

// Each connection reaches the filter of its own test, with that filter's own terms.
func TestManyFiltersAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 40 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			me := fmt.Sprintf("client%d.example.org", i)
			actions := milter.Action(i) & (milter.SMFIF_ADDHDRS | milter.SMFIF_CHGBODY | milter.SMFIF_ADDRCPT)
			asked := []milter.Protocol{0, milter.SMFIP_SKIP, milter.SMFIP_NR_HDR, milter.SMFIP_HDR_LEADSPC}[i%4]
			check := func(s *milter.Session) {
				gotActions, gotProtocol := s.Negotiated()
				assert.Equal(t, actions, gotActions)
				assert.Equal(t, asked|milter.SMFIP_NOCONNECT|milter.SMFIP_NOMAIL|milter.SMFIP_NORCPT|milter.SMFIP_NODATA|
					milter.SMFIP_NOEOH|milter.SMFIP_NOBODY|milter.SMFIP_NOUNKNOWN, gotProtocol)
			}
			cb := milter.Callbacks{Helo: func(s *milter.Session, identity string) milter.Status {
				assert.Equal(t, me, identity)
				check(s)
				return milter.SMFIS_CONTINUE
			}}
			if asked == milter.SMFIP_NR_HDR {
				cb.Header = func(s *milter.Session, name, value string) milter.Status {
					assert.Equal(t, me, value)
					return milter.SMFIS_NOREPLY
				}
			} else {
				cb.Header = func(s *milter.Session, name, value string) milter.Status { return milter.SMFIS_CONTINUE }
			}
			f := miltertest.StartServer(t, &milter.Server{Actions: actions, Protocol: asked, Callbacks: cb})
			var senders sync.WaitGroup
			for range 3 {
				senders.Go(func() {
					for range 10 {
						c, err := f.Dial()
						if !assert.NoError(t, err) {
							return
						}
						assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Helo: me, Data: "X-Me: " + me + "\n\n"}).Verdict)
						c.Quit()
						assert.NoError(t, c.Err())
					}
				})
			}
			senders.Wait()
			f.Wait()
			assert.Equal(t, milter.Stats{SessionsTotal: 30, Messages: 30, Callbacks: 30 * 5}, f.Server.Stats())
		})
	}
}

// A filter sees nothing of the way in which its connections are told from others.
func TestNothingShows(t *testing.T) {
	t.Parallel()
	for _, offered := range []milter.Action{0, milter.SMFIF_ADDHDRS, 0x1ff, 0xfffffe00, 0xffffffff} {
		t.Run(offered.String(), func(t *testing.T) {
			t.Parallel()
			var seen milter.Negotiation
			f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
				Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
					seen = *n
					n.Actions &= 0x1ff
					return milter.SMFIS_CONTINUE
				},
				MailFrom: accept,
			})
			mta := miltertest.Postfix()
			mta.Actions = offered
			mta.Protocol &^= milter.SMFIP_SKIP
			c := f.With(mta).Connect()
			if offered == 0 {
				offered = 0xf // as libmilter has it
			}
			assert.Equal(t, offered, seen.OfferedActions)
			assert.Equal(t, mta.Protocol, seen.OfferedProtocol)
			const implied = milter.SMFIP_NOCONNECT | milter.SMFIP_NOHELO | milter.SMFIP_NORCPT | milter.SMFIP_NODATA |
				milter.SMFIP_NOHDRS | milter.SMFIP_NOEOH | milter.SMFIP_NOBODY | milter.SMFIP_NOUNKNOWN
			assert.Equal(t, implied, seen.Protocol)
			version, actions, protocol := c.Negotiated()
			assert.Equal(t, 6, version)
			assert.Equal(t, offered&0x1ff, actions)
			assert.Equal(t, implied, protocol)
			assert.Contains(t, c.Transcript()[0].String(), fmt.Sprintf("actions %v, ", mta.Actions))
			c.Quit()
		})
	}
}

func TestSessionsOfAFilter(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	note := func(s *milter.Session, format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		actions, _ := s.Negotiated()
		seen = append(seen, fmt.Sprint(s.ID(), " ", actions, " ", fmt.Sprintf(format, args...)))
	}
	f := miltertest.Start(t, milter.SMFIF_ADDHDRS, milter.Callbacks{
		Negotiate: func(s *milter.Session, n *milter.Negotiation) milter.Status {
			note(s, "negotiate")
			return milter.SMFIS_ALL_OPTS
		},
		Helo: func(s *milter.Session, identity string) milter.Status {
			note(s, "helo %s", identity)
			return milter.SMFIS_CONTINUE
		},
		Close: func(s *milter.Session) { note(s, "close") },
	})
	mta := miltertest.Postfix()
	mta.Actions = milter.SMFIF_ADDHDRS | milter.SMFIF_CHGHDRS
	c := f.With(mta).Connect()
	_, _, protocol := c.Negotiated()
	assert.Equal(t, milter.SMFIP_SKIP, protocol&milter.SMFIP_SKIP)
	c.Send(miltertest.Mail{Helo: "one"})
	c.QuitNC()
	c.Send(miltertest.Mail{Helo: "two"})
	c.Quit()
	const both = "SMFIF_ADDHDRS|SMFIF_CHGHDRS "
	assert.Equal(t, []string{"1 SMFIF_NONE negotiate", "1 " + both + "helo one", "1 " + both + "close", "2 " + both + "helo two",
		"2 " + both + "close"}, seen)
}

// The server's other fields work as they do for one that listens by itself.
func TestServerFields(t *testing.T) {
	t.Parallel()
	var got string
	f := miltertest.StartServer(t, &milter.Server{
		Addr:     "unix:/never/used",
		Protocol: milter.SMFIP_HDR_LEADSPC,
		Macros:   map[milter.Stage][]string{milter.SMFIM_HELO: {"{client_addr}"}, milter.SMFIM_ENVFROM: {}},
		Callbacks: milter.Callbacks{
			MailFrom: func(s *milter.Session, address string, args []string) milter.Status {
				_, hasMail := s.Macro("{mail_addr}")
				client, hasClient := s.Macro("{client_addr}")
				name, _ := s.Macro("j")
				got = fmt.Sprintln(client, hasClient, hasMail, name)
				return milter.SMFIS_CONTINUE
			},
			Header: func(s *milter.Session, name, value string) milter.Status {
				got += name + value
				return milter.SMFIS_CONTINUE
			},
		},
	})
	f.Send(miltertest.Mail{Data: "A: 1\nB:2\n\n"})
	assert.Equal(t, "192.0.2.10 true false mx.example.org\nA 1B2", got)
}

func TestStartFailures(t *testing.T) {
	t.Parallel()
	srv := &milter.Server{}
	outcome := try(t, func(t testing.TB) {
		miltertest.StartServer(t, srv)
		miltertest.StartServer(t, srv)
		panic("started twice")
	})
	assert.Contains(t, outcome.text(), "miltertest: milter: smfi_register: in use: the server runs already")

	outcome = try(t, func(t testing.TB) { miltertest.StartServer(t, &milter.Server{Name: "a\x00b"}) })
	assert.Contains(t, outcome.text(), `invalid argument: Name "a\x00b"`)

	miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	err := milter.ListenAndServe("unix:"+filepath.Join(t.TempDir(), "s"), milter.SMFIF_NONE, milter.Callbacks{})
	require.ErrorIs(t, err, milter.ErrInUse)
}

// Nothing but these tests reaches the socket, and no file is left.
func TestNoFilesLeft(t *testing.T) {
	t.Parallel()
	miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	table, err := os.ReadFile("/proc/net/unix")
	require.NoError(t, err)
	var path string
	for line := range strings.Lines(string(table)) {
		if fields := strings.Fields(line); len(fields) == 8 && strings.Contains(fields[7], "/miltertest") {
			path = fields[7]
			assert.NoFileExists(t, path)
			assert.NoDirExists(t, filepath.Dir(path))
		}
	}
	assert.NotEmpty(t, path, "the socket is not among the system's")
}

func TestShutdownInMidTest(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(*milter.Session, string) milter.Status { return milter.SMFIS_CONTINUE }})
	c := f.Connect()
	down := make(chan error, 1)
	go func() { down <- f.Server.Shutdown(context.Background()) }()
	require.Eventually(t, func() bool { // Shutdown lets nobody in
		other, err := f.Dial()
		if err == nil {
			other.Quit()
		}
		return err != nil
	}, 10*time.Second, time.Millisecond)
	select {
	case err := <-down:
		require.Fail(t, "did not wait for the open session", "%v", err)
	default:
	}
	assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{}).Verdict)
	c.Quit()
	require.NoError(t, <-down)
	_, err := f.Dial()
	require.Error(t, err)

	other := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{}) // the others go on
	assert.Equal(t, milter.SMFIS_ACCEPT, other.Send(miltertest.Mail{}).Verdict)
}

func TestCloseCutsOff(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(*milter.Session, string) milter.Status { return milter.SMFIS_ACCEPT }})
	c := f.Connect()
	require.NoError(t, f.Server.Close())
	assert.Equal(t, int64(1), f.Server.Stats().SessionsCutOff)
	assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Helo("late").Status)
	c.Quit()
}

// A callback that does not return fails its test, and holds up no other.
func TestStuckCallback(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	outcome := try(t, func(t testing.TB) {
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(*milter.Session, string) milter.Status {
			<-release
			return milter.SMFIS_CONTINUE
		}})
		mta := miltertest.Postfix()
		mta.Limit = 100 * time.Millisecond // of Helo, the first step that is answered
		f.With(mta).Send(miltertest.Mail{Helo: "stuck.example.org"})
		panic("answered")
	})
	close(release)
	assert.True(t, outcome.ended)
	assert.Contains(t, outcome.text(), "miltertest: Helo: the filter did not answer in time: i/o timeout")
	assert.Contains(t, outcome.text(), "< SMFIC_OPTNEG version 6, actions SMFIF_NONE")
	assert.Contains(t, outcome.text(), `> SMFIC_HELO "stuck.example.org"`)
	assert.Contains(t, outcome.text(), "a callback has not returned 10s after the test's end: milter: smfi_stop: 1 session cut off")
}

// The library's log goes to the test's, and to none after the test.
func TestLog(t *testing.T) {
	t.Parallel()
	outcome := try(t, func(t testing.TB) {
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{Helo: func(*milter.Session, string) milter.Status { panic("ouch") }})
		f.Send(miltertest.Mail{})
	})
	assert.False(t, outcome.failed)
	assert.Contains(t, outcome.text(), "level=ERROR msg=\"milter: callback panicked, answered SMFIS_TEMPFAIL\" callback=xxfi_helo panic=ouch")
}

func TestFor(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
	outcome := try(t, func(t testing.TB) {
		c := f.For(t).Connect()
		c.Close()
		c.MailFrom("a@example.org")
		c.EOM()
		panic("not ended")
	})
	assert.True(t, outcome.ended)
	assert.Contains(t, outcome.text(), "use of closed network connection")
}

func TestDialRefused(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{
		Negotiate: func(*milter.Session, *milter.Negotiation) milter.Status { return milter.SMFIS_REJECT }})
	_, err := f.Dial()
	require.EqualError(t, err, "Negotiate: the filter closed the connection: EOF")

	f = miltertest.Start(t, milter.SMFIF_CHGFROM, milter.Callbacks{})
	_, err = f.With(miltertest.Version2()).Dial()
	require.EqualError(t, err, "Negotiate: the filter closed the connection: EOF")
}

// A session that Shutdown has cut off is nothing that the test's end waits for.
func TestShutdownCutsOff(t *testing.T) {
	t.Parallel()
	outcome := try(t, func(t testing.TB) { // it fails if the test's end waits
		f := miltertest.Start(t, milter.SMFIF_NONE, milter.Callbacks{})
		f.Connect()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
		defer cancel()
		require.ErrorIs(t, f.Server.Shutdown(ctx), context.DeadlineExceeded)
	})
	assert.False(t, outcome.failed, outcome.text())
}

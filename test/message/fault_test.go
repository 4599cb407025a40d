package message

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

const (
	waitLong = 20 * time.Second // for what must come
	tick     = time.Millisecond
)

// EOM and Message are the same step.
func TestEOMAndMessage(t *testing.T) {
	t.Parallel()
	srv := &milter.Server{Addr: "unix:" + t.TempDir() + "/s", Callbacks: milter.Callbacks{
		EOM:     func(*milter.Session, *milter.Modifier) milter.Status { return milter.SMFIS_CONTINUE },
		Message: func(*milter.Session, *milter.Message, *milter.Modifier) milter.Status { return milter.SMFIS_CONTINUE },
	}}
	err := srv.ListenAndServe()
	require.ErrorIs(t, err, milter.ErrArgument)
	assert.ErrorContains(t, err, "EOM and Message")
	for name, srv := range map[string]*milter.Server{
		"MaxBody": {MaxBody: -2}, "Limits.HeaderFields": {Limits: milter.Limits{HeaderFields: -1}}, "Limits.HeaderBytes": {Limits: milter.Limits{HeaderBytes: -1}},
		"Limits.Rcpts": {Limits: milter.Limits{Rcpts: -1}}, "Limits.Memory": {Limits: milter.Limits{Memory: -1}},
	} {
		srv.Addr = "unix:" + t.TempDir() + "/s"
		err := srv.ListenAndServe()
		require.ErrorIs(t, err, milter.ErrArgument)
		assert.ErrorContains(t, err, name)
	}
}

// Each limit stops its mail with a line of its own, and the next mail passes.
func TestLimits(t *testing.T) {
	t.Parallel()
	fields := func(n int) string { return strings.Repeat("A: b\n", n) + "\nx\n" }
	recipients := func(n int) (to []string) {
		for i := range n {
			to = append(to, fmt.Sprintf("%d@example.org", i))
		}
		return to
	}
	for name, test := range map[string]struct {
		limits     milter.Limits
		over, just miltertest.Mail
	}{
		"HeaderFields": {milter.Limits{HeaderFields: 10}, miltertest.Mail{Data: fields(11)}, miltertest.Mail{Data: fields(10)}},
		// Three bytes a field: "A", " b".
		"HeaderBytes": {milter.Limits{HeaderBytes: 300}, miltertest.Mail{Data: fields(101)}, miltertest.Mail{Data: fields(100)}},
		"Rcpts":       {milter.Limits{Rcpts: 10}, miltertest.Mail{To: recipients(11), Data: fields(1)}, miltertest.Mail{To: recipients(10), Data: fields(1)}},
		"Memory":      {milter.Limits{Memory: 20_000}, miltertest.Mail{Data: fields(4_000)}, miltertest.Mail{Data: fields(1_000)}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got mails
			var log lines
			f := miltertest.StartServer(t, &milter.Server{Limits: test.limits, Logger: log.logger(), TempDir: t.TempDir(), Callbacks: milter.Callbacks{Message: got.add}})
			c := f.Connect()
			for range 3 {
				assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(test.over).Verdict)
				assert.Empty(t, got.take())
				assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(test.just).Verdict)
				assert.Len(t, got.take(), 1)
			}
			assert.Equal(t, 3, strings.Count(log.String(), "milter: mail not collected, answered SMFIS_TEMPFAIL"))
			assert.Equal(t, 3, strings.Count(log.String(), "mail is over a limit: Server.Limits."+name+" is "))
		})
	}
}

// A body that finds no memory goes to a file.
func TestMemoryShort(t *testing.T) {
	t.Parallel()
	var got mails
	f := miltertest.StartServer(t, &milter.Server{Limits: milter.Limits{Memory: 20_000}, TempDir: t.TempDir(), Callbacks: milter.Callbacks{Message: got.add}})
	body := randomBody(100_000)
	sendBody(t, f.Connect(), body)
	assert.True(t, got.take()[0].Body == body)
}

// All that mails took is given back: 240 mails, each a fifth of what there is, on connections that end in many ways.
func TestMemoryGivenBack(t *testing.T) {
	t.Parallel()
	var got mails
	f := miltertest.StartServer(t, &milter.Server{Limits: milter.Limits{Memory: 200_000}, TempDir: t.TempDir(), Callbacks: milter.Callbacks{Message: got.add}})
	header := strings.Repeat("A: "+strings.Repeat("b", 1_000)+"\n", 20) + "\n" + strings.Repeat("x\n", 5_000)
	for i := range 60 {
		c := f.Connect()
		for range 4 {
			require.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Data: header}).Verdict)
		}
		c.MailFrom("a@example.org")
		c.Segment(strings.Repeat("x", 10_000))
		switch i % 3 {
		case 0:
			c.Abort()
			c.Quit()
		case 1:
			c.Quit()
		case 2:
			c.Close()
		}
	}
}

// A Message that panics, exits its goroutine or reads behind the end of its body costs this mail alone.
func TestCrash(t *testing.T) {
	t.Parallel()
	large := "Subject: large\n\n" + strings.Repeat("0123456789\n", 100_000)
	dir := t.TempDir()
	var crash func(msg *milter.Message)
	var log lines
	f := miltertest.StartServer(t, &milter.Server{Logger: log.logger(), TempDir: dir, Callbacks: milter.Callbacks{
		Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
			if crash != nil {
				crash(msg)
			}
			return milter.SMFIS_CONTINUE
		},
	}})
	for name, how := range map[string]func(msg *milter.Message){
		"panic":  func(*milter.Message) { panic("a panic") },
		"Goexit": func(*milter.Message) { runtime.Goexit() },
		"fault":  func(msg *milter.Message) { _ = msg.Body[len(msg.Body)] },
		"nil":    func(msg *milter.Message) { msg.Header = nil; _ = msg.Header.Len() },
	} {
		t.Run(name, func(t *testing.T) {
			c := f.For(t).Connect()
			crash = how
			assert.Equal(t, milter.SMFIS_TEMPFAIL, c.Send(miltertest.Mail{Data: large}).Verdict)
			crash = nil
			assert.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Data: large}).Verdict)
			c.Quit()
			assert.Empty(t, openTempFiles(t, dir))
			assert.False(t, mapped(t, dir))
		})
	}
	assert.Equal(t, 4, strings.Count(log.String(), "callback panicked"))
}

// After Message has returned, what it was given is of no use, and does no harm.
func TestTooLate(t *testing.T) {
	t.Parallel()
	var s *milter.Session
	var msg *milter.Message
	var m *milter.Modifier
	f := miltertest.Start(t, milter.SMFIF_ADDHDRS, milter.Callbacks{
		Message: func(gotS *milter.Session, gotMsg *milter.Message, gotM *milter.Modifier) milter.Status {
			s, msg, m = gotS, gotMsg, gotM
			return milter.SMFIS_CONTINUE
		},
	})
	c := f.Connect()
	large := "Subject: large\n\n" + strings.Repeat("0123456789\n", 100_000)
	require.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Data: large}).Verdict)
	for name, err := range map[string]error{
		"AddHeader": m.AddHeader("A", "b"), "Progress": m.Progress(), "ReplaceBodyFrom": m.ReplaceBodyFrom(strings.NewReader("x")),
		"Add": msg.Header.Add("A", "b"), "Set": msg.Header.Set("Subject", "b"), "SetAt": msg.Header.SetAt(0, "b"), "Del": msg.Header.Del("Subject"),
		"DelAt": msg.Header.DelAt(0), "Insert": msg.Header.Insert(0, "A", "b"), "SetReply": s.SetReply("550", "", ""),
	} {
		assert.ErrorIs(t, err, milter.ErrStage, name)
	}
	assert.Nil(t, msg.Body)
	assert.Equal(t, "large", msg.Header.Get("Subject"))
	assert.Equal(t, "<sender@example.org>", msg.From.Address)
	require.Equal(t, milter.SMFIS_ACCEPT, c.Send(miltertest.Mail{Data: "A: b\n\n"}).Verdict)
	c.Quit()
}

// A body is replaced from a reader; of one that fails nothing is sent.
func TestReplaceBodyFrom(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		reader io.Reader
		want   milter.Status
		body   int
	}{
		"empty":           {strings.NewReader(""), milter.SMFIS_ACCEPT, 0},
		"large":           {strings.NewReader(randomBody(1 << 20)), milter.SMFIS_ACCEPT, 1 << 20},
		"broken half-way": {io.MultiReader(strings.NewReader(randomBody(1<<20)), failing{broken}), milter.SMFIS_ACCEPT, 2},
		"broken at once":  {failing{broken}, milter.SMFIS_ACCEPT, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var err error
			f := miltertest.Start(t, milter.SMFIF_CHGBODY|milter.SMFIF_ADDHDRS, milter.Callbacks{
				Message: func(_ *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
					assert.NoError(t, msg.Header.Add("X-Edited", "yes"))
					err = m.ReplaceBodyFrom(test.reader)
					return milter.SMFIS_CONTINUE
				},
			})
			r := f.Send(miltertest.Mail{Data: "A: b\n\n\n"})
			assert.Equal(t, test.want, r.Verdict)
			assert.Len(t, r.Body, test.body)
			if strings.HasPrefix(name, "broken") {
				assert.ErrorIs(t, err, broken)
			} else {
				assert.NoError(t, err)
			}
		})
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// KeepAlive goes on beside all else that is sent.
func TestKeepAlive(t *testing.T) {
	t.Parallel()
	f := miltertest.Start(t, milter.SMFIF_CHGBODY|milter.SMFIF_ADDHDRS|milter.SMFIF_CHGHDRS, milter.Callbacks{
		Message: func(_ *milter.Session, msg *milter.Message, m *milter.Modifier) milter.Status {
			defer m.KeepAlive(time.Millisecond)()
			assert.NoError(t, msg.Header.Set("A", "c"))
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for range 50 {
						assert.NoError(t, m.AddHeader("X-Added", "yes"))
						time.Sleep(100 * time.Microsecond)
					}
				})
			}
			all.Wait()
			return milter.SMFIS_CONTINUE
		},
	})
	r := f.Send(miltertest.Mail{Data: "A: b\n\n"})
	assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict)
	assert.Positive(t, r.Progress)
	assert.Len(t, r.Header.Values("X-Added"), 200)
	assert.Equal(t, "c", r.Header.Get("A"))
}

// A server that stops in the middle of a mail: the rest is harmless, in C and in Go.
func TestStopped(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var got mails
	srv := &milter.Server{TempDir: dir, Callbacks: milter.Callbacks{Message: got.add}}
	f := miltertest.StartServer(t, srv)
	c := f.Connect()
	c.MailFrom("a@example.org")
	c.RcptTo("b@example.org")
	for range 8 {
		c.Segment(strings.Repeat("x", 65535))
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, srv.Shutdown(ctx), context.Canceled)
	c.Segment(strings.Repeat("x", 65535))
	assert.Equal(t, milter.SMFIS_TEMPFAIL, c.EOM().Verdict)
	c.Quit()
	assert.Empty(t, got.take())
	require.Eventually(t, func() bool { return len(openTempFiles(t, dir)) == 0 }, waitLong, tick)
}

// Many mails at the same time do not mix.
func TestAtOnce(t *testing.T) {
	t.Parallel()
	f := miltertest.StartServer(t, &milter.Server{TempDir: t.TempDir(), Callbacks: milter.Callbacks{
		Message: func(_ *milter.Session, msg *milter.Message, _ *milter.Modifier) milter.Status {
			id := msg.From.Mailbox()
			if msg.Rcpts[0].Mailbox() != id || msg.Header.Get("X-Id") != id || !bytes.HasPrefix(msg.Body, []byte(id+"\r\n")) ||
				!bytes.HasSuffix(msg.Body, []byte("\r\n"+id+"\r\n")) {
				return milter.SMFIS_REJECT
			}
			return milter.SMFIS_CONTINUE
		},
	}})
	var all sync.WaitGroup
	for sender := range 16 {
		all.Go(func() {
			c, err := f.Dial()
			if !assert.NoError(t, err) {
				return
			}
			for n := range 30 {
				id := fmt.Sprintf("%d-%d@example.org", sender, n)
				body := strings.Repeat("0123456789\n", n*1500)
				r := c.Send(miltertest.Mail{From: id, To: []string{id}, Data: "X-Id: " + id + "\n\n" + id + "\n" + body + id + "\n"})
				assert.Equal(t, milter.SMFIS_ACCEPT, r.Verdict, "%s: %v", id, c.Err())
				c.TakeTranscript()
			}
			c.Quit()
		})
	}
	all.Wait()
}

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/d--j/go-milter"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func (f *fakeFilter) count(event string) int {
	n := 0
	for _, seen := range f.seen() {
		if strings.HasPrefix(seen, event) {
			n++
		}
	}
	return n
}

func TestManyMails(t *testing.T) {
	for _, tt := range []struct {
		args     string
		sessions int
	}{
		{"-n 20", 20},
		{"-n 20 -c 4", 20},
		{"-n 2 -c 4", 2},
		{"-n 20 -keep", 1},
	} {
		t.Run(tt.args, func(t *testing.T) {
			f := &fakeFilter{}
			got := sendMail(smallMail, f.serve(t), strings.Fields(tt.args)...)
			assert.Zero(t, got.status, got.stderr)
			n := strings.Fields(tt.args)[1]
			assert.Regexp(t, `^`+n+` mails in \d+\.\d\ds, \d+/s, \d at once
  accept     `+n+`
from connecting to the verdict: median .*s, p99 .*s, max .*s
$`, got.stdout)
			assert.Equal(t, tt.sessions, f.count("connect"))
			assert.Equal(t, n, map[int]string{20: "20", 2: "2"}[f.count("eom")])
		})
	}
}

// Several connections at once take their mails from one number, so how many mails each has is not certain.
func TestManyMailsOverSomeConnections(t *testing.T) {
	f := &fakeFilter{}
	got := sendMail(smallMail, f.serve(t), "-n", "50", "-c", "3", "-keep")
	assert.Zero(t, got.status, got.stderr)
	assert.Equal(t, 50, f.count("eom"))
	assert.LessOrEqual(t, f.count("connect"), 3)
}

// differing gives a filter that answers each mail's DATA with the next of some replies.
func differing(t *testing.T, answers ...string) string {
	var next atomic.Int64
	return serveEach(t, func(conn net.Conn) {
		readPackets(conn, 'O')
		_, _ = conn.Write(bytes.Join([][]byte{asksNothing, bytes.Repeat(packet("c"), 4)}, nil))
		readPackets(conn, 'T')
		answer := answers[int(next.Add(1)-1)%len(answers)]
		if answer == "" {
			return
		}
		_, _ = conn.Write(packet(answer))
		readPackets(conn, 'Q')
	})
}

func TestManyVerdicts(t *testing.T) {
	for _, tt := range []struct {
		answers string
		status  int
		want    string
	}{
		{"a", 0, "\n  accept     6\nfrom"},
		{"r", 10, "\n  reject     6\nfrom"},
		{"t", 11, "\n  tempfail   6\nfrom"},
		{"d", 12, "\n  discard    6\nfrom"},
		{"t r r", exitMixed, "\n  reject     4\n  tempfail   2\nfrom"},
		{"a - -", exitError, "\n  accept     2\n  error      4\nfrom"},
		{"-", exitError, "\n  error      6\nerrors at Data: 6, the first: Data: the filter closed the connection: EOF\n"},
	} {
		t.Run(tt.answers, func(t *testing.T) {
			answers := strings.Fields(strings.ReplaceAll(tt.answers, "-", ""))
			if strings.Contains(tt.answers, "-") {
				answers = append(answers, slices.Repeat([]string{""}, strings.Count(tt.answers, "-"))...)
			}
			got := sendMail(smallMail, differing(t, answers...), "-n", "6", "-c", "2")
			assert.Equal(t, tt.status, got.status, got.stdout)
			assert.Contains(t, got.stdout, tt.want)
			assert.Empty(t, got.stderr)
		})
	}
}

// A connection that breaks off is replaced by another for the next mail.
func TestManyReconnects(t *testing.T) {
	addr := serveEach(t, func(conn net.Conn) { // accepts one mail and breaks off at the next
		readPackets(conn, 'O')
		_, _ = conn.Write(bytes.Join([][]byte{asksNothing, bytes.Repeat(packet("c"), 4), packet("a")}, nil))
		readPackets(conn, 'T')
		readPackets(conn, 'M')
	})
	got := sendMail(smallMail, addr, "-n", "4", "-keep")
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stdout, "\n  accept     2\n  error      2\n")
	assert.Contains(t, got.stdout, "\nerrors at MailFrom: 2, the first: MailFrom: the filter closed the connection: EOF\n")
}

func TestManyWithoutFilter(t *testing.T) {
	got := sendMail(smallMail, "/nonexistent/f", "-n", "3")
	assert.Equal(t, exitError, got.status)
	assert.Contains(t, got.stdout, "\n  error      3\nerrors at Dial: 3, the first: Dial: dial unix /nonexistent/f: connect: no such file or directory\n  There is no such socket: ")
}

func TestManyJSON(t *testing.T) {
	got := sendMail(smallMail, (&fakeFilter{}).serve(t), "-n", "10", "-c", "3", "-keep", "-json")
	assert.Zero(t, got.status, got.stderr)
	lines := strings.Split(strings.TrimSuffix(got.stdout, "\n"), "\n")
	assert.Len(t, lines, 10)
	for _, line := range lines {
		var o object
		require.NoError(t, json.Unmarshal([]byte(line), &o))
		assert.Equal(t, "accept", o["verdict"])
		ends := 0
		for _, p := range o["transcript"].([]any) {
			if p == "> SMFIC_BODYEOB" {
				ends++
			}
		}
		assert.Equal(t, 1, ends, "the transcript is this mail's")
	}
	assert.True(t, strings.HasPrefix(got.stderr, "10 mails in "), got.stderr)
}

func TestInterrupt(t *testing.T) {
	reached, ended := make(chan struct{}, 2), make(chan struct{})
	addr := serveEach(t, func(conn net.Conn) {
		reached <- struct{}{}
		<-ended
	})
	defer close(ended)
	go func() {
		<-reached
		<-reached
		_ = syscall.Kill(os.Getpid(), syscall.SIGINT)
	}()
	got := sendMail(smallMail, addr, "-n", "100", "-c", "2")
	assert.Equal(t, exitInterrupted, got.status)
	assert.Regexp(t, `^0 mails in .*, interrupted: 100 were to be sent\n$`, got.stdout)
}

func TestInterruptLetsMailsEnd(t *testing.T) {
	defer func(d time.Duration) { grace = d }(grace)
	grace = time.Hour
	ctx, interrupt := context.WithCancel(context.Background())
	f := &fakeFilter{change: func(milter.Modifier) error {
		interrupt()
		return nil
	}}
	opt, err := parseOptions([]string{"-addr", f.serve(t), "-n", "100"})
	require.NoError(t, err)
	require.NoError(t, opt.readMail(strings.NewReader(smallMail)))
	var stdout, stderr bytes.Buffer
	assert.Equal(t, exitInterrupted, sendMany(ctx, opt, &stdout, &stderr))
	assert.Regexp(t, `^1 mails in .*, interrupted: 100 were to be sent\n  accept     1\n`, stdout.String())
}

func TestProgress(t *testing.T) {
	opt := &options{mails: 10}
	var lines, summary bytes.Buffer
	tally := newTally(opt, &lines)
	tally.add(&outcome{err: errors.New("no")})
	tally.add(&outcome{})
	assert.Regexp(t, `^2/10 mails, \d+/s, 1 errors$`, tally.progress())

	tally.summarize(&summary, true)
	tally.add(&outcome{err: errors.New("late")})
	assert.Equal(t, 2, tally.done)
	assert.Equal(t, 1, tally.failed)
	assert.Equal(t, 2, strings.Count(lines.String(), "\n"))
	assert.False(t, isTerminal(new(bytes.Buffer)))
}

func TestQuantile(t *testing.T) {
	var durations []time.Duration
	for i := range 200 {
		durations = append(durations, time.Duration(i+1)*time.Second)
	}
	assert.Equal(t, 100*time.Second, quantile(durations, 0.5))
	assert.Equal(t, 198*time.Second, quantile(durations, 0.99))
	assert.Equal(t, 200*time.Second, quantile(durations, 1))
	assert.Equal(t, time.Second, quantile(durations[:1], 0.5))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"strings"
	"syscall"
	"time"

	milter "github.com/libmilter/go-libmilter"
	"github.com/libmilter/go-libmilter/miltertest"
)

// settling is how long a filter is left alone before its memory is read.
const settling = 2 * time.Second

// idle is what sessions cost that are open and do nothing, in bytes of memory for each.
type idle struct {
	Filter   string  `json:"filter"`
	Model    string  `json:"model"`
	Sessions int     `json:"sessions"` // open at once
	Bytes    float64 `json:"bytes"`
	C        float64 `json:"c"` // the same of the yardstick
}

// idles measures the filters that run on libmilter, on each of its builds.
func (b *bench) idles(ctx context.Context, filters []filter, models []model, sessions int) (list []idle, err error) {
	if sessions == 0 {
		return nil, nil
	}
	if err := allowFiles(sessions); err != nil {
		return nil, err
	}
	for _, m := range models {
		ofC := map[string]float64{}
		for _, f := range append([]filter{cStep, cNR}, filters...) {
			if !f.libmilter {
				continue
			}
			bytes, err := b.idle(ctx, f, m, sessions)
			if err != nil {
				return nil, fmt.Errorf("%d idle sessions of %s, %s: %w", sessions, f.Name, m.Name, err)
			}
			if f.Yardstick == "" {
				ofC[f.Name] = bytes
				continue
			}
			list = append(list, idle{f.Name, m.Name, sessions, bytes, ofC[f.Yardstick]})
			log.Printf("%d idle sessions of %s, %s", sessions, f.Name, m.Name)
		}
	}
	return list, nil
}

// allowFiles lets this process and the filters have a descriptor for each session.
func allowFiles(sessions int) error {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return err
	}
	if need := uint64(sessions) + 100; limit.Max < need {
		return fmt.Errorf("%d idle sessions need %d file descriptors, %d are allowed: ulimit -Hn, or a smaller -idle", sessions, need, limit.Max)
	}
	limit.Cur = limit.Max
	return syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
}

// idle opens the sessions, measures, and sends a mail on some of them.
func (b *bench) idle(ctx context.Context, f filter, m model, sessions int) (bytes float64, err error) {
	p, err := startFilter(f, m, "unix", b.bin, b.dir)
	if err != nil {
		return 0, err
	}
	defer p.stop()
	time.Sleep(settling)
	before, err := p.memory("VmRSS")
	if err != nil {
		return 0, err
	}
	var conns []*miltertest.Conn
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for range sessions {
		if ctx.Err() != nil {
			return 0, errors.New("stopped")
		}
		c, err := greeted(p.addr)
		if err != nil {
			return 0, err
		}
		conns = append(conns, c)
	}
	time.Sleep(settling)
	after, err := p.memory("VmRSS")
	if err != nil {
		return 0, err
	}
	for i := 0; i < sessions; i += 1 + sessions/100 {
		if err := mailed(conns[i]); err != nil {
			return 0, err
		}
	}
	return (after - before) / float64(sessions), nil
}

// greeted opens a session, up to HELO.
func greeted(addr string) (*miltertest.Conn, error) {
	c, err := miltertest.Postfix().Open(addr)
	for tries := 0; errors.Is(err, syscall.EAGAIN) && tries < 1000; tries++ { // the filter's backlog is full
		time.Sleep(5 * time.Millisecond)
		c, err = miltertest.Postfix().Open(addr)
	}
	if err != nil {
		return nil, err
	}
	c.Negotiate()
	c.Connect("client.example.org", &net.TCPAddr{IP: net.IPv4(192, 0, 2, 10), Port: 40000})
	c.Helo("client.example.org")
	return c, c.Err()
}

// mailed sends a mail, which gets the filter's header.
func mailed(c *miltertest.Conn) error {
	c.MailFrom("<from@example.org>")
	c.RcptTo("<to@example.com>")
	c.Data()
	c.Header("Subject", "test")
	c.EOH()
	c.Segment("test\r\n")
	result := c.EOM()
	if c.Err() != nil {
		return c.Err()
	}
	if len(result.Changes) != 1 || result.Reply.Status != milter.SMFIS_CONTINUE {
		return fmt.Errorf("a mail has got %v and %v, not its header", result.Changes, result.Reply)
	}
	return nil
}

// idleTable gives what idle sessions cost as Markdown.
func (r *results) idleTable(b *strings.Builder) {
	if len(r.Idle) == 0 {
		return
	}
	fmt.Fprintf(b, "\n## idle\n\nMemory of a session that is open and does nothing, of %d at the same time, one run: KB, and how many more than\n"+
		"in C.\n\n| filter | to | libmilter | KB | C's | more |\n|---|---|---|---|---|---|\n", r.Idle[0].Sessions)
	for _, i := range r.Idle {
		yardstick := ""
		for _, f := range r.Filters {
			if f.Name == i.Filter {
				yardstick = f.Yardstick
			}
		}
		fmt.Fprintf(b, "| %s | %s | %s | %.1f | %.1f | %.1f |\n", i.Filter, yardstick, i.Model, i.Bytes/1024, i.C/1024, (i.Bytes-i.C)/1024)
	}
}

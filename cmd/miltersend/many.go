package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// grace is how long mails may go on after an interrupt.
var grace = time.Second

// How often progress is reported.
const (
	onTerminal = 200 * time.Millisecond
	inLog      = 5 * time.Second
)

// tally counts what becomes of many mails. Its methods may be called from many goroutines.
type tally struct {
	opt   *options
	json  io.Writer // nil for no line for each mail
	began time.Time

	mu       sync.Mutex
	closed   bool // what comes now is too late
	begun    int
	took     []time.Duration // of the mails that have a verdict
	done     int
	verdicts map[string]int
	failed   int
	failures map[string]*failure // by step
}

// failure is what went wrong in a step.
type failure struct {
	count int
	first error
}

func newTally(opt *options, json io.Writer) *tally {
	return &tally{opt: opt, json: json, began: time.Now(), verdicts: map[string]int{}, failures: map[string]*failure{}}
}

// sendMany sends the mail many times, over several connections at once, until all are sent or it is interrupted. A second
// interrupt ends the process.
func sendMany(ctx context.Context, opt *options, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	t, summary := newTally(opt, nil), stdout
	if opt.json {
		t, summary = newTally(opt, stdout), stderr
	}

	sent := make(chan struct{})
	go func() {
		defer close(sent)
		var all sync.WaitGroup
		for range min(opt.conns, opt.mails) {
			all.Go(func() { t.work(ctx) })
		}
		all.Wait()
	}()
	interrupted := t.watch(ctx, sent, stderr)
	t.summarize(summary, interrupted)
	if interrupted {
		return exitInterrupted
	}
	return t.exitStatus()
}

// work sends mails, one after the other, as long as there are any.
func (t *tally) work(ctx context.Context) {
	s := &session{opt: t.opt}
	for ctx.Err() == nil && t.next() {
		t.add(s.send(!t.opt.keep))
	}
	if err := s.quit(); err != nil {
		t.addError(err)
	}
}

// next tells whether there is one more mail to be sent.
func (t *tally) next() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.begun++
	return t.begun <= t.opt.mails
}

func (t *tally) add(o *outcome) {
	if o.err != nil {
		t.addError(o.err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	t.done++
	if o.result != nil {
		t.verdicts[o.verdict()]++
		t.took = append(t.took, o.took)
	}
	if t.json != nil {
		writeJSON(t.json, t.opt, o)
	}
}

func (t *tally) addError(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	step, _ := stepOf(err)
	if t.failures[step] == nil {
		t.failures[step] = &failure{first: err}
	}
	t.failures[step].count++
	t.failed++
}

// watch reports progress until all mails are sent, or until some time after an interrupt.
func (t *tally) watch(ctx context.Context, sent <-chan struct{}, stderr io.Writer) (interrupted bool) {
	every, format := inLog, "%s\n"
	if isTerminal(stderr) {
		every, format = onTerminal, "\r%s\x1b[K"
		defer fmt.Fprint(stderr, "\r\x1b[K")
	}
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	stop, late := ctx.Done(), make(<-chan time.Time)
	for {
		select {
		case <-sent:
			return ctx.Err() != nil
		case <-late:
			return true
		case <-stop:
			stop, late = nil, time.After(grace)
		case <-ticker.C:
			fmt.Fprintf(stderr, format, t.progress())
		}
	}
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (t *tally) progress() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return fmt.Sprintf("%d/%d mails, %.0f/s, %d errors", t.done, t.opt.mails, t.rate(), t.failed)
}

func (t *tally) rate() float64 { return float64(t.done) / time.Since(t.began).Seconds() }

// summarize prints what has become of the mails. What is still under way is not counted any more.
func (t *tally) summarize(w io.Writer, interrupted bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	end := ""
	if interrupted {
		end = fmt.Sprintf(", interrupted: %d were to be sent", t.opt.mails)
	}
	fmt.Fprintf(w, "%d mails in %.2fs, %.0f/s, %d at once%s\n", t.done, time.Since(t.began).Seconds(), t.rate(),
		min(t.opt.conns, t.opt.mails), end)
	for _, verdict := range sortedByCount(t.verdicts) {
		fmt.Fprintf(w, "  %-10s %d\n", verdict, t.verdicts[verdict])
	}
	if t.failed > 0 {
		fmt.Fprintf(w, "  %-10s %d\n", "error", t.failed)
	}
	if len(t.took) > 0 {
		slices.Sort(t.took)
		fmt.Fprintf(w, "from connecting to the verdict: median %v, p99 %v, max %v\n",
			quantile(t.took, 0.5), quantile(t.took, 0.99), quantile(t.took, 1))
	}
	for _, step := range slices.Sorted(maps.Keys(t.failures)) {
		f := t.failures[step]
		fmt.Fprintf(w, "errors at %s: %d, the first: %s\n", step, f.count, visibleError(f.first))
		if advice := hint(t.opt, f.first); advice != "" {
			fmt.Fprintln(w, "  "+visible(advice))
		}
	}
}

// sortedByCount gives the keys, the most frequent first.
func sortedByCount(counts map[string]int) []string {
	return slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
}

// quantile gives the smallest of sorted durations that a share q of them is no longer than.
func quantile(sorted []time.Duration, q float64) time.Duration {
	i := int(math.Ceil(q*float64(len(sorted)))) - 1
	return sorted[i].Round(10 * time.Microsecond)
}

// exitStatus is that of the verdicts if they are all the same.
func (t *tally) exitStatus() int {
	switch {
	case t.failed > 0:
		return exitError
	case len(t.verdicts) > 1:
		return exitMixed
	}
	for verdict := range t.verdicts {
		return exitStatuses[verdict]
	}
	return exitError
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// enough is how many differences are printed before the run ends.
const enough = 5

// result is what a run has found.
type result struct {
	w io.Writer

	mu          sync.Mutex
	sessions    int
	sent        int // packets
	differences int
	died        int // filters that hostile sessions have ended
	findings    map[string]*tally
	coverage    coverage
	err         error
}

// run does what the flags say, and tells whether all was well.
func (set *settings) run(w io.Writer) (bool, error) {
	dir, err := os.MkdirTemp("", "conformance")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	programs, err := buildPrograms(dir, set.models, set.asan)
	if err != nil {
		return false, err
	}
	if set.repeated {
		b := &batch{settings: set, programs: programs, model: set.models[0], policy: set.policies[0], number: set.only / set.batch, trace: true}
		return b.repeatOne(w)
	}
	r := &result{w: w, findings: map[string]*tally{}, coverage: coverage{}}
	interrupted, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	defer context.AfterFunc(interrupted, func() { r.fail(errors.New("interrupted")) })()
	fmt.Fprintf(w, "seed %d: %d sessions for each of libmilter's models (%s) and the policies (%s)\n", set.seed, set.sessions,
		listed(set.models), listed(set.policies))
	begun := time.Now()
	set.runAll(r, programs)
	return r.conclude(set, time.Since(begun))
}

// repeatOne repeats a session, with all that the filters can say, and shows it.
func (b *batch) repeatOne(w io.Writer) (same bool, err error) {
	findings, err := b.run(b.only+1, func(o outcome) bool {
		if o.number == b.only {
			report(w, b, o)
			same = o.same()
		}
		return true
	})
	for _, f := range findings {
		fmt.Fprintf(w, "\n%s", f.text)
	}
	if err == nil && same {
		fmt.Fprintln(w, "\nThe filters agree.")
	}
	return same || b.hostile, err
}

// runAll runs the batches, several at a time.
func (set *settings) runAll(r *result, programs *programs) {
	batches := make(chan *batch)
	var workers sync.WaitGroup
	for range set.workers {
		workers.Go(func() {
			for b := range batches {
				r.runBatch(b)
			}
		})
	}
	for _, m := range set.models {
		for _, p := range set.policies {
			for number := uint64(0); number*set.batch < set.sessions && !r.over(); number++ {
				batches <- &batch{settings: set, programs: programs, model: m, policy: p, number: number}
			}
		}
	}
	close(batches)
	workers.Wait()
}

// over tells whether going on makes no sense.
func (r *result) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err != nil || r.differences >= enough
}

// fail ends the run.
func (r *result) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

func (r *result) runBatch(b *batch) {
	seen := coverage{}
	findings, err := b.run(b.end(), func(o outcome) bool {
		seen.see(o)
		return r.see(b, o)
	})
	if err != nil {
		r.fail(err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.coverage.add(seen)
	for _, f := range findings {
		r.find(b, f)
	}
}

// find counts a finding.
func (r *result) find(b *batch, f finding) {
	t := r.findings[f.String()]
	if t == nil {
		t = &tally{finding: f, repeat: b.repeat(b.end() - 1)}
		r.findings[f.String()] = t
	}
	if f.inGo {
		t.inGo++
	} else {
		t.inC++
	}
}

// see counts a session, and prints it if the filters differ. What comes after a difference in a batch says little: it may
// be its consequence.
func (r *result) see(b *batch, o outcome) (on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sessions++
	for range packets(o.session.stream) {
		r.sent++
	}
	switch {
	case r.err != nil:
		return false
	case b.hostile:
		return r.seeHostile(b, o)
	case o.same():
		return true
	}
	r.differences++
	report(r.w, b, o)
	return false
}

// seeHostile takes note of a session of which nothing is known: a filter may even die of it, if that is libmilter's doing.
func (r *result) seeHostile(b *batch, o outcome) bool {
	for _, a := range []answer{o.c, o.golang} {
		switch {
		case a.err == nil:
		case ofMacros(a.err):
			r.died++
		default:
			r.differences++
			report(r.w, b, o)
			return false
		}
	}
	return true
}

// conclude prints the figures, and tells whether all was well.
func (r *result) conclude(set *settings, took time.Duration) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return false, r.err
	}
	r.coverage.print(r.w)
	faults := r.printFindings(set)
	if r.died > 0 {
		fmt.Fprintf(r.w, "\n%d filters died of what smfi_getsymval gave them.\n", r.died)
	}
	fmt.Fprintf(r.w, "\nseed %d: %d sessions, %d packets sent, %d callbacks, %d calls, %v, %.0f sessions/s: %d differences\n", set.seed, r.sessions, r.sent,
		r.coverage.total(kindAnswer), r.coverage.total(kindCall), took.Round(time.Second), float64(r.sessions)/took.Seconds(), r.differences)
	return r.differences+faults == 0 && r.reached(set), nil
}

// printFindings lists what AddressSanitizer has found, and shows and counts what is not libmilter's own.
func (r *result) printFindings(set *settings) (faults int) {
	if !set.asan {
		return 0
	}
	fmt.Fprintf(r.w, "\nAddressSanitizer's findings: %d\n", len(r.findings))
	for _, text := range slices.Sorted(maps.Keys(r.findings)) {
		t := r.findings[text]
		fmt.Fprintf(r.w, "  %s, %d times in the C filter's process, %d in the Go filter's\n", text, t.inC, t.inGo)
		if t.fault(set.hostile) {
			faults++
			fmt.Fprintf(r.w, "\n=== a fault: %s\n=== repeat: %s\n%s\n", text, t.repeat, t.text)
		}
	}
	return faults
}

// large is how many sessions of each model and policy must have reached everything.
const large = 2000

// reached tells whether a large run has seen all that there is to see.
func (r *result) reached(set *settings) bool {
	if set.hostile || set.sessions < large || len(set.policies) < len(policies) || r.differences > 0 {
		return true
	}
	missing := r.coverage.missing()
	for _, what := range missing {
		fmt.Fprintf(r.w, "never seen: %s; the generator or the filters have gone blind\n", what)
	}
	return len(missing) == 0
}

// listed joins names.
func listed[T fmt.Stringer](things []T) string {
	names := make([]string, len(things))
	for i, thing := range things {
		names[i] = thing.String()
	}
	return strings.Join(names, ", ")
}

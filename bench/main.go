// Bench compares filters made with this library, and its peers, with filters in C: see README.md.
//
//	go run . [flags]
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

// options are the command line's.
type options struct {
	filters, workloads, models string
	pairs, idle                int
	time, warmup               time.Duration
	quick, render              bool
	out                        string
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, parse()); err != nil {
		log.Fatal(err)
	}
}

func parse() options {
	var o options
	flag.StringVar(&o.filters, "filters", "all", "which to run: "+strings.Join(names(filters), ","))
	flag.StringVar(&o.workloads, "workloads", "all", "which to run: "+strings.Join(names(workloads), ","))
	flag.StringVar(&o.models, "models", "all", "libmilter's builds: pool,threads")
	flag.IntVar(&o.pairs, "pairs", 7, "how many pairs of runs each ratio is the median of")
	flag.DurationVar(&o.time, "time", 500*time.Millisecond, "how long a run counts")
	flag.DurationVar(&o.warmup, "warmup", 100*time.Millisecond, "how long it runs before that")
	flag.IntVar(&o.idle, "idle", 10_000, "how many sessions are opened to see what each holds; 0: none")
	flag.BoolVar(&o.quick, "quick", false, "a look, in a minute: 3 pairs of the workload \"mails\"; other flags have their say")
	flag.BoolVar(&o.render, "render", false, "run nothing, make results.md and results.svg of results.json")
	flag.StringVar(&o.out, "out", ".", "folder for the results")
	flag.Parse()
	if o.quick {
		o.shorten()
	}
	return o
}

// shorten is -quick, for the flags that were not given.
func (o *options) shorten() {
	given := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if !given["workloads"] {
		o.workloads = workloads[0].Name
	}
	if !given["pairs"] {
		o.pairs = 3
	}
	if !given["idle"] {
		o.idle = 0
	}
}

func run(ctx context.Context, o options) error {
	path := filepath.Join(o.out, "results.json")
	if o.render {
		r, err := readResults(path)
		if err != nil {
			return err
		}
		return r.publish(o.out)
	}
	r, err := compare(ctx, o)
	if err != nil {
		return err
	}
	if err := r.write(path); err != nil {
		return err
	}
	return r.publish(o.out)
}

// compare runs all that the options ask for.
func compare(ctx context.Context, o options) (*results, error) {
	r, err := plan(o)
	if err != nil {
		return nil, err
	}
	b, end, err := newBench(ctx, o)
	if err != nil {
		return nil, err
	}
	defer end()
	var models []model
	for _, name := range r.Models {
		m, err := findModel(ctx, name)
		if err != nil {
			return nil, err
		}
		models = append(models, m)
	}
	if r.Pairs, err = b.rounds(ctx, o.pairs, schedule(r, models)); err != nil {
		return nil, err
	}
	r.Idle, err = b.idles(ctx, r.Filters, models, o.idle)
	return r, err
}

// plan gives what is to be run, and nothing that was run yet.
func plan(o options) (*results, error) {
	r := &results{CPUs: runtime.NumCPU(), Seconds: o.time.Seconds()}
	chosen, err := choose(filters, o.filters)
	if err != nil {
		return nil, err
	}
	for _, f := range chosen {
		if why := f.missing(); why != "" {
			log.Printf("%s is left out: %s", f.Name, why)
			r.Missing = append(r.Missing, f.Name+", "+why)
			continue
		}
		r.Filters = append(r.Filters, f)
	}
	if r.Workloads, err = choose(workloads, o.workloads); err != nil {
		return nil, err
	}
	models, err := choose([]model{{Name: poolModel}, {Name: threadsModel}}, o.models)
	r.Models = names(models)
	return r, err
}

// newBench builds the programs, in a folder that end removes.
func newBench(ctx context.Context, o options) (b *bench, end func(), err error) {
	dir, err := os.MkdirTemp("", "milter-bench")
	if err != nil {
		return nil, nil, err
	}
	end = func() { _ = os.RemoveAll(dir) }
	if err := build(ctx, dir); err != nil {
		end()
		return nil, nil, err
	}
	return &bench{bin: dir, dir: dir, warmup: o.warmup, time: o.time}, end, nil
}

// comparison is one line of the results.
type comparison struct {
	filter   filter
	model    model
	workload workload
}

// schedule gives what a round compares. A filter without libmilter is the same on both of its builds, and runs once.
func schedule(r *results, models []model) (list []comparison) {
	for i, m := range models {
		for _, w := range r.Workloads {
			for _, f := range r.Filters {
				if f.libmilter || i == 0 {
					list = append(list, comparison{f, m, w})
				}
			}
		}
	}
	return list
}

// rounds makes all comparisons, again and again: what drifts with the hours is spread over all of them, and what drifts
// within a pair goes one way as often as the other (A B, B A, …).
func (b *bench) rounds(ctx context.Context, rounds int, list []comparison) (pairs []pair, err error) {
	begun, shown := time.Now(), time.Time{}
	for round := range rounds {
		for i, c := range list {
			p, err := b.pair(ctx, c.filter, c.model, c.workload, round%2 == 0)
			if ctx.Err() != nil {
				return nil, errors.New("stopped")
			} else if err != nil {
				return nil, err
			}
			pairs = append(pairs, p)
			if time.Since(shown) > progressEvery {
				shown = time.Now()
				progress(begun, round*len(list)+i+1, rounds*len(list))
			}
		}
	}
	return pairs, nil
}

const progressEvery = 10 * time.Second

func progress(begun time.Time, done, all int) {
	left := time.Since(begun) / time.Duration(done) * time.Duration(all-done)
	log.Printf("%d of %d pairs, %v to go", done, all, left.Round(time.Second))
}

// publish prints the results, and writes the table and the chart.
func (r *results) publish(dir string) error {
	table := r.table()
	fmt.Print(table)
	if err := os.WriteFile(filepath.Join(dir, "results.md"), []byte(table), 0o644); err != nil {
		return err
	}
	return r.chart(filepath.Join(dir, "results.svg"))
}

// named is what can be chosen on the command line.
type named interface{ name() string }

func (f filter) name() string   { return f.Name }
func (w workload) name() string { return w.Name }
func (m model) name() string    { return m.Name }

func names[T named](list []T) (names []string) {
	for _, one := range list {
		names = append(names, one.name())
	}
	return names
}

// choose gives those that a list of names names.
func choose[T named](all []T, list string) ([]T, error) {
	if list == "all" {
		return all, nil
	}
	var chosen []T
	for name := range strings.SplitSeq(list, ",") {
		i := slices.IndexFunc(all, func(one T) bool { return one.name() == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no %q, but: %s", name, strings.Join(names(all), ","))
		}
		chosen = append(chosen, all[i])
	}
	return chosen, nil
}

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

var rateRounds = flag.Int("rate", 0, "rounds of TestRate; 0 is a short look, whose figures say nothing")

// way is a way of measuring.
type way struct {
	name  string
	mails int // of a run, with one filter
	run   func(r *rates, mails int) sample
}

var ways = []way{
	{"SMTP, Postfix", 400, (*rates).smtp},
	{"milter, a connection a mail", 3000, (*rates).milter},
	{"milter, connections kept", 4000, (*rates).kept},
	{"milter, filters of a fifth of a CPU", 700, (*rates).milter}, // the last one: filters stay so
}

// sample is what a run has shown.
type sample struct {
	mails  int
	took   time.Duration
	client time.Duration // CPU time of the load's, where it is no part of the farm
	used   map[string]time.Duration
	all    time.Duration // CPU time of all that runs on the machine
}

func (s sample) rate() float64 { return float64(s.mails) / s.took.Seconds() }

// each gives the CPU time of a part for each mail, in milliseconds.
func (s sample) each(part string) float64 {
	return s.used[part].Seconds() * 1000 / float64(s.mails)
}

// busy gives how much of the machine's CPUs the parts used, in percent.
func (s sample) busy() float64 {
	sum := time.Duration(0)
	for _, used := range s.used {
		sum += used
	}
	return s.percent(sum)
}

// idle gives how much of them nobody used. What the two lack to 100 is the kernel's, and that of who else works there.
func (s sample) idle() float64 { return 100 - s.percent(s.all) }

func (s sample) percent(used time.Duration) float64 {
	return 100 * used.Seconds() / s.took.Seconds() / float64(runtime.NumCPU())
}

// parts are whose CPU time is counted.
var parts = []string{"clients", "Postfix", "sink", "HAProxy", "filters", "Redis"}

// rates measures mails a second.
type rates struct {
	*farm
	miltersend string
}

// Mails a second with 1, 2 and 3 filters: "make scale" measures and prints a table. Otherwise this only sees that what
// measures works.
func TestRate(t *testing.T) {
	r := &rates{farm: startFarm(t, 3, "-delay", "1ms", "-store-timeout", "10s"), miltersend: buildMiltersend(t)}
	r.acquaint()
	all := map[string][3][]sample{}
	for _, w := range ways {
		if strings.Contains(w.name, "fifth") && !r.limited() {
			t.Log("filters cannot be limited to a part of a CPU here: this takes root and cgroups that can be written to")
			break
		}
		all[w.name] = r.measure(w)
	}
	t.Logf("%d rounds, %d CPUs:\n%s", max(*rateRounds, 1), runtime.NumCPU(), table(all))
}

// limited gives each filter a fifth of a CPU.
func (r *rates) limited() bool {
	for _, p := range r.running {
		if !limitCPU(r.t, 0.2, p.cmd.Process.Pid) {
			return false
		}
	}
	return true
}

// measure runs a way with 1, 2 and 3 filters, in turns, so that what drifts drifts for all.
func (r *rates) measure(w way) (samples [3][]sample) {
	r.t.Helper()
	for round := range max(*rateRounds, 1) {
		order := []int{1, 2, 3}
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, n := range order {
			mails := w.mails
			if *rateRounds == 0 {
				mails = 40
			}
			r.use(n)
			samples[n-1] = append(samples[n-1], r.sample(n, func() sample { return w.run(r, mails) }))
		}
	}
	return samples
}

// use leaves n filters to the balancer.
func (r *rates) use(n int) {
	for i, p := range r.running {
		state, status := "ready", "UP"
		if i >= n {
			state, status = "maint", "MAINT"
		}
		r.balancer.state(p, state)
		r.balancer.waitFor(p, status)
	}
}

// sample runs something, counts CPU time, and requires that the filters which are in use were used, and no others.
func (r *rates) sample(n int, run func() sample) sample {
	r.t.Helper()
	sessions := func() (all []int) {
		for _, p := range r.running {
			all = append(all, p.metric("milter_sessions_total"))
		}
		return all
	}
	sessionsBefore, before := sessions(), r.usage()
	allBefore := usedByAll()
	s := run()
	s.all = usedByAll() - allBefore
	s.used = map[string]time.Duration{}
	for part, used := range r.usage() {
		s.used[part] = used - before[part]
	}
	if s.client > 0 {
		s.used["clients"] = s.client
	}
	for i, after := range sessions() {
		require.Equal(r.t, i < n, after > sessionsBefore[i], "filter %d of %d", i+1, n)
	}
	return s
}

// usage gives the CPU time that each part has used so far.
func (r *rates) usage() map[string]time.Duration {
	r.t.Helper()
	balancer := r.balancer.cmd.Process.Pid
	master, sink := r.mta.PIDs()
	is := func(pids ...int) func(stat) bool { return func(s stat) bool { return slices.Contains(pids, s.pid) } }
	var filters []int
	for _, p := range r.running {
		filters = append(filters, p.cmd.Process.Pid)
	}
	return map[string]time.Duration{
		"clients": usedBy(is(os.Getpid())),
		"Postfix": usedBy(func(s stat) bool { return s.group == master }),
		"sink":    usedBy(is(sink)),
		"HAProxy": usedBy(func(s stat) bool { return s.parent == balancer }),
		"filters": usedBy(is(filters...)),
		"Redis":   usedBy(is(r.redis.cmd.Process.Pid)),
	}
}

// acquaint has the triplets known that the runs use.
func (r *rates) acquaint() {
	r.t.Helper()
	for i := range senders {
		require.True(r.t, harness.Poll(func() bool { return r.sendKnown(i) == nil }))
	}
	require.True(r.t, harness.Poll(func() bool { return r.send("-n", "2") == nil }))
}

// sendKnown sends one mail on a session of its own.
func (r *rates) sendKnown(sender int) error {
	session, err := openSMTP(r.mta.Addr(), "")
	if err != nil {
		return err
	}
	defer session.Close()
	m := &testMail{id: fmt.Sprintf("known%d", sender)}
	a, err := m.sendOn(session)
	if err != nil {
		return err
	}
	if !a.accepted() {
		return fmt.Errorf("%d %s", a.code, a.text)
	}
	return session.Quit()
}

// smtp sends mails through all of the farm, and waits until the last one has left Postfix.
func (r *rates) smtp(mails int) sample {
	r.t.Helper()
	var all sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(mails))
	began := time.Now()
	for i := range senders {
		all.Go(func() {
			for left.Add(-1) >= 0 {
				if err := r.sendKnown(i); err != nil {
					r.t.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
	require.True(r.t, harness.Poll(func() bool { return len(r.mta.Queued()) == 0 }))
	return sample{mails: mails, took: time.Since(began)}
}

func (r *rates) milter(mails int) sample { return r.many(mails) }

func (r *rates) kept(mails int) sample { return r.many(mails, "-keep") }

// many sends mails as an MTA does, without one.
func (r *rates) many(mails int, args ...string) sample {
	r.t.Helper()
	began := time.Now()
	cmd := r.command(append(args, "-n", strconv.Itoa(mails), "-c", strconv.Itoa(senders))...)
	out, err := cmd.CombinedOutput()
	require.NoError(r.t, err, "%s", out)
	return sample{mails: mails, took: time.Since(began), client: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()}
}

func (r *rates) send(args ...string) error { return r.command(args...).Run() }

func (r *rates) command(args ...string) *exec.Cmd {
	args = append([]string{"-addr", r.balancer.addr, "-from", testSender, "-rcpt", "known@example.com"}, args...)
	return exec.Command(r.miltersend, append(args, "../mail/plain.eml")...)
}

func buildMiltersend(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "miltersend")
	cmd := exec.Command("go", "build", "-o", path, "./cmd/miltersend")
	cmd.Dir = "../.."
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// table shows medians. A ratio is the median of the rounds' ratios.
func table(all map[string][3][]sample) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "\tfilters\tmails/s\t(least–most)\tto 1 filter\tCPUs used\tidle\tCPU ms a mail:\t%s\n", strings.Join(parts, "\t"))
	for _, way := range ways {
		for i, samples := range all[way.name] {
			rate := sorted(samples, sample.rate)
			if len(rate) == 0 {
				continue
			}
			var ratios []float64
			for round, s := range samples {
				ratios = append(ratios, s.rate()/all[way.name][0][round].rate())
			}
			slices.Sort(ratios)
			fmt.Fprintf(w, "%s\t%d\t%.0f\t(%.0f–%.0f)\t%.2f\t%.0f %%\t%.0f %%\t", way.name, i+1, median(rate), rate[0], rate[len(rate)-1],
				median(ratios), median(sorted(samples, sample.busy)), median(sorted(samples, sample.idle)))
			for _, part := range parts {
				fmt.Fprintf(w, "\t%.3f", median(sorted(samples, func(s sample) float64 { return s.each(part) })))
			}
			fmt.Fprintln(w)
		}
	}
	_ = w.Flush()
	return text.String()
}

func sorted(samples []sample, figure func(sample) float64) (figures []float64) {
	for _, s := range samples {
		figures = append(figures, figure(s))
	}
	slices.Sort(figures)
	return figures
}

// median of figures that are sorted.
func median(figures []float64) float64 {
	n := len(figures)
	return (figures[(n-1)/2] + figures[n/2]) / 2
}

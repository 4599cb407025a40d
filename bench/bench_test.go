package main

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// testBench builds the programs, for runs that are as short as can be.
func testBench(t *testing.T) *bench {
	b, end, err := newBench(t.Context(), options{time: 50 * time.Millisecond, warmup: 10 * time.Millisecond})
	require.NoError(t, err)
	t.Cleanup(end)
	return b
}

// TestFilters loads each filter a little, in each way. The load generator itself fails if a filter does not answer as it should.
func TestFilters(t *testing.T) {
	b := testBench(t)
	for _, f := range append([]filter{cStep, cNR}, filters...) {
		t.Run(f.Name, func(t *testing.T) {
			if why := f.missing(); why != "" {
				t.Skip(why)
			}
			for _, w := range workloads {
				if w.network == "tcp" {
					w.senders = 32 // each mail can take 40 ms
				}
				result, err := b.run(t.Context(), f, model{Name: poolModel}, w)
				require.NoError(t, err, w.Name)
				assert.Positive(t, result.Mails, w.Name)
				assert.Equal(t, result.Mails, result.Headers, "%s: mails without the header", w.Name)
				assert.Positive(t, result.FilterCPU, w.Name)
				assert.Greater(t, result.peakRSS, 1e5, w.Name)
			}
		})
	}
}

func TestPair(t *testing.T) {
	b := testBench(t)
	p, err := b.pair(t.Context(), filters[0], model{Name: poolModel}, workloads[0], true)
	require.NoError(t, err)
	assert.Equal(t, filters[0].Name, p.Filter)
	assert.Positive(t, p.Ratios["mails"])
	assert.Positive(t, p.Ratios["cpu"])
}

// TestIdle opens a few sessions, and sends a mail on each.
func TestIdle(t *testing.T) {
	b := testBench(t)
	list, err := b.idles(t.Context(), filters[:1], []model{{Name: poolModel}}, 50)
	require.NoError(t, err)
	require.Len(t, list, 1)
	assert.Equal(t, idle{"step", poolModel, 50, list[0].Bytes, list[0].C}, list[0])
	assert.Positive(t, list[0].Bytes)
	assert.Positive(t, list[0].C)

	_, err = b.idles(t.Context(), filters[:1], nil, 1<<40)
	assert.ErrorContains(t, err, "file descriptors")
}

func TestFilterThatDoesNotStart(t *testing.T) {
	b := testBench(t)
	broken := filter{Name: "broken", program: "cfilter", args: []string{"nonsense"}}
	_, err := b.run(t.Context(), broken, model{Name: poolModel}, workloads[0])
	require.ErrorContains(t, err, "broken: the filter has ended\nusage: cfilter")
}

func TestPlan(t *testing.T) {
	r, err := plan(options{filters: "step,message", workloads: "mails", models: "all"})
	require.NoError(t, err)
	assert.Equal(t, []string{"step", "message"}, names(r.Filters))
	assert.Equal(t, []string{"mails"}, names(r.Workloads))
	assert.Equal(t, []string{poolModel, threadsModel}, r.Models)

	_, err = plan(options{filters: "stop", workloads: "all", models: "all"})
	assert.ErrorContains(t, err, `there is no "stop", but: step,`)
}

// TestSchedule: what does not run on libmilter is the same on both of its builds.
func TestSchedule(t *testing.T) {
	r := &results{Filters: filters, Workloads: workloads[:1]}
	runs := map[string]int{}
	for _, c := range schedule(r, []model{{Name: poolModel}, {Name: threadsModel}}) {
		runs[c.filter.Name]++
	}
	assert.Equal(t, map[string]int{"step": 2, "step-nr": 2, "message": 2, "pymilter": 2, "dj-step": 1, "dj-mailfilter": 1}, runs)
}

// someResults are of three pairs, one of which had too few mails for a p99.
func someResults() *results {
	r := &results{CPUs: 2, Seconds: 1, Filters: filters[:1], Workloads: workloads[:2], Models: []string{poolModel}}
	r.Idle = []idle{{"step", poolModel, 100, 2048, 512}}
	for _, mails := range []int{50, 200, 400} {
		ours := measured{Mails: mails, Seconds: 1, P50: 2, P99: 3, FilterCPU: 1, LoadCPU: 0.95, peakRSS: 20}
		c := measured{Mails: 400, Seconds: 1, P50: 1, P99: 1, FilterCPU: 1, LoadCPU: 0.5, peakRSS: 10}
		r.Pairs = append(r.Pairs, newPair(filters[0], model{Name: poolModel}, workloads[0], ours, c))
	}
	return r
}

func TestSummary(t *testing.T) {
	r := someResults()
	s, ok := r.of("step", poolModel, "mails", measures[0])
	require.True(t, ok)
	assert.Equal(t, summary{low: 0.3125, median: 0.5, high: 0.75}, s)
	_, ok = r.of("step", poolModel, "mails", measures[3])
	assert.False(t, ok, "a p99.9 of fewer than a thousand mails")
	_, ok = r.of("step", threadsModel, "mails", measures[0])
	assert.False(t, ok, "what was not run")
}

func TestTable(t *testing.T) {
	table := someResults().table()
	assert.Contains(t, table, "\n| step | c-step | 0.50 (0.31–0.75) | 2.00 (2.00–2.00) | 3.00 (3.00–3.00) | – | 2.00 (1.50–5.00) | 2.00 (2.00–2.00) |\n")
	assert.Contains(t, table, "## mails, pool")
	assert.Contains(t, table, "\n| step | c-step | pool | 2.0 | 0.5 | 1.5 |\n")
	assert.NotContains(t, table, "## single", "a workload without results")
	assert.Contains(t, table, "95 % of a CPU at most (step, pool, mails).\nThat is near its limit")
}

// TestReadme: what the README of the project shows is of the results that are kept here.
func TestReadme(t *testing.T) {
	r, err := readResults("results.json")
	require.NoError(t, err)
	table, err := os.ReadFile("results.md")
	require.NoError(t, err)
	assert.Equal(t, r.table(), string(table), "go run . -render")
	readme, err := os.ReadFile("../README.md")
	require.NoError(t, err)
	assert.Contains(t, string(readme), r.summary(), "the table of bench/results.md's beginning is not that of README.md")
}

// TestPublish: the table and the chart are made of results.json alone.
func TestPublish(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results.json")
	require.NoError(t, someResults().write(path))
	r, err := readResults(path)
	require.NoError(t, err)
	assert.Equal(t, someResults().table(), r.table())
	require.NoError(t, r.chart(path+".svg"))
	svg, err := os.ReadFile(path + ".svg")
	require.NoError(t, err)
	assert.Contains(t, string(svg), "ratio to C")
}

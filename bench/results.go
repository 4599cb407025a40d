package main

import (
	"cmp"
	"encoding/json"
	"math"
	"os"
	"slices"
)

// measure is what is compared.
type measure struct {
	Key   string // in results.json
	Title string
	value func(r measured) float64
	// least is how many mails a run needs for the value to mean something.
	least int
}

var measures = []measure{
	{"mails", "mails/s", func(r measured) float64 { return float64(r.Mails) / r.Seconds }, 1},
	{"p50", "p50", func(r measured) float64 { return r.P50 }, 10},
	{"p99", "p99", func(r measured) float64 { return r.P99 }, 100},
	{"p999", "p99.9", func(r measured) float64 { return r.P999 }, 1000},
	{"cpu", "CPU a mail", func(r measured) float64 { return r.FilterCPU / float64(r.Mails) }, 1},
	{"rss", "peak RSS", func(r measured) float64 { return r.peakRSS }, 1},
}

func measureOf(key string) measure {
	return measures[slices.IndexFunc(measures, func(m measure) bool { return m.Key == key })]
}

// results are a benchmark's: results.json.
type results struct {
	CPUs      int        `json:"cpus"`
	Seconds   float64    `json:"seconds"` // of load in each run
	Filters   []filter   `json:"filters"`
	Workloads []workload `json:"workloads"`
	Models    []string   `json:"models"`
	Missing   []string   `json:"missing,omitempty"` // filters that could not run, and why
	Pairs     []pair     `json:"pairs"`
	Idle      []idle     `json:"idle,omitempty"`
}

// pair is a filter's run beside its yardstick's. The ratios are the filter's value by the yardstick's: bare figures are the
// machine's, not the filter's.
type pair struct {
	Filter   string             `json:"filter"`
	Model    string             `json:"model"`
	Workload string             `json:"workload"`
	Ratios   map[string]float64 `json:"ratios"`
	Load     float64            `json:"load"` // the load generator's part of a CPU, the greater of the two runs
}

func newPair(f filter, m model, w workload, ours, c measured) pair {
	p := pair{Filter: f.Name, Model: m.Name, Workload: w.Name, Ratios: map[string]float64{}}
	for _, m := range measures {
		if min(ours.Mails, c.Mails) >= m.least {
			p.Ratios[m.Key] = rounded(m.value(ours) / m.value(c))
		}
	}
	p.Load = rounded(max(ours.LoadCPU/ours.Seconds, c.LoadCPU/c.Seconds))
	return p
}

// rounded keeps what is not noise.
func rounded(x float64) float64 { return math.Round(x*1e4) / 1e4 }

// summary is the middle of the pairs' ratios: the median and the quartiles.
type summary struct{ low, median, high float64 }

// of gives the summary of one filter's ratios, if at least half of its pairs have one.
func (r *results) of(filter, model, workload string, m measure) (summary, bool) {
	var ratios []float64
	pairs := 0
	for _, p := range r.Pairs {
		if p.Filter != filter || p.Model != model || p.Workload != workload {
			continue
		}
		pairs++
		if ratio, ok := p.Ratios[m.Key]; ok {
			ratios = append(ratios, ratio)
		}
	}
	if len(ratios) == 0 || 2*len(ratios) < pairs {
		return summary{}, false
	}
	slices.Sort(ratios)
	return summary{quantile(ratios, 0.25), quantile(ratios, 0.5), quantile(ratios, 0.75)}, true
}

// quantile is of sorted values; between two of them it is where a line between them is.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	below := int(at)
	above := min(below+1, len(sorted)-1)
	return sorted[below] + (at-float64(below))*(sorted[above]-sorted[below])
}

// count is how many pairs each line stands for.
func (r *results) count() int {
	n := map[pairKey]int{}
	most := 0
	for _, p := range r.Pairs {
		key := pairKey{p.Filter, p.Model, p.Workload}
		n[key]++
		most = max(most, n[key])
	}
	return most
}

type pairKey struct{ filter, model, workload string }

// busiest is the pair in which the load generator was closest to being the limit.
func (r *results) busiest() pair {
	if len(r.Pairs) == 0 {
		return pair{}
	}
	return slices.MaxFunc(r.Pairs, func(a, b pair) int { return cmp.Compare(a.Load, b.Load) })
}

func readResults(path string) (*results, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	r := &results{}
	return r, json.Unmarshal(data, r)
}

func (r *results) write(path string) error {
	data, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

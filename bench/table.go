package main

import (
	"fmt"
	"strings"
)

// loadLimit is the part of a CPU from which the load generator may be what is measured.
const loadLimit = 0.9

// table gives the results as Markdown.
func (r *results) table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Results\n\n")
	fmt.Fprintf(&b, "Ratios to the filter in C of the same column \"to\", each the median (and the quartiles) of %d pairs of runs of %g s on %d\n"+
		"CPUs. Of mails/s more is better, of all else less. README.md says what the columns mean.\n\n", r.count(), r.Seconds, r.CPUs)
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "- `%s`: %s\n", f.Name, f.About)
	}
	for _, missing := range r.Missing {
		fmt.Fprintf(&b, "- Not run: %s\n", missing)
	}
	fmt.Fprintf(&b, "\n%s", r.summary())
	for _, model := range r.Models {
		for _, w := range r.Workloads {
			r.section(&b, model, w)
		}
	}
	r.idleTable(&b)
	busiest := r.busiest()
	fmt.Fprintf(&b, "\nThe load generator took %.0f %% of a CPU at most (%s, %s, %s).\n",
		100*busiest.Load, busiest.Filter, busiest.Model, busiest.Workload)
	if busiest.Load > loadLimit {
		fmt.Fprintf(&b, "That is near its limit: there the filters may be faster than they look.\n")
	}
	return b.String()
}

// summaryColumns are what the README of the project shows.
var summaryColumns = []struct{ title, workload, measure string }{
	{"mails/s", "mails", "mails"},
	{"p99", "mails", "p99"},
	{"CPU a mail", "mails", "cpu"},
	{"mails/s, one a connection", "single", "mails"},
}

// summary gives the medians that matter most; pool and threads stand in one cell.
func (r *results) summary() string {
	var b strings.Builder
	b.WriteString("| filter | to |")
	for _, c := range summaryColumns {
		fmt.Fprintf(&b, " %s |", c.title)
	}
	fmt.Fprintf(&b, "\n|---|---|%s\n", strings.Repeat("---|", len(summaryColumns)))
	for _, f := range r.Filters {
		fmt.Fprintf(&b, "| %s | %s |", f.Name, f.Yardstick)
		for _, c := range summaryColumns {
			fmt.Fprintf(&b, " %s |", strings.Join(r.medians(f, c.workload, c.measure), " / "))
		}
		b.WriteString("\n")
	}
	return b.String()
}

// medians gives a filter's median on each build of libmilter that it ran on.
func (r *results) medians(f filter, workload, key string) (medians []string) {
	m := measureOf(key)
	for _, model := range r.Models {
		if s, ok := r.of(f.Name, model, workload, m); ok {
			medians = append(medians, fmt.Sprintf("%.2f", s.median))
		}
	}
	return medians
}

func (r *results) section(b *strings.Builder, model string, w workload) {
	rows := r.rows(model, w.Name)
	if rows == "" {
		return
	}
	fmt.Fprintf(b, "\n## %s, %s\n\n%s\n\n| filter | to |", w.Name, model, w.About)
	for _, m := range measures {
		fmt.Fprintf(b, " %s |", m.Title)
	}
	fmt.Fprintf(b, "\n|---|---|%s\n%s", strings.Repeat("---|", len(measures)), rows)
}

func (r *results) rows(model, workload string) string {
	var b strings.Builder
	for _, f := range r.Filters {
		if _, ok := r.of(f.Name, model, workload, measures[0]); !ok {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s |", f.Name, f.Yardstick)
		for _, m := range measures {
			fmt.Fprintf(&b, " %s |", r.cell(f.Name, model, workload, m))
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *results) cell(filter, model, workload string, m measure) string {
	s, ok := r.of(filter, model, workload, m)
	if !ok {
		return "–"
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", s.median, s.low, s.high)
}

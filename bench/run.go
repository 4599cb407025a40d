package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// bench is where and how long the filters run.
type bench struct {
	bin, dir string // programs, sockets
	warmup   time.Duration
	time     time.Duration
}

// measured is what the load generator prints.
type measured struct {
	Mails     int     `json:"mails"`
	Headers   int     `json:"headers"`
	Seconds   float64 `json:"seconds"`
	P50       float64 `json:"p50"`
	P99       float64 `json:"p99"`
	P999      float64 `json:"p999"`
	FilterCPU float64 `json:"filter_cpu"`
	LoadCPU   float64 `json:"load_cpu"`
	peakRSS   float64
}

// run starts a filter, loads it, and ends it.
func (b *bench) run(ctx context.Context, f filter, m model, w workload) (measured, error) {
	p, err := startFilter(f, m, w.network, b.bin, b.dir)
	if err != nil {
		return measured{}, err
	}
	defer p.stop()
	result, err := b.load(ctx, p, w)
	if err != nil {
		return measured{}, fmt.Errorf("%s, %s, %s: %w\n%s", f.Name, m.Name, w.Name, err, &p.log)
	}
	result.peakRSS, err = p.memory("VmHWM")
	return result, err
}

func (b *bench) load(ctx context.Context, p *process, w workload) (result measured, err error) {
	args := []string{"-a", p.addr, "-p", strconv.Itoa(p.cmd.Process.Pid),
		"-s", strconv.Itoa(w.senders), "-m", strconv.Itoa(w.mails), "-b", strconv.Itoa(w.body),
		"-w", milliseconds(b.warmup), "-t", milliseconds(b.time)}
	if w.acks {
		args = append(args, "-q")
	}
	out, err := exec.CommandContext(ctx, filepath.Join(b.bin, "load"), args...).Output()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return result, fmt.Errorf("%w: %s", err, exit.Stderr)
	case err != nil:
		return result, err
	}
	return result, json.Unmarshal(out, &result)
}

func milliseconds(d time.Duration) string { return strconv.FormatInt(d.Milliseconds(), 10) }

// pair runs a filter and its yardstick one after the other, and gives the ratios of the two.
func (b *bench) pair(ctx context.Context, f filter, m model, w workload, yardstickFirst bool) (pair, error) {
	order := []filter{f, yardstick(f.Yardstick)}
	if yardstickFirst {
		order[0], order[1] = order[1], order[0]
	}
	results := map[string]measured{}
	for _, f := range order {
		result, err := b.run(ctx, f, m, w)
		if err != nil {
			return pair{}, err
		}
		results[f.Name] = result
	}
	return newPair(f, m, w, results[f.Name], results[f.Yardstick]), nil
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/libmilter/go-libmilter/test/harness"
)

// tick is the unit of CPU time in /proc, on every Linux that Go runs on.
const tick = 10 * time.Millisecond

// stat is what /proc/PID/stat says of a process.
type stat struct {
	pid, parent, group int
	used               time.Duration // CPU time, with that of its children that it has waited for
}

// allStats gives those of all processes.
func allStats() (all []stat) {
	paths, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		number := func(i int) (n int) {
			_, _ = fmt.Sscan(fields[i], &n)
			return n
		}
		all = append(all, stat{pid, number(1), number(2), time.Duration(number(11)+number(12)+number(13)+number(14)) * tick})
	}
	return all
}

// usedBy sums the CPU time of processes.
func usedBy(matches func(stat) bool) (sum time.Duration) {
	for _, s := range allStats() {
		if matches(s) {
			sum += s.used
		}
	}
	return sum
}

// usedByAll gives the CPU time of all that runs on the machine, the kernel's own included.
func usedByAll() time.Duration {
	text, _ := os.ReadFile("/proc/stat")
	var user, nice, system, idle, wait, irq, softirq int
	_, _ = fmt.Sscanf(string(text), "cpu %d %d %d %d %d %d %d", &user, &nice, &system, &idle, &wait, &irq, &softirq)
	return time.Duration(user+nice+system+irq+softirq) * tick
}

// removeGroup is for the case that the test process dies: a cgroup can be removed when its processes have ended.
const removeGroup = `for try in 1 2 3 4 5 6 7 8 9; do rmdir "$2" && break; sleep 1; done`

// limitCPU lets a process use a share of one CPU, until the test ends. It tells whether the machine can do that.
func limitCPU(t *testing.T, share float64, pid int) bool {
	t.Helper()
	const period = 20000 // microseconds
	quota := strconv.Itoa(int(share * period))
	for _, version := range []struct {
		root  string
		files map[string]string
	}{
		{"/sys/fs/cgroup/cpu", map[string]string{"cpu.cfs_period_us": strconv.Itoa(period), "cpu.cfs_quota_us": quota}},
		{"/sys/fs/cgroup", map[string]string{"cpu.max": fmt.Sprintf("%s %d", quota, period)}}, // cgroup v2
	} {
		group := filepath.Join(version.root, fmt.Sprintf("greylist-test-%d", pid))
		if os.Mkdir(group, 0o755) != nil {
			continue
		}
		harness.StartGuard(t, harness.TempDir(t, "greylist-"), removeGroup, group)
		t.Cleanup(func() { require.NoError(t, os.Remove(group)) })
		if writeAll(group, version.files) != nil {
			continue
		}
		move := func(group string) error {
			return writeAll(group, map[string]string{"cgroup.procs": strconv.Itoa(pid)})
		}
		require.NoError(t, move(group))
		t.Cleanup(func() { require.NoError(t, move(version.root)) })
		return true
	}
	return false
}

// writeAll writes to files that are there.
func writeAll(dir string, files map[string]string) error {
	for name, text := range files {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		_, err = file.WriteString(text)
		if closeErr := file.Close(); err == nil {
			err = closeErr
		}
		if err != nil {
			return err
		}
	}
	return nil
}

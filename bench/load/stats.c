#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "script.h"
#include "stats.h"

static struct {
	uint64_t begun, own_cpu, filter_cpu;
	clockid_t filter_clock;
	uint64_t headers;
	uint64_t *latencies; /* one for each mail */
	size_t mails, cap;
} stats;

static uint64_t read_clock(clockid_t id)
{
	struct timespec t;

	if (clock_gettime(id, &t) != 0)
		die("the filter's CPU time cannot be read: has it ended?");
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

uint64_t now(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

void stats_begin(pid_t pid)
{
	if (clock_getcpuclockid(pid, &stats.filter_clock) != 0)
		die("there is no process %d", (int)pid);
	stats.mails = stats.headers = 0;
	stats.own_cpu = read_clock(CLOCK_PROCESS_CPUTIME_ID);
	stats.filter_cpu = read_clock(stats.filter_clock);
	stats.begun = now();
}

void stats_mail(unsigned int headers, uint64_t nanoseconds)
{
	if (stats.mails == stats.cap) {
		stats.cap = 2 * stats.cap + 4096;
		stats.latencies = realloc(stats.latencies, stats.cap * sizeof(*stats.latencies));
		if (stats.latencies == NULL)
			die("no memory");
	}
	stats.latencies[stats.mails++] = nanoseconds;
	stats.headers += headers;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Of sorted latencies, in seconds: the one that the given part of the mails does not exceed. */
static double percentile(double part)
{
	return (double)stats.latencies[(size_t)((double)(stats.mails - 1) * part)] / 1e9;
}

void stats_print(void)
{
	double seconds = (double)(now() - stats.begun) / 1e9;
	double filter_cpu = (double)(read_clock(stats.filter_clock) - stats.filter_cpu) / 1e9;
	double own_cpu = (double)(read_clock(CLOCK_PROCESS_CPUTIME_ID) - stats.own_cpu) / 1e9;

	if (stats.mails == 0)
		die("no mail came to its end in %.1f seconds", seconds);
	qsort(stats.latencies, stats.mails, sizeof(*stats.latencies), compare);
	printf("{\"mails\": %zu, \"headers\": %" PRIu64 ", \"seconds\": %.9f, \"p50\": %.9f, \"p99\": %.9f, \"p999\": %.9f, "
	       "\"filter_cpu\": %.9f, \"load_cpu\": %.9f}\n",
	       stats.mails, stats.headers, seconds, percentile(0.5), percentile(0.99), percentile(0.999), filter_cpu, own_cpu);
}

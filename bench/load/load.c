/*
 * The MTA's side of the benchmark: it hands mails to a filter as fast as the filter takes them, and measures.
 *
 *     load -a unix:PATH|inet:PORT@127.0.0.1 -p PID [-s SENDERS] [-m MAILS] [-b BODY] [-w WARMUP] [-t TIME] [-q]
 *
 * Each of SENDERS has a connection to the filter, on which it sends MAILS one after the other before it opens a new one. A
 * mail has 10 headers and BODY bytes of body. After WARMUP milliseconds, TIME milliseconds count. PID is the filter,
 * whose CPU time is measured. -q acknowledges at once what comes by TCP. Prints the result as JSON. A mail without
 * exactly one added header is an error.
 *
 * One thread for all connections: this side must cost less than the filter's, whose machine it shares.
 *
 * Build: gcc -std=c17 -O2 -Wall -Wextra -Werror -o load load.c conn.c script.c stats.c
 */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "conn.h"
#include "script.h"
#include "stats.h"

enum { TICK = 50 }; /* milliseconds: how late the end may be seen when nothing happens */

_Noreturn void die(const char *format, ...)
{
	va_list args;

	fputs("load: ", stderr);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void serve_for(unsigned long milliseconds)
{
	uint64_t end = now() + milliseconds * 1000000;

	while (now() < end)
		conn_serve(TICK);
}

static unsigned long positive(char option, const char *text)
{
	char *end;
	unsigned long n = strtoul(text, &end, 10);

	if (n == 0 || *end != '\0')
		die("-%c %s is no number", option, text);
	return n;
}

int main(int argc, char **argv)
{
	struct load load = {.senders = 8, .mails = 200, .body = 4096};
	unsigned long warmup = 100, time = 1000;
	pid_t filter = 0;

	for (int option; (option = getopt(argc, argv, "a:p:s:m:b:w:t:q")) != -1;) {
		switch (option) {
		case 'a': load.addr = optarg; break;
		case 'p': filter = (pid_t)positive('p', optarg); break;
		case 's': load.senders = (unsigned int)positive('s', optarg); break;
		case 'm': load.mails = (unsigned int)positive('m', optarg); break;
		case 'b': load.body = positive('b', optarg); break;
		case 'w': warmup = positive('w', optarg); break;
		case 't': time = positive('t', optarg); break;
		case 'q': load.acknowledge = true; break;
		default: return 2;
		}
	}
	if (load.addr == NULL || filter == 0)
		die("-a and -p are needed");

	conn_open_all(&load);
	serve_for(warmup);
	stats_begin(filter);
	serve_for(time);
	stats_print();
	return 0;
}

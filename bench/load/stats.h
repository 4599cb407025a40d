/* What was measured between stats_begin and stats_print. */
#ifndef STATS_H
#define STATS_H

#include <stdint.h>
#include <sys/types.h>

uint64_t now(void); /* nanoseconds of a clock that never goes back */

/* Begins the measurement; pid is the filter, whose CPU time counts. */
void stats_begin(pid_t pid);

/* A mail has come to its end, with so many headers added, and so long after its begin. */
void stats_mail(unsigned int headers, uint64_t nanoseconds);

/* Prints the measurement as JSON. */
void stats_print(void);

#endif

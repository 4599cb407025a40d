/*
 * What a session was given, as a running hash, and the choices that are drawn from it. gofilter/history.go is the same in Go.
 *
 * Sessions come one after the other, so that one history is enough for the process.
 */
#ifndef HISTORY_H
#define HISTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* With trace, what is mixed in and what is drawn is written to standard output too. */
void history_setup(uint64_t seed, bool trace);

/* A session begins. */
void history_begin(void);

void mix_number(uint64_t number);
void mix_bytes(const unsigned char *bytes, size_t length);
void mix_text(const char *text); /* NULL is not "" */

/* Gives a number below limit, which is a function of all that was mixed in. */
uint32_t draw(uint32_t limit);

/* A call of libmilter's: its result goes into the history. */
void note_call(const char *function, bool succeeded);

/* A callback returns. All that was noted is written before that. */
void note_answer(const char *callback, const char *answer);

#endif

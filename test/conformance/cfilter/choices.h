/*
 * What the filter does besides looking: calls of libmilter's with arguments drawn from the history, and statuses.
 * gofilter/choices.go is the same in Go.
 */
#ifndef CHOICES_H
#define CHOICES_H

#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <libmilter/mfapi.h>

void choices_setup(void);

/* smfi_getsymval for every macro that the sessions may define. */
void look_at_macros(SMFICTX *ctx);

/* smfi_setreply or smfi_setmlreply, or mostly none of both. */
void choose_reply(SMFICTX *ctx);

/* Whether header fields that are added need a space behind the colon. */
extern bool gives_space;

/* Any number of changes. */
void choose_changes(SMFICTX *ctx);

/* smfi_setsymlist, any number of times. */
void choose_symlists(SMFICTX *ctx);

/* SMFIS_CONTINUE in so many of a hundred cases, any other status that a callback may return in the rest. */
sfsistat choose_status(unsigned int percent);

#endif

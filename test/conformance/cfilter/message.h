/*
 * The callbacks of a filter that decides once for each mail, at its end, and has all else go without answers: what the
 * binding's Callbacks.Message is on the wire. gofilter/message.go is the same in Go.
 */
#ifndef MESSAGE_H
#define MESSAGE_H

#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <libmilter/mfapi.h>

void message_callbacks(struct smfiDesc *desc);

#endif

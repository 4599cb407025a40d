/* What the MTA says on a connection, laid out in advance for the protocol that a filter negotiates. */
#ifndef SCRIPT_H
#define SCRIPT_H

#include <stddef.h>

struct buffer {
	char *data;
	size_t len, cap;
};

/* A part of a conversation: bytes to write, and the places where the MTA waits for a reply before it goes on. */
struct script {
	struct buffer bytes;
	size_t *stops; /* offsets in bytes, in order */
	size_t count;
	size_t last_step; /* where the end of the message begins */
};

/* Each appends to an empty script; protocol are the SMFIP_* bits in force. */
void script_greeting(struct script *s);
void script_opening(struct script *s, unsigned long protocol);
void script_mail(struct script *s, unsigned long protocol, size_t body);
void script_quit(struct script *s);

_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

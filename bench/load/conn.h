/* The MTA's connections to the filter: one for each sender. */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>

struct load {
	const char *addr;    /* unix:PATH or inet:PORT@127.0.0.1 */
	unsigned int senders;
	unsigned int mails;  /* on a connection */
	size_t body;	     /* bytes */
	bool acknowledge;    /* what comes by TCP, at once: no MTA does */
};

/* Opens a connection for each sender. load must stay. */
void conn_open_all(const struct load *load);

/* Waits for what the filter sends, for at most so many milliseconds, and goes on where it has. */
void conn_serve(int timeout);

#endif

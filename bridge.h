/* What the Go side sees of the C shim: libmilter's own API, and the few functions that Go cannot write. */
#ifndef MILTER_BRIDGE_H
#define MILTER_BRIDGE_H

#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int: an error in C23 */
#include <stddef.h>
#include <sys/types.h>
#if !__has_include(<libmilter/mfapi.h>)
#line 1 "libmilter/mfapi.h"
#error libmilter is missing. Debian, Ubuntu: libmilter-dev; Fedora: sendmail-milter-devel; Alpine: libmilter-dev; FreeBSD: mail/libmilter
#endif
#include <libmilter/mfapi.h>

#include "collect.h"

/* The callbacks of a smfiDesc that have a bit: those that a filter may do without. */
enum milter_callback {
	MILTER_CONNECT = 1 << 0,
	MILTER_UNKNOWN = 1 << 1,
	MILTER_HELO = 1 << 2,
	MILTER_ENVFROM = 1 << 3,
	MILTER_ENVRCPT = 1 << 4,
	MILTER_DATA = 1 << 5,
	MILTER_HEADER = 1 << 6,
	MILTER_EOH = 1 << 7,
	MILTER_BODY = 1 << 8,
	MILTER_ABORT = 1 << 9,
};

/* The most lines that smfi_setmlreply takes (MAXREPLIES in libmilter's smfi.c). */
enum { MILTER_MAX_REPLY_LINES = 32 };

/* An exported Go function can take a const char * only by a name of its own. */
typedef const char milter_const_char;

int milter_register(char *name, unsigned long actions, unsigned int callbacks);
int milter_setmlreply(SMFICTX *ctx, const char *rcode, const char *xcode, char *lines, int count);
void milter_setdbg(int level);
bool milter_on_main_thread(void);

/* listen.c: bind with these permissions, whatever the umask. Returns an errno, 0 for success. */
int milter_bind(int fd, const char *path, mode_t mode);

/* Who calls Go: on which of libmilter's threads, and for which connection and session. */
struct milter_caller {
	SMFICTX *ctx;
	void *handle; /* NULL: the session has none */
	unsigned int thread;
};

/* threads.c: the number that Go has for the thread that runs. */
unsigned int milter_thread(void);

#endif

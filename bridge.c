/*
 * The C shim: the callbacks that libmilter calls, and the calls that only C can make.
 *
 * Each callback looks up the session's handle (smfi_setpriv keeps it on the SMFICTX) before it goes to Go, so that a
 * callback is one crossing: asking for it from Go would be a second one, and a third of the whole cost. The compiler
 * checks every prototype twice: against smfiDesc below, and against the Go exports in _cgo_export.h.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#ifdef __linux__
#include <malloc.h>
#include <sys/syscall.h>
#else
#include <malloc_np.h>
#include <pthread_np.h>
#endif

#include "_cgo_export.h"

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	return milterNegotiate(ctx, smfi_getpriv(ctx), f0, f1, f2, f3, pf0, pf1, pf2, pf3);
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	return milterConnect(ctx, smfi_getpriv(ctx), host, addr);
}

/* libmilter does not end this text with a NUL when the peer has not: its buffer's size is the limit. */
static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	size_t size = malloc_usable_size((void *)command);

	return milterUnknown(ctx, smfi_getpriv(ctx), command, strnlen(command, size));
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	return milterHelo(ctx, smfi_getpriv(ctx), identity);
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
	return milterMailFrom(ctx, smfi_getpriv(ctx), argv);
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
	return milterRcptTo(ctx, smfi_getpriv(ctx), argv);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	return milterHeader(ctx, smfi_getpriv(ctx), name, value);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	return milterSegment(ctx, smfi_getpriv(ctx), segment, length);
}

/* The callbacks without arguments. */
#define PLAIN(name, export) static sfsistat name(SMFICTX *ctx) { return export(ctx, smfi_getpriv(ctx)); }
PLAIN(on_data, milterData)
PLAIN(on_eoh, milterEOH)
PLAIN(on_eom, milterEOM)
PLAIN(on_abort, milterAbort)
PLAIN(on_close, milterClose)
#undef PLAIN

/* negotiate, eom and close are always heard: no protocol bit stands for them, so the MTA sees no difference. */
int milter_register(char *name, unsigned long actions, unsigned int callbacks)
{
#define IF_SET(bit, function) ((callbacks & (bit)) != 0 ? (function) : NULL)
	struct smfiDesc desc = {
		.xxfi_name = name,
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = actions,
		.xxfi_negotiate = on_negotiate,
		.xxfi_connect = IF_SET(MILTER_CONNECT, on_connect),
		.xxfi_unknown = IF_SET(MILTER_UNKNOWN, on_unknown),
		.xxfi_helo = IF_SET(MILTER_HELO, on_helo),
		.xxfi_envfrom = IF_SET(MILTER_ENVFROM, on_envfrom),
		.xxfi_envrcpt = IF_SET(MILTER_ENVRCPT, on_envrcpt),
		.xxfi_data = IF_SET(MILTER_DATA, on_data),
		.xxfi_header = IF_SET(MILTER_HEADER, on_header),
		.xxfi_eoh = IF_SET(MILTER_EOH, on_eoh),
		.xxfi_body = IF_SET(MILTER_BODY, on_body),
		.xxfi_eom = on_eom,
		.xxfi_abort = IF_SET(MILTER_ABORT, on_abort),
		.xxfi_close = on_close,
	};
#undef IF_SET

	return smfi_register(desc);
}

/* lines holds count texts, one behind the other, each with its NUL. Slots left NULL end the list. */
int milter_setmlreply(SMFICTX *ctx, const char *rcode, const char *xcode, char *lines, int count)
{
	char *l[MILTER_MAX_REPLY_LINES] = {NULL};

	for (int i = 0; i < count && i < MILTER_MAX_REPLY_LINES; i++) {
		l[i] = lines;
		lines += strlen(lines) + 1;
	}
	return smfi_setmlreply(ctx, rcode, xcode, l[0], l[1], l[2], l[3], l[4], l[5], l[6], l[7], l[8], l[9], l[10],
			       l[11], l[12], l[13], l[14], l[15], l[16], l[17], l[18], l[19], l[20], l[21], l[22],
			       l[23], l[24], l[25], l[26], l[27], l[28], l[29], l[30], l[31], (char *)NULL);
}

/* libmilter's messages go through C's buffer for standard output, which a Go program does not flush when it ends. */
void milter_setdbg(int level)
{
	if (level > 0)
		setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	smfi_setdbg(level);
}

bool milter_on_main_thread(void)
{
#ifdef __linux__
	return syscall(SYS_gettid) == getpid();
#else
	return pthread_main_np() != 0;
#endif
}

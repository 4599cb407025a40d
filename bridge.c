/*
 * The C shim: the callbacks that libmilter calls, and the calls that only C can make.
 *
 * smfi_setpriv keeps the session on the SMFICTX, with Go's handle in it: so a callback is one crossing, and none where it is
 * not Go's. The compiler checks every prototype twice: against smfiDesc below, and against the Go exports in _cgo_export.h.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <malloc.h>
#include <sys/syscall.h>
#else
#include <malloc_np.h>
#include <pthread_np.h>
#endif

#include "_cgo_export.h"

/* The session of a callback: it begins with its first, which is the negotiation, if there was one. */
static struct milter_session *find_session(SMFICTX *ctx, bool negotiates)
{
	static struct milter_session stopped = {.callbacks = ~0U}; /* the filter has: Go answers all there is */
	struct milter_session *s = smfi_getpriv(ctx);

	if (s == NULL)
		s = milterBegin(ctx, negotiates);
	return s != NULL ? s : &stopped;
}

static struct milter_session *session_of(SMFICTX *ctx)
{
	return find_session(ctx, false);
}

/* What Go gets of a callback, besides its arguments. */
static struct milter_caller caller(SMFICTX *ctx, const struct milter_session *s)
{
	return (struct milter_caller){.ctx = ctx, .handle = s != NULL ? s->handle : NULL, .thread = milter_thread()};
}

static bool is_gos(const struct milter_session *s, enum milter_callback callback)
{
	return (s->callbacks & callback) != 0;
}

/* The answer to a step that is not Go's. A mail that is collected goes without, if that was negotiated. */
static sfsistat unanswered(const struct milter_session *s, unsigned long no_reply)
{
	return s->rules != NULL && (s->protocol & no_reply) != 0 ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

/* Whether a step is collected: if Go has no callback for it, or has let it pass. */
static bool collects(const struct milter_session *s, sfsistat status)
{
	return s->rules != NULL && (status == SMFIS_CONTINUE || status == SMFIS_NOREPLY || status == SMFIS_SKIP);
}

/*
 * The states of libmilter's engine that matter here, and where SMFICTX has the one that it is in (engine.c and libmilter.h in
 * libmilter's source). It is read for one thing that no function tells: whether a piece of the body is the last one, which
 * came in one packet with the end of the message. check_state sees to it that what is read there is the state.
 */
enum engine_state { ST_MAIL = 4, ST_RCPT = 5, ST_HDRS = 7, ST_BODY = 9 };

struct engine_context {
	pthread_t id;
	int socket;
	int debug;
	time_t timeout;
	int state;
};

static bool is_in_state(const SMFICTX *ctx, enum engine_state state)
{
	return ((const struct engine_context *)(const void *)ctx)->state == (int)state;
}

/* At a callback of which it is known what state libmilter is in. */
static void check_state(const SMFICTX *ctx, struct milter_session *s, enum engine_state state)
{
	if (s->rules == NULL)
		return;
	if (is_in_state(ctx, state))
		s->state_seen = true;
	else
		s->state_hidden = true;
}

/* Whether another packet ends the message. false is a last piece, or one of which that cannot be told. */
static bool ends_later(const SMFICTX *ctx, const struct milter_session *s)
{
	return s->state_seen && !s->state_hidden && is_in_state(ctx, ST_BODY);
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	return milterNegotiate(caller(ctx, find_session(ctx, true)), f0, f1, f2, f3, pf0, pf1, pf2, pf3);
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_CONNECT) ? milterConnect(caller(ctx, s), host, addr)
						    : unanswered(s, SMFIP_NR_CONN);

	if (collects(s, status))
		milter_collect_connect(s, host, addr);
	return status;
}

/* libmilter does not end this text with a NUL when the peer has not: its buffer's size is the limit. */
static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	struct milter_session *s = session_of(ctx);
	size_t size = malloc_usable_size((void *)command);

	return is_gos(s, MILTER_UNKNOWN) ? milterUnknown(caller(ctx, s), command, strnlen(command, size)) : SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_HELO) ? milterHelo(caller(ctx, s), identity)
						 : unanswered(s, SMFIP_NR_HELO);

	if (collects(s, status))
		milter_collect_helo(s, identity);
	return status;
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_ENVFROM) ? milterMailFrom(caller(ctx, s), argv)
						    : unanswered(s, SMFIP_NR_MAIL);

	check_state(ctx, s, ST_MAIL);
	if (collects(s, status))
		milter_collect_from(s, argv);
	return status;
}

/* Whether the MTA shows a recipient that it has refused, as it was asked to. */
static bool is_refused(SMFICTX *ctx, const struct milter_session *s)
{
	static char name[] = "{rcpt_mailer}";
	const char *mailer = (s->protocol & SMFIP_RCPT_REJ) != 0 ? smfi_getsymval(ctx, name) : NULL;

	return mailer != NULL && strcmp(mailer, "error") == 0;
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_ENVRCPT) ? milterRcptTo(caller(ctx, s), argv)
						    : unanswered(s, SMFIP_NR_RCPT);

	check_state(ctx, s, ST_RCPT);
	if (collects(s, status) && !is_refused(ctx, s))
		milter_collect_rcpt(s, argv);
	return status;
}

static sfsistat on_data(SMFICTX *ctx)
{
	struct milter_session *s = session_of(ctx);

	return is_gos(s, MILTER_DATA) ? milterData(caller(ctx, s)) : unanswered(s, SMFIP_NR_DATA);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_HEADER) ? milterHeader(caller(ctx, s), name, value)
						   : unanswered(s, SMFIP_NR_HDR);

	check_state(ctx, s, ST_HDRS);
	if (collects(s, status))
		milter_collect_header(s, name, value);
	return status;
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	struct milter_session *s = session_of(ctx);

	return is_gos(s, MILTER_EOH) ? milterEOH(caller(ctx, s)) : unanswered(s, SMFIP_NR_EOH);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = is_gos(s, MILTER_BODY) ? milterSegment(caller(ctx, s), segment, length)
						 : unanswered(s, SMFIP_NR_BODY);

	if (collects(s, status)) {
		milter_collect_body(s, segment, length, status == SMFIS_SKIP);
		/* Enough: an MTA that waits for an answer, and knows this one, sends no more. */
		if (status == SMFIS_CONTINUE && !is_gos(s, MILTER_BODY) && !milter_wants_body(s) &&
		    (s->protocol & SMFIP_SKIP) != 0)
			status = SMFIS_SKIP;
		/* With SMFIS_CONTINUE alone libmilter goes on from a last piece to xxfi_eom. */
		if (status != SMFIS_CONTINUE && !ends_later(ctx, s))
			status = SMFIS_CONTINUE;
	}
	return status;
}

static sfsistat on_eom(SMFICTX *ctx)
{
	struct milter_session *s = session_of(ctx);
	sfsistat status = milterEOM(caller(ctx, s));

	milter_mail_end(s);
	return status;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	struct milter_session *s = session_of(ctx);

	milter_mail_end(s);
	return is_gos(s, MILTER_ABORT) ? milterAbort(caller(ctx, s)) : SMFIS_CONTINUE;
}

/* A session that had no other callback is Go's to begin here, and ends with this one. */
static sfsistat on_close(SMFICTX *ctx)
{
	struct milter_session *s = smfi_getpriv(ctx);
	sfsistat status;

	smfi_setpriv(ctx, NULL);
	status = milterClose(caller(ctx, s));
	milter_session_free(s);
	return status;
}

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

/*
 * A filter on libmilter whose every answer is a function of all that the session was given so far: arguments, macros,
 * negotiated flags, results of calls. gofilter is the same filter on the Go binding; given the same bytes, the two must
 * answer with the same bytes.
 *
 *     filter ADDR SEED ACTIONS CALLBACKS TRACE
 *
 * SEED decides what is answered. ACTIONS are SMFIF_* bits in hex, CALLBACKS the callbacks to register, "connect,helo,eom",
 * TRACE is 1 to write what goes into the answers. Standard output gets a line for each call and for each callback that
 * returns. The filter ends when its standard input does.
 *
 * Where the binding decides something itself, this filter does the same by hand; each place says so ("As the binding").
 */
#define _GNU_SOURCE
#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

#include "choices.h"
#include "history.h"
#include "message.h"

enum step { NEGOTIATE, CONNECT, UNKNOWN, HELO, ENVFROM, ENVRCPT, DATA, HEADER, EOH, BODY, EOM, ABORT, CLOSE };

static const struct {
	const char *name;
	unsigned long no_reply;
} steps[] = {
	[NEGOTIATE] = {"negotiate", 0},
	[CONNECT] = {"connect", SMFIP_NR_CONN},
	[UNKNOWN] = {"unknown", SMFIP_NR_UNKN},
	[HELO] = {"helo", SMFIP_NR_HELO},
	[ENVFROM] = {"envfrom", SMFIP_NR_MAIL},
	[ENVRCPT] = {"envrcpt", SMFIP_NR_RCPT},
	[DATA] = {"data", SMFIP_NR_DATA},
	[HEADER] = {"header", SMFIP_NR_HDR},
	[EOH] = {"eoh", SMFIP_NR_EOH},
	[BODY] = {"body", SMFIP_NR_BODY},
	[EOM] = {"eom", 0},
	[ABORT] = {"abort", 0},
	[CLOSE] = {"close", 0},
};

static const unsigned long all_no_replies = SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_DATA |
					    SMFIP_NR_UNKN | SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY;
static const unsigned long all_no_steps = SMFIP_NOCONNECT | SMFIP_NOHELO | SMFIP_NOMAIL | SMFIP_NORCPT | SMFIP_NOBODY |
					  SMFIP_NOHDRS | SMFIP_NOEOH | SMFIP_NOUNKNOWN | SMFIP_NODATA;

/* What was negotiated on the one connection that there is at a time: it outlives a session that ends with SMFIC_QUIT_NC. */
static struct {
	unsigned long actions, protocol;
} terms;

static bool negotiates; /* otherwise the filter is not told what was negotiated, in Go as in C */

static const char *status_name(sfsistat status)
{
	switch (status) {
	case SMFIS_CONTINUE:
		return "SMFIS_CONTINUE";
	case SMFIS_REJECT:
		return "SMFIS_REJECT";
	case SMFIS_DISCARD:
		return "SMFIS_DISCARD";
	case SMFIS_ACCEPT:
		return "SMFIS_ACCEPT";
	case SMFIS_TEMPFAIL:
		return "SMFIS_TEMPFAIL";
	case SMFIS_NOREPLY:
		return "SMFIS_NOREPLY";
	case SMFIS_SKIP:
		return "SMFIS_SKIP";
	case SMFIS_ALL_OPTS:
		return "SMFIS_ALL_OPTS";
	}
	return "no status";
}

/* smfi_setpriv tells a new connection: the pointer is not taken back at close, which SMFIC_QUIT_NC gives too. */
static void enter(SMFICTX *ctx, enum step step)
{
	if (smfi_getpriv(ctx) == NULL) {
		smfi_setpriv(ctx, &terms);
		terms.actions = terms.protocol = 0;
		history_begin();
	}
	mix_number(step);
}

static void look(SMFICTX *ctx)
{
	if (negotiates) {
		mix_number((uint32_t)terms.actions);
		mix_number((uint32_t)terms.protocol);
	}
	look_at_macros(ctx);
}

/*
 * As the binding: the answer to a step that was negotiated without replies is dropped. The last piece of the body may come
 * with the end of the message, and then SMFIS_CONTINUE alone leads on to xxfi_eom.
 */
static sfsistat sent(enum step step, sfsistat status)
{
	if ((terms.protocol & steps[step].no_reply) == 0)
		return status;
	return step == BODY && status != SMFIS_NOREPLY ? SMFIS_CONTINUE : SMFIS_NOREPLY;
}

/* What all callbacks do after they have mixed in their arguments. */
static sfsistat answer(SMFICTX *ctx, enum step step, unsigned int percent)
{
	sfsistat status;

	look(ctx);
	choose_reply(ctx);
	status = choose_status(percent);
	note_answer(steps[step].name, status_name(status));
	return sent(step, status);
}

/* How often the callbacks let go on, in percent: sessions are to get deep. */
enum { MOSTLY = 93, NEARLY_ALWAYS = 97, OFTEN = 55 };

/* What the filter asks for. It asks for more than is offered now and then. */
static void choose_terms(unsigned long f0, unsigned long f1, unsigned long *pf0, unsigned long *pf1)
{
	uint32_t quarter = draw(1u << 21);

	quarter &= draw(1u << 21);
	if (draw(3) == 0)
		*pf0 &= draw(0x200);
	*pf1 |= f1 & all_no_replies & quarter;
	if (draw(2) == 0)
		*pf1 |= f1 & (SMFIP_RCPT_REJ | SMFIP_HDR_LEADSPC);
	if (draw(2) == 0)
		*pf1 &= ~(unsigned long)SMFIP_SKIP;
	if (draw(12) == 0)
		*pf1 |= f1 & all_no_steps & quarter;
	if (draw(20) == 0)
		*pf0 |= 1ul << draw(9);
	if (draw(20) == 0)
		*pf1 |= 1ul << draw(21);
	(void)f0;
}

static sfsistat choose_negotiation(unsigned long f0, unsigned long f1, unsigned long *pf0, unsigned long *pf1)
{
	uint32_t kind = draw(100);

	if (kind < 35)
		return SMFIS_CONTINUE;
	choose_terms(f0, f1, pf0, pf1);
	if (kind < 75)
		return SMFIS_CONTINUE;
	return kind < 95 ? SMFIS_ALL_OPTS : choose_status(0);
}

/* As the binding's Session.Negotiated: what libmilter takes. libmilter's flags are a sign-extended int32 at first. */
static void agree(sfsistat status, unsigned long f0, unsigned long f1, unsigned long pf0, unsigned long pf1,
		  unsigned long preset)
{
	terms.actions = status == SMFIS_ALL_OPTS ? f0 : pf0;
	terms.protocol = status == SMFIS_ALL_OPTS ? (preset & ~(unsigned long)SMFIP_SKIP) | (f1 & SMFIP_SKIP) : pf1;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	const unsigned long given[] = {f0, f1, f2, f3, *pf0, *pf1, *pf2, *pf3};
	unsigned long preset = *pf1;
	sfsistat status;

	enter(ctx, NEGOTIATE);
	for (size_t i = 0; i < sizeof(given) / sizeof(*given); i++)
		mix_number((uint32_t)given[i]);
	look(ctx);
	choose_symlists(ctx);
	status = choose_negotiation(f0, f1, pf0, pf1);
	agree(status, f0, f1, *pf0, *pf1, preset);
	note_answer(steps[NEGOTIATE].name, status_name(status));
	return status;
}

static void mix_address(const _SOCK_ADDR *addr)
{
	const struct sockaddr_in *sin = (const void *)addr;
	const struct sockaddr_in6 *sin6 = (const void *)addr;

	if (addr == NULL) {
		mix_text("no address");
		return;
	}
	switch (addr->sa_family) {
	case AF_INET:
		mix_bytes((const unsigned char *)&sin->sin_addr, sizeof(sin->sin_addr));
		mix_number(ntohs(sin->sin_port));
		break;
	case AF_INET6:
		mix_bytes((const unsigned char *)&sin6->sin6_addr, sizeof(sin6->sin6_addr));
		mix_number(ntohs(sin6->sin6_port));
		break;
	case AF_UNIX:
		mix_text(((const struct sockaddr_un *)(const void *)addr)->sun_path);
		break;
	default:
		mix_text("another family");
	}
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	enter(ctx, CONNECT);
	mix_text(host);
	mix_address(addr);
	return answer(ctx, CONNECT, MOSTLY);
}

/* As the binding: libmilter does not end this text with a NUL where the MTA has not, but its buffer ends. */
static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	enter(ctx, UNKNOWN);
	mix_bytes((const unsigned char *)command, strnlen(command, malloc_usable_size((void *)command)));
	return answer(ctx, UNKNOWN, MOSTLY);
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	enter(ctx, HELO);
	mix_text(identity);
	return answer(ctx, HELO, MOSTLY);
}

static void mix_arguments(char **argv)
{
	for (; *argv != NULL; argv++)
		mix_text(*argv);
	mix_text(NULL);
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
	enter(ctx, ENVFROM);
	mix_arguments(argv);
	return answer(ctx, ENVFROM, MOSTLY);
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
	enter(ctx, ENVRCPT);
	mix_arguments(argv);
	return answer(ctx, ENVRCPT, MOSTLY);
}

static sfsistat on_data(SMFICTX *ctx)
{
	enter(ctx, DATA);
	return answer(ctx, DATA, MOSTLY);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	enter(ctx, HEADER);
	mix_text(name);
	mix_text(value);
	return answer(ctx, HEADER, NEARLY_ALWAYS);
}

static sfsistat on_eoh(SMFICTX *ctx)
{
	enter(ctx, EOH);
	return answer(ctx, EOH, MOSTLY);
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	enter(ctx, BODY);
	mix_bytes(segment, length);
	return answer(ctx, BODY, NEARLY_ALWAYS);
}

static sfsistat on_eom(SMFICTX *ctx)
{
	enter(ctx, EOM);
	choose_changes(ctx);
	return answer(ctx, EOM, OFTEN);
}

static sfsistat on_abort(SMFICTX *ctx)
{
	enter(ctx, ABORT);
	look(ctx);
	note_answer(steps[ABORT].name, "-");
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	enter(ctx, CLOSE);
	look(ctx);
	note_answer(steps[CLOSE].name, "-");
	history_begin();
	return SMFIS_CONTINUE;
}

static bool add_callback(struct smfiDesc *desc, const char *name)
{
#define ADD(callback) \
	if (strcmp(name, #callback) == 0) \
		return desc->xxfi_##callback = on_##callback, true
	ADD(negotiate);
	ADD(connect);
	ADD(unknown);
	ADD(helo);
	ADD(envfrom);
	ADD(envrcpt);
	ADD(data);
	ADD(header);
	ADD(eoh);
	ADD(body);
	ADD(eom);
	ADD(abort);
	ADD(close);
#undef ADD
	if (strcmp(name, "message") == 0)
		return message_callbacks(desc), true;
	return false;
}

static void *end_with_input(void *unused)
{
	char byte;

	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	_exit(3);
	return unused;
}

int main(int argc, char **argv)
{
	struct smfiDesc desc = {.xxfi_name = "conformance", .xxfi_version = SMFI_VERSION};
	pthread_t thread;

	if (argc != 6) {
		fputs("usage: filter ADDR SEED ACTIONS CALLBACKS TRACE\n", stderr);
		return 2;
	}
	setlogmask(LOG_MASK(LOG_EMERG)); /* libmilter has much to say about such sessions */
	history_setup(strtoull(argv[2], NULL, 10), strcmp(argv[5], "1") == 0);
	choices_setup();
	desc.xxfi_flags = strtoul(argv[3], NULL, 16);
	for (char *name = strtok(argv[4], ","); name != NULL; name = strtok(NULL, ",")) {
		if (!add_callback(&desc, name)) {
			fprintf(stderr, "filter: no callback is called %s\n", name);
			return 2;
		}
	}
	negotiates = desc.xxfi_negotiate == on_negotiate;

	if (pthread_create(&thread, NULL, end_with_input, NULL) != 0 || smfi_setconn(argv[1]) != MI_SUCCESS ||
	    smfi_register(desc) != MI_SUCCESS || smfi_opensocket(false) != MI_SUCCESS) {
		fprintf(stderr, "filter: cannot listen on %s\n", argv[1]);
		return 1;
	}
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}

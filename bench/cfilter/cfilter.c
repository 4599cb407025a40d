/*
 * The yardstick: every callback registered, one header added at the end of message, as a filter in C does it.
 *
 *     cfilter step|nr ADDR
 *
 * "step" answers each step, "nr" negotiates that none is answered but the end of message.
 *
 * Build: gcc -std=c17 -O2 -Wall -Wextra -Werror -o cfilter cfilter.c -lmilter
 */
#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <stdio.h>
#include <string.h>
#include <libmilter/mfapi.h>

#define NO_REPLIES                                                                                              \
	(SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_DATA | SMFIP_NR_UNKN |         \
	 SMFIP_NR_HDR | SMFIP_NR_EOH | SMFIP_NR_BODY)

static unsigned long asked;	/* protocol bits */
static sfsistat step_answer;	/* to every step but the end of message */

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	(void)ctx, (void)f0, (void)f2, (void)f3;
	*pf0 = SMFIF_ADDHDRS;
	*pf1 = asked & f1;
	*pf2 = *pf3 = 0;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	(void)ctx, (void)host, (void)addr;
	return step_answer;
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	(void)ctx, (void)command;
	return step_answer;
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	(void)ctx, (void)identity;
	return step_answer;
}

static sfsistat on_envelope(SMFICTX *ctx, char **argv)
{
	(void)ctx, (void)argv;
	return step_answer;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	(void)ctx, (void)name, (void)value;
	return step_answer;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	(void)ctx, (void)segment, (void)length;
	return step_answer;
}

/* data, eoh */
static sfsistat on_plain(SMFICTX *ctx)
{
	(void)ctx;
	return step_answer;
}

static sfsistat on_eom(SMFICTX *ctx)
{
	static char name[] = "X-Filtered", value[] = "yes";

	return smfi_addheader(ctx, name, value) == MI_SUCCESS ? SMFIS_CONTINUE : SMFIS_TEMPFAIL;
}

/* abort, close: libmilter does not look at what they return */
static sfsistat on_end(SMFICTX *ctx)
{
	(void)ctx;
	return SMFIS_CONTINUE;
}

static bool set_mode(const char *mode)
{
	bool nr = strcmp(mode, "nr") == 0;

	asked = nr ? NO_REPLIES : 0;
	step_answer = nr ? SMFIS_NOREPLY : SMFIS_CONTINUE;
	return nr || strcmp(mode, "step") == 0;
}

int main(int argc, char **argv)
{
	struct smfiDesc desc = {
		.xxfi_name = "cfilter",
		.xxfi_version = SMFI_VERSION,
		.xxfi_flags = SMFIF_ADDHDRS,
		.xxfi_negotiate = on_negotiate,
		.xxfi_connect = on_connect,
		.xxfi_unknown = on_unknown,
		.xxfi_helo = on_helo,
		.xxfi_envfrom = on_envelope,
		.xxfi_envrcpt = on_envelope,
		.xxfi_data = on_plain,
		.xxfi_header = on_header,
		.xxfi_eoh = on_plain,
		.xxfi_body = on_body,
		.xxfi_eom = on_eom,
		.xxfi_abort = on_end,
		.xxfi_close = on_end,
	};

	if (argc != 3 || !set_mode(argv[1])) {
		fputs("usage: cfilter step|nr ADDR\n", stderr);
		return 2;
	}
	if (smfi_setconn(argv[2]) != MI_SUCCESS || smfi_register(desc) != MI_SUCCESS) {
		fprintf(stderr, "cfilter: cannot listen on %s\n", argv[2]);
		return 1;
	}
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}

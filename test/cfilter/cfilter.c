/*
 * The yardstick: a filter in C without xxfi_negotiate, which continues at every step. What it puts on the wire, the Go
 * binding must put there too.
 *
 *     cfilter ADDR ACTIONS CALLBACKS
 *
 * ACTIONS are SMFIF_* bits in hex, CALLBACKS the callbacks to register: "connect,helo,eom", "all", or "" for none.
 * Prints "ready" once the socket listens.
 *
 * Build: gcc -std=c17 -Wall -Wextra -Werror -o cfilter cfilter.c -lmilter
 */
#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libmilter/mfapi.h>

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	(void)ctx, (void)host, (void)addr;
	return SMFIS_CONTINUE;
}

static sfsistat on_unknown(SMFICTX *ctx, const char *command)
{
	(void)ctx, (void)command;
	return SMFIS_CONTINUE;
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	(void)ctx, (void)identity;
	return SMFIS_CONTINUE;
}

static sfsistat on_envelope(SMFICTX *ctx, char **argv)
{
	(void)ctx, (void)argv;
	return SMFIS_CONTINUE;
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	(void)ctx, (void)name, (void)value;
	return SMFIS_CONTINUE;
}

static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	(void)ctx, (void)segment, (void)length;
	return SMFIS_CONTINUE;
}

/* data, eoh, eom, abort, close */
static sfsistat on_plain(SMFICTX *ctx)
{
	(void)ctx;
	return SMFIS_CONTINUE;
}

static bool add_callback(struct smfiDesc *desc, const char *name)
{
	bool all = strcmp(name, "all") == 0;
	bool known = all;

#define ADD(callback, function) \
	if (all || strcmp(name, #callback) == 0) \
		desc->xxfi_##callback = (function), known = true
	ADD(connect, on_connect);
	ADD(unknown, on_unknown);
	ADD(helo, on_helo);
	ADD(envfrom, on_envelope);
	ADD(envrcpt, on_envelope);
	ADD(data, on_plain);
	ADD(header, on_header);
	ADD(eoh, on_plain);
	ADD(body, on_body);
	ADD(eom, on_plain);
	ADD(abort, on_plain);
	ADD(close, on_plain);
#undef ADD
	return known;
}

int main(int argc, char **argv)
{
	struct smfiDesc desc = {.xxfi_name = "node-bindings", .xxfi_version = SMFI_VERSION};

	if (argc != 4) {
		fputs("usage: cfilter ADDR ACTIONS CALLBACKS\n", stderr);
		return 2;
	}
	desc.xxfi_flags = strtoul(argv[2], NULL, 16);
	for (char *name = strtok(argv[3], ","); name != NULL; name = strtok(NULL, ",")) {
		if (!add_callback(&desc, name)) {
			fprintf(stderr, "cfilter: no callback is called %s\n", name);
			return 2;
		}
	}

	if (smfi_setconn(argv[1]) != MI_SUCCESS || smfi_register(desc) != MI_SUCCESS ||
	    smfi_opensocket(true) != MI_SUCCESS) {
		fprintf(stderr, "cfilter: cannot listen on %s\n", argv[1]);
		return 1;
	}
	puts("ready");
	fflush(stdout);
	return smfi_main() == MI_SUCCESS ? 0 : 1;
}

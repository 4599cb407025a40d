#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <netinet/in.h>

#include "choices.h"
#include "history.h"
#include "message.h"

/* Connections come one after the other, so that one of each is enough for the process. */
struct text {
	unsigned char *bytes;
	size_t length;
};

static struct text client, helo; /* of the session */
static struct text sender, rcpts_and_header, body; /* of the mail */
static unsigned long actions;
static unsigned long negotiated; /* SMFIP_* of the connection, which may have had no negotiation */

static void clear(struct text *t)
{
	free(t->bytes);
	*t = (struct text){0};
}

static void add_bytes(struct text *t, const void *bytes, size_t length)
{
	if (length == 0)
		return;
	t->bytes = realloc(t->bytes, t->length + length);
	if (t->bytes == NULL)
		abort();
	memcpy(t->bytes + t->length, bytes, length);
	t->length += length;
}

static void add(struct text *t, char kind, const char *text)
{
	add_bytes(t, &kind, 1);
	add_bytes(t, text, strlen(text) + 1);
}

static void end_mail(void)
{
	clear(&sender);
	clear(&rcpts_and_header);
	clear(&body);
}

/* smfi_setpriv tells a new connection: the pointer is not taken back at close, which SMFIC_QUIT_NC gives too. */
static void enter(SMFICTX *ctx)
{
	if (smfi_getpriv(ctx) != NULL)
		return;
	smfi_setpriv(ctx, &negotiated);
	negotiated = 0;
}

static sfsistat answer(unsigned long no_reply)
{
	return (negotiated & no_reply) != 0 ? SMFIS_NOREPLY : SMFIS_CONTINUE;
}

static sfsistat on_negotiate(SMFICTX *ctx, unsigned long f0, unsigned long f1, unsigned long f2, unsigned long f3,
			     unsigned long *pf0, unsigned long *pf1, unsigned long *pf2, unsigned long *pf3)
{
	const unsigned long wanted = SMFIP_NR_CONN | SMFIP_NR_HELO | SMFIP_NR_MAIL | SMFIP_NR_RCPT | SMFIP_NR_HDR |
				     SMFIP_NR_BODY | SMFIP_HDR_LEADSPC;

	(void)f0, (void)f2, (void)f3, (void)pf2, (void)pf3;
	enter(ctx);
	*pf0 = actions;
	*pf1 = (*pf1 & ~(unsigned long)SMFIP_SKIP) | (f1 & wanted);
	negotiated = *pf1;
	return SMFIS_CONTINUE;
}

static sfsistat on_connect(SMFICTX *ctx, char *host, _SOCK_ADDR *addr)
{
	const struct sockaddr_in *sin = (const void *)addr;
	const struct sockaddr_in6 *sin6 = (const void *)addr;

	enter(ctx);
	clear(&client);
	add(&client, 'C', host);
	if (addr == NULL)
		return answer(SMFIP_NR_CONN);
	switch (addr->sa_family) {
	case AF_INET:
		add_bytes(&client, &sin->sin_addr, sizeof(sin->sin_addr));
		add_bytes(&client, &sin->sin_port, sizeof(sin->sin_port));
		break;
	case AF_INET6:
		add_bytes(&client, &sin6->sin6_addr, sizeof(sin6->sin6_addr));
		add_bytes(&client, &sin6->sin6_port, sizeof(sin6->sin6_port));
		break;
	case AF_UNIX:
		add(&client, 'L', ((const struct sockaddr_un *)(const void *)addr)->sun_path);
		break;
	}
	return answer(SMFIP_NR_CONN);
}

static sfsistat on_helo(SMFICTX *ctx, char *identity)
{
	enter(ctx);
	clear(&helo);
	add(&helo, 'H', identity);
	return answer(SMFIP_NR_HELO);
}

static void add_path(struct text *t, char kind, char *const *argv)
{
	for (; *argv != NULL; argv++, kind = 'A')
		add(t, kind, *argv);
}

static sfsistat on_envfrom(SMFICTX *ctx, char **argv)
{
	enter(ctx);
	end_mail();
	add_path(&sender, 'M', argv);
	return answer(SMFIP_NR_MAIL);
}

static sfsistat on_envrcpt(SMFICTX *ctx, char **argv)
{
	enter(ctx);
	add_path(&rcpts_and_header, 'R', argv);
	return answer(SMFIP_NR_RCPT);
}

static sfsistat on_header(SMFICTX *ctx, char *name, char *value)
{
	enter(ctx);
	add(&rcpts_and_header, 'N', name);
	add(&rcpts_and_header, 'V', value);
	return answer(SMFIP_NR_HDR);
}

/* The last piece may come with the end of the message, and then SMFIS_CONTINUE alone leads on to xxfi_eom. */
static sfsistat on_body(SMFICTX *ctx, unsigned char *segment, size_t length)
{
	(void)ctx;
	add_bytes(&body, segment, length);
	return SMFIS_CONTINUE;
}

/* As the binding, which does not tell a text that has not come from an empty one. */
static void mix(struct text *t, char kind)
{
	if (t->length == 0 && kind != '\0')
		add(t, kind, "");
	mix_bytes(t->bytes, t->length);
}

static const char *status_name(sfsistat status)
{
	return status == SMFIS_CONTINUE ? "SMFIS_CONTINUE" : "another";
}

static sfsistat on_eom(SMFICTX *ctx)
{
	enum { OFTEN = 55 };
	sfsistat status;

	history_begin();
	mix(&client, 'C');
	mix(&helo, 'H');
	mix(&sender, 'M');
	mix(&rcpts_and_header, '\0');
	mix(&body, '\0');
	end_mail();
	gives_space = (negotiated & SMFIP_HDR_LEADSPC) != 0;
	choose_changes(ctx);
	look_at_macros(ctx);
	choose_reply(ctx);
	status = choose_status(OFTEN);
	note_answer("eom", status_name(status));
	return status;
}

static sfsistat on_abort(SMFICTX *ctx)
{
	(void)ctx;
	end_mail();
	return SMFIS_CONTINUE;
}

static sfsistat on_close(SMFICTX *ctx)
{
	(void)ctx;
	end_mail();
	clear(&client);
	clear(&helo);
	history_begin();
	note_answer("close", "-");
	return SMFIS_CONTINUE;
}

void message_callbacks(struct smfiDesc *desc)
{
	actions = desc->xxfi_flags;
	desc->xxfi_negotiate = on_negotiate;
	desc->xxfi_connect = on_connect;
	desc->xxfi_helo = on_helo;
	desc->xxfi_envfrom = on_envfrom;
	desc->xxfi_envrcpt = on_envrcpt;
	desc->xxfi_header = on_header;
	desc->xxfi_body = on_body;
	desc->xxfi_eom = on_eom;
	desc->xxfi_abort = on_abort;
	desc->xxfi_close = on_close;
}

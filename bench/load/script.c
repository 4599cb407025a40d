#include <stdarg.h>
#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include "script.h"

enum { VERSION = 6 }; /* of the protocol */

static void put(struct buffer *b, const void *data, size_t len)
{
	if (b->len + len > b->cap) {
		b->cap = 2 * b->cap + len;
		b->data = realloc(b->data, b->cap);
		if (b->data == NULL)
			die("no memory");
	}
	memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void put_number(struct buffer *b, unsigned long n)
{
	unsigned char bytes[] = {n >> 24, n >> 16, n >> 8, n};

	put(b, bytes, sizeof(bytes));
}

static void put_text(struct buffer *b, const char *text)
{
	put(b, text, strlen(text) + 1);
}

/* A packet's length comes first, and is known last. */
static size_t begin_packet(struct buffer *b, char code)
{
	put_number(b, 0);
	put(b, &code, 1);
	return b->len - 1;
}

static void end_packet(struct buffer *b, size_t code)
{
	unsigned long len = b->len - code;

	for (int i = 1; i <= 4; i++, len >>= 8)
		b->data[code - i] = (char)len;
}

/* A packet of texts, the last one NULL. */
static void put_packet(struct buffer *b, char code, ...)
{
	size_t packet = begin_packet(b, code);
	va_list texts;

	va_start(texts, code);
	for (const char *text; (text = va_arg(texts, const char *)) != NULL;)
		put_text(b, text);
	va_end(texts);
	end_packet(b, packet);
}

/* Macros for a step: names and values, the last one NULL. */
static void put_macros(struct buffer *b, char step, ...)
{
	size_t packet = begin_packet(b, SMFIC_MACRO);
	va_list texts;

	put(b, &step, 1);
	va_start(texts, step);
	for (const char *text; (text = va_arg(texts, const char *)) != NULL;)
		put_text(b, text);
	va_end(texts);
	end_packet(b, packet);
}

static void put_stop(struct script *s)
{
	s->stops = realloc(s->stops, (s->count + 1) * sizeof(*s->stops));
	if (s->stops == NULL)
		die("no memory");
	s->stops[s->count++] = s->bytes.len;
}

/* A step has been put: the MTA waits for its reply, unless it was negotiated that there is none. */
static void end_step(struct script *s, unsigned long protocol, unsigned long no_reply)
{
	if ((protocol & no_reply) == 0)
		put_stop(s);
}

void script_greeting(struct script *s)
{
	size_t packet = begin_packet(&s->bytes, SMFIC_OPTNEG);

	put_number(&s->bytes, VERSION);
	put_number(&s->bytes, SMFI_CURR_ACTS);
	put_number(&s->bytes, SMFI_CURR_PROT);
	end_packet(&s->bytes, packet);
	put_stop(s);
}

static void put_connect(struct script *s)
{
	static const char family_and_port[] = {SMFIA_INET, (char)(40000 >> 8), (char)(40000 & 0xff)};
	size_t packet;

	put_macros(&s->bytes, SMFIC_CONNECT, "j", "mx.example.org", "{daemon_name}", "mx.example.org", "{daemon_addr}",
		   "192.0.2.25", "v", "Postfix 3.7.11", "_", "client.example.org [192.0.2.10]", NULL);
	packet = begin_packet(&s->bytes, SMFIC_CONNECT);
	put_text(&s->bytes, "client.example.org");
	put(&s->bytes, family_and_port, sizeof(family_and_port));
	put_text(&s->bytes, "192.0.2.10");
	end_packet(&s->bytes, packet);
}

void script_opening(struct script *s, unsigned long protocol)
{
	if ((protocol & SMFIP_NOCONNECT) == 0) {
		put_connect(s);
		end_step(s, protocol, SMFIP_NR_CONN);
	}
	if ((protocol & SMFIP_NOHELO) == 0) {
		put_macros(&s->bytes, SMFIC_HELO, "{tls_version}", "TLSv1.3", "{cipher}", "TLS_AES_256_GCM_SHA384",
			   "{cipher_bits}", "256", NULL);
		put_packet(&s->bytes, SMFIC_HELO, "client.example.org", NULL);
		end_step(s, protocol, SMFIP_NR_HELO);
	}
}

static const char queue_id[] = "4XyZ1a2B3cz9sPf";

static void put_envelope(struct script *s, unsigned long protocol)
{
	struct buffer *b = &s->bytes;

	if ((protocol & SMFIP_NOMAIL) == 0) {
		put_macros(b, SMFIC_MAIL, "i", queue_id, "{mail_addr}", "sender@example.org", "{mail_host}", "example.org",
			   "{mail_mailer}", "smtp", NULL);
		put_packet(b, SMFIC_MAIL, "<sender@example.org>", "SIZE=5000", NULL);
		end_step(s, protocol, SMFIP_NR_MAIL);
	}
	if ((protocol & SMFIP_NORCPT) == 0) {
		put_macros(b, SMFIC_RCPT, "i", queue_id, "{rcpt_addr}", "recipient@example.com", "{rcpt_host}", "example.com",
			   "{rcpt_mailer}", "relay", NULL);
		put_packet(b, SMFIC_RCPT, "<recipient@example.com>", NULL);
		end_step(s, protocol, SMFIP_NR_RCPT);
	}
	if ((protocol & SMFIP_NODATA) == 0) {
		put_macros(b, SMFIC_DATA, "i", queue_id, NULL);
		put_packet(b, SMFIC_DATA, NULL);
		end_step(s, protocol, SMFIP_NR_DATA);
	}
}

static const char *const fields[][2] = {
	{"Received", "from client.example.org (client.example.org [192.0.2.10])\n"
		     "\tby mx.example.org (Postfix) with ESMTPS id 4XyZ1a2B3cz9sPf\n"
		     "\tfor <recipient@example.com>; Thu, 1 Jan 2026 12:00:00 +0000 (UTC)"},
	{"Date", "Thu, 1 Jan 2026 12:00:00 +0000"},
	{"From", "A Sender <sender@example.org>"},
	{"To", "A Recipient <recipient@example.com>"},
	{"Subject", "The minutes of last week's meeting, and what is open"},
	{"Message-ID", "<20260101120000.12345.67890@client.example.org>"},
	{"MIME-Version", "1.0"},
	{"Content-Type", "text/plain; charset=utf-8"},
	{"Content-Transfer-Encoding", "8bit"},
	{"User-Agent", "A Mail Client 1.0"},
};

static void put_header(struct script *s, unsigned long protocol)
{
	const char *space = (protocol & SMFIP_HDR_LEADSPC) != 0 ? " " : "";

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]) && (protocol & SMFIP_NOHDRS) == 0; i++) {
		size_t packet = begin_packet(&s->bytes, SMFIC_HEADER);

		put_text(&s->bytes, fields[i][0]);
		put(&s->bytes, space, strlen(space));
		put_text(&s->bytes, fields[i][1]);
		end_packet(&s->bytes, packet);
		end_step(s, protocol, SMFIP_NR_HDR);
	}
	if ((protocol & SMFIP_NOEOH) == 0) {
		put_macros(&s->bytes, SMFIC_EOH, "i", queue_id, NULL);
		put_packet(&s->bytes, SMFIC_EOH, NULL);
		end_step(s, protocol, SMFIP_NR_EOH);
	}
}

static void put_body(struct script *s, unsigned long protocol, size_t size)
{
	static const char line[] = "The quick brown fox jumps over the lazy dog, and so does the next line of text.\r\n";

	while (size > 0 && (protocol & SMFIP_NOBODY) == 0) {
		size_t chunk = size < MILTER_CHUNK_SIZE ? size : MILTER_CHUNK_SIZE;
		size_t packet = begin_packet(&s->bytes, SMFIC_BODY);

		size -= chunk;
		for (size_t part; chunk > 0; chunk -= part) {
			part = chunk < strlen(line) ? chunk : strlen(line);
			put(&s->bytes, line, part);
		}
		end_packet(&s->bytes, packet);
		end_step(s, protocol, SMFIP_NR_BODY);
	}
}

void script_mail(struct script *s, unsigned long protocol, size_t body)
{
	put_envelope(s, protocol);
	put_header(s, protocol);
	put_body(s, protocol, body);
	s->last_step = s->bytes.len;
	put_macros(&s->bytes, SMFIC_BODYEOB, "i", queue_id, NULL);
	put_packet(&s->bytes, SMFIC_BODYEOB, NULL);
	put_stop(s);
}

void script_quit(struct script *s)
{
	put_packet(&s->bytes, SMFIC_QUIT, NULL);
}

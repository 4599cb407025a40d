/* Collecting mails for Callbacks.Message: what the shim keeps of a session, and Go reads at end of message. */
#ifndef MILTER_COLLECT_H
#define MILTER_COLLECT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/* What bounds the collecting of a filter's mails. It lives as long as the process, as libmilter's settings do. */
struct milter_rules {
	size_t header_fields;
	size_t header_bytes;
	size_t rcpts;
	size_t body; /* bytes kept of it */
	size_t memory;
	size_t memory_used; /* by all mails that are open; atomic */
	const char *temp_dir;
};

/* Why a mail was not collected. */
enum milter_failure {
	MILTER_OK,
	MILTER_HEADER_FIELDS,
	MILTER_HEADER_BYTES,
	MILTER_RCPTS,
	MILTER_MEMORY,
	MILTER_FILE, /* opening it or writing to it failed: errno says why */
};

/*
 * Texts, each behind a byte that says what it is (enum milter_text) and with a NUL behind it: one piece of memory, which
 * Go copies at once.
 */
struct milter_texts {
	char *at;
	size_t length;
	size_t size;
	bool lost; /* there was no memory for it: a session's only */
};

enum milter_text {
	MILTER_TEXT_HOST = 'C',
	MILTER_TEXT_HELO = 'H',
	MILTER_TEXT_FROM = 'M',
	MILTER_TEXT_RCPT = 'R',
	MILTER_TEXT_ARG = 'A', /* of the sender or recipient before it */
	MILTER_TEXT_NAME = 'N',
	MILTER_TEXT_VALUE = 'V',
};

/* The mail that is being collected. All 0 is none. */
struct milter_mail {
	struct milter_texts texts;
	size_t rcpts, fields, header_bytes;
	char *body; /* as long as it is in memory */
	size_t body_size;
	size_t body_length; /* bytes kept, here or in the file */
	int file;           /* body_in_file: its descriptor */
	bool body_in_file;
	bool truncated;
	enum milter_failure failure;
	int error; /* the errno of MILTER_FILE */
};

/* What smfi_setpriv keeps. It is made at a session's first callback, and freed after xxfi_close. */
struct milter_session {
	void *handle;              /* Go's session */
	unsigned int callbacks;    /* those that are Go's, as bits; the others are answered here */
	unsigned long protocol;    /* what was negotiated */
	struct milter_rules *rules; /* NULL: nothing is collected */
	bool state_seen;            /* libmilter's state was where it is looked for, see bridge.c */
	bool state_hidden;          /* and once it was not */

	struct milter_texts host, helo;
	struct sockaddr_storage addr; /* the family is AF_UNSPEC where there is none */
	unsigned int origin;          /* counts what is new of the three above */
	struct milter_mail mail;
};

/* The most of a body that stays in memory. */
enum { MILTER_BODY_IN_MEMORY = 256 * 1024 };

/* Whether a body can be kept in a file in dir: 0, or the errno that says why not. */
int milter_collect_try(const char *dir);
void milter_collect_connect(struct milter_session *s, const char *host, const struct sockaddr *addr);
void milter_collect_helo(struct milter_session *s, const char *identity);
void milter_collect_from(struct milter_session *s, char *const *argv);
void milter_collect_rcpt(struct milter_session *s, char *const *argv);
void milter_collect_header(struct milter_session *s, const char *name, const char *value);
/* last: Go's callback wants no more, and the MTA will not send it. */
void milter_collect_body(struct milter_session *s, const unsigned char *segment, size_t length, bool last);
bool milter_wants_body(const struct milter_session *s);
void milter_mail_end(struct milter_session *s);
void milter_session_free(struct milter_session *s);

#endif

/*
 * Collecting mails for Callbacks.Message: nothing is answered and nothing crosses into Go until the mail is whole.
 *
 * A mail that cannot be collected goes on, as the MTA may not be waiting for an answer: what was collected of it is given
 * back, the rest is dropped, and at end of message Go says why and answers SMFIS_TEMPFAIL.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "collect.h"

/* take counts memory against what all mails may have together. */
static bool take(struct milter_rules *rules, size_t size)
{
	if (__atomic_add_fetch(&rules->memory_used, size, __ATOMIC_RELAXED) <= rules->memory)
		return true;
	__atomic_sub_fetch(&rules->memory_used, size, __ATOMIC_RELAXED);
	return false;
}

static void give_back(struct milter_rules *rules, size_t size)
{
	__atomic_sub_fetch(&rules->memory_used, size, __ATOMIC_RELAXED);
}

/* grow makes room for need bytes in memory of *size bytes, which it at least doubles, up to most. */
static bool grow(struct milter_rules *rules, char **at, size_t *size, size_t need, size_t most)
{
	size_t bigger = *size * 2 < need ? need : *size * 2;
	char *moved;

	if (need <= *size)
		return true;
	if (bigger > most)
		bigger = most;
	if (!take(rules, bigger - *size))
		return false;
	moved = realloc(*at, bigger);
	if (moved == NULL) {
		give_back(rules, bigger - *size);
		return false;
	}
	*at = moved;
	*size = bigger;
	return true;
}

static void drop(struct milter_rules *rules, char **at, size_t *size)
{
	free(*at);
	give_back(rules, *size);
	*at = NULL;
	*size = 0;
}

/* add puts a text behind the others. */
static bool add(struct milter_rules *rules, struct milter_texts *texts, enum milter_text kind, const char *text)
{
	enum { FIRST_SIZE = 512 };
	size_t length = strlen(text) + 1;
	size_t need = texts->length + 1 + length;

	if (!grow(rules, &texts->at, &texts->size, need < FIRST_SIZE ? FIRST_SIZE : need, SIZE_MAX))
		return false;
	texts->at[texts->length] = (char)kind;
	memcpy(texts->at + texts->length + 1, text, length);
	texts->length = need;
	return true;
}

/* empty gives back all that is kept of the mail, but not why it failed. */
static void empty(struct milter_session *s)
{
	struct milter_mail *mail = &s->mail;

	drop(s->rules, &mail->texts.at, &mail->texts.size);
	drop(s->rules, &mail->body, &mail->body_size);
	if (mail->body_in_file)
		close(mail->file);
	*mail = (struct milter_mail){.failure = mail->failure, .error = mail->error};
}

static void fail(struct milter_session *s, enum milter_failure failure, int error)
{
	s->mail.failure = failure;
	s->mail.error = error;
	empty(s);
}

static void add_to_mail(struct milter_session *s, enum milter_text kind, const char *text)
{
	if (s->mail.failure == MILTER_OK && !add(s->rules, &s->mail.texts, kind, text))
		fail(s, MILTER_MEMORY, 0);
}

/* One text of the connection, in place of an earlier one. */
static void set(struct milter_session *s, struct milter_texts *texts, enum milter_text kind, const char *text)
{
	s->origin++;
	texts->length = 0;
	texts->lost = !add(s->rules, texts, kind, text);
}

void milter_collect_connect(struct milter_session *s, const char *host, const struct sockaddr *addr)
{
	size_t length = 0;

	set(s, &s->host, MILTER_TEXT_HOST, host);
	memset(&s->addr, 0, sizeof s->addr);
	if (addr == NULL)
		return;
	switch (addr->sa_family) {
	case AF_INET: length = sizeof(struct sockaddr_in); break;
	case AF_INET6: length = sizeof(struct sockaddr_in6); break;
	case AF_UNIX: length = sizeof(struct sockaddr_un); break;
	}
	memcpy(&s->addr, addr, length);
}

void milter_collect_helo(struct milter_session *s, const char *identity)
{
	set(s, &s->helo, MILTER_TEXT_HELO, identity);
}

static void collect_path(struct milter_session *s, enum milter_text kind, char *const *argv)
{
	for (; *argv != NULL; argv++, kind = MILTER_TEXT_ARG)
		add_to_mail(s, kind, *argv);
}

void milter_collect_from(struct milter_session *s, char *const *argv)
{
	milter_mail_end(s);
	if (s->host.lost || s->helo.lost)
		fail(s, MILTER_MEMORY, 0);
	collect_path(s, MILTER_TEXT_FROM, argv);
}

void milter_collect_rcpt(struct milter_session *s, char *const *argv)
{
	if (s->mail.failure != MILTER_OK)
		return;
	if (++s->mail.rcpts > s->rules->rcpts)
		fail(s, MILTER_RCPTS, 0);
	else
		collect_path(s, MILTER_TEXT_RCPT, argv);
}

void milter_collect_header(struct milter_session *s, const char *name, const char *value)
{
	if (s->mail.failure != MILTER_OK)
		return;
	s->mail.header_bytes += strlen(name) + strlen(value);
	if (++s->mail.fields > s->rules->header_fields)
		fail(s, MILTER_HEADER_FIELDS, 0);
	else if (s->mail.header_bytes > s->rules->header_bytes)
		fail(s, MILTER_HEADER_BYTES, 0);
	add_to_mail(s, MILTER_TEXT_NAME, name);
	add_to_mail(s, MILTER_TEXT_VALUE, value);
}

static bool write_all(int file, const void *data, size_t length)
{
	const char *at = data;

	while (length > 0) {
		ssize_t n = write(file, at, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return false;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

/* open_unnamed opens a file that has no name, so that nothing is left of it whatever happens; -1 if it cannot. */
static int open_unnamed(const char *dir)
{
	char path[PATH_MAX];
	int file = -1;

#ifdef O_TMPFILE
	file = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (file >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL))
		return file;
#endif
	if ((size_t)snprintf(path, sizeof path, "%s/milter-XXXXXX", dir) >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	file = mkostemp(path, O_CLOEXEC);
	if (file >= 0)
		unlink(path);
	return file;
}

int milter_collect_try(const char *dir)
{
	int file = open_unnamed(dir);
	int error = file < 0 || !write_all(file, "", 1) ? errno : 0;

	if (file >= 0)
		close(file);
	return error;
}

/* spill moves the body from memory to a file. */
static void spill(struct milter_session *s)
{
	struct milter_mail *mail = &s->mail;

	mail->file = open_unnamed(s->rules->temp_dir);
	mail->body_in_file = mail->file >= 0;
	if (!mail->body_in_file || !write_all(mail->file, mail->body, mail->body_length))
		fail(s, MILTER_FILE, errno);
	else
		drop(s->rules, &mail->body, &mail->body_size);
}

void milter_collect_body(struct milter_session *s, const unsigned char *segment, size_t length, bool last)
{
	struct milter_mail *mail = &s->mail;

	if (mail->failure != MILTER_OK || mail->truncated) /* no piece comes behind a gap */
		return;
	mail->truncated = last;
	if (length > s->rules->body - mail->body_length) {
		length = s->rules->body - mail->body_length;
		mail->truncated = true;
	}
	if (length == 0)
		return;
	if (!mail->body_in_file) {
		size_t need = mail->body_length + length;

		if (need <= MILTER_BODY_IN_MEMORY &&
		    grow(s->rules, &mail->body, &mail->body_size, need, MILTER_BODY_IN_MEMORY)) {
			memcpy(mail->body + mail->body_length, segment, length);
			mail->body_length = need;
			return;
		}
		spill(s);
		if (mail->failure != MILTER_OK)
			return;
	}
	if (!write_all(mail->file, segment, length))
		fail(s, MILTER_FILE, errno);
	else
		mail->body_length += length;
}

bool milter_wants_body(const struct milter_session *s)
{
	return s->mail.failure == MILTER_OK && !s->mail.truncated;
}

/* The mail's end, whatever came of it. */
void milter_mail_end(struct milter_session *s)
{
	if (s->rules == NULL)
		return;
	empty(s);
	s->mail.failure = MILTER_OK;
}

void milter_session_free(struct milter_session *s)
{
	if (s == NULL)
		return;
	if (s->rules != NULL) {
		empty(s);
		drop(s->rules, &s->host.at, &s->host.size);
		drop(s->rules, &s->helo.at, &s->helo.size);
	}
	free(s);
}

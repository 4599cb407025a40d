#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h> /* before mfapi.h, which otherwise makes bool an int */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <libmilter/mfapi.h>
#include <libmilter/mfdef.h>

#include "conn.h"
#include "script.h"
#include "stats.h"

enum {
	WRITE_SIZE = 65536, /* at most at once: more than an MTA does, so that this side stays the lighter one */
	READ_SIZE = 8192,  /* more than any filter here sends at once */
	OPTNEG_LEN = 1 + MILTER_OPTLEN,
};

struct conn {
	int fd;
	const struct script *script; /* what is being said */
	size_t written, stop;
	bool blocked;	     /* the socket takes no more for now */
	uint64_t begun;	     /* the mail */
	unsigned int mails;  /* that have come to their end */
	unsigned int headers; /* that the filter has added to this one */
	unsigned char in[READ_SIZE];
	size_t have;
};

static const struct load *load;
static int poller = -1;
static struct script greeting, opening, mail, quit; /* the same for all connections */
static bool negotiated;
static unsigned long protocol;

static int dial_unix(const char *path)
{
	struct sockaddr_un addr = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (strlen(path) >= sizeof(addr.sun_path))
		die("the path %s is too long", path);
	strcpy(addr.sun_path, path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die("connect %s: %s", path, strerror(errno));
	return fd;
}

static int dial_inet(unsigned int port)
{
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, (struct sockaddr *)&addr, sizeof(addr)) != 0)
		die("connect port %u: %s", port, strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	return fd;
}

static int dial(const char *addr)
{
	unsigned int port;

	if (strncmp(addr, "unix:", 5) == 0)
		return dial_unix(addr + 5);
	if (sscanf(addr, "inet:%u@127.0.0.1", &port) == 1)
		return dial_inet(port);
	die("the address %s is neither unix:PATH nor inet:PORT@127.0.0.1", addr);
}

static void watch(struct conn *c, int operation, bool writable)
{
	struct epoll_event event = {.events = EPOLLIN | (writable ? EPOLLOUT : 0), .data.ptr = c};

	if (epoll_ctl(poller, operation, c->fd, &event) != 0)
		die("epoll_ctl: %s", strerror(errno));
}

static void block(struct conn *c, bool blocked)
{
	if (c->blocked != blocked)
		watch(c, EPOLL_CTL_MOD, blocked);
	c->blocked = blocked;
}

/* Writes up to an offset; false if the socket does not take all of it now. */
static bool write_up_to(struct conn *c, size_t end)
{
	while (c->written < end) {
		size_t len = end - c->written < WRITE_SIZE ? end - c->written : WRITE_SIZE;
		ssize_t n = send(c->fd, c->script->bytes.data + c->written, len, MSG_NOSIGNAL);

		if (n < 0 && errno == EAGAIN) {
			block(c, true);
			return false;
		}
		if (n < 0)
			die("write: %s", strerror(errno));
		c->written += (size_t)n;
	}
	block(c, false);
	return true;
}

static void say(struct conn *c, const struct script *s)
{
	c->script = s;
	c->written = c->stop = 0;
}

static void open_conn(struct conn *c)
{
	c->begun = now(); /* a connection's first mail takes as long as the connection does, too */
	c->fd = dial(load->addr);
	if (fcntl(c->fd, F_SETFL, O_NONBLOCK) != 0)
		die("fcntl: %s", strerror(errno));
	c->blocked = false;
	c->mails = c->headers = 0;
	c->have = 0;
	watch(c, EPOLL_CTL_ADD, false);
	say(c, &greeting);
}

static void begin_mail(struct conn *c)
{
	if (c->mails > 0)
		c->begun = now();
	c->headers = 0;
	say(c, &mail);
}

static void end_mail(struct conn *c)
{
	if (c->headers != 1)
		die("the filter has added %u headers to a mail, not one", c->headers);
	stats_mail(c->headers, now() - c->begun);
	if (++c->mails < load->mails) {
		begin_mail(c);
		return;
	}
	say(c, &quit);
	write_up_to(c, quit.bytes.len); /* a few bytes, which go into the socket's empty buffer */
	close(c->fd);
	open_conn(c);
}

/* A script was said to its end: on to the next. */
static void next_script(struct conn *c)
{
	if (c->script == &greeting)
		say(c, &opening);
	else if (c->script == &opening)
		begin_mail(c);
	else
		end_mail(c);
}

/* Says all that can be said before the filter's next reply. */
static void go_on(struct conn *c)
{
	for (;;) {
		bool waits = c->stop < c->script->count;

		if (!write_up_to(c, waits ? c->script->stops[c->stop] : c->script->bytes.len) || waits)
			return;
		next_script(c);
	}
}

static unsigned long number(const unsigned char *p)
{
	return (unsigned long)p[0] << 24 | (unsigned long)p[1] << 16 | (unsigned long)p[2] << 8 | p[3];
}

/* The filter's part of the negotiation: the same on each connection. */
static void negotiate(const unsigned char *packet, size_t len)
{
	unsigned long asked;

	if (packet[0] != SMFIC_OPTNEG || len < OPTNEG_LEN)
		die("the filter does not negotiate");
	asked = number(packet + 9);
	if (negotiated && asked != protocol)
		die("the filter negotiates protocol %lx, and %lx before", asked, protocol);
	if (negotiated)
		return;
	negotiated = true;
	protocol = asked;
	script_opening(&opening, protocol);
	script_mail(&mail, protocol, load->body);
}

/* The filter wants no more of this kind, which only the body is: on to the end of the message. */
static void skip(struct conn *c)
{
	c->written = c->script->last_step;
	c->stop = c->script->count - 1;
}

static void take_packet(struct conn *c, const unsigned char *packet, size_t len)
{
	bool last = c->script == &mail && c->stop == c->script->count - 1;

	if (c->written != c->script->stops[c->stop])
		die("the filter sends %c where it was not asked", packet[0]);
	if (c->script == &greeting) {
		negotiate(packet, len);
		c->stop++;
	} else if (packet[0] == SMFIR_CONTINUE || (packet[0] == SMFIR_ACCEPT && last)) {
		c->stop++;
	} else if (packet[0] == SMFIR_SKIP && !last) {
		skip(c);
	} else if (last && (packet[0] == SMFIR_ADDHEADER || packet[0] == SMFIR_INSHEADER)) {
		c->headers++;
		return;
	} else if (packet[0] != SMFIR_PROGRESS) {
		die("the filter sends %c at step %zu of %zu", packet[0], c->stop + 1, c->script->count);
	} else {
		return;
	}
	go_on(c);
}

/* Takes the packets that are there in full. A filter that is done with a mail says no more than was asked. */
static void take_packets(struct conn *c)
{
	size_t at = 0;

	while (c->have - at > 4 && c->have - at - 4 >= number(c->in + at)) {
		size_t len = number(c->in + at);

		take_packet(c, c->in + at + 4, len);
		if (c->have == 0)
			return; /* it is another connection now */
		at += 4 + len;
	}
	memmove(c->in, c->in + at, c->have - at);
	c->have -= at;
}

/* On TCP: the filter's packet is acknowledged now, not some 40 ms later. The kernel forgets this again and again. */
static void acknowledge(const struct conn *c)
{
	int one = 1;

	if (load->acknowledge)
		setsockopt(c->fd, IPPROTO_TCP, TCP_QUICKACK, &one, sizeof(one));
}

static void receive(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->have, sizeof(c->in) - c->have, 0);

	acknowledge(c);
	if (n == 0)
		die("the filter has closed the connection");
	if (n < 0 && errno == EAGAIN)
		return;
	if (n < 0)
		die("read: %s", strerror(errno));
	c->have += (size_t)n;
	take_packets(c);
	if (c->have == sizeof(c->in))
		die("the filter sends a packet of %lu bytes", number(c->in));
}

void conn_open_all(const struct load *l)
{
	struct conn *conns = calloc(l->senders, sizeof(*conns));

	load = l;
	poller = epoll_create1(EPOLL_CLOEXEC);
	if (conns == NULL || poller < 0)
		die("epoll_create1: %s", strerror(errno));
	script_greeting(&greeting);
	script_quit(&quit);
	for (unsigned int i = 0; i < l->senders; i++) {
		open_conn(&conns[i]);
		go_on(&conns[i]);
	}
}

void conn_serve(int timeout)
{
	struct epoll_event events[64];
	int n = epoll_wait(poller, events, sizeof(events) / sizeof(events[0]), timeout);

	if (n < 0 && errno != EINTR)
		die("epoll_wait: %s", strerror(errno));
	for (int i = 0; i < n; i++) {
		struct conn *c = events[i].data.ptr;

		if ((events[i].events & EPOLLOUT) != 0)
			go_on(c);
		if ((events[i].events & ~(uint32_t)EPOLLOUT) != 0)
			receive(c);
	}
}

/*
 * What Go cannot do for the unix sockets that it makes: bind one with exact permissions, under a
 * umask that is not the process's.
 *
 * milter_bind is called once for a start, before the socket listens; it owns nothing and returns an
 * errno, 0 for success.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "bridge.h"

struct binding {
	int fd;
	struct sockaddr_un addr;
	mode_t mode;
	int error;
};

static int bind_with_mode(void *arg)
{
	struct binding *b = arg;
	mode_t before = umask((mode_t)(0777 & ~b->mode));

	if (bind(b->fd, (struct sockaddr *)&b->addr, sizeof b->addr) < 0)
		b->error = errno;
	umask(before);
	return 0;
}

#ifdef __linux__
/*
 * A process that shares this one's memory and descriptors, and not its umask: files that other
 * threads create meanwhile have the permissions that they are to have. It ends before clone
 * returns, and nobody is sent a SIGCHLD.
 */
static int bind_aside(struct binding *b)
{
	static const size_t stack_size = 64 * 1024;
	char *stack = malloc(stack_size);
	sigset_t all, before;
	pid_t child;
	int error;

	if (stack == NULL)
		return ENOMEM;
	sigfillset(&all); /* a handler would run in the child as well */
	pthread_sigmask(SIG_SETMASK, &all, &before);
	child = clone(bind_with_mode, stack + stack_size, CLONE_VM | CLONE_VFORK | CLONE_FILES, b);
	error = errno;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	free(stack);
	if (child < 0)
		return error;
	while (waitpid(child, NULL, __WALL) < 0 && errno == EINTR)
		;
	return b->error;
}
#else
/* The umask is the whole process's for a moment. */
static int bind_aside(struct binding *b)
{
	bind_with_mode(b);
	return b->error;
}
#endif

int milter_bind(int fd, const char *path, mode_t mode)
{
	struct binding b = {.fd = fd, .addr = {.sun_family = AF_UNIX}, .mode = mode};

	if (strlen(path) >= sizeof b.addr.sun_path)
		return ENAMETOOLONG;
	strcpy(b.addr.sun_path, path);
	return bind_aside(&b);
}

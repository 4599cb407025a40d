/*
 * sigwait, in place of the C library's: signals are Go's.
 *
 * libmilter has a thread that waits for SIGHUP, SIGTERM and SIGINT with sigwait, and stops for good at the first. As long
 * as a thread of Go's is free to take such a signal, the kernel prefers it; while they are all in a handler, a signal that
 * comes right behind another one goes to libmilter's. libmilter has no setting for that. So what it calls is this function:
 * for those three there is nothing to wait for. Whoever else calls it gets what POSIX says of sigwait.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <unistd.h>

static bool is_libmilters(const sigset_t *set)
{
	for (int sig = 1; sig < NSIG; sig++) {
		bool expected = sig == SIGHUP || sig == SIGTERM || sig == SIGINT;

		if ((sigismember(set, sig) == 1) != expected)
			return false;
	}
	return true;
}

int sigwait(const sigset_t *restrict set, int *restrict sig)
{
	int got;

	if (is_libmilters(set)) {
		sigset_t all;

		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, NULL);
		for (;;)
			pause();
	}
	do
		got = sigwaitinfo(set, NULL);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return errno;
	*sig = got;
	return 0;
}

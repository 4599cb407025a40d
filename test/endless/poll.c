/*
 * A poll for LD_PRELOAD that never comes back to look whether libmilter is to stop, which its listener does every five
 * seconds (MI_CHK_TIME): only who connects wakes it up.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <poll.h>
#include <string.h>

int poll(struct pollfd *fds, nfds_t count, int timeout)
{
	enum { CHECK_TIME = 5000, FOREVER = -1 };
	int (*next)(struct pollfd *, nfds_t, int);
	void *found = dlsym(RTLD_NEXT, "poll");

	memcpy(&next, &found, sizeof next);
	return next(fds, count, timeout == CHECK_TIME ? FOREVER : timeout);
}

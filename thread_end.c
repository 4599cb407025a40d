/*
 * The end of a libmilter thread that has called Go.
 *
 * With Go 1.26 such a thread, when it ends, can still hold one of the scheduler's Ps, and if Go stops the world in that
 * very moment (each garbage collection does, twice) it misses this P and stands still: for a minute, or until another
 * new thread calls Go. That is a fault of the runtime (dropm against stopTheWorldWithSema, seen with go1.26.8, not with
 * go1.25). A thread that has been out of Go for some 30 ms has lost its P, so threads stay that long before Go learns of
 * their end. The connection is closed by then: nobody waits for them.
 */
#include <pthread.h>
#include <time.h>

#include "bridge.h"

#ifdef MILTER_LINGER

static pthread_key_t key;
static unsigned long lingered;

static void linger(void *unused)
{
	struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};

	(void)unused;
	nanosleep(&pause, NULL);
	__atomic_add_fetch(&lingered, 1, __ATOMIC_RELAXED);
}

/* Destructors run in the order in which their keys were made, so this comes before Go's, which is made at the first call. */
__attribute__((constructor)) static void make_key(void)
{
	pthread_key_create(&key, linger);
}

void milter_called_go(void)
{
	pthread_setspecific(key, &key);
}

unsigned long milter_threads_lingered(void)
{
	return __atomic_load_n(&lingered, __ATOMIC_RELAXED);
}

#else

void milter_called_go(void)
{
}

unsigned long milter_threads_lingered(void)
{
	return 0;
}

#endif

/*
 * libmilter's threads, as far as they call Go: each has a number, from its first callback to its end.
 *
 * A thread does not end at once. With Go 1.26, one that has just called Go can still hold one of the scheduler's Ps when it
 * ends, and if Go stops the world in that very moment (each garbage collection does, twice) it misses this P and stands
 * still: for a minute, or until another new thread calls Go. That is a fault of the runtime (dropm against
 * stopTheWorldWithSema, seen with go1.26.8, not with go1.25). A thread that has been out of Go for some 30 ms has lost its P,
 * so it stays that long before Go learns of its end. The connection is closed by then: nobody waits.
 */
#include <pthread.h>
#include <time.h>

#include "_cgo_export.h"

static pthread_key_t key;
static __thread unsigned int number;
static unsigned long lingered;

static void linger(void)
{
#ifdef MILTER_LINGER
	struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};

	nanosleep(&pause, NULL);
	__atomic_add_fetch(&lingered, 1, __ATOMIC_RELAXED);
#endif
}

static void thread_ends(void *value)
{
	(void)value;
	milterThreadEnd(number);
	number = 0;
	linger();
}

/* Destructors run in the order in which their keys were made, so this one comes before Go's, which is made at the first call. */
__attribute__((constructor)) static void make_key(void)
{
	pthread_key_create(&key, thread_ends);
}

unsigned int milter_thread(void)
{
	if (number == 0) {
		number = milterThreadBegin();
		pthread_setspecific(key, &key);
	}
	return number;
}

unsigned long milter_threads_lingered(void)
{
	return __atomic_load_n(&lingered, __ATOMIC_RELAXED);
}

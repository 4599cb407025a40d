/* libmilter's threads, as far as they call Go: each has a number, from its first callback to its end. */
#include <pthread.h>

#include "_cgo_export.h"

static pthread_key_t key;
static __thread unsigned int number;

static void thread_ends(void *value)
{
	(void)value;
	milterThreadEnd(number);
	number = 0;
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

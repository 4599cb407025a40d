#include <pthread.h>
#include <stddef.h>

#include "_cgo_export.h"

static void *calls(void *n)
{
	for (long left = *(long *)n; left > 0; left--)
		micro_called(0);
	return NULL;
}

int cross(long n)
{
	pthread_t thread;

	if (pthread_create(&thread, NULL, calls, &n) != 0)
		return -1;
	return pthread_join(thread, NULL);
}

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "history.h"

static uint64_t start, hash;
static bool traced;

/* FNV-1a. */
static const uint64_t fnv_offset = 14695981039346656037u, fnv_prime = 1099511628211u;

static void mix_byte(unsigned char byte)
{
	hash = (hash ^ byte) * fnv_prime;
}

static void mix_raw(uint64_t number)
{
	for (int shift = 0; shift < 64; shift += 8)
		mix_byte((number >> shift) & 0xff);
}

void history_setup(uint64_t seed, bool trace)
{
	hash = fnv_offset;
	mix_raw(seed);
	start = hash;
	traced = trace;
}

void history_begin(void)
{
	hash = start;
}

void mix_number(uint64_t number)
{
	mix_raw(number);
	if (traced)
		printf("  given 0x%" PRIx64 "\n", number);
}

static void trace_bytes(const unsigned char *bytes, size_t length)
{
	printf("  given \"");
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] >= ' ' && bytes[i] <= '~' && bytes[i] != '"' && bytes[i] != '\\')
			putchar(bytes[i]);
		else
			printf("\\x%02x", bytes[i]);
	}
	puts("\"");
}

void mix_bytes(const unsigned char *bytes, size_t length)
{
	mix_raw(length);
	for (size_t i = 0; i < length; i++)
		mix_byte(bytes[i]);
	if (traced)
		trace_bytes(bytes, length);
}

void mix_text(const char *text)
{
	if (text == NULL)
		mix_number(UINT64_MAX);
	else
		mix_bytes((const unsigned char *)text, strlen(text));
}

uint32_t draw(uint32_t limit)
{
	uint64_t spread;
	uint32_t drawn;

	mix_byte(0xd7);
	/* SplitMix64's last steps: one draw after the other from FNV-1a alone would be too much alike. */
	spread = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9u;
	spread = (spread ^ spread >> 27) * 0x94d049bb133111ebu;
	drawn = (uint32_t)((spread >> 33) % limit);
	if (traced)
		printf("  drew %" PRIu32 " of %" PRIu32 "\n", drawn, limit);
	return drawn;
}

void note_call(const char *function, bool succeeded)
{
	mix_byte(succeeded);
	printf("%s %s\n", function, succeeded ? "MI_SUCCESS" : "MI_FAILURE");
}

void note_answer(const char *callback, const char *answer)
{
	printf("%s %s %016" PRIx64 "\n", callback, answer, hash);
	fflush(stdout);
}

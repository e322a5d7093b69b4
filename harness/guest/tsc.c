// SPDX-License-Identifier: GPL-2.0-only
/*
 * Prints the rate of the processor's time-stamp counter in kHz, measured
 * against CLOCK_MONOTONIC_RAW; exits 1 where there is no such counter.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <time.h>

#if defined(__x86_64__) || defined(__i386__)
#include <x86intrin.h>

#define SPAN_NS	20000000ULL
#define TRIES	3

static unsigned long long now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_RAW, &t);
	return t.tv_sec * 1000000000ULL + t.tv_nsec;
}

/* A pair of readings that nothing came between: the closest of several. */
static unsigned long long pair(unsigned long long *ns)
{
	unsigned long long best = ~0ULL, tsc = 0, a, b, t;

	for (int i = 0; i < 64; i++) {
		a = __rdtsc();
		t = now();
		b = __rdtsc();
		if (b - a < best) {
			best = b - a;
			tsc = a + (b - a) / 2;
			*ns = t;
		}
	}
	return tsc;
}

int main(void)
{
	unsigned long long t0, t1, c0, c1, sum = 0;

	for (int i = 0; i < TRIES; i++) {
		c0 = pair(&t0);
		while (now() - t0 < SPAN_NS)
			;
		c1 = pair(&t1);
		sum += (c1 - c0) * 1000000ULL / (t1 - t0);
	}
	printf("%llu\n", sum / TRIES);
	return 0;
}
#else
int main(void)
{
	return 1;
}
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Seeds and pseudo-random numbers: splitmix64 to spread a seed, xoroshiro128+ to go on from there.
 */
#include "support.h"

#include <stdlib.h>
#include <time.h>

uint64_t test_env_number(const char *name, uint64_t fallback)
{
	const char *text = getenv(name);
	char *end;
	uint64_t value;

	if (!text || !*text)
		return fallback;
	value = strtoull(text, &end, 0);
	if (*end) {
		fprintf(stderr, "%s=%s is not a number\n", name, text);
		exit(2);
	}
	return value;
}

static uint64_t splitmix(uint64_t *x)
{
	uint64_t z = (*x += 0x9e3779b97f4a7c15u);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

uint64_t test_seed(void)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	static bool known;
	static uint64_t seed;
	struct timespec now;

	pthread_mutex_lock(&lock);
	if (!known) {
		clock_gettime(CLOCK_REALTIME, &now);
		seed = (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
		seed = splitmix(&seed) & 0xffffffffu;
		seed = test_env_number("TDP_SEED", seed);
		known = true;
		printf("# TDP_SEED=%llu\n", (unsigned long long)seed);
		fflush(stdout);
	}
	pthread_mutex_unlock(&lock);
	return seed;
}

void test_rand_init(struct test_rand *r, uint64_t seed)
{
	r->s[0] = splitmix(&seed);
	r->s[1] = splitmix(&seed) | 1; /* the all-zero state is the only bad one */
	r->bytes = NULL;
	r->left = 0;
}

void test_rand_feed(struct test_rand *r, const void *bytes, size_t size)
{
	r->bytes = bytes;
	r->left = size;
}

/* No more bytes than a number up to `most` takes: a change in one choice then leaves the later ones where they are. */
static uint64_t fed(struct test_rand *r, uint64_t most)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64 && most >> shift && r->left; shift += 8, r->left--)
		v |= (uint64_t)*r->bytes++ << shift;
	return v;
}

static uint64_t rotl(uint64_t v, unsigned n)
{
	return (v << n) | (v >> (64 - n));
}

uint64_t test_rand(struct test_rand *r)
{
	uint64_t a = r->s[0], b = r->s[1], sum = a + b;

	if (r->bytes)
		return fed(r, ~(uint64_t)0);
	b ^= a;
	r->s[0] = rotl(a, 24) ^ b ^ (b << 16);
	r->s[1] = rotl(b, 37);
	return sum;
}

uint64_t test_below(struct test_rand *r, uint64_t bound)
{
	/* The high bits are the good ones; the bias for the bounds of tests is of no consequence.
	 */
	if (!bound)
		return 0;
	return (r->bytes ? fed(r, bound - 1) : test_rand(r) >> 8) % bound;
}

bool test_one_in(struct test_rand *r, uint64_t n)
{
	return test_below(r, n) == 0;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Whatever vectors a processor has, looking for bits in a row of words finds what a loop over them finds. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

/* All of its variants, not only the one that is the best here. */
#include "../../backends/host/scan.c"

#define WORDS 512u

static unsigned first_of(const uint64_t *words, unsigned from, unsigned end, uint64_t bits)
{
	while (from < end && !(words[from] & bits))
		from++;
	return from;
}

/* Few words match, in few bits, near either end of where is looked, and outside of it. */
static void fill(struct test_rand *rand, uint64_t *words, uint64_t bits)
{
	for (unsigned i = 0; i < WORDS; i++)
		words[i] = test_rand(rand) & ~bits;
	for (unsigned n = (unsigned)test_below(rand, 4); n > 0; n--)
		words[test_below(rand, WORDS)] |= bits & -bits;
}

typedef unsigned pass_fn(const uint64_t *words, unsigned i, unsigned end, uint64_t bits);

static unsigned then_one_by_one(pass_fn *passes, const uint64_t *words, unsigned from, unsigned end,
				uint64_t bits)
{
	unsigned i = passes(words, from, end, bits);

	assert_true(i >= from && i <= end);
	return first_of(words, i, end, bits);
}

static void finds_what_a_loop_finds(void **state)
{
	uint64_t words[WORDS + 1];
	struct test_rand rand;

	(void)state;
	test_rand_init(&rand, test_seed());
	for (unsigned round = 0; round < 20000; round++) {
		const uint64_t *row = words + round % 2; /* aligned to a word only */
		uint64_t bits = (uint64_t)1 << test_below(&rand, 64);
		unsigned from = (unsigned)test_below(&rand, WORDS);
		unsigned end = from + (unsigned)test_below(&rand, WORDS - from + 1);
		unsigned want;

		bits |= round % 3 ? 0 : (uint64_t)1 << test_below(&rand, 64);
		fill(&rand, words + round % 2, bits);
		want = first_of(row, from, end, bits);
		assert_int_equal(tdpi_host_scan(NULL, row, from, end, bits), want);
		assert_int_equal(then_one_by_one(pass, row, from, end, bits), want);
#if defined(__x86_64__) && !HOST_TSAN
		if (__builtin_cpu_supports("avx512f"))
			assert_int_equal(then_one_by_one(pass_512, row, from, end, bits), want);
		if (__builtin_cpu_supports("avx2"))
			assert_int_equal(then_one_by_one(pass_256, row, from, end, bits), want);
#endif
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(finds_what_a_loop_finds)};

	return cmocka_run_group_tests_name("host_scan", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A05, KVM arm64 2023: a range to be aged was one huge page of the host, but the guest had it in many small
 * ones; only the first was looked at. Here ranges of all lengths at all offsets over several tables are aged
 * and asked about; the answer is what the guest has touched, page by page, and of the pages outside nothing is
 * forgotten.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	struct test_rand rand;
	unsigned pages;
	bool *young;
};

static uint64_t model_young(const struct scene *s, unsigned first, unsigned count)
{
	uint64_t n = 0;

	for (unsigned i = first; i < first + count; i++)
		n += s->young[i];
	return n;
}

static void touch_some(struct scene *s, unsigned one_in)
{
	for (unsigned i = 0; i < s->pages; i++) {
		if (!test_one_in(&s->rand, one_in))
			continue;
		museum_reaches(&s->vm, i * TEST_PAGE, TDP_R, MUSEUM_PA + i * TEST_PAGE);
		s->young[i] = true;
	}
}

static void asked(struct scene *s, unsigned first, unsigned count)
{
	struct tdp_range r = museum_range(first * TEST_PAGE, count * TEST_PAGE);
	uint64_t want = model_young(s, first, count), words = (count + 63) / 64, young = ~0ull;
	uint64_t *bits = calloc(words, sizeof(*bits));

	assert_int_equal(tdp_test_age(s->vm.mm, 0, r), want != 0);
	assert_int_equal(tdp_age_bitmap(s->vm.mm, 0, r, false, bits, words), want != 0);
	for (unsigned i = 0; i < count; i++)
		assert_int_equal(bits[i / 64] >> i % 64 & 1, s->young[first + i]);
	free(bits);
	assert_int_equal(tdp_age(s->vm.mm, 0, r, &young), want != 0);
	assert_int_equal(young, want);
	for (unsigned i = first; i < first + count; i++)
		s->young[i] = false;
	assert_int_equal(tdp_test_age(s->vm.mm, 0, r), 0);
}

static void all_of_a_range(void **state)
{
	struct scene s;

	/* Aging flushes, so that the next touch is seen. */
	museum_start(&s.vm, state, &(struct test_vm_options){.mm_flags = TDP_MM_FLUSH_ON_AGE});
	test_rand_init(&s.rand, test_seed());
	s.pages = 3u << s.vm.info.index_lg2;
	s.young = calloc(s.pages, sizeof(*s.young));
	assert_int_equal(
		test_vm_slot(&s.vm, 0, 0, s.pages * TEST_PAGE, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL),
		TDP_OK);
	for (unsigned round = 0; round < 64; round++) {
		unsigned first = (unsigned)test_below(&s.rand, s.pages);

		touch_some(&s, 1 + round % 7 * 9);
		asked(&s, first, 1 + (unsigned)test_below(&s.rand, s.pages - first));
	}
	touch_some(&s, 1);
	asked(&s, 0, s.pages);
	free(s.young);
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(all_of_a_range)};

	return test_run("museum/A05", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O06, Xen 2021 (XSA-388): a guest asked to free or fill 512 pages at a frame that was not
 * aligned to 512, or 8 pages where the code knew only 1, 512 and 512 * 512: wrong pages were
 * handled, or the host stopped. Here every combination of alignment and length in a choice of
 * both is unmapped out of huge pages and filled again: the result is that of a model which knows
 * only single pages, and sizes that are none are refused.
 */
#include "museum.h"

#define BLOCKS 3u

struct scene {
	struct test_vm vm;
	uint64_t huge, pages; /* of a block */
	uint8_t *there;       /* the model: by page */
};

/* more: pages that the model has not may be there, at their right place. */
static void equals_model(struct scene *s, bool more)
{
	for (uint64_t i = 0; i < BLOCKS * s->pages; i++) {
		struct tdp_mapping m;
		tdp_gpa_t gpa = s->huge + i * TEST_PAGE;
		bool mapped = museum_mapped(&s->vm, gpa, &m);

		if (!more || s->there[i])
			assert_int_equal(mapped, s->there[i]);
		if (mapped)
			assert_int_equal(m.pa + (gpa - m.gpa), MUSEUM_PA + i * TEST_PAGE);
	}
}

static void cut(struct scene *s, uint64_t first, uint64_t count)
{
	struct tdp_range all = museum_range(s->huge, BLOCKS * s->huge), r;
	uint64_t done;

	r = museum_range(s->huge + first * TEST_PAGE, count * TEST_PAGE);
	assert_int_equal(tdp_zap(s->vm.mm, 0, all, 0), TDP_OK);
	assert_int_equal(
		tdp_populate(s->vm.mm, 0, all, TDP_POPULATE_STRICT | TDP_POPULATE_YOUNG, &done),
		TDP_OK);
	assert_int_equal(done, all.size);
	memset(s->there, 1, BLOCKS * s->pages);
	museum_is_there(&s->vm, s->huge, TDP_R, MUSEUM_PA); /* a huge page, and cached */
	assert_int_equal(tdp_zap(s->vm.mm, 0, r, TDP_ZAP_STRICT), TDP_OK);
	memset(s->there + first, 0, count);
	equals_model(s, false);
	assert_int_equal(tdp_emu_cached(s->vm.emu, r.start, r.size), 0);
	/* Filled again, no more and no less; a part of it first. */
	assert_int_equal(tdp_populate(s->vm.mm, 0, museum_range(r.start, TEST_PAGE),
				      TDP_POPULATE_STRICT | TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
	s->there[first] = 1;
	equals_model(s, true); /* a huge page may have come for it, if all of one was missing */
	assert_int_equal(tdp_populate(s->vm.mm, 0, r, TDP_POPULATE_STRICT, NULL), TDP_EEXIST);
	equals_model(s, true);
	assert_int_equal(tdp_populate(s->vm.mm, 0, r, TDP_POPULATE_YOUNG, &done), TDP_OK);
	assert_int_equal(done, r.size);
	memset(s->there + first, 1, count);
	equals_model(s, false);
}

static void any_alignment_any_length(void **state)
{
	struct scene s;
	uint64_t n;

	museum_start(&s.vm, state, NULL);
	s.huge = museum_huge(&s.vm);
	n = s.pages = s.huge / TEST_PAGE;
	s.there = calloc(BLOCKS, n);
	assert_non_null(s.there);
	museum_slot(&s.vm, s.huge, BLOCKS * s.huge, MUSEUM_PA);
	const uint64_t firsts[] = {0, 1, 3, n / 2, n - 1, n, n + 1, 2 * n - 1};
	const uint64_t counts[] = {1, 2, 8, n / 2, n - 1, n, n + 1};

	for (unsigned i = 0; i < ARRAY_LEN(firsts); i++)
		for (unsigned k = 0; k < ARRAY_LEN(counts); k++)
			if (firsts[i] + counts[k] <= BLOCKS * n)
				cut(&s, firsts[i], counts[k]);
	free(s.there);
	museum_end(&s.vm);
}

static void sizes_that_are_none(void **state)
{
	struct test_vm vm;
	struct tdp_range all;
	uint64_t huge;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	all = museum_range(0, huge);
	museum_slot(&vm, 0, huge, MUSEUM_PA);
	assert_int_equal(tdp_populate(vm.mm, 0, all, 0, NULL), TDP_OK);
	for (uint32_t lg2 = 0; lg2 < 70; lg2++) {
		bool leaf = false;

		for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++)
			leaf |= vm.info.leaf_levels >> level & 1 && test_vm_lg2(&vm, level) == lg2;
		if (!leaf)
			assert_int_equal(tdp_split(vm.mm, 0, all, lg2), TDP_EINVAL);
		else if (lg2 > TDP_PAGE_LG2)
			assert_int_equal(tdp_split(vm.mm, 0, all, lg2), TDP_OK);
	}
	assert_int_equal(museum_reaches(&vm, 0, TDP_W, MUSEUM_PA), test_vm_lg2(&vm, 1));
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(any_alignment_any_length),
						 TEST_CASE(sizes_that_are_none)};

	return test_run("museum/O06", cases, ARRAY_LEN(cases));
}

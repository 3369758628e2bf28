/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C13, Xen populate-on-demand 2025: a loop that should have cleared what was known about each of
 * the 512 pages of a huge page never advanced, so the first page's slot was cleared 512 times.
 * Here every table on the side that knows something per page (dirty log, write tracking) is set
 * for a whole huge page or more and cleared by one call: afterwards it is empty for all of them,
 * and only for them.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	uint32_t lg2; /* of the block: at least 64 pages, so that the log of it has several words */
	uint64_t block, pages;
	uint64_t *bits;
	uint32_t id;
};

static void scene_start(struct scene *s, void **state)
{
	museum_start(&s->vm, state, NULL);
	s->lg2 = test_vm_lg2(&s->vm, 1);
	if (s->lg2 < TDP_PAGE_LG2 + 7)
		s->lg2 = test_vm_max_lg2(&s->vm);
	s->block = (uint64_t)1 << s->lg2;
	s->pages = s->block / TEST_PAGE;
	s->bits = calloc(3 * s->pages / 64, sizeof(*s->bits));
	assert_non_null(s->bits);
	s->id = museum_slot(&s->vm, 0, 3 * s->block, (tdp_pa_t)1 << 46);
}

static void scene_end(struct scene *s)
{
	free(s->bits);
	museum_end(&s->vm);
}

/* In the log are the pages of the first and the last block, or all. */
static void logged(struct scene *s, bool middle)
{
	assert_int_equal(tdp_dirty_get(s->vm.mm, s->id, 0, s->bits, 3 * s->pages / 64), TDP_OK);
	for (uint64_t i = 0; i < 3 * s->pages; i++)
		assert_int_equal(s->bits[i / 64] >> i % 64 & 1, middle || i / s->pages != 1);
}

static void dirty_log_of_a_block(void **state)
{
	struct scene s;

	scene_start(&s, state);
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.id, TDP_LOG_AUTO), TDP_OK);
	for (uint64_t i = 0; i < 3 * s.pages; i++)
		museum_reaches(&s.vm, i * TEST_PAGE, TDP_W, MUSEUM_PA + i * TEST_PAGE);
	logged(&s, true);
	assert_int_equal(tdp_dirty_clear(s.vm.mm, s.id, s.pages, s.pages), TDP_OK);
	logged(&s, false);
	/* What was cleared is armed: each next write is seen. */
	for (uint64_t i = s.pages; i < 2 * s.pages; i++)
		museum_reaches(&s.vm, i * TEST_PAGE, TDP_W, MUSEUM_PA + i * TEST_PAGE);
	logged(&s, true);
	/* Unmapping a block takes nothing out of the log, removing it from the log does. */
	assert_int_equal(tdp_zap(s.vm.mm, 0, museum_range(s.block, s.block), 0), TDP_OK);
	logged(&s, true);
	assert_int_equal(tdp_dirty_harvest(s.vm.mm, s.id, s.pages, s.bits, s.pages / 64), TDP_OK);
	logged(&s, false);
	/* The host marks a block at once. */
	assert_int_equal(tdp_dirty_mark(s.vm.mm, s.id, s.pages, s.pages), TDP_OK);
	logged(&s, true);
	scene_end(&s);
}

static void tracking_of_a_block(void **state)
{
	struct scene s;
	struct tdp_range block;
	uint32_t lg2;

	scene_start(&s, state);
	block = museum_range(s.block, s.block);
	museum_reaches(&s.vm, s.block, TDP_W, MUSEUM_PA + s.block);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, block, true), TDP_OK);
	for (uint64_t i = 0; i < s.pages; i++)
		museum_answer(&s.vm, s.block + i * TEST_PAGE, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, block, false), TDP_OK);
	/*
	 * No page of it is still counted: it may be one huge page again, and each page be
	 * written.
	 */
	assert_int_equal(tdp_max_lg2(s.vm.mm, 0, s.block, &lg2), TDP_OK);
	assert_int_equal(lg2, s.lg2);
	for (uint64_t i = 0; i < s.pages; i++)
		museum_reaches(&s.vm, s.block + i * TEST_PAGE, TDP_W,
			       MUSEUM_PA + s.block + i * TEST_PAGE);
	scene_end(&s);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(dirty_log_of_a_block),
						 TEST_CASE(tracking_of_a_block)};

	return test_run("museum/C13", cases, ARRAY_LEN(cases));
}

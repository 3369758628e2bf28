/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C08, Xen 2026 (XSA-507, CVE-2026-62434): the search for pages to take back (populate on
 * demand) also took a special page that looked ordinary but was in use elsewhere. Here a special
 * page is one whose writes are tracked, because somebody else relies on its content: whatever
 * builds larger pages, frees tables, ages or populates around it leaves it alone, and each write
 * to it is still reported.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	uint64_t huge;
	tdp_gpa_t special;
};

/* The tracked page still is what it was: readable, and a write is an event, not an access. */
static void still_special(struct scene *s)
{
	uint32_t lg2;

	assert_int_equal(tdp_max_lg2(s->vm.mm, 0, s->special, &lg2), TDP_OK);
	assert_int_equal(lg2, TDP_PAGE_LG2);
	museum_reaches(&s->vm, s->special, TDP_R, MUSEUM_PA + s->special);
	museum_answer(&s->vm, s->special, TDP_W, TDP_FAULT_TRACKED);
}

static void special_pages_are_left_alone(void **state)
{
	struct scene s;
	struct tdp_range all, page;
	uint64_t n = 0;

	museum_start(&s.vm, state, NULL);
	s.huge = museum_huge(&s.vm);
	s.special = s.huge + 3 * TEST_PAGE;
	all = museum_range(0, 3 * s.huge);
	page = museum_range(s.special, TEST_PAGE);
	museum_slot(&s.vm, 0, all.size, MUSEUM_PA);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, page, true), TDP_OK);

	/* A neighbour's fault makes no huge page over it. */
	assert_int_equal(museum_reaches(&s.vm, s.special + TEST_PAGE, TDP_W,
					MUSEUM_PA + s.special + TEST_PAGE),
			 TDP_PAGE_LG2);
	still_special(&s);
	/* Nor does populating. Freeing empty tables takes none that maps it. */
	assert_int_equal(tdp_populate(s.vm.mm, 0, all, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	still_special(&s);
	assert_int_equal(tdp_compact(s.vm.mm, 0, all), 0);
	still_special(&s);
	/*
	 * Rebuilding huge pages takes the blocks beside it (which are huge already), never its
	 * own.
	 */
	assert_int_equal(tdp_split(s.vm.mm, 0, all, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_collapse(s.vm.mm, 0, all, 0, &n), TDP_OK);
	assert_int_equal(n, 2);
	still_special(&s);
	assert_int_equal(museum_reaches(&s.vm, 0, TDP_W, MUSEUM_PA), test_vm_lg2(&s.vm, 1));
	/* Reclaimed as cold with all around it, it comes back as what it is. */
	assert_true(tdp_age(s.vm.mm, 0, all, NULL) >= 0);
	still_special(&s);
	assert_int_equal(tdp_zap(s.vm.mm, 0, all, TDP_ZAP_KEEP_YOUNG), TDP_OK);
	still_special(&s);

	/* All of its block tracked: nothing there is a huge page either. */
	assert_int_equal(tdp_write_track(s.vm.mm, 0, museum_range(s.huge, s.huge), true), TDP_OK);
	assert_int_equal(tdp_populate(s.vm.mm, 0, all, 0, NULL), TDP_OK);
	assert_int_equal(tdp_collapse(s.vm.mm, 0, museum_range(s.huge, s.huge), 0, &n), TDP_OK);
	assert_int_equal(n, 0);
	still_special(&s);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, museum_range(s.huge, s.huge), false), TDP_OK);
	still_special(&s);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, page, false), TDP_OK);
	museum_reaches(&s.vm, s.special, TDP_W, MUSEUM_PA + s.special);
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(special_pages_are_left_alone)};

	return test_run("museum/C08", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O05, KVM x86 2026: the first frame of a table of small pages lay below the start of its
 * memslot, and the index computed from it into the slot's array per huge page was negative. Here
 * slots start (and end) at odd pages inside huge pages; each page in turn is write-tracked,
 * which counts in that array, with faults, collapsing and log recovery around it: a tracked page
 * never ends up in a huge page, and no huge page crosses the slot's ends. Under AddressSanitizer
 * the arrays themselves are watched.
 */
#include "museum.h"

#define BLOCKS 4u

static void around_one_page(struct test_vm *vm, tdp_gpa_t start, uint64_t size, tdp_gpa_t page,
			    uint32_t id)
{
	struct tdp_range all = museum_range(0, (BLOCKS + 2) * museum_huge(vm));
	uint64_t huge = museum_huge(vm), block = page & ~(huge - 1), n;
	tdp_pa_t pa = MUSEUM_PA + page;
	uint32_t lg2;

	assert_int_equal(tdp_write_track(vm->mm, 0, museum_range(page, TEST_PAGE), true), TDP_OK);
	/* Every page of its block that is in the slot faults; none brings the tracked one along. */
	for (tdp_gpa_t gpa = block; gpa < block + huge; gpa += TEST_PAGE) {
		if (gpa < start || gpa >= start + size || gpa == page)
			continue;
		museum_reaches(vm, gpa, TDP_W, MUSEUM_PA + gpa);
	}
	museum_answer(vm, page, TDP_W, TDP_FAULT_TRACKED);
	museum_reaches(vm, page, TDP_R, pa);
	assert_int_equal(tdp_max_lg2(vm->mm, 0, page, &lg2), TDP_OK);
	assert_int_equal(lg2, TDP_PAGE_LG2);
	/* Recovery over everything, also where the slot is not. */
	assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, &n), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_WRPROT), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, id, TDP_LOG_OFF | TDP_LOG_RECOVER), TDP_OK);
	museum_answer(vm, page, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(vm->mm, 0, museum_range(page, TEST_PAGE), false), TDP_OK);
	museum_reaches(vm, page, TDP_W, pa);
	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
}

/* Huge pages exactly where whole blocks are. */
static void sizes_fit(struct test_vm *vm, tdp_gpa_t start, uint64_t size)
{
	uint64_t huge = museum_huge(vm);

	for (tdp_gpa_t block = 0; block < (BLOCKS + 2) * huge; block += huge) {
		tdp_gpa_t at = block < start ? start : block;
		bool whole = block >= start && block + huge <= start + size;
		uint32_t lg2;

		if (at >= start + size || at >= block + huge)
			continue;
		assert_int_equal(tdp_max_lg2(vm->mm, 0, at, &lg2), TDP_OK);
		assert_int_equal(lg2, whole ? test_vm_lg2(vm, 1) : TDP_PAGE_LG2);
		assert_int_equal(museum_reaches(vm, at, TDP_W, MUSEUM_PA + at), lg2);
	}
}

static void slots_at_odd_pages(void **state)
{
	struct test_vm vm;
	uint64_t huge, skip[4];

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	skip[0] = TEST_PAGE;
	skip[1] = huge / 2 + TEST_PAGE;
	skip[2] = huge - TEST_PAGE;
	skip[3] = 0;
	for (unsigned i = 0; i < ARRAY_LEN(skip); i++) {
		tdp_gpa_t start = huge + skip[i];
		uint64_t size = BLOCKS * huge - skip[i] - skip[(i + 1) % ARRAY_LEN(skip)];
		tdp_gpa_t pages[6];
		uint32_t id = museum_slot(&vm, start, size, MUSEUM_PA + start);

		/* Neighbours right before and behind. */
		museum_slot(&vm, start - TEST_PAGE, TEST_PAGE, MUSEUM_PA + start - TEST_PAGE);
		museum_slot(&vm, start + size, TEST_PAGE, MUSEUM_PA + start + size);
		sizes_fit(&vm, start, size);
		pages[0] = start;
		pages[1] = 2 * huge - TEST_PAGE;
		pages[2] = 2 * huge;
		pages[3] = 2 * huge + TEST_PAGE;
		pages[4] = 3 * huge - TEST_PAGE;
		pages[5] = start + size - TEST_PAGE;
		for (unsigned k = 0; k < ARRAY_LEN(pages); k++)
			around_one_page(&vm, start, size, pages[k], id);
		sizes_fit(&vm, start, size);
		assert_int_equal(test_vm_check(&vm), 0);
		assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
		assert_int_equal(tdp_slot_remove(vm.mm, id + 1), TDP_OK);
		assert_int_equal(tdp_slot_remove(vm.mm, id + 2), TDP_OK);
		/* Empty tables would keep the next round's pages small. */
		assert_true(tdp_compact(vm.mm, 0, museum_range(0, (BLOCKS + 2) * huge)) >= 0);
	}
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(slots_at_odd_pages)};

	return test_run("museum/O05", cases, ARRAY_LEN(cases));
}

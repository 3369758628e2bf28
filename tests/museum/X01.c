/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X01, Xen 2022 (XSA-410): a guest with large tables was destroyed, and all its pages were freed in one go that
 * nothing could interrupt: the watchdog bit. Here the tables of several roots are torn down in slices: each call
 * frees no more than was asked for (and one subtree), says that there is more to do until there is none, takes no
 * new tables, and guests that have been reloaded run in between.
 */
#include "museum.h"

#define SUBTREES 12u
#define OVER 3u /* tables of one subtree here */

static uint64_t linked(struct test_vm *vm)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};

	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	return report.tables;
}

static void in_slices(void **state, uint64_t max)
{
	struct test_vm vm;
	uint64_t stride, left, total;
	unsigned calls = 0;
	int more;

	museum_start(&vm, state, NULL);
	stride = (uint64_t)1 << test_vm_lg2(&vm, 2);
	for (unsigned as = 0; as < 2; as++) {
		for (unsigned i = 0; i < SUBTREES; i++) {
			tdp_gpa_t gpa = i * stride;

			assert_int_equal(test_vm_slot(&vm, as, gpa, TEST_PAGE, MUSEUM_PA, 0, NULL),
					 TDP_OK);
			assert_int_equal(
				tdp_populate(vm.mm, as, museum_range(gpa, TEST_PAGE), 0, NULL),
				TDP_OK);
		}
	}
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	museum_reaches(&vm, 0, TDP_R, MUSEUM_PA);
	left = linked(&vm);
	total = atomic_load(&vm.env.tables_total);
	do {
		uint64_t before = left;

		more = tdp_roots_reclaim(vm.mm, max);
		assert_in_range(more, 0, 1);
		left = linked(&vm);
		assert_in_range(before - left, 1, max + OVER + 2 * vm.info.root_pages);
		assert_true(calls++ < 4 * SUBTREES * OVER);
		museum_is_there(&vm, 0, TDP_R, MUSEUM_PA);
	} while (more);
	assert_int_equal(atomic_load(&vm.env.tables_total), total);
	assert_int_equal(left, vm.info.levels - 1 + vm.info.root_pages);
	assert_true(max > 1 || calls >= 2 * SUBTREES);
	museum_end(&vm);
}

static void slices(void **state)
{
	for (uint64_t max = 1; max <= 9; max += 2)
		in_slices(state, max);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(slices)};

	return test_run("museum/X01", cases, ARRAY_LEN(cases));
}

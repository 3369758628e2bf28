/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C10, Xen 2022 (XSA-394): a mapping that was made with two attributes could be unmapped one
 * attribute at a time, and each of these calls dropped the reference of the whole: the count
 * fell below zero. Here one page is unmapped again and again, in every way there is (keeping its
 * age, then forgetting that; lazily; strictly): its table counts it once. The same for the other
 * counts that a caller can lower: a call too many is refused and changes nothing.
 */
#include "museum.h"

static void unmapped_again_and_again(void **state)
{
	static const uint32_t ways[] = {TDP_ZAP_KEEP_YOUNG, 0, TDP_ZAP_LAZY, TDP_ZAP_NOYIELD,
					TDP_ZAP_KEEP_YOUNG};
	struct test_vm vm;
	struct tdp_range first, all;
	uint64_t huge;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	first = museum_range(huge, TEST_PAGE);
	all = museum_range(0, test_vm_size(&vm));
	assert_int_equal(test_vm_slot(&vm, 0, huge, huge, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	museum_reaches(&vm, huge, TDP_W, MUSEUM_PA);
	museum_reaches(&vm, huge + huge - TEST_PAGE, TDP_W, MUSEUM_PA + huge - TEST_PAGE);
	for (unsigned i = 0; i < ARRAY_LEN(ways); i++) {
		assert_int_equal(tdp_zap(vm.mm, 0, first, ways[i]), TDP_OK);
		assert_int_equal(tdp_zap(vm.mm, 0, first, TDP_ZAP_STRICT), TDP_ENOENT);
		/* The other page keeps the table. */
		assert_int_equal(tdp_compact(vm.mm, 0, all), 0);
		museum_is_there(&vm, huge + huge - TEST_PAGE, TDP_W, MUSEUM_PA + huge - TEST_PAGE);
		assert_int_equal(test_vm_check(&vm), 0);
	}
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(huge + huge - TEST_PAGE, TEST_PAGE), 0),
			 TDP_OK);
	assert_true(tdp_compact(vm.mm, 0, all) > 0);
	museum_reaches(&vm, huge, TDP_W, MUSEUM_PA);
	museum_end(&vm);
}

static void lowered_once_too_often(void **state)
{
	struct test_vm vm;
	struct tdp_range page;
	uint64_t huge;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	page = museum_range(huge, TEST_PAGE);
	museum_slot(&vm, huge, huge, MUSEUM_PA);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	assert_int_equal(tdp_write_track(vm.mm, 0, museum_range(huge, huge), true), TDP_OK);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	museum_answer(&vm, huge, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_ENOSPC);
	/* All or nothing: one page of the range is at 0. */
	assert_int_equal(tdp_write_track(vm.mm, 0, museum_range(huge, huge), false), TDP_ENOSPC);
	museum_reaches(&vm, huge, TDP_W, MUSEUM_PA);
	museum_answer(&vm, huge + TEST_PAGE, TDP_W, TDP_FAULT_TRACKED);

	assert_int_equal(tdp_invalidate_begin(vm.mm, page), TDP_OK);
	assert_int_equal(tdp_invalidate_begin(vm.mm, page), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, page), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	vm.max_retries = 0;
	museum_answer(&vm, huge, TDP_R, TDP_FAULT_RETRY); /* one is still open */
	assert_int_equal(tdp_invalidate_end(vm.mm, page), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, page), TDP_EINVAL);
	museum_reaches(&vm, huge, TDP_R, MUSEUM_PA);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(unmapped_again_and_again),
						 TEST_CASE(lowered_once_too_often)};

	return test_run("museum/C10", cases, ARRAY_LEN(cases));
}

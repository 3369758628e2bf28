/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F18, KVM arm64 2020: logging had split a block, every page of it was in the TLB, logging was switched off and
 * the block put back with a flush of one address: pages and block were cached for one address together.
 *
 * Here that is done on two vCPUs that hold every page, in place, by zap and refault, and by what switching
 * logging off offers. From then on every access must go through the huge page.
 */
#include "flush.h"

enum back { IN_PLACE, BY_ZAP, WITH_LOG_OFF, BACKS };

static void goes_huge_again(void **state, enum back back)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint32_t lg2 = test_vm_lg2(vm, huge_levels(vm).level[0]), slot;
	struct tdp_range all = range_of(GPA, (uint64_t)1 << lg2);
	uint32_t off = TDP_LOG_OFF | (back == WITH_LOG_OFF ? TDP_LOG_RECOVER : 0);
	uint64_t made = 0;

	assert_int_equal(test_vm_slot(vm, 0, GPA, 2 * all.size, PA, 0, &slot), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	assert_int_equal(lg2_at(vm, 0, GPA), lg2);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
	cache_all(vm, all, TEST_PAGE);
	assert_int_equal(lg2_at(vm, 0, GPA), TDP_PAGE_LG2);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, off), TDP_OK);
	if (back != WITH_LOG_OFF) {
		assert_int_equal(
			tdp_collapse(vm->mm, 0, all, back == BY_ZAP ? TDP_COLLAPSE_ZAP : 0, &made),
			TDP_OK);
		assert_int_equal(made, 1);
	}
	touch_linear(vm, 0, GPA, TDP_W);
	assert_int_equal(lg2_at(vm, 0, GPA), lg2);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (uint64_t at = 0; at < all.size; at += TEST_PAGE)
			assert_int_equal(touch(vm, cpu, GPA + at, TDP_R).lg2, lg2);
	close_vm(vm);
}

static void one_size_after_collapse(void **state)
{
	for (unsigned back = 0; back < BACKS; back++)
		goes_huge_again(state, (enum back)back);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(one_size_after_collapse)};

	return test_run("museum/F18", cases, ARRAY_LEN(cases));
}

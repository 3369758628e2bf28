/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H06, KVM on arm64, 2020: with 64K pages two of the levels of a table are one, so that the
 * sizes of both were equal and the helper for the wrong one was called; it cleared nothing, and
 * the loop around it never ended.
 *
 * Here every geometry, also the one whose leaves skip a level: a huge page of each size is
 * asked for where smaller ones are, split to each smaller size, removed in part and made again.
 * Each access takes two faults at most, and what stands where follows from the sizes alone.
 */
#include "huge.h"

/* A page that may not be huge (its writes are tracked) while its neighbour is mapped. */
static void plant_small(struct test_vm *vm, tdp_gpa_t gpa)
{
	struct tdp_range one = {gpa, TEST_PAGE};

	assert_int_equal(tdp_write_track(vm->mm, 0, one, true), TDP_OK);
	assert_true(touch_linear(vm, 0, gpa, TDP_R) <= 2);
	assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
	assert_int_equal(tdp_write_track(vm->mm, 0, one, false), TDP_OK);
}

/* The largest leaf for gpa that does not hold `small` as well. */
static uint32_t expected_lg2(const struct test_vm *vm, unsigned level, tdp_gpa_t gpa,
			     tdp_gpa_t small)
{
	for (; level > 0; level--) {
		uint64_t mask = ~(leaf_size(vm, level) - 1);

		if (vm->info.leaf_levels >> level & 1 && (gpa & mask) != (small & mask))
			break;
	}
	return test_vm_lg2(vm, level);
}

static void beside_small(struct test_vm *vm, unsigned level)
{
	uint64_t size = leaf_size(vm, level);
	tdp_gpa_t small = GPA + size / 2 + 3 * TEST_PAGE;
	tdp_gpa_t at[] = {small + TEST_PAGE, GPA + 0x123, GPA + size - 1, small ^ size / 4};
	unsigned i;

	plant_small(vm, small);
	for (i = 0; i < ARRAY_LEN(at); i++) {
		assert_true(touch_linear(vm, 0, at[i], TDP_W) <= 2);
		assert_int_equal(lg2_at(vm, 0, at[i]), expected_lg2(vm, level, at[i], small));
	}
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, size), 0), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
}

/* Down to each smaller size, all of it at that size where the range was and nowhere else. */
static void take_apart(struct test_vm *vm, unsigned level, unsigned to)
{
	uint64_t size = leaf_size(vm, level), part = leaf_size(vm, to);
	struct tdp_range all = {GPA, size}, hole = {GPA + 3 * part, part};

	assert_true(touch_linear(vm, 0, GPA + size / 2, TDP_W) <= 2);
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
	assert_int_equal(tdp_split(vm->mm, 0, hole, test_vm_lg2(vm, to)), TDP_OK);
	assert_cover(vm, all, hole, TDP_RWX, TDP_RWX);
	assert_int_equal(lg2_at(vm, 0, hole.start), test_vm_lg2(vm, to));
	assert_int_equal(tdp_zap(vm->mm, 0, hole, 0), TDP_OK);
	assert_cover(vm, all, hole, 0, TDP_RWX);
	assert_true(touch_linear(vm, 0, hole.start + 5, TDP_W) <= 2);
	assert_int_equal(lg2_at(vm, 0, hole.start), test_vm_lg2(vm, to));
	assert_cover(vm, all, hole, TDP_RWX, TDP_RWX);
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
	assert_int_equal(lg2_at(vm, 0, GPA), 0);
	assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
	assert_true(touch_linear(vm, 0, GPA + 7, TDP_R) <= 2);
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
}

static void each_size_over_each(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i, to;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++) {
		vm = open_vm(state, NULL);
		vm->max_steps = 4;
		assert_int_equal(test_vm_slot(vm, 0, GPA, leaf_size(vm, h.level[i]), PA, 0, NULL),
				 TDP_OK);
		beside_small(vm, h.level[i]);
		for (to = 0; to < h.level[i]; to++)
			if (vm->info.leaf_levels >> to & 1)
				take_apart(vm, h.level[i], to);
		close_vm(vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(each_size_over_each)};

	return test_run("museum/H06", cases, ARRAY_LEN(cases));
}

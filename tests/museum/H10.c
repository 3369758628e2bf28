/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H10, Xen on x86 and Arm, 2017: the size of a mapping was taken from the alignment of frame
 * number and output frame together. Removal passes an invalid output frame, all ones, so each
 * removal of a superpage was taken for one of small pages: empty tables stayed, and no
 * superpage fitted any more.
 *
 * Here huge leaves are removed exactly, with every allocation failing: it needs none, leaves no
 * table behind that was not there before, splits nothing, and the next access makes a huge leaf
 * again.
 */
#include "huge.h"

static void run_level(void **state, unsigned level)
{
	static const uint32_t flags[] = {0, TDP_ZAP_LAZY, TDP_ZAP_STRICT, TDP_ZAP_KEEP_YOUNG};
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm *vm = open_vm(state, &opts);
	uint64_t size = leaf_size(vm, level), tables;
	struct tdp_range leaf = {GPA + size, size};
	struct tdp_stats before, after;
	unsigned i;

	assert_int_equal(test_vm_slot(vm, 0, GPA, 2 * size, PA, 0, NULL), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	for (i = 0; i < ARRAY_LEN(flags); i++) {
		touch_linear(vm, 0, leaf.start + 5 * TEST_PAGE, TDP_W);
		assert_int_equal(lg2_at(vm, 0, leaf.start), test_vm_lg2(vm, level));
		before = stats_of(vm);
		tables = tables_of(vm);
		test_env_fail(&vm->env, 1);
		assert_int_equal(tdp_zap(vm->mm, 0, leaf, flags[i]), TDP_OK);
		assert_int_equal(atomic_load(&vm->env.failed), 0);
		test_env_fail(&vm->env, 0);
		after = stats_of(vm);
		assert_int_equal(lg2_at(vm, 0, leaf.start), 0);
		assert_int_equal(path_at(vm, 0, leaf.start).last_level, level);
		assert_int_equal(after.splits, before.splits);
		assert_int_equal(after.leaves[level], before.leaves[level] - 1);
		assert_memory_equal(after.tables, before.tables, sizeof(after.tables));
		assert_int_equal(tables_of(vm), tables);
		/* The neighbour is as it was, and a huge page fits again. */
		assert_int_equal(touch_linear(vm, 0, GPA + size - 1, TDP_W), 0);
		touch_linear(vm, 0, leaf.start + size - 1, TDP_R);
		assert_int_equal(lg2_at(vm, 0, leaf.start), test_vm_lg2(vm, level));
	}
	/* Both at once, and by the slot's own removal of everything. */
	tables = tables_of(vm);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, 2 * size), 0), TDP_OK);
	assert_int_equal(stats_of(vm).splits, 0);
	touch_linear(vm, 0, GPA, TDP_W);
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
	assert_true(tables_of(vm) <= tables);
	close_vm(vm);
}

static void exact_removal_shatters_nothing(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		run_level(state, h.level[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(exact_removal_shatters_nothing)};

	return test_run("museum/H10", cases, ARRAY_LEN(cases));
}

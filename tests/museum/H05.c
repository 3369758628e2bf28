/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H05, KVM on arm64, 2019: dirty logging had split a block into a table of pages. After logging
 * was cancelled the next fault there wanted a block again and wrote it over the live table: the
 * table was leaked, and translations of two sizes for one address were in TLBs.
 *
 * Here logging goes on, pages are written, logging goes off, and holes in the split block
 * fault. The table stays, the fault gets its page in it, no other leaf changes, and every table
 * is accounted for.
 */
#include "huge.h"

static void log_mode(struct test_vm *vm, uint32_t slot, uint32_t mode)
{
	assert_int_equal(tdp_dirty_log(vm->mm, slot, mode), TDP_OK);
}

/* The fault in the hole made a small page beside the others; nothing else is new. */
static void fault_in_hole(struct test_vm *vm, tdp_gpa_t gpa, uint32_t access)
{
	struct tdp_path before = path_at(vm, 0, gpa), after;
	struct tdp_stats then = stats_of(vm), now;

	assert_int_equal(before.last_level, 0);
	assert_int_equal(before.kind[0], TDP_ENTRY_EMPTY);
	assert_true(touch_linear(vm, 0, gpa, access) <= 2);
	after = path_at(vm, 0, gpa);
	now = stats_of(vm);
	assert_int_equal(after.last_level, 0);
	assert_int_equal(after.kind[0], TDP_ENTRY_LEAF);
	assert_int_equal(after.entry[1], before.entry[1]);
	assert_int_equal(now.leaves[0], then.leaves[0] + 1);
	assert_memory_equal(now.tables, then.tables, sizeof(now.tables));
	assert_int_equal(test_vm_check(vm), 0);
}

/* A huge page that logging splits; then a tree that logging began with small pages. */
static void run(void **state, unsigned level, uint32_t mode, bool huge_first)
{
	struct test_vm_options opts = {.cpus = 2, .emu_flags = TDP_EMU_CHECK_TWINS};
	struct tdp_range leaf;
	struct test_vm *vm;
	uint32_t slot;
	tdp_gpa_t gpa;

	vm = open_vm(state, &opts);
	leaf = range_of(GPA, leaf_size(vm, level));
	gpa = GPA + leaf.size / 2 + TEST_PAGE;
	assert_int_equal(test_vm_slot(vm, 0, GPA, leaf.size, PA, 0, &slot), TDP_OK);
	if (huge_first) {
		touch_linear(vm, 0, gpa, TDP_W);
		assert_int_equal(lg2_at(vm, 0, gpa), test_vm_lg2(vm, level));
	}
	log_mode(vm, slot, mode);
	touch_linear(vm, 0, gpa, TDP_W);
	touch_linear(vm, 1, gpa + TEST_PAGE, TDP_W);
	assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
	log_mode(vm, slot, TDP_LOG_OFF);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa + 2 * TEST_PAGE, 2 * TEST_PAGE), 0),
			 TDP_OK);
	fault_in_hole(vm, gpa + 2 * TEST_PAGE, TDP_R);
	fault_in_hole(vm, gpa + 3 * TEST_PAGE, TDP_W);
	/* What was there before is still there, for both vCPUs, under one size. */
	touch_linear(vm, 1, gpa, TDP_W);
	touch_linear(vm, 0, gpa + TEST_PAGE, TDP_W);
	assert_int_equal(touch(vm, 1, gpa + 2 * TEST_PAGE, TDP_R).lg2, TDP_PAGE_LG2);
	if (huge_first)
		assert_cover(vm, range_of(GPA, leaf.size / 2), range_of(GPA, leaf.size / 2),
			     mapping_at(vm, 0, GPA).prot & TDP_RWX, 0);
	assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
	assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
	/* Only now a huge one. */
	touch_linear(vm, 0, gpa, TDP_W);
	assert_int_equal(lg2_at(vm, 0, gpa), test_vm_lg2(vm, level));
	close_vm(vm);
}

static void no_block_over_a_table(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	bool by_d = vm->info.ad & 2;
	unsigned i, first;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		for (first = 0; first < 2; first++) {
			run(state, h.level[i], TDP_LOG_WRPROT, first);
			if (by_d)
				run(state, h.level[i], TDP_LOG_DBIT, first);
		}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(no_block_over_a_table)};

	return test_run("museum/H05", cases, ARRAY_LEN(cases));
}

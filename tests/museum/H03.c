/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H03, Jailhouse, 2018: mapping a huge page first unmapped what was there in small pages, and
 * that clean-up also freed the parents it had emptied: among them the table about to receive
 * the huge leaf.
 *
 * Here a huge page is mapped into an empty tree, over what was zapped, over a tree that was
 * compacted around it, and made out of small ones in both ways of collapse. Each time the leaf
 * is found by a walk from the root, the tables above it are alive, and no freed page is walked
 * through.
 */
#include "huge.h"

/* The whole chain from the root to the leaf is there, by the library and by the walker alone. */
static void assert_huge(struct test_vm *vm, unsigned level, tdp_gpa_t gpa)
{
	struct tdp_path path = path_at(vm, 0, gpa);
	struct tdp_emu_exit exit;
	unsigned l;

	assert_int_equal(path.last_level, level);
	assert_int_equal(path.kind[level], TDP_ENTRY_LEAF);
	for (l = level + 1; l < vm->info.levels; l++)
		assert_int_equal(path.kind[l], TDP_ENTRY_TABLE);
	assert_int_equal(bare_walk(vm, 0, gpa, TDP_R, &exit), TDP_EMU_OK);
	assert_int_equal(exit.pa, PA + (gpa - GPA));
	assert_int_equal(exit.lg2, test_vm_lg2(vm, level));
	touch_linear(vm, 0, gpa, TDP_R);
	assert_int_equal(test_vm_check(vm), 0);
}

static void run_level(void **state, unsigned level)
{
	struct tdp_range leaf;
	struct test_vm *vm;
	uint64_t made;
	uint32_t how;
	tdp_gpa_t gpa;

	vm = open_vm(state, NULL);
	leaf = range_of(GPA, leaf_size(vm, level));
	gpa = GPA + leaf.size / 2;
	assert_int_equal(test_vm_slot(vm, 0, GPA, leaf.size, PA, 0, NULL), TDP_OK);

	/* Into a tree that has nothing but its root. */
	touch_linear(vm, 0, gpa, TDP_W);
	assert_huge(vm, level, gpa);
	assert_int_equal(tdp_compact(vm->mm, 0, leaf), 0);
	assert_huge(vm, level, gpa);

	/*
	 * Over one small page that is zapped first; the tables that stay behind go only if
	 * empty.
	 */
	assert_int_equal(tdp_split(vm->mm, 0, leaf, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, gpa - GPA), 0), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa, leaf.size / 2), 0), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) > 0);
	assert_int_equal(lg2_at(vm, 0, gpa), 0);
	touch_linear(vm, 0, gpa, TDP_W);
	assert_huge(vm, level, gpa);

	/* Out of small pages, in place and by way of a fault; then again compacted around it. */
	for (how = 0; how <= TDP_COLLAPSE_ZAP; how++) {
		/* A huge page of huge pages that has no level between grows only by a fault. */
		if (vm->info.leaf_levels >> (level - 1) & 1) {
			assert_int_equal(tdp_split(vm->mm, 0, leaf, test_vm_lg2(vm, level - 1)),
					 TDP_OK);
			assert_int_equal(tdp_collapse(vm->mm, 0, leaf, how, &made), TDP_OK);
			assert_int_equal(made, 1);
		}
		touch_linear(vm, 0, gpa, TDP_W);
		assert_int_equal(lg2_at(vm, 0, gpa), test_vm_lg2(vm, level));
		assert_int_equal(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))), 0);
		assert_huge(vm, level, gpa);
	}
	close_vm(vm);
}

static void parents_of_a_huge_leaf_stay(void **state)
{
	struct huge_levels h;
	struct test_vm *vm;
	unsigned i;

	vm = open_vm(state, NULL);
	h = huge_levels(vm);
	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		run_level(state, h.level[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(parents_of_a_huge_leaf_stay)};

	return test_run("museum/H03", cases, ARRAY_LEN(cases));
}

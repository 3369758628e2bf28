/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H17, KVM on x86, 2020 and 2021: the words met on a walk were put into an array by level, of
 * which the reader did not know which part was filled: with four-level tables on five-level
 * hardware, or when the walk stopped early, it judged what happened to be on the stack.
 *
 * Here the array is full of garbage that looks like entries before each walk. Whatever the
 * number of levels and wherever the walk ends, first and last level say what was read, what was
 * read is what the walker reads in memory, and all the rest is zero.
 */
#include "huge.h"

/* The word at one level, by the test's own walk over the tables in memory. */
static uint64_t word_at(struct test_vm *vm, const struct tdp_root_view *view, tdp_gpa_t gpa,
			const struct tdp_path *path, unsigned level)
{
	unsigned shift = TDP_PAGE_LG2 + vm->info.index_lg2 * level;
	uint64_t index = (gpa >> shift) & (((uint64_t)1 << vm->info.index_lg2) - 1), *table;
	struct tdp_visit v = {0};
	struct test_dump dump;
	tdp_pa_t pa = 0;
	size_t i;

	if (level + 1 == vm->info.levels) {
		pa = view->pa + (gpa >> (shift + vm->info.index_lg2)) * TEST_PAGE;
	} else {
		dump = dump_of(vm, 0);
		for (i = 0; i < dump.count; i++) {
			v = dump.visits[i];
			if (v.kind == TDP_ENTRY_TABLE && v.level == level + 1 &&
			    v.entry == path->entry[level + 1] && gpa >> v.lg2 == v.gpa >> v.lg2)
				pa = v.pa;
		}
		test_dump_free(&dump);
	}
	assert_true(pa != 0);
	table = test_env_mem(&vm->env, pa);
	return table[index];
}

static void check_path(struct test_vm *vm, tdp_gpa_t gpa, unsigned last)
{
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_path path;
	struct tdp_root *root;
	unsigned level;

	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	memset(&path, 0x37, sizeof(path)); /* R, W, X, a memory type … in more than one format */
	path.size = (uint32_t)sizeof(path);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_OK);
	assert_int_equal(path.first_level, vm->info.levels - 1);
	assert_int_equal(path.last_level, last);
	assert_int_equal(path.reserved[0] | path.reserved[1], 0);
	assert_int_equal(path.reserved2[0] | path.reserved2[1], 0);
	for (level = TDP_LEVELS_MAX; level-- > 0;) {
		if (level > path.first_level || level < last) {
			assert_int_equal(path.entry[level], 0);
			assert_int_equal(path.kind[level], 0);
			continue;
		}
		assert_int_equal(path.entry[level], word_at(vm, &view, gpa, &path, level));
		assert_int_equal(path.kind[level] == TDP_ENTRY_TABLE, level > last);
	}
}

static void every_end_of_a_walk(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_path path;
	struct huge_levels h = huge_levels(vm);
	tdp_gpa_t gpa = GPA;
	unsigned i;

	/* No root, no answer, and nothing is written. */
	memset(&path, 0x37, sizeof(path));
	path.size = (uint32_t)sizeof(path);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, GPA, &path), TDP_ENOENT);
	assert_int_equal(path.first_level, 0x37);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, test_vm_size(vm), &path), TDP_ERANGE);

	/* An empty root: the walk ends in its first word. */
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	check_path(vm, 0, vm->info.levels - 1);
	check_path(vm, test_vm_size(vm) - 1, vm->info.levels - 1);

	/* Leaves of each size, largest first, so that what is behind stays aligned; then MMIO. */
	for (i = h.count; i-- > 0;) {
		uint64_t size = leaf_size(vm, h.level[i]);

		assert_int_equal(test_vm_slot(vm, 0, gpa, size, PA + (gpa - GPA), 0, NULL), TDP_OK);
		touch_linear(vm, 0, gpa + size - 1, TDP_R);
		check_path(vm, gpa, h.level[i]);
		check_path(vm, gpa + size - 1, h.level[i]);
		gpa += size;
	}
	assert_int_equal(test_vm_slot(vm, 0, gpa, TEST_PAGE, PA + (gpa - GPA), 0, NULL), TDP_OK);
	touch_linear(vm, 0, gpa, TDP_W);
	check_path(vm, gpa + 0xfff, 0);
	check_path(vm, gpa + TEST_PAGE, 0);
	assert_int_equal(test_vm_access(vm, 0, gpa + TEST_PAGE, TDP_R, NULL), TEST_OUTCOME);
	check_path(vm, gpa + TEST_PAGE, 0);

	/* Back up: holes at each level, as tables go. */
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa, leaf_size(vm, 1)), 0), TDP_OK);
	check_path(vm, gpa, 1);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(0, test_vm_size(vm)), 0), TDP_OK);
	tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm)));
	check_path(vm, gpa, vm->info.levels - 1);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_end_of_a_walk)};

	return test_run("museum/H17", cases, ARRAY_LEN(cases));
}

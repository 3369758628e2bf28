/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F05, KVM x86 2021: a range flush for a removed table began at the frame of its last child, where the
 * loop that looked at the children had left its variable, and missed nearly all of the table.
 *
 * Here a table of every level that can have tables or small pages below it is removed while two vCPUs hold
 * all of its children, with holes at both ends, on a walker that flushes ranges and nothing else: no child
 * may be left in a TLB.
 */
#include "flush.h"

#define HOLE 3u

static void removed_with_all_children(void **state, unsigned level, bool by_address)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t step = leaf_size(vm, level), span = table_span(vm, level);
	tdp_gpa_t base = GPA > span ? GPA : span;
	struct tdp_range children;

	if (level + 1 >= vm->info.levels || base + 2 * span > test_vm_size(vm) ||
	    span >> 40) { /* more than the output addresses of this test */
		close_vm(vm);
		return;
	}
	assert_int_equal(
		test_vm_slot(vm, 0, base, span, PA + (base - GPA), TDP_SLOT_FORCE_4K, NULL),
		TDP_OK);
	children = range_of(base + HOLE * step, span - 2 * HOLE * step);
	cache_all(vm, children, step);
	spy_forget();
	if (by_address)
		assert_int_equal(tdp_zap_table(vm->mm, table_at(vm, base, level)), TDP_OK);
	else
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(base, span), 0), TDP_OK);
	assert_int_equal(spy.alls, 0);
	assert_true(spy.ranges > 0);
	assert_gone(vm, range_of(base, span), step);
	close_vm(vm);
}

static void no_child_is_left(void **state)
{
	for (unsigned level = 0; level < 3; level++) {
		removed_with_all_children(state, level, false);
		removed_with_all_children(state, level, true);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(no_child_is_left)};

	return test_run("museum/F05", cases, ARRAY_LEN(cases));
}

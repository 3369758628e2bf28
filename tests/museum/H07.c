/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H07, KVM on arm64, 2020: logging had split a block and was switched off. A write fault on one
 * of the pages then wanted a block again, but as it was a permission fault, only permissions of
 * what was there got relaxed, for a size that was not there: the guest faulted for ever.
 *
 * Here write faults meet leaves that are smaller and leaves that are larger than what would be
 * mapped today. Each must be over after two faults at most, and W must really have been given.
 */
#include "huge.h"

static void writes_converge(struct test_vm *vm, tdp_gpa_t gpa)
{
	struct tdp_emu_exit exit;

	assert_true(bare_walk(vm, 0, gpa, TDP_W, &exit) != TDP_EMU_OK);
	assert_in_range(touch_linear(vm, 0, gpa, TDP_W), 1, 2);
	assert_int_equal(bare_walk(vm, 0, gpa, TDP_W, &exit), TDP_EMU_OK);
	assert_int_equal(touch_linear(vm, 0, gpa, TDP_W), 0);
}

/* Pages of a split block, no longer logged: larger ones are wanted. */
static void smaller_than_wanted(struct test_vm *vm, uint32_t slot, struct tdp_range leaf)
{
	tdp_gpa_t gpa = GPA + leaf.size / 2 + 5 * TEST_PAGE;
	uint32_t lg2;

	touch_linear(vm, 0, gpa, TDP_W);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
	touch_linear(vm, 0, gpa, TDP_W);
	assert_int_equal(tdp_dirty_clear(vm->mm, slot, 0, leaf.size >> TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
	assert_int_equal(tdp_max_lg2(vm->mm, 0, gpa, &lg2), TDP_OK);
	assert_true(lg2 > TDP_PAGE_LG2);
	writes_converge(vm, gpa);
	writes_converge(vm, gpa + TEST_PAGE);
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
}

/* A huge leaf, write-protected, where logging wants small ones. */
static void larger_than_wanted(struct test_vm *vm, uint32_t slot, struct tdp_range leaf)
{
	tdp_gpa_t gpa = GPA + leaf.size / 2 + 5 * TEST_PAGE;

	touch_linear(vm, 0, gpa, TDP_W);
	assert_int_equal(lg2_at(vm, 0, gpa) > TDP_PAGE_LG2, 1);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
	writes_converge(vm, gpa);
	assert_int_equal(lg2_at(vm, 0, gpa), TDP_PAGE_LG2);
	writes_converge(vm, gpa - TEST_PAGE);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
}

/* Write-protected without logging, at its right size. */
static void just_as_wanted(struct test_vm *vm, struct tdp_range leaf)
{
	tdp_gpa_t gpa = GPA + leaf.size / 2 + 5 * TEST_PAGE;
	uint32_t lg2;

	touch_linear(vm, 0, gpa, TDP_W);
	lg2 = lg2_at(vm, 0, gpa);
	assert_int_equal(tdp_write_protect(vm->mm, 0, leaf), TDP_OK);
	writes_converge(vm, gpa);
	assert_int_equal(lg2_at(vm, 0, gpa), lg2);
}

static void permission_faults_end(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i;

	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++) {
		struct tdp_range leaf;
		uint32_t slot;

		vm = open_vm(state, NULL);
		leaf = range_of(GPA, leaf_size(vm, h.level[i]));
		assert_int_equal(test_vm_slot(vm, 0, GPA, leaf.size, PA, 0, &slot), TDP_OK);
		smaller_than_wanted(vm, slot, leaf);
		assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
		larger_than_wanted(vm, slot, leaf);
		assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0);
		just_as_wanted(vm, leaf);
		close_vm(vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(permission_faults_end)};

	return test_run("museum/H07", cases, ARRAY_LEN(cases));
}

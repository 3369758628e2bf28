/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F25, Bao on RISC-V 2026: there a core may cache that nothing is mapped, or that an access is denied, so making
 * a mapping takes a fence too; without it the first use of a fresh mapping faults, and may do so for ever.
 *
 * No walker here caches what is not mapped, but all may cache what is denied, and here none drops that by
 * itself when it faults. Wherever a right is given, also by another vCPU, one fault must be the last.
 */
#include "flush.h"

#define CPUS 3u

static struct test_vm *stubborn(void **state, uint32_t flags, uint32_t *slot)
{
	struct test_vm_options opts = {.cpus = CPUS, .without_caps = TDP_CAP_FAULT_INVALIDATES};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	assert_int_equal(test_vm_slot(vm, 0, GPA, table_span(vm, 0), PA, flags, slot), TDP_OK);
	return vm;
}

static void one_fault_each(struct test_vm *vm, tdp_gpa_t gpa, uint32_t access)
{
	for (unsigned cpu = 0; cpu < CPUS; cpu++) {
		struct test_access a;

		assert_int_equal(test_vm_access(vm, cpu, gpa, access, &a), TEST_OK);
		assert_int_equal(a.pa, PA + (gpa - GPA));
		assert_true(a.faults <= 1);
	}
}

/* Every vCPU holds that page as it is now. */
static void all_read(struct test_vm *vm, tdp_gpa_t gpa)
{
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		touch_linear(vm, cpu, gpa, TDP_R);
}

static void write_protected(void **state)
{
	for (unsigned flags = 0; flags <= TDP_SLOT_FORCE_4K; flags += TDP_SLOT_FORCE_4K) {
		uint32_t slot;
		struct test_vm *vm = stubborn(state, flags, &slot);

		for (unsigned page = 0; page < 4; page++) {
			tdp_gpa_t gpa = GPA + page * TEST_PAGE;

			one_fault_each(vm, gpa, TDP_W);
			assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(gpa, TEST_PAGE)),
					 TDP_OK);
			all_read(vm, gpa);
			one_fault_each(vm, gpa, TDP_W);
		}
		close_vm(vm);
	}
}

static void logged(void **state)
{
	uint32_t slot;
	struct test_vm *vm = stubborn(state, 0, &slot);

	one_fault_each(vm, GPA, TDP_W);
	assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
	for (unsigned page = 0; page < 4; page++) {
		all_read(vm, GPA + page * TEST_PAGE);
		one_fault_each(vm, GPA + page * TEST_PAGE, TDP_W);
	}
	assert_int_equal(tdp_dirty_clear(vm->mm, slot, 0, 4), TDP_OK);
	for (unsigned page = 0; page < 4; page++) {
		all_read(vm, GPA + page * TEST_PAGE);
		one_fault_each(vm, GPA + page * TEST_PAGE, TDP_W);
	}
	close_vm(vm);
}

/* Fresh, and after something was there before. */
static void fresh(void **state)
{
	uint32_t slot;
	struct test_vm *vm = stubborn(state, TDP_SLOT_FORCE_4K, &slot);

	for (unsigned round = 0; round < 2; round++) {
		for (unsigned page = 0; page < 4; page++) {
			for (unsigned cpu = 0; cpu < CPUS; cpu++)
				raw(vm, cpu, GPA + page * TEST_PAGE, TDP_W, NULL);
			one_fault_each(vm, GPA + page * TEST_PAGE, TDP_W);
		}
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, 4 * TEST_PAGE), 0), TDP_OK);
	}
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(write_protected), TEST_CASE(logged),
						 TEST_CASE(fresh)};

	return test_run("museum/F25", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F23, Genode on base-hw 2020 and 2022: memory that was detached from a guest stayed accessible, and so did all
 * of it after the VM had been destroyed: neither flushed.
 *
 * Here a slot is removed (also by the way that throws out all roots), and a VM is destroyed, while the TLBs
 * keep what they are not told to drop. Not one access may go through afterwards.
 */
#include "flush.h"

#define PAGES 8u

static struct test_vm *running(void **state, uint32_t flags, uint32_t *slot)
{
	struct test_vm_options opts = {.cpus = 2, .mm_flags = flags};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	assert_int_equal(test_vm_slot(vm, 0, GPA, table_span(vm, 0), PA, 0, slot), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, GPA + table_span(vm, 0), PAGES * TEST_PAGE,
				      PA + table_span(vm, 0), 0, NULL),
			 TDP_OK);
	cache_all(vm, range_of(GPA, PAGES * TEST_PAGE), TEST_PAGE);
	cache_all(vm, range_of(GPA + table_span(vm, 0), PAGES * TEST_PAGE), TEST_PAGE);
	return vm;
}

static void detached(void **state, uint32_t flags)
{
	uint32_t slot;
	struct test_vm *vm = running(state, flags, &slot);

	assert_int_equal(tdp_slot_remove(vm->mm, slot), TDP_OK);
	assert_int_equal(tdp_emu_forbid(vm->emu, PA, PAGES * TEST_PAGE), TDP_OK);
	assert_gone(vm, range_of(GPA, PAGES * TEST_PAGE), TEST_PAGE);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < PAGES; page++) {
			museum_answer(vm, GPA + page * TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
			touch_linear(vm, cpu, GPA + table_span(vm, 0) + page * TEST_PAGE, TDP_W);
		}
	close_vm(vm);
}

static void slot_is_removed(void **state)
{
	detached(state, 0);
	detached(state, TDP_MM_SLOT_ZAP_ALL);
}

static void vm_is_destroyed(void **state)
{
	uint32_t slot;
	struct test_vm *vm = running(state, 0, &slot);
	struct tdp_emu_exit exit;

	mm_down(vm);
	assert_int_equal(tdp_emu_forbid(vm->emu, PA, 2 * table_span(vm, 0)), TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < PAGES; page++)
			assert_int_equal(raw(vm, cpu, GPA + page * TEST_PAGE, TDP_R, &exit),
					 TDP_EMU_RELOAD);
	/* Nor does the next VM there come upon any of it. */
	mm_up(vm);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < PAGES; page++)
			assert_int_not_equal(raw(vm, cpu, GPA + page * TEST_PAGE, TDP_R, &exit),
					     TDP_EMU_OK);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(slot_is_removed),
						 TEST_CASE(vm_is_destroyed)};

	return test_run("museum/F23", cases, ARRAY_LEN(cases));
}

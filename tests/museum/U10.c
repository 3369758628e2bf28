/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U10, pKVM on Intel 2026: when the address space behind a guest went away its second-stage tables were left
 * alone, since destroying the VM would remove them; but the pages were given out again before that. Here all
 * memory is taken back in each way there is (roots invalidated, everything zapped, slots removed), its pages
 * are forbidden as soon as that call returns, and no vCPU reaches any of them, long before the destruction.
 */
#include "museum.h"

#define PAGES 16u
#define CPUS 3u

static int by_roots(struct test_vm *vm, uint32_t slot)
{
	(void)slot;
	return tdp_roots_invalidate(vm->mm);
}

static int by_zap(struct test_vm *vm, uint32_t slot)
{
	(void)slot;
	return tdp_zap(vm->mm, TDP_AS_ALL, museum_range(0, test_vm_size(vm)), 0);
}

static int by_slot(struct test_vm *vm, uint32_t slot)
{
	return tdp_slot_remove(vm->mm, slot);
}

static void taken_back(void **state, int (*release)(struct test_vm *vm, uint32_t slot),
		       uint32_t mm_flags)
{
	struct test_vm vm;
	struct tdp_emu_exit exit;
	uint32_t slot;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = CPUS, .mm_flags = mm_flags});
	slot = museum_slot(&vm, 0, PAGES * TEST_PAGE, MUSEUM_PA);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		for (unsigned n = 0; n < PAGES; n++)
			assert_int_equal(test_vm_access(&vm, cpu, n * TEST_PAGE, TDP_W, NULL),
					 TEST_OK);
	assert_int_equal(release(&vm, slot), TDP_OK);
	tdp_emu_forbid(vm.emu, MUSEUM_PA, PAGES * TEST_PAGE);
	assert_int_equal(tdp_emu_cached(vm.emu, 0, PAGES * TEST_PAGE), 0);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		for (unsigned n = 0; n < PAGES; n++)
			assert_int_not_equal(
				tdp_emu_access(vm.cpu[cpu].emu, n * TEST_PAGE, TDP_W, &exit),
				TDP_EMU_OK);
	museum_end(&vm);
}

static void every_way(void **state)
{
	taken_back(state, by_roots, 0);
	taken_back(state, by_zap, 0);
	taken_back(state, by_slot, 0);
	taken_back(state, by_slot, TDP_MM_SLOT_ZAP_ALL);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_way)};

	return test_run("museum/U10", cases, ARRAY_LEN(cases));
}

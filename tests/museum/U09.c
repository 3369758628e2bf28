/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U09, Xen 2019: a page's address was put into the virtual CPU's control structure, the guest gave the page
 * back, and the processor went on writing to it. The page that hardware keeps a pointer to here is the root.
 * Whenever the library lets a root go for a vCPU (destroyed, no new root to be had), that vCPU's walker has
 * been told before: it asks for a load, before and after the root's page is used for something else.
 */
#include "museum.h"

static int reason(struct test_vm *vm, unsigned cpu)
{
	struct tdp_emu_exit exit;

	return tdp_emu_access(vm->cpu[cpu].emu, 0, TDP_R, &exit);
}

static void reuse_roots(struct test_vm *vm)
{
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	test_rcu_run();
}

static void vcpu_goes(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = 2});
	museum_slot(&vm, 0, museum_huge(&vm), MUSEUM_PA);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		assert_int_equal(test_vm_access(&vm, cpu, 0, TDP_W, NULL), TEST_OK);
	tdp_vcpu_destroy(vm.cpu[1].vcpu);
	vm.cpu[1].vcpu = NULL;
	assert_int_equal(reason(&vm, 1), TDP_EMU_RELOAD);
	assert_int_equal(reason(&vm, 0), TDP_EMU_OK);
	reuse_roots(&vm);
	assert_int_equal(reason(&vm, 1), TDP_EMU_RELOAD);
	museum_reaches(&vm, 0, TDP_W, MUSEUM_PA);
	museum_end(&vm);
}

static void no_root_to_be_had(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = 2, .max_roots = 1});
	museum_slot(&vm, 0, museum_huge(&vm), MUSEUM_PA);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		assert_int_equal(test_vm_access(&vm, cpu, 0, TDP_W, NULL), TEST_OK);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[1].vcpu, 1), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm.cpu[1].vcpu), TDP_ENOSPC);
	assert_int_equal(reason(&vm, 1), TDP_EMU_RELOAD);
	assert_int_equal(reason(&vm, 0), TDP_EMU_OK);
	reuse_roots(&vm);
	assert_int_equal(reason(&vm, 1), TDP_EMU_RELOAD);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(vcpu_goes),
						 TEST_CASE(no_root_to_be_had)};

	return test_run("museum/U09", cases, ARRAY_LEN(cases));
}

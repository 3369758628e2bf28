/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F11, Xen on Arm 2014, seL4 and Hafnium 2019: a VM ran on several CPUs, and unmapping flushed the caller's
 * only.
 *
 * Here five vCPUs hold pages, one of which ran once and has not been entered since. A thread that has no
 * vCPU at all takes the pages away: by page, by table, by slot, and W alone. All of them must miss.
 */
#include "flush.h"

#define CPUS 5u
#define HELD 8u

static int status;
static uint32_t slot;

static void zaps_pages(void *arg)
{
	struct test_vm *vm = arg;

	status = tdp_zap(vm->mm, 0, range_of(GPA, HELD * TEST_PAGE), 0);
}

static void zaps_tables(void *arg)
{
	struct test_vm *vm = arg;

	status = tdp_zap(vm->mm, 0, range_of(GPA, table_span(vm, 0)), 0);
}

static void removes_slot(void *arg)
{
	struct test_vm *vm = arg;

	status = tdp_slot_remove(vm->mm, slot);
}

static void write_protects(void *arg)
{
	struct test_vm *vm = arg;

	status = tdp_write_protect(vm->mm, 0, range_of(GPA, HELD * TEST_PAGE));
}

static void takes_away(void **state, void (*how)(void *arg), uint32_t access)
{
	struct test_vm_options opts = {.cpus = CPUS};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	assert_int_equal(test_vm_slot(vm, 0, GPA, table_span(vm, 0), PA, TDP_SLOT_FORCE_4K, &slot),
			 TDP_OK);
	cache_all(vm, range_of(GPA, HELD * TEST_PAGE), TEST_PAGE);
	tdp_vcpu_guest_exit(vm->cpu[2].vcpu);
	status = -1;
	museum_meanwhile(vm, how, vm);
	assert_int_equal(status, TDP_OK);
	for (unsigned cpu = 0; cpu < CPUS; cpu++)
		for (unsigned page = 0; page < HELD; page++)
			assert_int_not_equal(raw(vm, cpu, GPA + page * TEST_PAGE, access, NULL),
					     TDP_EMU_OK);
	close_vm(vm);
}

static void every_cpu_misses(void **state)
{
	takes_away(state, zaps_pages, TDP_R);
	takes_away(state, zaps_tables, TDP_R);
	takes_away(state, removes_slot, TDP_R);
	takes_away(state, write_protects, TDP_W);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_cpu_misses)};

	return test_run("museum/F11", cases, ARRAY_LEN(cases));
}

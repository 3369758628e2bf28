/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F12, Xen on Arm 2013: a VM was destroyed, its VMID given to the next one, and nobody flushed: what the TLB
 * held of the first VM answered for the second.
 *
 * Here VMs with 2-bit identifiers come and go on the same two CPUs, whose TLBs keep everything until they are
 * told. Each VM must see its own memory from its first access on.
 */
#include "flush.h"

#define PAGES 4u

static tdp_pa_t memory_of(unsigned round)
{
	return PA + ((tdp_pa_t)round << 30);
}

static void identifiers_come_round(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	mm_down(vm);
	for (unsigned round = 0; round < 12; round++) {
		/* The format says whether it has identifiers; the others have one for all. */
		if (vm->fmt->format == TDP_FMT_S2_4K)
			vm->cfg.vmid = round & 3;
		mm_up(vm);
		assert_int_equal(
			test_vm_slot(vm, 0, GPA, PAGES * TEST_PAGE, memory_of(round), 0, NULL),
			TDP_OK);
		/* Not every VM has run on both CPUs. */
		for (unsigned cpu = 0; cpu < (round % 3 ? 2u : 1u); cpu++)
			for (unsigned page = 0; page < PAGES; page++)
				assert_int_equal(touch(vm, cpu, GPA + page * TEST_PAGE, TDP_W).pa,
						 memory_of(round) + page * TEST_PAGE);
		assert_int_equal(test_vm_check(vm), 0);
		mm_down(vm);
		/* Nothing runs there now. */
		assert_int_equal(raw(vm, 0, GPA, TDP_R, NULL), TDP_EMU_RELOAD);
	}
	mm_up(vm);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(identifiers_come_round)};

	return test_run("museum/F12", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F15, Hafnium 2023 (found through OP-TEE): flushes by address on Arm carry a bit that says which of two
 * address spaces is meant; it was never set, so those of the other one stayed.
 *
 * Here address spaces show other memory at the same addresses, each on a vCPU of its own, and one vCPU that
 * is on its way from one to another. A zap in one of them must reach all translations of that one, and
 * take no mapping of the others.
 */
#include "flush.h"

#define SPACES 3u
#define HELD 4u

static tdp_pa_t memory_of(uint32_t as_id)
{
	return PA + ((tdp_pa_t)as_id << 30);
}

/* vCPU n runs in space n, the last one too in the last but one. */
static uint32_t space_of(unsigned cpu)
{
	return cpu < SPACES ? cpu : SPACES - 2;
}

static struct test_vm *spaces(void **state)
{
	struct test_vm_options opts = {.cpus = SPACES + 1};
	struct test_vm *vm = spied_vm(state, &opts, NULL);

	for (uint32_t as_id = 0; as_id < SPACES; as_id++)
		assert_int_equal(test_vm_slot(vm, as_id, GPA, HELD * TEST_PAGE, memory_of(as_id),
					      TDP_SLOT_FORCE_4K, NULL),
				 TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[cpu].vcpu, space_of(cpu)), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[cpu].vcpu), TDP_OK);
		for (unsigned page = 0; page < HELD; page++)
			assert_int_equal(touch(vm, cpu, GPA + page * TEST_PAGE, TDP_W).pa,
					 memory_of(space_of(cpu)) + page * TEST_PAGE);
	}
	return vm;
}

static void only_that_space(void **state, uint32_t as_id)
{
	struct test_vm *vm = spaces(state);

	/* Leaves its space with the next load, which has not come yet. */
	assert_int_equal(tdp_vcpu_set_as(vm->cpu[SPACES].vcpu, 0), TDP_OK);
	assert_int_equal(tdp_zap(vm->mm, as_id, range_of(GPA, HELD * TEST_PAGE), 0), TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (unsigned page = 0; page < HELD; page++) {
			tdp_gpa_t gpa = GPA + page * TEST_PAGE;
			struct tdp_emu_exit exit;
			int answer = raw(vm, cpu, gpa, TDP_W, &exit);

			if (as_id == TDP_AS_ALL || space_of(cpu) == as_id) {
				assert_int_not_equal(answer, TDP_EMU_OK);
				continue;
			}
			assert_int_equal(answer, TDP_EMU_OK);
			assert_int_equal(exit.pa, memory_of(space_of(cpu)) + page * TEST_PAGE);
		}
	close_vm(vm);
}

static void each_space_by_itself(void **state)
{
	for (uint32_t as_id = 0; as_id < SPACES; as_id++)
		only_that_space(state, as_id);
	only_that_space(state, TDP_AS_ALL);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(each_space_by_itself)};

	return test_run("museum/F15", cases, ARRAY_LEN(cases));
}

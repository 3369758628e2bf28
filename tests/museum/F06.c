/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F06, KVM on AMD under Hyper-V 2023: a new root relied on the flush of the address space identifier that
 * came with it; under Hyper-V that flush does not reach translations of nested tables, so the old root's
 * went on.
 *
 * Here a vCPU goes from root to root: to another address space and back, and to a new root on the page of one
 * that was freed. Each time the walker must be told to forget, and the guest must see the memory of the root
 * that it runs on.
 */
#include "flush.h"

static uint64_t generation[TEST_CPUS_MAX];
static unsigned unflushed;

static void loaded(unsigned cpu, const struct tdp_root_view *root)
{
	if (!root)
		return;
	if (root->generation != generation[cpu] && !(root->flags & TDP_ROOT_FLUSH))
		unflushed++;
	generation[cpu] = root->generation;
}

static void runs_in(struct test_vm *vm, uint32_t as_id, tdp_pa_t pa)
{
	for (unsigned page = 0; page < 4; page++) {
		tdp_gpa_t gpa = GPA + page * TEST_PAGE;

		assert_int_equal(tdp_vcpu_set_as(vm->cpu[0].vcpu, as_id), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
		assert_int_equal(touch(vm, 0, gpa, TDP_W).pa, pa + page * TEST_PAGE);
	}
}

static void every_new_root_is_flushed_for(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	tdp_pa_t pa = PA;
	uint32_t slot[2];

	memset(generation, 0, sizeof(generation));
	unflushed = 0;
	mm_down(vm);
	spy.on_load = loaded;
	mm_up(vm);
	for (uint32_t as_id = 0; as_id < 2; as_id++)
		assert_int_equal(test_vm_slot(vm, as_id, GPA, 4 * TEST_PAGE,
					      pa + as_id * 16 * TEST_PAGE, TDP_SLOT_FORCE_4K,
					      &slot[as_id]),
				 TDP_OK);
	for (unsigned round = 0; round < 4; round++) {
		runs_in(vm, 0, pa);
		runs_in(vm, 1, pa + 16 * TEST_PAGE);
		runs_in(vm, 0, pa);
		/* The old roots go, other memory comes, and their pages are used again. */
		assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
		pa += 64 * TEST_PAGE;
		for (uint32_t as_id = 0; as_id < 2; as_id++) {
			assert_int_equal(tdp_slot_remove(vm->mm, slot[as_id]), TDP_OK);
			assert_int_equal(test_vm_slot(vm, as_id, GPA, 4 * TEST_PAGE,
						      pa + as_id * 16 * TEST_PAGE,
						      TDP_SLOT_FORCE_4K, &slot[as_id]),
					 TDP_OK);
		}
		assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
		tables_of(vm);
	}
	runs_in(vm, 0, pa);
	assert_int_equal(unflushed, 0);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_new_root_is_flushed_for)};

	return test_run("museum/F06", cases, ARRAY_LEN(cases));
}

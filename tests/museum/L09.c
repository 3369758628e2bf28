/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L09, Asterinas 2024: a CPU held the lock of its queue of flushes when the interrupt for a flush came in on that
 * very CPU, whose handler takes the same lock. What comes back into this library on the same thread is the RCU's
 * callback: a host may call it from within defer(), when nobody reads. Here it always does, and frees tables
 * then and there: no lock is held that the callback needs.
 */
#include "alone.h"

static void called_back_at_once(void **state)
{
	struct test_vm vm;
	struct tdp_range all;
	uint64_t tables;
	uint32_t slot;

	museum_start(&vm, state,
		     &(struct test_vm_options){.host = alone_host,
					       .rcu = &tdp_rcu_single,
					       .chunk_lg2 = TEST_CHUNK_SMALL});
	slot = museum_slot(&vm, 0, 4 * museum_huge(&vm), MUSEUM_PA);
	all = museum_range(0, 4 * museum_huge(&vm));
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	tables = atomic_load(&vm.env.tables);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(tdp_populate(vm.mm, 0, all, TDP_POPULATE_YOUNG, NULL), TDP_OK);
		assert_int_equal(tdp_split(vm.mm, 0, all, TDP_PAGE_LG2), TDP_OK);
		assert_true(atomic_load(&vm.env.tables) > tables);
		if (i % 2)
			assert_int_equal(tdp_collapse(vm.mm, 0, all, 0, NULL), TDP_OK);
		assert_int_equal(tdp_zap(vm.mm, 0, museum_range(0, test_vm_size(&vm)), 0), TDP_OK);
		/* Freed by the time the zap returned. */
		assert_int_equal(atomic_load(&vm.env.tables), tables);
	}
	alone_probe(&vm, 0, slot);
	assert_int_equal(tdp_slot_remove(vm.mm, slot), TDP_OK);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(called_back_at_once)};

	return test_run("museum/L09", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X08, KVM x86 2021: with others always waiting, each step of a walk gave way before it had done anything, and
 * each time the walk began again at the same place. Here somebody always wants to run: every operation that gives
 * way comes to its end all the same, with no more restarts than there are tables.
 */
#include "bounded.h"

#define TABLES 24u

static void always_somebody(void **state)
{
	struct tdp_range all, part;
	struct test_vm vm;
	uint64_t most, bits;
	uint32_t slot;

	museum_start(&vm, state, &(struct test_vm_options){.host = bounded_host});
	bounded_by(0, 0);
	all = museum_range(0, test_vm_size(&vm));
	part = museum_range(TEST_PAGE, (TABLES - 1) * museum_huge(&vm));
	assert_int_equal(test_vm_slot(&vm, 0, 0, TABLES * museum_huge(&vm), MUSEUM_PA,
				      TDP_SLOT_FORCE_4K, &slot),
			 TDP_OK);
	/* A restart comes down from the root: the levels above are asked about again. */
	most = (TABLES + vm.info.root_pages + 4) * (vm.info.levels + 1) * 4;
	for (unsigned way = 0; way < 3; way++) {
		bounded_by(0, 0);
		for (unsigned i = 0; i < TABLES; i++)
			museum_reaches(&vm, i * museum_huge(&vm), TDP_W,
				       MUSEUM_PA + i * museum_huge(&vm));
		bounded_by(most, 1);
		assert_int_equal(tdp_write_protect(vm.mm, 0, part), TDP_OK);
		bounded_by(most, 1);
		assert_in_range(tdp_age(vm.mm, 0, all, NULL), 0, 1);
		bounded_by(most, 1);
		assert_int_equal(tdp_dirty_log(vm.mm, slot, TDP_LOG_AUTO), TDP_OK);
		bounded_by(most, 1);
		assert_int_equal(tdp_dirty_harvest(vm.mm, slot, 0, &bits, 1), TDP_OK);
		bounded_by(most, 1);
		assert_int_equal(tdp_dirty_log(vm.mm, slot, TDP_LOG_OFF), TDP_OK);
		bounded_by(most, 1);
		if (way == 0)
			assert_int_equal(tdp_zap(vm.mm, 0, part, TDP_ZAP_KEEP_YOUNG), TDP_OK);
		else if (way == 1)
			assert_int_equal(tdp_zap(vm.mm, 0, all, 0), TDP_OK);
		bounded_by(most, 1);
		assert_true(tdp_compact(vm.mm, 0, all) >= 0);
		if (way == 2) {
			assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
			bounded_by(2 * most, 1);
			assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		}
	}
	bounded_by(0, 0);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(always_somebody)};

	return test_run("museum/X08", cases, ARRAY_LEN(cases));
}

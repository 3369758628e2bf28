/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C02, KVM arm64 2020: a fault on a page that was mapped already (a permission changed) took one
 * more reference of the table, as if an entry had been added; the count never came back to 0 and
 * the table was lost until the VM died. Here the rights of one page change a thousand times in
 * place; when the page is unmapped its table counts as empty and can be freed.
 */
#include "museum.h"

#define CHANGES 1000

static void changed_rights_count_once(void **state)
{
	struct test_vm vm;
	struct test_backing b;
	struct tdp_slot_desc desc;
	uint64_t huge, tables, page_tables;
	uint32_t id;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	assert_int_equal(test_backing_init(&b, &vm.env, huge, huge, MUSEUM_PA, TDP_R, TDP_PAGE_LG2),
			 TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	tables = atomic_load(&vm.env.tables);

	museum_reaches(&vm, huge, TDP_R, test_backing_pa(&b, huge));
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	page_tables = atomic_load(&vm.env.tables) - tables;
	for (unsigned i = 0; i < CHANGES; i++) {
		/*
		 * Neither right implies the other, so each access finds a leaf that must be
		 * rewritten.
		 */
		uint32_t right = i & 1 ? TDP_W : TDP_X;

		b.prot = TDP_R | right;
		museum_reaches(&vm, huge, right, test_backing_pa(&b, huge));
		assert_int_equal(b.resolves_ok, i + 2);
		assert_int_equal(atomic_load(&vm.env.tables), tables + page_tables);
	}
	assert_int_equal(test_vm_check(&vm), 0);

	/* Not the whole block, which would cut the table off without looking at its count. */
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(huge, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(tdp_compact(vm.mm, 0, museum_range(0, test_vm_size(&vm))), page_tables);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), tables);
	museum_end(&vm);
	test_backing_fini(&b);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(changed_rights_count_once)};

	return test_run("museum/C02", cases, ARRAY_LEN(cases));
}

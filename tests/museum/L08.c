/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L08, KVM arm64 2020: the reaper of a dying process asked for memory to be unmapped without sleeping; between
 * two tables the unmap gave way all the same. Here somebody always wants to run, and a zap that may not give
 * way, over many tables of two roots, never does; one that may does so between any two tables.
 */
#include "museum.h"

#define TABLES 12u

static void map_all(struct test_vm *vm)
{
	for (unsigned as = 0; as < 2; as++)
		for (unsigned i = 0; i < TABLES; i++)
			assert_int_equal(tdp_populate(vm->mm, as,
						      museum_range(i * museum_huge(vm), TEST_PAGE),
						      0, NULL),
					 TDP_OK);
}

static uint64_t yields_of(struct test_vm *vm, struct tdp_range range, uint32_t flags)
{
	struct tdp_mapping m;
	uint64_t before;

	map_all(vm);
	test_env_yield(&vm->env, TEST_YIELD_ALWAYS, 0);
	before = atomic_load(&vm->env.yields);
	assert_int_equal(tdp_zap(vm->mm, TDP_AS_ALL, range, flags), TDP_OK);
	before = atomic_load(&vm->env.yields) - before;
	test_env_yield(&vm->env, TEST_YIELD_NEVER, 0);
	for (unsigned i = 0; i < TABLES; i++)
		assert_false(museum_mapped(vm, i * museum_huge(vm), &m));
	return before;
}

static void may_not_block(void **state)
{
	static const uint32_t flags[] = {0, TDP_ZAP_LAZY, TDP_ZAP_KEEP_YOUNG,
					 TDP_ZAP_LAZY | TDP_ZAP_KEEP_YOUNG};
	struct test_vm vm;
	struct tdp_range part;

	museum_start(&vm, state, NULL);
	part = museum_range(0, (TABLES - 1) * museum_huge(&vm) + TEST_PAGE);
	for (unsigned as = 0; as < 2; as++)
		assert_int_equal(test_vm_slot(&vm, as, 0, TABLES * museum_huge(&vm), MUSEUM_PA,
					      TDP_SLOT_FORCE_4K, NULL),
				 TDP_OK);
	for (unsigned i = 0; i < ARRAY_LEN(flags); i++) {
		assert_int_equal(yields_of(&vm, part, flags[i] | TDP_ZAP_NOYIELD), 0);
		assert_int_equal(yields_of(&vm, museum_range(0, test_vm_size(&vm)),
					   flags[i] | TDP_ZAP_NOYIELD),
				 0);
	}
	assert_true(yields_of(&vm, part, TDP_ZAP_KEEP_YOUNG) >= 2 * (TABLES - 2));
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(may_not_block)};

	return test_run("museum/L08", cases, ARRAY_LEN(cases));
}

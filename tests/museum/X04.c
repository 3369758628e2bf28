/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X04, KVM x86 2022: the last user of a root let it go, and below one entry of it were terabytes in small pages:
 * a quarter of a million tables were freed before the host could do anything else. Here two such subtrees, side
 * by side below one entry, are removed while somebody always wants to run: between two chances to give way no
 * more is freed than one of them has.
 */
#include "museum.h"

static struct {
	struct test_vm *vm;
	uint64_t last, longest;
} s;

static void look(void)
{
	uint64_t now;

	test_rcu_run();
	now = atomic_load(&s.vm->env.tables);
	if (s.last > now && s.last - now > s.longest)
		s.longest = s.last - now;
	s.last = now;
}

static void on_yield(void *arg)
{
	(void)arg;
	look();
}

static void fill(struct test_vm *vm, uint64_t tables)
{
	for (uint64_t i = 0; i < tables; i++)
		museum_reaches(vm, i * museum_huge(vm), TDP_W, MUSEUM_PA + i * museum_huge(vm));
}

static void longest_stretch(void **state)
{
	uint64_t entries, span;
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	entries = (uint64_t)1 << vm.info.index_lg2;
	span = 3 * entries * museum_huge(&vm);
	assert_int_equal(test_vm_slot(&vm, 0, 0, span, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	vm.env.on_yield = on_yield;
	for (unsigned way = 0; way < 2; way++) {
		memset(&s, 0, sizeof(s));
		s.vm = &vm;
		fill(&vm, 3 * entries);
		look();
		test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
		if (way == 0) {
			assert_int_equal(tdp_zap(vm.mm, 0, museum_range(0, test_vm_size(&vm)), 0),
					 TDP_OK);
		} else {
			assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
			assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		}
		test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
		look();
		assert_in_range(s.longest, 1, entries + 2 + vm.info.levels);
	}
	vm.env.on_yield = NULL;
	museum_end(&vm);
}

static bool deep(const struct test_format *fmt)
{
	return fmt->tree_levels >= 4;
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE_IF(longest_stretch, deep)};

	return test_run("museum/X04", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two things that are easy to get wrong: the level of a role, and references to roots that are
 * gone.
 */
#include "steps.h"

#define GPA GIB

/* The level comes from the argument, for every level, and nothing else of the role moves. */
static void level_of_a_role(void **state)
{
	char text[64];
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	for (uint32_t as = 0; as < TDP_AS_MAX; as++) {
		tdp_role_t root = tdp_role_root(vm.mm, as);

		assert_int_equal(tdp_role_level(root), vm.info.levels - 1);
		assert_int_equal(tdp_role_as(root), as);
		for (uint32_t level = 0; level < vm.info.levels; level++) {
			tdp_role_t role = tdp_role_at(root, level);

			assert_int_equal(tdp_role_level(role), level);
			assert_int_equal(tdp_role_as(role), as);
			assert_int_equal(role & ~(tdp_role_t)0xf, root & ~(tdp_role_t)0xf);
			assert_int_equal(tdp_role_at(role, vm.info.levels - 1), root);
			if (level == vm.info.levels - 1)
				continue;
			assert_true(tdp_role_diff(role, root, text, sizeof(text)) > 0);
			assert_int_equal(strncmp(text, "level ", 6), 0);
		}
	}
	vm_down(&vm);
}

/* An invalid root is got by nobody, however many still hold it; nor is a table below a root one. */
static void dead_roots_stay_dead(void **state)
{
	struct tdp_root *root, *fresh;
	struct test_vm vm;
	tdp_role_t role;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	role = tdp_role_root(vm.mm, 0);
	assert_int_equal(tdp_root_get(vm.mm, role, &root), TDP_OK);
	assert_int_equal(tdp_root_try_get(root), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_true(tdp_root_is_invalid(root));
	assert_int_equal(tdp_root_try_get(root), TDP_ENOENT);
	assert_int_equal(tdp_root_get(vm.mm, role, &fresh), TDP_OK);
	assert_ptr_not_equal(fresh, root);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(tdp_root_try_get(root), TDP_ENOENT);
	assert_int_equal(tdp_root_put(vm.mm, root), 1); /* the last one */
	/* Roles that are no root of this mm. */
	root = NULL;
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_at(role, 0), &root), TDP_EINVAL);
	assert_int_equal(tdp_root_get(vm.mm, 0, &root), TDP_EINVAL);
	assert_int_equal(tdp_root_get(vm.mm, role ^ (tdp_role_t)1 << 16, &root), TDP_EINVAL);
	assert_int_equal(tdp_root_get(vm.mm, role | (tdp_role_t)1 << 40, &root), TDP_EINVAL);
	assert_null(root);
	assert_int_equal(tdp_root_put(vm.mm, fresh), 0);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(level_of_a_role),
		TEST_CASE(dead_roots_stay_dead),
	};

	return test_run("easy", cases, ARRAY_LEN(cases));
}

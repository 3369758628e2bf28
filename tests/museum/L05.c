/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L05, TF-RMM 2026: a page was named as data and as descriptor in one call, and its lock taken twice. Here calls
 * are given the same thing in two roles: a root as the table to unlink, a table as the memory of a slot, a slot's
 * own place as the place to move it to, the same range invalidated twice. Refused or done, but no lock is waited
 * for that the caller holds itself.
 */
#include "alone.h"

struct tables {
	tdp_pa_t pa[TDP_LEVELS_MAX];
	unsigned count;
};

static int collect(void *arg, const struct tdp_visit *v)
{
	struct tables *t = arg;

	if (t->count < TDP_LEVELS_MAX)
		t->pa[t->count++] = v->pa;
	return 0;
}

static void same_thing_twice(void **state)
{
	struct test_vm vm;
	struct tdp_root *root;
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tables tables = {.count = 0};
	struct tdp_range page;
	tdp_gpa_t gpa;
	uint32_t slot, over;

	museum_start(&vm, state, &(struct test_vm_options){.host = alone_host});
	gpa = museum_huge(&vm);
	page = museum_range(gpa, TEST_PAGE);
	slot = museum_slot(&vm, gpa, 8 * TEST_PAGE, MUSEUM_PA);
	museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm.mm, root, &view), TDP_OK);
	for (unsigned i = 0; i < view.pages; i++)
		assert_int_equal(tdp_zap_table(vm.mm, view.pa + i * TEST_PAGE), TDP_EINVAL);
	alone_probe(&vm, gpa, slot);
	assert_int_equal(tdp_root_put(vm.mm, root), 1);

	/* Each table once, and again. */
	assert_int_equal(tdp_walk(vm.mm, 0, page, TDP_WALK_TABLE_PRE, collect, &tables), TDP_OK);
	assert_in_range(tables.count, 1, TDP_LEVELS_MAX);
	for (unsigned i = tables.count; i-- > 0;) {
		assert_int_equal(tdp_zap_table(vm.mm, tables.pa[i]), TDP_OK);
		assert_int_equal(tdp_zap_table(vm.mm, tables.pa[i]), TDP_ENOENT);
	}
	/* A table as memory: the owner's business, but no trouble for us. */
	assert_int_equal(test_vm_slot(&vm, 0, 4 * gpa, TEST_PAGE, view.pa, 0, &over), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, museum_range(4 * gpa, TEST_PAGE), 0, NULL), TDP_OK);
	assert_int_equal(tdp_slot_remove(vm.mm, over), TDP_OK);
	/* To where it is, and to half on itself. */
	assert_int_equal(tdp_slot_move(vm.mm, slot, gpa), TDP_OK);
	assert_int_equal(tdp_slot_move(vm.mm, slot, gpa + 4 * TEST_PAGE), TDP_OK);
	assert_int_equal(tdp_slot_move(vm.mm, slot, gpa), TDP_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(tdp_invalidate_begin(vm.mm, page), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(tdp_invalidate_end(vm.mm, page), TDP_OK);
	alone_probe(&vm, gpa, slot);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(same_thing_twice)};

	return test_run("museum/L05", cases, ARRAY_LEN(cases));
}

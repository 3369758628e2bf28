/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C07, Xen/Arm 2022 (a part of XSA-410): while a dying VM was being taken apart, somebody else
 * mapped one more page into it, behind the point that the teardown had reached; it was never
 * given back. Here, each time tdp_mm_destroy() gives way, another thread tries everything that
 * could add something: it is told TDP_ESHUTDOWN, and nothing is left at the end.
 */
#include "museum.h"

struct late {
	struct test_vm *vm;
	uint64_t huge;
	unsigned calls, wrong;
};

/* A tree of few levels below one root page is torn down in one step. */
static bool gives_way(const struct test_format *fmt)
{
	return fmt->tree_levels >= 4 || fmt->root_pages > 1;
}

static void expect(struct late *l, int status)
{
	l->calls++;
	if (status != TDP_ESHUTDOWN)
		l->wrong++;
}

static void latecomer(void *arg)
{
	struct late *l = arg;
	struct tdp_mm *mm = l->vm->mm;
	struct tdp_range range = museum_range(0, l->huge);
	struct tdp_vcpu *vcpu;
	struct tdp_root *root;
	uint32_t id;

	expect(l, tdp_populate(mm, 0, range, 0, NULL));
	expect(l, test_vm_slot(l->vm, 1, 0, l->huge, MUSEUM_PA, 0, &id));
	expect(l, tdp_root_get(mm, tdp_role_root(mm, 0), &root));
	expect(l, tdp_vcpu_create(mm, l->vm->cpu[0].emu, &vcpu));
	expect(l, tdp_invalidate_begin(mm, range));
}

static void on_yield(void *arg)
{
	struct late *l = arg;

	l->vm->env.on_yield = NULL; /* once is enough */
	museum_meanwhile(l->vm, latecomer, l);
}

static void nothing_is_added_to_the_dying(void **state)
{
	struct test_vm vm;
	struct late l = {.vm = &vm};

	museum_start(&vm, state, NULL);
	l.huge = museum_huge(&vm);
	/* FORCE_4K: tables at every level, so that there are many points to give way at. */
	assert_int_equal(test_vm_slot(&vm, 0, 0, 4 * l.huge, MUSEUM_PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, museum_range(0, 4 * l.huge), 0, NULL), TDP_OK);
	for (uint64_t at = 4 * l.huge; at < test_vm_size(&vm) / 2; at *= 2)
		assert_int_equal(test_vm_touch(&vm, 0, at, TDP_R), -1); /* MMIO, far apart */
	assert_int_equal(test_vm_check(&vm), 0);
	vm.env.on_yield = on_yield;
	vm.env.on_yield_arg = &l;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(test_vm_fini(&vm), 0);
	assert_int_equal(l.calls, 5);
	assert_int_equal(l.wrong, 0);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(nothing_is_added_to_the_dying, gives_way)};

	return test_run("museum/C07", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C01, KVM 2021 (CVE-2021-22543): pages without a reference count (VM_PFNMAP) were mapped by
 * taking a reference all the same: 0 became 1, giving it back freed a page that others used.
 * Here a memory that has no release(), so nothing to count with, is protected by the
 * invalidation protocol alone: nothing is called for it but resolve(), and a page that its owner
 * takes back while a fault holds the answer is not mapped.
 */
#include "museum.h"

struct uncounted {
	struct test_vm *vm;
	struct tdp_backing_ops ops;
	struct tdp_range range;
	tdp_pa_t pa;    /* now */
	bool take_back; /* at the next answer */
	unsigned answers;
};

static void owner_takes_back(void *arg)
{
	struct uncounted *u = arg;

	if (tdp_invalidate_begin(u->vm->mm, u->range) || tdp_zap(u->vm->mm, 0, u->range, 0))
		test_violation(&u->vm->env, "the owner cannot invalidate");
	tdp_emu_forbid(u->vm->emu, u->pa, u->range.size);
	u->pa += (uint64_t)1 << 32;
	if (tdp_invalidate_end(u->vm->mm, u->range))
		test_violation(&u->vm->env, "the owner cannot end its invalidation");
}

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	struct uncounted *u = arg;

	(void)want_lg2;
	(void)access;
	page->pa = u->pa + (gpa - u->range.start);
	page->lg2 = TDP_PAGE_LG2;
	page->prot = TDP_RWX;
	u->answers++;
	if (u->take_back) {
		u->take_back = false;
		museum_meanwhile(u->vm, owner_takes_back, u);
	}
	return TDP_OK;
}

static void pages_without_a_count(void **state)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	struct test_vm vm;
	struct uncounted u = {.vm = &vm, .pa = MUSEUM_PA};
	uint64_t huge;
	uint32_t id;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	u.range = museum_range(huge, huge);
	u.ops.size = (uint32_t)sizeof(u.ops);
	u.ops.resolve = resolve;
	desc.gpa = u.range;
	desc.backing = &u.ops;
	desc.backing_arg = &u;
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);

	museum_reaches(&vm, huge, TDP_W, u.pa);
	assert_int_equal(u.answers, 1);
	u.take_back = true;
	museum_reaches(&vm, huge + TEST_PAGE, TDP_W, MUSEUM_PA + TEST_PAGE + ((uint64_t)1 << 32));
	assert_int_equal(u.answers, 3);
	/* Also the page that was mapped before is another one now. */
	museum_reaches(&vm, huge, TDP_R, u.pa);

	assert_int_equal(tdp_populate(vm.mm, 0, u.range, 0, NULL), TDP_OK);
	assert_int_equal(tdp_collapse(vm.mm, 0, u.range, 0, NULL), TDP_OK);
	museum_reaches(&vm, huge + huge - 1, TDP_W, u.pa + huge - 1);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	museum_answer(&vm, huge, TDP_R, TDP_FAULT_MMIO);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(pages_without_a_count)};

	return test_run("museum/C01", cases, ARRAY_LEN(cases));
}

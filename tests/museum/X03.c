/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X03, all hypervisors on Intel 2019 (CVE-2018-12207): a guest that changed the page size of memory it was
 * executing from could halt the machine, so no huge page may be executable. The policy is the host's: its backing
 * gives huge pages without X, and X only to single small pages that are fetched from. The library carries it out:
 * a fetch splits the huge page and makes that one page executable; no huge leaf ever has X, also when pages are
 * merged again.
 */
#include "museum.h"

static struct test_vm *machine;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg;
	(void)want_lg2;
	page->pa = MUSEUM_PA + gpa;
	page->lg2 = access & TDP_X ? TDP_PAGE_LG2 : test_vm_lg2(machine, 1);
	page->prot = access & TDP_X ? TDP_RWX : TDP_R | TDP_W;
	return TDP_OK;
}

static int no_huge_code(void *arg, const struct tdp_visit *v)
{
	(void)arg;
	return v->lg2 > TDP_PAGE_LG2 && v->prot & TDP_X ? TDP_EIO : 0;
}

static void holds(struct test_vm *vm)
{
	assert_int_equal(tdp_walk(vm->mm, 0, museum_range(0, test_vm_size(vm)), TDP_WALK_LEAF,
				  no_huge_code, NULL),
			 TDP_OK);
}

static void fetch_splits(void **state)
{
	struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct test_vm vm;
	tdp_gpa_t gpa;
	uint64_t huge, made;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	machine = &vm;
	huge = museum_huge(&vm);
	gpa = 2 * huge;
	desc.gpa = museum_range(gpa, 2 * huge);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &slot), TDP_OK);
	assert_int_equal(museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA + gpa), test_vm_lg2(&vm, 1));
	holds(&vm);
	for (uint64_t at = 0; at < huge; at += 5 * TEST_PAGE) {
		assert_int_equal(museum_reaches(&vm, gpa + at, TDP_X, MUSEUM_PA + gpa + at),
				 TDP_PAGE_LG2);
		holds(&vm);
	}
	assert_int_equal(tdp_collapse(vm.mm, 0, desc.gpa, 0, &made), TDP_OK);
	assert_int_equal(made, 0);
	holds(&vm);
	for (uint64_t at = 0; at < huge; at += TEST_PAGE)
		museum_reaches(&vm, gpa + at, TDP_W, MUSEUM_PA + gpa + at);
	/* Given up and made anew, it is huge again, and not executable. */
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(gpa, huge), 0), TDP_OK);
	assert_int_equal(museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA + gpa), test_vm_lg2(&vm, 1));
	holds(&vm);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(fetch_splits)};

	return test_run("museum/X03", cases, ARRAY_LEN(cases));
}

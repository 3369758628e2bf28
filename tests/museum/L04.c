/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L04, TF-RMM 2024 and Xen 2018: the walk had locked the last table, then the state of what it found was not
 * right, and one branch returned without unlocking. The operation here that locks two tables and then looks
 * whether they are right is the collapse. It finds pages that cannot be merged for each reason there is (other
 * rights, other frames, no right to be large): all that was locked or held is free again.
 */
#include "alone.h"

enum { RIGHTS, FRAME, TYPE, REFUSED, REASONS };

static struct {
	struct test_vm vm;
	tdp_gpa_t gpa;
	unsigned reason;
	bool large;
} s;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	bool odd = gpa == s.gpa + 2 * TEST_PAGE;

	(void)arg;
	(void)want_lg2;
	(void)access;
	page->pa = MUSEUM_PA + gpa;
	page->lg2 = s.large && s.reason != REFUSED ? test_vm_lg2(&s.vm, 1) : TDP_PAGE_LG2;
	page->prot = TDP_RWX;
	if (odd && s.reason == RIGHTS)
		page->prot = TDP_R | TDP_W;
	if (odd && s.reason == FRAME)
		page->pa += 64 * museum_huge(&s.vm);
	if (odd && s.reason == TYPE)
		page->prot |= TDP_MT_UC;
	return TDP_OK;
}

static void not_mergeable(void **state)
{
	struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

	for (s.reason = 0; s.reason < REASONS; s.reason++) {
		struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
		uint64_t made = 7;
		uint32_t slot;

		s.large = false;
		museum_start(&s.vm, state, &(struct test_vm_options){.host = alone_host});
		s.gpa = museum_huge(&s.vm);
		desc.gpa = museum_range(s.gpa, s.gpa);
		assert_int_equal(tdp_slot_add(s.vm.mm, &desc, &slot), TDP_OK);
		assert_int_equal(tdp_populate(s.vm.mm, 0, desc.gpa, TDP_POPULATE_YOUNG, NULL),
				 TDP_OK);
		s.large = true;
		assert_int_equal(tdp_collapse(s.vm.mm, 0, desc.gpa, 0, &made), TDP_OK);
		assert_int_equal(made, 0);
		s.large = false;
		/* The table below, and the one above. */
		assert_int_equal(tdp_write_protect(s.vm.mm, 0, desc.gpa), TDP_OK);
		assert_int_equal(test_vm_access(&s.vm, 0, s.gpa + TEST_PAGE, TDP_W, NULL), TEST_OK);
		assert_int_equal(tdp_zap(s.vm.mm, 0, desc.gpa, 0), TDP_OK);
		alone_probe(&s.vm, s.gpa + 4 * TEST_PAGE, slot);
		assert_int_equal(tdp_slot_remove(s.vm.mm, slot), TDP_OK);
		museum_end(&s.vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(not_mergeable)};

	return test_run("museum/L04", cases, ARRAY_LEN(cases));
}

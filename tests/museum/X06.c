/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * X06, Xen 2014 (XSA-89, XSA-97): the dirty log of a huge guest was read, or the access of four billion frames
 * set, in one hypercall that ran for seconds. Here each operation on a range gives way between any two tables
 * that it visits, if somebody wants that; and on all of the address space, in which almost nothing is, it visits
 * what is there and not what could be.
 */
#include "museum.h"

#define TABLES 10u

static struct {
	struct test_vm vm;
	uint32_t slot;
	uint64_t pages, words, *bits;
	struct tdp_range dense, all;
} s;

static int do_op(unsigned op, bool everything)
{
	struct tdp_range r = everything ? s.all : s.dense;

	switch (op) {
	case 0: return tdp_write_protect(s.vm.mm, 0, r);
	case 1: return tdp_age(s.vm.mm, 0, r, NULL);
	case 2: return tdp_dirty_harvest(s.vm.mm, s.slot, 0, s.bits, s.words);
	case 3: return tdp_dirty_clear(s.vm.mm, s.slot, 0, s.pages);
	case 4: return tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_OFF);
	case 5: return tdp_split(s.vm.mm, 0, r, TDP_PAGE_LG2);
	case 6: return tdp_compact(s.vm.mm, 0, r);
	case 7: return tdp_zap(s.vm.mm, 0, r, TDP_ZAP_KEEP_YOUNG);
	default: return TDP_ENOTSUP;
	}
}

/* These look at every table of small pages; the others may stop above. */
static bool visits_all(unsigned op)
{
	return op <= 3 || op == 7;
}

static void one(void **state, unsigned op, bool everything)
{
	uint64_t yields;

	museum_start(&s.vm, state, NULL);
	s.dense = museum_range(0, TABLES * museum_huge(&s.vm));
	s.all = museum_range(0, test_vm_size(&s.vm));
	s.pages = s.dense.size / TEST_PAGE;
	s.words = (s.pages + 63) / 64;
	s.bits = calloc(s.words, sizeof(*s.bits));
	s.slot = museum_slot(&s.vm, 0, s.dense.size, MUSEUM_PA);
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_AUTO), TDP_OK);
	for (unsigned i = 0; i < TABLES; i++)
		museum_reaches(&s.vm, i * museum_huge(&s.vm), TDP_W,
			       MUSEUM_PA + i * museum_huge(&s.vm));
	test_env_yield(&s.vm.env, TEST_YIELD_ALWAYS, 0);
	yields = atomic_load(&s.vm.env.yields);
	assert_true(do_op(op, everything) >= 0);
	yields = atomic_load(&s.vm.env.yields) - yields;
	test_env_yield(&s.vm.env, TEST_YIELD_NEVER, 0);
	if (visits_all(op))
		assert_true(yields >= TABLES - 1);
	assert_in_range(yields, 0, 16 * (TABLES + s.vm.info.levels + s.vm.info.root_pages));
	free(s.bits);
	museum_end(&s.vm);
}

static void preemptible_and_sparse(void **state)
{
	for (unsigned op = 0; op < 8; op++)
		for (unsigned everything = 0; everything < 2; everything++)
			one(state, op, everything);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(preemptible_and_sparse)};

	return test_run("museum/X06", cases, ARRAY_LEN(cases));
}

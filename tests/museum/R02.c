/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R02, KVM arm64 and RISC-V 2023: the fault asked the host how large the page was, let go of the host's lock,
 * and only then noted the sequence number of invalidations: one that ended in between went unnoticed and the
 * stale size was used. Here the backing changes just after it has answered, completely (begun, zapped, ended):
 * the fault says RETRY, maps nothing, and the next one maps what is there now, no larger than it is.
 */
#include "stale.h"

static void first_page_moves(void *arg)
{
	struct stale *s = arg;

	s->status = test_backing_discard(&s->b, s->vm.mm, 0, museum_range(s->huge, TEST_PAGE));
}

static void all_moves(void *arg)
{
	struct stale *s = arg;

	s->status = test_backing_discard(&s->b, s->vm.mm, 0, museum_range(s->huge, s->huge));
}

static void one(void **state, bool large, bool all, uint32_t access)
{
	struct tdp_fault fault = {.access = access};
	struct tdp_mapping m;
	struct stale s;

	stale_start(&s, state, large);
	s.meanwhile = all ? all_moves : first_page_moves;
	s.armed = 1;
	fault.gpa = s.huge + TEST_PAGE; /* a page that stays, unless all go */
	assert_int_equal(tdp_fault(s.vm.cpu[0].vcpu, &fault, NULL), TDP_FAULT_RETRY);
	assert_int_equal(s.status, TDP_OK);
	assert_int_equal(s.asked, 1);
	assert_false(museum_mapped(&s.vm, fault.gpa, &m));
	for (uint64_t at = 0; at < s.huge; at += TEST_PAGE)
		assert_in_range(museum_reaches(&s.vm, s.huge + at, access,
					       test_backing_pa(&s.b, s.huge + at)),
				TDP_PAGE_LG2, test_backing_lg2(&s.b, s.huge + at));
	stale_end(&s);
}

static void answer_becomes_stale(void **state)
{
	for (unsigned i = 0; i < 8; i++)
		one(state, i & 1, i & 2, i & 4 ? TDP_W : TDP_R);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(answer_becomes_stale)};

	return test_run("museum/R02", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R03, KVM x86 2022: how large the host's page is was read from the host's tables with nothing that held them;
 * they could be freed or changed meanwhile. Here small pages are to be merged; the backing says that a huge one
 * is behind them, and before that answer arrives it breaks the huge page up (same frames, an invalidation that
 * is over again, and the guest has touched the page since). The answer is not used: nothing is merged. And it
 * is asked for once for each huge page.
 */
#include "stale.h"

/* The host's huge page becomes small ones in place. */
static void backing_breaks_up(void *arg)
{
	struct stale *s = arg;
	struct tdp_range page = museum_range(s->huge, TEST_PAGE);

	s->status = tdp_invalidate_begin(s->vm.mm, page);
	if (!s->status)
		s->status = tdp_zap(s->vm.mm, 0, page, 0);
	pthread_mutex_lock(&s->b.lock);
	for (uint64_t i = 0; i < s->b.pages; i++)
		s->b.lg2[i] = TDP_PAGE_LG2;
	pthread_mutex_unlock(&s->b.lock);
	if (!s->status)
		s->status = tdp_invalidate_end(s->vm.mm, page);
	if (!s->status)
		s->status = test_vm_access(&s->vm, 1, s->huge, TDP_W, NULL);
}

static void size_becomes_stale(void **state)
{
	struct tdp_mapping m;
	struct stale s;
	uint64_t made = 7;
	unsigned asked;

	stale_start(&s, state, true);
	museum_reaches(&s.vm, s.huge, TDP_W, test_backing_pa(&s.b, s.huge));
	assert_int_equal(tdp_split(s.vm.mm, 0, museum_range(s.huge, s.huge), TDP_PAGE_LG2), TDP_OK);
	asked = s.asked;
	s.meanwhile = backing_breaks_up;
	s.armed = 1;
	assert_int_equal(tdp_collapse(s.vm.mm, 0, museum_range(s.huge, s.huge), 0, &made), TDP_OK);
	assert_int_equal(s.armed, 0);
	assert_int_equal(s.status, TDP_OK);
	assert_int_equal(made, 0);
	assert_true(museum_mapped(&s.vm, s.huge, &m));
	assert_int_equal(m.lg2, TDP_PAGE_LG2);
	assert_int_equal(s.asked, asked + 2); /* by the collapse, and by the guest's fault */
	stale_end(&s);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(size_becomes_stale)};

	return test_run("museum/R03", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L03, Xen on Arm 2016: mapping several pages failed half way for want of memory; to undo the first half the
 * function called itself, under the lock that it held. Here memory runs out at the n-th allocation, for every n,
 * of the calls that undo what they have done (tracking, giving pages away, logging with a split): each comes
 * back, all of it or nothing is done, and all locks are free.
 */
#include "alone.h"

static struct {
	struct test_vm vm;
	tdp_gpa_t gpa;
	uint32_t slot;
} s;

/* A few pages in the middle of a huge one, so that it has to be split. */
static struct tdp_range inner(void)
{
	return museum_range(s.gpa + TEST_PAGE, 2 * TEST_PAGE);
}

static int track(void)
{
	return tdp_write_track(s.vm.mm, 0, inner(), true);
}

static void untrack(void)
{
	museum_answer(&s.vm, inner().start, TDP_W, TDP_FAULT_TRACKED);
	assert_int_equal(tdp_write_track(s.vm.mm, 0, inner(), false), TDP_OK);
}

static int give(void)
{
	return tdp_set_owner(s.vm.mm, 0, inner(), 7);
}

static void take(void)
{
	museum_answer(&s.vm, inner().start, TDP_W, TDP_EACCES);
	assert_int_equal(tdp_set_owner(s.vm.mm, 0, inner(), 0), TDP_OK);
}

static int log_split(void)
{
	return tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT);
}

static void log_off(void)
{
	uint64_t bits;

	assert_int_equal(tdp_dirty_harvest(s.vm.mm, s.slot, 0, &bits, 1), TDP_OK);
	assert_int_equal(tdp_dirty_log(s.vm.mm, s.slot, TDP_LOG_OFF), TDP_OK);
}

static void fails_at_each(int (*fn)(void), void (*undo)(void))
{
	for (int64_t n = 1; n < 200; n++) {
		struct tdp_range all = museum_range(s.gpa, museum_huge(&s.vm));
		int ret;

		assert_int_equal(tdp_zap(s.vm.mm, 0, all, 0), TDP_OK);
		museum_reaches(&s.vm, s.gpa, TDP_W, MUSEUM_PA);
		test_env_fail(&s.vm.env, n);
		ret = fn();
		test_env_fail(&s.vm.env, 0);
		if (ret == TDP_OK) {
			undo();
			alone_probe(&s.vm, s.gpa, s.slot);
			return;
		}
		assert_int_equal(ret, TDP_ENOMEM);
		museum_reaches(&s.vm, inner().start, TDP_W, MUSEUM_PA + TEST_PAGE);
		alone_probe(&s.vm, s.gpa, s.slot);
	}
	fail_msg("fails for ever");
}

static void undone(void **state)
{
	static const struct {
		int (*fn)(void);
		void (*undo)(void);
	} calls[] = {{track, untrack}, {give, take}, {log_split, log_off}};

	for (unsigned i = 0; i < ARRAY_LEN(calls); i++) {
		museum_start(&s.vm, state,
			     &(struct test_vm_options){.host = alone_host,
						       .chunk_lg2 = TEST_CHUNK_SMALL});
		s.gpa = museum_huge(&s.vm);
		s.slot = museum_slot(&s.vm, s.gpa, s.gpa, MUSEUM_PA);
		fails_at_each(calls[i].fn, calls[i].undo);
		museum_end(&s.vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(undone)};

	return test_run("museum/L03", cases, ARRAY_LEN(cases));
}

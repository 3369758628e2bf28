/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * An owner, who knows that all is done when his call returns, and a helper, who may come at any time, in every order
 * (S1): also where one of them does nothing, or where it fails.
 */
#include "actors.h"

#include <tdp/share.h>

static struct tdp_share share;

/* ---- what stands there before ---- */

static uint64_t part(void)
{
	uint32_t lg2 = test_vm_lg2(&w.vm, 2), leaf = test_vm_max_lg2(&w.vm);

	return (uint64_t)1 << (lg2 > leaf ? lg2 : leaf);
}

/* The last page of a part and the first of the next one. */
static struct tdp_range two_pages(void)
{
	struct tdp_range r = {2 * part() - TEST_PAGE, 2 * TEST_PAGE};

	return r;
}

static void begin(uint32_t kind, struct tdp_range range, uint32_t flags)
{
	struct tdp_job job = {
		.size = (uint32_t)sizeof(job), .kind = kind, .range = range, .flags = flags};

	must(tdp_share_begin(w.vm.mm, &share, &job), "begin");
}

static void two_mapped(void)
{
	struct tdp_range r = two_pages();

	must(test_vm_slot(&w.vm, 0, r.start, r.size, PA, TDP_SLOT_FORCE_4K, &w.slot), "slot");
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 2; n++)
			must(guest(cpu, r.start + n * TEST_PAGE, TDP_W), "map");
}

static void zap_of_one(void)
{
	cached_everywhere();
	begin(TDP_JOB_ZAP, pages(0, 1), 0);
}

static void zap_of_two(void)
{
	two_mapped();
	begin(TDP_JOB_ZAP, two_pages(), 0);
}

static void protection_of_two(void)
{
	two_mapped();
	begin(TDP_JOB_WRITE_PROTECT, two_pages(), 0);
}

/* Only one of the two is in a slot. */
static void populate_of_half(void)
{
	struct tdp_range r = two_pages();

	must(test_vm_slot(&w.vm, 0, r.start, TEST_PAGE, PA, TDP_SLOT_FORCE_4K, &w.slot), "slot");
	begin(TDP_JOB_POPULATE, r, 0);
}

/* ---- actors ---- */

static void helps(void *arg)
{
	(void)arg;
	must(tdp_share_help(&share, 0), "help");
}

static void helps_once(void *arg)
{
	(void)arg;
	must(tdp_share_help(&share, 1), "help");
}

static void owns_one_and_reuses(void *arg)
{
	(void)arg;
	must(tdp_share_finish(&share, NULL), "finish");
	reuse(PA);
}

static void owns_two_and_reuses(void *arg)
{
	(void)arg;
	must(tdp_share_finish(&share, NULL), "finish");
	for (unsigned n = 0; n < 2; n++)
		reuse(PA + n * TEST_PAGE);
}

static void owns_and_tells(void *arg)
{
	(void)arg;
	must(tdp_share_finish(&share, NULL), "finish");
	tell(0);
}

static void looks_at_two(void *arg)
{
	(void)arg;
	for (unsigned n = 0; n < 2; n++)
		access_once(1, two_pages().start + n * TEST_PAGE, TDP_R);
}

/* Told that all are protected, none can be written to without a fault. */
static void writes_if_told(void *arg)
{
	(void)arg;
	if (told(0))
		for (unsigned n = 0; n < 2; n++)
			if (access_once(1, two_pages().start + n * TEST_PAGE, TDP_W) == 0)
				tdp_explore_fail("a protected page was written");
}

static void owns_what_fails(void *arg)
{
	(void)arg;
	if (tdp_share_finish(&share, NULL) != TDP_ENOENT)
		tdp_explore_fail("the owner is not told");
}

static void helps_what_fails(void *arg)
{
	int ret = tdp_share_help(&share, 0);

	(void)arg;
	if (ret && ret != TDP_ENOENT)
		tdp_explore_fail("help");
}

/* ---- in the end ---- */

static int nothing_left(void)
{
	struct tdp_mapping m = {.size = (uint32_t)sizeof(m)};

	return share.left || tdp_translate(w.vm.mm, 0, two_pages().start, &m) != TDP_ENOENT ||
	       tdp_translate(w.vm.mm, 0, two_pages().start + TEST_PAGE, &m) != TDP_ENOENT;
}

static int all_complete(void)
{
	return share.left != 0;
}

#define P(does, built, judged, ...)                                                                \
	{                                                                                          \
		.name = does, .build = built, .judge = judged, .actor = {__VA_ARGS__},             \
		.wanted = one_of_each                                                              \
	}
#define P3(does, built, judged, ...)                                                               \
	{                                                                                          \
		.name = does, .build = built, .judge = judged, .actor = {__VA_ARGS__},             \
		.wanted = one_of_each, .preemptions = 3                                            \
	}

static const struct world_program programs[] = {
	P("one part", zap_of_one, all_complete, owns_one_and_reuses, helps),
	P("two parts", zap_of_two, nothing_left, owns_two_and_reuses, helps),
	P("one of two parts", zap_of_two, nothing_left, owns_two_and_reuses, helps_once),
	P("a part fails", populate_of_half, all_complete, owns_what_fails, helps_what_fails),
	P3("two parts, looked at", zap_of_two, nothing_left, owns_two_and_reuses, helps,
	   looks_at_two),
	P3("two parts, two helpers", zap_of_two, nothing_left, owns_two_and_reuses, helps,
	   helps_once),
	P3("two parts, protected", protection_of_two, all_complete, owns_and_tells, helps,
	   writes_if_told),
};

static void every_order(void **state)
{
	worlds_hold(*state, programs, ARRAY_LEN(programs));
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order, one_of_each),
	};

	return test_run("share", cases, ARRAY_LEN(cases));
}

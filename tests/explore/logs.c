/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Write protection, tracking, dirty logs and harvests beside everything else, in every order: after a promise
 * the next write is noticed, and every write that ended before a harvest is in an answer.
 */
#include "actors.h"

/* ---- after a protection has returned the next write faults ---- */

static void protects_and_tells(void *arg)
{
	protects(arg);
	tell(0);
}

static void logs_and_tells(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
	tell(0);
}

static void writes_unnoticed(void *arg)
{
	bool promised = told(0);

	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0 && promised)
		tdp_explore_fail("a write was not noticed");
}

/* ---- harvests share what was written ---- */

static void harvests_too(void *arg)
{
	uint64_t bits = 0;

	(void)arg;
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	w.bits[1] |= bits;
}

/* Page 1 was written before both; each page is in one of the answers, or in a later one. */
static int both_pages_are_somewhere(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	if (!((w.bits[0] | w.bits[1]) & 2))
		return 1;
	return w.flag[0] && !((bits | w.bits[0] | w.bits[1]) & 1);
}

/* ---- every write that ended before a harvest began is in an answer ---- */

static void writes_then_tells(void *arg)
{
	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0)
		tell(0);
}

static void harvests_what_was_told(void *arg)
{
	bool written = told(0);

	harvests(arg);
	if (written && !(w.bits[0] & 1))
		tdp_explore_fail("a write that had ended is not in the harvest");
}

static int written_is_in_some_answer(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return w.flag[0] && !((bits | w.bits[0]) & 1);
}

static void guest_writes_logged(void *arg)
{
	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK)
		tell(0);
}

/* ---- the programs ---- */

static void logs_by_dirty_and_tells(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
	tell(1);
}

/* Written after the log was on: in the next harvest. */
static void writes_after_log(void *arg)
{
	bool on = told(1);

	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0 && on)
		tell(0);
}

static void logs_by_dirty_then_harvests(void *arg)
{
	logs_by_dirty_and_tells(arg);
	harvests_what_was_told(arg);
}

static const struct world_program programs[] = {
	{.name = "protect beside protect",
	 .build = cached_everywhere,
	 .actor = {protects, protects_and_tells, writes_unnoticed}},
	{.name = "log beside protect",
	 .build = cached_everywhere,
	 .actor = {protects, logs_and_tells, writes_unnoticed}},
	{.name = "log beside cut",
	 .build = cached_everywhere,
	 .actor = {zaps_block, logs_and_tells, writes_unnoticed}},
	{.name = "log beside collapse",
	 .build = one_protected,
	 .actor = {collapses, logs_and_tells, writes_unnoticed}},
	{.name = "log by D beside collapse",
	 .build = one_protected,
	 .judge = written_is_in_some_answer,
	 .wanted = has_dirty,
	 .preemptions = 3,
	 .actor = {collapses, logs_by_dirty_and_tells, writes_after_log}},
	{.name = "first harvest beside collapse",
	 .build = one_protected,
	 .judge = written_is_in_some_answer,
	 .wanted = has_dirty,
	 .preemptions = 3,
	 .actor = {collapses, logs_by_dirty_then_harvests, writes_after_log}},
	{.name = "harvest beside write",
	 .build = logged,
	 .judge = written_is_in_some_answer,
	 .actor = {writes_then_tells, harvests_what_was_told}},
	{.name = "harvest beside guest",
	 .build = logged_by_protection,
	 .judge = written_is_in_some_answer,
	 .actor = {guest_writes_logged, harvests}},
	{.name = "harvest beside cut",
	 .build = logged,
	 .judge = written_is_in_some_answer,
	 .wanted = has_dirty,
	 .preemptions = 4,
	 .actor = {writes_then_tells, harvests_what_was_told, zaps_block}},
	{.name = "track beside write",
	 .build = cached_everywhere,
	 .actor = {tracks, protects, writes_unnoticed}},
	{.name = "harvest beside harvest",
	 .build = logged,
	 .judge = both_pages_are_somewhere,
	 .preemptions = 3,
	 .actor = {harvests, harvests_too, guest_writes_logged}},
};

static void every_order_holds(void **state)
{
	worlds_hold(*state, programs, ARRAY_LEN(programs));
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order_holds, one_of_each),
	};

	return test_run("logs", cases, ARRAY_LEN(cases));
}

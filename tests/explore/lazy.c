/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arming by a few entries high up beside writes, harvests and all that changes tables, in every order: what was written
 * after it returned is in an answer, whoever opened what was shut (L1).
 */
#include "actors.h"

/* ---- what stands there before ---- */

/* Two pages, written and cached by both vCPUs, in a slot of one table: its entry is shut. */
static void one_table(void)
{
	linear_slot(w.block, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 2; n++)
			must(guest(cpu, page(n), TDP_W), "map");
}

static void arm(uint32_t mode)
{
	must(tdp_dirty_log(w.vm.mm, w.slot, mode | TDP_LOG_LAZY), "log");
}

static void armed_by_d(void)
{
	one_table();
	arm(TDP_LOG_DBIT);
}

static void armed_by_protection(void)
{
	one_table();
	arm(TDP_LOG_WRPROT);
}

/* The entry above that one is. */
static void two_levels_by_d(void)
{
	linear_slot((uint64_t)1 << test_vm_lg2(&w.vm, 2), TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 2; n++)
			must(guest(cpu, page(n), TDP_W), "map");
	arm(TDP_LOG_DBIT);
}

/* One opened it and wrote. */
static void opened_by_d(void)
{
	armed_by_d();
	must(guest(0, page(1), TDP_W), "write");
}

static void huge_and_armed(void)
{
	linear_slot((uint64_t)1 << test_vm_lg2(&w.vm, 2), 0);
	must(tdp_populate(w.vm.mm, 0, block(), 0, NULL), "populate");
	must(guest(0, page(0), TDP_W), "write");
	arm(TDP_LOG_DBIT);
}

/* Shut, with nobody to log what is written. */
static void shut_and_off(void)
{
	armed_by_d();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_OFF), "log off");
}

static void idle_and_armed(void)
{
	one_table();
	for (unsigned i = 0; i < 3; i++)
		must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
	arm(TDP_LOG_DBIT);
}

/* ---- actors: flag 0 says that the log is on, flags 2 and 3 that pages 0 and 1 were written after that ---- */

static void logs(uint32_t mode)
{
	arm(mode);
	tell(0);
}

static void arms_by_d(void *arg)
{
	(void)arg;
	logs(TDP_LOG_DBIT);
}

static void arms_by_protection(void *arg)
{
	(void)arg;
	logs(TDP_LOG_WRPROT);
}

static void logs_all_leaves(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
	tell(0);
}

static void logs_anew(void *arg)
{
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_OFF), "log off");
	arms_by_d(arg);
}

static void writes_when_logged(void *arg)
{
	bool on = told(0);

	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK && on)
		tell(2);
}

/* By what is cached, or by a walk; a fault is not answered. */
static void uses_when_logged(void *arg)
{
	bool on = told(0);

	(void)arg;
	if (access_once(0, page(1), TDP_W) == 0 && on)
		tell(3);
}

static void writes_first(void *arg)
{
	(void)arg;
	if (guest(0, page(1), TDP_W) == TEST_OK)
		tell(3);
}

static void writes_second(void *arg)
{
	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK)
		tell(2);
}

/* Opens, whether logged or not. */
static void opens(void *arg)
{
	(void)arg;
	guest(0, page(1), TDP_W);
}

/* What had been written when it began is in this very answer. */
static void harvests_at_once(void *arg)
{
	bool written = told(2);

	harvests(arg);
	if (written && !(w.bits[0] & 1))
		tdp_explore_fail("a write that had ended is not in the harvest");
}

static void ages_twice(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

static void stops_logging(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_OFF), "log off");
}

/* ---- in the end ---- */

static int written_is_in_some_answer(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	bits |= w.bits[0];
	return (w.flag[2] && !(bits & 1)) || (w.flag[3] && !(bits & 2));
}

/* Nobody armed it a second time: what was written before the program is in the log as well. */
static int first_write_is_there_too(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_get(w.vm.mm, w.slot, 0, &bits, 1), "get");
	return !((bits | w.bits[0]) & 2) || written_is_in_some_answer();
}

static int writes_go_on(void)
{
	w.vm.max_retries = 4;
	return guest(0, page(0), TDP_W) != TEST_OK || guest(1, page(1), TDP_W) != TEST_OK;
}

static bool ept_and_npt(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4");
}

#define P(does, built, judged, bound, ...)                                                         \
	{                                                                                          \
		.name = does, .build = built, .judge = judged, .preemptions = bound, .actor = {    \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define P_AGED(does, built, judged, bound, ...)                                                    \
	{                                                                                          \
		.name = does, .build = built, .judge = judged, .preemptions = bound,               \
		.mm_flags = TDP_MM_AGE_TABLES, .actor = {                                          \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}

static const struct world_program programs[] = {
	P("arm, write", one_table, written_is_in_some_answer, 0, arms_by_d, writes_when_logged),
	P("arm, use", one_table, written_is_in_some_answer, 0, arms_by_d, uses_when_logged),
	P("arm by protection, write", one_table, written_is_in_some_answer, 0, arms_by_protection,
	  writes_when_logged),
	P("arm, write, use", one_table, written_is_in_some_answer, 3, arms_by_d, writes_when_logged,
	  uses_when_logged),
	P("arm by protection, two", one_table, written_is_in_some_answer, 3, arms_by_protection,
	  writes_when_logged, uses_when_logged),
	P("open, open", armed_by_d, written_is_in_some_answer, 0, writes_first, writes_second),
	P("open, open, protected", armed_by_protection, written_is_in_some_answer, 0, writes_first,
	  writes_second),
	P("open, open, two levels", two_levels_by_d, written_is_in_some_answer, 3, writes_first,
	  writes_second),
	P("open, harvest", armed_by_d, written_is_in_some_answer, 0, writes_second,
	  harvests_at_once),
	P("open, harvest, protected", armed_by_protection, written_is_in_some_answer, 0,
	  writes_second, harvests_at_once),
	P("open, open, harvest", armed_by_d, written_is_in_some_answer, 3, writes_first,
	  writes_second, harvests_at_once),
	P("opened, open", opened_by_d, first_write_is_there_too, 0, writes_second,
	  harvests_at_once),
	P("open, zap", armed_by_d, written_is_in_some_answer, 0, writes_second, zaps_page),
	P("open, cut", armed_by_d, written_is_in_some_answer, 0, writes_second, zaps_block),
	P("open, cut, harvest", armed_by_d, written_is_in_some_answer, 3, writes_second, zaps_block,
	  harvests_at_once),
	P("open, split", huge_and_armed, written_is_in_some_answer, 2, writes_second, splits),
	P("open, protect", armed_by_d, written_is_in_some_answer, 0, writes_second, protects),
	P_AGED("open, aged", armed_by_d, written_is_in_some_answer, 3, writes_second, ages_twice),
	P_AGED("open, idle", idle_and_armed, written_is_in_some_answer, 3, writes_second,
	       ages_twice),
	P("open, off", armed_by_d, writes_go_on, 0, writes_second, stops_logging),
	P("off, arm", shut_and_off, written_is_in_some_answer, 0, arms_by_protection,
	  writes_when_logged),
	P("off, open, arm", shut_and_off, written_is_in_some_answer, 3, arms_by_protection, opens,
	  writes_when_logged),
	P("off, arm all leaves", shut_and_off, written_is_in_some_answer, 3, logs_all_leaves,
	  writes_when_logged, uses_when_logged),
	P("off and on", armed_by_d, written_is_in_some_answer, 3, logs_anew, writes_when_logged,
	  uses_when_logged),
};

static void every_order(void **state)
{
	worlds_hold(*state, programs, ARRAY_LEN(programs));
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order, ept_and_npt),
	};

	return test_run("lazy", cases, ARRAY_LEN(cases));
}

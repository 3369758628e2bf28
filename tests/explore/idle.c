/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Aging that passes idle subtrees by, beside uses, other aging and software that makes pages young, in every order:
 * what was used before a call began is found, and in the end all that is young (I1).
 */
#include "actors.h"

/* ---- what stands there before ---- */

/* Two old pages. The second vCPU keeps the way to their table, and the first page. */
static void way_is_cached(void)
{
	linear_slot(w.block, TDP_SLOT_FORCE_4K);
	must(tdp_populate(w.vm.mm, 0, pages(0, 2), 0, NULL), "populate");
	must(guest(1, page(0), TDP_R), "read");
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

/* The table was seen to be old, and all was flushed. */
static void looked_at_once(void)
{
	way_is_cached();
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

static void idle(void)
{
	looked_at_once();
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

/* It was idle and then used, but is old again. The second vCPU keeps the way. */
static void idle_before(void)
{
	idle();
	must(guest(1, page(0), TDP_R), "read");
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

static void small_and_idle(void)
{
	small_pages();
	for (unsigned i = 0; i < 3; i++)
		must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

/* Two tables, one below the other, and all that they could map. */
static struct tdp_range two_levels(void)
{
	struct tdp_range r = {w.gpa, (uint64_t)1 << test_vm_lg2(&w.vm, 2)};

	return r;
}

static void two_idle(void)
{
	way_is_cached();
	for (unsigned i = 0; i < 2; i++)
		must(tdp_age(w.vm.mm, 0, two_levels(), NULL), "age");
}

/* The upper one is about to be found idle. */
static void upper_used(void)
{
	two_idle();
	must(guest(1, page(3), TDP_R), "read");
	must(tdp_zap(w.vm.mm, 0, pages(3, 1), 0), "zap");
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
}

/* ---- actors ---- */

static void ages_two_levels(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++)
		must(tdp_age(w.vm.mm, 0, two_levels(), NULL), "age");
}

static bool age_block(void)
{
	uint64_t young = 0;

	must(tdp_age(w.vm.mm, 0, block(), &young), "age");
	return young > 0;
}

static void ages_block(void *arg)
{
	(void)arg;
	w.bits[0] += age_block();
}

static void ages_block_twice(void *arg)
{
	ages_block(arg);
	ages_block(arg);
}

static void reads_and_tells(void *arg)
{
	(void)arg;
	if (access_once(1, page(1), TDP_R) == 0)
		tell(0);
}

static void populates_young_and_tells(void *arg)
{
	(void)arg;
	must(tdp_populate(w.vm.mm, 0, pages(2, 1), TDP_POPULATE_YOUNG, NULL), "populate");
	tell(0);
}

static void collapses_and_tells(void *arg)
{
	collapses(arg);
	tell(0);
}

static void ages_what_was_told(void *arg)
{
	bool used = told(0);

	(void)arg;
	w.bits[1] += age_block();
	w.status[0] = used;
}

/* ---- in the end ---- */

static int note_young(void *arg, const struct tdp_visit *v)
{
	*(bool *)arg |= v->flags & TDP_MAP_ACCESSED;
	return 0;
}

/* What was used before somebody aged was found, and what is young now is found now. */
static int nothing_is_missed(void)
{
	bool young = false;

	if (w.status[0] && w.bits[0] + w.bits[1] == 0)
		return 1;
	must(tdp_walk(w.vm.mm, 0, block(), TDP_WALK_LEAF, note_young, &young), "walk");
	return age_block() != young || age_block();
}

static int upper_misses_nothing(void)
{
	uint64_t young = 0;
	bool there = false;

	must(tdp_walk(w.vm.mm, 0, block(), TDP_WALK_LEAF, note_young, &there), "walk");
	must(tdp_age(w.vm.mm, 0, two_levels(), &young), "age");
	return there != (young > 0);
}

static int huge_and_nothing_is_missed(void)
{
	struct tdp_mapping m;

	/* That an MMU sets A above is no reason not to merge. */
	return !mapped(0, &m) || m.lg2 == TDP_PAGE_LG2 || nothing_is_missed();
}

static bool has_table_a(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4");
}

#define P(does, built, judged, ...)                                                                \
	{                                                                                          \
		.name = does, .build = built, .judge = judged, .actor = {__VA_ARGS__},             \
		.wanted = has_table_a, .mm_flags = TDP_MM_AGE_TABLES                               \
	}
#define P3(does, built, ...)                                                                       \
	{                                                                                          \
		.name = does, .build = built, .judge = nothing_is_missed, .actor = {__VA_ARGS__},  \
		.wanted = has_table_a, .mm_flags = TDP_MM_AGE_TABLES, .preemptions = 3             \
	}

static const struct world_program programs[] = {
	P("use, aged twice", way_is_cached, nothing_is_missed, ages_block_twice, reads_and_tells),
	P("use, looked at once", looked_at_once, nothing_is_missed, ages_block_twice,
	  reads_and_tells),
	P("use, idle", idle, nothing_is_missed, ages_block, reads_and_tells),
	P("populate, looked at once", looked_at_once, nothing_is_missed, ages_block_twice,
	  populates_young_and_tells),
	P("populate, idle", idle, nothing_is_missed, ages_block, populates_young_and_tells),
	P("collapse, idle", small_and_idle, huge_and_nothing_is_missed, ages_block,
	  collapses_and_tells),
	P("collapse, used", small_and_idle, huge_and_nothing_is_missed, reads_and_tells,
	  collapses_and_tells),
	P("aged, cut off", looked_at_once, nothing_is_missed, ages_block, zaps_block),
	P("populate, two levels", two_idle, upper_misses_nothing, ages_two_levels,
	  populates_young_and_tells),
	P("populate, upper used", upper_used, upper_misses_nothing, ages_two_levels,
	  populates_young_and_tells),
	P3("use, aged by two", way_is_cached, ages_block, reads_and_tells, ages_what_was_told),
	P3("use, two, looked at once", looked_at_once, ages_block, reads_and_tells,
	   ages_what_was_told),
	P3("use, two, idle before", idle_before, ages_block, reads_and_tells, ages_what_was_told),
	P3("populate, two", idle, ages_block, populates_young_and_tells, ages_what_was_told),
};

static void every_order(void **state)
{
	worlds_hold(*state, programs, ARRAY_LEN(programs));
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order, has_table_a),
	};

	return test_run("idle", cases, ARRAY_LEN(cases));
}

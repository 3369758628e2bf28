/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F01, Xen 2026 (CVE-2026-23554): flushes were put off until the lock of the tables was dropped, but a table
 * that a larger page replaced under that lock went back to its pool at once. Another vCPU still walked
 * through it by its walk cache, and by then somebody else wrote there.
 *
 * Here a table is replaced by a huge page, cut off with its range, and unlinked by its address while a vCPU
 * that has cached the way to it goes on walking, in every order of their steps and with the grace period
 * ending whenever it may. A freed table is a trap.
 */
#include "explore/world.h"

static tdp_pa_t table;

static int find_table(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	if (visit->level == 1 && visit->gpa == w.gpa)
		table = visit->pa;
	return 0;
}

/* Small pages, as a huge one could be made of; vCPU 1 knows the table, but only the first page. */
static void walked(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
	must(guest(1, page(0), TDP_W), "map");
	must(tdp_walk(w.vm.mm, 0, block(), TDP_WALK_TABLE_PRE, find_table, NULL), "walk");
}

static void replaced_by_huge_page(void *arg)
{
	(void)arg;
	must(tdp_collapse(w.vm.mm, 0, block(), 0, NULL), "collapse");
}

static void cut_off(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static void unlinked(void *arg)
{
	(void)arg;
	must(tdp_zap_table(w.vm.mm, table), "zap table");
}

/* What it has not cached as a translation it looks up where it knows the table to be. */
static void walks_on(void *arg)
{
	(void)arg;
	access_once(1, page(1), TDP_R);
	access_once(1, page(2), TDP_W);
}

static const struct world_program programs[] = {
	{.name = "huge page over a walked table",
	 .build = walked,
	 .actor = {replaced_by_huge_page, walks_on}},
	{.name = "a walked table is cut off", .build = walked, .actor = {cut_off, walks_on}},
	{.name = "a walked table is unlinked", .build = walked, .actor = {unlinked, walks_on}},
};

static bool one_of_each(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void no_walk_through_a_freed_table(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(no_walk_through_a_freed_table, one_of_each),
	};

	return test_run("museum/F01", cases, ARRAY_LEN(cases));
}

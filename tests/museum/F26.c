/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F26, an erratum of Arm cores (CVE-2025-10263, worked around by Hafnium in 2026): a flush completes although a
 * store of another core, translated before it, has not landed yet, so the store becomes visible after the
 * page was taken away.
 *
 * A second flush is up to the walker. What the library has to see to is the same shape: a store by a
 * translation of before sets Dirty in a table that is cut off already, at any moment until the flush. Here
 * it does so in every order of the steps, and the page must be in the log when all is over.
 */
#include "explore/world.h"

/* vCPU 1 has page 0 cached clean: its next write finds the entry, wherever that is by then. */
static void clean_in_the_tlb(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned n = 0; n < 2; n++)
		must(guest(1, page(n), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
	must(guest(1, page(0), TDP_R), "read");
}

static void stores(void *arg)
{
	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0)
		tell(0);
}

static void cuts_off(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static void takes_the_page(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
}

static int the_store_is_in_the_log(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return w.flag[0] && !(bits & 1);
}

static const struct world_program programs[] = {
	{.name = "store beside a cut",
	 .build = clean_in_the_tlb,
	 .judge = the_store_is_in_the_log,
	 .actor = {stores, cuts_off}},
	{.name = "store beside a zap",
	 .build = clean_in_the_tlb,
	 .judge = the_store_is_in_the_log,
	 .actor = {stores, takes_the_page}},
};

/* Formats whose MMU sets Dirty. */
static bool one_of_each(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void no_store_is_lost(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE_IF(no_store_is_lost, one_of_each)};

	return test_run("museum/F26", cases, ARRAY_LEN(cases));
}

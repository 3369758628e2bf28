/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F04, KVM x86 2022 (caught before it was released): a zap left its flush to the caller, who did it after the
 * RCU read section, while the tables it had unlinked waited for exactly that section to end. Their pages
 * could be freed before the flush.
 *
 * Here tables are unlinked one after the other in a zap that gives way in between, in a compaction and in
 * a walk that takes several, while a vCPU walks by what it has cached, in every order and with grace periods
 * that end at the first moment at which they may.
 */
#include "explore/world.h"

static tdp_gpa_t second(unsigned n)
{
	return w.gpa + w.block + n * TEST_PAGE;
}

/* From the middle of the first block: what lies wholly inside is cut off, the edges are emptied. */
static struct tdp_range middle(void)
{
	struct tdp_range r = {page(2), 2 * w.block};

	return r;
}

/* Three tables; vCPU 1 knows the way to the first two. */
static void tables(void)
{
	linear_slot(3 * w.block, TDP_SLOT_FORCE_4K);
	for (unsigned n = 0; n < 3; n++) {
		must(guest(0, page(n), TDP_W), "map");
		must(guest(0, second(n), TDP_W), "map");
	}
	must(guest(0, second(0) + w.block, TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
	must(guest(1, second(0), TDP_W), "map");
}

static void tables_and_yields(void)
{
	tables();
	test_env_yield(&w.vm.env, TEST_YIELD_ALWAYS, 0);
}

/* vCPU 1 still holds the way to a table that has become empty. */
static void emptied(void)
{
	struct tdp_range r = {second(0), 3 * TEST_PAGE};

	tables();
	must(tdp_zap(w.vm.mm, 0, r, 0), "zap");
	access_once(1, second(3), TDP_R);
}

static void zaps(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, middle(), 0), "zap");
}

static void compacts(void *arg)
{
	(void)arg;
	must(tdp_compact(w.vm.mm, 0, middle()), "compact");
}

static void walks_on(void *arg)
{
	(void)arg;
	access_once(1, page(2), TDP_R);
	access_once(1, second(1), TDP_R);
}

static const struct world_program programs[] = {
	{.name = "tables cut off", .build = tables, .actor = {zaps, walks_on}},
	{.name = "the same in steps", .build = tables_and_yields, .actor = {zaps, walks_on}},
	{.name = "an empty table freed", .build = emptied, .actor = {compacts, walks_on}},
};

static bool one_of_each(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void flush_before_grace_period(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(flush_before_grace_period, one_of_each),
	};

	return test_run("museum/F04", cases, ARRAY_LEN(cases));
}

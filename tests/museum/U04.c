/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U04, KVM RISC-V 2026: the notifier looked for a leaf without the lock that teardown held while it freed the
 * tables. What protects a look in this library is the read-side section: tables are freed a grace period after
 * they were cut off. Here looks run beside a removal in every order, freed tables are full of traps: each look
 * finds the page, or nothing.
 */
#include "explore/world.h"

#include "orders.h"

static void young_page(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(0), TDP_W), "map");
}

static void looks(void *arg)
{
	struct tdp_mapping m;

	(void)arg;
	if (orders_mapped(0, &m) && m.pa != PA)
		tdp_explore_fail("a look ended in a freed table");
}

/* Page 1 never was: whoever finds it young read a trap. */
static void asks_for_young(void *arg)
{
	(void)arg;
	if (tdp_test_age(w.vm.mm, 0, pages(1, 1)) != 0)
		tdp_explore_fail("a page that never was is young");
}

static void tears_down(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "translate beside teardown",
		 .build = young_page,
		 .actor = {looks, tears_down}},
		{.name = "test age beside teardown",
		 .build = young_page,
		 .actor = {asks_for_young, tears_down}},
	};

	return orders_run("museum/U04", programs, ARRAY_LEN(programs));
}

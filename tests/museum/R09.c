/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R09, KVM s390 2020: two CPUs made the same shadow table; the second noticed, set an error, and went on: the
 * first one's table was overwritten, with all that was below it. Here two vCPUs fault where no table is, in
 * every order: both pages are mapped, in one table, and the tables that lost are back in their vCPU's cache.
 */
#include "explore/world.h"

#include "orders.h"

static void no_tables(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
}

static void guest0_writes(void *arg)
{
	(void)arg;
	w.status[0] = guest(0, page(0), TDP_W);
}

static void guest1_writes(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(1), TDP_W);
}

static int both_in_one_table(void)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct tdp_mapping m0, m1;

	if (w.status[0] != TEST_OK || w.status[1] != TEST_OK || !orders_mapped(0, &m0) ||
	    !orders_mapped(1, &m1) || m0.pa != PA || m1.pa != PA + TEST_PAGE)
		return 1;
	if (tdp_stats(w.vm.mm, &stats) || stats.leaves[0] != 2)
		return 1;
	for (unsigned level = 0; level + 1 < w.vm.info.levels; level++)
		if (stats.tables[level] != 1)
			return 1;
	return 0;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "first beside first",
		 .build = no_tables,
		 .judge = both_in_one_table,
		 .actor = {guest0_writes, guest1_writes}},
	};

	return orders_run("museum/R09", programs, ARRAY_LEN(programs));
}

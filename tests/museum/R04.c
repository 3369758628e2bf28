/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R04, KVM x86 2022: a new table was linked first and described after; a fault that came by in between saw a
 * table without its flag and did the wrong thing with it. Here a fault makes tables while others look at them,
 * in every order: each table that can be found knows its level, its address and its root at once.
 */
#include "explore/world.h"

#include "orders.h"

static void no_tables(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	/* One far away, so that not all is new. */
	must(test_vm_slot(&w.vm, 0, 0, TEST_PAGE, 2 * PA, 0, NULL), "slot");
	must(guest(0, 0, TDP_W), "map");
}

static void guest_writes(void *arg)
{
	(void)arg;
	w.status[0] = guest(0, page(0), TDP_W);
}

static int describes_itself(void *arg, const struct tdp_visit *v)
{
	uint64_t entries = (uint64_t)1 << w.vm.info.index_lg2;
	tdp_gpa_t gpa = ~(tdp_gpa_t)0;
	uint32_t as = 9;

	(void)arg;
	/* A leaf has nothing more to say; the entry over page 0 covers it. */
	if (v->kind == TDP_ENTRY_LEAF)
		return 0;
	if (tdp_table_gpa(w.vm.mm, v->pa, 1, &gpa, &as) != TDP_OK)
		tdp_explore_fail("a table can be found that nobody knows");
	else if (gpa != (page(0) >> v->lg2 << v->lg2) + ((uint64_t)1 << v->lg2) / entries || as)
		tdp_explore_fail("a table does not know its place");
	return 0;
}

static void looks(void *arg)
{
	(void)arg;
	must(tdp_walk(w.vm.mm, 0, pages(0, 1), TDP_WALK_TABLE_PRE, describes_itself, NULL), "walk");
}

static void guest_writes_neighbour(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(1), TDP_W);
}

static int both_are_served(void)
{
	struct tdp_mapping m;

	return w.status[0] != TEST_OK || w.status[1] != TEST_OK || !orders_mapped(0, &m) ||
	       m.pa != PA;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "new tables beside look",
		 .build = no_tables,
		 .judge = both_are_served,
		 .preemptions = 4,
		 .actor = {guest_writes, looks}},
		{.name = "new tables beside fault",
		 .build = no_tables,
		 .judge = both_are_served,
		 .preemptions = 3,
		 .actor = {guest_writes, guest_writes_neighbour}},
	};

	return orders_run("museum/R04", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U06, KVM x86 2022 (CVE-2022-45869): making room for tables wanted the lock for writing, but a fault called it
 * with the lock for reading: two vCPUs zapped the same tables at once. Here two threads unlink one table, or
 * one does while the other removes what it maps, in every order: exactly one gets it, and every table is
 * counted once.
 */
#include "explore/world.h"

#include "orders.h"

static tdp_pa_t table;

static int lowest(void *arg, const struct tdp_visit *v)
{
	(void)arg;
	if (v->level == 1)
		table = v->pa;
	return 0;
}

static void one_table(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(0), TDP_W), "map");
	table = 0;
	must(tdp_walk(w.vm.mm, 0, block(), TDP_WALK_TABLE_PRE, lowest, NULL), "walk");
}

static void unlinks(unsigned n)
{
	w.status[n] = tdp_zap_table(w.vm.mm, table);
}

static void unlinks_0(void *arg)
{
	(void)arg;
	unlinks(0);
}

static void unlinks_1(void *arg)
{
	(void)arg;
	unlinks(1);
}

static void zaps(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static int one_got_it(void)
{
	struct tdp_mapping m;

	return w.status[0] + w.status[1] != TDP_OK + TDP_ENOENT || orders_mapped(0, &m);
}

static int gone(void)
{
	struct tdp_mapping m;

	return (w.status[0] != TDP_OK && w.status[0] != TDP_ENOENT) || orders_mapped(0, &m);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "unlink beside unlink",
		 .build = one_table,
		 .judge = one_got_it,
		 .actor = {unlinks_0, unlinks_1}},
		{.name = "unlink beside zap",
		 .build = one_table,
		 .judge = gone,
		 .actor = {unlinks_0, zaps}},
	};

	return orders_run("museum/U06", programs, ARRAY_LEN(programs));
}

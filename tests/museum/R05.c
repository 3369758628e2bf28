/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R05, Xen 2010: an EPT entry was updated field by field while others read it without a lock; they saw neither
 * the old nor the new one, took memory for MMIO, and the guest crashed. Here a page is split, merged or loses a
 * permission while somebody asks for its translation, in every order: the answer is always that page.
 */
#include "explore/world.h"

#include "orders.h"

static void huge_page(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
}

static void small_pages(void)
{
	huge_page();
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static void asks(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++) {
		struct tdp_mapping m;

		if (!orders_mapped(0, &m) || m.pa != PA || m.gpa != page(0))
			tdp_explore_fail("neither the old nor the new entry");
	}
}

static void splits(void *arg)
{
	(void)arg;
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static void merges(void *arg)
{
	(void)arg;
	must(tdp_collapse(w.vm.mm, 0, block(), 0, NULL), "collapse");
}

static void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(w.vm.mm, 0, pages(0, 1)), "protect");
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "look beside split", .build = huge_page, .actor = {asks, splits}},
		{.name = "look beside merge", .build = small_pages, .actor = {asks, merges}},
		{.name = "look beside protect", .build = huge_page, .actor = {asks, protects}},
	};

	return orders_run("museum/R05", programs, ARRAY_LEN(programs));
}

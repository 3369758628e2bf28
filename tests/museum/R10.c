/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R10, Xen 2020 (XSA-328), DdiMon: a pointer to the live entry was handed out and its fields were filled in one
 * after the other; another CPU saw a half-built one. Here a walker looks at a page at every moment while it is
 * mapped, split, merged, protected: it finds the page, or faults as on nothing, and never anything else (a wrong
 * address, a misconfiguration).
 */
#include "explore/world.h"

#include "orders.h"

static void nothing(void)
{
	linear_slot(w.block, 0);
}

static void small_nothing(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(1), TDP_W), "map");
}

static void huge_page(void)
{
	nothing();
	must(guest(0, page(0), TDP_W), "map");
}

static void small_pages(void)
{
	huge_page();
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static void walks(void *arg)
{
	(void)arg;
	for (unsigned i = 0; i < 2; i++) {
		struct tdp_emu_exit exit;
		int reason = tdp_emu_access(w.vm.cpu[1].emu, page(0), TDP_R, &exit);

		if (reason == TDP_EMU_OK ? exit.pa != PA : reason == TDP_EMU_EPT_MISCONFIG)
			tdp_explore_fail("a walk saw half an entry");
	}
}

static void maps(void *arg)
{
	(void)arg;
	must(guest(0, page(0), TDP_W), "write");
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
		{.name = "walk beside huge fault", .build = nothing, .actor = {walks, maps}},
		{.name = "walk beside fault", .build = small_nothing, .actor = {walks, maps}},
		{.name = "walk beside split", .build = huge_page, .actor = {walks, splits}},
		{.name = "walk beside merge", .build = small_pages, .actor = {walks, merges}},
		{.name = "walk beside protect", .build = huge_page, .actor = {walks, protects}},
	};

	return orders_run("museum/R10", programs, ARRAY_LEN(programs));
}

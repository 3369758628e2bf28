/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R13, Gunyah 2021: to change a mapping it was made invalid, flushed and made anew; a CPU that used it in that
 * moment took a fault that was meant for nobody, and panicked. Here guests use a page while it is split or
 * merged, in every order: whoever comes in between waits, or comes again, and is served in the end.
 */
#include "explore/world.h"

#include "orders.h"

static void huge_page(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	tdp_emu_backend.flush_all(w.vm.emu);
}

static void small_pages(void)
{
	huge_page();
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

/* Only small pages may be written now: the fault wants to go below. */
static void logged(void)
{
	huge_page();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
}

/* No status, no MMIO: memory, or again. */
static void guest_writes(void *arg)
{
	struct test_access a;
	int answer = test_vm_access(&w.vm, 1, page(0), TDP_W, &a);

	(void)arg;
	if (answer != TEST_OK && (answer != TEST_OUTCOME || a.outcome != TDP_FAULT_RETRY))
		tdp_explore_fail("a guest that came in between was sent away");
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

static int is_served(void)
{
	return guest(1, page(0), TDP_W) != TEST_OK;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "write beside split",
		 .build = huge_page,
		 .judge = is_served,
		 .actor = {guest_writes, splits}},
		{.name = "write beside merge",
		 .build = small_pages,
		 .judge = is_served,
		 .actor = {guest_writes, merges}},
		{.name = "logged write beside split",
		 .build = logged,
		 .judge = is_served,
		 .actor = {guest_writes, splits}},
	};

	return orders_run("museum/R13", programs, ARRAY_LEN(programs));
}

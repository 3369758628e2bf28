/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A04, KVM x86 2022: a page that had lost W to the dirty log (not flushed yet) was then to be protected because
 * it held a guest page table; W was clear already, so nothing was done: neither flushed, nor was the right to
 * give W back taken away. Here somebody takes W while another begins to track the page, in every order: once
 * tracking has begun no write goes through, neither by what a vCPU has cached nor by a fault.
 */
#include "explore/world.h"

#include "orders.h"

static void writable(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		must(guest(cpu, page(0), TDP_W), "map");
}

static void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(w.vm.mm, 0, pages(0, 1)), "protect");
}

static void tracks(void *arg)
{
	(void)arg;
	must(tdp_write_track(w.vm.mm, 0, pages(0, 1), true), "track");
	tell(0);
}

static void writes(void *arg)
{
	bool tracked = told(0);

	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK && tracked)
		tdp_explore_fail("a write to a tracked page went through");
}

static int stays_tracked(void)
{
	struct test_access a;

	return test_vm_access(&w.vm, 0, page(0), TDP_W, &a) != TEST_OUTCOME ||
	       a.outcome != TDP_FAULT_TRACKED;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "track beside protect",
		 .build = writable,
		 .judge = stays_tracked,
		 .preemptions = 4,
		 .actor = {protects, tracks, writes}},
	};

	return orders_run("museum/A04", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R11, Xen 2014 (XSA-104): whether tracking of video memory was on was looked at without the lock: two calls
 * both freed it, or both made it anew and one was lost. Here two threads begin to track, or to log, pages of a
 * slot that has no tracking yet, in every order: all pages asked for are tracked, and what was allocated for it
 * is freed with the slot, once.
 */
#include "explore/world.h"

#include "orders.h"

static void untracked(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(0), TDP_W), "map");
}

static void tracks_0(void *arg)
{
	(void)arg;
	must(tdp_write_track(w.vm.mm, 0, pages(0, 1), true), "track");
}

static void tracks_1(void *arg)
{
	(void)arg;
	must(tdp_write_track(w.vm.mm, 0, pages(1, 1), true), "track");
}

static void on_and_off(void *arg)
{
	tracks_1(arg);
	must(tdp_write_track(w.vm.mm, 0, pages(1, 1), false), "untrack");
}

static bool tracked(unsigned n)
{
	struct test_access a;

	return test_vm_access(&w.vm, 0, page(n), TDP_W, &a) == TEST_OUTCOME &&
	       a.outcome == TDP_FAULT_TRACKED;
}

static int both_tracked(void)
{
	return !tracked(0) || !tracked(1) || tdp_slot_remove(w.vm.mm, w.slot);
}

static int first_tracked(void)
{
	return !tracked(0) || tracked(1) || tdp_slot_remove(w.vm.mm, w.slot);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "track beside track",
		 .build = untracked,
		 .judge = both_tracked,
		 .preemptions = 3,
		 .actor = {tracks_0, tracks_1}},
		{.name = "track beside on and off",
		 .build = untracked,
		 .judge = first_tracked,
		 .preemptions = 3,
		 .actor = {tracks_0, on_and_off}},
	};

	return orders_run("museum/R11", programs, ARRAY_LEN(programs));
}

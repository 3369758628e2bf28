/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A09, Xen 2022 (XSA-397): tracking of video memory switched the full dirty log on while another operation was
 * in the middle of switching it off; what was logged went into tables that had been freed. Here the log of a
 * slot is switched by two threads at once, in every order; afterwards it is switched on, and every write is in
 * it, also one whose page is unmapped before anybody asks.
 */
#include "explore/world.h"

#include "orders.h"

static void logging(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(1), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
}

static void not_logging(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(1), TDP_W), "map");
}

static void switches_off(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_OFF), "off");
}

static void switches_on(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "on");
}

static int still_works(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "on");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	/* Once by a fault, which notes it; then by the leaf's Dirty bit alone. */
	must(guest(0, page(0), TDP_W), "write");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	must(access_once(0, page(0), TDP_W), "write again");
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return !(bits & 1);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "off beside off",
		 .build = logging,
		 .judge = still_works,
		 .actor = {switches_off, switches_off}},
		{.name = "off beside on",
		 .build = logging,
		 .judge = still_works,
		 .preemptions = 3,
		 .actor = {switches_off, switches_on}},
		{.name = "on beside on",
		 .build = not_logging,
		 .judge = still_works,
		 .preemptions = 3,
		 .actor = {switches_on, switches_on}},
	};

	return orders_run("museum/A09", programs, ARRAY_LEN(programs));
}

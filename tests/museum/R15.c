/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R15, Xen 2019: two vCPUs of one VM changed its views at the same time; each paused the VM, and waited for the
 * other to stop. What stops all vCPUs here is the invalidation of the roots. Two threads, each with a vCPU of its
 * own, do it at once, in every order: both return (a deadlock is a failure), no vCPU walks from an old root after
 * that, and both go on.
 */
#include "explore/world.h"

#include "orders.h"

static void both_run(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		must(guest(cpu, page(0), TDP_W), "map");
}

static void stops_all(unsigned cpu)
{
	must(tdp_roots_invalidate(w.vm.mm), "invalidate");
	/* What was mapped before is out of reach, for the other vCPU too, unless that has loaded again. */
	if (access_once(cpu, page(0), TDP_R) == 0)
		tdp_explore_fail("a walk from an old root");
}

static void first(void *arg)
{
	(void)arg;
	stops_all(0);
}

static void second(void *arg)
{
	(void)arg;
	stops_all(1);
}

static int both_go_on(void)
{
	return guest(0, page(0), TDP_W) != TEST_OK || guest(1, page(0), TDP_W) != TEST_OK;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "stop beside stop",
		 .build = both_run,
		 .judge = both_go_on,
		 .preemptions = 4,
		 .roots_matter = true,
		 .actor = {first, second}},
	};

	return orders_run("museum/R15", programs, ARRAY_LEN(programs));
}

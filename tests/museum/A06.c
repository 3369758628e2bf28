/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A06, KVM 2022: who took entries out of the dirty ring and who put them in agreed by flags that were read and
 * written without ordering, so entries got lost or torn. There is no ring here but a bitmap, with the same
 * question: a page that becomes dirty while its word is being taken is in this answer or in the next. Tried in
 * every order, with other pages of the same word coming in and going out.
 */
#include "explore/world.h"

#include "orders.h"

static void one_in_the_log(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		must(guest(cpu, page(0), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
	must(tdp_dirty_mark(w.vm.mm, w.slot, 1, 1), "mark");
}

static void guest_writes(void *arg)
{
	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK)
		tell(0);
}

static void host_writes(void *arg)
{
	(void)arg;
	must(tdp_dirty_mark(w.vm.mm, w.slot, 0, 1), "mark");
	tell(0);
}

static void harvests(void *arg)
{
	(void)arg;
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &w.bits[0], 1), "harvest");
}

static int each_once_at_least(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	bits |= w.bits[0];
	return !(bits & 2) || bits & ~(uint64_t)3 || (w.flag[0] && !(bits & 1));
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "guest beside harvest",
		 .build = one_in_the_log,
		 .judge = each_once_at_least,
		 .actor = {guest_writes, harvests}},
		{.name = "host beside harvest",
		 .build = one_in_the_log,
		 .judge = each_once_at_least,
		 .actor = {host_writes, harvests}},
	};

	return orders_run("museum/A06", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A02, KVM on PPC around 2015: to change a page's rights the entry was made invalid, then written back from a
 * copy that had been read before that; what the processor had recorded in between, that the page was changed,
 * was gone. Here a clean huge page is split (through an invalid entry where the architecture wants that) beside
 * a guest that writes to it, in every order: what the guest has written is dirty afterwards.
 */
#include "explore/world.h"

#include "orders.h"

static void clean_huge_page(void)
{
	uint64_t bits;

	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT | TDP_LOG_INITIALLY_SET), "log");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_OFF), "log");
	/* Writable again, by a fault; and then old, so that the next walk sets bits. */
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
	must(tdp_populate(w.vm.mm, 0, block(), 0, NULL), "populate");
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
	tdp_emu_backend.flush_all(w.vm.emu);
}

static void splits(void *arg)
{
	(void)arg;
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static void writes(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(0), TDP_W);
}

static int is_dirty(void)
{
	struct tdp_mapping m;

	return w.status[1] != TEST_OK || !orders_mapped(0, &m) || m.lg2 != TDP_PAGE_LG2 ||
	       !(m.flags & TDP_MAP_ACCESSED) || !(m.flags & TDP_MAP_DIRTY);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "split beside write",
		 .build = clean_huge_page,
		 .judge = is_dirty,
		 .actor = {splits, writes}},
	};

	return orders_run("museum/A02", programs, ARRAY_LEN(programs));
}

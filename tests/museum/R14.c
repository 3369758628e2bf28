/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R14, Xen 2017: a nested table was emptied with memset() while CPUs were still walking it, and marked unused
 * only then. A table that is cut off here is not touched before every CPU has let go of it. A guest writes to
 * pages of a table that is cut off at that moment, in every order: what it has written is in the log, which it
 * could not be if the table had been emptied under it; and a page it reaches is its own.
 */
#include "explore/world.h"

#include "orders.h"

static void clean_and_logged(void)
{
	uint64_t bits;

	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned n = 0; n < 2; n++)
		must(guest(1, page(n), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	/* The walk is cached, and the clean translation. */
	must(access_once(1, page(1), TDP_R), "read");
}

static void writes(void *arg)
{
	struct tdp_emu_exit exit;

	(void)arg;
	if (tdp_emu_access(w.vm.cpu[1].emu, page(0), TDP_W, &exit) != TDP_EMU_OK)
		return;
	if (exit.pa != PA)
		tdp_explore_fail("a walk saw what had been there");
	tell(0);
}

static void cuts_off(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static int written_is_known(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return w.flag[0] && !(bits & 1);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "write beside cut",
		 .build = clean_and_logged,
		 .judge = written_is_known,
		 .actor = {writes, cuts_off}},
	};

	return orders_run("museum/R14", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A01, KVM x86 2022: with the lock held for writing the code read an entry and stored a new one; the processor,
 * which takes no lock, had set Dirty in between, and the store took it away. Here each operation that rewrites a
 * clean leaf of a logged slot runs beside a guest that writes there, in every order: a write that has ended is
 * in the log, whatever became of the leaf. Also of eight in a row, which loops change together.
 */
#include "explore/world.h"

#include "orders.h"

/* The first `young` of `mapped` pages are young, so that aging has something to take away. */
static void clean_pages(unsigned mapped, unsigned young)
{
	uint64_t bits;

	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < mapped; n++)
			must(guest(cpu, page(n), TDP_W), "map");
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	tdp_emu_backend.flush_all(w.vm.emu);
	for (unsigned n = 0; n < young; n++)
		must(access_once(0, page(n), TDP_R), "read");
}

static void clean_and_logged(void)
{
	clean_pages(2, 1);
}

static void eight_clean(void)
{
	clean_pages(8, 8);
}

static void writes(void *arg)
{
	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0)
		tell(0);
}

static void ages(void *arg)
{
	(void)arg;
	must(tdp_age(w.vm.mm, 0, pages(0, 2), NULL), "age");
}

static void ages_eight(void *arg)
{
	(void)arg;
	must(tdp_age(w.vm.mm, 0, pages(0, 8), NULL), "age");
}

static void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(w.vm.mm, 0, pages(0, 2)), "protect");
}

static void zaps(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 2), 0), "zap");
}

static void harvests(void *arg)
{
	(void)arg;
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &w.bits[0], 1), "harvest");
}

static int written_is_known(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return w.flag[0] && !((bits | w.bits[0]) & 1);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "age beside write",
		 .build = clean_and_logged,
		 .judge = written_is_known,
		 .actor = {writes, ages}},
		{.name = "age of eight beside write",
		 .build = eight_clean,
		 .judge = written_is_known,
		 .actor = {writes, ages_eight}},
		{.name = "protect beside write",
		 .build = clean_and_logged,
		 .judge = written_is_known,
		 .actor = {writes, protects}},
		{.name = "zap beside write",
		 .build = clean_and_logged,
		 .judge = written_is_known,
		 .actor = {writes, zaps}},
		{.name = "harvest beside write",
		 .build = clean_and_logged,
		 .judge = written_is_known,
		 .actor = {writes, harvests}},
	};

	return orders_run("museum/A01", programs, ARRAY_LEN(programs));
}

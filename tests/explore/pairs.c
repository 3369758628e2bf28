/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two or three operations on a few pages in every order of their steps. The emulated walker tells of every
 * access through what is gone, freed tables are traps, each order ends with a check of the whole tree.
 */
#include "world.h"

/* ---- what stands there before ---- */

static void nothing_mapped(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
}

static void neighbour_mapped(void)
{
	nothing_mapped();
	must(guest(0, page(1), TDP_W), "map");
}

static void paged_nothing(void)
{
	paged_slot();
}

static void paged_neighbour(void)
{
	paged_slot();
	must(guest(0, page(1), TDP_W), "map");
}

static void paged_mapped(void)
{
	paged_neighbour();
	must(guest(0, page(0), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
}

static void cached_everywhere(void)
{
	nothing_mapped();
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 2; n++)
			must(guest(cpu, page(n), TDP_W), "map");
}

static void huge_page(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
}

/* Walks set Accessed and Dirty, and nothing is cached. */
static void forget_all(void)
{
	must(tdp_age(w.vm.mm, 0, block(), NULL), "age");
	tdp_emu_backend.flush_all(w.vm.emu);
}

static void huge_and_uncached(void)
{
	huge_page();
	forget_all();
}

static void huge_and_protected(void)
{
	huge_page();
	must(tdp_write_protect(w.vm.mm, 0, block()), "protect");
}

static void mapped_and_uncached(void)
{
	cached_everywhere();
	forget_all();
}

/* A huge page's worth of small ones, all alike. */
static void small_pages(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(0), TDP_W), "map");
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
	must(guest(1, page(0), TDP_W), "map");
}

/* The same, of which one is write-protected. */
static void one_protected(void)
{
	small_pages();
	must(tdp_write_protect(w.vm.mm, 0, pages(1, 1)), "protect");
}

static void logged(void)
{
	cached_everywhere();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_AUTO), "log");
	must(guest(0, page(1), TDP_W), "write");
}

static void logged_by_protection(void)
{
	cached_everywhere();
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
}

/* ---- actors ---- */

static void guest0_writes(void *arg)
{
	(void)arg;
	w.status[0] = guest(0, page(0), TDP_W);
}

static void guest1_writes(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(0), TDP_W);
}

static void guest1_writes_neighbour(void *arg)
{
	(void)arg;
	w.status[1] = guest(1, page(1), TDP_W);
}

/* Through what it has cached, or not at all. */
static void guest1_looks(void *arg)
{
	(void)arg;
	access_once(1, page(0), TDP_R);
}

static void zaps_page(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
}

static void zaps_page_and_reuses(void *arg)
{
	zaps_page(arg);
	reuse(PA);
}

static void zaps_block(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
}

static void zaps_block_and_reuses(void *arg)
{
	zaps_block(arg);
	reuse(PA);
}

static void replaces(void *arg)
{
	(void)arg;
	replace_page(0);
}

static void removes_slot(void *arg)
{
	(void)arg;
	must(tdp_slot_remove(w.vm.mm, w.slot), "remove");
	for (unsigned n = 0; n < 2; n++)
		reuse(PA + n * TEST_PAGE);
}

static void splits(void *arg)
{
	(void)arg;
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
}

static void collapses(void *arg)
{
	(void)arg;
	must(tdp_collapse(w.vm.mm, 0, block(), 0, NULL), "collapse");
}

static void ages(void *arg)
{
	(void)arg;
	must(tdp_age(w.vm.mm, 0, pages(0, 2), NULL), "age");
}

static void invalidates_roots(void *arg)
{
	(void)arg;
	must(tdp_roots_invalidate(w.vm.mm), "invalidate");
	must(tdp_roots_reclaim(w.vm.mm, 0), "reclaim");
}

static void harvests(void *arg)
{
	uint64_t bits = 0;

	(void)arg;
	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	w.bits[0] |= bits;
	tell(1);
}

static void protects(void *arg)
{
	(void)arg;
	must(tdp_write_protect(w.vm.mm, 0, pages(0, 1)), "protect");
}

/* ---- promises ---- */

static bool mapped(unsigned n, struct tdp_mapping *m)
{
	m->size = (uint32_t)sizeof(*m);
	return tdp_translate(w.vm.mm, 0, page(n), m) == TDP_OK;
}

static int both_are_served(void)
{
	struct tdp_mapping m;

	return w.status[0] || w.status[1] || !mapped(0, &m) || m.pa != PA || !(m.prot & TDP_W);
}

static int neighbours_are_served(void)
{
	struct tdp_mapping m;

	return both_are_served() || !mapped(1, &m) || m.pa != PA + TEST_PAGE;
}

/* The guest was served (then what it has is today's page), or told to come again. */
static int today_or_again(void)
{
	struct tdp_mapping m;

	if (mapped(0, &m) && m.pa != w.pa[0])
		return 1;
	return w.status[0] < 0 || (w.status[0] != TEST_OK && w.status[0] != TEST_OUTCOME);
}

static int guest1_is_served(void)
{
	struct tdp_mapping m;

	return w.status[1] || !mapped(0, &m) || m.pa != PA || !(m.prot & TDP_W);
}

/* The MMU's Dirty bit is not lost, whatever happens to the leaf meanwhile. */
static int guest1_has_written(void)
{
	struct tdp_mapping m;

	if (!(w.vm.info.ad & 2)) /* aging takes it away together with W */
		return w.status[1] != TEST_OK;
	return w.status[1] == TEST_OK && (!mapped(0, &m) || !(m.flags & TDP_MAP_DIRTY));
}

static int nothing_is_left(void)
{
	struct tdp_mapping m;

	return mapped(0, &m) || mapped(1, &m);
}

/* ---- after a protection has returned the next write faults ---- */

static void protects_and_tells(void *arg)
{
	protects(arg);
	tell(0);
}

static void logs_and_tells(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_WRPROT), "log");
	tell(0);
}

static void writes_unnoticed(void *arg)
{
	bool promised = told(0);

	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0 && promised)
		tdp_explore_fail("a write was not noticed");
}

/* ---- every write that ended before a harvest began is in an answer ---- */

static void writes_then_tells(void *arg)
{
	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0)
		tell(0);
}

static void harvests_what_was_told(void *arg)
{
	bool written = told(0);

	harvests(arg);
	if (written && !(w.bits[0] & 1))
		tdp_explore_fail("a write that had ended is not in the harvest");
}

static int written_is_in_some_answer(void)
{
	uint64_t bits = 0;

	must(tdp_dirty_harvest(w.vm.mm, w.slot, 0, &bits, 1), "harvest");
	return w.flag[0] && !((bits | w.bits[0]) & 1);
}

static void guest_writes_logged(void *arg)
{
	(void)arg;
	if (guest(1, page(0), TDP_W) == TEST_OK)
		tell(0);
}

/* ---- the programs ---- */

static bool has_dirty(const struct test_format *fmt)
{
	return !(fmt->without_caps & (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)) &&
	       !(fmt->mm_flags & TDP_MM_NO_HW_AD);
}

static void logs_by_dirty_and_tells(void *arg)
{
	(void)arg;
	must(tdp_dirty_log(w.vm.mm, w.slot, TDP_LOG_DBIT), "log");
	tell(1);
}

/* Written after the log was on: in the next harvest. */
static void writes_after_log(void *arg)
{
	bool on = told(1);

	(void)arg;
	if (access_once(1, page(0), TDP_W) == 0 && on)
		tell(0);
}

static const struct world_program programs[] = {
	{.name = "fault beside fault",
	 .build = nothing_mapped,
	 .judge = both_are_served,
	 .actor = {guest0_writes, guest1_writes}},
	{.name = "fault beside neighbour",
	 .build = nothing_mapped,
	 .judge = neighbours_are_served,
	 .actor = {guest0_writes, guest1_writes_neighbour}},
	{.name = "fault beside zap",
	 .build = neighbour_mapped,
	 .actor = {guest0_writes, zaps_page}},
	{.name = "fault beside zap of block",
	 .build = neighbour_mapped,
	 .actor = {guest0_writes, zaps_block}},
	{.name = "fault beside invalidation",
	 .build = paged_neighbour,
	 .judge = today_or_again,
	 .actor = {guest0_writes, replaces}},
	{.name = "the same, new table",
	 .build = paged_nothing,
	 .judge = today_or_again,
	 .actor = {guest0_writes, replaces}},
	{.name = "the same, mapped",
	 .build = paged_mapped,
	 .judge = today_or_again,
	 .actor = {guest0_writes, replaces}},
	{.name = "fault beside slot removal",
	 .build = neighbour_mapped,
	 .judge = nothing_is_left,
	 .actor = {guest0_writes, removes_slot}},
	{.name = "the same, mapped",
	 .build = cached_everywhere,
	 .judge = nothing_is_left,
	 .actor = {guest0_writes, removes_slot}},
	{.name = "zap beside zap",
	 .build = cached_everywhere,
	 .actor = {zaps_page_and_reuses, zaps_page, guest1_looks}},
	{.name = "zap beside cut",
	 .build = cached_everywhere,
	 .actor = {zaps_page_and_reuses, zaps_block, guest1_looks}},
	{.name = "cut beside cut",
	 .build = cached_everywhere,
	 .actor = {zaps_block_and_reuses, zaps_block, guest1_looks}},
	{.name = "split beside fault",
	 .build = huge_and_protected,
	 .judge = guest1_is_served,
	 .actor = {splits, guest1_writes}},
	{.name = "split beside walk",
	 .build = huge_and_uncached,
	 .judge = guest1_has_written,
	 .actor = {splits, guest1_writes}},
	{.name = "split beside zap",
	 .build = huge_page,
	 .actor = {splits, zaps_page_and_reuses, guest1_looks}},
	{.name = "collapse beside fault",
	 .build = small_pages,
	 .actor = {collapses, guest1_writes}},
	{.name = "collapse beside zap",
	 .build = small_pages,
	 .actor = {collapses, zaps_page_and_reuses, guest1_looks}},
	{.name = "age beside zap",
	 .build = cached_everywhere,
	 .actor = {ages, zaps_page_and_reuses, guest1_looks}},
	{.name = "age beside guest",
	 .build = mapped_and_uncached,
	 .judge = guest1_has_written,
	 .actor = {ages, guest1_writes}},
	{.name = "invalid root beside fault",
	 .build = cached_everywhere,
	 .roots_matter = true,
	 .actor = {invalidates_roots, guest1_writes}},
	{.name = "protect beside protect",
	 .build = cached_everywhere,
	 .actor = {protects, protects_and_tells, writes_unnoticed}},
	{.name = "log beside protect",
	 .build = cached_everywhere,
	 .actor = {protects, logs_and_tells, writes_unnoticed}},
	{.name = "log beside cut",
	 .build = cached_everywhere,
	 .actor = {zaps_block, logs_and_tells, writes_unnoticed}},
	{.name = "log beside collapse",
	 .build = one_protected,
	 .actor = {collapses, logs_and_tells, writes_unnoticed}},
	{.name = "log by D beside collapse",
	 .build = one_protected,
	 .judge = written_is_in_some_answer,
	 .wanted = has_dirty,
	 .preemptions = 3,
	 .actor = {collapses, logs_by_dirty_and_tells, writes_after_log}},
	{.name = "harvest beside write",
	 .build = logged,
	 .judge = written_is_in_some_answer,
	 .actor = {writes_then_tells, harvests_what_was_told}},
	{.name = "harvest beside guest",
	 .build = logged_by_protection,
	 .judge = written_is_in_some_answer,
	 .actor = {guest_writes_logged, harvests}},
	{.name = "harvest beside cut",
	 .build = logged,
	 .judge = written_is_in_some_answer,
	 .wanted = has_dirty,
	 .preemptions = 4,
	 .actor = {writes_then_tells, harvests_what_was_told, zaps_block}},
};

static bool one_of_each(const struct test_format *fmt)
{
	static const char *const names[] = {
		"ept4",
		"test",
#if !defined(__SANITIZE_ADDRESS__) /* takes several times as long */
		"ept4-noad",
		"npt4",
		"s2-40",
		"s2-noaf",
		"test-noad",
#endif
	};

	for (size_t i = 0; i < ARRAY_LEN(names); i++)
		if (!strcmp(names[i], fmt->name))
			return true;
	return false;
}

static void every_order_holds(void **state)
{
	const struct test_format *fmt = *state;
	const char *only = getenv("TDP_PROGRAM");

	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		if ((!programs[i].wanted || programs[i].wanted(fmt)) &&
		    (!only || !strcmp(only, programs[i].name)))
			world_holds(fmt, &programs[i]);
	printf("# %s: %llu orders in all\n", fmt->name, (unsigned long long)w.orders);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order_holds, one_of_each),
	};

	return test_run("pairs", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two or three operations on a few pages in every order of their steps. The emulated walker tells of every
 * access through what is gone, freed tables are traps, each order ends with a check of the whole tree.
 */
#include "actors.h"

/* ---- promises ---- */

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

static int guest0_is_served(void)
{
	return w.status[0] != TEST_OK && w.status[0] != TEST_OUTCOME;
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

/* Nothing at the old place; at the new one, if anything, the slot's memory. */
static int moved(void)
{
	struct tdp_mapping m = {.size = (uint32_t)sizeof(m)};

	if (mapped(0, &m) || mapped(1, &m))
		return 1;
	return tdp_translate(w.vm.mm, 0, w.gpa + 4 * w.block, &m) == TDP_OK && m.pa != PA;
}

static int nothing_is_left(void)
{
	struct tdp_mapping m;

	return mapped(0, &m) || mapped(1, &m);
}

static int page0_is_not_mapped(void)
{
	struct tdp_mapping m;

	return mapped(0, &m);
}

static int page0_cannot_be_written(void)
{
	struct tdp_mapping m;

	return mapped(0, &m) && m.prot & TDP_W;
}

/* Who may write is in the log. */
static int writable_is_logged(void)
{
	struct tdp_mapping m;
	uint64_t log = 0;

	must(tdp_dirty_get(w.vm.mm, w.slot, 0, &log, 1), "get");
	return mapped(0, &m) && m.prot & TDP_W && !(log & 1);
}

/* ---- the programs ---- */

static const struct world_program programs[] = {
	{.name = "fault beside fault",
	 .build = nothing_mapped,
	 .judge = both_are_served,
	 .actor = {guest0_writes, guest1_writes}},
	{.name = "fault beside neighbour",
	 .build = nothing_mapped,
	 .judge = neighbours_are_served,
	 .actor = {guest0_writes, guest1_writes_neighbour}},
	{.name = "straight beside straight",
	 .build = neighbours_mapped,
	 .judge = both_are_served,
	 .actor = {guest0_writes, guest1_writes}},
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
	{.name = "fault beside new owner",
	 .build = neighbour_mapped,
	 .judge = page0_is_not_mapped,
	 .actor = {guest0_writes, gives_page_away}},
	{.name = "fault beside tracking",
	 .build = neighbour_mapped,
	 .judge = page0_cannot_be_written,
	 .actor = {guest0_writes, tracks_page}},
	{.name = "fault beside log",
	 .build = neighbour_mapped,
	 .judge = writable_is_logged,
	 .actor = {guest0_writes, logs_by_protection}},
	{.name = "fault beside invalid root",
	 .build = neighbour_mapped,
	 .roots_matter = true,
	 .actor = {guest0_writes, invalidates_roots}},
	{.name = "zap beside zap",
	 .build = cached_everywhere,
	 .actor = {zaps_page_and_reuses, zaps_page, guest1_looks}},
	{.name = "zap beside cut",
	 .build = cached_everywhere,
	 .actor = {zaps_page_and_reuses, zaps_block, guest1_looks}},
	{.name = "zap of two beside cut",
	 .build = border_cached,
	 .actor = {zaps_border_and_reuses, zaps_block, guest1_looks_at_border}},
	{.name = "zap of table and hole beside cut",
	 .build = hole_beyond_border,
	 .actor = {zaps_border_and_reuses, zaps_block, guest1_looks_at_border}},
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
	{.name = "fault beside compact",
	 .build = cached_everywhere,
	 .actor = {zaps_page, compacts, guest1_writes_neighbour}},
	{.name = "populate beside zap",
	 .build = neighbour_mapped,
	 .actor = {populates, zaps_block}},
	{.name = "full table beside fault",
	 .build = empty_block,
	 .judge = guest0_is_served,
	 .actor = {guest0_writes, populates_block}},
	{.name = "full table beside slot removal",
	 .build = empty_block,
	 .judge = nothing_is_left,
	 .actor = {removes_slot, populates_block}},
	{.name = "full table beside new owner",
	 .build = empty_block,
	 .judge = page0_is_not_mapped,
	 .actor = {gives_page_away, populates_block}},
	{.name = "full table beside tracking",
	 .build = empty_block,
	 .judge = page0_cannot_be_written,
	 .preemptions = 3,
	 .actor = {tracks_page, populates_block}},
	{.name = "full table beside log",
	 .build = empty_block,
	 .judge = page0_cannot_be_written,
	 .actor = {logs_by_protection, populates_block}},
	{.name = "fault beside table zap",
	 .build = neighbour_mapped,
	 .judge = guest0_is_served,
	 .actor = {guest0_writes, zaps_a_table}},
	{.name = "table zap beside table zap",
	 .build = cached_everywhere,
	 .actor = {zaps_a_table, zaps_a_table, guest1_looks}},
	{.name = "fault beside slot move",
	 .build = neighbour_mapped,
	 .judge = moved,
	 .actor = {guest0_writes, moves_slot}},
	{.name = "load beside invalid root",
	 .build = cached_everywhere,
	 .roots_matter = true,
	 .preemptions = 3,
	 .actor = {invalidates_roots, loads_and_writes}},
	{.name = "split beside split",
	 .build = huge_and_uncached,
	 .judge = guest1_has_written,
	 .preemptions = 3,
	 .actor = {splits, splits, guest1_writes}},
};

static void every_order_holds(void **state)
{
	worlds_hold(*state, programs, ARRAY_LEN(programs));
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_order_holds, one_of_each),
	};

	return test_run("pairs", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F14, Hafnium 2021: defragmentation wrote a block over a live table entry on Arm, without making it invalid
 * and flushing first, so that a core could hold a block and a page for one address at once (a TLB conflict
 * abort, or worse).
 *
 * Here, on formats that ask for break-before-make, a table becomes a huge page and a huge page a table while
 * two vCPUs look at one address: once one of them sees the new size, the other may not see the old one.
 */
#include "explore/world.h"

/* Both sizes of one page: vCPU 0 has it cached, vCPU 1 knows at most the tables above. */
static void huge_in_one_tlb(void)
{
	linear_slot(w.block, 0);
	must(guest(0, page(1), TDP_W), "map");
}

static void small_in_one_tlb(void)
{
	huge_in_one_tlb();
	must(tdp_split(w.vm.mm, 0, block(), TDP_PAGE_LG2), "split");
	must(guest(0, page(1), TDP_W), "map");
	must(guest(1, page(0), TDP_W), "map");
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

static void both_look(bool to_huge)
{
	struct tdp_emu_exit first, second;

	if (tdp_emu_access(w.vm.cpu[1].emu, page(1), TDP_R, &first) != TDP_EMU_OK ||
	    (first.lg2 > TDP_PAGE_LG2) != to_huge)
		return;
	if (tdp_emu_access(w.vm.cpu[0].emu, page(1), TDP_R, &second) == TDP_EMU_OK &&
	    second.lg2 != first.lg2)
		tdp_explore_fail("two sizes for one address");
}

static void both_look_for_huge(void *arg)
{
	(void)arg;
	both_look(true);
}

static void both_look_for_small(void *arg)
{
	(void)arg;
	both_look(false);
}

static const struct world_program programs[] = {
	{.name = "a table becomes a huge page",
	 .build = small_in_one_tlb,
	 .actor = {collapses, both_look_for_huge}},
	{.name = "a huge page becomes a table",
	 .build = huge_in_one_tlb,
	 .actor = {splits, both_look_for_small}},
};

/* x86 may change sizes in place. */
static bool breaks_before_make(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "s2-noaf") ||
	       !strcmp(fmt->name, "test") || !strcmp(fmt->name, "test-noad");
}

static void one_size_at_a_time(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(one_size_at_a_time, breaks_before_make),
	};

	return test_run("museum/F14", cases, ARRAY_LEN(cases));
}

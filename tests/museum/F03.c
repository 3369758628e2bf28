/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F03, KVM x86 2021: a zap cleared an entry, a fault on another vCPU filled it with another page, and only
 * then the zap flushed: for a while two vCPUs had two pages for one address.
 *
 * Here the backing changes its mind about a page and zaps it while another vCPU faults on it, in every order
 * of their steps: once anybody got the new page, nobody may reach the old one.
 */
#include "explore/world.h"

static tdp_pa_t old_pa;

/* vCPU 0 has the page cached, vCPU 1 has not. */
static void cached_by_one(void)
{
	paged_slot();
	must(guest(1, page(1), TDP_W), "map");
	must(guest(0, page(0), TDP_W), "map");
	old_pa = w.pa[0];
}

static void other_page(void)
{
	tdp_test_point(TDP_POINT_WRITE, &w.pa[0], sizeof(w.pa[0]));
	w.pa[0] = old_pa + ((tdp_pa_t)1 << 30);
}

static void replaces(void *arg)
{
	(void)arg;
	other_page();
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
	tell(0);
}

/* The same by a cut of the whole table. */
static void replaces_all(void *arg)
{
	(void)arg;
	other_page();
	must(tdp_zap(w.vm.mm, 0, block(), 0), "zap");
	tell(0);
}

static void both_look(void *arg)
{
	struct test_access first;
	struct tdp_emu_exit second;

	(void)arg;
	if (test_vm_access(&w.vm, 1, page(0), TDP_W, &first) != TEST_OK || first.pa == old_pa)
		return;
	if (tdp_emu_access(w.vm.cpu[0].emu, page(0), TDP_R, &second) == TDP_EMU_OK &&
	    second.pa == old_pa)
		tdp_explore_fail("two pages for one address");
}

static const struct world_program programs[] = {
	{.name = "refault before the flush",
	 .build = cached_by_one,
	 .actor = {replaces, both_look}},
	{.name = "the same after a cut",
	 .build = cached_by_one,
	 .actor = {replaces_all, both_look}},
};

static bool one_of_each(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void one_page_at_a_time(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE_IF(one_page_at_a_time, one_of_each)};

	return test_run("museum/F03", cases, ARRAY_LEN(cases));
}

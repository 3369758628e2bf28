/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F08, Xen 2020 (XSA-346): a batch of moves put off its IOMMU flush to the end. A page that was displaced on
 * the way was freed before, and another thread that removed the same frame found it empty and flushed
 * nothing, so the device still reached the page.
 *
 * Here two threads take the same pages away, one in a batch, one alone; whichever returns gives the memory to
 * somebody else. In every order of their steps no vCPU may reach memory that was given away.
 */
#include "explore/world.h"

static void cached(void)
{
	paged_slot();
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned n = 0; n < 3; n++)
			must(guest(cpu, page(n), TDP_W), "map");
}

/* A batch: its one flush comes after all of it. */
static void takes_a_batch(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 3), 0), "zap");
}

static void takes_one_and_reuses(void *arg)
{
	(void)arg;
	must(tdp_invalidate_begin(w.vm.mm, pages(0, 1)), "begin");
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
	move_page(0);
	must(tdp_invalidate_end(w.vm.mm, pages(0, 1)), "end");
}

static void takes_all_lazily_and_reuses(void *arg)
{
	(void)arg;
	must(tdp_invalidate_begin(w.vm.mm, pages(0, 1)), "begin");
	must(tdp_zap(w.vm.mm, 0, block(), TDP_ZAP_LAZY), "zap");
	move_page(0);
	must(tdp_invalidate_end(w.vm.mm, pages(0, 1)), "end");
}

static void device_looks(void *arg)
{
	(void)arg;
	access_once(1, page(0), TDP_R);
}

static const struct world_program programs[] = {
	{.name = "one beside a batch",
	 .build = cached,
	 .actor = {takes_a_batch, takes_one_and_reuses, device_looks}},
	{.name = "a cut beside a batch",
	 .build = cached,
	 .actor = {takes_a_batch, takes_all_lazily_and_reuses, device_looks}},
};

static bool one_of_each(const struct test_format *fmt)
{
#if !defined(__SANITIZE_ADDRESS__) /* takes several times as long */
	if (!strcmp(fmt->name, "npt4") || !strcmp(fmt->name, "test"))
		return true;
#endif
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "s2-40");
}

static void nobody_reaches_what_was_given_away(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(programs); i++)
		world_holds(*state, &programs[i]);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(nobody_reaches_what_was_given_away, one_of_each),
	};

	return test_run("museum/F08", cases, ARRAY_LEN(cases));
}

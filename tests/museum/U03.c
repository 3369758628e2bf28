/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U03, KVM arm/arm64 2017: a long unmap dropped its lock now and then; meanwhile the owner of the memory went,
 * the root was freed, and the unmap went on in freed tables. And freeing could run twice at once, as it took no
 * lock at all. Here two threads tear down the same invalid root, or one does while the other zaps in it, in
 * every order: the root goes once, after its last user, and nobody is in it afterwards.
 */
#include "explore/world.h"

#include "orders.h"

static void in_old_root(void)
{
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
	must(guest(0, page(0), TDP_W), "map");
	must(tdp_roots_invalidate(w.vm.mm), "invalidate");
	for (unsigned cpu = 0; cpu < 2; cpu++)
		must(tdp_vcpu_load(w.vm.cpu[cpu].vcpu), "load");
}

static void tears_down(void *arg)
{
	(void)arg;
	must(tdp_roots_reclaim(w.vm.mm, 0), "reclaim");
}

static void zaps(void *arg)
{
	(void)arg;
	must(tdp_zap(w.vm.mm, 0, pages(0, 1), 0), "zap");
	reuse(PA);
}

static int root_went_once(void)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};

	return tdp_stats(w.vm.mm, &stats) || stats.roots_invalid != 0 || stats.roots_valid != 1;
}

/* The smallest tables: there more orders can be tried. */
static bool small(const struct test_format *fmt)
{
	return fmt->format == TDP_FMT_TEST;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "teardown beside teardown",
		 .build = in_old_root,
		 .judge = root_went_once,
		 .roots_matter = true,
		 .preemptions = 1,
		 .actor = {tears_down, tears_down}},
		{.name = "teardown beside zap",
		 .build = in_old_root,
		 .judge = root_went_once,
		 .roots_matter = true,
		 .preemptions = 1,
		 .actor = {tears_down, zaps}},
		{.name = "the same, more orders",
		 .build = in_old_root,
		 .judge = root_went_once,
		 .wanted = small,
		 .roots_matter = true,
		 .preemptions = 2,
		 .actor = {tears_down, tears_down}},
	};

	return orders_run("museum/U03", programs, ARRAY_LEN(programs));
}

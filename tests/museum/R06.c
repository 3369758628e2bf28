/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R06, Xen on Arm 2025 (XSA-473): a page was looked up under the lock, and its reference taken after the lock
 * had been dropped; by then it could be another's. What a fault holds on to between its lookup and its mapping
 * is the memslot. Here a slot is removed while a fault in it is under way, in every order (freed objects keep
 * what was in them): its backing is not asked any more once the removal has returned.
 */
#include "explore/world.h"

#include "kept.h"
#include "orders.h"

static bool removed;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *out)
{
	if (removed)
		tdp_explore_fail("the backing was asked after its slot had gone");
	return world_resolve(arg, gpa, want_lg2, access, out);
}

static void release(void *arg, tdp_gpa_t gpa, const struct tdp_page *out, uint32_t flags)
{
	(void)arg;
	(void)gpa;
	(void)out;
	(void)flags;
	if (removed)
		tdp_explore_fail("the backing was told after its slot had gone");
}

static void one_slot(void)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};

	removed = false;
	kept_begin(&w.vm.mm->env, false);
	w.backing = (struct tdp_backing_ops){
		.size = (uint32_t)sizeof(w.backing), .resolve = resolve, .release = release};
	desc.gpa = pages(0, PAGES);
	desc.backing = &w.backing;
	must(tdp_slot_add(w.vm.mm, &desc, &w.slot), "slot");
}

static void guest_writes(void *arg)
{
	(void)arg;
	w.status[0] = guest(0, page(0), TDP_W);
}

static void removes(void *arg)
{
	(void)arg;
	must(tdp_slot_remove(w.vm.mm, w.slot), "remove");
	removed = true;
}

static int nothing_is_left(void)
{
	struct tdp_mapping m;

	w.vm.mm->env.obj_free = kept.obj_free;
	kept_let_go();
	return orders_mapped(0, &m);
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "fault beside removal",
		 .build = one_slot,
		 .judge = nothing_is_left,
		 .preemptions = 3,
		 .actor = {guest_writes, removes}},
	};

	return orders_run("museum/R06", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U05, KVM arm64 2026: the array of a VM's nested contexts was reallocated when more were needed, under the
 * feet of unmaps that went through it. The array of this library that grows and shrinks is that of the
 * memslots. Here slots come and go beside lookups, in every order; a freed array is full of zeros: a slot
 * that was there all the time is found every time.
 */
#include "explore/world.h"

#include "kept.h"
#include "orders.h"

static void slots_in_array(void)
{
	kept_begin(&w.vm.mm->env, true);
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
}

static void finds(void *arg)
{
	uint32_t id;

	(void)arg;
	if (tdp_slot_find(w.vm.mm, 0, page(1), &id, NULL) != TDP_OK || id != w.slot)
		tdp_explore_fail("a slot that is there was not found");
}

static void guest_writes(void *arg)
{
	struct test_access a;
	int answer = test_vm_access(&w.vm, 0, page(1), TDP_W, &a);

	(void)arg;
	if (answer != TEST_OK && a.outcome != TDP_FAULT_RETRY)
		tdp_explore_fail("memory was taken for none");
}

static void grows_and_shrinks(void *arg)
{
	uint32_t id;

	(void)arg;
	must(test_vm_slot(&w.vm, 0, w.gpa + 2 * w.block, TEST_PAGE, 2 * PA, 0, &id), "add");
	must(tdp_slot_remove(w.vm.mm, id), "remove");
}

static void grows(void *arg)
{
	(void)arg;
	must(test_vm_slot(&w.vm, 0, w.gpa + 2 * w.block, TEST_PAGE, 2 * PA, 0, NULL), "add");
}

static int let_go(void)
{
	w.vm.mm->env.obj_free = kept.obj_free;
	kept_let_go();
	return 0;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "lookup beside changes",
		 .build = slots_in_array,
		 .judge = let_go,
		 .preemptions = 4,
		 .actor = {finds, grows_and_shrinks}},
		{.name = "fault beside growth",
		 .build = slots_in_array,
		 .judge = let_go,
		 .preemptions = 4,
		 .actor = {guest_writes, grows}},
	};

	return orders_run("museum/U05", programs, ARRAY_LEN(programs));
}

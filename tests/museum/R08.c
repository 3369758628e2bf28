/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R08, KVM arm 2018: when the VMIDs were used up a new generation was published before the new id; a vCPU that
 * saw its generation up to date entered with the old id, which belonged to another guest. Generations here say
 * whether a vCPU's memory of its last slot is good, and whether its root is. Slots move and roots become invalid
 * beside a vCPU that renews what it remembers, in every order (freed objects keep what was in them): afterwards
 * it uses what is there now.
 */
#include "explore/world.h"

#include "kept.h"
#include "orders.h"

static void one_slot(void)
{
	kept_begin(&w.vm.mm->env, false);
	linear_slot(PAGES * TEST_PAGE, TDP_SLOT_FORCE_4K);
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
}

static void let_go(void)
{
	w.vm.mm->env.obj_free = kept.obj_free;
	kept_let_go();
}

/* No slot: MMIO, whatever the vCPU remembers. */
static int is_mmio(void)
{
	struct test_access a;
	int answer = test_vm_access(&w.vm, 0, page(0), TDP_W, &a);

	let_go();
	return answer != TEST_OUTCOME || a.outcome != TDP_FAULT_MMIO;
}

static void loads(void *arg)
{
	(void)arg;
	must(tdp_vcpu_set_as(w.vm.cpu[0].vcpu, 1), "as");
	must(tdp_vcpu_load(w.vm.cpu[0].vcpu), "load");
	must(tdp_vcpu_set_as(w.vm.cpu[0].vcpu, 0), "as");
	must(tdp_vcpu_load(w.vm.cpu[0].vcpu), "load");
}

static void invalidates(void *arg)
{
	(void)arg;
	must(tdp_roots_invalidate(w.vm.mm), "invalidate");
}

/* Thrown out, it finds its way back: no load says that all is well when the walker says that it is not. */
static int goes_on(void)
{
	int answer = guest(0, page(0), TDP_W);

	let_go();
	return answer != TEST_OK;
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "fault beside removal",
		 .build = one_slot,
		 .judge = is_mmio,
		 .preemptions = 3,
		 .actor = {guest_writes, removes}},
		{.name = "load beside invalidation",
		 .build = one_slot,
		 .judge = goes_on,
		 .preemptions = 3,
		 .roots_matter = true,
		 .actor = {loads, invalidates}},
	};

	return orders_run("museum/R08", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R07, Xen 2021 (XSA-379): a page that may be mapped in one place only was asked for in two at once; whether it
 * was mapped already was looked up before the lock that put the two in order, and it got both. What may be there
 * once in this library is the memory of a guest address. Here two threads add, or move, slots to the same
 * addresses, in every order: one succeeds, the other is told that something is there, and lookups find the one.
 */
#include "explore/world.h"

#include "orders.h"

static uint32_t ids[2];

static void nothing(void)
{
	must(test_vm_slot(&w.vm, 0, 0, TEST_PAGE, 4 * PA, 0, &ids[1]), "slot");
}

static void adds_first(void *arg)
{
	(void)arg;
	w.status[0] = test_vm_slot(&w.vm, 0, w.gpa, 2 * TEST_PAGE, PA, 0, &ids[0]);
}

static void adds_second(void *arg)
{
	(void)arg;
	w.status[1] = test_vm_slot(&w.vm, 0, page(1), 2 * TEST_PAGE, 2 * PA, 0, &ids[1]);
}

static void moves(void *arg)
{
	(void)arg;
	w.status[1] = tdp_slot_move(w.vm.mm, ids[1], page(1));
}

static int one_is_there(void)
{
	uint32_t id = ~0u;

	if (tdp_slot_find(w.vm.mm, 0, page(1), &id, NULL) != TDP_OK)
		return 1;
	if (w.status[0] == TDP_OK)
		return w.status[1] != TDP_EEXIST || id != ids[0];
	return w.status[0] != TDP_EEXIST || w.status[1] != TDP_OK || id != ids[1];
}

int main(void)
{
	static const struct world_program programs[] = {
		{.name = "add beside add",
		 .build = nothing,
		 .judge = one_is_there,
		 .actor = {adds_first, adds_second}},
		{.name = "add beside move",
		 .build = nothing,
		 .judge = one_is_there,
		 .preemptions = 3,
		 .actor = {adds_first, moves}},
	};

	return orders_run("museum/R07", programs, ARRAY_LEN(programs));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C11, Xen 2021: a page was to be placed where it was already. First whatever was at the target
 * was removed, which was the page itself; then its old place was to be cleared, the same place,
 * and that failed. Here a slot is moved onto itself, over a part of itself, and right beside
 * itself; the result is that of a model: the memory is at the new place, nowhere else, with its
 * dirty log, and the call succeeds.
 */
#include "museum.h"

static void move_onto_itself(void **state)
{
	struct test_vm vm;
	uint64_t huge, to[7], words, *bits;
	tdp_gpa_t at;
	uint32_t id;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	at = 4 * huge;
	to[0] = at;             /* source and target are the same */
	to[1] = at + TEST_PAGE; /* all but a page overlaps, upwards */
	to[2] = at;             /* and downwards */
	to[3] = at + huge;      /* half overlaps */
	to[4] = at + 3 * huge;  /* adjacent behind */
	to[5] = at + huge;      /* adjacent before */
	to[6] = at + huge;      /* the same once more */
	words = 2 * huge / TEST_PAGE / 64 + 1;
	bits = calloc(words, sizeof(*bits));
	assert_non_null(bits);
	id = museum_slot(&vm, at, 2 * huge, MUSEUM_PA);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
	for (unsigned i = 0; i < ARRAY_LEN(to); i++) {
		tdp_gpa_t from = at;

		museum_reaches(&vm, at + i * TEST_PAGE, TDP_W, MUSEUM_PA + i * TEST_PAGE);
		museum_reaches(&vm, at + 2 * huge - TEST_PAGE, TDP_R,
			       MUSEUM_PA + 2 * huge - TEST_PAGE);
		assert_int_equal(tdp_slot_move(vm.mm, id, to[i]), TDP_OK);
		at = to[i];
		for (uint64_t off = 0; off < 2 * huge; off += TEST_PAGE)
			if (from + off - at >= 2 * huge) /* of the old place, not of the new one */
				museum_answer(&vm, from + off, TDP_R, TDP_FAULT_MMIO);
		museum_reaches(&vm, at, TDP_R, MUSEUM_PA);
		museum_reaches(&vm, at + 2 * huge - 1, TDP_R, MUSEUM_PA + 2 * huge - 1);
		assert_int_equal(test_vm_check(&vm), 0);
	}
	assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, bits, (2 * huge / TEST_PAGE + 63) / 64),
			 TDP_OK);
	assert_int_equal(bits[0], ((uint64_t)1 << ARRAY_LEN(to)) - 1);
	/* Over another slot it is refused, and stays where it is. */
	museum_slot(&vm, at + 2 * huge, TEST_PAGE, MUSEUM_PA + 4 * huge);
	assert_int_equal(tdp_slot_move(vm.mm, id, at + TEST_PAGE), TDP_EEXIST);
	museum_is_there(&vm, at, TDP_R, MUSEUM_PA);
	free(bits);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(move_onto_itself)};

	return test_run("museum/C11", cases, ARRAY_LEN(cases));
}

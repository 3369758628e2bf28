/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A11, KVM x86 2022: the loop that clears dirty bits asked whether an entry was at leaf level, not whether it
 * was a leaf: words that mean something else (removed, MMIO) were changed. Here a logged slot lies over entries
 * of all kinds: empty, empty but remembered as young, MMIO from before the slot was there. Clearing, harvesting
 * and protecting leave each of these words as it is, bit for bit.
 */
#include "museum.h"

#define PAGES 16u /* fits one table of every format */

enum { EMPTY, MMIO, YOUNG, LEAF, KINDS };

static uint64_t word_at(struct test_vm *vm, unsigned n)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};

	assert_int_equal(tdp_walk_gpa(vm->mm, 0, n * TEST_PAGE, &path), TDP_OK);
	assert_int_equal(path.last_level, 0);
	return path.entry[0];
}

static void unchanged(struct test_vm *vm, const uint64_t *words)
{
	for (unsigned n = 0; n < PAGES; n++)
		if (n % KINDS != LEAF)
			assert_int_equal(word_at(vm, n), words[n]);
}

static void one_mode(void **state, uint32_t mode)
{
	struct tdp_range all = museum_range(0, PAGES * TEST_PAGE);
	struct test_vm vm;
	uint64_t words[PAGES], bits, mmio;
	uint32_t slot;

	museum_start(&vm, state, NULL);
	/*
	 * Every change of slots is a new generation, and MMIO words hold its number: after these all of its low
	 * bits are set, those too that in a leaf would mean writable or dirty.
	 */
	for (unsigned i = 0; i < 63; i++)
		assert_int_equal(
			tdp_slot_remove(vm.mm, museum_slot(&vm, all.size, TEST_PAGE, MUSEUM_PA)),
			TDP_OK);
	museum_slot(&vm, 2 * all.size, TEST_PAGE, MUSEUM_PA);
	for (unsigned n = MMIO; n < PAGES; n += KINDS)
		museum_answer(&vm, n * TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
	slot = museum_slot(&vm, 0, all.size, MUSEUM_PA);
	mmio = word_at(&vm, MMIO);
	assert_int_equal(tdp_dirty_log(vm.mm, slot, mode), TDP_OK);
	for (unsigned n = 0; n < PAGES; n++) {
		tdp_gpa_t gpa = n * TEST_PAGE;

		if (n % KINDS == LEAF || n % KINDS == YOUNG)
			museum_reaches(&vm, gpa, TDP_W, MUSEUM_PA + gpa);
		if (n % KINDS == YOUNG)
			assert_int_equal(
				tdp_zap(vm.mm, 0, museum_range(gpa, TEST_PAGE), TDP_ZAP_KEEP_YOUNG),
				TDP_OK);
	}
	for (unsigned n = 0; n < PAGES; n++)
		words[n] = word_at(&vm, n);
	assert_int_not_equal(words[MMIO], words[EMPTY]);
	assert_int_equal(words[MMIO], mmio); /* switching the log on has not changed it either */

	assert_int_equal(tdp_dirty_clear(vm.mm, slot, 0, PAGES), TDP_OK);
	unchanged(&vm, words);
	for (unsigned n = LEAF; n < PAGES; n += KINDS)
		museum_reaches(&vm, n * TEST_PAGE, TDP_W, MUSEUM_PA + n * TEST_PAGE);
	assert_int_equal(tdp_dirty_mark(vm.mm, slot, 0, PAGES), TDP_OK);
	assert_int_equal(tdp_dirty_harvest(vm.mm, slot, 0, &bits, 1), TDP_OK);
	unchanged(&vm, words);
	assert_int_equal(tdp_dirty_mark(vm.mm, slot, 0, PAGES), TDP_OK);
	assert_int_equal(tdp_dirty_clear_mask(vm.mm, slot, 0, (1u << PAGES) - 1), TDP_OK);
	unchanged(&vm, words);
	assert_int_equal(tdp_write_protect(vm.mm, 0, all), TDP_OK);
	unchanged(&vm, words);
	museum_end(&vm);
}

static void other_words_stay(void **state)
{
	one_mode(state, TDP_LOG_AUTO);
	one_mode(state, TDP_LOG_WRPROT);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(other_words_stay)};

	return test_run("museum/A11", cases, ARRAY_LEN(cases));
}

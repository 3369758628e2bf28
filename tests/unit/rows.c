/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Loops over rows of entries: what is done to eight at a time, or by words of a bitmap, is what would be done to each.
 * The slot begins and ends anywhere, and lies across tables.
 */
#include "steps.h"

#include <tdp/posix.h>

#define GPA (GIB + 5 * TDP_PAGE_SIZE)
#define PAGES 1083u
#define WORDS ((PAGES + 63) / 64)

static const struct tdp_range all_pages = {GPA, PAGES *TDP_PAGE_SIZE};

static void scans(struct tdp_env *env)
{
	env->scan = tdp_posix_env_memb()->scan;
}

/* Half of the formats, the other half with the next seed, with a host that looks for bits. */
static void rows_up(struct test_vm *vm, void **state)
{
	const char *name = format_of(state)->name;
	bool host = ((uint64_t)name[strlen(name) - 1] + test_seed()) % 2;

	vm_up(vm, state, &(struct test_vm_options){.cpus = 2, .host = host ? scans : NULL});
}

static bool bit(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

/* All, nearly all, half of them or few, but the last page always, so that a set is never empty. */
static void choose(struct test_rand *rand, unsigned round, uint64_t bits[WORDS])
{
	memset(bits, 0, WORDS * 8);
	for (uint64_t i = 0; i < PAGES; i++) {
		bool in = true;

		switch (round % 4) {
		case 1: in = !test_one_in(rand, 60); break;
		case 2: in = test_one_in(rand, 2); break;
		case 3: in = test_one_in(rand, 60); break;
		default: break;
		}
		if (in || i == PAGES - 1)
			bits[i / 64] |= (uint64_t)1 << i % 64;
	}
}

static void use_all(struct test_vm *vm, const uint64_t bits[WORDS], uint32_t access)
{
	for (uint64_t i = 0; i < PAGES; i++)
		if (bit(bits, i))
			use(vm, i % 2, GPA + i * TEST_PAGE, access);
}

/* Pages whose leaf has the flag. */
static void flagged(const struct test_vm *vm, uint32_t flag, uint64_t bits[WORDS])
{
	memset(bits, 0, WORDS * 8);
	for (uint64_t i = 0; i < PAGES; i++) {
		struct tdp_mapping leaf;

		if (translate(vm, 0, GPA + i * TEST_PAGE, &leaf) == TDP_OK && leaf.flags & flag)
			bits[i / 64] |= (uint64_t)1 << i % 64;
	}
}

/* Written, perhaps protected or aged (both tell the log where it is kept by Dirty bit), harvested. */
static void log_rounds(struct test_vm *vm, uint32_t id, struct test_rand *rand)
{
	uint64_t chosen[WORDS], bits[WORDS], none[WORDS] = {0};

	for (unsigned round = 0; round < 12; round++) {
		choose(rand, round, chosen);
		use_all(vm, chosen, TDP_W);
		if (round % 3 == 1)
			assert_int_equal(tdp_write_protect(vm->mm, 0, all_pages), TDP_OK);
		if (round % 3 == 2)
			assert_int_equal(tdp_age(vm->mm, 0, all_pages, NULL), 1);
		assert_int_equal(tdp_dirty_get(vm->mm, id, 0, bits, WORDS), TDP_OK);
		assert_memory_equal(bits, chosen, sizeof(bits));
		assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, WORDS), TDP_OK);
		assert_memory_equal(bits, chosen, sizeof(bits));
		assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, WORDS), TDP_OK);
		assert_memory_equal(bits, none, sizeof(bits));
	}
	/* What is zapped tells the log, too. */
	use_all(vm, chosen, TDP_W);
	assert_int_equal(tdp_zap(vm->mm, 0, all_pages, 0), TDP_OK);
	assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, WORDS), TDP_OK);
	assert_memory_equal(bits, chosen, sizeof(bits));
}

static void rows_are_logged(void **state)
{
	const uint32_t modes[] = {TDP_LOG_WRPROT, TDP_LOG_DBIT};
	struct test_rand rand;
	struct test_vm vm;
	uint32_t id;

	rows_up(&vm, state);
	id = add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	test_rand_init(&rand, test_seed());
	for (unsigned i = 0; i < (vm.info.ad & 2 ? 2u : 1u); i++) {
		assert_int_equal(tdp_dirty_log(vm.mm, id, modes[i]), TDP_OK);
		log_rounds(&vm, id, &rand);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

/* Taken out of the log by range or by mask, and written again: as much is in the log as is armed. */
static void clear_rounds(struct test_vm *vm, uint32_t id, struct test_rand *rand)
{
	for (unsigned round = 0; round < 16; round++) {
		uint64_t want[WORDS], bits[WORDS], again[WORDS];
		uint64_t first = test_below(rand, PAGES), n = 1 + test_below(rand, PAGES - first),
			 mask = ~(uint64_t)0;

		choose(rand, round, want);
		use_all(vm, want, TDP_W);
		if (round % 8 < 4) {
			assert_int_equal(tdp_dirty_clear(vm->mm, id, first, n), TDP_OK);
		} else {
			first = first / 64 * 64;
			n = 64;
			mask = round % 2 ? mask : test_rand(rand) | 0xff00ff;
			if (first == PAGES / 64 * 64)
				mask &= ((uint64_t)1 << PAGES % 64) - 1;
			assert_int_equal(tdp_dirty_clear_mask(vm->mm, id, first, mask), TDP_OK);
		}
		for (uint64_t i = first; i < first + n && i < PAGES; i++)
			if (n != 64 || mask >> i % 64 & 1 || round % 8 < 4)
				want[i / 64] &= ~((uint64_t)1 << i % 64);
		assert_int_equal(tdp_dirty_get(vm->mm, id, 0, bits, WORDS), TDP_OK);
		assert_memory_equal(bits, want, sizeof(bits));
		choose(rand, round + 1, again);
		use_all(vm, again, TDP_W);
		for (unsigned i = 0; i < WORDS; i++)
			want[i] |= again[i];
		assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, WORDS), TDP_OK);
		assert_memory_equal(bits, want, sizeof(bits));
	}
}

static void rows_are_cleared(void **state)
{
	const uint32_t modes[] = {TDP_LOG_WRPROT, TDP_LOG_DBIT};
	struct test_rand rand;
	struct test_vm vm;
	uint32_t id;

	rows_up(&vm, state);
	id = add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	test_rand_init(&rand, test_seed());
	for (unsigned i = 0; i < (vm.info.ad & 2 ? 2u : 1u); i++) {
		assert_int_equal(tdp_dirty_log(vm.mm, id, modes[i]), TDP_OK);
		clear_rounds(&vm, id, &rand);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

/* A word of the log, and a row of entries, can belong to two slots. */
static void neighbours_are_logged(void **state)
{
	const struct tdp_range both = {GPA, 128 * TDP_PAGE_SIZE};
	uint64_t bits[2] = {0};
	struct test_vm vm;
	uint32_t id[2];

	rows_up(&vm, state);
	for (unsigned i = 0; i < 2; i++) {
		id[i] = add_slot(&vm, 0, GPA + i * 64 * TEST_PAGE, 64 * TEST_PAGE,
				 SLOT_PA + i * GIB, TDP_SLOT_FORCE_4K);
		assert_int_equal(tdp_dirty_log(vm.mm, id[i], TDP_LOG_AUTO), TDP_OK);
	}
	for (uint64_t i = 0; i < 128; i++)
		use(&vm, 0, GPA + i * TEST_PAGE, TDP_W);
	assert_int_equal(tdp_write_protect(vm.mm, 0, both), TDP_OK);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(tdp_dirty_harvest(vm.mm, id[i], 0, &bits[i], 1), TDP_OK);
	assert_true(bits[0] == ~(uint64_t)0 && bits[1] == ~(uint64_t)0);
	vm_down(&vm);
}

static void rows_grow_old(void **state)
{
	uint64_t chosen[WORDS], bits[WORDS], none[WORDS] = {0}, young;
	struct test_rand rand;
	struct test_vm vm;

	rows_up(&vm, state);
	add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	test_rand_init(&rand, test_seed());
	for (unsigned round = 0; round < 12; round++) {
		uint64_t dirty[WORDS], count = 0;

		assert_int_equal(tdp_zap(vm.mm, 0, all_pages, 0), TDP_OK);
		choose(&rand, round, chosen);
		use_all(&vm, chosen, round % 3 ? TDP_W : TDP_R);
		flagged(&vm, TDP_MAP_ACCESSED, bits);
		assert_memory_equal(bits, chosen, sizeof(bits));
		flagged(&vm, TDP_MAP_DIRTY, dirty);
		assert_int_equal(tdp_age_bitmap(vm.mm, 0, all_pages, false, bits, WORDS), 1);
		assert_memory_equal(bits, chosen, sizeof(bits));
		for (uint64_t i = 0; i < PAGES; i++)
			count += bit(chosen, i);
		if (round % 2) {
			assert_int_equal(tdp_age(vm.mm, 0, all_pages, &young), 1);
			assert_int_equal(young, count);
		} else {
			assert_int_equal(tdp_age_bitmap(vm.mm, 0, all_pages, true, bits, WORDS), 1);
			assert_memory_equal(bits, chosen, sizeof(bits));
		}
		flagged(&vm, TDP_MAP_ACCESSED, bits);
		assert_memory_equal(bits, none, sizeof(bits));
		flagged(&vm, TDP_MAP_DIRTY, bits); /* aging by hardware bits leaves D alone */
		if (vm.info.ad & 1)
			assert_memory_equal(bits, dirty, sizeof(bits));
		assert_int_equal(tdp_test_age(vm.mm, 0, all_pages), 0);
	}
	vm_down(&vm);
}

static void rows_are_protected(void **state)
{
	uint64_t chosen[WORDS];
	struct test_rand rand;
	struct test_vm vm;

	rows_up(&vm, state);
	add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	test_rand_init(&rand, test_seed());
	for (unsigned round = 0; round < 8; round++) {
		uint64_t from = test_below(&rand, PAGES),
			 to = from + 1 + test_below(&rand, PAGES - from);
		struct tdp_range part;

		if (round % 4 == 0)
			to = ((to + 5 + 7) & ~(uint64_t)7) - 5; /* the last row is a whole one */
		part = range_of(GPA + from * TEST_PAGE, (to - from) * TEST_PAGE);
		choose(&rand, round, chosen);
		use_all(&vm, chosen, TDP_W);
		assert_int_equal(tdp_write_protect(vm.mm, 0, part), TDP_OK);
		for (uint64_t i = 0; i < PAGES; i++) {
			struct tdp_mapping leaf;

			if (!bit(chosen, i))
				continue;
			assert_int_equal(translate(&vm, 0, GPA + i * TEST_PAGE, &leaf), TDP_OK);
			assert_int_equal(!(leaf.prot & TDP_W), i >= from && i < to);
			assert_int_equal(leaf.pa, SLOT_PA + i * TEST_PAGE);
			/* The TLB that wrote it before has forgotten that it may. */
			assert_int_equal(use(&vm, i % 2, GPA + i * TEST_PAGE, TDP_W).faults,
					 i >= from && i < to);
		}
	}
	vm_down(&vm);
}

/* What is there stays; the rest is filled up to the next thing that is there. */
static void rows_are_filled(void **state)
{
	uint64_t chosen[WORDS];
	struct test_rand rand;
	struct test_vm vm;

	rows_up(&vm, state);
	add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	test_rand_init(&rand, test_seed());
	for (unsigned round = 1; round < 8; round++) {
		assert_int_equal(tdp_zap(vm.mm, 0, all_pages, 0), TDP_OK);
		choose(&rand, round, chosen);
		use_all(&vm, chosen, TDP_W);
		assert_int_equal(tdp_populate(vm.mm, 0, all_pages, TDP_POPULATE_READ, NULL),
				 TDP_OK);
		for (uint64_t i = 0; i < PAGES; i++) {
			struct tdp_mapping leaf;

			assert_int_equal(translate(&vm, 0, GPA + i * TEST_PAGE, &leaf), TDP_OK);
			assert_int_equal(leaf.pa, SLOT_PA + i * TEST_PAGE);
			assert_int_equal((leaf.prot & TDP_W) != 0, bit(chosen, i));
		}
		assert_int_equal(leaves_of(&vm), PAGES);
	}
	vm_down(&vm);
}

/* A table that is filled as a whole says what one says that is filled page by page. */
static void tables_are_filled(void **state)
{
	static const uint32_t flags[] = {0, TDP_POPULATE_READ, TDP_POPULATE_YOUNG,
					 TDP_POPULATE_READ | TDP_POPULATE_YOUNG};
	static const uint32_t logs[] = {TDP_LOG_OFF, TDP_LOG_WRPROT, TDP_LOG_OFF, TDP_LOG_AUTO};
	struct test_vm vm;
	uint32_t id;

	rows_up(&vm, state);
	id = add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 16; i++) {
		struct tdp_range page = range_of(GPA + PAGES / 2 * TEST_PAGE, TEST_PAGE);
		struct tdp_mapping one, leaf;

		assert_int_equal(tdp_dirty_log(vm.mm, id, logs[i / 4]), TDP_OK);
		assert_int_equal(tdp_populate(vm.mm, 0, page, flags[i % 4], NULL), TDP_OK);
		assert_int_equal(translate(&vm, 0, page.start, &one), TDP_OK);
		assert_int_equal(tdp_zap(vm.mm, 0, all_pages, 0), TDP_OK);
		assert_int_equal(leaves_of(&vm), 0);
		assert_int_equal(tdp_populate(vm.mm, 0, all_pages, flags[i % 4], NULL), TDP_OK);
		assert_int_equal(leaves_of(&vm), PAGES);
		for (uint64_t k = 0; k < PAGES; k++) {
			assert_int_equal(translate(&vm, 0, GPA + k * TEST_PAGE, &leaf), TDP_OK);
			assert_int_equal(leaf.pa, SLOT_PA + k * TEST_PAGE);
			assert_int_equal(leaf.prot, one.prot);
			assert_int_equal(leaf.flags, one.flags);
			assert_int_equal(leaf.lg2, TDP_PAGE_LG2);
		}
		use(&vm, 0, GPA + i * TEST_PAGE, TDP_W);
		assert_int_equal(tdp_zap(vm.mm, 0, all_pages, 0), TDP_OK);
	}
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(rows_are_logged),       TEST_CASE(rows_are_cleared),
		TEST_CASE(neighbours_are_logged), TEST_CASE(rows_grow_old),
		TEST_CASE(rows_are_protected),    TEST_CASE(rows_are_filled),
		TEST_CASE(tables_are_filled),
	};

	return test_run("rows", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A07, Firecracker 2026: a differential snapshot put the bitmaps of several memory regions together, and took
 * the place of the next one from the last dirty page of the one before; with a clean tail everything behind was
 * shifted. Here many slots of odd sizes, most of their words clean, are harvested whole and in windows: bit for
 * bit what the guest has written.
 */
#include "museum.h"

#define SLOTS 24u
#define PAGES_MAX 300u
#define WORDS_MAX ((PAGES_MAX + 63) / 64)

struct memory {
	uint32_t id;
	tdp_gpa_t gpa;
	unsigned pages;
	uint64_t dirty[WORDS_MAX];
};

static void write_some(struct test_vm *vm, struct memory *m, struct test_rand *rand)
{
	/* Only the first part: the tail stays clean. */
	unsigned part = 1 + (unsigned)test_below(rand, m->pages);

	for (unsigned n = 0; n < part; n++) {
		if (!test_one_in(rand, 40))
			continue;
		museum_reaches(vm, m->gpa + n * TEST_PAGE, TDP_W,
			       MUSEUM_PA + m->gpa + n * TEST_PAGE);
		m->dirty[n / 64] |= (uint64_t)1 << n % 64;
	}
}

static void harvest(struct test_vm *vm, struct memory *m, unsigned first, unsigned words)
{
	uint64_t bits[WORDS_MAX];

	assert_int_equal(tdp_dirty_harvest(vm->mm, m->id, first * 64, bits, words), TDP_OK);
	for (unsigned i = 0; i < words; i++) {
		assert_int_equal(bits[i], m->dirty[first + i]);
		m->dirty[first + i] = 0;
	}
}

static void one_mode(void **state, uint32_t mode)
{
	struct test_vm vm;
	struct memory mem[SLOTS];
	struct test_rand rand;
	tdp_gpa_t gpa = 0;

	memset(mem, 0, sizeof(mem));
	museum_start(&vm, state, NULL);
	test_rand_init(&rand, test_seed());
	for (unsigned i = 0; i < SLOTS; i++) {
		mem[i].gpa = gpa;
		mem[i].pages = 1 + (unsigned)test_below(&rand, PAGES_MAX);
		mem[i].id = museum_slot(&vm, gpa, mem[i].pages * TEST_PAGE, MUSEUM_PA + gpa);
		gpa += (mem[i].pages + test_below(&rand, 3)) * TEST_PAGE;
		assert_int_equal(tdp_dirty_log(vm.mm, mem[i].id, mode), TDP_OK);
	}
	for (unsigned round = 0; round < 6; round++) {
		for (unsigned i = 0; i < SLOTS; i++)
			write_some(&vm, &mem[i], &rand);
		for (unsigned i = 0; i < SLOTS; i++) {
			unsigned words = (mem[i].pages + 63) / 64;

			if (round % 2)
				harvest(&vm, &mem[i], 0, words);
			else
				for (unsigned k = 0; k < words; k++)
					harvest(&vm, &mem[i], k, 1);
		}
	}
	museum_end(&vm);
}

static void many_slots(void **state)
{
	one_mode(state, TDP_LOG_AUTO);
	one_mode(state, TDP_LOG_WRPROT);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(many_slots)};

	return test_run("museum/A07", cases, ARRAY_LEN(cases));
}

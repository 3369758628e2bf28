/* SPDX-License-Identifier: BSD-2-Clause */
/* Aging: what it answers, what it clears, and all that it leaves alone. */
#include "steps.h"

#include <sys/mman.h>

#define GPA GIB

/* A01: it stops at the first young page, however many tables come after it. */
static void stops_at_the_first(void **state)
{
	struct test_vm vm;
	uint64_t n = 64, asked, all_old;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, n * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < n; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_R);
	/* The walk asks whether to give way after each table. */
	asked = atomic_load(&vm.env.yield_asked);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	asked = atomic_load(&vm.env.yield_asked) - asked;
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	all_old = atomic_load(&vm.env.yield_asked);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	all_old = atomic_load(&vm.env.yield_asked) - all_old;
	assert_true(all_old >= n);
	assert_true(asked < vm.info.levels * vm.info.root_pages + 1);
	vm_down(&vm);
}

/* A02: clears and tells, once; counts pages; testing changes nothing. */
static void clears_and_tells(void **state)
{
	struct test_dump before;
	struct test_vm vm;
	uint64_t young = 0;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 16 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < 16; i += 2)
		use(&vm, 0, GPA + i * TEST_PAGE, i % 4 ? TDP_W : TDP_R);
	before = dump_of(&vm);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	same_as(&vm, &before);
	assert_int_equal(tdp_test_age(vm.mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE)), 0);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA, 8 * TEST_PAGE), &young), 1);
	assert_int_equal(young, 4);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA, 8 * TEST_PAGE), &young), 0);
	assert_int_equal(young, 0);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), &young), 1);
	assert_int_equal(young, 4);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	vm_down(&vm);
}

/* A02, E09: a use after aging is seen again, set by the MMU or by the fault that it takes. */
static void used_again_is_young_again(void **state)
{
	struct test_vm_options opts = {.emu_flags = TDP_EMU_NO_TLB};
	struct tdp_mapping leaf;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, 2 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X};
		uint32_t access = accesses[i];

		use(&vm, 0, GPA, access);
		assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
		leaf = leaf_at(&vm, GPA);
		assert_int_equal((leaf.flags & TDP_MAP_TRACKED_ACCESS) != 0, tracks_access(vm.fmt));
		/* Its permissions but W are saved, not lost. */
		assert_int_equal(leaf.prot & (TDP_R | TDP_X), TDP_R | TDP_X);
		assert_int_equal(leaf.pa, SLOT_PA);
		assert_int_equal(use(&vm, 0, GPA, access).faults != 0, has_no_a(vm.fmt));
		leaf = leaf_at(&vm, GPA);
		assert_true(leaf.flags & TDP_MAP_ACCESSED);
		assert_false(leaf.flags & TDP_MAP_TRACKED_ACCESS);
		assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	}
	vm_down(&vm);
}

/* A03: what an invalid root says is about memory as it was. */
static void only_valid_roots(void **state)
{
	struct tdp_root *root;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(stats_of(&vm).roots_invalid, 1);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 0);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	use(&vm, 0, GPA, TDP_R);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
	vm_down(&vm);
}

/* A04, A05: nobody is asked and nothing is flushed, but where the configuration says so. */
static void asks_and_flushes_nothing(void **state)
{
	static const struct test_vm_options ways[] = {
		{0},
		{.mm_flags = TDP_MM_FLUSH_ON_AGE},
		{.with_caps = TDP_CAP_FLUSH_ON_AGE},
	};

	for (size_t i = 0; i < ARRAY_LEN(ways); i++) {
		struct test_backing mem;
		struct test_vm vm;
		uint64_t resolves, releases, flushes, word;

		vm_up(&vm, state, &ways[i]);
		add_backing(&vm, &mem, GPA, 64 * TEST_PAGE, TDP_RWX, 12);
		for (uint64_t p = 0; p < 64; p++)
			use(&vm, 0, GPA + p * TEST_PAGE, TDP_W);
		resolves = mem.resolves_ok;
		releases = mem.releases;
		flushes = flushes_of(&vm);
		assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
		assert_int_equal(
			tdp_age_bitmap(vm.mm, 0, range_of(GPA, 64 * TEST_PAGE), false, &word, 1),
			1);
		assert_int_equal(flushes_of(&vm), flushes);
		assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
		assert_int_equal(flushes_of(&vm), flushes + (i != 0));
		assert_int_equal(stats_of(&vm).flush_cause[TDP_FLUSH_AGE], i != 0);
		/* Nothing young any more: nothing to flush either. */
		assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 0);
		assert_int_equal(flushes_of(&vm), flushes + (i != 0));
		assert_int_equal(mem.resolves_ok, resolves);
		assert_int_equal(mem.releases, releases);
		if (i != 0 && has_a(vm.fmt)) {
			/* So that the next use is seen although the TLB had the page. */
			use(&vm, 0, GPA, TDP_R);
			assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 1);
		}
		test_backing_fini(&mem);
		vm_down(&vm);
	}
}

/*
 * A07: where aging takes W, what was written stays in the log, and the next write is logged again.
 */
static void written_before_aging_is_logged(void **state)
{
	struct test_vm vm;
	uint64_t word = 0;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 4 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO), TDP_OK);
	for (int round = 0; round < 3; round++) {
		use(&vm, 0, GPA + TEST_PAGE, TDP_W);
		assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, &word, 1), TDP_OK);
		assert_int_equal(word, 2);
	}
	use(&vm, 0, GPA + TEST_PAGE, TDP_R);
	assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, &word, 1), TDP_OK);
	assert_int_equal(word, 0);
	vm_down(&vm);
}

/* A08: on request a zap remembers that the page was young; a refault, not a use, restores it. */
static void young_across_a_zap(void **state)
{
	struct tdp_range two = {GPA, 2 * TEST_PAGE};
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 4 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (int keep = 0; keep < 2; keep++) {
		/* The first page young, the second old. */
		assert_int_equal(tdp_populate(vm.mm, 0, two, 0, NULL), TDP_OK);
		use(&vm, 0, GPA, TDP_R);
		assert_int_equal(tdp_zap(vm.mm, 0, two, keep ? TDP_ZAP_KEEP_YOUNG : 0), TDP_OK);
		assert_false(mapped(&vm, 0, GPA));
		assert_int_equal(tdp_populate(vm.mm, 0, two, 0, NULL), TDP_OK);
		assert_int_equal((leaf_at(&vm, GPA).flags & TDP_MAP_ACCESSED) != 0, keep);
		assert_false(leaf_at(&vm, GPA + TEST_PAGE).flags & TDP_MAP_ACCESSED);
		assert_int_equal(tdp_zap(vm.mm, 0, two, 0), TDP_OK);
	}
	vm_down(&vm);
}

static int seal(void *arg, const struct tdp_visit *v)
{
	struct test_vm *vm = arg;

	if (v->level == 1)
		assert_int_equal(mprotect(test_env_mem(&vm->env, v->pa), TEST_PAGE, PROT_READ), 0);
	return 0;
}

static int unseal(void *arg, const struct tdp_visit *v)
{
	struct test_vm *vm = arg;

	if (v->level == 1)
		assert_int_equal(
			mprotect(test_env_mem(&vm->env, v->pa), TEST_PAGE, PROT_READ | PROT_WRITE),
			0);
	return 0;
}

/*
 * A10: where everything is old, not one entry is written: the tables may as well be read-only
 * memory.
 */
static void old_entries_are_not_written(void **state)
{
	struct test_vm vm;
	uint64_t word;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 64 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < 64; i += 3)
		use(&vm, 0, GPA + i * TEST_PAGE, TDP_W);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, seal, &vm),
			 TDP_OK);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 0);
	assert_int_equal(tdp_age_bitmap(vm.mm, 0, range_of(GPA, 64 * TEST_PAGE), true, &word, 1),
			 0);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, unseal, &vm),
			 TDP_OK);
	use(&vm, 0, GPA, TDP_W);
	vm_down(&vm);
}

/*
 * A11: one bit for each page, as asking about each page would say; a huge page is all of its bits.
 */
static void bitmap_is_page_by_page(void **state)
{
	struct test_rand rand;
	struct test_vm vm;
	uint64_t pages, huge;

	test_rand_init(&rand, test_seed());
	vm_up(&vm, state, NULL);
	huge = block_of(&vm) / TEST_PAGE;
	pages = 2 * huge + 37;
	add_slot(&vm, 0, GPA, 2 * block_of(&vm) + 64 * TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_R);
	use(&vm, 0, GPA + block_of(&vm), TDP_R);
	assert_int_equal(tdp_split(vm.mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA, block_of(&vm)), NULL), 1);
	for (int i = 0; i < 40; i++)
		use(&vm, 0, GPA + test_below(&rand, pages) * TEST_PAGE, TDP_R);
	for (int clear = 0; clear < 2; clear++) {
		uint64_t words = (pages + 63) / 64, *bits = calloc(words, 8), any = 0;

		assert_non_null(bits);
		memset(bits, 0xff, words * 8);
		assert_int_equal(tdp_age_bitmap(vm.mm, 0, range_of(GPA, pages * TEST_PAGE), false,
						bits, words),
				 1);
		for (uint64_t i = 0; i < words * 64; i++) {
			tdp_gpa_t gpa = GPA + i * TEST_PAGE;
			bool young = i < pages && mapped(&vm, 0, gpa) &&
				     leaf_at(&vm, gpa).flags & TDP_MAP_ACCESSED;

			assert_int_equal(bits[i / 64] >> i % 64 & 1, young);
			any += young;
		}
		assert_true(any >= huge);
		assert_int_equal(tdp_age_bitmap(vm.mm, 0, range_of(GPA, pages * TEST_PAGE), true,
						bits, words),
				 1);
		assert_int_equal(tdp_age_bitmap(vm.mm, 0, range_of(GPA, pages * TEST_PAGE), true,
						bits, words),
				 0);
		for (uint64_t w = 0; w < words; w++)
			assert_int_equal(bits[w], 0);
		assert_int_equal(tdp_age_bitmap(vm.mm, 0, range_of(GPA, pages * TEST_PAGE), true,
						bits, words - 1),
				 TDP_EINVAL);
		free(bits);
		/* The second time after other uses; what a TLB holds does not count as one. */
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA, block_of(&vm)), 0), TDP_OK);
		for (uint64_t i = 0; i < huge; i++)
			use(&vm, 0, GPA + i * TEST_PAGE, TDP_R);
	}
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(stops_at_the_first),        TEST_CASE(clears_and_tells),
		TEST_CASE(used_again_is_young_again), TEST_CASE(only_valid_roots),
		TEST_CASE(asks_and_flushes_nothing),  TEST_CASE(written_before_aging_is_logged),
		TEST_CASE(young_across_a_zap),        TEST_CASE(old_entries_are_not_written),
		TEST_CASE(bitmap_is_page_by_page),
	};

	return test_run("aging", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Write protection, write tracking and the log of what was written, in both ways of logging. */
#include "steps.h"

#define GPA GIB
#define PAGES 192u
#define WORDS (PAGES / 64)

static const struct tdp_range all_pages = {GPA, PAGES *TDP_PAGE_SIZE};

static uint32_t open_slot(struct test_vm *vm, void **state, uint32_t flags)
{
	vm_up(vm, state, &(struct test_vm_options){.cpus = 2});
	return add_slot(vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, flags);
}

static void page_write(struct test_vm *vm, uint64_t page)
{
	use(vm, page % 2, GPA + page * TEST_PAGE, TDP_W);
}

static void harvest(struct test_vm *vm, uint32_t id, uint64_t bits[WORDS])
{
	memset(bits, 0xff, WORDS * 8);
	assert_int_equal(tdp_dirty_harvest(vm->mm, id, 0, bits, WORDS), TDP_OK);
}

static void get(struct test_vm *vm, uint32_t id, uint64_t bits[WORDS])
{
	memset(bits, 0xff, WORDS * 8);
	assert_int_equal(tdp_dirty_get(vm->mm, id, 0, bits, WORDS), TDP_OK);
}

/*
 * D01: W goes from every leaf of the range and of no other, one flush; each comes back with one
 * fault.
 */
static void write_protect(void **state)
{
	struct tdp_range part = {GPA + 10 * TEST_PAGE, 50 * TEST_PAGE};
	struct test_vm vm;
	uint64_t flushes;

	open_slot(&vm, state, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < PAGES; i++)
		page_write(&vm, i);
	flushes = broadcasts_of(&vm);
	assert_int_equal(tdp_write_protect(vm.mm, 0, part), TDP_OK);
	assert_int_equal(broadcasts_of(&vm), flushes + 1);
	for (uint64_t i = 0; i < PAGES; i++) {
		struct tdp_mapping leaf = leaf_at(&vm, GPA + i * TEST_PAGE);
		bool in = i >= 10 && i < 60;

		assert_int_equal((leaf.prot & TDP_W) != 0, !in);
		assert_true(leaf.flags & TDP_MAP_MMU_WRITABLE);
		assert_int_equal(use(&vm, i % 2, GPA + i * TEST_PAGE, TDP_R).faults, 0);
		assert_int_equal(use(&vm, i % 2, GPA + i * TEST_PAGE, TDP_W).faults, in);
	}
	vm_down(&vm);
}

/* D02: a cleared range reports what is written after, and nothing else; the rest stays reported. */
static void clear_a_range(void **state)
{
	struct test_vm vm;
	uint64_t bits[WORDS];
	uint32_t id;

	id = open_slot(&vm, state, TDP_SLOT_FORCE_4K);
	for_each_mode(&vm, mode)
	{
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode), TDP_OK);
		for (uint64_t i = 0; i < PAGES; i++)
			page_write(&vm, i);
		assert_int_equal(tdp_dirty_clear(vm.mm, id, 3, 100), TDP_OK);
		page_write(&vm, 70);
		page_write(&vm, 150);
		harvest(&vm, id, bits);
		for (uint64_t i = 0; i < PAGES; i++)
			assert_int_equal(bits[i / 64] >> i % 64 & 1, i < 3 || i >= 103 || i == 70);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

/*
 * D03, D05: random writes, clears by mask, harvests: the log is what a bitmap of the writes says.
 */
static void log_is_what_was_written(void **state)
{
	struct test_rand rand;
	struct test_vm vm;
	uint64_t bits[WORDS], model[WORDS];
	uint32_t id;

	test_rand_init(&rand, test_seed());
	id = open_slot(&vm, state, TDP_SLOT_FORCE_4K);
	for_each_mode(&vm, mode)
	{
		for (uint64_t i = 0; i < PAGES; i++)
			page_write(&vm, i);
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode), TDP_OK);
		memset(model, 0, sizeof(model));
		for (int step = 0; step < 1500; step++) {
			uint64_t page = test_below(&rand, PAGES), mask = test_rand(&rand);

			switch (test_below(&rand, 12)) {
			case 0:
				if (!mask)
					break;
				assert_int_equal(
					tdp_dirty_clear_mask(vm.mm, id, page / 64 * 64, mask),
					TDP_OK);
				model[page / 64] &= ~mask;
				break;
			case 1:
				harvest(&vm, id, bits);
				assert_memory_equal(bits, model, sizeof(bits));
				memset(model, 0, sizeof(model));
				break;
			case 2:
				get(&vm, id, bits);
				assert_memory_equal(bits, model, sizeof(bits));
				break;
			case 3: /* the host writes */
				assert_int_equal(tdp_dirty_mark(vm.mm, id, page, 1), TDP_OK);
				model[page / 64] |= (uint64_t)1 << page % 64;
				break;
			case 4:
				assert_true(tdp_age(vm.mm, 0,
						    range_of(GPA + page * TEST_PAGE, TEST_PAGE),
						    NULL) >= 0);
				break;
			case 5: use(&vm, 0, GPA + page * TEST_PAGE, TDP_R); break;
			default:
				page_write(&vm, page);
				model[page / 64] |= (uint64_t)1 << page % 64;
			}
		}
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

/*
 * D04: whether by Dirty bit or by protection is one decision for a machine, and shows in the
 * faults.
 */
static void one_way_for_a_machine(void **state)
{
	struct test_vm vm;
	uint64_t bits[WORDS];
	bool by_d;
	uint32_t id;

	id = open_slot(&vm, state, TDP_SLOT_FORCE_4K);
	by_d = vm.info.ad & 2;
	for (uint64_t i = 0; i < 4; i++)
		page_write(&vm, 0);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_DBIT), by_d ? TDP_OK : TDP_ENOTSUP);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO), TDP_OK);
	assert_int_equal(tdp_dirty_log(vm.mm, id, by_d ? TDP_LOG_WRPROT : TDP_LOG_DBIT),
			 by_d ? TDP_EEXIST : TDP_ENOTSUP);
	page_write(&vm, 0);
	harvest(&vm, id, bits);
	assert_int_equal(bits[0], 1);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, !by_d);
	harvest(&vm, id, bits);
	assert_int_equal(bits[0], 1);
	vm_down(&vm);
}

static int writable_is_small(void *arg, const struct tdp_visit *v)
{
	if (v->prot & TDP_W) {
		++*(unsigned *)arg;
		assert_int_equal(v->level, 0);
	}
	return 0;
}

/* D06: while logging, what is writable is a 4K page; huge pages are split by the write. */
static void logged_and_writable_is_4k(void **state)
{
	struct test_vm vm;
	uint64_t size, word;
	uint32_t id;

	vm_up(&vm, state, NULL);
	size = 2 * block_of(&vm);
	id = add_slot(&vm, 0, GPA, size, SLOT_PA, 0);
	for_each_mode(&vm, mode)
	{
		unsigned writable = 0;

		assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL), TDP_OK);
		use(&vm, 0, GPA, TDP_W);
		use(&vm, 0, GPA + block_of(&vm), TDP_W);
		assert_int_equal(leaf_at(&vm, GPA).lg2, test_vm_lg2(&vm, 1));
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode), TDP_OK);
		use(&vm, 0, GPA + block_of(&vm) + TEST_PAGE, TDP_R);
		use(&vm, 0, GPA + 5 * TEST_PAGE, TDP_W);
		assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_LEAF,
					  writable_is_small, &writable),
				 TDP_OK);
		assert_int_equal(writable, 1);
		assert_int_equal(leaf_at(&vm, GPA + block_of(&vm)).lg2, test_vm_lg2(&vm, 1));
		assert_int_equal(tdp_dirty_get(vm.mm, id, 0, &word, 1), TDP_OK);
		assert_int_equal(word, 1 << 5);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
		for (tdp_gpa_t gpa = GPA; gpa < GPA + size; gpa += TEST_PAGE)
			use(&vm, 0, gpa, TDP_W);
	}
	vm_down(&vm);
}

/* D07: getting does not clear; all may start dirty, and then clearing is what arms a page. */
static void get_and_clear_apart(void **state)
{
	struct test_vm vm;
	uint64_t bits[WORDS], flushes;
	uint32_t id;

	id = open_slot(&vm, state, TDP_SLOT_FORCE_4K);
	for_each_mode(&vm, mode)
	{
		for (uint64_t i = 0; i < PAGES; i++)
			page_write(&vm, i);
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode | TDP_LOG_INITIALLY_SET), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes); /* nothing armed yet */
		for (int i = 0; i < 2; i++) {
			get(&vm, id, bits);
			for (size_t w = 0; w < WORDS; w++)
				assert_int_equal(bits[w], ~(uint64_t)0);
		}
		assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 0);
		assert_int_equal(tdp_dirty_clear(vm.mm, id, 64, 128), TDP_OK);
		get(&vm, id, bits);
		assert_int_equal(bits[0], ~(uint64_t)0);
		assert_int_equal(bits[1] | bits[2], 0);
		page_write(&vm, 65);
		page_write(&vm, 0);
		get(&vm, id, bits);
		assert_int_equal(bits[1], 2);
		assert_int_equal(bits[2], 0);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

/* Every log begins with what it was asked for, wherever the one before had something: a bitmap of many pages. */
static void begins_anew(void **state)
{
	enum { BIG = 9 * 262144 + 3, BIG_WORDS = BIG / 64 + 1 };
	static uint64_t bits[BIG_WORDS];
	static const uint64_t at[] = {
		0,          32767,           32768,  5 * 32768 + 7, 64 * 32768 - 1,
		64 * 32768, 70 * 32768 + 64, BIG - 1};
	struct test_vm vm;
	uint64_t pages, words;
	uint32_t id;

	vm_up(&vm, state, NULL);
	pages = (test_vm_size(&vm) - GPA) / TEST_PAGE - 61;
	pages = pages < BIG ? pages : BIG;
	words = (pages + 63) / 64;
	id = add_slot(&vm, 0, GPA, pages * TEST_PAGE, GPA, TDP_SLOT_FORCE_4K);
	for (unsigned round = 0; round < 4; round++) {
		uint64_t all = round == 2 ? ~(uint64_t)0 : 0;

		assert_int_equal(tdp_dirty_log(vm.mm, id,
					       TDP_LOG_WRPROT | (all ? TDP_LOG_INITIALLY_SET : 0)),
				 TDP_OK);
		assert_int_equal(tdp_dirty_get(vm.mm, id, 0, bits, words), TDP_OK);
		for (size_t w = 0; w < words - 1; w++)
			assert_int_equal(bits[w], all);
		assert_int_equal(bits[words - 1], all & 7);
		for (size_t i = 0; i < ARRAY_LEN(at); i++) {
			uint64_t page = at[i] < pages ? at[i] : pages - 1, word;

			if (round == 0)
				use(&vm, 0, GPA + page * TEST_PAGE, TDP_W);
			else
				assert_int_equal(tdp_dirty_mark(vm.mm, id, page, 1), TDP_OK);
			assert_int_equal(tdp_dirty_get(vm.mm, id, page / 64 * 64, &word, 1),
					 TDP_OK);
			assert_true(word >> page % 64 & 1);
		}
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	}
	vm_down(&vm);
}

static void fill(struct test_vm *vm, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++)
		use(vm, 0, GPA + i * block_of(vm), TDP_W);
}

/* D11: split when logging starts: no write splits later, and without memory logging is not on. */
static void split_when_logging_starts(void **state)
{
	struct test_vm vm;
	uint64_t splits, word;
	uint32_t id;

	vm_up(&vm, state, &(struct test_vm_options){.chunk_lg2 = TEST_CHUNK_SMALL});
	id = add_slot(&vm, 0, GPA, 24 * block_of(&vm), SLOT_PA, 0);
	for_each_mode(&vm, mode)
	{
		fill(&vm, 24);
		test_env_fail(&vm.env, 1);
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode | TDP_LOG_EAGER_SPLIT), TDP_ENOMEM);
		test_env_fail(&vm.env, 0);
		assert_int_equal(tdp_dirty_get(vm.mm, id, 0, &word, 1), TDP_ENOENT);
		assert_int_equal(tdp_dirty_log(vm.mm, id, mode | TDP_LOG_EAGER_SPLIT), TDP_OK);
		splits = stats_of(&vm).splits;
		for (uint64_t i = 0; i < 24; i++) {
			use(&vm, 0, GPA + i * block_of(&vm) + 9 * TEST_PAGE, TDP_W);
			assert_int_equal(leaf_at(&vm, GPA + i * block_of(&vm)).lg2, 12);
		}
		assert_int_equal(stats_of(&vm).splits, splits);
		/* D12: and when it stops, huge pages come back in place. */
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF | TDP_LOG_RECOVER), TDP_OK);
		for (uint64_t i = 0; i < 24; i++) {
			assert_int_equal(leaf_at(&vm, GPA + i * block_of(&vm)).lg2,
					 test_vm_lg2(&vm, 1));
			assert_int_equal(use(&vm, 0, GPA + i * block_of(&vm), TDP_R).faults, 0);
			/* W comes back with one fault for all of it. */
			assert_true(use(&vm, 0, GPA + i * block_of(&vm), TDP_W).faults <= 1);
			assert_int_equal(
				use(&vm, 0, GPA + i * block_of(&vm) + TEST_PAGE, TDP_W).faults, 0);
		}
	}
	vm_down(&vm);
}

/* D12: without the flag nothing is rebuilt until asked for. */
static void recover_when_logging_stops(void **state)
{
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, 0);
	for (int recover = 0; recover < 2; recover++) {
		fill(&vm, 4);
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT),
				 TDP_OK);
		assert_int_equal(
			tdp_dirty_log(vm.mm, id,
				      recover ? TDP_LOG_OFF | TDP_LOG_RECOVER : TDP_LOG_OFF),
			TDP_OK);
		assert_int_equal(leaf_at(&vm, GPA).lg2, recover ? test_vm_lg2(&vm, 1) : 12);
		assert_true(mapped(&vm, 0, GPA + 3 * block_of(&vm)));
	}
	vm_down(&vm);
}

/* D13: tracked writes: no stale right is left when it returns; what is not tracked goes on. */
static void tracking_is_flushed(void **state)
{
	struct tdp_range page = {GPA + 3 * TEST_PAGE, TEST_PAGE};
	struct test_vm vm;
	uint64_t flushes;

	open_slot(&vm, state, 0);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		use(&vm, cpu, GPA, TDP_W);
		use(&vm, cpu, page.start, TDP_W);
	}
	flushes = broadcasts_of(&vm);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	assert_true(broadcasts_of(&vm) > flushes);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		stopped(&vm, cpu, page.start, TDP_W, TDP_FAULT_TRACKED);
		assert_int_equal(leaf_at(&vm, page.start).prot & TDP_RWX, TDP_R | TDP_X);
		use(&vm, cpu, GPA, TDP_W);
	}
	/* Nor does write protection of the rest, or a second tracker, give W back. */
	assert_int_equal(tdp_write_protect(vm.mm, 0, all_pages), TDP_OK);
	use(&vm, 0, GPA, TDP_W);
	stopped(&vm, 0, page.start, TDP_W, TDP_FAULT_TRACKED);
	/* Only memory in slots can be tracked, and all or nothing. */
	assert_int_equal(tdp_write_track(vm.mm, 0, range_of(GPA, (PAGES + 1) * TEST_PAGE), true),
			 TDP_ENOENT);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	use(&vm, 0, page.start, TDP_W);
	vm_down(&vm);
}

/* Tables that are cut off hand over their dirty bits: of each page that was written, and of no other. */
static void zapped_tables_tell_what_was_written(void **state)
{
	static const uint64_t pattern[] = {0, ~UINT64_C(0), UINT64_C(0x8000f00dff0000a1)};
	uint64_t bits[16], pages;
	struct tdp_range all;
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	all = range_of(GPA, 2 * block_of(&vm));
	pages = all.size / TEST_PAGE;
	assert_true(pages <= ARRAY_LEN(bits) * 64);
	id = add_slot(&vm, 0, all.start, all.size, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO), TDP_OK);
	for (size_t row = 0; row < 2 * ARRAY_LEN(pattern); row++) {
		/* First by faults, which tell the log themselves. */
		for (uint64_t i = 0; i < pages; i++)
			use(&vm, 0, GPA + i * TEST_PAGE, TDP_W);
		assert_int_equal(tdp_dirty_clear(vm.mm, id, 0, pages), TDP_OK);
		for (uint64_t i = 0; i < pages; i++) {
			uint64_t word = pattern[(row + i / 64) % ARRAY_LEN(pattern)];

			use(&vm, 0, GPA + i * TEST_PAGE, word >> i % 64 & 1 ? TDP_W : TDP_R);
		}
		assert_int_equal(tdp_zap(vm.mm, 0, all, 0), TDP_OK);
		assert_int_equal(tdp_dirty_harvest(vm.mm, id, 0, bits, (pages + 63) / 64), TDP_OK);
		for (uint64_t i = 0; i < pages; i++)
			assert_int_equal(bits[i / 64] >> i % 64 & 1,
					 pattern[(row + i / 64) % ARRAY_LEN(pattern)] >> i % 64 &
						 1);
	}
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(write_protect),
		TEST_CASE(clear_a_range),
		TEST_CASE(log_is_what_was_written),
		TEST_CASE(one_way_for_a_machine),
		TEST_CASE(logged_and_writable_is_4k),
		TEST_CASE(get_and_clear_apart),
		TEST_CASE(begins_anew),
		TEST_CASE(split_when_logging_starts),
		TEST_CASE(recover_when_logging_stops),
		TEST_CASE(tracking_is_flushed),
		TEST_CASE(zapped_tables_tell_what_was_written),
	};

	return test_run("dirty_log", cases, ARRAY_LEN(cases));
}

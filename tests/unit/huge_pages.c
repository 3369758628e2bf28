/* SPDX-License-Identifier: BSD-2-Clause */
/* How large a leaf may be, splitting and collapsing. */
#include "steps.h"

#define GPA GIB

static uint32_t max_lg2(struct test_vm *vm, tdp_gpa_t gpa)
{
	uint32_t lg2 = 0;

	assert_int_equal(tdp_max_lg2(vm->mm, 0, gpa, &lg2), TDP_OK);
	return lg2;
}

/* The largest page size of the machine that is not larger than lg2. */
static uint32_t at_most(const struct test_vm *vm, uint32_t lg2)
{
	uint32_t level, best = 12;

	for (level = 0; level < vm->info.levels; level++)
		if (vm->info.leaf_levels >> level & 1 && test_vm_lg2(vm, level) <= lg2)
			best = test_vm_lg2(vm, level);
	return best;
}

/*
 * S01, S02: one answer for a gpa: by ends that are not aligned, by policy, by tracking, by
 * logging.
 */
static void how_large(void **state)
{
	struct test_vm vm;
	uint64_t block;
	uint32_t id, lg2;

	vm_up(&vm, state, NULL);
	block = block_of(&vm);
	lg2 = test_vm_lg2(&vm, 1);
	id = add_slot(&vm, 0, GPA + TEST_PAGE, 3 * block, SLOT_PA + TEST_PAGE, 0);
	assert_int_equal(max_lg2(&vm, GPA + TEST_PAGE), 12);
	assert_int_equal(max_lg2(&vm, GPA + block), lg2);
	assert_int_equal(max_lg2(&vm, GPA + 3 * block - 1), lg2);
	assert_int_equal(max_lg2(&vm, GPA + 3 * block), 12);
	assert_int_equal(tdp_max_lg2(vm.mm, 0, GPA, &lg2), TDP_ENOENT);
	assert_int_equal(
		tdp_write_track(vm.mm, 0, range_of(GPA + block + 7 * TEST_PAGE, TEST_PAGE), true),
		TDP_OK);
	assert_int_equal(max_lg2(&vm, GPA + block), 12);
	assert_int_equal(max_lg2(&vm, GPA + 2 * block), lg2);
	use(&vm, 0, GPA + block, TDP_W);
	assert_int_equal(leaf_at(&vm, GPA + block).lg2, 12);
	assert_int_equal(
		tdp_write_track(vm.mm, 0, range_of(GPA + block + 7 * TEST_PAGE, TEST_PAGE), false),
		TDP_OK);
	assert_int_equal(max_lg2(&vm, GPA + block), lg2);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_WRPROT), TDP_OK);
	assert_int_equal(max_lg2(&vm, GPA + block), 12);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_OFF), TDP_OK);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, TDP_SLOT_FORCE_4K), TDP_OK);
	assert_int_equal(max_lg2(&vm, GPA + block), 12);
	vm_down(&vm);
}

/*
 * S03, S04, S05: random slots: a leaf lies within its slot, is aligned in both spaces, and shows
 * its memory.
 */
static void within_the_slot_and_congruent(void **state)
{
	struct test_rand rand;
	struct test_vm vm;

	test_rand_init(&rand, test_seed());
	vm_up(&vm, state, NULL);
	for (int round = 0; round < 60; round++) {
		uint64_t span = test_one_in(&rand, 4) ? 2 * GIB : 4 * block_of(&vm),
			 unit = TEST_PAGE;
		tdp_gpa_t gpa = span / TEST_PAGE * TEST_PAGE / 2;
		uint64_t size;
		tdp_pa_t pa;
		uint32_t id;

		if (span > test_vm_size(&vm) / 2)
			span = 4 * block_of(&vm);
		if (test_one_in(&rand, 2))
			unit = block_of(&vm);
		gpa = (1 + test_below(&rand, span / unit)) * unit;
		size = (1 + test_below(&rand, span / unit)) * unit;
		pa = SLOT_PA + gpa +
		     (test_one_in(&rand, 2) ? 0 : test_below(&rand, 600) * TEST_PAGE);
		id = add_slot(&vm, 0, gpa, size, pa, 0);
		for (int i = 0; i < 20; i++) {
			tdp_gpa_t at = gpa + (i < 2 ? (i ? size - 1 : 0) : test_below(&rand, size));
			uint32_t lg2 = max_lg2(&vm, at);
			struct tdp_mapping leaf;

			assert_int_equal(use(&vm, 0, at, TDP_W).pa, pa + (at - gpa));
			leaf = leaf_at(&vm, at);
			assert_true(leaf.lg2 <= lg2);
			assert_true(leaf.gpa >= gpa &&
				    leaf.gpa + ((uint64_t)1 << leaf.lg2) <= gpa + size);
			assert_int_equal((leaf.gpa | leaf.pa) & (((uint64_t)1 << leaf.lg2) - 1), 0);
			assert_int_equal(leaf.pa, pa + (leaf.gpa - gpa));
			/* And never smaller than it has to be, unless smaller ones are there. */
			if (i == 0)
				assert_int_equal(leaf.lg2, lg2);
		}
		assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
		assert_true(tdp_compact(vm.mm, 0, everything(&vm)) >= 0);
	}
	vm_down(&vm);
}

/* S05: what the backing has, in what the slot allows; whatever the resolver says. */
static void as_large_as_the_backing(void **state)
{
	struct test_backing mem;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	for (uint32_t lg2 = 12; lg2 <= 30; lg2 += lg2 == 12 ? 4 : lg2 == 16 ? 5 : 9) {
		uint64_t size = 2 * ((uint64_t)1 << lg2);
		uint32_t id;

		if (size < 2 * block_of(&vm))
			size = 2 * block_of(&vm);
		if (size > test_vm_size(&vm) / 4)
			break;
		id = add_backing(&vm, &mem, size, size, TDP_RWX, lg2);
		assert_int_equal(use(&vm, 0, size + 12345, TDP_W).pa,
				 test_backing_pa(&mem, size + 12345));
		assert_int_equal(leaf_at(&vm, size + 12345).lg2, at_most(&vm, lg2));
		assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
		test_backing_fini(&mem);
		assert_true(tdp_compact(vm.mm, 0, everything(&vm)) >= 0);
	}
	vm_down(&vm);
}

/* S06: where smaller pages are, a fault adds a small one and collapses nothing. */
static void smaller_ones_stay(void **state)
{
	struct test_vm vm;
	uint32_t id;

	vm_up(&vm, state, NULL);
	id = add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(tdp_slot_set_flags(vm.mm, id, 0), TDP_OK); /* zaps; the tables may stay */
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	assert_int_equal(leaf_at(&vm, GPA + block_of(&vm)).lg2, test_vm_lg2(&vm, 1));
	assert_int_equal(tdp_split(vm.mm, 0, range_of(GPA + block_of(&vm), TEST_PAGE), 12), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA + block_of(&vm), 3 * TEST_PAGE), 0),
			 TDP_OK);
	assert_int_equal(max_lg2(&vm, GPA + block_of(&vm)), test_vm_lg2(&vm, 1));
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	assert_int_equal(leaf_at(&vm, GPA + block_of(&vm)).lg2, 12);
	assert_int_equal(leaf_at(&vm, GPA + block_of(&vm) + 5 * TEST_PAGE).lg2, 12);
	assert_int_equal(stats_of(&vm).collapses, 0);
	vm_down(&vm);
}

/* ---- split and collapse ---------------------------------------------------------------------- */

static void same_translations(struct test_vm *vm, tdp_gpa_t gpa, uint64_t size, uint32_t lg2)
{
	for (tdp_gpa_t at = gpa; at < gpa + size; at += TEST_PAGE) {
		struct tdp_mapping leaf = leaf_at(vm, at);

		assert_int_equal(leaf.pa + (at - leaf.gpa), SLOT_PA + (at - gpa));
		assert_int_equal(leaf.lg2, lg2);
	}
}

/* S07: no memory: an error, the tables as they were, and it works later. */
static void split_without_memory(void **state)
{
	struct test_vm vm;
	struct tdp_range all;
	struct test_dump before;

	vm_up(&vm, state, &(struct test_vm_options){.chunk_lg2 = TEST_CHUNK_SMALL});
	all = range_of(GPA, 24 * block_of(&vm));
	add_slot(&vm, 0, GPA, all.size, SLOT_PA, 0);
	for (uint64_t i = 0; i < 24; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	before = dump_of(&vm);
	test_env_fail(&vm.env, 1);
	assert_int_equal(tdp_split(vm.mm, 0, all, 12), TDP_ENOMEM);
	test_env_fail(&vm.env, 0);
	same_as(&vm, &before);
	assert_int_equal(tdp_split(vm.mm, 0, all, 12), TDP_OK);
	same_translations(&vm, GPA, all.size, 12);
	assert_int_equal(stats_of(&vm).splits, 24);
	for (tdp_gpa_t gpa = GPA; gpa < GPA + all.size; gpa += TEST_PAGE)
		assert_int_equal(leaf_at(&vm, gpa).prot, TDP_RWX);
	vm_down(&vm);
}

static void make_small(struct test_vm *vm, uint64_t blocks)
{
	for (uint64_t i = 0; i < blocks; i++)
		use(vm, 0, GPA + i * block_of(vm), TDP_W);
	assert_int_equal(tdp_split(vm->mm, 0, range_of(GPA, blocks * block_of(vm)), 12), TDP_OK);
}

/* S08: in place, one flush for many, no fault afterwards, right after A and D. */
static void collapse_in_place(void **state)
{
	struct test_vm vm;
	uint64_t flushes, collapsed = 0, blocks = 8;
	struct tdp_mapping leaf;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, blocks * block_of(&vm), SLOT_PA, 0);
	make_small(&vm, blocks);
	flushes = broadcasts_of(&vm);
	assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, &collapsed), TDP_OK);
	assert_int_equal(collapsed, blocks);
	if (!(vm.fmt->format == TDP_FMT_S2_4K || vm.fmt->format == TDP_FMT_TEST))
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
	same_translations(&vm, GPA, blocks * block_of(&vm), test_vm_lg2(&vm, 1));
	leaf = leaf_at(&vm, GPA);
	assert_int_equal(leaf.prot, TDP_RWX);
	assert_true(leaf.flags & TDP_MAP_ACCESSED);
	for (uint64_t i = 0; i < blocks; i++)
		assert_int_equal(use(&vm, 0, GPA + i * block_of(&vm) + TEST_PAGE, TDP_W).faults, 0);
	/* A page without W among them: so is the huge page, until it is written. */
	make_small(&vm, 1);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(GPA + 3 * TEST_PAGE, TEST_PAGE)),
			 TDP_OK);
	assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, &collapsed), TDP_OK);
	assert_int_equal(collapsed, 1);
	assert_false(leaf_at(&vm, GPA).prot & TDP_W);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 1);
	vm_down(&vm);
}

/*
 * S08: not where pages differ, one is missing, the memory is not contiguous, or the slot says no.
 */
static void collapse_only_what_is_alike(void **state)
{
	struct test_backing mem;
	struct test_vm vm;
	uint64_t collapsed;
	struct tdp_range page;

	vm_up(&vm, state, NULL);
	page = range_of(GPA + 5 * TEST_PAGE, TEST_PAGE);
	add_backing(&vm, &mem, GPA, block_of(&vm), TDP_RWX, test_vm_lg2(&vm, 1));
#define COLLAPSES(n)                                                                               \
	do {                                                                                       \
		assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, &collapsed), TDP_OK);  \
		assert_int_equal(collapsed, (n));                                                  \
	} while (0)
	make_small(&vm, 1);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	COLLAPSES(0);
	use(&vm, 0, page.start, TDP_W);
	COLLAPSES(1);
	make_small(&vm, 1);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, true), TDP_OK);
	COLLAPSES(0);
	assert_int_equal(tdp_write_track(vm.mm, 0, page, false), TDP_OK);
	use(&vm, 0, page.start, TDP_W);
	COLLAPSES(1);
	/* The right memory but for one page in the middle, whatever the owner says now. */
	make_small(&vm, 1);
	assert_int_equal(tdp_zap(vm.mm, 0, page, 0), TDP_OK);
	mem.frame[5] += 0x1000;
	use(&vm, 0, page.start, TDP_W);
	mem.frame[5] -= 0x1000;
	COLLAPSES(0);
	assert_int_equal(test_backing_discard(&mem, vm.mm, 0, page), TDP_OK);
	use(&vm, 0, page.start, TDP_W);
	COLLAPSES(0);
#undef COLLAPSES
	assert_int_equal(stats_of(&vm).collapses, 2);
	test_backing_fini(&mem);
	vm_down(&vm);
}

/* S08: young and old pages side by side are alike; of what they differ in the huge page has what is safe. */
static void collapse_of_young_and_old(void **state)
{
	struct test_vm_options opts = {.emu_flags = TDP_EMU_NO_TLB}; /* each use is seen */
	uint64_t pages, collapsed;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	pages = block_of(&vm) / TEST_PAGE;
	add_slot(&vm, 0, GPA, block_of(&vm), SLOT_PA, 0);
	/* None young; all young; only the first, the last, one in the middle; all but that one. */
	for (unsigned round = 0; round < 6; round++) {
		uint64_t one = round == 2 ? 0 : round == 3 ? pages - 1 : pages / 2;
		bool seen = round > 0 || has_a(vm.fmt), tracked = tracks_access(vm.fmt);
		struct tdp_mapping leaf;

		make_small(&vm, 1);
		assert_true(tdp_age(vm.mm, 0, everything(&vm), NULL) >= 0);
		for (uint64_t i = 0; i < pages; i++)
			if (round == 1 || (round > 1 && (i == one) != (round == 5)))
				use(&vm, 0, GPA + i * TEST_PAGE, TDP_R);
		assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, &collapsed), TDP_OK);
		assert_int_equal(collapsed, 1);
		leaf = leaf_at(&vm, GPA);
		assert_int_equal(leaf.lg2, test_vm_lg2(&vm, 1));
		assert_int_equal((leaf.flags & TDP_MAP_ACCESSED) != 0, seen);
		assert_int_equal((leaf.flags & TDP_MAP_TRACKED_ACCESS) != 0, !seen && tracked);
		/* What is tracked has no W. */
		assert_int_equal(leaf.prot, tracked ? TDP_RWX & ~TDP_W : TDP_RWX);
		assert_int_equal(use(&vm, 0, GPA + one * TEST_PAGE, TDP_W).pa,
				 SLOT_PA + one * TEST_PAGE);
	}
	vm_down(&vm);
}

/* S09: the other way: zap, and a fault makes the huge page. */
static void collapse_by_zap(void **state)
{
	struct test_vm vm;
	uint64_t collapsed = 0;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, 0);
	make_small(&vm, 2);
	assert_int_equal(
		tdp_collapse(vm.mm, 0, range_of(GPA, block_of(&vm)), TDP_COLLAPSE_ZAP, &collapsed),
		TDP_OK);
	assert_int_equal(collapsed, 1);
	assert_false(mapped(&vm, 0, GPA));
	assert_int_equal(leaf_at(&vm, GPA + block_of(&vm)).lg2, 12);
	assert_int_equal(use(&vm, 0, GPA + TEST_PAGE, TDP_W).faults, 1);
	same_translations(&vm, GPA, block_of(&vm), test_vm_lg2(&vm, 1));
	vm_down(&vm);
}

struct seamless {
	struct tdp_emu_exit exit;
	unsigned flushes;
	int reason;
};

static void access_now(struct spy *spy, struct tdp_range range)
{
	struct seamless *s = spy->arg;

	(void)range;
	s->flushes++;
	s->reason = tdp_emu_access(spy->vm.cpu[1].emu, GPA + TEST_PAGE, TDP_W, &s->exit);
}

static bool without_break(const struct test_format *fmt)
{
	return is_x86(fmt);
}

/* E05: from small pages to the huge one there is no moment without a translation, and no wait. */
static void collapse_is_seamless(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .emu_flags = TDP_EMU_NO_TLB};
	struct seamless s;
	struct spy spy;
	uint64_t collapsed = 0;

	memset(&spy, 0, sizeof(spy));
	memset(&s, 0, sizeof(s));
	spy_up(&spy, state, &opts);
	add_slot(&spy.vm, 0, GPA, block_of(&spy.vm), SLOT_PA, 0);
	make_small(&spy.vm, 1);
	load(&spy.vm, 1);
	spy.arg = &s;
	spy.on_flush = access_now;
	assert_int_equal(tdp_collapse(spy.vm.mm, 0, everything(&spy.vm), 0, &collapsed), TDP_OK);
	spy.on_flush = NULL;
	assert_int_equal(collapsed, 1);
	assert_int_equal(s.flushes, 1);
	assert_int_equal(s.reason, TDP_EMU_OK);
	assert_int_equal(s.exit.pa, SLOT_PA + TEST_PAGE);
	vm_down(&spy.vm);
}

/* ---- counters and bounds --------------------------------------------------------------------- */

/*
 * S14: the counters by level are what a count of the tree says, after everything that moves them.
 */
static void counters_are_recounts(void **state)
{
	struct test_vm vm;
	uint64_t blocks = 6;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, blocks * block_of(&vm), SLOT_PA, 0);
	for (int step = 0; step < 8; step++) {
		struct tdp_report report = {.size = (uint32_t)sizeof(report)};
		struct tdp_stats stats;
		struct tdp_range part = range_of(GPA + 3 * TEST_PAGE, 2 * block_of(&vm));

		if (step == 0)
			for (uint64_t i = 0; i < blocks; i++)
				use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
		if (step == 1)
			assert_int_equal(tdp_split(vm.mm, 0, part, 12), TDP_OK);
		if (step == 2)
			assert_int_equal(tdp_collapse(vm.mm, 0, everything(&vm), 0, NULL), TDP_OK);
		if (step == 3)
			assert_int_equal(tdp_zap(vm.mm, 0, part, 0), TDP_OK);
		if (step == 4)
			stopped(&vm, 0, 3 * GPA, TDP_R, TDP_FAULT_MMIO);
		if (step == 5)
			assert_int_equal(tdp_populate(vm.mm, 0, part, 0, NULL), TDP_OK);
		if (step == 6)
			assert_int_equal(
				tdp_zap(vm.mm, 0,
					range_of(0, 4 * GIB > test_vm_size(&vm) ? test_vm_size(&vm)
										: 4 * GIB),
					0),
				TDP_OK);
		if (step == 7)
			assert_true(tdp_compact(vm.mm, 0, everything(&vm)) >= 0);
		assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
		stats = stats_of(&vm);
		assert_memory_equal(stats.leaves, report.leaves, sizeof(stats.leaves));
		assert_int_equal(stats.mmio, report.mmio);
		assert_int_equal(tables_of(&vm), report.tables);
	}
	vm_down(&vm);
}

static void count_yield(void *arg)
{
	++*(uint64_t *)arg;
}

/* S16: a long collapse gives way at least once for each table it merges. */
static void collapse_gives_way(void **state)
{
	struct test_vm vm;
	uint64_t yields = 0, blocks = 32, collapsed = 0;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, blocks * block_of(&vm), SLOT_PA, 0);
	make_small(&vm, blocks);
	vm.env.on_yield = count_yield;
	vm.env.on_yield_arg = &yields;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(
		tdp_collapse(vm.mm, 0, range_of(GPA, blocks * block_of(&vm)), 0, &collapsed),
		TDP_OK);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	assert_int_equal(collapsed, blocks);
	assert_true(yields >= blocks);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(how_large),
		TEST_CASE(within_the_slot_and_congruent),
		TEST_CASE(as_large_as_the_backing),
		TEST_CASE(smaller_ones_stay),
		TEST_CASE(split_without_memory),
		TEST_CASE(collapse_in_place),
		TEST_CASE(collapse_only_what_is_alike),
		TEST_CASE(collapse_of_young_and_old),
		TEST_CASE(collapse_by_zap),
		TEST_CASE_IF(collapse_is_seamless, without_break),
		TEST_CASE(counters_are_recounts),
		TEST_CASE(collapse_gives_way),
	};

	return test_run("huge_pages", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Taking mappings away: ranges, tables, everything, in steps; and that no way is left to what was
 * there.
 */
#include "steps.h"

#define GPA GIB

/* Z01: exactly the range, translations of it gone everywhere, the rest untouched, one flush. */
static void zap_takes_exactly_the_range(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm vm;
	struct tdp_range part;
	uint64_t pages = 64, before;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, pages * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	part = range_of(GPA + 7 * TEST_PAGE, 40 * TEST_PAGE);
	for (uint64_t i = 0; i < pages; i++)
		use(&vm, i % 2, GPA + i * TEST_PAGE, TDP_W);
	before = broadcasts_of(&vm);
	assert_int_equal(tdp_zap(vm.mm, 0, part, 0), TDP_OK);
	assert_int_equal(broadcasts_of(&vm), before + 1);
	assert_int_equal(tdp_emu_cached(vm.emu, part.start, part.size), 0);
	for (uint64_t i = 0; i < pages; i++)
		assert_int_equal(mapped(&vm, 0, GPA + i * TEST_PAGE), i < 7 || i >= 47);
	assert_int_equal(leaves_of(&vm), pages - 40);
	assert_int_equal(use(&vm, 0, GPA, TDP_W).faults, 0);
	/* Nothing there any more: nothing to flush. */
	before = broadcasts_of(&vm);
	assert_int_equal(tdp_zap(vm.mm, 0, part, 0), TDP_OK);
	assert_int_equal(broadcasts_of(&vm), before);
	assert_int_equal(tdp_zap(vm.mm, 0, part, TDP_ZAP_STRICT), TDP_ENOENT);
	vm_down(&vm);
}

struct tables {
	tdp_pa_t pa[TDP_LEVELS_MAX];
	tdp_gpa_t gpa[TDP_LEVELS_MAX];
};

static int note_table(void *arg, const struct tdp_visit *v)
{
	struct tables *t = arg;

	t->pa[v->level - 1] = v->pa;
	t->gpa[v->level - 1] = v->gpa;
	return 0;
}

/* Z02: one table by its address, with all below it; a root and what is no table are refused. */
static void zap_one_table(void **state)
{
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct test_dump before;
	struct tdp_root *root;
	struct test_vm vm;
	struct tables t;
	uint64_t tables;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	memset(&t, 0, sizeof(t));
	assert_int_equal(
		tdp_walk(vm.mm, 0, range_of(GPA, TEST_PAGE), TDP_WALK_TABLE_PRE, note_table, &t),
		TDP_OK);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm.mm, root, &view), TDP_OK);
	before = dump_of(&vm);
	assert_int_equal(tdp_zap_table(vm.mm, view.pa), TDP_EINVAL);
	assert_int_equal(tdp_zap_table(vm.mm, SLOT_PA), TDP_ENOENT);
	assert_int_equal(tdp_zap_table(vm.mm, 0), TDP_ENOENT);
	assert_int_equal(tdp_zap_table(vm.mm, ~(uint64_t)0), TDP_ENOENT);
	same_as(&vm, &before);
	tables = tables_of(&vm);
	assert_int_equal(tdp_zap_table(vm.mm, t.pa[0]), TDP_OK);
	assert_int_equal(tables_of(&vm), tables - 1);
	assert_int_equal(tdp_emu_cached(vm.emu, GPA, block_of(&vm)), 0);
	assert_false(mapped(&vm, 0, GPA));
	assert_true(mapped(&vm, 0, GPA + block_of(&vm)));
	assert_int_equal(tdp_zap_table(vm.mm, t.pa[0]), TDP_ENOENT);
	if (vm.info.levels > 2) {
		assert_int_equal(tdp_zap_table(vm.mm, t.pa[1]), TDP_OK);
		assert_int_equal(tables_of(&vm), tables - 3);
		assert_false(mapped(&vm, 0, GPA + block_of(&vm)));
	}
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	use(&vm, 0, GPA, TDP_W);
	vm_down(&vm);
}

/* Z13: unmapping inside a huge page keeps the rest, to the page; lazily the whole page goes. */
static void inside_a_huge_page(void **state)
{
	struct tdp_range part;
	struct test_vm vm;
	uint64_t pages;

	vm_up(&vm, state, NULL);
	pages = block_of(&vm) / TEST_PAGE;
	part = range_of(GPA + 3 * TEST_PAGE, 5 * TEST_PAGE);
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	assert_int_equal(leaves_of(&vm), 2);
	assert_int_equal(tdp_zap(vm.mm, 0, part, 0), TDP_OK);
	for (uint64_t i = 0; i < pages; i++) {
		struct tdp_mapping leaf;
		int status = translate(&vm, 0, GPA + i * TEST_PAGE, &leaf);

		assert_int_equal(status, i >= 3 && i < 8 ? TDP_ENOENT : TDP_OK);
		if (status)
			continue;
		assert_int_equal(leaf.lg2, 12);
		assert_int_equal(leaf.pa, SLOT_PA + i * TEST_PAGE);
		assert_int_equal(leaf.prot, TDP_RWX);
	}
	assert_int_equal(tdp_emu_cached(vm.emu, part.start, part.size), 0);
	assert_int_equal(use(&vm, 0, GPA + 2 * TEST_PAGE, TDP_W).faults, 0);
	/* No memory for the split: an error and nothing changed; but lazily it needs none. */
	part.start += block_of(&vm);
	test_rcu_run();
	vm.cfg.table_limit = 0;
	assert_int_equal(tdp_zap(vm.mm, 0, part, TDP_ZAP_LAZY), TDP_OK);
	assert_false(mapped(&vm, 0, GPA + block_of(&vm)));
	assert_false(mapped(&vm, 0, GPA + 2 * block_of(&vm) - TEST_PAGE));
	assert_true(mapped(&vm, 0, GPA + block_of(&vm) - TEST_PAGE));
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	vm_down(&vm);
}

/* Z03: an mm is destroyed without a single flush, and every page of it comes back. */
static void destroy_without_flush(void **state)
{
	struct test_vm vm;
	uint64_t flushes;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 8 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < 8; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_EBUSY); /* its vCPU is still there */
	use(&vm, 0, GPA, TDP_W);
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	vm.cpus = 0;
	flushes = flushes_of(&vm);
	assert_int_not_equal(atomic_load(&vm.env.tables), 0);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_OK);
	vm.mm = NULL;
	assert_int_equal(flushes_of(&vm), flushes);
	assert_int_equal(atomic_load(&vm.env.tables), 0);
	assert_int_equal(test_vm_fini(&vm), 0);
}

/*
 * Z04: zapping everything costs the same for a large tree as for a small one; old ones go in
 * steps.
 */
static void everything_at_once(void **state)
{
	struct tdp_stats stats;
	struct test_vm vm;
	uint64_t n = 200, tables, last;
	int more;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, 0, n * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < n; i++)
		use(&vm, 0, i * block_of(&vm), TDP_W);
	tables = atomic_load(&vm.env.tables);
	last = broadcasts_of(&vm);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(broadcasts_of(&vm), last + 1);
	assert_int_equal(atomic_load(&vm.env.tables), tables);
	assert_false(mapped(&vm, 0, 0));
	/* Faults do not wait for the old tree. */
	assert_int_equal(use(&vm, 0, 0, TDP_W).pa, SLOT_PA);
	stats = stats_of(&vm);
	assert_int_equal(stats.roots_valid, 1);
	assert_int_equal(stats.roots_invalid, 1);
	last = tables_of(&vm);
	do {
		uint64_t now;

		more = tdp_roots_reclaim(vm.mm, 10);
		assert_true(more >= 0);
		now = tables_of(&vm);
		/* One subtree more than asked for: a table and those below it. */
		assert_true(last - now <=
			    10 + 1 + ((uint64_t)1 << vm.info.index_lg2) + vm.info.root_pages);
		assert_true(!more || now < last);
		last = now;
	} while (more);
	assert_int_equal(stats_of(&vm).roots_invalid, 0);
	assert_int_equal(use(&vm, 0, 0, TDP_W).faults, 0);
	assert_int_equal(broadcasts_of(&vm), 1);
	vm_down(&vm);
}

/* Z14: when it returns no vCPU walks from an old root; each needs a new one before it goes on. */
static void old_roots_are_not_used(void **state)
{
	struct test_vm_options opts = {.cpus = 3};
	struct tdp_emu_exit exit;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, 4 * TEST_PAGE, SLOT_PA, 0);
	for (uint32_t i = 0; i < 3; i++)
		use(&vm, i, GPA, TDP_W);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_emu_cached(vm.emu, GPA, TEST_PAGE), 0);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(tdp_emu_access(vm.cpu[i].emu, GPA, TDP_R, &exit), TDP_EMU_RELOAD);
	/* A fault by the old root installs nothing. */
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	load(&vm, 1);
	assert_int_equal(tdp_emu_access(vm.cpu[0].emu, GPA, TDP_R, &exit), TDP_EMU_RELOAD);
	for (uint32_t i = 0; i < 3; i++)
		use(&vm, i, GPA, TDP_W);
	vm_down(&vm);
}

/* Z05: begins and ends are counted; one too many is refused, one too few is told at the end. */
static void invalidations_are_counted(void **state)
{
	struct tdp_range a, b;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	a = range_of(GPA, 4 * TEST_PAGE);
	b = range_of(GPA + 2 * TEST_PAGE, 4 * TEST_PAGE);
	add_slot(&vm, 0, GPA, 16 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	load(&vm, 0);
	assert_int_equal(tdp_invalidate_end(vm.mm, a), TDP_EINVAL);
	assert_int_equal(tdp_invalidate_begin(vm.mm, a), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, b), TDP_EINVAL);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_FAULT_RETRY);
	assert_int_equal(tdp_invalidate_begin(vm.mm, a), TDP_OK);
	assert_int_equal(tdp_invalidate_begin(vm.mm, b), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, a), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, b), TDP_OK);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_FAULT_RETRY);
	assert_int_equal(tdp_invalidate_end(vm.mm, a), TDP_OK);
	assert_int_equal(tdp_invalidate_end(vm.mm, a), TDP_EINVAL);
	assert_int_equal(fault(&vm, 0, GPA, TDP_R), TDP_FAULT_FIXED);
	/* Left open: said once, and no more than that. */
	assert_int_equal(tdp_invalidate_begin(vm.mm, a), TDP_OK);
	assert_int_equal(vm.env.last_log[0], 0);
	remake(&vm);
	assert_non_null(strstr(vm.env.last_log, "invalidation"));
	vm_down(&vm);
}

static void count_yield(void *arg)
{
	++*(unsigned *)arg;
}

/* Z06: who says so is never made to give way; who does not, is. */
static void zap_without_yield(void **state)
{
	struct test_vm vm;
	unsigned yields = 0;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, 0, 16 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	vm.env.on_yield = count_yield;
	vm.env.on_yield_arg = &yields;
	for (int i = 0; i < 2; i++) {
		for (uint64_t k = 0; k < 16; k++)
			use(&vm, 0, k * block_of(&vm) + 5 * TEST_PAGE, TDP_W);
		test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
		/* KEEP_YOUNG goes through every table. */
		assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm),
					 TDP_ZAP_KEEP_YOUNG | (i ? 0 : TDP_ZAP_NOYIELD)),
				 TDP_OK);
		test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
		assert_int_equal(yields != 0, i);
		assert_int_equal(leaves_of(&vm), 0);
	}
	vm_down(&vm);
}

/*
 * Z11: destroying a large mm gives way again and again, with nothing but the tree itself to wait
 * for.
 */
static void destroy_gives_way(void **state)
{
	struct test_vm vm;
	unsigned yields = 0;
	uint64_t n = 4000;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, 0, n * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < n; i++)
		use(&vm, 0, i * block_of(&vm), TDP_W);
	assert_true(atomic_load(&vm.env.tables) > n);
	vm.env.on_yield = count_yield;
	vm.env.on_yield_arg = &yields;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	vm.cpus = 0;
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_OK);
	vm.mm = NULL;
	if (yields < 2)
		fail_msg("%u yields", yields);
	assert_int_equal(test_vm_fini(&vm), 0);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(zap_takes_exactly_the_range), TEST_CASE(zap_one_table),
		TEST_CASE(inside_a_huge_page),          TEST_CASE(destroy_without_flush),
		TEST_CASE(everything_at_once),          TEST_CASE(old_roots_are_not_used),
		TEST_CASE(invalidations_are_counted),   TEST_CASE(zap_without_yield),
		TEST_CASE(destroy_gives_way),
	};

	return test_run("zaps", cases, ARRAY_LEN(cases));
}

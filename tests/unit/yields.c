/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Long operations that give way: same result, progress, nothing owed, short steps (rows I of
 * FEATURES.md).
 */
#include "machine.h"

#define REGIONS 8u
#define REGION_PAGES 24u

/* Where region i starts: far from the others, so that each has its own tables. */
static tdp_gpa_t region(const struct test_vm *vm, unsigned i)
{
	return test_vm_size(vm) / REGIONS * i;
}

static tdp_gpa_t page_of(const struct test_vm *vm, unsigned i, unsigned page)
{
	return region(vm, i) + page * TEST_PAGE;
}

/* Small pages at the start of each region, written and cached; a huge one behind them. */
static void build(struct test_vm *vm, uint32_t slot[REGIONS])
{
	uint64_t huge = (uint64_t)1 << huge_lg2(vm), size = test_vm_size(vm) / REGIONS;

	for (unsigned i = 0; i < REGIONS; i++) {
		tdp_gpa_t gpa = region(vm, i);

		assert_int_equal(test_vm_slot(vm, 0, gpa, huge, gpa, TDP_SLOT_FORCE_4K, &slot[i]),
				 TDP_OK);
		assert_int_equal(test_vm_slot(vm, 0, gpa + huge, size - huge, gpa + huge, 0, NULL),
				 TDP_OK);
		for (unsigned page = 0; page < REGION_PAGES; page++)
			assert_int_equal(test_vm_touch(vm, 0, page_of(vm, i, page), TDP_W), 0);
		/* Split by hand, so that it can be merged again. */
		assert_int_equal(test_vm_touch(vm, 0, gpa + huge, TDP_W), 0);
		if (i % 2)
			assert_int_equal(
				tdp_split(vm->mm, 0, range_of(gpa + huge, huge), TDP_PAGE_LG2),
				TDP_OK);
	}
}

struct outcome {
	int ret;
	uint64_t number;
	uint64_t bits[2];
};

static void do_zap(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_zap(vm->mm, 0, range_of(TEST_PAGE, test_vm_size(vm) - 2 * TEST_PAGE), 0);
}

static void do_zap_young(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_zap(vm->mm, 0, everything(vm), TDP_ZAP_KEEP_YOUNG);
}

static void do_age(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_age(vm->mm, 0, everything(vm), &o->number);
}

static void do_protect(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_write_protect(vm->mm, 0, everything(vm));
}

static void do_log(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	o->ret = tdp_dirty_log(vm->mm, slot[1], TDP_LOG_AUTO);
	for (unsigned page = 0; page < REGION_PAGES; page += 2)
		assert_int_equal(test_vm_touch(vm, 0, page_of(vm, 1, page), TDP_W), 0);
	if (o->ret == TDP_OK)
		o->ret = tdp_dirty_harvest(vm->mm, slot[1], 0, o->bits, 1);
}

static void do_split(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_split(vm->mm, 0, everything(vm), TDP_PAGE_LG2);
}

static void do_collapse(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_collapse(vm->mm, 0, everything(vm), 0, &o->number);
}

static void do_compact(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	for (unsigned page = 0; page < REGION_PAGES; page++)
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(page_of(vm, 3, page), TEST_PAGE), 0),
				 TDP_OK);
	o->ret = tdp_compact(vm->mm, 0, everything(vm));
}

static void do_reclaim(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	o->ret = tdp_roots_invalidate(vm->mm);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	if (o->ret == TDP_OK)
		o->ret = tdp_roots_reclaim(vm->mm, 0);
	o->number = stats_of(vm).roots_invalid;
}

static void do_populate(struct test_vm *vm, const uint32_t *slot, struct outcome *o)
{
	(void)slot;
	for (unsigned i = 0; i < REGIONS && o->ret == TDP_OK; i++)
		o->ret = tdp_populate(vm->mm, 0, range_of(region(vm, i), 64 * TEST_PAGE), 0,
				      &o->number);
}

static const struct operation {
	const char *name;
	void (*fn)(struct test_vm *vm, const uint32_t *slot, struct outcome *o);
	bool yields; /* everywhere */
} operations[] = {
	{"zap", do_zap, true},           {"zap, keeping young", do_zap_young, true},
	{"age", do_age, true},           {"write protect", do_protect, true},
	{"log", do_log, false},          {"split", do_split, true},
	{"collapse", do_collapse, true}, {"compact", do_compact, true},
	{"reclaim", do_reclaim, false},  {"populate", do_populate, true},
};

/* One operation on a new machine; its leaves in *dump, tables before it in *tables. */
static void run(void **state, const struct operation *op, enum test_yield mode, uint64_t n,
		struct outcome *o, struct test_dump *dump, uint64_t *tables)
{
	uint32_t slot[REGIONS];
	struct test_vm vm;

	memset(o, 0, sizeof(*o));
	vm_up(&vm, state, NULL);
	build(&vm, slot);
	*tables = tables_of(&vm);
	test_env_yield(&vm.env, mode, n);
	atomic_store(&vm.env.yield_asked, 0);
	op->fn(&vm, slot, o);
	o->bits[1] = atomic_load(&vm.env.yields);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	assert_int_equal(test_dump_take(&vm, 0, dump), TDP_OK);
	vm_down(&vm);
}

static void yielding_changes_no_result(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		const struct operation *op = &operations[i];
		struct test_dump calm, other;
		struct outcome a, b;
		uint64_t tables;

		run(state, op, TEST_YIELD_NEVER, 0, &a, &calm, &tables);
		assert_true(a.ret >= 0);
		assert_int_equal(a.bits[1], 0);
		for (uint64_t n = 1; n <= 3; n++) {
			run(state, op, n == 1 ? TEST_YIELD_ALWAYS : TEST_YIELD_NTH, n, &b, &other,
			    &tables);
			if (a.ret != b.ret || a.number != b.number || a.bits[0] != b.bits[0] ||
			    test_dump_diff(&calm, &other, true) != 0)
				fail_msg("%s differs when every %u. answer is to yield", op->name,
					 (unsigned)n);
			if (op->yields && b.bits[1] == 0)
				fail_msg("%s never yielded", op->name);
			test_dump_free(&other);
		}
		test_dump_free(&calm);
	}
}

/* Asked to give way at each step a walk still completes a table between two yields. */
static void always_contended_still_ends(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		struct test_dump dump;
		struct outcome o;
		uint64_t tables;

		run(state, &operations[i], TEST_YIELD_ALWAYS, 0, &o, &dump, &tables);
		/* Some walk twice (zap: low cuts, then high ones), compact once for each level. */
		if (o.bits[1] > 6 * tables + 64 * REGIONS)
			fail_msg("%s: %u yields for %u tables", operations[i].name,
				 (unsigned)o.bits[1], (unsigned)tables);
		test_dump_free(&dump);
	}
}

/*
 * The common case costs one question for each table; nobody is told to yield who was not asked
 * to.
 */
static void one_question_per_table(void **state)
{
	uint32_t slot[REGIONS];
	struct test_vm vm;
	uint64_t tables, asked;

	vm_up(&vm, state, NULL);
	build(&vm, slot);
	tables = tables_of(&vm);
	atomic_store(&vm.env.yield_asked, 0);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	asked = atomic_load(&vm.env.yield_asked);
	assert_int_equal(asked, tables);
	assert_int_equal(atomic_load(&vm.env.yields), 0);
	assert_int_equal(stats_of(&vm).yields, 0);
	vm_down(&vm);
}

static void yield_only_when_asked(void **state)
{
	uint32_t slot[REGIONS];
	struct test_vm vm;
	uint64_t before;

	vm_up(&vm, state, NULL);
	build(&vm, slot);
	/* NOYIELD: not even asked. */
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	atomic_store(&vm.env.yield_asked, 0);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, TEST_PAGE), TDP_ZAP_NOYIELD), TDP_OK);
	assert_int_equal(atomic_load(&vm.env.yield_asked), 0);
	assert_int_equal(atomic_load(&vm.env.yields), 0);
	/* As often as it said so, and counted. */
	test_env_yield(&vm.env, TEST_YIELD_NTH, 4);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	before = atomic_load(&vm.env.yields);
	assert_true(before >= 1 && before <= atomic_load(&vm.env.yield_asked) / 4);
	assert_int_equal(stats_of(&vm).yields, before);
	vm_down(&vm);
}

/* ---- nothing is owed across a yield ---- */

struct half_way {
	uint64_t gone, there; /* pages seen at yields */
	bool writes;          /* look at W instead of presence */
};

static void look_half_way(struct test_vm *vm, void *arg)
{
	struct half_way *h = arg;

	for (unsigned i = 0; i < REGIONS; i++) {
		for (unsigned page = 0; page < REGION_PAGES; page++) {
			tdp_gpa_t gpa = page_of(vm, i, page);
			struct tdp_mapping m;
			bool there = translate(vm, 0, gpa, &m) == TDP_OK;

			if (h->writes)
				there = there && m.prot & TDP_W;
			if (there)
				h->there++;
			else
				h->gone++;
			if (!there && tdp_emu_cached(vm->emu, gpa, TEST_PAGE))
				test_violation(&vm->env, "%#llx is gone and cached at a yield",
					       (unsigned long long)gpa);
		}
	}
}

static void at_yield(void *arg)
{
	struct aside *a = arg;

	test_env_yield(&a->vm->env, TEST_YIELD_NEVER, 0); /* not the other thread too */
	run_aside(a->vm, a->fn, a->arg);
	test_env_yield(&a->vm->env, TEST_YIELD_ALWAYS, 0);
}

static void flushed_before_a_yield(void **state)
{
	for (unsigned what = 0; what < 3; what++) {
		struct half_way h = {.writes = what == 2};
		uint32_t slot[REGIONS];
		struct test_vm vm;
		struct aside a = {&vm, look_half_way, &h};

		vm_up(&vm, state, NULL);
		build(&vm, slot);
		vm.env.on_yield = at_yield;
		vm.env.on_yield_arg = &a;
		test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
		if (what == 2)
			assert_int_equal(tdp_write_protect(vm.mm, 0, everything(&vm)), TDP_OK);
		else
			assert_int_equal(
				tdp_zap(vm.mm, 0, everything(&vm), what ? TDP_ZAP_KEEP_YOUNG : 0),
				TDP_OK);
		test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
		vm.env.on_yield = NULL;
		/* There were yields at which some was done and some not. */
		assert_true(h.gone > 0);
		assert_true(h.there > 0);
		vm_down(&vm);
	}
}

/* ---- tables are freed, and serve elsewhere, while a walk gives way ---- */

#define STRIPS 12u /* tables of small pages below one table */

struct rebuild {
	tdp_gpa_t strips, elsewhere;
	uint64_t entry; /* what one table of small pages covers */
	bool done;
};

/* A page in each of the tables of small pages from gpa on. */
static void touch_strips(struct test_vm *vm, tdp_gpa_t gpa, uint64_t entry)
{
	for (unsigned i = 0; i < STRIPS; i++)
		if (test_vm_touch(vm, 0, gpa + i * entry + i * TEST_PAGE, TDP_W))
			test_violation(&vm->env, "a page cannot be written");
}

static void rebuild(struct test_vm *vm, void *arg)
{
	struct rebuild *r = arg;

	if (r->done)
		return;
	r->done = true;
	if (tdp_zap(vm->mm, 0, range_of(0, test_vm_size(vm) / 2), 0) != TDP_OK)
		test_violation(&vm->env, "zap failed");
	test_rcu_run();
	/* The freed pages become other tables; those of the strips are others than before. */
	touch_strips(vm, r->elsewhere, r->entry);
	touch_strips(vm, r->strips, r->entry);
}

static bool has_strips(const struct test_format *fmt)
{
	return fmt->tree_levels >= 3;
}

/* What a walk knew before it gave way may be anything afterwards. */
static void walks_forget_at_a_yield(void **state)
{
	struct tdp_mapping m;
	struct rebuild r = {0};
	struct test_vm vm;
	struct aside a = {&vm, rebuild, &r};

	vm_up(&vm, state, NULL);
	r.entry = (uint64_t)1 << test_vm_lg2(&vm, 1);
	r.elsewhere = test_vm_size(&vm) / 2;
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	touch_strips(&vm, r.strips, r.entry);
	vm.env.on_yield = at_yield;
	vm.env.on_yield_arg = &a;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(0, STRIPS * r.entry)), TDP_OK);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	vm.env.on_yield = NULL;
	assert_true(r.done);
	/* The first table was done before; all others are those of now. */
	for (unsigned i = 0; i < STRIPS; i++) {
		uint64_t at = i * r.entry + i * TEST_PAGE;

		assert_int_equal(translate(&vm, 0, at, &m), TDP_OK);
		assert_int_equal(m.prot & TDP_W, i ? 0 : TDP_W);
		assert_int_equal(translate(&vm, 0, r.elsewhere + at, &m), TDP_OK);
		assert_int_equal(m.prot & TDP_W, TDP_W);
	}
	vm_down(&vm);
}

/* A table of small pages that was done before the walk gave way is not done again. */
static void nothing_is_done_twice(void **state)
{
	struct test_vm vm;
	uint64_t entry;

	vm_up(&vm, state, NULL);
	entry = (uint64_t)1 << test_vm_lg2(&vm, 1);
	assert_int_equal(test_vm_slot(&vm, 0, 0, STRIPS * entry, 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	touch_strips(&vm, 0, entry);
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	atomic_store(&vm.env.yield_asked, 0);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(0, STRIPS * entry), NULL), 1);
	/* For each of them it came from the table above once, and straight to that one. */
	assert_int_equal(atomic_load(&vm.env.yield_asked), STRIPS * 2);
	assert_int_equal(atomic_load(&vm.env.yields), STRIPS);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	vm_down(&vm);
}

/* ---- roots come and go while a walk gives way ---- */

static void new_roots(struct test_vm *vm, void *arg)
{
	uint64_t *times = arg;

	if ((*times)++ % 3)
		return;
	if (tdp_roots_invalidate(vm->mm) != TDP_OK || tdp_roots_reclaim(vm->mm, 4) < 0)
		test_violation(&vm->env, "invalidate or reclaim failed");
	test_rcu_run();
}

static void roots_may_go_at_a_yield(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(operations); i++) {
		struct outcome o = {0};
		uint32_t slot[REGIONS];
		uint64_t times = 0;
		struct test_vm vm;
		struct aside a = {&vm, new_roots, &times};

		vm_up(&vm, state, NULL);
		build(&vm, slot);
		test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
		vm.env.on_yield = at_yield;
		vm.env.on_yield_arg = &a;
		operations[i].fn(&vm, slot, &o);
		test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
		vm.env.on_yield = NULL;
		assert_true(o.ret >= 0 || o.ret == TDP_EAGAIN);
		/* No reference is left behind: all invalid roots go once the vCPU has left. */
		assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		assert_int_equal(stats_of(&vm).roots_invalid, 0);
		vm_down(&vm);
	}
}

/* ---- steps are short ---- */

#define SUBTREES 48u

struct steps {
	tdp_gpa_t gpa[SUBTREES];
	uint64_t left, largest;
};

static void measure(struct test_vm *vm, void *arg)
{
	struct steps *s = arg;
	uint64_t left = 0;

	for (unsigned i = 0; i < SUBTREES; i++)
		left += translate(vm, 0, s->gpa[i], NULL) == TDP_OK;
	if (s->left - left > s->largest)
		s->largest = s->left - left;
	s->left = left;
}

static bool has_many_subtrees(const struct test_format *fmt)
{
	return fmt->tree_levels >= 4; /* entries at level 2 that are not the root's own */
}

/* One entry at level 2 (1 GiB on the real formats) is the most that goes between two questions. */
static void a_step_is_one_subtree(void **state)
{
	struct steps s = {.left = SUBTREES};
	struct test_vm vm;
	struct aside a = {&vm, measure, &s};
	uint64_t entry;

	vm_up(&vm, state, NULL);
	entry = (uint64_t)1 << test_vm_lg2(&vm, 2);
	assert_int_equal(test_vm_slot(&vm, 0, 0, entry * SUBTREES, 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (unsigned i = 0; i < SUBTREES; i++) {
		s.gpa[i] = entry * i + i * TEST_PAGE % entry;
		assert_int_equal(test_vm_touch(&vm, 0, s.gpa[i], TDP_R), 0);
	}
	vm.env.on_yield = at_yield;
	vm.env.on_yield_arg = &a;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	vm.env.on_yield = NULL;
	measure(&vm, &s);
	assert_int_equal(s.left, 0);
	assert_int_equal(s.largest, 1);
	vm_down(&vm);
}

/* A quarter of a million leaves, for each format once. */
static bool one_of_each_format(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void a_full_gigabyte_goes_in_one_call(void **state)
{
	struct tdp_stats stats;
	struct test_vm vm;
	uint64_t subtrees;

	vm_up(&vm, state, NULL);
	subtrees = GIB >> test_vm_lg2(&vm, 2);
	assert_int_equal(test_vm_slot(&vm, 0, GIB, GIB, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GIB, GIB), 0, NULL), TDP_OK);
	assert_int_equal(stats_of(&vm).leaves[0], 262144);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(GIB, GIB), TDP_ZAP_NOYIELD), TDP_OK);
	stats = stats_of(&vm);
	assert_int_equal(stats.leaves[0], 0);
	/* Once; more often only where more than 256 subtrees would have to wait for it. */
	assert_int_equal(stats.flush_range + stats.flush_all, 1 + subtrees / 256);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(yielding_changes_no_result),
		TEST_CASE(always_contended_still_ends),
		TEST_CASE(one_question_per_table),
		TEST_CASE(yield_only_when_asked),
		TEST_CASE(flushed_before_a_yield),
		TEST_CASE_IF(walks_forget_at_a_yield, has_strips),
		TEST_CASE_IF(nothing_is_done_twice, has_strips),
		TEST_CASE(roots_may_go_at_a_yield),
		TEST_CASE_IF(a_step_is_one_subtree, has_many_subtrees),
		TEST_CASE_IF(a_full_gigabyte_goes_in_one_call, one_of_each_format),
	};

	return test_run("yields", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Aging that passes idle subtrees by (TDP_MM_AGE_TABLES): what it does not look at, what that costs, and that it never
 * answers anything else than what the leaves say.
 */
#include "steps.h"

#include <sys/mman.h>

#define GPA GIB
#define CALLS_TO_IDLE 3 /* what is young becomes old, is found idle, is looked at once more */

static bool has_table_a(const struct test_format *fmt)
{
	return is_x86(fmt) && has_a(fmt);
}

static const struct test_vm_options with_flag = {.mm_flags = TDP_MM_AGE_TABLES, .cpus = 2};

/* Nothing is cached: the next use walks from the root. */
static void forget(struct test_vm *vm)
{
	tdp_emu_backend.flush_all(vm->emu);
}

/* How many entries above the deciding one say that something below may have been used. */
static unsigned used_above(struct test_vm *vm, tdp_gpa_t gpa)
{
	uint64_t a = vm->fmt->format == TDP_FMT_EPT ? 1 << 8 : 1 << 5;
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};
	unsigned n = 0;

	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_OK);
	for (unsigned level = path.last_level + 1u; level <= path.first_level; level++)
		n += (path.entry[level] & a) != 0;
	return n;
}

static void age_until_idle(struct test_vm *vm)
{
	for (unsigned i = 0; i < CALLS_TO_IDLE; i++)
		assert_true(tdp_age(vm->mm, 0, everything(vm), NULL) >= 0);
	assert_int_equal(tdp_age(vm->mm, 0, everything(vm), NULL), 0);
}

static uint64_t age_all(struct test_vm *vm)
{
	uint64_t young = ~UINT64_C(0);

	assert_true(tdp_age(vm->mm, 0, everything(vm), &young) >= 0);
	return young;
}

/* ---- what the leaves say ---- */

struct census {
	tdp_gpa_t start, end;
	uint64_t young, *bits;
};

static int count_young(void *arg, const struct tdp_visit *v)
{
	struct census *c = arg;

	if (!(v->flags & TDP_MAP_ACCESSED))
		return 0;
	c->young++;
	for (tdp_gpa_t gpa = v->gpa; c->bits && gpa < v->gpa + ((uint64_t)1 << v->lg2);
	     gpa += TEST_PAGE)
		if (gpa >= c->start && gpa < c->end)
			c->bits[(gpa - c->start) / TEST_PAGE / 64] |=
				UINT64_C(1) << (gpa - c->start) / TEST_PAGE % 64;
	return 0;
}

static struct census census_of(struct test_vm *vm, struct tdp_range range, uint64_t *bits)
{
	struct census c = {range.start, range.start + range.size, 0, bits};
	int ret = tdp_walk(vm->mm, 0, range, TDP_WALK_LEAF, count_young, &c);

	assert_true(ret == TDP_OK || ret == TDP_ENOENT);
	return c;
}

/* An age call of each kind answers what the leaves say. */
static void ages_as_the_leaves_say(struct test_vm *vm, struct tdp_range range, unsigned kind)
{
	uint64_t words = (range.size / TEST_PAGE + 63) / 64, young = 0, *want, *got;
	struct census c;

	if (kind < 2) {
		c = census_of(vm, range, NULL);
		assert_int_equal(tdp_test_age(vm->mm, 0, range), c.young != 0);
		if (kind == 1)
			return;
		assert_int_equal(tdp_age(vm->mm, 0, range, &young), c.young != 0);
		assert_int_equal(young, c.young);
		return;
	}
	want = calloc(words, 8);
	got = calloc(words, 8);
	assert_true(want && got);
	c = census_of(vm, range, want);
	assert_int_equal(tdp_age_bitmap(vm->mm, 0, range, kind == 2, got, words), c.young != 0);
	assert_memory_equal(want, got, words * 8);
	free(want);
	free(got);
}

/* ---- cases ---- */

/* Where an MMU sets no such bits it is refused. */
static void refused_elsewhere(void **state)
{
	const struct test_format *fmt = format_of(state);
	struct test_vm vm;

	assert_int_equal(test_vm_init(&vm, fmt, &with_flag),
			 has_table_a(fmt) ? TDP_OK : TDP_ENOTSUP);
	if (!has_table_a(fmt))
		return;
	assert_int_equal(vm.info.flags & TDP_MM_AGE_TABLES, TDP_MM_AGE_TABLES);
	vm_down(&vm);
}

struct tables {
	struct test_vm *vm;
	void *page[64];
	unsigned count;
};

static int keep_table(void *arg, const struct tdp_visit *v)
{
	struct tables *t = arg;

	assert_true(t->count < ARRAY_LEN(t->page));
	t->page[t->count++] = test_env_mem(&t->vm->env, v->pa);
	return 0;
}

/* A12: not one entry below an idle one is read: the tables may as well be no memory at all. */
static void idle_tables_are_not_read(void **state)
{
	struct tables tables = {0};
	struct test_vm vm;
	uint64_t word;

	vm_up(&vm, state, &with_flag);
	tables.vm = &vm;
	add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	add_slot(&vm, 0, 3 * GPA, block_of(&vm), SLOT_PA + GIB, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 4; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	use(&vm, 0, 3 * GPA, TDP_W);
	age_until_idle(&vm);
	assert_int_equal(used_above(&vm, GPA), 0);
	assert_int_equal(
		tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, keep_table, &tables),
		TDP_OK);
	assert_true(tables.count > 6);
	for (unsigned i = 0; i < tables.count; i++)
		assert_int_equal(mprotect(tables.page[i], TEST_PAGE, PROT_NONE), 0);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 0);
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA + TEST_PAGE, TEST_PAGE), NULL), 0);
	for (int clear = 0; clear < 2; clear++)
		assert_int_equal(
			tdp_age_bitmap(vm.mm, 0, range_of(GPA, 64 * TEST_PAGE), clear, &word, 1),
			0);
	for (unsigned i = 0; i < tables.count; i++)
		assert_int_equal(mprotect(tables.page[i], TEST_PAGE, PROT_READ | PROT_WRITE), 0);
	/* One is used: the way to it is looked at, and the others' tables are not. */
	use(&vm, 0, GPA + 2 * block_of(&vm), TDP_R);
	assert_int_equal(used_above(&vm, GPA + 2 * block_of(&vm)), vm.info.levels - 1);
	assert_int_equal(age_all(&vm), 1);
	age_until_idle(&vm);
	vm_down(&vm);
}

/* A12: one flush when something turns idle, none for what stays idle, or in use. */
static void costs_one_flush(void **state)
{
	struct test_vm vm;
	uint64_t flushes;

	vm_up(&vm, state, &with_flag);
	add_slot(&vm, 0, GPA, 4 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 4; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	flushes = flushes_of(&vm);
	assert_int_equal(age_all(&vm), 4);
	assert_int_equal(flushes_of(&vm), flushes);
	/* Asking changes nothing. */
	assert_int_equal(tdp_test_age(vm.mm, 0, everything(&vm)), 0);
	assert_int_equal(flushes_of(&vm), flushes);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(age_all(&vm), 0);
		assert_int_equal(flushes_of(&vm), flushes + 1);
	}
	assert_int_equal(stats_of(&vm).flush_cause[TDP_FLUSH_AGE], 1);
	assert_int_equal(stats_of(&vm).flush_op[TDP_OP_AGE], 1);
	/* One block stays in use, the others idle. */
	for (unsigned i = 0; i < 8; i++) {
		forget(&vm);
		use(&vm, 0, GPA, TDP_R);
		flushes = flushes_of(&vm);
		assert_int_equal(age_all(&vm), 1);
		assert_int_equal(flushes_of(&vm), flushes);
		assert_int_equal(used_above(&vm, GPA), vm.info.levels - 1);
		assert_int_equal(used_above(&vm, GPA + block_of(&vm)), vm.info.levels - 2);
	}
	vm_down(&vm);
}

/* A device's page is touched all the time: that sets A above, too, and costs nothing. */
static void devices_cost_no_flush(void **state)
{
	struct test_vm vm;
	uint64_t flushes;

	vm_up(&vm, state, &with_flag);
	add_slot(&vm, 0, GPA, TEST_PAGE, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	for (unsigned i = 0; i < 8; i++) {
		stopped(&vm, 0, GPA + 16 * TEST_PAGE, TDP_R, TDP_FAULT_MMIO);
		flushes = flushes_of(&vm);
		assert_int_equal(age_all(&vm), i == 0);
		assert_int_equal(flushes_of(&vm), flushes);
	}
	vm_down(&vm);
}

/* Only what lies in the range from end to end can be found idle; and each table by itself. */
static void tables_as_far_as_looked_at(void **state)
{
	struct test_vm vm;
	uint64_t above;

	vm_up(&vm, state, &with_flag);
	above = vm.info.levels - 1;
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	use(&vm, 0, GPA, TDP_W);
	use(&vm, 0, GPA + block_of(&vm), TDP_W);
	for (unsigned i = 0; i < 4; i++)
		tdp_age(vm.mm, 0, range_of(GPA, block_of(&vm) - TEST_PAGE), NULL);
	assert_int_equal(used_above(&vm, GPA), above);
	for (unsigned i = 0; i < 4; i++)
		tdp_age(vm.mm, 0, range_of(GPA + TEST_PAGE, block_of(&vm) - TEST_PAGE), NULL);
	assert_int_equal(used_above(&vm, GPA), above);
	for (unsigned i = 0; i < 4; i++)
		tdp_age(vm.mm, 0, range_of(GPA, block_of(&vm)), NULL);
	assert_int_equal(used_above(&vm, GPA), above - 1);
	assert_int_equal(used_above(&vm, GPA + block_of(&vm)), above);
	age_until_idle(&vm);
	assert_int_equal(used_above(&vm, GPA), 0);
	vm_down(&vm);
}

/* Also where the walk gives way after each table: level by level then. */
static void gives_way_and_gets_there(void **state)
{
	struct test_vm vm;

	vm_up(&vm, state, &with_flag);
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 2; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	for (unsigned i = 0; i < 3 * vm.info.levels; i++)
		ages_as_the_leaves_say(&vm, everything(&vm), 0);
	assert_int_equal(used_above(&vm, GPA), 0);
	use(&vm, 1, GPA, TDP_W);
	assert_int_equal(age_all(&vm), 1);
	vm_down(&vm);
}

static void zap_all(struct test_vm *vm, void *arg)
{
	(void)arg;
	if (tdp_zap(vm->mm, 0, everything(vm), TDP_ZAP_NOYIELD) != TDP_OK)
		test_violation(&vm->env, "zap");
	test_rcu_run();
}

static void zap_aside(void *arg)
{
	run_aside(arg, zap_all, NULL);
}

/* The tables that the walk has come through are gone, pages and metadata, when it goes on. */
static void zapped_while_it_gives_way(void **state)
{
	struct test_vm_options opts = with_flag;
	struct test_vm vm;

	opts.chunk_lg2 = TEST_CHUNK_SMALL;
	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, 2 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < 2; i++)
		use(&vm, 0, GPA + i * block_of(&vm), TDP_W);
	vm.env.on_yield = zap_aside;
	vm.env.on_yield_arg = &vm;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA, 2 * block_of(&vm)), NULL), 1);
	assert_int_equal(leaves_of(&vm), 0);
	vm_down(&vm);
}

/* ---- uses that an MMU makes through what it keeps ---- */

static void use_second_page(struct test_vm *vm, void *arg)
{
	(void)arg;
	use(vm, 0, GPA + TEST_PAGE, TDP_R);
}

static void on_flush(struct spy *spy, struct tdp_range range)
{
	(void)range;
	spy->on_flush = NULL;
	run_aside(&spy->vm, use_second_page, NULL);
}

/*
 * The first page's use leaves the way to its table in a walk cache. Through that the second page is used: before the
 * flush of the call that finds all old, where nothing but its leaf says so, and after it, where the way must be walked.
 */
static void uses_through_walk_caches(void **state)
{
	for (int late = 0; late < 2; late++) {
		struct spy spy = {0};
		struct test_vm *vm = &spy.vm;

		spy_up(&spy, state, &with_flag);
		add_slot(vm, 0, GPA, 4 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
		assert_int_equal(tdp_populate(vm->mm, 0, range_of(GPA, 4 * TEST_PAGE), 0, NULL),
				 TDP_OK);
		use(vm, 0, GPA, TDP_R);
		assert_int_equal(age_all(vm), 1);
		if (!late)
			spy.on_flush = on_flush;
		assert_int_equal(age_all(vm), 0); /* flushes */
		assert_null(spy.on_flush);
		if (late)
			use(vm, 0, GPA + TEST_PAGE, TDP_R);
		assert_int_equal(used_above(vm, GPA), late ? vm->info.levels - 1 : 0);
		assert_int_equal(age_all(vm), 1);
		assert_int_equal(age_all(vm), 0);
		vm_down(vm);
	}
}

/* ---- software makes something young below ---- */

static void by_fault(struct test_vm *vm)
{
	assert_int_equal(fault(vm, 0, GPA + 7 * TEST_PAGE, TDP_R), TDP_FAULT_FIXED);
}

static void by_fast_fault(struct test_vm *vm)
{
	assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(GPA, TEST_PAGE)), TDP_OK);
	assert_int_equal(fault(vm, 0, GPA, TDP_W), TDP_FAULT_FIXED);
}

static void by_populate(struct test_vm *vm)
{
	assert_int_equal(tdp_populate(vm->mm, 0, range_of(GPA + 8 * TEST_PAGE, TEST_PAGE),
				      TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
}

static void by_populate_again(struct test_vm *vm)
{
	struct tdp_range page = range_of(GPA + 9 * TEST_PAGE, TEST_PAGE);

	/* Young when it went: nobody has looked since. */
	assert_int_equal(tdp_populate(vm->mm, 0, page, 0, NULL), TDP_OK);
}

static void by_collapse(struct test_vm *vm)
{
	uint64_t n = 0;

	assert_int_equal(tdp_collapse(vm->mm, 0, range_of(GPA + block_of(vm), block_of(vm)), 0, &n),
			 TDP_OK);
	assert_int_equal(n, 1);
}

static void by_split(struct test_vm *vm)
{
	tdp_gpa_t gpa = GPA + 2 * block_of(vm);

	use(vm, 0, gpa, TDP_R);
	assert_int_equal(tdp_split(vm->mm, 0, range_of(gpa, TEST_PAGE), 12), TDP_OK);
}

static void young_by_software_is_seen(void **state)
{
	static void (*const makers[])(struct test_vm *) = {
		by_fault, by_fast_fault, by_populate, by_populate_again, by_collapse, by_split};

	for (size_t i = 0; i < ARRAY_LEN(makers); i++) {
		struct test_vm vm;
		tdp_gpa_t gpa;

		vm_up(&vm, state, &with_flag);
		gpa = GPA + block_of(&vm);
		add_slot(&vm, 0, GPA, 16 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
		add_slot(&vm, 0, gpa, 2 * block_of(&vm), SLOT_PA + block_of(&vm), 0);
		use(&vm, 0, GPA, TDP_W);
		use(&vm, 0, GPA + 9 * TEST_PAGE, TDP_W);
		use(&vm, 0, gpa, TDP_W);
		use(&vm, 0, gpa + block_of(&vm), TDP_W);
		assert_int_equal(tdp_split(vm.mm, 0, range_of(gpa, TEST_PAGE), 12), TDP_OK);
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA + 9 * TEST_PAGE, TEST_PAGE),
					 TDP_ZAP_KEEP_YOUNG),
				 TDP_OK);
		age_until_idle(&vm);
		assert_int_equal(used_above(&vm, GPA), 0);
		assert_int_equal(used_above(&vm, gpa), 0);
		makers[i](&vm);
		assert_true(census_of(&vm, everything(&vm), NULL).young > 0);
		ages_as_the_leaves_say(&vm, everything(&vm), 1);
		ages_as_the_leaves_say(&vm, range_of(GPA, 3 * block_of(&vm)), 3);
		ages_as_the_leaves_say(&vm, everything(&vm), 0);
		age_until_idle(&vm);
		vm_down(&vm);
	}
}

/* ---- anything in any order ---- */

#define PLACES 6

/* Three tables of 4K pages below one entry, two below its neighbour, one far away. */
static tdp_gpa_t place(const struct test_vm *vm, uint64_t i)
{
	static const struct {
		uint64_t gib, block;
	} at[PLACES] = {{1, 0}, {1, 1}, {1, 2}, {2, 0}, {2, 1}, {600, 0}};

	return at[i].gib * GIB + at[i].block * block_of(vm);
}

static struct tdp_range some_range(struct test_vm *vm, struct test_rand *r)
{
	tdp_gpa_t gpa = place(vm, test_below(r, PLACES));

	switch (test_below(r, 4)) {
	case 0: return range_of(gpa, block_of(vm));
	case 1: return range_of(gpa / GIB * GIB, GIB);
	case 2: return range_of(gpa + test_below(r, 8) * TEST_PAGE, TEST_PAGE);
	default: return range_of(gpa, 8 * TEST_PAGE);
	}
}

static void some_step(struct test_vm *vm, struct test_rand *r)
{
	tdp_gpa_t gpa = place(vm, test_below(r, PLACES)) + test_below(r, 8) * TEST_PAGE;
	struct tdp_range block = range_of(gpa / block_of(vm) * block_of(vm), block_of(vm));
	uint32_t flags = test_below(r, 2) ? TDP_POPULATE_YOUNG : 0;
	int ret = 0;

	switch (test_below(r, 24)) {
	case 0: ret = tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), TDP_ZAP_KEEP_YOUNG); break;
	case 1: ret = tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), 0); break;
	case 2: ret = tdp_zap(vm->mm, 0, block, 0); break;
	case 3: ret = tdp_populate(vm->mm, 0, range_of(gpa, 2 * TEST_PAGE), flags, NULL); break;
	case 4: ret = tdp_split(vm->mm, 0, block, 12); break;
	case 5: ret = tdp_collapse(vm->mm, 0, block, flags ? TDP_COLLAPSE_ZAP : 0, NULL); break;
	case 6: ret = tdp_write_protect(vm->mm, 0, block); break;
	case 7: ret = fault(vm, 0, gpa, TDP_R); break;
	case 8: ret = fault(vm, 1, gpa, TDP_W); break;
	case 9: forget(vm); break;
	case 10: ret = tdp_compact(vm->mm, 0, block); break;
	case 11:
		ret = tdp_populate(vm->mm, 0, block, flags | (flags ? TDP_POPULATE_READ : 0), NULL);
		break;
	default: use(vm, (uint32_t)test_below(r, 2), gpa, test_below(r, 2) ? TDP_W : TDP_R); break;
	}
	assert_true(ret >= 0);
}

/* A12: whatever is done, every age call says what the leaves say. */
static void never_other_than_the_leaves(void **state)
{
	uint64_t steps = test_env_number("TDP_STEPS", 4000), idle = 0;
	struct test_rand r;
	struct test_vm vm;

	test_rand_init(&r, test_seed());
	vm_up(&vm, state, &with_flag);
	for (uint64_t i = 0; i < PLACES; i++)
		add_slot(&vm, 0, place(&vm, i), block_of(&vm), SLOT_PA + i * GIB,
			 i % 3 == 2 ? TDP_SLOT_FORCE_4K : 0);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		load(&vm, cpu);
	for (uint64_t i = 0; i < steps; i++) {
		for (uint64_t n = test_below(&r, 4); n > 0; n--)
			some_step(&vm, &r);
		for (uint64_t n = test_below(&r, 4); n > 0; n--)
			ages_as_the_leaves_say(&vm, some_range(&vm, &r),
					       (unsigned)test_below(&r, 4));
		/* Now and then often enough to find all of it idle. */
		for (uint64_t n = test_one_in(&r, 8) ? 4 : 1; n > 0; n--)
			ages_as_the_leaves_say(&vm, everything(&vm), (unsigned)test_below(&r, 2));
		idle += used_above(&vm, place(&vm, 0)) == 0;
		if (test_one_in(&r, 256))
			assert_int_equal(test_vm_check(&vm), 0);
	}
	assert_true(idle > steps / 64);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(refused_elsewhere),
		TEST_CASE_IF(idle_tables_are_not_read, has_table_a),
		TEST_CASE_IF(costs_one_flush, has_table_a),
		TEST_CASE_IF(devices_cost_no_flush, has_table_a),
		TEST_CASE_IF(tables_as_far_as_looked_at, has_table_a),
		TEST_CASE_IF(gives_way_and_gets_there, has_table_a),
		TEST_CASE_IF(zapped_while_it_gives_way, has_table_a),
		TEST_CASE_IF(uses_through_walk_caches, has_table_a),
		TEST_CASE_IF(young_by_software_is_seen, has_table_a),
		TEST_CASE_IF(never_other_than_the_leaves, has_table_a),
	};

	return test_run("idle", cases, ARRAY_LEN(cases));
}

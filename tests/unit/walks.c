/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walks over ranges: what is visited, in which order, and what visitors may answer (rows I of
 * FEATURES.md).
 */
#include "machine.h"

/* A random tree: leaves of all sizes, MMIO entries and large holes. */
static void grow(struct test_vm *vm, struct test_rand *r)
{
	uint64_t size = test_vm_size(vm), half = size / 2;

	assert_int_equal(test_vm_slot(vm, 0, 0, half, 0, 0, NULL), TDP_OK);
	for (unsigned i = 0; i < 24; i++) {
		tdp_gpa_t gpa = test_below(r, half) & ~(TEST_PAGE - 1);
		uint32_t id;

		assert_int_equal(test_vm_touch(vm, 0, gpa, TDP_R), 0);
		/* Beside the huge page small ones, in a table of their own. */
		if (i % 3 == 0)
			assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), 0), TDP_OK);
		if (i % 4 == 0)
			test_vm_access(vm, 0, half + (gpa & (half - 1)), TDP_W, NULL);
		if (i == 8) { /* small pages only */
			assert_int_equal(test_vm_slot(vm, 0, half, half / 2, SLOT_PA,
						      TDP_SLOT_FORCE_4K, &id),
					 TDP_OK);
		}
	}
}

struct visits {
	struct tdp_visit *v;
	size_t count, room;
	int answer; /* of the next visit */
	size_t answer_at;
};

static int note(void *arg, const struct tdp_visit *visit)
{
	struct visits *l = arg;

	if (l->count == l->room) {
		l->room = l->room ? 2 * l->room : 1024;
		l->v = realloc(l->v, l->room * sizeof(*l->v));
		if (!l->v)
			abort();
	}
	l->v[l->count++] = *visit;
	return l->count - 1 == l->answer_at ? l->answer : 0;
}

static uint32_t kind_at(struct test_vm *vm, tdp_gpa_t gpa, unsigned level, uint64_t *entry)
{
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};

	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_OK);
	assert_true(path.last_level <= level);
	*entry = path.entry[level];
	return path.kind[level];
}

/* The same by single look-ups, each from the root: the reference. */
static void reference(struct test_vm *vm, struct tdp_range range, unsigned level, tdp_gpa_t start,
		      uint64_t size, uint32_t flags, struct visits *out)
{
	uint64_t step = (uint64_t)1 << test_vm_lg2(vm, level);

	for (tdp_gpa_t gpa = start; gpa < start + size; gpa += step) {
		struct tdp_visit v = {.gpa = gpa, .level = level};

		if (gpa + step <= range.start || gpa >= range.start + range.size)
			continue;
		v.kind = kind_at(vm, gpa, level, &v.entry);
		if (v.kind == TDP_ENTRY_LEAF && (v.when = flags & TDP_WALK_LEAF))
			note(out, &v);
		if (v.kind == TDP_ENTRY_MMIO && (v.when = flags & TDP_WALK_MMIO))
			note(out, &v);
		if (v.kind != TDP_ENTRY_TABLE)
			continue;
		if ((v.when = flags & TDP_WALK_TABLE_PRE))
			note(out, &v);
		reference(vm, range, level - 1, gpa, step, flags, out);
		if ((v.when = flags & TDP_WALK_TABLE_POST))
			note(out, &v);
	}
}

static void order_is_that_of_the_reference(void **state)
{
	struct test_vm vm;
	struct test_rand r;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	for (uint32_t flags = 1; flags < 16; flags++) {
		uint64_t pages = test_vm_size(&vm) / TEST_PAGE, first = test_below(&r, pages / 2);
		struct tdp_range range = range_of(first * TEST_PAGE,
						  (1 + test_below(&r, pages - first)) * TEST_PAGE);
		struct visits got = {.answer_at = SIZE_MAX}, want = {.answer_at = SIZE_MAX};

		if (flags == 15)
			range = everything(&vm);
		assert_int_equal(tdp_walk(vm.mm, 0, range, flags, note, &got), 0);
		reference(&vm, range, vm.info.levels - 1, 0, test_vm_size(&vm), flags, &want);
		assert_int_equal(got.count, want.count);
		assert_true(flags != 15 || got.count > 40);
		for (size_t i = 0; i < got.count; i++) {
			assert_int_equal(got.v[i].gpa, want.v[i].gpa);
			assert_int_equal(got.v[i].level, want.v[i].level);
			assert_int_equal(got.v[i].kind, want.v[i].kind);
			assert_int_equal(got.v[i].when, want.v[i].when);
			assert_int_equal(got.v[i].entry, want.v[i].entry);
		}
		free(got.v);
		free(want.v);
	}
	vm_down(&vm);
}

static void only_leaves_are_leaves(void **state)
{
	struct visits l = {.answer_at = SIZE_MAX};
	struct test_vm vm;
	struct test_rand r;
	uint64_t mapped;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	mapped = leaves_of(&vm);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_LEAF, note, &l), 0);
	assert_int_equal(l.count, mapped);
	for (size_t i = 0; i < l.count; i++) {
		struct tdp_mapping m;

		assert_int_equal(l.v[i].kind, TDP_ENTRY_LEAF);
		assert_int_equal(translate(&vm, 0, l.v[i].gpa, &m), TDP_OK);
		assert_int_equal(m.pa, l.v[i].pa);
		assert_int_equal(m.lg2, l.v[i].lg2);
		assert_int_equal(m.prot, l.v[i].prot);
	}
	free(l.v);
	vm_down(&vm);
}

static void path_is_what_the_walk_meets(void **state)
{
	struct visits l = {.answer_at = SIZE_MAX};
	struct test_vm vm;
	struct test_rand r;
	size_t above[TDP_LEVELS_MAX] = {0};

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm),
				  TDP_WALK_LEAF | TDP_WALK_MMIO | TDP_WALK_TABLE_PRE, note, &l),
			 0);
	for (size_t i = 0; i < l.count; i++) {
		struct tdp_path path = {.size = (uint32_t)sizeof(path)};

		above[l.v[i].level] = i;
		if (l.v[i].kind == TDP_ENTRY_TABLE)
			continue;
		assert_int_equal(tdp_walk_gpa(vm.mm, 0, l.v[i].gpa, &path), TDP_OK);
		assert_int_equal(path.first_level, vm.info.levels - 1);
		assert_int_equal(path.last_level, l.v[i].level);
		for (unsigned level = path.first_level + 1u; level-- > path.last_level;) {
			assert_int_equal(path.entry[level], l.v[above[level]].entry);
			assert_int_equal(path.kind[level], l.v[above[level]].kind);
		}
		for (unsigned level = 0; level < path.last_level; level++)
			assert_int_equal(path.entry[level], 0);
	}
	free(l.v);
	vm_down(&vm);
}

static void visitors_stop_and_skip(void **state)
{
	struct visits all = {.answer_at = SIZE_MAX}, l = {.answer_at = SIZE_MAX};
	uint32_t flags = TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_TABLE_POST;
	struct test_vm vm;
	struct test_rand r;
	size_t table = 0, next;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), flags, note, &all), 0);
	/* Negative: nothing is visited after, and it is the answer. */
	for (size_t at = 0; at < all.count; at += 1 + all.count / 64) {
		l.count = 0;
		l.answer = TDP_EACCES;
		l.answer_at = at;
		assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), flags, note, &l), TDP_EACCES);
		assert_int_equal(l.count, at + 1);
	}
	/* 1 before a table: what is below is left out, what comes after is not. */
	while (all.v[table].when != TDP_WALK_TABLE_PRE)
		table++;
	for (next = table + 1;
	     all.v[next].when != TDP_WALK_TABLE_POST || all.v[next].level != all.v[table].level;)
		next++;
	assert_true(next > table + 1);
	l.count = 0;
	l.answer = 1;
	l.answer_at = table;
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), flags, note, &l), 0);
	assert_int_equal(l.count, all.count - (next - table - 1));
	assert_int_equal(l.v[table + 1].when, TDP_WALK_TABLE_POST);
	assert_int_equal(l.v[table + 1].gpa, all.v[table].gpa);
	/* 1 at a leaf has nothing to skip. */
	l.count = 0;
	l.answer_at = 0;
	while (all.v[l.answer_at].when != TDP_WALK_LEAF)
		l.answer_at++;
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), flags, note, &l), 0);
	assert_int_equal(l.count, all.count);
	free(all.v);
	free(l.v);
	vm_down(&vm);
}

/* ---- ranges ---- */

static int refuse_range(struct test_vm *vm, struct tdp_range range)
{
	struct visits l = {.answer_at = SIZE_MAX};
	uint64_t done = 7, young = 7, bits[2] = {0};
	int want = tdp_zap(vm->mm, 0, range, 0);

	assert_int_equal(tdp_walk(vm->mm, 0, range, TDP_WALK_LEAF, note, &l), want);
	assert_int_equal(tdp_populate(vm->mm, 0, range, 0, &done), want);
	assert_int_equal(tdp_age(vm->mm, 0, range, &young), want);
	assert_int_equal(tdp_test_age(vm->mm, 0, range), want);
	assert_int_equal(tdp_age_bitmap(vm->mm, 0, range, true, bits, 2), want);
	assert_int_equal(tdp_write_protect(vm->mm, 0, range), want);
	assert_int_equal(tdp_write_track(vm->mm, 0, range, true), want);
	assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), want);
	assert_int_equal(tdp_collapse(vm->mm, 0, range, 0, &done), want);
	assert_int_equal(tdp_compact(vm->mm, 0, range), want);
	assert_int_equal(tdp_invalidate_begin(vm->mm, range), want);
	assert_int_equal(tdp_invalidate_end(vm->mm, range), want);
	assert_int_equal(l.count, 0);
	assert_int_equal(done, 7);
	assert_int_equal(young, 7);
	return want;
}

static void no_range_is_rounded_or_clamped(void **state)
{
	struct test_dump before, after;
	struct test_vm vm;
	uint64_t size;

	vm_up(&vm, state, NULL);
	size = test_vm_size(&vm);
	assert_int_equal(test_vm_slot(&vm, 0, 0, size, 0, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_W), 0);
	assert_int_equal(test_vm_touch(&vm, 0, size - TEST_PAGE, TDP_W), 0);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	/* Beyond the width by one page, wholly beyond it, wrapping, and all but wrapping. */
	assert_int_equal(refuse_range(&vm, range_of(0, size + TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(size - TEST_PAGE, 2 * TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(size, TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(TEST_PAGE, 0 - TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(0 - TEST_PAGE, TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(0 - TEST_PAGE, 2 * TEST_PAGE)), TDP_ERANGE);
	assert_int_equal(refuse_range(&vm, range_of(size - TEST_PAGE, 0 - TEST_PAGE)), TDP_ERANGE);
	/* Not in pages. */
	assert_int_equal(refuse_range(&vm, range_of(0, 0)), TDP_EINVAL);
	assert_int_equal(refuse_range(&vm, range_of(1, TEST_PAGE)), TDP_EINVAL);
	assert_int_equal(refuse_range(&vm, range_of(0, TEST_PAGE + 1)), TDP_EINVAL);
	assert_int_equal(refuse_range(&vm, range_of(0, TEST_PAGE / 2)), TDP_EINVAL);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	vm_down(&vm);
}

static void ranges_may_touch_the_top(void **state)
{
	struct visits l = {.answer_at = SIZE_MAX};
	struct test_vm vm;
	uint64_t size;

	vm_up(&vm, state, NULL);
	size = test_vm_size(&vm);
	assert_int_equal(test_vm_slot(&vm, 0, 0, size, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(size - 3 * TEST_PAGE, 3 * TEST_PAGE),
				      TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, size - 1, TDP_W), 0);
	assert_int_equal(
		tdp_walk(vm.mm, 0, range_of(size - TEST_PAGE, TEST_PAGE), TDP_WALK_LEAF, note, &l),
		0);
	assert_int_equal(l.count, 1);
	assert_int_equal(tdp_age(vm.mm, 0, range_of(size - TEST_PAGE, TEST_PAGE), NULL), 1);
	assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(size - TEST_PAGE, TEST_PAGE)),
			 TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(size - TEST_PAGE, TEST_PAGE), 0), TDP_OK);
	assert_int_equal(translate(&vm, 0, size - TEST_PAGE, NULL), TDP_ENOENT);
	assert_int_equal(translate(&vm, 0, size - 2 * TEST_PAGE, NULL), TDP_OK);
	assert_int_equal(translate(&vm, 0, size, NULL), TDP_ERANGE);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	assert_int_equal(leaves_of(&vm), 0);
	free(l.v);
	vm_down(&vm);
}

static void holes_cost_nothing(void **state)
{
	struct test_vm vm;
	uint64_t size, tables;

	vm_up(&vm, state, NULL);
	size = test_vm_size(&vm);
	assert_int_equal(test_vm_slot(&vm, 0, 0, size, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, TEST_PAGE, TDP_W), 0);
	assert_int_equal(test_vm_touch(&vm, 0, size - 5 * TEST_PAGE, TDP_W), 0);
	tables = tables_of(&vm);
	/*
	 * The host is asked once for each table, so its questions count the tables that were
	 * walked.
	 */
	atomic_store(&vm.env.yield_asked, 0);
	assert_int_equal(tdp_age(vm.mm, 0, everything(&vm), NULL), 1);
	assert_true(atomic_load(&vm.env.yield_asked) <= tables);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), TDP_ZAP_KEEP_YOUNG), TDP_OK);
	assert_true(atomic_load(&vm.env.yield_asked) <= 4 * tables);
	assert_int_equal(leaves_of(&vm), 0);
	vm_down(&vm);
}

/* ---- foreign tables ---- */

static int read_table(void *arg, tdp_pa_t pa, uint64_t *entry)
{
	memcpy(entry, test_env_mem(arg, pa), sizeof(*entry));
	return 0;
}

static void foreign_walk_agrees(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_HOOKS};
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct visits l = {.answer_at = SIZE_MAX};
	struct tdp_root *root;
	struct test_vm vm;
	struct test_rand r;
	unsigned mapped = 0;

	vm_up(&vm, state, &opts);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm.mm, root, &view), TDP_OK);
	assert_int_equal(tdp_emu_backend.probe(vm.emu, format_of(state)->format, &caps), TDP_OK);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_LEAF, note, &l), 0);
	for (unsigned i = 0; i < 400; i++) {
		tdp_gpa_t gpa = test_below(&r, test_vm_size(&vm));
		struct tdp_emu_exit ex;
		struct tdp_mapping m;
		int got;

		if (i % 2) /* in a page that is there */
			gpa = l.v[i % l.count].gpa + (gpa & (TEST_PAGE - 1));
		got = tdp_emu_walk_foreign(view.format, view.hw, caps.flags, read_table, &vm.env,
					   gpa, TDP_R, &ex);
		if (translate(&vm, 0, gpa, &m) == TDP_OK) {
			assert_int_equal(got, TDP_EMU_OK);
			assert_int_equal(ex.pa, m.pa + (gpa & (((uint64_t)1 << m.lg2) - 1)));
			mapped++;
		} else {
			assert_true(got != TDP_EMU_OK && got != TDP_EMU_BUS_ERROR && got > 0);
		}
	}
	assert_true(mapped >= 200);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	free(l.v);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(order_is_that_of_the_reference),
		TEST_CASE(only_leaves_are_leaves),
		TEST_CASE(path_is_what_the_walk_meets),
		TEST_CASE(visitors_stop_and_skip),
		TEST_CASE(no_range_is_rounded_or_clamped),
		TEST_CASE(ranges_may_touch_the_top),
		TEST_CASE(holes_cost_nothing),
		TEST_CASE(foreign_walk_agrees),
	};

	return test_run("walks", cases, ARRAY_LEN(cases));
}

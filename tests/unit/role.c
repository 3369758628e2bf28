/* SPDX-License-Identifier: BSD-2-Clause */
/* Roles, levels, table metadata, concatenated roots (rows P and R28, R29 of FEATURES.md). */
#include "machine.h"

#include "mm/table.h"

#define LEVEL_BITS ((tdp_role_t)0xf)
#define ROLE_BITS TDPI_MASK(25, 0) /* as <tdp/walk.h> lists them */

static struct tdp_root_view root_view(const struct test_vm *vm, uint32_t as_id)
{
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_root *root;

	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, as_id), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	return view;
}

/* ---- the word ---- */

static void role_is_one_word(void **state)
{
	struct test_vm vm;
	char text[200];

	_Static_assert(sizeof(tdp_role_t) == 8, "compared with one ==");
	vm_up(&vm, state, NULL);
	for (uint32_t as = 0; as < TDP_AS_MAX; as++) {
		tdp_role_t role = tdp_role_root(vm.mm, as);

		assert_true(role != 0);
		assert_int_equal(role & ~ROLE_BITS, 0); /* no bit without a meaning */
		assert_int_equal(tdp_role_as(role), as);
		assert_int_equal(tdp_role_level(role), vm.info.levels - 1);
		assert_int_equal(role >> 4 & 0xf, vm.info.format);
		assert_int_equal(role >> 16 & 3, vm.info.ad);
		assert_int_equal(role >> 23 & 0xf, vm.info.levels);
		for (uint32_t other = 0; other < as; other++)
			assert_true(tdp_role_root(vm.mm, other) != role);
		assert_int_equal(tdp_role_diff(role, role, text, sizeof(text)), 0);
	}
	assert_int_equal(tdp_role_root(vm.mm, TDP_AS_MAX), 0);
	assert_true(tdp_role_diff(tdp_role_root(vm.mm, 0), tdp_role_root(vm.mm, 1), text,
				  sizeof(text)) > 0);
	assert_string_equal(text, "as_id 0 != 1");
	vm_down(&vm);
}

static void role_level_is_the_argument(void **state)
{
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	for (uint32_t level = 0; level < 6; level++) {
		tdp_role_t base = tdp_role_root(vm.mm, 3), role = tdp_role_at(base, level);

		assert_int_equal(tdp_role_level(role), level);
		assert_int_equal(role & ~LEVEL_BITS, base & ~LEVEL_BITS);
		assert_int_equal(tdp_role_at(role, vm.info.levels - 1), base);
	}
	vm_down(&vm);
}

static void tables_are_direct_and_grant_all(void **state)
{
	struct test_vm vm;
	tdp_role_t role;

	vm_up(&vm, state, NULL);
	role = tdp_role_root(vm.mm, 0);
	assert_int_equal(role >> 18 & 1, 1);
	assert_int_equal(role >> 19 & 15, TDP_RWX);
	vm_down(&vm);
}

/* A role takes part in nothing but ==, so what bounds its space is the width of each field. */
static void role_fields_hold_every_value(void **state)
{
	struct test_vm vm;
	tdp_role_t seen[TDP_AS_MAX * 6];
	size_t n = 0;

	vm_up(&vm, state, NULL);
	for (uint32_t as = 0; as < TDP_AS_MAX; as++)
		for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++)
			seen[n++] = tdp_role_at(tdp_role_root(vm.mm, as), level);
	for (size_t i = 0; i < n; i++)
		for (size_t j = 0; j < i; j++)
			assert_true(seen[i] != seen[j]);
	/* So many tables may stand for one gfn: one for each level and address space. */
	assert_int_equal(n, TDP_AS_MAX * TDP_LEVELS_MAX);
	vm_down(&vm);
}

/* ---- of every table ---- */

struct census {
	struct test_vm *vm;
	uint32_t as_id;
	uint64_t tables, entries;
};

/* Not while walking: a visitor may only translate. */
static int look_at_table(struct census *c, const struct tdp_visit *v)
{
	const struct tdp_mm *mm = c->vm->mm;
	const struct tdpi_table *t = tdpi_table_at(mm, v->pa);
	uint32_t step = v->lg2 - c->vm->info.index_lg2;

	/* v is the entry that points to t: t itself is one level lower. */
	if (t->role != tdp_role_at(tdp_role_root(mm, c->as_id), v->level - 1) ||
	    t->level != v->level - 1)
		return TDP_EIO;
	for (uint32_t i = 0; i < 1u << c->vm->info.index_lg2; i++) {
		tdp_gpa_t gpa = 1;
		uint32_t as = 99;

		if (tdp_table_gpa(c->vm->mm, v->pa, i, &gpa, &as) != TDP_OK || as != c->as_id ||
		    gpa != v->gpa + ((uint64_t)i << step))
			return TDP_EIO;
		c->entries++;
	}
	c->tables++;
	return 0;
}

static void map_sparse(struct test_vm *vm, uint32_t as_id)
{
	uint64_t size = test_vm_size(vm);

	assert_int_equal(test_vm_slot(vm, as_id, 0, size, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	for (unsigned i = 0; i < 16; i++)
		assert_int_equal(
			tdp_populate(vm->mm, as_id, range_of(size / 16 * i, TEST_PAGE), 0, NULL),
			TDP_OK);
	assert_int_equal(
		tdp_populate(vm->mm, as_id, range_of(size - TEST_PAGE, TEST_PAGE), 0, NULL),
		TDP_OK);
}

static void every_table_knows_role_and_place(void **state)
{
	struct census c = {.as_id = 2};
	struct test_dump dump;
	struct test_vm vm;
	tdp_gpa_t gpa;

	vm_up(&vm, state, NULL);
	c.vm = &vm;
	map_sparse(&vm, 2);
	assert_int_equal(test_dump_take(&vm, 2, &dump), TDP_OK);
	for (size_t i = 0; i < dump.count; i++)
		if (dump.visits[i].when == TDP_WALK_TABLE_PRE)
			assert_int_equal(look_at_table(&c, &dump.visits[i]), 0);
	test_dump_free(&dump);
	assert_int_equal(c.tables, tables_of(&vm) - vm.info.root_pages);
	assert_int_equal(c.entries, c.tables << vm.info.index_lg2);
	/* A root's pages too; nothing else has a place. */
	for (uint32_t page = 0; page < vm.info.root_pages; page++) {
		uint32_t as = 99;

		assert_int_equal(
			tdp_table_gpa(vm.mm, root_view(&vm, 2).pa + page * TEST_PAGE, 0, &gpa, &as),
			TDP_OK);
		assert_int_equal(gpa, (uint64_t)page << test_vm_lg2(&vm, vm.info.levels));
		assert_int_equal(as, 2);
	}
	assert_int_equal(tdp_table_gpa(vm.mm, SLOT_PA, 0, &gpa, NULL), TDP_ENOENT);
	assert_int_equal(
		tdp_table_gpa(vm.mm, root_view(&vm, 2).pa, 1u << vm.info.index_lg2, &gpa, NULL),
		TDP_EINVAL);
	vm_down(&vm);
}

struct first_table {
	unsigned level;
	tdp_pa_t pa;
};

static int find_table(void *arg, const struct tdp_visit *v)
{
	struct first_table *first = arg;

	if (v->level == first->level)
		first->pa = v->pa;
	return 0;
}

static void verify_sees_a_wrong_role(void **state)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	struct test_vm vm;
	struct tdpi_table *t;

	vm_up(&vm, state, NULL);
	map_sparse(&vm, 0);
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	for (unsigned level = vm.info.levels - 1; level > 0; level--) { /* the path to 0 */
		struct first_table first = {.level = level};

		assert_int_equal(tdp_walk(vm.mm, 0, range_of(0, TEST_PAGE), TDP_WALK_TABLE_PRE,
					  find_table, &first),
				 0);
		t = tdpi_table_at(vm.mm, first.pa);
		t->role ^= (tdp_role_t)1 << 8;
		assert_int_equal(tdp_verify(vm.mm, &report), TDP_EIO);
		assert_int_equal(report.errors, 1);
		assert_non_null(strstr(report.first, "role"));
		t->role ^= (tdp_role_t)1 << 8;
	}
	assert_int_equal(tdp_verify(vm.mm, &report), TDP_OK);
	vm_down(&vm);
}

static void metadata_is_one_cache_line(void **state)
{
	struct test_vm vm;

	_Static_assert(sizeof(struct tdpi_table) <= 64 && TDPI_META_SIZE == 64, "P18");
	vm_up(&vm, state, NULL);
	map_sparse(&vm, 0);
	/* 64 bytes for each 4 KiB: the chunk's first pages hold them all. */
	assert_true(stats_of(&vm).chunk_bytes >=
		    stats_of(&vm).table_bytes + stats_of(&vm).table_bytes / 64);
	assert_int_equal((uintptr_t)vm.mm->roots->table & 63, 0);
	vm_down(&vm);
}

/* ---- geometry ---- */

static int count_ascending(void *arg, const struct tdp_visit *v)
{
	tdp_gpa_t *next = arg;

	if (v->gpa < *next)
		return TDP_EIO;
	*next = v->gpa + TEST_PAGE;
	return 0;
}

static bool concatenated(const struct test_format *fmt)
{
	return fmt->root_pages > 1;
}

static void concatenated_roots_work_as_one(void **state)
{
	struct test_vm vm;
	struct tdp_root_view view;
	uint64_t pages, per_page;
	tdp_gpa_t next = 0;

	vm_up(&vm, state, NULL);
	pages = vm.info.root_pages;
	per_page = (uint64_t)1 << test_vm_lg2(&vm, vm.info.levels);
	assert_int_equal(pages, format_of(state)->root_pages);
	assert_int_equal(pages * per_page, test_vm_size(&vm));
	view = root_view(&vm, 0);
	assert_int_equal(view.pages, pages);
	assert_int_equal(view.pa & (pages * TEST_PAGE - 1), 0);
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (uint64_t i = 0; i < pages; i++) { /* first and last page that each root page maps */
		assert_int_equal(test_vm_touch(&vm, 0, i * per_page, TDP_W), 0);
		assert_int_equal(test_vm_touch(&vm, 0, (i + 1) * per_page - TEST_PAGE, TDP_W), 0);
	}
	assert_int_equal(leaves_of(&vm), 2 * pages);
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_LEAF, count_ascending, &next),
			 0);
	assert_int_equal(next, test_vm_size(&vm));
	/* A range over the border of two root pages. */
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(per_page - TEST_PAGE, 2 * TEST_PAGE), 0),
			 TDP_OK);
	assert_int_equal(leaves_of(&vm), 2 * pages - 2);
	assert_int_equal(tdp_emu_cached(vm.emu, per_page - TEST_PAGE, 2 * TEST_PAGE), 0);
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	assert_int_equal(leaves_of(&vm), 0);
	vm_down(&vm);
}

static void levels_are_picked(void **state)
{
	static const struct {
		enum tdp_format format;
		uint32_t gpa_bits, forced;
		int want;
	} table[] = {
		{TDP_FMT_EPT, 32, 0, 4},          {TDP_FMT_EPT, 39, 0, 4},
		{TDP_FMT_EPT, 48, 0, 4},          {TDP_FMT_EPT, 49, 0, 5},
		{TDP_FMT_EPT, 52, 0, 5},          {TDP_FMT_EPT, 40, 5, 5},
		{TDP_FMT_EPT, 49, 4, TDP_ERANGE}, {TDP_FMT_EPT, 40, 3, TDP_ERANGE},
		{TDP_FMT_EPT, 53, 0, TDP_ERANGE}, {TDP_FMT_NPT, 48, 0, 4},
		{TDP_FMT_NPT, 49, 0, 5},          {TDP_FMT_NPT, 48, 5, 5},
		{TDP_FMT_S2_4K, 34, 0, 2},        {TDP_FMT_S2_4K, 35, 0, 3},
		{TDP_FMT_S2_4K, 43, 0, 3},        {TDP_FMT_S2_4K, 44, 0, 4},
		{TDP_FMT_S2_4K, 48, 0, 4},        {TDP_FMT_S2_4K, 40, 4, TDP_ENOTSUP},
		{TDP_FMT_TEST, 32, 0, 5},
	};
	struct tdp_backend_caps caps = {
		.size = (uint32_t)sizeof(caps), .gpa_bits = 52, .max_levels = 5};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(table); i++) {
		int got =
			tdp_pick_levels(table[i].format, &caps, table[i].gpa_bits, table[i].forced);

		if (got != table[i].want)
			fail_msg("format %u, %u bits, forced %u: %d", (unsigned)table[i].format,
				 table[i].gpa_bits, table[i].forced, got);
	}
	caps.max_levels = 4; /* a machine without the fifth */
	assert_int_equal(tdp_pick_levels(TDP_FMT_EPT, &caps, 48, 0), 4);
	assert_int_equal(tdp_pick_levels(TDP_FMT_EPT, &caps, 49, 0), TDP_ERANGE);
	assert_int_equal(tdp_pick_levels(TDP_FMT_EPT, &caps, 48, 5), TDP_ERANGE);
	caps.gpa_bits = 46;
	assert_int_equal(tdp_pick_levels(TDP_FMT_EPT, &caps, 47, 0), TDP_ERANGE);
	assert_int_equal(tdp_pick_levels(TDP_FMT_EPT, NULL, 47, 0), TDP_EINVAL);
	assert_int_equal(tdp_pick_levels((enum tdp_format)99, &caps, 40, 0), TDP_EINVAL);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(role_is_one_word),
		TEST_CASE(role_level_is_the_argument),
		TEST_CASE(tables_are_direct_and_grant_all),
		TEST_CASE(role_fields_hold_every_value),
		TEST_CASE(every_table_knows_role_and_place),
		TEST_CASE(verify_sees_a_wrong_role),
		TEST_CASE(metadata_is_one_cache_line),
		TEST_CASE_IF(concatenated_roots_work_as_one, concatenated),
		TEST_CASE_IF(levels_are_picked, first_format),
	};

	return test_run("role", cases, ARRAY_LEN(cases));
}

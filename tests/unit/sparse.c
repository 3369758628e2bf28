/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests that are mapped here and there: every operation finds all that is mapped, wherever in its table it stands and
 * whatever stood around it before, and looks at few entries where few are in use.
 */
#include "steps.h"

#define GPA GIB

/* ---- everything is found ---- */

/* One table's worth of pages and the two beside it. */
struct sparse {
	struct test_vm vm;
	uint64_t pages;
	bool *mapped;
};

static void sparse_up(struct sparse *s, void **state)
{
	memset(s, 0, sizeof(*s));
	vm_up(&s->vm, state, NULL);
	s->pages = 3 * block_of(&s->vm) / TEST_PAGE;
	s->mapped = calloc(s->pages, sizeof(*s->mapped));
	assert_non_null(s->mapped);
	add_slot(&s->vm, 0, GPA, s->pages * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
}

static void sparse_down(struct sparse *s)
{
	free(s->mapped);
	vm_down(&s->vm);
}

static void map_page(struct sparse *s, uint64_t page)
{
	use(&s->vm, 0, GPA + page * TEST_PAGE, TDP_W);
	s->mapped[page] = true;
}

static void zap_pages(struct sparse *s, uint64_t page, uint64_t n)
{
	assert_int_equal(tdp_zap(s->vm.mm, 0, range_of(GPA + page * TEST_PAGE, n * TEST_PAGE), 0),
			 TDP_OK);
	memset(&s->mapped[page], 0, n * sizeof(*s->mapped));
}

/* Each is there, young and writable, and an operation on all of it leaves none out. */
static void all_are_found(struct sparse *s)
{
	struct tdp_range all = range_of(GPA, s->pages * TEST_PAGE);
	uint64_t mapped = 0, young = 0;

	for (uint64_t page = 0; page < s->pages; page++) {
		struct tdp_mapping leaf;
		int ret = translate(&s->vm, 0, GPA + page * TEST_PAGE, &leaf);

		assert_int_equal(ret, s->mapped[page] ? TDP_OK : TDP_ENOENT);
		mapped += s->mapped[page];
		young += ret == TDP_OK && leaf.flags & TDP_MAP_ACCESSED;
	}
	assert_int_equal(stats_of(&s->vm).leaves[0], mapped);
	assert_int_equal(tdp_test_age(s->vm.mm, 0, all) > 0, young > 0);
	assert_int_equal(tdp_age(s->vm.mm, 0, all, NULL) > 0, young > 0);
	assert_int_equal(tdp_write_protect(s->vm.mm, 0, all), TDP_OK);
	for (uint64_t page = 0; page < s->pages; page++) {
		struct tdp_mapping leaf;

		if (!s->mapped[page])
			continue;
		assert_int_equal(translate(&s->vm, 0, GPA + page * TEST_PAGE, &leaf), TDP_OK);
		assert_int_equal(leaf.prot & TDP_W, 0);
		assert_int_equal(leaf.flags & TDP_MAP_ACCESSED, 0);
	}
	assert_int_equal(test_vm_check(&s->vm), 0);
}

/* Each page of a table by itself, and each with the one that is farthest from it. */
static void wherever_it_stands(void **state)
{
	struct sparse s;
	uint64_t n, step;

	sparse_up(&s, state);
	n = s.pages / 3;
	step = n > 128 ? 7 : 1;
	for (uint64_t i = 0; i < n; i += step) {
		map_page(&s, n + i);
		all_are_found(&s);
		map_page(&s, n + (i + n / 2) % n);
		all_are_found(&s);
		zap_pages(&s, n + i, 1);
		all_are_found(&s);
		zap_pages(&s, n, n);
		all_are_found(&s);
	}
	sparse_down(&s);
}

/* Tables that come full: filled in one go, or made out of a huge page. */
static void whatever_filled_it(void **state)
{
	struct sparse s;
	struct tdp_range all, huge;
	struct test_vm vm;
	uint64_t young;

	sparse_up(&s, state);
	all = range_of(GPA, s.pages * TEST_PAGE);
	assert_int_equal(tdp_populate(s.vm.mm, 0, all, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	memset(s.mapped, 1, s.pages * sizeof(*s.mapped));
	all_are_found(&s);
	sparse_down(&s);

	vm_up(&vm, state, NULL);
	huge = range_of(GPA, block_of(&vm));
	add_slot(&vm, 0, huge.start, huge.size, SLOT_PA, 0);
	use(&vm, 0, GPA, TDP_W);
	assert_int_equal(stats_of(&vm).leaves[0], 0);
	assert_int_equal(tdp_split(vm.mm, 0, huge, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(stats_of(&vm).leaves[0], huge.size / TEST_PAGE);
	assert_int_equal(tdp_age(vm.mm, 0, huge, &young), 1);
	assert_int_equal(young, huge.size / TEST_PAGE);
	assert_int_equal(test_vm_check(&vm), 0);
	vm_down(&vm);
}

/* Ranges come and go. */
static void whatever_stood_there(void **state)
{
	struct test_rand rand;
	struct sparse s;

	sparse_up(&s, state);
	test_rand_init(&rand, test_seed());
	for (unsigned i = 0; i < 60; i++) {
		uint64_t page = test_below(&rand, s.pages),
			 n = 1 + test_below(&rand, s.pages - page);

		switch (test_below(&rand, 4)) {
		case 0: zap_pages(&s, page, n); break;
		case 1:
			assert_int_equal(
				tdp_populate(s.vm.mm, 0,
					     range_of(GPA + page * TEST_PAGE, n * TEST_PAGE), 0,
					     NULL),
				TDP_OK);
			memset(&s.mapped[page], 1, n);
			break;
		default:
			for (n = 0; n < 5; n++)
				map_page(&s, test_below(&rand, s.pages));
			break;
		}
		all_are_found(&s);
	}
	sparse_down(&s);
}

/* ---- and little is looked at ---- */

static uint64_t scanned;

/* What the library leaves to the host's vectors: all but a few entries at a time. */
static unsigned count_scan(void *priv, const uint64_t *entries, unsigned i, unsigned end,
			   uint64_t bits)
{
	(void)priv;
	scanned += end - i;
	while (i < end && !(__atomic_load_n(&entries[i], __ATOMIC_RELAXED) & bits))
		i++;
	return i;
}

static void counts_scans(struct tdp_env *env)
{
	env->scan = count_scan;
}

static void costs_what_is_there(void **state)
{
	struct test_vm vm;
	struct tdp_range all;
	uint64_t tables = 12, per;

	vm_up(&vm, state, &(struct test_vm_options){.host = counts_scans});
	per = block_of(&vm) / TEST_PAGE;
	all = range_of(GPA, tables * block_of(&vm));
	add_slot(&vm, 0, all.start, all.size, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < tables; i++)
		use(&vm, 0, GPA + i * block_of(&vm) + i * 37 % per * TEST_PAGE, TDP_W);
	scanned = 0;
	assert_int_equal(tdp_age(vm.mm, 0, all, NULL), 1);
	assert_int_equal(tdp_age(vm.mm, 0, all, NULL), 0);
	assert_true(scanned <= 4 * per); /* tables of tables, and no other */
	for (uint64_t i = 0; i < tables; i++)
		use(&vm, 0, GPA + i * block_of(&vm) + (per - 1 - i * 37 % per) * TEST_PAGE, TDP_W);
	for (uint64_t i = 0; i < tables; i++)
		assert_int_equal(tdp_zap(vm.mm, 0,
					 range_of(GPA + i * block_of(&vm), (per / 2) * TEST_PAGE),
					 0),
				 TDP_OK);
	scanned = 0;
	assert_int_equal(tdp_age(vm.mm, 0, all, NULL), 1);
	assert_true(scanned <= 2 * per + tables * per / 2);
	/* A table that was full, and emptied page by page. */
	assert_int_equal(tdp_zap(vm.mm, 0, all, 0), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(GPA, block_of(&vm)), 0, NULL), TDP_OK);
	for (uint64_t i = 0; i < per; i++)
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(GPA + i * TEST_PAGE, TEST_PAGE), 0),
				 TDP_OK);
	scanned = 0;
	assert_int_equal(tdp_age(vm.mm, 0, range_of(GPA, block_of(&vm)), NULL), 0);
	assert_int_equal(scanned, 0);
	vm_down(&vm);
}

static bool has_wide_tables(const struct test_format *fmt)
{
	return fmt->format != TDP_FMT_TEST && has_a(fmt);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(wherever_it_stands),
		TEST_CASE(whatever_filled_it),
		TEST_CASE(whatever_stood_there),
		TEST_CASE_IF(costs_what_is_there, has_wide_tables),
	};

	return test_run("sparse", cases, ARRAY_LEN(cases));
}

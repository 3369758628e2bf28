/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H13, Xen on Arm, 2025: the loop that invalidates the entries of a concatenated root counted
 * to the root's level instead of its number of pages, so that of up to 16 pages one was done,
 * or none, and guest accesses that had to trap did not.
 *
 * Here the first and the last page of guest memory that each root page covers are mapped, and
 * every call that walks a range is given all of guest-physical space. What it did is checked
 * for all of them, up to the last entry of the last root page.
 */
#include "huge.h"

#define PLACES_MAX 32u

static unsigned places;
static tdp_gpa_t place[PLACES_MAX];
static uint32_t slots[PLACES_MAX];

static tdp_pa_t pa_of(unsigned i)
{
	return PA + (tdp_pa_t)i * TEST_PAGE;
}

/* First and last guest page under each root page. */
static void add_places(struct test_vm *vm)
{
	uint64_t part = test_vm_size(vm) / vm->info.root_pages;
	unsigned i;

	assert_int_equal(vm->info.root_pages, vm->fmt->root_pages);
	places = 0;
	for (i = 0; i < vm->info.root_pages; i++) {
		place[places++] = i * part;
		place[places++] = (i + 1) * part - TEST_PAGE;
	}
	for (i = 0; i < places; i++)
		assert_int_equal(test_vm_slot(vm, 0, place[i], TEST_PAGE, pa_of(i), 0, &slots[i]),
				 TDP_OK);
}

static void touch_all(struct test_vm *vm, uint32_t access, bool faults)
{
	unsigned i;

	for (i = 0; i < places; i++) {
		struct test_access a = touch(vm, 0, place[i], access);

		assert_int_equal(a.pa, pa_of(i));
		assert_int_equal(a.faults > 0, faults);
	}
}

static void assert_mapped(struct test_vm *vm, bool mapped)
{
	struct tdp_emu_exit exit;
	unsigned i;

	for (i = 0; i < places; i++) {
		assert_int_equal(lg2_at(vm, 0, place[i]), mapped ? TDP_PAGE_LG2 : 0);
		assert_int_equal(bare_walk(vm, 0, place[i], TDP_R, &exit) == TDP_EMU_OK, mapped);
		assert_int_equal(tdp_emu_cached(vm->emu, place[i], TEST_PAGE), mapped);
	}
}

/* Tables linked now: all that remain after a compaction of nothing are the pages of the root. */
static uint64_t linked_tables(struct test_vm *vm)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};

	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	return report.tables;
}

static unsigned leaves_in(struct test_vm *vm)
{
	struct test_dump dump = dump_of(vm, 0);
	unsigned n = 0;
	size_t i;

	for (i = 0; i < dump.count; i++)
		n += dump.visits[i].kind == TDP_ENTRY_LEAF;
	test_dump_free(&dump);
	return n;
}

static void look(struct test_vm *vm, struct tdp_range all)
{
	struct tdp_report report = {.size = (uint32_t)sizeof(report)};
	uint64_t young;

	assert_int_equal(leaves_in(vm), places);
	assert_int_equal(tdp_verify(vm->mm, &report), TDP_OK);
	assert_int_equal(report.leaves[0], places);
	assert_int_equal(tdp_age(vm->mm, 0, all, &young), 1);
	assert_int_equal(young, places);
	assert_int_equal(tdp_age(vm->mm, 0, all, &young), 0);
	assert_int_equal(young, 0);
}

static void every_root_page(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_range all = {0, test_vm_size(vm)};
	uint64_t bits;
	unsigned i;

	add_places(vm);
	touch_all(vm, TDP_W, true);
	assert_mapped(vm, true);
	look(vm, all);
	assert_int_equal(tdp_write_protect(vm->mm, 0, all), TDP_OK);
	touch_all(vm, TDP_W, true);
	for (i = 0; i < places; i++) {
		assert_int_equal(tdp_dirty_log(vm->mm, slots[i], TDP_LOG_AUTO), TDP_OK);
		touch(vm, 0, place[i], TDP_W);
		assert_int_equal(tdp_dirty_harvest(vm->mm, slots[i], 0, &bits, 1), TDP_OK);
		assert_int_equal(bits, 1);
		assert_int_equal(tdp_dirty_log(vm->mm, slots[i], TDP_LOG_OFF), TDP_OK);
	}
	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
	assert_mapped(vm, false);
	assert_int_equal(leaves_in(vm), 0);
	assert_true(tdp_compact(vm->mm, 0, all) >= 0);
	assert_int_equal(linked_tables(vm), vm->info.root_pages);
	touch_all(vm, TDP_W, true);
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	for (i = 0; i < places; i++)
		assert_int_equal(tdp_emu_cached(vm->emu, place[i], TEST_PAGE), 0);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	touch_all(vm, TDP_R, true);
	assert_mapped(vm, true);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_root_page)};

	return test_run("museum/H13", cases, ARRAY_LEN(cases));
}

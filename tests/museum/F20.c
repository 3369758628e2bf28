/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F20, Hafnium 2026: a block was replaced by a table because a page in its middle changed. The flush was as long
 * as the block but began at the page, so it left the front of the block cached and hit the neighbour.
 *
 * Here a page in the upper half of a huge page makes it a table, in every way that there is. What was flushed
 * must lie within the huge page, and all of it where sizes may not be mixed; the neighbour's translations must
 * still hit, and those of the front be what the tables say.
 */
#include "flush.h"

enum way { PROTECT, SPLIT, ZAP, LOGGED_WRITE, TRACK, OWNER, WAYS };

static void replace(struct test_vm *vm, enum way way, uint32_t slot, struct tdp_range page)
{
	switch (way) {
	case PROTECT: assert_int_equal(tdp_write_protect(vm->mm, 0, page), TDP_OK); break;
	case SPLIT: assert_int_equal(tdp_split(vm->mm, 0, page, TDP_PAGE_LG2), TDP_OK); break;
	case ZAP: assert_int_equal(tdp_zap(vm->mm, 0, page, 0), TDP_OK); break;
	case LOGGED_WRITE:
		assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT), TDP_OK);
		for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
			touch_linear(vm, cpu, page.start, TDP_R);
			touch_linear(vm, cpu, GPA - 2 * TEST_PAGE, TDP_R);
		}
		spy_forget();
		touch_linear(vm, 0, page.start, TDP_W);
		break;
	case TRACK: assert_int_equal(tdp_write_track(vm->mm, 0, page, true), TDP_OK); break;
	default: assert_int_equal(tdp_set_owner(vm->mm, 0, page, 3), TDP_OK);
	}
}

static bool breaks_before_make(const struct test_vm *vm)
{
	return vm->fmt->format == TDP_FMT_S2_4K || vm->fmt->format == TDP_FMT_TEST;
}

static void in_the_middle(void **state, unsigned level, enum way way)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t size = leaf_size(vm, level);
	struct tdp_range block = range_of(GPA, size);
	struct tdp_range page = range_of(GPA + size / 2 + 3 * TEST_PAGE, TEST_PAGE);
	tdp_gpa_t below = GPA - 2 * TEST_PAGE, above = GPA + size + 2 * TEST_PAGE;
	uint32_t slot, other[2];

	assert_int_equal(test_vm_slot(vm, 0, GPA, size, PA, 0, &slot), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, GPA - 8 * TEST_PAGE, 8 * TEST_PAGE, PA - 8 * TEST_PAGE,
				      0, &other[0]),
			 TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, GPA + size, size, PA + size, 0, &other[1]), TDP_OK);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		touch_linear(vm, cpu, GPA, TDP_W);
		touch_linear(vm, cpu, page.start, TDP_W);
		touch_linear(vm, cpu, below, TDP_W);
		touch_linear(vm, cpu, above, TDP_W);
	}
	assert_int_equal(lg2_at(vm, 0, GPA), test_vm_lg2(vm, level));
	spy_forget();
	replace(vm, way, slot, page);
	assert_true(lg2_at(vm, 0, GPA) < test_vm_lg2(vm, level));
	assert_int_equal(spy.alls, 0);
	if (spy.cover.size) {
		assert_true(spy.cover.start >= block.start);
		assert_true(spy.cover.start + spy.cover.size <= block.start + block.size);
	}
	if (breaks_before_make(vm)) {
		assert_int_equal(spy.cover.start, block.start);
		assert_int_equal(spy.cover.size, block.size);
		assert_int_equal(tdp_emu_cached(vm->emu, GPA, size / 4), 0);
	}
	assert_int_equal(
		stale_accesses(vm, range_of(page.start - 4 * TEST_PAGE, 8 * TEST_PAGE), TEST_PAGE),
		0);
	assert_int_equal(stale_accesses(vm, range_of(GPA, 4 * TEST_PAGE), TEST_PAGE), 0);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		struct tdp_emu_exit exit;

		assert_int_equal(raw(vm, cpu, below, TDP_R, &exit), TDP_EMU_OK);
		assert_int_equal(exit.refs, 0);
		assert_int_equal(raw(vm, cpu, above, TDP_R, &exit), TDP_EMU_OK);
		assert_int_equal(exit.refs, 0);
	}
	close_vm(vm);
}

static void flushed_from_its_start_to_its_end(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);

	close_vm(vm);
	for (unsigned i = 0; i < h.count; i++)
		for (unsigned way = 0; way < WAYS; way++)
			in_the_middle(state, h.level[i], (enum way)way);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(flushed_from_its_start_to_its_end)};

	return test_run("museum/F20", cases, ARRAY_LEN(cases));
}

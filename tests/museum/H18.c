/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H18, page_table_multiarch, 2025: the recursion that frees a tree began with a fixed level for
 * the root's children. The tables of the last level leaked; in a tree of another depth pages of
 * data would have been freed in their place.
 *
 * Here trees of every depth, with a leaf at each level, go in every way there is: destroyed,
 * invalidated and reclaimed (at once and in small steps), zapped, compacted, unlinked one by
 * one. The host's census must return to what it was, and nobody may give it a page of data for
 * a table.
 */
#include "huge.h"

enum way { DESTROY, RECLAIM, RECLAIM_STEPS, ZAP, ZAP_PARTS, SPLIT_ZAP, COMPACT, UNLINK, WAYS };

/* One leaf of each size (from GPA on), one small page, and one more table that is empty. */
static void build(struct test_vm *vm)
{
	struct huge_levels h = huge_levels(vm);
	tdp_gpa_t gpa = GPA;
	unsigned i;

	for (i = h.count; i-- > 0; gpa += leaf_size(vm, h.level[i]))
		touch(vm, 0, gpa, TDP_W);
	touch(vm, 0, gpa, TDP_W);
	touch(vm, 0, gpa + leaf_size(vm, 1), TDP_W);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa + leaf_size(vm, 1), TEST_PAGE), 0),
			 TDP_OK);
}

static void add_slots(struct test_vm *vm)
{
	struct huge_levels h = huge_levels(vm);
	tdp_gpa_t gpa = GPA;
	unsigned i;

	for (i = h.count; i-- > 0; gpa += leaf_size(vm, h.level[i]))
		assert_int_equal(test_vm_slot(vm, 0, gpa, leaf_size(vm, h.level[i]),
					      PA + (gpa - GPA), 0, NULL),
				 TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, gpa, TEST_PAGE, PA + (gpa - GPA), 0, NULL), TDP_OK);
	gpa += leaf_size(vm, 1);
	assert_int_equal(test_vm_slot(vm, 0, gpa, TEST_PAGE, PA + (gpa - GPA), 0, NULL), TDP_OK);
}

/* Tables linked below the root. */
static uint64_t linked(struct test_vm *vm)
{
	struct test_dump dump = dump_of(vm, 0);
	uint64_t n = 0;
	size_t i;

	for (i = 0; i < dump.count; i++)
		n += dump.visits[i].kind == TDP_ENTRY_TABLE;
	test_dump_free(&dump);
	return n;
}

static void unlink_one_by_one(struct test_vm *vm)
{
	unsigned guard;

	for (guard = 0; guard < 64 && linked(vm) > 0; guard++) {
		struct test_dump dump = dump_of(vm, 0);
		size_t i = dump.count;

		while (dump.visits[--i].kind != TDP_ENTRY_TABLE)
			;
		assert_int_equal(tdp_zap_table(vm->mm, dump.visits[i].pa), TDP_OK);
		test_dump_free(&dump);
	}
}

static void tear_down(struct test_vm *vm, enum way way)
{
	struct tdp_range all = {0, test_vm_size(vm)};
	uint64_t part = test_vm_size(vm) / 8;
	unsigned i;

	switch (way) {
	case RECLAIM:
	case RECLAIM_STEPS:
		assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
		for (i = 0; i < 100 && tdp_roots_reclaim(vm->mm, way == RECLAIM ? 0 : 1) > 0; i++)
			;
		assert_true(i < 100);
		assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
		break;
	case ZAP_PARTS:
		for (i = 0; i < 8; i++)
			assert_int_equal(tdp_zap(vm->mm, 0, range_of(i * part, part), 0), TDP_OK);
		break;
	case SPLIT_ZAP:
		assert_int_equal(tdp_split(vm->mm, 0, range_of(GPA, TEST_PAGE), TDP_PAGE_LG2),
				 TDP_OK);
		/* fall through */
	case ZAP: assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK); break;
	case COMPACT:
		assert_int_equal(
			tdp_zap(vm->mm, 0, range_of(GPA, leaf_size(vm, 1) / 2), TDP_ZAP_LAZY),
			TDP_OK);
		assert_true(tdp_compact(vm->mm, 0, all) > 0);
		assert_int_equal(tdp_zap(vm->mm, 0, all, TDP_ZAP_KEEP_YOUNG), TDP_OK);
		break;
	case UNLINK: unlink_one_by_one(vm); break;
	default: return;
	}
	tdp_compact(vm->mm, 0, all);
	assert_int_equal(linked(vm), 0);
}

static void run(void **state, enum way way, bool log)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm *vm = open_vm(state, &opts);
	uint32_t slot;
	uint64_t tables;
	unsigned round;

	add_slots(vm);
	/* With a log by Dirty bits the content of what is cut off is read once more. */
	assert_int_equal(tdp_slot_find(vm->mm, 0, GPA, &slot, NULL), TDP_OK);
	if (log)
		assert_int_equal(tdp_dirty_log(vm->mm, slot, TDP_LOG_AUTO), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	touch(vm, 0, GPA, TDP_R); /* so that the vCPU has its own tables ahead */
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(0, test_vm_size(vm)), 0), TDP_OK);
	tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm)));
	assert_int_equal(tdp_vcpu_topup(vm->cpu[0].vcpu), TDP_OK);
	tables = tables_of(vm);
	for (round = 0; round < 3 && way != DESTROY; round++) {
		build(vm);
		assert_true(linked(vm) >= vm->info.levels - 1);
		tear_down(vm, way);
		assert_int_equal(tdp_vcpu_topup(vm->cpu[0].vcpu), TDP_OK);
		assert_int_equal(tables_of(vm), tables);
		assert_int_equal(test_vm_check(vm), 0);
	}
	if (way == DESTROY)
		build(vm);
	close_vm(vm);
}

static void nothing_leaks_nothing_too_much(void **state)
{
	unsigned way;

	for (way = DESTROY; way < WAYS; way++) {
		run(state, way, false);
		run(state, way, true);
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(nothing_leaks_nothing_too_much)};

	return test_run("museum/H18", cases, ARRAY_LEN(cases));
}

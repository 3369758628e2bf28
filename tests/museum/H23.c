/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H23, Xen's EPT code, 2019: a hook told about each new entry was given the level of the table
 * that holds the children instead of the entry's own, while another format counted levels from
 * one instead of zero: counters by kind of page drifted away from what was mapped.
 *
 * Here the live counters by level are compared with a recount from scratch (a walk of the whole
 * tree) after each of many random operations that make, split, merge and remove entries of
 * every level.
 */
#include "huge.h"

#define SPAN_LG2 31u /* of guest memory that is played with, from 1G on */

static uint32_t slot_id;

/* Leaves, tables and MMIO entries that can be reached, by level. */
static void recount(struct test_vm *vm, struct tdp_stats *n)
{
	struct test_dump dump = dump_of(vm, 0);
	size_t i;

	memset(n, 0, sizeof(*n));
	n->tables[vm->info.levels - 1] = vm->info.root_pages;
	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[i];

		if (v->kind == TDP_ENTRY_LEAF)
			n->leaves[v->level]++;
		else if (v->kind == TDP_ENTRY_TABLE)
			n->tables[v->level - 1]++;
		else if (v->kind == TDP_ENTRY_MMIO)
			n->mmio++;
	}
	test_dump_free(&dump);
}

static void assert_counters(struct test_vm *vm)
{
	struct tdp_stats have = stats_of(vm), want;
	unsigned level;

	recount(vm, &want);
	for (level = 0; level < TDP_LEVELS_MAX; level++) {
		assert_int_equal(have.leaves[level], want.leaves[level]);
		assert_int_equal(have.tables[level], want.tables[level]);
	}
	assert_int_equal(have.mmio, want.mmio);
}

/* A range of one to four entries of a level (or pages), near the start. */
static struct tdp_range some_range(struct test_vm *vm, struct test_rand *r)
{
	unsigned level = (unsigned)test_below(r, vm->info.levels);
	uint64_t size, space = (uint64_t)1 << SPAN_LG2;

	while (leaf_size(vm, level) > space / 4)
		level--;
	size = leaf_size(vm, level);
	return range_of(GPA + test_below(r, 4) * size, (1 + test_below(r, 4)) * size);
}

static void invalidate(struct test_vm *vm)
{
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
}

static void unlink_a_table(struct test_vm *vm, struct test_rand *r)
{
	struct test_dump dump = dump_of(vm, 0);
	size_t i, at = dump.count ? (size_t)test_below(r, dump.count) : 0;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[(at + i) % dump.count];

		if (v->kind != TDP_ENTRY_TABLE)
			continue;
		assert_int_equal(tdp_zap_table(vm->mm, v->pa), TDP_OK);
		break;
	}
	test_dump_free(&dump);
}

/* Small enough that a walk of the whole tree after each step is no burden. */
static bool small_enough(struct test_vm *vm, struct tdp_range r)
{
	return r.size <= 8 * leaf_size(vm, 1);
}

static void one_operation(struct test_vm *vm, struct test_rand *r)
{
	struct tdp_range range = some_range(vm, r);
	tdp_gpa_t gpa = range.start + test_below(r, range.size >> 12) * TEST_PAGE;
	uint64_t done;

	switch (test_below(r, 13)) {
	case 0:
	case 1:
	case 2: touch_linear(vm, 0, gpa, test_one_in(r, 2) ? TDP_R : TDP_W); break;
	case 3:
		if (small_enough(vm, range))
			assert_int_equal(tdp_populate(vm->mm, 0, range, 0, &done), TDP_OK);
		break;
	case 4: assert_int_equal(tdp_zap(vm->mm, 0, range, 0), TDP_OK); break;
	case 5:
		assert_int_equal(tdp_zap(vm->mm, 0, range, TDP_ZAP_LAZY | TDP_ZAP_KEEP_YOUNG),
				 TDP_OK);
		break;
	case 6:
		if (small_enough(vm, range))
			assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK);
		break;
	case 7:
		assert_int_equal(tdp_collapse(vm->mm, 0, range_of(GPA, (uint64_t)1 << 30), 0, NULL),
				 TDP_OK);
		break;
	case 8: assert_true(tdp_compact(vm->mm, 0, range_of(0, test_vm_size(vm))) >= 0); break;
	case 9: assert_int_equal(tdp_write_protect(vm->mm, 0, range), TDP_OK); break;
	case 10:
		/* In front of the slot nothing is: MMIO, an entry of its own kind. */
		assert_int_equal(test_vm_access(vm, 0, GPA - (1 + test_below(r, 20)) * TEST_PAGE,
						TDP_R, NULL),
				 TEST_OUTCOME);
		break;
	case 11: unlink_a_table(vm, r); break;
	default:
		assert_int_equal(tdp_dirty_log(vm->mm, slot_id, TDP_LOG_AUTO), TDP_OK);
		touch_linear(vm, 0, gpa, TDP_W);
		assert_int_equal(tdp_dirty_log(vm->mm, slot_id, TDP_LOG_OFF), TDP_OK);
		break;
	}
}

/* Each kind of change once, in an order that has an effect. */
static void directed(struct test_vm *vm)
{
	struct huge_levels h = huge_levels(vm);
	struct tdp_range all = {0, test_vm_size(vm)};
	unsigned i, to;

	assert_counters(vm);
	for (i = 0; i < h.count; i++)
		for (to = 0; to < h.level[i]; to++) {
			struct tdp_range one = {GPA, TEST_PAGE};

			if (!(vm->info.leaf_levels >> to & 1))
				continue;
			touch_linear(vm, 0, GPA, TDP_W);
			assert_counters(vm);
			assert_int_equal(tdp_split(vm->mm, 0, one, test_vm_lg2(vm, to)), TDP_OK);
			assert_counters(vm);
			assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, NULL), TDP_OK);
			assert_counters(vm);
			assert_int_equal(tdp_zap(vm->mm, 0, one, 0), TDP_OK);
			assert_counters(vm);
			assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
			assert_counters(vm);
		}
}

static void counters_are_a_recount(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct test_rand r;
	unsigned round;

	test_rand_init(&r, test_seed());
	assert_int_equal(test_vm_slot(vm, 0, GPA, (uint64_t)1 << SPAN_LG2, PA, 0, &slot_id),
			 TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	directed(vm);
	for (round = 0; round < 250; round++) {
		one_operation(vm, &r);
		assert_counters(vm);
		if (round % 100 == 99) {
			invalidate(vm);
			assert_counters(vm);
		}
	}
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(counters_are_a_recount)};

	return test_run("museum/H23", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F10, Xen HAP 2014: whether a change needed a flush was asked for 4K entries and for 2M leaves only; 1G leaves
 * and tables in the middle were changed without any.
 *
 * Here every kind of entry (leaf, table of small pages, nothing) at every level meets everything that can
 * remove, reduce, split or merge it, while two vCPUs hold all they can. Afterwards none may reach anything
 * that the tables do not give.
 */
#include "flush.h"

enum change {
	ZAP,
	ZAP_LAZY,
	ZAP_PART,
	ZAP_KEEP_YOUNG,
	PROTECT,
	PROTECT_PART,
	TRACK,
	OWNER,
	READONLY,
	SPLIT,
	COLLAPSE,
	COLLAPSE_ZAP,
	LOG,
	MOVE,
	REMOVE,
	INVALIDATE,
	CHANGES
};

static int apply(struct test_vm *vm, enum change change, uint32_t slot, struct tdp_range all)
{
	struct tdp_range part = range_of(all.start + all.size / 2 + TEST_PAGE, TEST_PAGE);

	switch (change) {
	case ZAP: return tdp_zap(vm->mm, 0, all, 0);
	case ZAP_LAZY: return tdp_zap(vm->mm, 0, part, TDP_ZAP_LAZY);
	case ZAP_PART: return tdp_zap(vm->mm, 0, part, 0);
	case ZAP_KEEP_YOUNG: return tdp_zap(vm->mm, 0, all, TDP_ZAP_KEEP_YOUNG);
	case PROTECT: return tdp_write_protect(vm->mm, 0, all);
	case PROTECT_PART: return tdp_write_protect(vm->mm, 0, part);
	case TRACK: return tdp_write_track(vm->mm, 0, part, true);
	case OWNER: return tdp_set_owner(vm->mm, 0, part, 9);
	case READONLY: return tdp_slot_set_flags(vm->mm, slot, TDP_SLOT_READONLY);
	case SPLIT: return tdp_split(vm->mm, 0, part, TDP_PAGE_LG2);
	case COLLAPSE: return tdp_collapse(vm->mm, 0, all, 0, NULL);
	case COLLAPSE_ZAP: return tdp_collapse(vm->mm, 0, all, TDP_COLLAPSE_ZAP, NULL);
	case LOG: return tdp_dirty_log(vm->mm, slot, TDP_LOG_WRPROT);
	case MOVE: return tdp_slot_move(vm->mm, slot, all.start + 2 * all.size);
	case REMOVE: return tdp_slot_remove(vm->mm, slot);
	default: return tdp_roots_invalidate(vm->mm);
	}
}

static void one_change(void **state, unsigned level, bool small, enum change change)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, NULL);
	uint64_t size = leaf_size(vm, level), step = size / 32;
	struct tdp_range all = range_of(GPA, size);
	uint32_t slot;

	if (step < TEST_PAGE)
		step = TEST_PAGE;
	assert_int_equal(test_vm_slot(vm, 0, GPA, size, PA, 0, &slot), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	if (small)
		assert_int_equal(tdp_split(vm->mm, 0, all, TDP_PAGE_LG2), TDP_OK);
	cache_all(vm, all, step);
	assert_int_equal(apply(vm, change, slot, all), TDP_OK);
	assert_int_equal(stale_accesses(vm, all, step), 0);
	/* The page in the middle, which the partial ones are about. */
	assert_int_equal(stale_accesses(vm, range_of(GPA + size / 2, 4 * TEST_PAGE), TEST_PAGE), 0);
	close_vm(vm);
}

static void every_kind_at_every_level(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);

	close_vm(vm);
	for (unsigned i = 0; i < h.count; i++)
		for (unsigned small = 0; small < 2; small++)
			for (unsigned change = 0; change < CHANGES; change++) {
				/* A table of 4K pages below each of 512 entries takes its time. */
				if (small && i > 0)
					continue;
				one_change(state, h.level[i], small, (enum change)change);
			}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_kind_at_every_level)};

	return test_run("museum/F10", cases, ARRAY_LEN(cases));
}

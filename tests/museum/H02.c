/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H02, ACRN, 2018: changing attributes of a range that starts inside a large page changed the
 * whole page, because only the end of the range was compared with the page, not its start.
 *
 * Here write protection, write tracking and removal run over all ranges whose edges lie on, one
 * page before and one page behind the borders of huge pages, one to three of them long.
 * Afterwards every leaf is looked at: nothing outside the range has changed, all inside has,
 * and the MMU agrees.
 */
#include "huge.h"

#define LEAVES 4u

enum what { PROTECT, TRACK, ZAP, WHATS };

static void apply(struct test_vm *vm, enum what what, struct tdp_range r)
{
	switch (what) {
	case PROTECT: assert_int_equal(tdp_write_protect(vm->mm, 0, r), TDP_OK); break;
	case TRACK: assert_int_equal(tdp_write_track(vm->mm, 0, r, true), TDP_OK); break;
	default: assert_int_equal(tdp_zap(vm->mm, 0, r, 0), TDP_OK); break;
	}
}

/* The MMU's view of the pages at both sides of both edges. */
static void edges(struct test_vm *vm, enum what what, struct tdp_range r, struct tdp_range all)
{
	tdp_gpa_t at[4] = {r.start - TEST_PAGE, r.start, r.start + r.size - TEST_PAGE,
			   r.start + r.size};
	unsigned i;

	for (i = 0; i < 4; i++) {
		struct tdp_emu_exit exit;

		if (at[i] < all.start || at[i] >= all.start + all.size)
			continue;
		assert_int_equal(bare_walk(vm, 0, at[i], TDP_W, &exit) == TDP_EMU_OK,
				 i == 0 || i == 3);
	}
	for (i = 0; i < 4; i++) {
		bool in = i == 1 || i == 2;
		struct test_access a;
		int answer;

		if (at[i] < all.start || at[i] >= all.start + all.size)
			continue;
		answer = test_vm_access(vm, 0, at[i], TDP_W, &a);
		if (in && what == TRACK) {
			assert_int_equal(answer, TEST_OUTCOME);
			assert_int_equal(a.outcome, TDP_FAULT_TRACKED);
			continue;
		}
		assert_int_equal(answer, TEST_OK);
		assert_int_equal(a.pa, PA + (at[i] - GPA));
		if (i == 1) /* the other edge may be in the same leaf */
			assert_true(a.faults > 0);
		if (!in)
			assert_int_equal(a.faults, 0);
	}
}

static void one(struct test_vm *vm, unsigned level, enum what what, struct tdp_range r)
{
	struct tdp_range all = {GPA, LEAVES * leaf_size(vm, level)};
	uint32_t inside = what == ZAP ? 0 : TDP_R | TDP_X;
	tdp_gpa_t gpa;

	for (gpa = all.start; gpa < all.start + all.size; gpa += leaf_size(vm, level)) {
		touch_linear(vm, 0, gpa, TDP_W);
		assert_int_equal(lg2_at(vm, 0, gpa), test_vm_lg2(vm, level));
	}
	apply(vm, what, r);
	assert_cover(vm, all, r, inside, TDP_RWX);
	edges(vm, what, r, all);
	if (what == TRACK)
		assert_int_equal(tdp_write_track(vm->mm, 0, r, false), TDP_OK);
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
	assert_true(tdp_compact(vm->mm, 0, all) >= 0);
}

static void run_level(void **state, unsigned level)
{
	static const int64_t off[] = {-1, 0, 1};
	struct test_vm *vm;
	unsigned n, i, j, what;
	uint64_t size;

	vm = open_vm(state, NULL);
	size = leaf_size(vm, level);
	assert_int_equal(test_vm_slot(vm, 0, GPA, LEAVES * size, PA, 0, NULL), TDP_OK);
	for (what = PROTECT; what < WHATS; what++) {
		/*
		 * Counting each of a gigabyte's pages is what tracking does: once is enough
		 * there.
		 */
		unsigned most = what == TRACK && size >= (uint64_t)1 << 30 ? 1 : 3;

		for (n = 0; n <= most; n++)
			for (i = 0; i < ARRAY_LEN(off); i++)
				for (j = 0; j < ARRAY_LEN(off); j++) {
					tdp_gpa_t a = GPA + size + (uint64_t)off[i] * TEST_PAGE;
					tdp_gpa_t b =
						GPA + (1 + n) * size + (uint64_t)off[j] * TEST_PAGE;

					if (b <= a || b > GPA + LEAVES * size)
						continue;
					one(vm, level, what, range_of(a, b - a));
				}
	}
	close_vm(vm);
}

static void only_the_range_changes(void **state)
{
	struct huge_levels h;
	struct test_vm *vm;
	unsigned i;

	vm = open_vm(state, NULL);
	h = huge_levels(vm);
	/* Four leaves behind GPA must fit. */
	while (h.count && GPA + LEAVES * leaf_size(vm, h.level[h.count - 1]) > test_vm_size(vm))
		h.count--;
	close_vm(vm);
	assert_true(h.count > 0);
	for (i = 0; i < h.count; i++)
		run_level(state, h.level[i]);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(only_the_range_changes)};

	return test_run("museum/H02", cases, ARRAY_LEN(cases));
}

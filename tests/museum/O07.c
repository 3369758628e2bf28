/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O07, Xen 2024: a 1G mapping was checked at its first frame only; the frames behind it were no
 * memory at all, and code that walked the whole range ran over them. Here memory stops being
 * contiguous, stops being anything, or stops belonging to the slot, inside a range as large as a
 * huge page, in its middle and at its last page: no huge page covers it, and the backing is
 * never asked about what is not its own.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	struct test_backing b;
	uint64_t huge;
	uint32_t id;
};

/* A memory of `size` bytes from the second block on, in blocks of 1 << lg2. */
static void scene_start(struct scene *s, void **state, uint64_t huges, uint64_t less, bool large)
{
	struct tdp_slot_desc desc;

	museum_start(&s->vm, state, NULL);
	s->huge = museum_huge(&s->vm);
	assert_int_equal(test_backing_init(&s->b, &s->vm.env, s->huge, huges * s->huge - less,
					   MUSEUM_PA, TDP_RWX,
					   large ? test_vm_lg2(&s->vm, 1) : TDP_PAGE_LG2),
			 TDP_OK);
	desc = test_backing_slot(&s->b, 0, 0);
	assert_int_equal(tdp_slot_add(s->vm.mm, &desc, &s->id), TDP_OK);
}

static void scene_end(struct scene *s)
{
	museum_end(&s->vm);
	test_backing_fini(&s->b);
}

static void all_pages_right(struct scene *s, uint64_t bytes)
{
	for (uint64_t off = 0; off < bytes; off += TEST_PAGE)
		museum_reaches(&s->vm, s->huge + off, TDP_W, test_backing_pa(&s->b, s->huge + off));
}

/* One page of the block was replaced: the first frame tells nothing about it. */
static void a_hole_in_the_block(void **state)
{
	struct scene s;
	uint64_t offs[3];

	scene_start(&s, state, 1, 0, true);
	offs[0] = s.huge / 2;
	offs[1] = s.huge - TEST_PAGE;
	offs[2] = TEST_PAGE;
	for (unsigned i = 0; i < ARRAY_LEN(offs); i++) {
		tdp_gpa_t hole = s.huge + offs[i];

		museum_reaches(&s.vm, s.huge, TDP_W, test_backing_pa(&s.b, s.huge));
		assert_int_equal(
			test_backing_discard(&s.b, s.vm.mm, 0, museum_range(hole, TEST_PAGE)),
			TDP_OK);
		assert_int_equal(tdp_zap(s.vm.mm, 0, museum_range(s.huge, s.huge), 0), TDP_OK);
		/* By a fault at the first frame, then by populating, then by collapsing. */
		assert_int_equal(
			museum_reaches(&s.vm, s.huge, TDP_W, test_backing_pa(&s.b, s.huge)),
			TDP_PAGE_LG2);
		all_pages_right(&s, s.huge);
		assert_int_equal(tdp_zap(s.vm.mm, 0, museum_range(s.huge, s.huge), 0), TDP_OK);
		assert_int_equal(tdp_populate(s.vm.mm, 0, museum_range(s.huge, s.huge), 0, NULL),
				 TDP_OK);
		all_pages_right(&s, s.huge);
		assert_int_equal(tdp_collapse(s.vm.mm, 0, museum_range(s.huge, s.huge), 0, NULL),
				 TDP_OK);
		all_pages_right(&s, s.huge);
		/* Whole again. */
		assert_int_equal(
			test_backing_discard(&s.b, s.vm.mm, 0, museum_range(s.huge, s.huge)),
			TDP_OK);
		assert_int_equal(
			museum_reaches(&s.vm, s.huge, TDP_W, test_backing_pa(&s.b, s.huge)),
			test_vm_lg2(&s.vm, 1));
	}
	scene_end(&s);
}

/* The slot and its memory end in the middle of a block, or one page before its end. */
static void memory_ends_in_the_block(void **state)
{
	struct scene s;
	const uint64_t less[] = {TEST_PAGE, 8 * TEST_PAGE};

	for (unsigned i = 0; i < ARRAY_LEN(less); i++) {
		scene_start(&s, state, 2, less[i], true);
		assert_int_equal(
			museum_reaches(&s.vm, 2 * s.huge, TDP_W, test_backing_pa(&s.b, 2 * s.huge)),
			TDP_PAGE_LG2);
		assert_int_equal(tdp_populate(s.vm.mm, 0,
					      museum_range(s.huge, 2 * s.huge - less[i]), 0, NULL),
				 TDP_OK);
		all_pages_right(&s, 2 * s.huge - less[i]);
		assert_int_equal(tdp_collapse(s.vm.mm, 0, museum_range(0, 4 * s.huge), 0, NULL),
				 TDP_OK);
		museum_answer(&s.vm, 3 * s.huge - less[i], TDP_R, TDP_FAULT_MMIO);
		museum_answer(&s.vm, 3 * s.huge - TEST_PAGE, TDP_W, TDP_FAULT_MMIO);
		scene_end(&s);
	}
}

/*
 * Contiguous by accident: the frames follow each other, but the owner vouches for single pages
 * only.
 */
static void contiguous_is_not_enough(void **state)
{
	struct scene s;
	uint64_t made = 1;

	scene_start(&s, state, 1, 0, false);
	all_pages_right(&s, s.huge);
	assert_int_equal(test_backing_pa(&s.b, 2 * s.huge - TEST_PAGE),
			 test_backing_pa(&s.b, s.huge) + s.huge - TEST_PAGE);
	assert_int_equal(tdp_collapse(s.vm.mm, 0, museum_range(s.huge, s.huge), 0, &made), TDP_OK);
	assert_int_equal(made, 0);
	scene_end(&s);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(a_hole_in_the_block),
						 TEST_CASE(memory_ends_in_the_block),
						 TEST_CASE(contiguous_is_not_enough)};

	return test_run("museum/O07", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O08, Xen 2008, 2014 and 2024: the highest mapped frame was raised by one page when a huge page
 * was mapped, and taken as inclusive here and as exclusive there; the last page was never found,
 * or the one behind it was. Here the last page of a slot, in leaves of every size, is found by
 * all that has an end: removal, zap, dirty log, aging, write protection, backing ranges; and the
 * page behind the end never.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	tdp_gpa_t last; /* the last page of the slot */
	uint64_t size;
	uint32_t lg2, id; /* of its leaf; of the slot */
};

static int found(void *arg, uint32_t as_id, struct tdp_range range)
{
	struct tdp_range *out = arg;

	assert_int_equal(as_id, 0);
	*out = range;
	return 1;
}

/* A slot from one leaf on, of two leaves, with another memory right behind it. */
static void scene_start(struct scene *s, uint32_t lg2, uint32_t *neighbour)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};

	s->lg2 = lg2;
	s->size = (uint64_t)2 << lg2;
	desc.gpa = museum_range(s->size, s->size);
	desc.pa = MUSEUM_PA;
	desc.backing_start = s->size;
	assert_int_equal(tdp_slot_add(s->vm.mm, &desc, &s->id), TDP_OK);
	s->last = 2 * s->size - TEST_PAGE;
	desc.gpa = museum_range(2 * s->size, TEST_PAGE);
	desc.pa = MUSEUM_PA + s->size;
	desc.backing_start = 2 * s->size;
	assert_int_equal(tdp_slot_add(s->vm.mm, &desc, neighbour), TDP_OK);
	assert_int_equal(museum_reaches(&s->vm, s->last, TDP_W, MUSEUM_PA + s->size - TEST_PAGE),
			 lg2);
	museum_reaches(&s->vm, s->last + TEST_PAGE, TDP_W, MUSEUM_PA + s->size);
}

static void the_end_is_found(struct scene *s)
{
	struct tdp_range all = museum_range(s->size, s->size), r;
	uint64_t young = 0, pages = s->size / TEST_PAGE;
	size_t words = (pages + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));

	assert_non_null(bits);
	assert_int_equal(tdp_age(s->vm.mm, 0, all, &young), 1);
	assert_int_equal(young, 1);
	assert_int_equal(tdp_test_age(s->vm.mm, 0, museum_range(s->last + TEST_PAGE, TEST_PAGE)),
			 1);
	assert_int_equal(tdp_backing_ranges(s->vm.mm, s->last, TEST_PAGE, found, &r), 1);
	assert_int_equal(r.start, s->last);
	assert_int_equal(r.size, TEST_PAGE);

	assert_int_equal(tdp_dirty_log(s->vm.mm, s->id, TDP_LOG_AUTO), TDP_OK);
	museum_reaches(&s->vm, s->last, TDP_W, MUSEUM_PA + s->size - TEST_PAGE);
	assert_int_equal(tdp_dirty_harvest(s->vm.mm, s->id, 0, bits, words), TDP_OK);
	assert_int_equal(bits[words - 1] >> (pages - 1) % 64,
			 1); /* the last bit, and none behind */
	assert_int_equal(tdp_dirty_mark(s->vm.mm, s->id, pages - 1, 1), TDP_OK);
	assert_int_equal(tdp_dirty_mark(s->vm.mm, s->id, pages, 1), TDP_ERANGE);
	assert_int_equal(tdp_dirty_get(s->vm.mm, s->id, 0, bits, words), TDP_OK);
	assert_int_equal(bits[words - 1] >> (pages - 1) % 64, 1);
	assert_int_equal(tdp_dirty_log(s->vm.mm, s->id, TDP_LOG_OFF), TDP_OK);
	/* The neighbour has not been touched by any of it. */
	museum_is_there(&s->vm, s->last + TEST_PAGE, TDP_W, MUSEUM_PA + s->size);
	free(bits);
}

static void gone_to_the_last_page(struct scene *s)
{
	museum_reaches(&s->vm, s->last, TDP_W, MUSEUM_PA + s->size - TEST_PAGE);
	assert_int_equal(tdp_slot_remove(s->vm.mm, s->id), TDP_OK);
	assert_int_equal(tdp_emu_cached(s->vm.emu, s->last, TEST_PAGE), 0);
	assert_false(museum_mapped(&s->vm, s->last, &(struct tdp_mapping){0}));
	museum_answer(&s->vm, s->last, TDP_R, TDP_FAULT_MMIO);
	museum_is_there(&s->vm, s->last + TEST_PAGE, TDP_W, MUSEUM_PA + s->size);
}

static void last_page_of_a_slot(void **state)
{
	struct scene s;

	museum_start(&s.vm, state, NULL);
	for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++) {
		uint32_t neighbour;

		if (!(s.vm.info.leaf_levels >> level & 1))
			continue;
		scene_start(&s, test_vm_lg2(&s.vm, level), &neighbour);
		if (s.size <= (uint64_t)1 << 25)
			the_end_is_found(&s);
		gone_to_the_last_page(&s);
		assert_int_equal(tdp_slot_remove(s.vm.mm, neighbour), TDP_OK);
		assert_int_equal(test_vm_check(&s.vm), 0);
	}
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(last_page_of_a_slot)};

	return test_run("museum/O08", cases, ARRAY_LEN(cases));
}

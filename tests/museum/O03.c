/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O03, Asterinas 2026: a cursor compared va < node_start + node_size; in the last table of the
 * address space the sum is 0, so a valid step was refused, and elsewhere a bound was passed by
 * wrapping. Here every operation that iterates is given ranges whose end is the end of the
 * address space, in the last table of each level: it does all of the range, and ends.
 */
#include "museum.h"

struct scene {
	struct test_vm vm;
	uint64_t top, size; /* of the range that ends at the top */
	struct tdp_range range;
	uint32_t id;
};

static int count(void *arg, const struct tdp_visit *visit)
{
	uint64_t *bytes = arg;

	*bytes += (uint64_t)1 << visit->lg2;
	return 0;
}

static uint64_t mapped_bytes(struct scene *s)
{
	uint64_t bytes = 0;

	assert_int_equal(
		tdp_walk(s->vm.mm, 0, museum_range(0, s->top), TDP_WALK_LEAF, count, &bytes),
		TDP_OK);
	return bytes;
}

/* The last pages, and the first one of the range, all small. */
static void touch(struct scene *s, uint32_t access)
{
	const uint64_t offs[] = {0, s->size - 2 * TEST_PAGE, s->size - TEST_PAGE};

	for (unsigned i = 0; i < ARRAY_LEN(offs); i++)
		museum_reaches(&s->vm, s->range.start + offs[i], access, MUSEUM_PA + offs[i]);
}

static void tracking_at_the_top(struct scene *s)
{
	uint64_t word[1] = {0}, young = 0, pages = s->size / TEST_PAGE;
	size_t words = (pages + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));

	assert_non_null(bits);
	touch(s, TDP_W);
	assert_int_equal(tdp_age(s->vm.mm, 0, s->range, &young), 1);
	assert_int_equal(young, 3);
	assert_int_equal(tdp_test_age(s->vm.mm, 0, s->range), 0);
	assert_int_equal(tdp_write_protect(s->vm.mm, 0, s->range), TDP_OK);
	assert_int_equal(tdp_emu_cached(s->vm.emu, s->top - TEST_PAGE, TEST_PAGE), 0);
	assert_int_equal(tdp_dirty_log(s->vm.mm, s->id, TDP_LOG_AUTO), TDP_OK);
	touch(s, TDP_W);
	assert_int_equal(tdp_dirty_harvest(s->vm.mm, s->id, 0, bits, words), TDP_OK);
	assert_true(bits[0] & 1);
	assert_true(bits[(pages - 1) / 64] >> (pages - 1) % 64 & 1);
	word[0] = (uint64_t)1 << (pages - 1) % 64;
	/* Harvested is armed: the last page is seen again. */
	touch(s, TDP_W);
	assert_int_equal(tdp_dirty_get(s->vm.mm, s->id, 0, bits, words), TDP_OK);
	assert_true(bits[(pages - 1) / 64] & word[0]);
	assert_int_equal(tdp_dirty_log(s->vm.mm, s->id, TDP_LOG_OFF), TDP_OK);
	free(bits);
}

static void last_table(struct scene *s, uint32_t lg2)
{
	uint64_t made = 0, small = museum_huge(&s->vm);

	s->size = (uint64_t)1 << lg2;
	s->range = museum_range(s->top - s->size, s->size);
	assert_int_equal(test_vm_slot(&s->vm, 0, s->range.start, s->size, MUSEUM_PA,
				      TDP_SLOT_FORCE_4K, &s->id),
			 TDP_OK);
	tracking_at_the_top(s);
	assert_int_equal(tdp_zap(s->vm.mm, 0, s->range, 0), TDP_OK);
	assert_int_equal(mapped_bytes(s), 0);
	assert_int_equal(tdp_emu_cached(s->vm.emu, s->range.start, s->size), 0);

	/* Populated, split, collapsed: a slot that is the last huge page. */
	assert_int_equal(tdp_slot_remove(s->vm.mm, s->id), TDP_OK);
	s->range = museum_range(s->top - small, small);
	s->id = museum_slot(&s->vm, s->range.start, small, MUSEUM_PA);
	assert_int_equal(tdp_populate(s->vm.mm, 0, s->range, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	assert_int_equal(mapped_bytes(s), small);
	assert_int_equal(tdp_split(s->vm.mm, 0, s->range, TDP_PAGE_LG2), TDP_OK);
	museum_is_there(&s->vm, s->top - 1, TDP_R, MUSEUM_PA + small - 1);
	assert_int_equal(tdp_collapse(s->vm.mm, 0, s->range, 0, &made), TDP_OK);
	assert_int_equal(made, 1);
	assert_int_equal(tdp_zap(s->vm.mm, 0, museum_range(s->top - TEST_PAGE, TEST_PAGE), 0),
			 TDP_OK);
	assert_int_equal(mapped_bytes(s), small - TEST_PAGE);
	assert_int_equal(tdp_zap(s->vm.mm, 0, s->range, 0), TDP_OK);
	assert_int_equal(mapped_bytes(s), 0);
	assert_true(tdp_compact(s->vm.mm, 0, museum_range(0, s->top)) >= 0);
	assert_int_equal(tdp_slot_remove(s->vm.mm, s->id), TDP_OK);
	assert_int_equal(test_vm_check(&s->vm), 0);
}

static void to_the_end_of_the_space(void **state)
{
	struct scene s;

	memset(&s, 0, sizeof(s));
	museum_start(&s.vm, state, NULL);
	s.top = test_vm_size(&s.vm);
	for (uint32_t level = 1; level < s.vm.info.levels && test_vm_lg2(&s.vm, level) <= 30;
	     level++)
		last_table(&s, test_vm_lg2(&s.vm, level));
	museum_end(&s.vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(to_the_end_of_the_space)};

	return test_run("museum/O03", cases, ARRAY_LEN(cases));
}

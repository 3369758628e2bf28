/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O01, Jailhouse 2021: end = start + size was 0 for a region that ends at the top of the address
 * space, so unmapping it did nothing and a dead cell's memory stayed mapped. Here every call
 * that takes a range is given ranges at the top, over it, around the whole 64 bits, empty and
 * complete: refused with the right status, or done for exactly the range.
 */
#include "museum.h"

static int nobody(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	(void)visit;
	return 0;
}

static int no_line(void *arg, const char *line)
{
	(void)arg;
	(void)line;
	return 0;
}

static int no_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	(void)arg;
	(void)as_id;
	(void)range;
	return 0;
}

/* Every call with a range says the same about it. Those that walk nothing come first. */
static void all_refuse(struct test_vm *vm, struct tdp_range r, int status)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .gpa = r};
	struct tdp_mm *mm = vm->mm;
	uint64_t word = 0, n = 0;
	uint32_t id;

	assert_int_equal(tdp_invalidate_begin(mm, r), status);
	assert_int_equal(tdp_invalidate_end(mm, r), status);
	assert_int_equal(tdp_slot_add(mm, &desc, &id), status);
	assert_int_equal(tdp_write_track(mm, 0, r, true), status);
	assert_int_equal(tdp_zap(mm, 0, r, 0), status);
	assert_int_equal(tdp_zap(mm, TDP_AS_ALL, r, TDP_ZAP_LAZY), status);
	assert_int_equal(tdp_populate(mm, 0, r, 0, NULL), status);
	assert_int_equal(tdp_compact(mm, 0, r), status);
	assert_int_equal(tdp_write_protect(mm, 0, r), status);
	assert_int_equal(tdp_age(mm, 0, r, &n), status);
	assert_int_equal(tdp_test_age(mm, 0, r), status);
	assert_int_equal(tdp_age_bitmap(mm, 0, r, true, &word, 1), status);
	assert_int_equal(tdp_split(mm, 0, r, TDP_PAGE_LG2), status);
	assert_int_equal(tdp_collapse(mm, 0, r, 0, &n), status);
	assert_int_equal(tdp_walk(mm, 0, r, TDP_WALK_LEAF, nobody, NULL), status);
	assert_int_equal(tdp_dump(mm, 0, r, no_line, NULL), status);
}

static void refused(void **state)
{
	struct test_vm vm;
	uint64_t top, huge;
	uint32_t id;

	museum_start(&vm, state, NULL);
	top = test_vm_size(&vm);
	huge = museum_huge(&vm);
	id = museum_slot(&vm, top - 2 * huge, 2 * huge, MUSEUM_PA);
	museum_reaches(&vm, top - 1, TDP_W, MUSEUM_PA + 2 * huge - 1);

	/* start + size is 0, or small, in 64 bits. */
	all_refuse(&vm, museum_range(top - huge, 0 - (top - huge)), TDP_ERANGE);
	all_refuse(&vm, museum_range(top - huge, 0 - (top - 2 * huge)), TDP_ERANGE);
	all_refuse(&vm, museum_range(TEST_PAGE, 0 - TEST_PAGE), TDP_ERANGE);
	all_refuse(&vm, museum_range(0 - TEST_PAGE, TEST_PAGE), TDP_ERANGE);
	all_refuse(&vm, museum_range(0 - TEST_PAGE, 0 - TEST_PAGE), TDP_ERANGE);
	/* A page too long, too late. */
	all_refuse(&vm, museum_range(top - huge, huge + TEST_PAGE), TDP_ERANGE);
	all_refuse(&vm, museum_range(top, TEST_PAGE), TDP_ERANGE);
	all_refuse(&vm, museum_range(0, top + TEST_PAGE), TDP_ERANGE);
	/* Nothing, and half pages. */
	all_refuse(&vm, museum_range(top - huge, 0), TDP_EINVAL);
	all_refuse(&vm, museum_range(top - huge + 1, TEST_PAGE), TDP_EINVAL);
	all_refuse(&vm, museum_range(top - huge, TEST_PAGE + 1), TDP_EINVAL);

	assert_int_equal(tdp_backing_ranges(vm.mm, 0 - TEST_PAGE, 2 * TEST_PAGE, no_range, NULL),
			 TDP_ERANGE);
	assert_int_equal(tdp_slot_move(vm.mm, id, top - huge), TDP_ERANGE);
	assert_int_equal(tdp_slot_move(vm.mm, id, 0 - huge), TDP_ERANGE);
	museum_is_there(&vm, top - 1, TDP_W, MUSEUM_PA + 2 * huge - 1);
	museum_end(&vm);
}

/* The same ranges as far as they are right: the last page goes, and only then. */
static void done_up_to_the_top(void **state)
{
	struct test_vm vm;
	uint64_t top, huge, young = 0;

	museum_start(&vm, state, NULL);
	top = test_vm_size(&vm);
	huge = museum_huge(&vm);
	museum_slot(&vm, top - 2 * huge, 2 * huge, MUSEUM_PA);
	museum_slot(&vm, 0, huge, MUSEUM_PA + 4 * huge);
	museum_reaches(&vm, 0, TDP_W, MUSEUM_PA + 4 * huge);
	museum_reaches(&vm, top - 2 * huge, TDP_W, MUSEUM_PA);
	museum_reaches(&vm, top - TEST_PAGE, TDP_W, MUSEUM_PA + 2 * huge - TEST_PAGE);
	assert_int_equal(tdp_age(vm.mm, 0, museum_range(top - 2 * huge, 2 * huge), &young), 1);
	assert_int_equal(young, 2);

	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(top - TEST_PAGE, TEST_PAGE), 0), TDP_OK);
	assert_false(museum_mapped(&vm, top - 1, &(struct tdp_mapping){0}));
	assert_true(museum_mapped(&vm, top - TEST_PAGE - 1, &(struct tdp_mapping){0}));
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(top - huge, huge), 0), TDP_OK);
	assert_int_equal(tdp_emu_cached(vm.emu, top - huge, huge), 0);
	assert_false(museum_mapped(&vm, top - huge, &(struct tdp_mapping){0}));
	museum_reaches(&vm, top - huge - TEST_PAGE, TDP_W, MUSEUM_PA + huge - TEST_PAGE);
	assert_true(museum_mapped(&vm, 0, &(struct tdp_mapping){0}));
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(0, top), 0), TDP_OK);
	assert_int_equal(tdp_emu_cached(vm.emu, 0, top), 0);
	assert_false(museum_mapped(&vm, 0, &(struct tdp_mapping){0}));
	assert_false(museum_mapped(&vm, top - 2 * huge, &(struct tdp_mapping){0}));
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(refused), TEST_CASE(done_up_to_the_top)};

	return test_run("museum/O01", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C04, Xen 2017 and 2021 (XSA-222, XSA-389): setting 512 entries split a huge page, failed half
 * way, and the failure was lost: reverse map and counts were updated as if all had been done,
 * the caller freed pages that were still mapped. Here memory runs out, or the backing fails, at
 * each step of operations over three huge pages: what the call says has been done is exactly
 * what a guest finds, page by page, and the statistics agree with a recount.
 */
#include "museum.h"

#define BLOCKS 3u

struct scene {
	struct test_vm vm;
	struct test_backing b;
	uint64_t huge;
	struct tdp_range all;
};

static void scene_start(struct scene *s, void **state, bool large)
{
	struct tdp_slot_desc desc;
	uint32_t id;

	museum_start(&s->vm, state, &(struct test_vm_options){.chunk_lg2 = TEST_CHUNK_SMALL});
	s->huge = museum_huge(&s->vm);
	s->all = museum_range(s->huge, BLOCKS * s->huge);
	assert_int_equal(test_backing_init(&s->b, &s->vm.env, s->all.start, s->all.size, MUSEUM_PA,
					   TDP_RWX, large ? test_vm_lg2(&s->vm, 1) : TDP_PAGE_LG2),
			 TDP_OK);
	desc = test_backing_slot(&s->b, 0, 0);
	assert_int_equal(tdp_slot_add(s->vm.mm, &desc, &id), TDP_OK);
}

static void scene_end(struct scene *s)
{
	museum_end(&s->vm);
	test_backing_fini(&s->b);
}

/* 4K pages that are mapped, and whether [start, start + bytes) of it all are, and no others. */
static void exactly_mapped(struct scene *s, uint64_t bytes)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	uint64_t pages = 0, counted = 0;

	for (uint64_t at = 0; at < s->all.size; at += TEST_PAGE) {
		struct tdp_mapping m;
		bool mapped = museum_mapped(&s->vm, s->all.start + at, &m);

		assert_int_equal(mapped, at < bytes);
		pages += mapped;
	}
	assert_int_equal(tdp_stats(s->vm.mm, &stats), TDP_OK);
	for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++)
		counted += stats.leaves[level] << (level * s->vm.info.index_lg2);
	assert_int_equal(counted, pages);
	assert_true(test_backing_balanced(&s->b));
	assert_int_equal(test_vm_check(&s->vm), 0);
}

/* The backing fails at one page: `done` names the page before it. */
static void populate_stops_at_a_bad_page(void **state)
{
	struct scene s;
	uint64_t bad[3];

	scene_start(&s, state, false);
	bad[0] = 0;
	bad[1] = s.huge + 5 * TEST_PAGE;
	bad[2] = s.all.size - TEST_PAGE;
	for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
		uint64_t done = 1;

		test_backing_fail(&s.b, museum_range(s.all.start + bad[i], TEST_PAGE), true);
		assert_int_equal(tdp_populate(s.vm.mm, 0, s.all, 0, &done), TDP_EFAULT);
		assert_int_equal(done, bad[i]);
		exactly_mapped(&s, done);
		test_backing_fail(&s.b, s.all, false);
		assert_int_equal(tdp_zap(s.vm.mm, 0, s.all, 0), TDP_OK);
		exactly_mapped(&s, 0);
	}
	scene_end(&s);
}

/*
 * Memory fails at the n-th allocation, for every n, of whatever fn asks for: so many bytes are
 * mapped before, as long as it fails, and so many after.
 */
static void with_failing_memory(struct scene *s, int (*fn)(struct scene *s), uint64_t before,
				uint64_t after)
{
	bool failed = true;

	for (int64_t n = 1; failed; n++) {
		int status;

		assert_true(n < 4096);
		test_env_fail(&s->vm.env, n);
		status = fn(s);
		test_env_fail(&s->vm.env, 0);
		assert_true(status == TDP_OK || status == TDP_ENOMEM);
		failed = status != TDP_OK;
		exactly_mapped(s, failed ? before : after);
	}
}

static int populate_all(struct scene *s)
{
	uint64_t done = 0;
	int status = tdp_populate(s->vm.mm, 0, s->all, 0, &done);

	assert_int_equal(done, status == TDP_OK ? s->all.size : 0);
	return status;
}

static void populate_without_memory(void **state)
{
	struct scene s;

	scene_start(&s, state, false);
	with_failing_memory(&s, populate_all, 0, s.all.size);
	/* Pages that the owner frees after a complete zap are reached by nobody. */
	assert_int_equal(test_backing_discard(&s.b, s.vm.mm, 0, s.all), TDP_OK);
	exactly_mapped(&s, 0);
	museum_reaches(&s.vm, s.all.start, TDP_W, test_backing_pa(&s.b, s.all.start));
	scene_end(&s);
}

static int split_all(struct scene *s)
{
	return tdp_split(s->vm.mm, 0, s->all, TDP_PAGE_LG2);
}

static int protect_inner(struct scene *s)
{
	return tdp_write_protect(
		s->vm.mm, 0, museum_range(s->all.start + TEST_PAGE, s->all.size - 2 * TEST_PAGE));
}

/* Only the first page of the last huge page stays. */
static int cut_tail(struct scene *s)
{
	return tdp_zap(
		s->vm.mm, 0,
		museum_range(s->all.start + s->all.size - s->huge + TEST_PAGE, s->huge - TEST_PAGE),
		0);
}

static void huge_pages_without_memory(void **state)
{
	struct scene s;
	uint64_t left;

	scene_start(&s, state, true);
	left = s.all.size - s.huge + TEST_PAGE;
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(tdp_zap(s.vm.mm, 0, s.all, 0), TDP_OK);
		assert_int_equal(tdp_populate(s.vm.mm, 0, s.all, TDP_POPULATE_YOUNG, NULL), TDP_OK);
		assert_int_equal(museum_reaches(&s.vm, s.all.start, TDP_W,
						test_backing_pa(&s.b, s.all.start)),
				 test_vm_lg2(&s.vm, 1));
		if (i == 0)
			with_failing_memory(&s, split_all, s.all.size, s.all.size);
		else if (i == 1)
			with_failing_memory(&s, protect_inner, s.all.size, s.all.size);
		else
			with_failing_memory(&s, cut_tail, s.all.size, left);
		for (uint64_t at = 0; at < left; at += TEST_PAGE)
			museum_reaches(&s.vm, s.all.start + at, TDP_W,
				       test_backing_pa(&s.b, s.all.start + at));
	}
	scene_end(&s);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(populate_stops_at_a_bad_page),
						 TEST_CASE(populate_without_memory),
						 TEST_CASE(huge_pages_without_memory)};

	return test_run("museum/C04", cases, ARRAY_LEN(cases));
}

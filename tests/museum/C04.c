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

static void scene_start(struct scene *s, void **state)
{
	struct tdp_slot_desc desc;
	uint32_t id;

	museum_start(&s->vm, state, &(struct test_vm_options){.chunk_lg2 = TEST_CHUNK_SMALL});
	s->huge = museum_huge(&s->vm);
	s->all = museum_range(s->huge, BLOCKS * s->huge);
	assert_int_equal(test_backing_init(&s->b, &s->vm.env, s->all.start, s->all.size, MUSEUM_PA,
					   TDP_RWX, TDP_PAGE_LG2),
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

	scene_start(&s, state);
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

/* Memory fails at the n-th allocation, for every n, of whatever fn asks for. */
static void with_failing_memory(struct scene *s, int (*fn)(struct scene *s), uint64_t mapped_after)
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
		if (failed) /* nothing changed: all that was mapped still is, or nothing yet */
			exactly_mapped(s, mapped_after == 0 ? s->all.size : 0);
	}
	exactly_mapped(s, mapped_after);
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

	scene_start(&s, state);
	with_failing_memory(&s, populate_all, s.all.size);
	/* Pages that the owner frees after a complete zap are reached by nobody. */
	assert_int_equal(test_backing_discard(&s.b, s.vm.mm, 0, s.all), TDP_OK);
	exactly_mapped(&s, 0);
	museum_reaches(&s.vm, s.all.start, TDP_W, test_backing_pa(&s.b, s.all.start));
	scene_end(&s);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(populate_stops_at_a_bad_page),
						 TEST_CASE(populate_without_memory)};

	return test_run("museum/C04", cases, ARRAY_LEN(cases));
}

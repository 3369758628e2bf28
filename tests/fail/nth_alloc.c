/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that runs out, at each allocation of each operation in turn: the answer is TDP_ENOMEM,
 * nothing leaks, what the operation promises to leave alone is bit for bit the same, and trying
 * again works.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#define PA ((uint64_t)1 << 47)

/* Memory of the tests: BLOCKS huge pages of level 1, from one huge page up; then a hole; then slot
 * B. */
#define BLOCKS 4u

struct bench {
	struct test_vm vm;
	uint64_t block; /* bytes of a leaf at level 1 */
	uint64_t page0; /* gpa of the first page of slot A */
	uint32_t slot;
	uint64_t *bitmap;
	struct tdp_root *root;
};

static struct tdp_range all(const struct bench *b)
{
	struct tdp_range r = {b->page0, BLOCKS * b->block};

	return r;
}

/* Reaches into two huge pages and covers one. */
static struct tdp_range inner(const struct bench *b)
{
	struct tdp_range r = {b->page0 + TEST_PAGE, 2 * b->block};

	return r;
}

enum promise {
	NOTHING_CHANGED, /* tables bit for bit the same after a failure */
	SAME_MAPPINGS,   /* translations the same, page sizes may differ */
	CANNOT_FAIL,     /* never TDP_ENOMEM */
};

enum state {
	EMPTY,  /* a slot, nothing mapped, no root */
	HUGE,   /* written everywhere: huge pages */
	SMALL,  /* the same split to 4K */
	LOGGED, /* SMALL and written while logged by write protection */
};

struct operation {
	const char *name;
	enum state state;
	enum promise promise;
	int (*run)(struct bench *b);
};

static int run_load(struct bench *b)
{
	return tdp_vcpu_load(b->vm.cpu[0].vcpu);
}

static int run_topup(struct bench *b)
{
	return tdp_vcpu_topup(b->vm.cpu[0].vcpu);
}

static int run_access(struct bench *b)
{
	struct test_access a;
	int answer = test_vm_access(&b->vm, 0, b->page0 + 3 * TEST_PAGE, TDP_W, &a);

	return answer == TEST_OK ? TDP_OK : a.outcome < 0 ? a.outcome : TDP_EIO;
}

static int run_vcpu(struct bench *b)
{
	struct tdp_vcpu *vcpu;
	int status = tdp_vcpu_create(b->vm.mm, b->vm.cpu[0].emu, &vcpu);

	if (status == TDP_OK)
		tdp_vcpu_destroy(vcpu);
	return status;
}

static int run_slot_add(struct bench *b)
{
	return test_vm_slot(&b->vm, 0, b->page0 + 16 * b->block, b->block, PA, 0, NULL);
}

static int run_slot_remove(struct bench *b)
{
	return tdp_slot_remove(b->vm.mm, b->slot);
}

static int run_slot_move(struct bench *b)
{
	return tdp_slot_move(b->vm.mm, b->slot, b->page0 + 16 * b->block);
}

static int run_slot_flags(struct bench *b)
{
	return tdp_slot_set_flags(b->vm.mm, b->slot, TDP_SLOT_FORCE_4K);
}

static int run_slot_readonly(struct bench *b)
{
	return tdp_slot_set_flags(b->vm.mm, b->slot, TDP_SLOT_READONLY);
}

static int run_populate(struct bench *b)
{
	uint64_t done = 0;
	int status = tdp_populate(b->vm.mm, 0, inner(b), 0, &done);

	return status;
}

static int run_populate_as(struct bench *b)
{
	struct tdp_range r = {b->page0, b->block};
	int status = test_vm_slot(&b->vm, 1, b->page0, b->block, PA + TEST_PAGE, 0, NULL);

	/* The slot is there from the first try on; then the populate alone is what fails. */
	if (status != TDP_OK && status != TDP_EEXIST)
		return status;
	return tdp_populate(b->vm.mm, 1, r, TDP_POPULATE_YOUNG, NULL);
}

static int run_zap_part(struct bench *b)
{
	return tdp_zap(b->vm.mm, 0, inner(b), 0);
}

static int run_zap_lazy(struct bench *b)
{
	return tdp_zap(b->vm.mm, 0, inner(b), TDP_ZAP_LAZY);
}

static int run_zap_all(struct bench *b)
{
	return tdp_zap(b->vm.mm, 0, all(b), 0);
}

static int run_protect(struct bench *b)
{
	return tdp_write_protect(b->vm.mm, 0, inner(b));
}

static int run_track(struct bench *b)
{
	return tdp_write_track(b->vm.mm, 0, inner(b), true);
}

static int run_owner(struct bench *b)
{
	return tdp_set_owner(b->vm.mm, 0, inner(b), 3);
}

static int run_log(struct bench *b)
{
	return tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_WRPROT);
}

static int run_log_auto(struct bench *b)
{
	return tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_AUTO | TDP_LOG_INITIALLY_SET);
}

static int run_log_eager(struct bench *b)
{
	return tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_AUTO | TDP_LOG_EAGER_SPLIT);
}

static int run_log_recover(struct bench *b)
{
	return tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_OFF | TDP_LOG_RECOVER);
}

static int run_log_off(struct bench *b)
{
	return tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_OFF);
}

static size_t words(const struct bench *b)
{
	return (size_t)((BLOCKS * b->block / TEST_PAGE + 63) / 64);
}

static int run_harvest(struct bench *b)
{
	return tdp_dirty_harvest(b->vm.mm, b->slot, 0, b->bitmap, words(b));
}

static int run_get(struct bench *b)
{
	return tdp_dirty_get(b->vm.mm, b->slot, 0, b->bitmap, words(b));
}

static int run_clear(struct bench *b)
{
	return tdp_dirty_clear(b->vm.mm, b->slot, 1, BLOCKS * b->block / TEST_PAGE - 2);
}

static int run_mark(struct bench *b)
{
	return tdp_dirty_mark(b->vm.mm, b->slot, 3, 7);
}

static int run_age(struct bench *b)
{
	return tdp_age(b->vm.mm, 0, all(b), NULL);
}

static int run_age_bitmap(struct bench *b)
{
	return tdp_age_bitmap(b->vm.mm, 0, all(b), true, b->bitmap, words(b));
}

static int run_split(struct bench *b)
{
	return tdp_split(b->vm.mm, 0, all(b), 12);
}

static int run_collapse(struct bench *b)
{
	return tdp_collapse(b->vm.mm, 0, all(b), 0, NULL);
}

static int run_collapse_zap(struct bench *b)
{
	return tdp_collapse(b->vm.mm, 0, all(b), TDP_COLLAPSE_ZAP, NULL);
}

static int run_invalidate(struct bench *b)
{
	int status = tdp_invalidate_begin(b->vm.mm, all(b));

	return status < 0 ? status : tdp_invalidate_end(b->vm.mm, all(b));
}

static int run_roots(struct bench *b)
{
	int status = tdp_roots_invalidate(b->vm.mm);

	return status < 0 ? status : tdp_roots_reclaim(b->vm.mm, 0);
}

static int run_compact(struct bench *b)
{
	return tdp_compact(b->vm.mm, 0, all(b));
}

static int run_root_get(struct bench *b)
{
	int status = tdp_root_get(b->vm.mm, tdp_role_root(b->vm.mm, 3), &b->root);

	if (status == TDP_OK)
		status = tdp_root_put(b->vm.mm, b->root);
	return status;
}

static int each_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	(void)as_id;
	(void)range;
	return ++*(int *)arg == 1 ? 0 : TDP_EIO;
}

static int run_backing_ranges(struct bench *b)
{
	int calls = 0;
	int status = tdp_backing_ranges(b->vm.mm, 0, b->block, each_range, &calls);

	return status == TDP_ENOMEM && calls ? TDP_EIO : status;
}

static int run_translate(struct bench *b)
{
	struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};

	return tdp_translate(b->vm.mm, 0, b->page0, &map);
}

static const struct operation operations[] = {
	{"vcpu_create", EMPTY, NOTHING_CHANGED, run_vcpu},
	{"vcpu_load", EMPTY, NOTHING_CHANGED, run_load},
	{"vcpu_topup", EMPTY, NOTHING_CHANGED, run_topup},
	{"access (first)", EMPTY, SAME_MAPPINGS, run_access},
	{"access (mapped)", HUGE, NOTHING_CHANGED, run_access},
	{"access (logged)", LOGGED, NOTHING_CHANGED, run_access},
	{"slot_add", HUGE, NOTHING_CHANGED, run_slot_add},
	{"slot_remove", HUGE, NOTHING_CHANGED, run_slot_remove},
	{"slot_move", HUGE, NOTHING_CHANGED, run_slot_move},
	{"slot_move (logged)", LOGGED, NOTHING_CHANGED, run_slot_move},
	{"slot_set_flags (4K)", HUGE, NOTHING_CHANGED, run_slot_flags},
	{"slot_set_flags (ro)", HUGE, NOTHING_CHANGED, run_slot_readonly},
	{"populate", EMPTY, NOTHING_CHANGED, run_populate},
	{"populate (second as)", HUGE, NOTHING_CHANGED, run_populate_as},
	{"zap (part)", HUGE, NOTHING_CHANGED, run_zap_part},
	{"zap (part, lazy)", HUGE, CANNOT_FAIL, run_zap_lazy},
	{"zap (small)", SMALL, CANNOT_FAIL, run_zap_part},
	{"zap (whole)", HUGE, CANNOT_FAIL, run_zap_all},
	{"write_protect", HUGE, SAME_MAPPINGS, run_protect},
	{"write_track", HUGE, SAME_MAPPINGS, run_track},
	{"set_owner", HUGE, SAME_MAPPINGS, run_owner},
	{"dirty_log wrprot", HUGE, NOTHING_CHANGED, run_log},
	{"dirty_log auto", HUGE, NOTHING_CHANGED, run_log_auto},
	{"dirty_log eager", HUGE, SAME_MAPPINGS, run_log_eager},
	{"dirty_log off", LOGGED, CANNOT_FAIL, run_log_off},
	{"dirty_log recover", LOGGED, SAME_MAPPINGS, run_log_recover},
	{"dirty_harvest", LOGGED, CANNOT_FAIL, run_harvest},
	{"dirty_get", LOGGED, CANNOT_FAIL, run_get},
	{"dirty_clear", LOGGED, CANNOT_FAIL, run_clear},
	{"dirty_mark", LOGGED, CANNOT_FAIL, run_mark},
	{"age", HUGE, CANNOT_FAIL, run_age},
	{"age_bitmap", SMALL, CANNOT_FAIL, run_age_bitmap},
	{"split", HUGE, SAME_MAPPINGS, run_split},
	{"collapse", SMALL, SAME_MAPPINGS, run_collapse},
	{"collapse zap", SMALL, SAME_MAPPINGS, run_collapse_zap},
	{"invalidate", HUGE, CANNOT_FAIL, run_invalidate},
	{"roots_invalidate", SMALL, CANNOT_FAIL, run_roots},
	{"compact", SMALL, CANNOT_FAIL, run_compact},
	{"root_get", HUGE, NOTHING_CHANGED, run_root_get},
	{"backing_ranges", HUGE, NOTHING_CHANGED, run_backing_ranges},
	{"translate", HUGE, CANNOT_FAIL, run_translate},
};

static void touch_all(struct bench *b)
{
	uint64_t at;

	for (at = 0; at < BLOCKS * b->block; at += TEST_PAGE)
		assert_int_equal(test_vm_touch(&b->vm, 0, b->page0 + at, TDP_W), 0);
}

static void bench_open(struct bench *b, const struct test_format *fmt, enum state state)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = TEST_CHUNK_SMALL};

	memset(b, 0, sizeof(*b));
	assert_int_equal(test_vm_init(&b->vm, fmt, &opts), TDP_OK);
	b->block = (uint64_t)1 << test_vm_lg2(&b->vm, 1);
	b->page0 = b->block;
	b->bitmap = calloc(words(b), sizeof(*b->bitmap));
	assert_non_null(b->bitmap);
	assert_int_equal(
		test_vm_slot(&b->vm, 0, b->page0, BLOCKS * b->block, PA + b->block, 0, &b->slot),
		TDP_OK);
	if (state == EMPTY)
		return;
	touch_all(b);
	if (state == HUGE)
		return;
	assert_int_equal(tdp_split(b->vm.mm, 0, all(b), 12), TDP_OK);
	if (state == SMALL)
		return;
	assert_int_equal(tdp_dirty_log(b->vm.mm, b->slot, TDP_LOG_WRPROT), TDP_OK);
	touch_all(b);
	assert_int_equal(run_harvest(b), TDP_OK);
	assert_int_equal(test_vm_touch(&b->vm, 0, b->page0, TDP_W), 0);
}

static void bench_close(struct bench *b)
{
	assert_int_equal(test_vm_check(&b->vm), 0);
	assert_int_equal(test_vm_fini(&b->vm), 0);
	free(b->bitmap);
}

/* Output address and permission of every page, whatever the sizes. */
static void mappings(struct bench *b, uint64_t *out)
{
	uint64_t at;

	for (at = 0; at < BLOCKS * b->block; at += TEST_PAGE) {
		struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};
		int status = tdp_translate(b->vm.mm, 0, b->page0 + at, &map);

		*out++ = status < 0 ? (uint64_t)(int64_t)status
				    : (map.pa + (b->page0 + at - map.gpa)) | map.prot;
	}
}

static void compare(struct bench *b, const struct operation *op, const struct test_dump *before,
		    const uint64_t *maps_before)
{
	size_t pages = (size_t)(BLOCKS * b->block / TEST_PAGE);
	uint64_t *maps = calloc(pages, sizeof(*maps));
	struct test_dump after;

	assert_non_null(maps);
	mappings(b, maps);
	assert_memory_equal(maps, maps_before, pages * sizeof(*maps));
	free(maps);
	assert_int_equal(test_dump_take(&b->vm, 0, &after), TDP_OK);
	if (op->promise == NOTHING_CHANGED && test_dump_diff(before, &after, false))
		fail_msg("%s changed something and failed", op->name);
	test_dump_free(&after);
}

/* Returns false when the n-th allocation was not reached. */
static bool try_one(const struct test_format *fmt, const struct operation *op, int64_t n)
{
	struct bench b;
	struct test_dump before;
	uint64_t *maps;
	bool reached;
	int status;

	bench_open(&b, fmt, op->state);
	assert_int_equal(test_dump_take(&b.vm, 0, &before), TDP_OK);
	maps = calloc(BLOCKS * b.block / TEST_PAGE, sizeof(*maps));
	assert_non_null(maps);
	mappings(&b, maps);
	test_env_fail(&b.vm.env, n);
	status = op->run(&b);
	test_env_fail(&b.vm.env, 0);
	reached = atomic_load(&b.vm.env.failed) != 0;
	if (status < 0) {
		if (!reached || op->promise == CANNOT_FAIL || status != TDP_ENOMEM)
			fail_msg("%s, allocation %d%s: %s", op->name, (int)n,
				 reached ? " failed" : "", tdp_status_name(status));
		compare(&b, op, &before, maps);
		assert_int_equal(test_vm_check(&b.vm), 0);
		status = op->run(&b);
		if (status < 0)
			fail_msg("%s again: %s", op->name, tdp_status_name(status));
	}
	test_dump_free(&before);
	free(maps);
	bench_close(&b);
	return reached;
}

static void every_allocation(void **state)
{
	const struct test_format *fmt = *state;
	size_t i;
	unsigned allocating = 0;
	int64_t n;

	for (i = 0; i < ARRAY_LEN(operations); i++) {
		for (n = 1; try_one(fmt, &operations[i], n); n++)
			if (n > 3000)
				fail_msg("%s allocates without end", operations[i].name);
		allocating += n > 1;
	}
	/* What needs memory by its nature: else nothing was tried here. */
	assert_true(allocating >= 12);
}

static void create_and_destroy(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm vm;
	int status;

	for (opts.fail_after = 1;; opts.fail_after++) {
		status = test_vm_init(&vm, *state, &opts);
		if (status == TDP_OK)
			break;
		assert_int_equal(status, TDP_ENOMEM);
		assert_true(opts.fail_after < 100);
	}
	assert_true(opts.fail_after > 3); /* an mm and two vCPUs at least */
	test_env_fail(&vm.env, 0);
	assert_int_equal(test_vm_slot(&vm, 0, 0, TEST_PAGE, PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 1, 0, TDP_W), 0);
	/* Teardown with no memory at all. */
	test_env_fail(&vm.env, 1);
	assert_int_equal(test_vm_fini(&vm), 0);
}

/* W10: less memory for tables than needed is TDP_ENOMEM, and the limit is never passed. */
static void table_limit(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	const struct test_format *fmt = *state;
	struct tdp_range first = {0, TEST_PAGE}, far;
	struct test_dump before, after;
	struct test_vm vm;
	uint32_t pages;
	int status;

	for (pages = fmt->root_pages;; pages++) {
		assert_true(pages < 200);
		opts.table_limit = pages * TEST_PAGE;
		assert_int_equal(test_vm_init(&vm, fmt, &opts), TDP_OK);
		far.start = test_vm_size(&vm) - 4 * TEST_PAGE;
		far.size = 4 * TEST_PAGE;
		assert_int_equal(test_vm_slot(&vm, 0, 0, TEST_PAGE, PA, 0, NULL), TDP_OK);
		assert_int_equal(test_vm_slot(&vm, 0, far.start, far.size, PA + TEST_PAGE, 0, NULL),
				 TDP_OK);
		status = tdp_populate(vm.mm, 0, first, 0, NULL);
		assert_true(status == TDP_OK || status == TDP_ENOMEM);
		assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
		status = tdp_populate(vm.mm, 0, far, 0, NULL);
		assert_int_equal(tdp_stats(vm.mm, &stats), TDP_OK);
		assert_true(stats.table_bytes <= opts.table_limit);
		assert_true(atomic_load(&vm.env.table_pages) <= pages);
		if (status != TDP_OK) {
			assert_int_equal(status, TDP_ENOMEM);
			assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
			assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&after);
		}
		test_dump_free(&before);
		assert_int_equal(test_vm_check(&vm), 0);
		if (status == TDP_OK)
			break;
		/* What is given back can be used again. */
		assert_int_equal(tdp_zap(vm.mm, 0, first, 0), TDP_OK);
		assert_true(tdp_compact(vm.mm, 0, first) >= 0);
		test_rcu_run();
		assert_int_equal(test_vm_fini(&vm), 0);
	}
	/* Root, and one table for each other level of both paths at the most. */
	assert_true(pages >= fmt->root_pages + fmt->tree_levels - 1);
	assert_true(pages <= fmt->root_pages + 2 * (fmt->tree_levels - 1));
	assert_int_equal(test_vm_fini(&vm), 0);
}

static void resolve_fails(void **state)
{
	struct test_backing mem;
	struct tdp_slot_desc desc;
	struct test_access a;
	struct test_dump before, after;
	struct test_vm vm;
	struct tdp_range range = {0, 64 * TEST_PAGE}, hole = {7 * TEST_PAGE, TEST_PAGE};
	uint64_t done = ~(uint64_t)0;
	uint32_t id;

	assert_int_equal(test_vm_init(&vm, *state, NULL), TDP_OK);
	assert_int_equal(test_backing_init(&mem, &vm.env, 0, range.size, PA, TDP_RWX, 12), TDP_OK);
	desc = test_backing_slot(&mem, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	test_backing_fail(&mem, hole, true);
	assert_int_equal(test_vm_touch(&vm, 0, 3 * TEST_PAGE, TDP_R), 0);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	assert_int_equal(test_vm_access(&vm, 0, hole.start, TDP_W, &a), TEST_STATUS);
	assert_int_equal(a.outcome, TDP_EFAULT);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, true), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	assert_true(test_backing_balanced(&mem));

	assert_int_equal(tdp_populate(vm.mm, 0, range, 0, &done), TDP_EFAULT);
	assert_int_equal(done, hole.start);
	assert_true(test_backing_balanced(&mem));
	mem.fail_status = TDP_EAGAIN;
	vm.max_retries = 0;
	assert_int_equal(test_vm_access(&vm, 0, hole.start, TDP_W, &a), TEST_OUTCOME);
	assert_int_equal(a.outcome, TDP_FAULT_RETRY);

	test_backing_fail(&mem, hole, false);
	assert_int_equal(test_vm_touch(&vm, 0, hole.start, TDP_W), 0);
	assert_int_equal(tdp_populate(vm.mm, 0, range, 0, &done), TDP_OK);
	assert_int_equal(done, range.size);
	assert_true(test_backing_balanced(&mem));
	assert_true(mem.released_mapped >= 64 && mem.released_writable >= 1);
	assert_true(mem.released_mapped <= mem.releases);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&mem);
	assert_int_equal(test_vm_check(&vm), 0);
	assert_int_equal(test_vm_fini(&vm), 0);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(create_and_destroy),
		TEST_CASE(table_limit),
		TEST_CASE(resolve_fails),
		TEST_CASE(every_allocation),
	};

	return test_run("nth_alloc", cases, ARRAY_LEN(cases));
}

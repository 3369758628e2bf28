/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every operation that can fail for a reason from outside (no memory, a backing, a walker or a visitor that refuses),
 * what stands there before it, and what it promises then: one table for all tests of that.
 */
#ifndef TESTS_FAIL_OPERATIONS_H
#define TESTS_FAIL_OPERATIONS_H

#include "unit/machine.h"

#define PA ((uint64_t)1 << 47)

/* Memory of the tests: BLOCKS huge pages of level 1, from one huge page up; then a hole; then slot
 * B. */
#define BLOCKS 4u

/* Whom an operation may have to ask, and who may refuse. */
enum asked {
	NOBODY,
	RESOLVE, /* the backing */
	LOAD,    /* the walker, of a root */
	VISIT,   /* the caller's own visitor */
	ASKED
};

struct bench {
	struct spy spy;
	struct test_vm *vm;
	uint64_t block; /* bytes of a leaf at level 1 */
	uint64_t page0; /* gpa of the first page of slot A */
	uint32_t slot;
	uint64_t *bitmap;
	uint64_t done; /* what populate said */
	struct tdp_root *root;
	struct test_backing mem; /* of slot A, if it is not linear */
	struct tdp_backing_ops backing;
	bool resolves;
	enum asked refuses; /* this one, from its n-th question on, with this status */
	int64_t n;
	int status;
	uint64_t asked[ASKED], refused;
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

/* When there is no memory: */
enum promise {
	NOTHING_CHANGED, /* tables bit for bit the same after a failure */
	SAME_MAPPINGS,   /* translations the same, page sizes may differ */
	CANNOT_FAIL,     /* never TDP_ENOMEM */
};

/* When somebody refuses: */
enum refusal {
	WHOLE,  /* the status comes back, tables bit for bit the same */
	PART,   /* the status comes back, and how far it came */
	WITHOUT /* no status: it leaves alone the huge page that it asked about, and goes on */
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
	enum refusal refusal;
};

/* 0, or what the one who is asked answers instead. */
static int refusal(struct bench *b, enum asked who)
{
	b->asked[who]++;
	if (b->refuses != who || b->n > 1) {
		b->n -= b->refuses == who;
		return 0;
	}
	/* Who asks on and on gets an answer in the end, and is found out by what he returns. */
	return b->refused++ < 1000 ? b->status : 0;
}

static int run_load(struct bench *b)
{
	return tdp_vcpu_load(b->vm->cpu[0].vcpu);
}

static int run_topup(struct bench *b)
{
	return tdp_vcpu_topup(b->vm->cpu[0].vcpu);
}

static int run_access(struct bench *b)
{
	struct test_access a;
	int answer = test_vm_access(b->vm, 0, b->page0 + 3 * TEST_PAGE, TDP_W, &a);

	if (answer == TEST_OUTCOME && a.outcome == TDP_FAULT_RETRY)
		return TDP_EAGAIN;
	return answer == TEST_OK ? TDP_OK : a.outcome < 0 ? a.outcome : TDP_EIO;
}

/* Of a prefetch the status comes back as it is. */
static int run_prefetch(struct bench *b)
{
	struct tdp_fault f = {.size = (uint32_t)sizeof(f), .gpa = b->page0, .access = TDP_R};
	int status = tdp_vcpu_load(b->vm->cpu[0].vcpu);

	f.flags = TDP_FAULT_PREFETCH;
	if (status == TDP_OK)
		status = tdp_fault(b->vm->cpu[0].vcpu, &f, NULL);
	return status == TDP_FAULT_RETRY ? TDP_EAGAIN : status;
}

static int run_load_as(struct bench *b)
{
	int status = tdp_vcpu_set_as(b->vm->cpu[0].vcpu, 1);

	if (status == TDP_OK)
		status = tdp_vcpu_load(b->vm->cpu[0].vcpu);
	tdp_vcpu_set_as(b->vm->cpu[0].vcpu, 0);
	return status;
}

static int run_vcpu(struct bench *b)
{
	struct tdp_vcpu *vcpu;
	int status = tdp_vcpu_create(b->vm->mm, b->vm->cpu[0].emu, &vcpu);

	if (status == TDP_OK)
		tdp_vcpu_destroy(vcpu);
	return status;
}

static int run_slot_add(struct bench *b)
{
	return test_vm_slot(b->vm, 0, b->page0 + 16 * b->block, b->block, PA, 0, NULL);
}

static int run_slot_remove(struct bench *b)
{
	return tdp_slot_remove(b->vm->mm, b->slot);
}

static int run_slot_move(struct bench *b)
{
	return tdp_slot_move(b->vm->mm, b->slot, b->page0 + 16 * b->block);
}

static int run_slot_flags(struct bench *b)
{
	return tdp_slot_set_flags(b->vm->mm, b->slot, TDP_SLOT_FORCE_4K);
}

static int run_slot_readonly(struct bench *b)
{
	return tdp_slot_set_flags(b->vm->mm, b->slot, TDP_SLOT_READONLY);
}

static int run_populate(struct bench *b)
{
	return tdp_populate(b->vm->mm, 0, inner(b), 0, &b->done);
}

static int run_populate_as(struct bench *b)
{
	struct tdp_range r = {b->page0, b->block};
	int status = test_vm_slot(b->vm, 1, b->page0, b->block, PA + TEST_PAGE, 0, NULL);

	/* The slot is there from the first try on; then the populate alone is what fails. */
	if (status != TDP_OK && status != TDP_EEXIST)
		return status;
	return tdp_populate(b->vm->mm, 1, r, TDP_POPULATE_YOUNG, NULL);
}

static int run_zap_part(struct bench *b)
{
	return tdp_zap(b->vm->mm, 0, inner(b), 0);
}

static int run_zap_lazy(struct bench *b)
{
	return tdp_zap(b->vm->mm, 0, inner(b), TDP_ZAP_LAZY);
}

static int run_zap_all(struct bench *b)
{
	return tdp_zap(b->vm->mm, 0, all(b), 0);
}

static int run_protect(struct bench *b)
{
	return tdp_write_protect(b->vm->mm, 0, inner(b));
}

static int run_track(struct bench *b)
{
	return tdp_write_track(b->vm->mm, 0, inner(b), true);
}

static int run_owner(struct bench *b)
{
	return tdp_set_owner(b->vm->mm, 0, inner(b), 3);
}

static int run_log(struct bench *b)
{
	return tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_WRPROT);
}

static int run_log_auto(struct bench *b)
{
	return tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_AUTO | TDP_LOG_INITIALLY_SET);
}

static int run_log_eager(struct bench *b)
{
	return tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_AUTO | TDP_LOG_EAGER_SPLIT);
}

static int run_log_recover(struct bench *b)
{
	return tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_OFF | TDP_LOG_RECOVER);
}

static int run_log_off(struct bench *b)
{
	return tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_OFF);
}

static size_t words(const struct bench *b)
{
	return (size_t)((BLOCKS * b->block / TEST_PAGE + 63) / 64);
}

static int run_harvest(struct bench *b)
{
	return tdp_dirty_harvest(b->vm->mm, b->slot, 0, b->bitmap, words(b));
}

static int run_get(struct bench *b)
{
	return tdp_dirty_get(b->vm->mm, b->slot, 0, b->bitmap, words(b));
}

static int run_clear(struct bench *b)
{
	return tdp_dirty_clear(b->vm->mm, b->slot, 1, BLOCKS * b->block / TEST_PAGE - 2);
}

static int run_mark(struct bench *b)
{
	return tdp_dirty_mark(b->vm->mm, b->slot, 3, 7);
}

static int run_age(struct bench *b)
{
	return tdp_age(b->vm->mm, 0, all(b), NULL);
}

static int run_age_bitmap(struct bench *b)
{
	return tdp_age_bitmap(b->vm->mm, 0, all(b), true, b->bitmap, words(b));
}

static int run_split(struct bench *b)
{
	return tdp_split(b->vm->mm, 0, all(b), 12);
}

static int run_collapse(struct bench *b)
{
	return tdp_collapse(b->vm->mm, 0, all(b), 0, NULL);
}

static int run_collapse_zap(struct bench *b)
{
	return tdp_collapse(b->vm->mm, 0, all(b), TDP_COLLAPSE_ZAP, NULL);
}

static int run_invalidate(struct bench *b)
{
	int status = tdp_invalidate_begin(b->vm->mm, all(b));

	return status < 0 ? status : tdp_invalidate_end(b->vm->mm, all(b));
}

static int run_roots(struct bench *b)
{
	int status = tdp_roots_invalidate(b->vm->mm);

	return status < 0 ? status : tdp_roots_reclaim(b->vm->mm, 0);
}

static int run_compact(struct bench *b)
{
	return tdp_compact(b->vm->mm, 0, all(b));
}

static int run_root_get(struct bench *b)
{
	int status = tdp_root_get(b->vm->mm, tdp_role_root(b->vm->mm, 3), &b->root);

	if (status == TDP_OK)
		status = tdp_root_put(b->vm->mm, b->root);
	return status;
}

static int each_range(void *arg, uint32_t as_id, struct tdp_range range)
{
	(void)as_id;
	(void)range;
	return refusal(arg, VISIT);
}

static int run_backing_ranges(struct bench *b)
{
	return tdp_backing_ranges(b->vm->mm, 0, 2 * b->page0, each_range, b);
}

static int each_visit(void *arg, const struct tdp_visit *visit)
{
	(void)visit;
	return refusal(arg, VISIT);
}

/* A few pages at the border of two huge ones. */
static int run_walk(struct bench *b)
{
	struct tdp_range r = {b->page0 + b->block - 3 * TEST_PAGE, 6 * TEST_PAGE};

	return tdp_walk(b->vm->mm, 0, r, TDP_WALK_LEAF | TDP_WALK_TABLE_PRE | TDP_WALK_TABLE_POST,
			each_visit, b);
}

static int each_line(void *arg, const char *line)
{
	(void)line;
	return refusal(arg, VISIT);
}

static int run_dump(struct bench *b)
{
	return tdp_dump(b->vm->mm, 0, inner(b), each_line, b);
}

static int run_translate(struct bench *b)
{
	struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};

	return tdp_translate(b->vm->mm, 0, b->page0, &map);
}

static const struct operation operations[] = {
	{"vcpu_create", EMPTY, NOTHING_CHANGED, run_vcpu, WHOLE},
	{"vcpu_load", EMPTY, NOTHING_CHANGED, run_load, WHOLE},
	{"vcpu_load (other as)", HUGE, NOTHING_CHANGED, run_load_as, WHOLE},
	{"prefetch", EMPTY, NOTHING_CHANGED, run_prefetch, WHOLE},
	{"vcpu_topup", EMPTY, NOTHING_CHANGED, run_topup, WHOLE},
	{"access (first)", EMPTY, SAME_MAPPINGS, run_access, WHOLE},
	{"access (mapped)", HUGE, NOTHING_CHANGED, run_access, WHOLE},
	{"access (logged)", LOGGED, NOTHING_CHANGED, run_access, WHOLE},
	{"slot_add", HUGE, NOTHING_CHANGED, run_slot_add, WHOLE},
	{"slot_remove", HUGE, NOTHING_CHANGED, run_slot_remove, WHOLE},
	{"slot_move", HUGE, NOTHING_CHANGED, run_slot_move, WHOLE},
	{"slot_move (logged)", LOGGED, NOTHING_CHANGED, run_slot_move, WHOLE},
	{"slot_set_flags (4K)", HUGE, NOTHING_CHANGED, run_slot_flags, WHOLE},
	{"slot_set_flags (ro)", HUGE, NOTHING_CHANGED, run_slot_readonly, WHOLE},
	{"populate", EMPTY, NOTHING_CHANGED, run_populate, PART},
	{"populate (second as)", HUGE, NOTHING_CHANGED, run_populate_as, PART},
	{"zap (part)", HUGE, NOTHING_CHANGED, run_zap_part, WHOLE},
	{"zap (part, lazy)", HUGE, CANNOT_FAIL, run_zap_lazy, WHOLE},
	{"zap (small)", SMALL, CANNOT_FAIL, run_zap_part, WHOLE},
	{"zap (whole)", HUGE, CANNOT_FAIL, run_zap_all, WHOLE},
	{"write_protect", HUGE, SAME_MAPPINGS, run_protect, WHOLE},
	{"write_track", HUGE, SAME_MAPPINGS, run_track, WHOLE},
	{"set_owner", HUGE, SAME_MAPPINGS, run_owner, WHOLE},
	{"dirty_log wrprot", HUGE, NOTHING_CHANGED, run_log, WHOLE},
	{"dirty_log auto", HUGE, NOTHING_CHANGED, run_log_auto, WHOLE},
	{"dirty_log eager", HUGE, SAME_MAPPINGS, run_log_eager, WHOLE},
	{"dirty_log off", LOGGED, CANNOT_FAIL, run_log_off, WHOLE},
	{"dirty_log recover", LOGGED, SAME_MAPPINGS, run_log_recover, WITHOUT},
	{"dirty_harvest", LOGGED, CANNOT_FAIL, run_harvest, WHOLE},
	{"dirty_get", LOGGED, CANNOT_FAIL, run_get, WHOLE},
	{"dirty_clear", LOGGED, CANNOT_FAIL, run_clear, WHOLE},
	{"dirty_mark", LOGGED, CANNOT_FAIL, run_mark, WHOLE},
	{"age", HUGE, CANNOT_FAIL, run_age, WHOLE},
	{"age_bitmap", SMALL, CANNOT_FAIL, run_age_bitmap, WHOLE},
	{"split", HUGE, SAME_MAPPINGS, run_split, WHOLE},
	{"collapse", SMALL, SAME_MAPPINGS, run_collapse, WITHOUT},
	{"collapse zap", SMALL, SAME_MAPPINGS, run_collapse_zap, WITHOUT},
	{"invalidate", HUGE, CANNOT_FAIL, run_invalidate, WHOLE},
	{"roots_invalidate", SMALL, CANNOT_FAIL, run_roots, WHOLE},
	{"compact", SMALL, CANNOT_FAIL, run_compact, WHOLE},
	{"root_get", HUGE, NOTHING_CHANGED, run_root_get, WHOLE},
	{"backing_ranges", HUGE, NOTHING_CHANGED, run_backing_ranges, WHOLE},
	{"walk", HUGE, CANNOT_FAIL, run_walk, WHOLE},
	{"walk (small)", SMALL, CANNOT_FAIL, run_walk, WHOLE},
	{"dump", SMALL, CANNOT_FAIL, run_dump, WHOLE},
	{"translate", HUGE, CANNOT_FAIL, run_translate, WHOLE},
};

static void touch_all(struct bench *b)
{
	uint64_t at;

	for (at = 0; at < BLOCKS * b->block; at += TEST_PAGE)
		assert_int_equal(test_vm_touch(b->vm, 0, b->page0 + at, TDP_W), 0);
}

static int bench_resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
			 struct tdp_page *page)
{
	struct bench *b = arg;
	int status = refusal(b, RESOLVE);

	return status ? status : b->mem.ops.resolve(&b->mem, gpa, want_lg2, access, page);
}

static void bench_release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	struct bench *b = arg;

	b->mem.ops.release(&b->mem, gpa, page, flags);
}

static void bench_load(struct spy *spy)
{
	atomic_store(&spy->load_status, refusal(spy->arg, LOAD));
}

static void add_memory(struct bench *b)
{
	struct tdp_slot_desc desc;

	if (!b->resolves) {
		assert_int_equal(test_vm_slot(b->vm, 0, b->page0, BLOCKS * b->block, PA + b->block,
					      0, &b->slot),
				 TDP_OK);
		return;
	}
	assert_int_equal(test_backing_init(&b->mem, &b->vm->env, b->page0, BLOCKS * b->block, PA,
					   TDP_RWX, test_vm_lg2(b->vm, 1)),
			 TDP_OK);
	b->backing = (struct tdp_backing_ops){.size = (uint32_t)sizeof(b->backing),
					      .resolve = bench_resolve,
					      .release = bench_release};
	desc = test_backing_slot(&b->mem, 0, 0);
	desc.backing = &b->backing;
	desc.backing_arg = b;
	assert_int_equal(tdp_slot_add(b->vm->mm, &desc, &b->slot), TDP_OK);
}

/* resolves: slot A is memory that is asked about, else linear. */
static void bench_open(struct bench *b, void **fmt, enum state state, bool resolves)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = TEST_CHUNK_SMALL};

	memset(b, 0, sizeof(*b));
	b->spy.arg = b;
	b->spy.on_load = bench_load;
	b->resolves = resolves;
	spy_up(&b->spy, fmt, &opts);
	b->vm = &b->spy.vm;
	b->vm->max_retries = 0;
	b->block = (uint64_t)1 << test_vm_lg2(b->vm, 1);
	b->page0 = b->block;
	b->bitmap = calloc(words(b), sizeof(*b->bitmap));
	assert_non_null(b->bitmap);
	add_memory(b);
	if (state == EMPTY)
		return;
	touch_all(b);
	if (state == HUGE)
		return;
	assert_int_equal(tdp_split(b->vm->mm, 0, all(b), 12), TDP_OK);
	if (state == SMALL)
		return;
	assert_int_equal(tdp_dirty_log(b->vm->mm, b->slot, TDP_LOG_WRPROT), TDP_OK);
	touch_all(b);
	assert_int_equal(run_harvest(b), TDP_OK);
	assert_int_equal(test_vm_touch(b->vm, 0, b->page0, TDP_W), 0);
}

static void bench_close(struct bench *b)
{
	assert_int_equal(test_vm_check(b->vm), 0);
	if (b->resolves) {
		int status = tdp_slot_remove(b->vm->mm, b->slot);

		assert_true(status == TDP_OK || status == TDP_ENOENT);
		test_backing_fini(&b->mem);
	}
	assert_int_equal(test_vm_fini(b->vm), 0);
	free(b->bitmap);
}

/* Output address and permission of every page, whatever the sizes. */
static void mappings(struct bench *b, uint64_t *out)
{
	uint64_t at;

	for (at = 0; at < BLOCKS * b->block; at += TEST_PAGE) {
		struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};
		int status = tdp_translate(b->vm->mm, 0, b->page0 + at, &map);

		*out++ = status < 0 ? (uint64_t)(int64_t)status
				    : (map.pa + (b->page0 + at - map.gpa)) | map.prot;
	}
}

struct before {
	struct test_dump dump;
	uint64_t *maps;
};

static size_t pages_of(const struct bench *b)
{
	return (size_t)(BLOCKS * b->block / TEST_PAGE);
}

static struct before before_of(struct bench *b)
{
	struct before before;

	assert_int_equal(test_dump_take(b->vm, 0, &before.dump), TDP_OK);
	before.maps = calloc(pages_of(b), sizeof(*before.maps));
	assert_non_null(before.maps);
	mappings(b, before.maps);
	return before;
}

static void before_free(struct before *before)
{
	test_dump_free(&before->dump);
	free(before->maps);
}

/* From page `first` on the same mappings as before, or everywhere the same tables. */
static void compare(struct bench *b, const char *name, const struct before *before, bool tables,
		    size_t first)
{
	struct before after = before_of(b);

	for (size_t i = first; i < pages_of(b); i++)
		if (after.maps[i] != before->maps[i])
			fail_msg("%s failed, and page %zu is %#llx instead of %#llx", name, i,
				 (unsigned long long)after.maps[i],
				 (unsigned long long)before->maps[i]);
	if (tables && test_dump_diff(&before->dump, &after.dump, false))
		fail_msg("%s changed something and failed", name);
	before_free(&after);
}

#endif

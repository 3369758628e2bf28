/* SPDX-License-Identifier: BSD-2-Clause */
/* libtdp as an engine. The walker does nothing, so that only the library is measured. */
#include "tdp.h"

#include <stdlib.h>

#include <tdp/job.h>
#include <tdp/walk.h>

static const struct tdp_env *env(void)
{
	return tdp_posix_env_memb();
}

/* ---- the walker ---- */

static enum tdp_format format_of(enum bench_format format)
{
	static const enum tdp_format formats[BENCH_FORMATS] = {
		[BENCH_EPT] = TDP_FMT_EPT, [BENCH_NPT] = TDP_FMT_NPT, [BENCH_S2] = TDP_FMT_S2_4K};

	return formats[format];
}

static int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	const struct tdp_vm *vm = ctx;

	if (format != format_of(vm->shape.format))
		return TDP_ENOTSUP;
	caps->flags =
		TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	if (format != TDP_FMT_NPT)
		caps->flags |= TDP_CAP_EXEC_ONLY;
	if (format != TDP_FMT_S2_4K)
		caps->flags |= TDP_CAP_FAULT_INVALIDATES;
	caps->leaf_levels = ((uint32_t)2 << (vm->shape.page_lg2 - 12) / 9) - 1;
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = 4;
	return TDP_OK;
}

static int root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	struct tdp_vm *vm = ctx;

	(void)cookie;
	if (root)
		__atomic_fetch_add(&vm->loads, 1, __ATOMIC_RELAXED);
	return TDP_OK;
}

static void flush_range(void *ctx, struct tdp_range range)
{
	(void)ctx; /* counting here would make two threads write one line */
	(void)range;
}

static void flush_all(void *ctx)
{
	flush_range(ctx, (struct tdp_range){0, 0});
}

static const struct tdp_backend_ops walker = {
	.size = sizeof(walker),
	.name = "nothing",
	.probe = probe,
	.root_load = root_load,
	.flush_range = flush_range,
	.flush_all = flush_all,
	.reload = flush_all,
};

/* ---- a VM ---- */

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t max_lg2, uint32_t access,
		   struct tdp_page *page)
{
	const struct tdp_vm *vm = arg;

	(void)max_lg2, (void)access;
	page->pa = vm->shape.pa + gpa;
	page->lg2 = vm->shape.page_lg2;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops memory = {.size = sizeof(memory), .resolve = resolve};

static int should_yield(void *vm)
{
	((struct tdp_vm *)vm)->asks++;
	return 0;
}

static void yield(void *vm)
{
	(void)vm;
}

static int vm_setup(struct tdp_vm *vm)
{
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_slot_desc desc = {.size = sizeof(desc), .gpa = {0, vm->shape.bytes}};
	int ret;

	cfg.format = format_of(vm->shape.format);
	cfg.gpa_bits = 48;
	vm->env = *env();
	if (vm->shape.yields) {
		vm->env.priv = vm; /* the other functions have no use for it */
		vm->env.should_yield = should_yield;
		vm->env.yield = yield;
	}
	cfg.env = &vm->env;
	cfg.backend = &walker;
	cfg.backend_ctx = vm;
	cfg.flags = vm->shape.above ? TDP_MM_AGE_TABLES : 0;
	if (vm->shape.asked) {
		desc.backing = &memory;
		desc.backing_arg = vm;
	} else {
		desc.pa = vm->shape.pa;
	}
	desc.flags = vm->shape.page_lg2 == 12 ? TDP_SLOT_FORCE_4K : 0;
	ret = tdp_mm_create(&cfg, &vm->mm);
	if (!ret)
		ret = tdp_slot_add(vm->mm, &desc, &vm->slot);
	for (unsigned i = 0; i < vm->shape.threads && !ret; i++) {
		ret = tdp_vcpu_create(vm->mm, vm, &vm->vcpu[i]);
		if (!ret)
			ret = tdp_vcpu_load(vm->vcpu[i]);
	}
	return ret;
}

static int create(const struct bench_shape *shape, void **out)
{
	struct tdp_vm *vm = zeroed(1, sizeof(*vm));

	vm->shape = *shape;
	*out = vm;
	return vm_setup(vm);
}

static void destroy(void *arg)
{
	struct tdp_vm *vm = arg;

	for (unsigned i = 0; i < vm->shape.threads; i++)
		tdp_vcpu_destroy(vm->vcpu[i]);
	if (tdp_mm_destroy(vm->mm))
		die("libtdp: tables were lost");
	free(vm);
}

/* Grace periods have ended, dead trees are gone, vCPUs are ready to fault. */
static void ready(void *arg)
{
	struct tdp_vm *vm = arg;

	for (unsigned i = 0; i < vm->shape.threads; i++)
		if (tdp_vcpu_set_as(vm->vcpu[i], 0) || tdp_vcpu_load(vm->vcpu[i]))
			die("libtdp: no root to be loaded");
	if (tdp_roots_reclaim(vm->mm, 0))
		die("libtdp: a dead tree stays");
	env()->rcu->barrier();
}

static void enter(void)
{
	env()->rcu->thread_register();
}

static void leave(void)
{
	env()->rcu->thread_unregister();
}

/* ---- operations ---- */

static struct tdp_range range_of(const struct bench_work *w)
{
	return (struct tdp_range){w->gpa, w->bytes};
}

static struct tdp_range page_of(const struct tdp_vm *vm, uint64_t gpa)
{
	return (struct tdp_range){gpa, (uint64_t)1 << vm->shape.page_lg2};
}

static int fault(struct bench_work *w)
{
	struct tdp_fault fault = {.size = sizeof(fault), .access = TDP_W};
	struct tdp_vm *vm = w->vm;

	for (size_t i = 0; i < w->count; i++) {
		int ret;

		fault.gpa = w->each[i];
		do
			ret = tdp_fault(vm->vcpu[w->thread], &fault, NULL);
		while (ret == TDP_FAULT_RETRY);
		if (ret < 0)
			return ret;
	}
	return 0;
}

static int lookup(struct bench_work *w)
{
	struct tdp_mapping m = {.size = sizeof(m)};
	struct tdp_vm *vm = w->vm;

	for (size_t i = 0; i < w->count; i++) {
		int ret = tdp_translate(vm->mm, 0, w->each[i], &m);

		if (ret)
			return ret;
		w->done += m.pa;
	}
	return 0;
}

static int populate(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_populate(vm->mm, 0, range_of(w), TDP_POPULATE_YOUNG, NULL);
}

static int zap(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_zap(vm->mm, 0, range_of(w), 0);
}

static int zap_each(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = 0;

	for (size_t i = 0; i < w->count && !ret; i++)
		ret = tdp_zap(vm->mm, 0, page_of(vm, w->each[i]), 0);
	return ret;
}

static int zap_fast(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = tdp_roots_invalidate(vm->mm);

	for (unsigned i = 0; i < vm->shape.threads && !ret; i++)
		ret = tdp_vcpu_load(vm->vcpu[i]);
	return ret;
}

static int teardown(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = zap_fast(w);

	if (!ret)
		ret = tdp_roots_reclaim(vm->mm, 0);
	return ret;
}

static int age(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = tdp_age(vm->mm, 0, range_of(w), &w->done);

	return ret < 0 ? ret : 0;
}

static int age_each(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	for (size_t i = 0; i < w->count; i++) {
		int ret = tdp_age(vm->mm, 0, page_of(vm, w->each[i]), NULL);

		if (ret < 0)
			return ret;
		w->done += (uint64_t)ret;
	}
	return 0;
}

static int test_age(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = tdp_test_age(vm->mm, 0, range_of(w));

	w->done = ret > 0;
	return ret < 0 ? ret : 0;
}

static size_t words_of(const struct bench_work *w)
{
	return (w->bytes / TDP_PAGE_SIZE + 63) / 64;
}

static int age_bitmap(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	int ret = tdp_age_bitmap(vm->mm, 0, range_of(w), true, w->bitmap, words_of(w));

	return ret < 0 ? ret : 0;
}

static int age_ages(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	struct tdp_idle_bucket buckets[] = {
		{.age = 0}, {.age = 1},  {.age = 2},  {.age = 4},
		{.age = 8}, {.age = 16}, {.age = 64}, {.age = TDP_IDLE_NEVER}};
	struct tdp_job job = {.size = sizeof(job), .kind = TDP_JOB_AGE, .range = range_of(w)};
	int ret;

	job.bitmap = w->bitmap;
	job.words = words_of(w);
	job.ages = w->ages;
	job.buckets = buckets;
	job.bucket_count = sizeof(buckets) / sizeof(*buckets);
	ret = tdp_job_step(vm->mm, &job);
	w->done = buckets[0].pages;
	return ret;
}

static int write_protect(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_write_protect(vm->mm, 0, range_of(w));
}

static int log_dirty(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_DBIT);
}

static int log_lazily(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_DBIT | TDP_LOG_LAZY);
}

static int log_faults(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_WRPROT);
}

static int log_off(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_log(vm->mm, vm->slot, TDP_LOG_OFF);
}

static int harvest(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_harvest(vm->mm, vm->slot, w->gpa / TDP_PAGE_SIZE, w->bitmap, words_of(w));
}

static int clear(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_dirty_clear(vm->mm, vm->slot, w->gpa / TDP_PAGE_SIZE, w->bytes / TDP_PAGE_SIZE);
}

static int clear_masks(struct bench_work *w)
{
	uint64_t first = w->gpa / TDP_PAGE_SIZE, end = first + w->bytes / TDP_PAGE_SIZE;
	struct tdp_vm *vm = w->vm;
	int ret = 0;

	for (; first < end && !ret; first += 64)
		ret = tdp_dirty_clear_mask(vm->mm, vm->slot, first, ~(uint64_t)0);
	return ret;
}

static int split(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_split(vm->mm, 0, range_of(w), vm->shape.page_lg2 - 9);
}

static int collapse(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	return tdp_collapse(vm->mm, 0, range_of(w), 0, &w->done);
}

struct tdp_job tdp_job_of(enum bench_op op, const struct bench_work *w)
{
	static const uint8_t kinds[BENCH_OPS] = {
		[BENCH_POPULATE] = TDP_JOB_POPULATE, [BENCH_ZAP] = TDP_JOB_ZAP,
		[BENCH_AGE] = TDP_JOB_AGE,           [BENCH_WRPROT] = TDP_JOB_WRITE_PROTECT,
		[BENCH_HARVEST] = TDP_JOB_HARVEST,   [BENCH_SPLIT] = TDP_JOB_SPLIT,
		[BENCH_COLLAPSE] = TDP_JOB_COLLAPSE,
	};
	const struct tdp_vm *vm = w->vm;
	struct tdp_job job = {.size = sizeof(job), .kind = kinds[op], .range = range_of(w)};

	if (op == BENCH_POPULATE)
		job.flags = TDP_POPULATE_YOUNG;
	if (op == BENCH_SPLIT)
		job.lg2 = vm->shape.page_lg2 - 9;
	if (op == BENCH_HARVEST) {
		job.slot = vm->slot;
		job.bitmap = w->bitmap;
		job.words = words_of(w);
	}
	return job;
}

static int switch_role(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;
	struct tdp_vcpu *vcpu = vm->vcpu[w->thread];
	uint64_t loads = vm->loads;
	int ret = 0;

	for (size_t i = 0; i < w->count && !ret; i++) {
		ret = tdp_vcpu_set_as(vcpu, (uint32_t)(i + 1) % 2);
		if (!ret)
			ret = tdp_vcpu_load(vcpu);
	}
	w->done = vm->loads - loads;
	return ret;
}

static int switch_same(struct bench_work *w)
{
	struct tdp_vm *vm = w->vm;

	for (; w->done < w->count; w->done++) {
		int ret = tdp_vcpu_load(vm->vcpu[w->thread]);

		if (ret)
			return ret;
	}
	return 0;
}

const struct bench_engine tdp_engine = {
	.name = "libtdp",
	.formats = 1u << BENCH_EPT | 1u << BENCH_NPT | 1u << BENCH_S2,
	.asks = 1,
	.above = 1u << BENCH_EPT | 1u << BENCH_NPT,
	.create = create,
	.destroy = destroy,
	.op = {[BENCH_FAULT] = fault,           [BENCH_LOOKUP] = lookup,
	       [BENCH_POPULATE] = populate,     [BENCH_ZAP] = zap,
	       [BENCH_ZAP_EACH] = zap_each,     [BENCH_TEARDOWN] = teardown,
	       [BENCH_ZAP_FAST] = zap_fast,     [BENCH_AGE] = age,
	       [BENCH_AGE_EACH] = age_each,     [BENCH_TEST_AGE] = test_age,
	       [BENCH_AGE_BITMAP] = age_bitmap, [BENCH_AGE_AGES] = age_ages,
	       [BENCH_WRPROT] = write_protect,  [BENCH_LOG_DIRTY] = log_dirty,
	       [BENCH_LOG_FAULTS] = log_faults, [BENCH_LOG_LAZY] = log_lazily,
	       [BENCH_LOG_OFF] = log_off,       [BENCH_HARVEST] = harvest,
	       [BENCH_CLEAR] = clear,           [BENCH_CLEAR_MASKS] = clear_masks,
	       [BENCH_SPLIT] = split,           [BENCH_COLLAPSE] = collapse,
	       [BENCH_SWITCH] = switch_role,    [BENCH_SWITCH_SAME] = switch_same,
	       [BENCH_TRIM] = tdp_vm_trim},
	.look = tdp_vm_look,
	.counts = tdp_vm_counts,
	.tables = tdp_vm_tables,
	.ready = ready,
	.enter = enter,
	.leave = leave,
};

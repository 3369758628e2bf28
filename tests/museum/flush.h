/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the pieces about flushes share: a machine with a spy between library and walker, and the one
 * question that counts: does a vCPU reach anything by its TLB that the tables do not give any more?
 */
#ifndef TESTS_MUSEUM_FLUSH_H
#define TESTS_MUSEUM_FLUSH_H

#include "huge.h"

/* What reached the walker. A spy's hooks may call the emulated walker, but not the library. */
static struct spy {
	struct test_vm *vm;
	struct tdp_backend_ops ops;
	struct tdp_backend_caps caps;
	uint32_t clear_caps; /* what the machine does not have, set by the change() of spied_vm() */
	uint64_t ranges, alls, locals, reloads, loads, unloads;
	struct tdp_range last,
		cover;          /* the latest flush; all since spy_forget(), from end to end */
	struct tdp_range local; /* the latest of one vCPU, and whose it was */
	unsigned local_cpu;
	int load_status; /* what root_load answers, if not 0 */
	uint64_t hw[TEST_CPUS_MAX][2];
	bool loaded[TEST_CPUS_MAX];
	void (*on_flush)(struct tdp_range range); /* before it is done */
	void (*on_load)(unsigned cpu, const struct tdp_root_view *root);
} spy;

static inline void spy_forget(void)
{
	spy.ranges = spy.alls = spy.locals = spy.reloads = spy.loads = spy.unloads = 0;
	spy.last = spy.cover = spy.local = museum_range(0, 0);
}

static inline unsigned spy_cpu(const void *cookie)
{
	unsigned cpu = 0;

	while (cpu < TEST_CPUS_MAX - 1 && (void *)spy.vm->cpu[cpu].emu != cookie)
		cpu++;
	return cpu;
}

static inline void spy_note(struct tdp_range range)
{
	tdp_gpa_t end = spy.cover.start + spy.cover.size, new_end = range.start + range.size;

	spy.last = range;
	if (spy.cover.size == 0) {
		spy.cover = range;
	} else {
		if (range.start < spy.cover.start)
			spy.cover.start = range.start;
		spy.cover.size = (new_end > end ? new_end : end) - spy.cover.start;
	}
	if (spy.on_flush)
		spy.on_flush(range);
}

static inline int spy_probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	int ret = tdp_emu_backend.probe(ctx, format, caps);

	caps->flags &= ~spy.clear_caps;
	spy.caps = *caps;
	return ret;
}

static inline int spy_root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	unsigned cpu = spy_cpu(cookie);
	int ret;

	if (spy.on_load)
		spy.on_load(cpu, root);
	if (root && spy.load_status)
		return spy.load_status;
	ret = tdp_emu_backend.root_load(ctx, cookie, root);
	if (root)
		spy.loads++;
	else
		spy.unloads++;
	spy.loaded[cpu] = root && !ret;
	if (spy.loaded[cpu])
		memcpy(spy.hw[cpu], root->hw, sizeof(root->hw));
	return ret;
}

static inline void spy_flush_range(void *ctx, struct tdp_range range)
{
	spy.ranges++;
	spy_note(range);
	tdp_emu_backend.flush_range(ctx, range);
}

static inline void spy_flush_all(void *ctx)
{
	spy.alls++;
	spy_note(museum_range(0, test_vm_size(spy.vm)));
	tdp_emu_backend.flush_all(ctx);
}

static inline void spy_flush_vcpu(void *ctx, void *cookie, struct tdp_range range)
{
	spy.locals++;
	spy.local = range;
	spy.local_cpu = spy_cpu(cookie);
	tdp_emu_backend.flush_vcpu(ctx, cookie, range);
}

static inline void spy_reload(void *ctx)
{
	spy.reloads++;
	for (unsigned cpu = 0; cpu < TEST_CPUS_MAX; cpu++)
		spy.loaded[cpu] = false;
	tdp_emu_backend.reload(ctx);
}

/* vCPUs and mm go, the walker and what its vCPUs have cached stays. */
static inline void mm_down(struct test_vm *vm)
{
	for (uint32_t i = 0; i < vm->cpus; i++) {
		tdp_vcpu_destroy(vm->cpu[i].vcpu);
		vm->cpu[i].vcpu = NULL;
	}
	assert_int_equal(tdp_mm_destroy(vm->mm), TDP_OK);
	vm->mm = NULL;
}

static inline void mm_up(struct test_vm *vm)
{
	assert_int_equal(tdp_mm_create(&vm->cfg, &vm->mm), TDP_OK);
	for (uint32_t i = 0; i < vm->cpus; i++) {
		assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[i].emu, &vm->cpu[i].vcpu), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[i].vcpu), TDP_OK);
	}
}

/* A machine whose library talks to the spy; change (may be NULL) has the last word on its ops. */
static inline struct test_vm *spied_vm(void **state, const struct test_vm_options *opts,
				       void (*change)(struct tdp_backend_ops *ops))
{
	struct test_vm *vm = open_vm(state, opts);

	mm_down(vm);
	memset(&spy, 0, sizeof(spy));
	spy.vm = vm;
	spy.ops = tdp_emu_backend;
	spy.ops.probe = spy_probe;
	spy.ops.root_load = spy_root_load;
	spy.ops.flush_range = spy_flush_range;
	spy.ops.flush_all = spy_flush_all;
	spy.ops.flush_vcpu = spy_flush_vcpu;
	spy.ops.reload = spy_reload;
	/* Fewer ways to look at. */
	spy.ops.flush_leaves = NULL;
	spy.ops.flush_begin = NULL;
	spy.ops.flush_wait = NULL;
	if (change)
		change(&spy.ops);
	vm->cfg.backend = &spy.ops;
	mm_up(vm);
	spy_forget();
	return vm;
}

/* One access as it is, no fault handled: TDP_EMU_OK, or why not. */
static inline int raw(struct test_vm *vm, unsigned cpu, tdp_gpa_t gpa, uint32_t access,
		      struct tdp_emu_exit *exit)
{
	struct tdp_emu_exit mine;

	return tdp_emu_access(vm->cpu[cpu].emu, gpa, access, exit ? exit : &mine);
}

/* The same by the tables alone, from the root that the vCPU was last given. */
static inline int by_tables(struct test_vm *vm, unsigned cpu, tdp_gpa_t gpa, uint32_t access,
			    struct tdp_emu_exit *exit)
{
	return tdp_emu_walk_foreign(vm->fmt->format, spy.hw[cpu], spy.caps.flags, read_entry,
				    &vm->env, gpa, access, exit);
}

/* Accesses that work on some vCPU although the tables refuse them, or end somewhere else. */
static inline unsigned stale_accesses(struct test_vm *vm, struct tdp_range range, uint64_t step)
{
	static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X};
	unsigned stale = 0;

	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (uint64_t at = 0; at < range.size && spy.loaded[cpu]; at += step)
			for (unsigned i = 0; i < ARRAY_LEN(accesses); i++) {
				tdp_gpa_t gpa = range.start + at;
				struct tdp_emu_exit tlb, tables;

				if (raw(vm, cpu, gpa, accesses[i], &tlb) != TDP_EMU_OK)
					continue;
				if (by_tables(vm, cpu, gpa, accesses[i], &tables) != TDP_EMU_OK ||
				    tables.pa != tlb.pa)
					stale++;
			}
	return stale;
}

/* Every vCPU has each step of the range in its TLB, writable where it may be. */
static inline void cache_all(struct test_vm *vm, struct tdp_range range, uint64_t step)
{
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (uint64_t at = 0; at < range.size; at += step)
			touch_linear(vm, cpu, range.start + at, TDP_W);
}

/* No vCPU reaches any step of the range. */
static inline void assert_gone(struct test_vm *vm, struct tdp_range range, uint64_t step)
{
	assert_int_equal(tdp_emu_cached(vm->emu, range.start, range.size), 0);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++)
		for (uint64_t at = 0; at < range.size; at += step)
			assert_int_not_equal(raw(vm, cpu, range.start + at, TDP_R, NULL),
					     TDP_EMU_OK);
}

/* Bytes that a table at `level` covers. */
static inline uint64_t table_span(const struct test_vm *vm, unsigned level)
{
	return leaf_size(vm, level + 1);
}

struct table_search {
	unsigned level;
	tdp_gpa_t gpa;
	tdp_pa_t pa;
};

static inline int table_found(void *arg, const struct tdp_visit *visit)
{
	struct table_search *s = arg;

	if (visit->level == s->level + 1 && visit->gpa == s->gpa)
		s->pa = visit->pa;
	return 0;
}

/* The table at `level` that begins at gpa. */
static inline tdp_pa_t table_at(struct test_vm *vm, tdp_gpa_t gpa, unsigned level)
{
	struct table_search s = {.level = level, .gpa = gpa};

	assert_int_equal(tdp_walk(vm->mm, 0, range_of(gpa, table_span(vm, level)),
				  TDP_WALK_TABLE_PRE, table_found, &s),
			 0);
	assert_true(s.pa != 0);
	return s.pa;
}

#endif

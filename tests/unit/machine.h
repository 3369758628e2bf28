/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of the engine: a machine that lives as long as its test, its counters, work done
 * by another thread, and a spy between library and walker that counts, remembers and interrupts.
 */
#ifndef TESTS_UNIT_MACHINE_H
#define TESTS_UNIT_MACHINE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define SLOT_PA ((tdp_pa_t)1 << 40) /* of linear slots: names nothing real */

static inline const struct test_format *format_of(void **state)
{
	return *state;
}

static inline void vm_up(struct test_vm *vm, void **state, const struct test_vm_options *opts)
{
	assert_int_equal(test_vm_init(vm, format_of(state), opts), TDP_OK);
}

/* Verified, and gone without a trace. */
static inline void vm_down(struct test_vm *vm)
{
	test_rcu_run(); /* a root that waits for its readers is on no list */
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(test_vm_fini(vm), 0);
}

static inline struct tdp_range range_of(tdp_gpa_t start, uint64_t size)
{
	struct tdp_range range = {start, size};

	return range;
}

static inline struct tdp_range everything(const struct test_vm *vm)
{
	return range_of(0, test_vm_size(vm));
}

static inline struct tdp_stats stats_of(const struct test_vm *vm)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_stats(vm->mm, &stats), TDP_OK);
	return stats;
}

/* What the walker was asked to drop, by anybody; root loads do not count. */
static inline uint64_t flushes_of(const struct test_vm *vm)
{
	struct tdp_emu_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_emu_stats(vm->emu, &stats), TDP_OK);
	return stats.flush_range + stats.flush_all + stats.flush_vcpu + stats.reloads;
}

/* The same without what concerns one vCPU. */
static inline uint64_t broadcasts_of(const struct test_vm *vm)
{
	struct tdp_emu_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_emu_stats(vm->emu, &stats), TDP_OK);
	return stats.flush_range + stats.flush_all + stats.reloads;
}

static inline uint64_t leaves_of(const struct test_vm *vm)
{
	struct tdp_stats stats = stats_of(vm);
	uint64_t n = 0;

	for (unsigned level = 0; level < TDP_LEVELS_MAX; level++)
		n += stats.leaves[level];
	return n;
}

static inline uint64_t tables_of(const struct test_vm *vm)
{
	struct tdp_stats stats = stats_of(vm);
	uint64_t n = 0;

	for (unsigned level = 0; level < TDP_LEVELS_MAX; level++)
		n += stats.tables[level];
	return n;
}

static inline int translate(const struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa,
			    struct tdp_mapping *out)
{
	struct tdp_mapping ignored;

	if (!out)
		out = &ignored;
	out->size = (uint32_t)sizeof(*out);
	return tdp_translate(vm->mm, as_id, gpa, out);
}

static inline int fault(const struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa, uint32_t access)
{
	struct tdp_fault f = {.size = (uint32_t)sizeof(f), .gpa = gpa, .access = access};

	return tdp_fault(vm->cpu[cpu].vcpu, &f, NULL);
}

/* Log2 of the smallest huge page. */
static inline uint32_t huge_lg2(const struct test_vm *vm)
{
	for (uint32_t level = 1;; level++)
		if (vm->info.leaf_levels >> level & 1)
			return test_vm_lg2(vm, level);
}

/* For cases that depend on no format: once. */
static inline bool first_format(const struct test_format *fmt)
{
	return fmt == &test_formats[0];
}

/* ---- roots ---- */

/* The valid one, with a reference. */
static inline struct tdp_root *root_of(const struct test_vm *vm, uint32_t as_id)
{
	struct tdp_root *root = NULL;

	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, as_id), &root), TDP_OK);
	assert_non_null(root);
	return root;
}

static inline struct tdp_root_view view_of(const struct test_vm *vm, struct tdp_root *root)
{
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};

	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	return view;
}

/* ---- another thread ---- */

struct aside {
	struct test_vm *vm;
	void (*fn)(struct test_vm *vm, void *arg);
	void *arg;
};

static inline void *aside_thread(void *arg)
{
	struct aside *a = arg;

	a->vm->env.env.rcu->thread_register();
	a->fn(a->vm, a->arg);
	a->vm->env.env.rcu->thread_unregister();
	return NULL;
}

/* fn on a thread of its own, waited for: what hooks may not call themselves. */
static inline void run_aside(struct test_vm *vm, void (*fn)(struct test_vm *vm, void *arg),
			     void *arg)
{
	struct aside a = {vm, fn, arg};
	pthread_t thread;

	if (pthread_create(&thread, NULL, aside_thread, &a) != 0)
		abort();
	pthread_join(thread, NULL);
}

/* ---- the spy ---- */

struct spy {
	struct test_vm vm;
	struct tdp_env env;
	struct tdp_backend_ops ops;
	/* Changed before spy_up() is called: */
	bool sync;          /* the walker does not snoop: table_sync is wanted */
	bool no_local;      /* it cannot flush one vCPU alone */
	bool no_levels;     /* nor leaves of some levels */
	bool halves;        /* it knows flushes in two halves */
	uint32_t bbm_level; /* arm64 */
	uint32_t clear_caps;
	void *(*phys_to_virt)(void *priv, tdp_pa_t pa);
	void (*table_state)(void *priv, void *va, uint64_t size, int in_use);
	const struct tdp_rcu_ops *rcu;
	/* Asked before the walker does it: */
	void (*on_flush)(struct spy *spy, struct tdp_range range);
	void (*on_begin)(struct spy *spy, struct tdp_range range); /* size 0: everything */
	void (*on_wait)(struct spy *spy);
	void (*on_vcpu_flush)(struct spy *spy, struct tdp_range range);
	void (*on_reload)(struct spy *spy);
	void (*on_load)(struct spy *spy); /* may set load_status */
	void (*on_sync)(struct spy *spy, const void *va, uint64_t len);
	void *arg;
	_Atomic uint64_t loads, flushing_loads, ranges, alls, reloads, syncs;
	_Atomic uint64_t begun, waited; /* halves of flushes */
	_Atomic uint32_t
		levels; /* of the latest flush that only concerned leaves; 0: the latest did not */
	_Atomic int load_status; /* what root_load answers, if not 0 */
};

static inline int spy_probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	struct spy *spy = ctx;
	int ret = tdp_emu_backend.probe(spy->vm.emu, format, caps);

	if (spy->bbm_level)
		caps->bbm_level = (uint8_t)spy->bbm_level;
	caps->flags &= ~spy->clear_caps;
	return ret;
}

static inline int spy_root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	struct spy *spy = ctx;
	int status;

	if (root && spy->on_load)
		spy->on_load(spy);
	status = atomic_load(&spy->load_status);
	if (root && status)
		return status;
	if (root) {
		atomic_fetch_add(&spy->loads, 1);
		atomic_fetch_add(&spy->flushing_loads, root->flags & TDP_ROOT_FLUSH ? 1 : 0);
	}
	return tdp_emu_backend.root_load(spy->vm.emu, cookie, root);
}

static inline void spy_flush_range(void *ctx, struct tdp_range range)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->ranges, 1);
	atomic_store(&spy->levels, 0);
	if (spy->on_flush)
		spy->on_flush(spy, range);
	tdp_emu_backend.flush_range(spy->vm.emu, range);
}

static inline void spy_flush_leaves(void *ctx, struct tdp_range range, uint32_t levels)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->ranges, 1);
	atomic_store(&spy->levels, levels);
	if (spy->on_flush)
		spy->on_flush(spy, range);
	tdp_emu_backend.flush_leaves(spy->vm.emu, range, levels);
}

static inline void spy_flush_all(void *ctx)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->alls, 1);
	atomic_store(&spy->levels, 0);
	if (spy->on_flush)
		spy->on_flush(spy, everything(&spy->vm));
	tdp_emu_backend.flush_all(spy->vm.emu);
}

static inline uint64_t spy_flush_begin(void *ctx, struct tdp_range range, uint32_t levels)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->begun, 1);
	atomic_store(&spy->levels, levels);
	if (spy->on_begin)
		spy->on_begin(spy, range);
	return tdp_emu_backend.flush_begin(spy->vm.emu, range, levels);
}

static inline void spy_flush_wait(void *ctx, uint64_t token)
{
	struct spy *spy = ctx;

	if (spy->on_wait)
		spy->on_wait(spy);
	tdp_emu_backend.flush_wait(spy->vm.emu, token);
	atomic_fetch_add(&spy->waited, 1);
}

static inline void spy_flush_vcpu(void *ctx, void *cookie, struct tdp_range range)
{
	struct spy *spy = ctx;

	if (spy->on_vcpu_flush)
		spy->on_vcpu_flush(spy, range);
	tdp_emu_backend.flush_vcpu(spy->vm.emu, cookie, range);
}

static inline void spy_reload(void *ctx)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->reloads, 1);
	if (spy->on_reload)
		spy->on_reload(spy);
	tdp_emu_backend.reload(spy->vm.emu);
}

static inline void spy_table_sync(void *ctx, const void *va, uint64_t len)
{
	struct spy *spy = ctx;

	atomic_fetch_add(&spy->syncs, 1);
	if (spy->on_sync)
		spy->on_sync(spy, va, len);
}

/* A machine as vm_up() makes, with the spy in between. */
static inline void spy_up(struct spy *spy, void **state, const struct test_vm_options *opts)
{
	struct test_vm *vm = &spy->vm;

	vm_up(vm, state, opts);
	for (uint32_t i = 0; i < vm->cpus; i++)
		tdp_vcpu_destroy(vm->cpu[i].vcpu);
	assert_int_equal(tdp_mm_destroy(vm->mm), TDP_OK);
	vm->mm = NULL;
	spy->env = vm->env.env;
	if (spy->phys_to_virt)
		spy->env.phys_to_virt = spy->phys_to_virt;
	if (spy->table_state)
		spy->env.table_state = spy->table_state;
	if (spy->rcu)
		spy->env.rcu = spy->rcu;
	spy->ops = (struct tdp_backend_ops){
		.size = (uint32_t)sizeof(spy->ops),
		.name = "spy",
		.probe = spy_probe,
		.root_load = spy_root_load,
		.flush_range = spy_flush_range,
		.flush_all = spy_flush_all,
		.flush_vcpu = spy->no_local ? NULL : spy_flush_vcpu,
		.reload = spy_reload,
		.table_sync = spy->sync ? spy_table_sync : NULL,
		.flush_leaves = spy->no_levels ? NULL : spy_flush_leaves,
		.flush_begin = spy->halves ? spy_flush_begin : NULL,
		.flush_wait = spy->halves ? spy_flush_wait : NULL,
	};
	vm->cfg.env = &spy->env;
	vm->cfg.backend = &spy->ops;
	vm->cfg.backend_ctx = spy;
	assert_int_equal(tdp_mm_create(&vm->cfg, &vm->mm), TDP_OK);
	for (uint32_t i = 0; i < vm->cpus; i++)
		assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[i].emu, &vm->cpu[i].vcpu), TDP_OK);
}

#endif

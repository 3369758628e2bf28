/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H22, Xen, 2009 and 2010: while a superpage was split its entry was empty for a moment, and
 * readers that walk without a lock saw a hole in the guest's memory. And a split that failed
 * half way freed tables that were linked already.
 *
 * Here the walker accesses pages of the huge one at the very moment its parts are being written
 * (the backend is told about each new table). Where sizes may change in place, no access
 * faults; where they may not, it faults and converges. A thread that only asks never gets no or
 * two answers. And for each allocation that fails all translations stay.
 */
#include "huge.h"

#include <pthread.h>
#include <stdatomic.h>

static struct {
	struct tdp_backend_ops ops;
	struct test_vm *vm;
	bool on;
	unsigned calls, holes, wrong;
	uint64_t size;
} watch;

/*
 * Called while a table is being filled or an entry was written: the other vCPU accesses the
 * page.
 */
static void on_table(void *ctx, const void *va, uint64_t len)
{
	uint64_t i;

	(void)ctx;
	(void)va;
	if (!watch.on || len < TEST_PAGE / 64)
		return;
	watch.calls++;
	for (i = 0; i < 16; i++) {
		tdp_gpa_t gpa = GPA + i * (watch.size / 16) + i * TEST_PAGE;
		struct tdp_emu_exit exit;

		if (tdp_emu_access(watch.vm->cpu[1].emu, gpa, TDP_R, &exit) != TDP_EMU_OK)
			watch.holes++;
		else if (exit.pa != PA + (gpa - GPA))
			watch.wrong++;
	}
}

/* The same machine with a backend that is told about tables. */
static struct test_vm *watched_vm(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .emu_flags = TDP_EMU_NO_TLB};
	struct test_vm *vm = open_vm(state, &opts);
	uint32_t i;

	for (i = 0; i < vm->cpus; i++)
		tdp_vcpu_destroy(vm->cpu[i].vcpu);
	assert_int_equal(tdp_mm_destroy(vm->mm), 0);
	watch.ops = tdp_emu_backend;
	watch.ops.table_sync = on_table;
	watch.vm = vm;
	watch.on = false;
	watch.calls = watch.holes = watch.wrong = 0;
	vm->cfg.backend = &watch.ops;
	assert_int_equal(tdp_mm_create(&vm->cfg, &vm->mm), TDP_OK);
	for (i = 0; i < vm->cpus; i++)
		assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[i].emu, &vm->cpu[i].vcpu), TDP_OK);
	return vm;
}

/* x86 changes sizes in place; the others break before they make (no bbm_level here). */
static bool in_place(const struct test_vm *vm)
{
	return vm->fmt->format == TDP_FMT_EPT || vm->fmt->format == TDP_FMT_NPT;
}

static void no_hole_while_splitting(void **state)
{
	struct test_vm *vm = watched_vm(state);
	struct huge_levels h = huge_levels(vm);
	unsigned i, to;

	assert_int_equal(test_vm_slot(vm, 0, GPA, leaf_size(vm, h.level[h.count - 1]), PA, 0, NULL),
			 TDP_OK);
	for (i = 0; i < h.count; i++)
		for (to = 0; to < h.level[i]; to++) {
			tdp_gpa_t page = GPA + leaf_size(vm, h.level[h.count - 1]) / 2;
			struct tdp_range all = {GPA, leaf_size(vm, h.level[h.count - 1])};

			if (!(vm->info.leaf_levels >> to & 1))
				continue;
			watch.size = leaf_size(vm, h.level[h.count - 1]);
			assert_true(touch_linear(vm, 0, page, TDP_W) <= 2);
			touch_linear(vm, 1, page, TDP_R);
			watch.calls = 0;
			watch.on = true;
			assert_int_equal(tdp_split(vm->mm, 0, range_of(page, TEST_PAGE),
						   test_vm_lg2(vm, to)),
					 TDP_OK);
			watch.on = false;
			assert_true(watch.calls > 0);
			assert_int_equal(watch.wrong, 0);
			if (in_place(vm))
				assert_int_equal(watch.holes, 0);
			assert_cover(vm, all, all, TDP_RWX, 0);
			touch_linear(vm, 1, page, TDP_R);
			assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
		}
	close_vm(vm);
}

/* ---- a thread that asks ---- */

struct asker {
	struct test_vm *vm;
	uint64_t size;
	_Atomic bool stop;
	_Atomic uint64_t asked;
	uint64_t holes, wrong, faults, failures;
};

static void *ask(void *arg)
{
	struct asker *a = arg;
	uint64_t i;

	a->vm->env.env.rcu->thread_register();
	for (i = 0; !atomic_load(&a->stop); i++) {
		tdp_gpa_t gpa = GPA + (i * 7 * TEST_PAGE) % a->size;
		struct tdp_mapping m = {.size = (uint32_t)sizeof(m)};
		struct test_access access;

		if (tdp_translate(a->vm->mm, 0, gpa, &m) != TDP_OK)
			a->holes++;
		else if (m.pa + (gpa - m.gpa) != PA + (gpa - GPA))
			a->wrong++;
		if (test_vm_access(a->vm, 1, gpa, TDP_R, &access) != TEST_OK)
			a->failures++;
		else if (access.pa != PA + (gpa - GPA))
			a->wrong++;
		a->faults += access.faults;
		atomic_store(&a->asked, i + 1);
	}
	a->vm->env.env.rcu->thread_unregister();
	return NULL;
}

static void readers_beside_splits(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = open_vm(state, &opts);
	struct asker a = {.vm = vm, .size = leaf_size(vm, 1)};
	struct tdp_range all = {GPA, leaf_size(vm, 1)};
	pthread_t thread;
	unsigned round;
	uint64_t made;

	vm->max_retries = 1u << 20;
	assert_int_equal(test_vm_slot(vm, 0, GPA, a.size, PA, 0, NULL), TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	touch_linear(vm, 1, GPA, TDP_R);
	assert_int_equal(pthread_create(&thread, NULL, ask, &a), 0);
	while (atomic_load(&a.asked) < 100)
		;
	for (round = 0; round < 100; round++) {
		assert_int_equal(tdp_split(vm->mm, 0, all, TDP_PAGE_LG2), TDP_OK);
		assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, &made), TDP_OK);
		assert_int_equal(made, 1);
	}
	atomic_store(&a.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(a.holes, 0);
	assert_int_equal(a.wrong, 0);
	assert_int_equal(a.failures, 0);
	if (in_place(vm))
		assert_int_equal(a.faults, 0);
	close_vm(vm);
}

/* ---- failing ---- */

static void failed_split_changes_nothing(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm *vm = open_vm(state, NULL);
	struct huge_levels h = huge_levels(vm);
	unsigned i;
	int64_t n;

	close_vm(vm);
	for (i = 0; i < h.count; i++) {
		for (n = 1; n < 64; n++) {
			int status;
			struct test_dump before, after;
			struct tdp_range all;

			vm = open_vm(state, &opts);
			all = range_of(GPA, leaf_size(vm, h.level[i]));
			assert_int_equal(test_vm_slot(vm, 0, GPA, all.size, PA, 0, NULL), TDP_OK);
			touch_linear(vm, 0, GPA, TDP_W);
			before = dump_of(vm, 0);
			test_env_fail(&vm->env, n);
			status = tdp_split(vm->mm, 0, range_of(GPA + all.size / 2, TEST_PAGE),
					   TDP_PAGE_LG2);
			test_env_fail(&vm->env, 0);
			assert_true(status == TDP_OK || status == TDP_ENOMEM);
			after = dump_of(vm, 0);
			if (status != TDP_OK)
				assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&before);
			test_dump_free(&after);
			assert_cover(vm, all, all, TDP_RWX, 0);
			assert_int_equal(touch_linear(vm, 0, GPA + all.size - 1, TDP_W), 0);
			assert_int_equal(lg2_at(vm, 0, GPA + all.size / 2) == TDP_PAGE_LG2,
					 status == TDP_OK);
			close_vm(vm);
			if (status == TDP_OK)
				break;
		}
		assert_true(n < 64);
	}
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(no_hole_while_splitting),
		TEST_CASE(readers_beside_splits),
		TEST_CASE(failed_split_changes_nothing),
	};

	return test_run("museum/H22", cases, ARRAY_LEN(cases));
}

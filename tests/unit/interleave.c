/* SPDX-License-Identifier: BSD-2-Clause */
/* Two operations in one another's way, stopped at the moment that counts. */
#include "steps.h"

#include <time.h>

#define GPA GIB

static void nap(void)
{
	const struct timespec ms = {0, 1000000};

	nanosleep(&ms, NULL);
}

/* A thread that is started now and joined later. */
struct task {
	struct aside a;
	pthread_t thread;
	_Atomic bool started, done;
	void (*fn)(struct test_vm *vm, struct task *task);
	int status;
};

static void task_main(struct test_vm *vm, void *arg)
{
	struct task *task = arg;

	atomic_store(&task->started, true);
	task->fn(vm, task);
	atomic_store(&task->done, true);
}

static void task_start(struct task *task, struct test_vm *vm,
		       void (*fn)(struct test_vm *vm, struct task *task))
{
	memset(task, 0, sizeof(*task));
	task->fn = fn;
	task->a = (struct aside){vm, task_main, task};
	if (pthread_create(&task->thread, NULL, aside_thread, &task->a) != 0)
		abort();
}

static int task_join(struct task *task)
{
	pthread_join(task->thread, NULL);
	return task->status;
}

/* ---- faults beside faults -------------------------------------------------------------------- */

#define CPUS 4u
#define PAGES 512u

struct toucher {
	struct aside a;
	pthread_t thread;
	uint32_t cpu;
	uint64_t failed;
};

static void touch_all(struct test_vm *vm, void *arg)
{
	struct toucher *t = arg;

	for (uint64_t i = 0; i < PAGES; i++) {
		uint64_t page = (i * 37 + t->cpu % 2 * 11) % PAGES;

		t->failed += test_vm_touch(vm, t->cpu, GPA + page * TEST_PAGE, TDP_W) != 0;
	}
}

/*
 * F03: beside each other on the same pages: each is mapped once, by one of them, and nobody
 * flushes.
 */
static void faults_beside_each_other(void **state)
{
	struct test_vm_options opts = {.cpus = CPUS};
	struct toucher t[CPUS];
	struct tdp_stats stats;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint32_t i = 0; i < CPUS; i++) {
		load(&vm, i);
		t[i] = (struct toucher){.cpu = i};
		t[i].a = (struct aside){&vm, touch_all, &t[i]};
	}
	for (uint32_t i = 0; i < CPUS; i++)
		assert_int_equal(pthread_create(&t[i].thread, NULL, aside_thread, &t[i].a), 0);
	for (uint32_t i = 0; i < CPUS; i++) {
		pthread_join(t[i].thread, NULL);
		assert_int_equal(t[i].failed, 0);
	}
	stats = stats_of(&vm);
	assert_int_equal(stats.faults[TDP_FAULT_FIXED], PAGES);
	assert_int_equal(stats.leaves[0], PAGES);
	assert_int_equal(broadcasts_of(&vm), 0);
	for (uint64_t i = 0; i < PAGES; i++)
		assert_int_equal(leaf_at(&vm, GPA + i * TEST_PAGE).pa, SLOT_PA + i * TEST_PAGE);
	vm_down(&vm);
}

/* ---- an entry that is being changed ---------------------------------------------------------- */

static bool breaks(const struct test_format *fmt)
{
	return fmt->format == TDP_FMT_S2_4K || fmt->format == TDP_FMT_TEST;
}

struct frozen {
	struct task fault, translate;
	unsigned met;
	uint64_t tables;
	uint8_t kind;
	bool too_early;
};

static void task_fault(struct test_vm *vm, struct task *task)
{
	task->status = fault(vm, 1, GPA, TDP_W);
}

static void task_translate(struct test_vm *vm, struct task *task)
{
	task->status = translate(vm, 0, GPA, NULL);
}

static void look_at_entry(struct test_vm *vm, void *arg)
{
	struct frozen *f = arg;

	word_at(vm, GPA, &f->kind);
}

static void while_broken(struct spy *spy, struct tdp_range range)
{
	struct frozen *f = spy->arg;

	(void)range;
	if (f->met++)
		return;
	run_aside(&spy->vm, look_at_entry, f);
	f->tables = atomic_load(&spy->vm.env.tables_total);
	task_start(&f->fault, &spy->vm, task_fault);
	task_start(&f->translate, &spy->vm, task_translate);
	while (!atomic_load(&f->fault.started) || !atomic_load(&f->translate.started))
		nap();
	for (int i = 0; i < 20; i++)
		nap();
	f->too_early = atomic_load(&f->fault.done) || atomic_load(&f->translate.done);
}

/* E04, F04: who meets a frozen entry waits for it, allocates nothing and reports no hole. */
static void frozen_is_waited_for(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct frozen f;
	struct spy spy;

	memset(&spy, 0, sizeof(spy));
	memset(&f, 0, sizeof(f));
	spy_up(&spy, state, &opts);
	add_slot(&spy.vm, 0, GPA, block_of(&spy.vm), SLOT_PA, 0);
	use(&spy.vm, 0, GPA, TDP_W);
	load(&spy.vm, 1);
	assert_int_equal(tdp_vcpu_topup(spy.vm.cpu[1].vcpu), TDP_OK);
	spy.arg = &f;
	spy.on_flush = while_broken;
	assert_int_equal(tdp_split(spy.vm.mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	assert_int_equal(f.met, 1);
	assert_int_equal(task_join(&f.fault), TDP_FAULT_SPURIOUS);
	assert_int_equal(task_join(&f.translate), TDP_OK);
	assert_int_equal(f.kind, TDP_ENTRY_FROZEN);
	assert_false(f.too_early);
	assert_int_equal(atomic_load(&spy.vm.env.tables_total), f.tables);
	vm_down(&spy.vm);
}

static void ask_age(struct test_vm *vm, void *arg)
{
	struct tdp_range block = range_of(GPA + block_of(vm), block_of(vm));
	int *answers = arg;

	/* The same table is locked now: what is to be broken is its first entry. */
	answers[0] = tdp_test_age(vm->mm, 0, block);
	answers[1] = tdp_age(vm->mm, 0, block, NULL);
	answers[2] = translate(vm, 0, block.start, NULL);
}

static void ask_while_broken(struct spy *spy, struct tdp_range range)
{
	(void)range;
	run_aside(&spy->vm, ask_age, spy->arg);
}

/* A09: looking for young pages, and finding none, waits for no lock. */
static void aging_waits_for_nobody(void **state)
{
	int answers[3] = {-1, -1, -1};
	struct spy spy;

	memset(&spy, 0, sizeof(spy));
	spy_up(&spy, state, NULL);
	add_slot(&spy.vm, 0, GPA, 2 * block_of(&spy.vm), SLOT_PA, 0);
	use(&spy.vm, 0, GPA, TDP_W);
	use(&spy.vm, 0, GPA + block_of(&spy.vm), TDP_W);
	assert_int_equal(tdp_age(spy.vm.mm, 0, range_of(GPA + block_of(&spy.vm), TEST_PAGE), NULL),
			 1);
	spy.arg = answers;
	spy.on_flush = ask_while_broken;
	assert_int_equal(tdp_split(spy.vm.mm, 0, range_of(GPA, TEST_PAGE), 12), TDP_OK);
	assert_int_equal(answers[0], 0);
	assert_int_equal(answers[1], 0);
	assert_int_equal(answers[2], TDP_OK);
	vm_down(&spy.vm);
}

/* ---- faults beside invalidation -------------------------------------------------------------- */

/* Memory whose answer is out of date by the time it is given. */
struct late {
	struct tdp_backing_ops ops;
	struct test_vm *vm;
	tdp_pa_t pa;
	void (*meanwhile)(struct test_vm *vm, void *arg); /* on another thread */
	void *arg;
	struct task move;
	uint64_t unmapped, released;
};

static int late_resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
			struct tdp_page *page)
{
	struct late *late = arg;

	(void)want_lg2;
	(void)access;
	page->pa = late->pa + (gpa & (GIB - 1));
	page->lg2 = 12;
	page->prot = TDP_RWX;
	if (late->meanwhile)
		run_aside(late->vm, late->meanwhile, late->arg);
	return TDP_OK;
}

static void late_release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	struct late *late = arg;

	(void)gpa;
	(void)page;
	late->released++;
	late->unmapped += !(flags & TDP_RELEASE_MAPPED);
}

static uint32_t late_slot(struct late *late, struct test_vm *vm)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	uint32_t id;

	memset(late, 0, sizeof(*late));
	late->ops = (struct tdp_backing_ops){.size = (uint32_t)sizeof(late->ops),
					     .resolve = late_resolve,
					     .release = late_release};
	late->vm = vm;
	late->pa = SLOT_PA;
	late->arg = late;
	desc.gpa = range_of(GPA, 16 * TEST_PAGE);
	desc.backing = &late->ops;
	desc.backing_arg = late;
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	return id;
}

static void replace_page(struct test_vm *vm, void *arg)
{
	struct tdp_range page = range_of(GPA, TEST_PAGE);
	struct late *late = arg;

	if (tdp_invalidate_begin(vm->mm, page) || tdp_zap(vm->mm, 0, page, 0))
		abort();
	tdp_emu_forbid(vm->emu, late->pa, TEST_PAGE);
	late->pa += GIB;
	if (tdp_invalidate_end(vm->mm, page))
		abort();
}

/* F08: what was looked up before an invalidation is not installed after it. */
static void stale_lookup_is_dropped(void **state)
{
	struct late late;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	late_slot(&late, &vm);
	load(&vm, 0);
	late.meanwhile = replace_page;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	assert_false(mapped(&vm, 0, GPA));
	assert_int_equal(late.released, 1);
	assert_int_equal(late.unmapped, 1);
	late.meanwhile = NULL;
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, SLOT_PA + GIB);
	assert_int_equal(late.unmapped, 1);
	vm_down(&vm);
}

/* F08: while one runs nothing that it covers is installed; what it does not cover is. */
static void running_invalidation_holds_off(void **state)
{
	struct tdp_range first = range_of(GPA + 2 * TEST_PAGE, 2 * TEST_PAGE);
	struct tdp_range second = range_of(GPA + 3 * TEST_PAGE, 3 * TEST_PAGE);
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	add_slot(&vm, 0, GPA, 16 * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	load(&vm, 0);
	assert_int_equal(tdp_invalidate_begin(vm.mm, first), TDP_OK);
	assert_int_equal(tdp_invalidate_begin(vm.mm, second), TDP_OK);
	for (uint64_t page = 0; page < 16; page++) {
		bool held = page >= 2 && page < 6;

		assert_int_equal(fault(&vm, 0, GPA + page * TEST_PAGE, TDP_W),
				 held ? TDP_FAULT_RETRY : TDP_FAULT_FIXED);
		assert_int_equal(mapped(&vm, 0, GPA + page * TEST_PAGE), !held);
	}
	assert_int_equal(tdp_invalidate_end(vm.mm, first), TDP_OK);
	assert_int_equal(fault(&vm, 0, second.start, TDP_W), TDP_FAULT_RETRY);
	assert_int_equal(tdp_invalidate_end(vm.mm, second), TDP_OK);
	assert_int_equal(fault(&vm, 0, second.start, TDP_W), TDP_FAULT_FIXED);
	vm_down(&vm);
}

static void task_move(struct test_vm *vm, struct task *task)
{
	uint32_t id;

	task->status = tdp_slot_find(vm->mm, 0, GPA, &id, NULL);
	if (task->status == TDP_OK)
		task->status = tdp_slot_move(vm->mm, id, 2 * GPA);
}

static void wait_until_gone(struct test_vm *vm, void *arg)
{
	struct late *late = arg;

	task_start(&late->move, vm, task_move);
	while (tdp_slot_find(vm->mm, 0, GPA, NULL, NULL) == TDP_OK)
		nap();
}

/* The move waits for this look-up, so the slot is nowhere; another vCPU comes to both of its places. */
static void fault_meanwhile(struct test_vm *vm, void *arg)
{
	static const tdp_gpa_t places[] = {GPA, 2 * GPA};

	wait_until_gone(vm, arg);
	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		struct tdp_fault f = {.size = sizeof(f), .gpa = places[i], .access = TDP_W};

		if (tdp_fault(vm->cpu[1].vcpu, &f, NULL) != TDP_FAULT_RETRY)
			abort();
	}
}

/* F17: while a slot is between two places, neither is MMIO. */
static void nowhere_is_not_mmio(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct late late;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	late_slot(&late, &vm);
	load(&vm, 0);
	load(&vm, 1);
	late.meanwhile = fault_meanwhile;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	late.meanwhile = NULL;
	assert_int_equal(task_join(&late.move), TDP_OK);
	assert_int_equal(stats_of(&vm).mmio, 0);
	stopped(&vm, 1, GPA, TDP_W, TDP_FAULT_MMIO);
	assert_int_equal(use(&vm, 1, 2 * GPA, TDP_W).pa, SLOT_PA);
	vm_down(&vm);
}

/*
 * F17: a slot that moves under a fault: nothing is mapped at the old place, nothing taken for
 * MMIO.
 */
static void slot_moves_under_a_fault(void **state)
{
	struct late late;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	late_slot(&late, &vm);
	load(&vm, 0);
	late.meanwhile = wait_until_gone;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	late.meanwhile = NULL;
	assert_int_equal(task_join(&late.move), TDP_OK);
	assert_int_equal(late.unmapped, 1);
	assert_int_equal(stats_of(&vm).mmio, 0);
	assert_int_equal(leaves_of(&vm), 0);
	assert_int_equal(use(&vm, 0, 2 * GPA, TDP_W).pa, SLOT_PA);
	stopped(&vm, 0, GPA, TDP_W, TDP_FAULT_MMIO);
	vm_down(&vm);
}

/* ---- teardown -------------------------------------------------------------------------------- */

static void task_reclaim(struct test_vm *vm, struct task *task)
{
	while ((task->status = tdp_roots_reclaim(vm->mm, 1)) == 1)
		;
}

/* Z12: several tear one tree down while its last user lets go: each table is freed once. */
static void teardown_beside_teardown(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct task reclaim[4];
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, 0, 64 * block_of(&vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint32_t round = 0; round < 60; round++) {
		/* Large ones, for who frees what; small ones, for who comes to the end first. */
		for (uint64_t i = 0; i < (round % 8 ? 1 : 64); i++)
			use(&vm, round % 2, i * block_of(&vm), TDP_W);
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		for (size_t i = 0; i < ARRAY_LEN(reclaim); i++)
			task_start(&reclaim[i], &vm, task_reclaim);
		/* The vCPU's reference goes at the same time. */
		load(&vm, round % 2);
		for (size_t i = 0; i < ARRAY_LEN(reclaim); i++)
			assert_int_equal(task_join(&reclaim[i]), 0);
		load(&vm, 0);
		load(&vm, 1);
		assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		test_rcu_run();
		assert_int_equal(stats_of(&vm).roots_invalid, 0);
		assert_int_equal(leaves_of(&vm), 0);
	}
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(faults_beside_each_other),
		TEST_CASE_IF(frozen_is_waited_for, breaks),
		TEST_CASE_IF(aging_waits_for_nobody, breaks),
		TEST_CASE(stale_lookup_is_dropped),
		TEST_CASE(running_invalidation_holds_off),
		TEST_CASE(slot_moves_under_a_fault),
		TEST_CASE(nowhere_is_not_mmio),
		TEST_CASE(teardown_beside_teardown),
	};

	return test_run("interleave", cases, ARRAY_LEN(cases));
}

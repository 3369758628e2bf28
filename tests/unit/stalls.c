/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long faults waited for somebody else. The clock is the test's, and moves only while they wait.
 */
#include "steps.h"

#include "mm/counts.h"
#include "mm/table.h"

#define RAM (64 * TEST_PAGE)

static uint64_t clock_now;
static uint32_t *held;
static unsigned relaxed;

static uint64_t now(void *priv)
{
	(void)priv;
	return clock_now;
}

/* Whoever holds the lock drops it at last. */
static void relax(void *priv)
{
	(void)priv;
	clock_now += 5000;
	if (++relaxed == 3 && held)
		__atomic_store_n(held, 0, __ATOMIC_RELEASE);
}

static void with_clock(struct tdp_env *env)
{
	clock_now = UINT64_C(1) << 40;
	relaxed = 0;
	held = NULL;
	env->now = now;
	env->relax = relax;
	env->wait = NULL;
	env->wake = NULL;
}

static void with_relax_only(struct tdp_env *env)
{
	with_clock(env);
	env->now = NULL;
}

static uint64_t stalls_of(const struct test_vm *vm)
{
	struct tdp_stats stats = stats_of(vm);
	uint64_t n = 0;

	for (unsigned i = 0; i < TDP_STALL_BUCKETS; i++)
		n += stats.stalls[i];
	return n;
}

static int last_table(void *arg, const struct tdp_visit *v)
{
	*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static struct tdpi_table *table_over(struct test_vm *vm, tdp_gpa_t gpa)
{
	tdp_pa_t pa = 0;

	assert_int_equal(
		tdp_walk(vm->mm, 0, range_of(gpa, TEST_PAGE), TDP_WALK_TABLE_PRE, last_table, &pa),
		TDP_OK);
	return tdpi_table_at(vm->mm, pa);
}

static void a_held_lock(void **state, void (*host)(struct tdp_env *env), uint64_t wanted)
{
	struct test_vm_options opts = {.host = host};
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	add_slot(&vm, 0, 0, RAM, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (tdp_gpa_t gpa = 0; gpa < 3 * TEST_PAGE; gpa += TEST_PAGE)
		use(&vm, 0, gpa, TDP_W);
	assert_int_equal(stalls_of(&vm), 0); /* nobody was in the way */
	held = &table_over(&vm, 0)->lock;
	__atomic_store_n(held, 1, __ATOMIC_RELAXED);
	assert_int_equal(fault(&vm, 0, 3 * TEST_PAGE, TDP_R), TDP_FAULT_FIXED);
	assert_int_equal(relaxed, 3);
	assert_int_equal(stalls_of(&vm), wanted);
	/* 15000 ns: from 2^13 on. */
	assert_int_equal(stats_of(&vm).stalls[13], wanted);
	vm_down(&vm);
}

static void waiting_for_a_lock_is_counted(void **state)
{
	a_held_lock(state, with_clock, 1);
}

static void without_a_clock_nothing_is(void **state)
{
	a_held_lock(state, with_relax_only, 0);
}

/* ---- a flush that is owed ---- */

static void fill_the_gap(struct test_vm *vm, void *arg)
{
	(void)arg;
	if (test_vm_touch(vm, 1, 0, TDP_W) != 0)
		test_violation(&vm->env, "the second vCPU's access failed");
}

static void slow_flush(struct spy *spy, struct tdp_range range)
{
	unsigned *depth = spy->arg;

	(void)range;
	if ((*depth)++ == 0)
		run_aside(&spy->vm, fill_the_gap, NULL);
	else
		clock_now += 100000;
}

/* A zap has taken the entry away and not flushed; who fills it flushes first, and that took its time. */
static void flushing_for_others_is_counted(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .host = with_clock};
	struct spy spy = {.on_flush = NULL};
	unsigned depth = 0;

	spy_up(&spy, state, &opts);
	add_slot(&spy.vm, 0, 0, RAM, SLOT_PA, TDP_SLOT_FORCE_4K);
	use(&spy.vm, 0, 0, TDP_W);
	use(&spy.vm, 1, TEST_PAGE, TDP_W);
	spy.arg = &depth;
	spy.on_flush = slow_flush;
	assert_int_equal(tdp_zap(spy.vm.mm, 0, range_of(0, TEST_PAGE), 0), TDP_OK);
	spy.on_flush = NULL;
	assert_true(depth >= 2);
	assert_int_equal(stats_of(&spy.vm).stalls[16], 1);
	assert_int_equal(stalls_of(&spy.vm), 1);
	vm_down(&spy.vm);
}

/* The longest ones go into the last bucket; a wait in which the clock does not move into the first. */
static void buckets_have_ends(void **state)
{
	struct test_vm_options opts = {.host = with_clock};
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	tdpi_count_stall(vm.mm, clock_now);
	tdpi_count_stall(vm.mm, clock_now - 1);
	tdpi_count_stall(vm.mm, clock_now - 2);
	tdpi_count_stall(vm.mm, clock_now - (UINT64_C(1) << 31));
	tdpi_count_stall(vm.mm, clock_now - (UINT64_C(1) << 39));
	assert_int_equal(stats_of(&vm).stalls[0], 2);
	assert_int_equal(stats_of(&vm).stalls[1], 1);
	assert_int_equal(stats_of(&vm).stalls[TDP_STALL_BUCKETS - 1], 2);
	assert_int_equal(stalls_of(&vm), 5);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(waiting_for_a_lock_is_counted),
		TEST_CASE(without_a_clock_nothing_is),
		TEST_CASE(flushing_for_others_is_counted),
		TEST_CASE(buckets_have_ends),
	};

	return test_run("stalls", cases, ARRAY_LEN(cases));
}

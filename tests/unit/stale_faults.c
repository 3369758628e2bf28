/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults on what is being invalidated: given up before the backing is asked, before a lock is waited for, and at the
 * last moment under it.
 */
#include "steps.h"

#include "mm/table.h"

#define GPA GIB
#define PAGES 16u

static struct tdp_range page_at(unsigned n)
{
	return range_of(GPA + n * TEST_PAGE, TEST_PAGE);
}

static void machine(struct test_vm *vm, void **state, const struct test_vm_options *opts,
		    struct test_backing *mem)
{
	vm_up(vm, state, opts);
	add_backing(vm, mem, GPA, PAGES * TEST_PAGE, TDP_RWX, TDP_PAGE_LG2);
	mem->on_resolve_arg = vm;
	load(vm, 0);
	/* So that the table is there, and is not what a fault has to make first. */
	assert_int_equal(fault(vm, 0, page_at(PAGES - 1).start, TDP_W), TDP_FAULT_FIXED);
}

static void machine_off(struct test_vm *vm, struct test_backing *mem)
{
	test_backing_fini(mem);
	vm_down(vm);
}

/* F09: while an invalidation covers a page its backing is not asked, and the answer comes at once. */
static void covered_pages_are_not_looked_up(void **state)
{
	struct tdp_range page = page_at(2);
	struct test_backing mem;
	struct tdp_stats before;
	struct test_vm vm;

	machine(&vm, state, NULL, &mem);
	assert_int_equal(tdp_invalidate_begin(vm.mm, page), TDP_OK);
	before = stats_of(&vm);
	for (unsigned i = 1; i <= 3; i++) {
		assert_int_equal(fault(&vm, 0, page.start, TDP_W), TDP_FAULT_RETRY);
		assert_int_equal(stats_of(&vm).fault_prechecked, before.fault_prechecked + i);
	}
	assert_int_equal(stats_of(&vm).resolves, before.resolves);
	/* What lies beside it is nobody's concern. */
	assert_int_equal(fault(&vm, 0, page_at(1).start, TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(fault(&vm, 0, page_at(3).start, TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(stats_of(&vm).resolves, before.resolves + 2);
	assert_int_equal(tdp_invalidate_end(vm.mm, page), TDP_OK);
	assert_int_equal(fault(&vm, 0, page.start, TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(stats_of(&vm).fault_prechecked, before.fault_prechecked + 3);
	machine_off(&vm, &mem);
}

/* ---- before the lock ---- */

/* A table's lock that somebody else has; who comes to wait for it is counted, and gets it. */
static struct {
	uint32_t *lock;
	unsigned waits;
} taken;

static void drop_lock(void)
{
	__atomic_store_n(taken.lock, 0, __ATOMIC_RELEASE);
}

static void wait_for_taken(void *priv, const uint32_t *word, uint32_t value)
{
	(void)priv;
	(void)value;
	if (taken.waits++ == 0 && word == taken.lock)
		drop_lock();
}

static void wake_nobody(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word;
}

static void count_waits(struct tdp_env *env)
{
	env->wait = wait_for_taken;
	env->wake = wake_nobody;
}

static int note_lowest(void *arg, const struct tdp_visit *v)
{
	if (v->level == 1)
		*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static void take_lock(struct test_vm *vm)
{
	tdp_pa_t table = 0;

	if (tdp_walk(vm->mm, 0, page_at(0), TDP_WALK_TABLE_PRE, note_lowest, &table) || !table)
		abort();
	taken.lock = &tdpi_table_at(vm->mm, table)->lock;
	taken.waits = 0;
	__atomic_store_n(taken.lock, 1, __ATOMIC_RELAXED);
}

static void replace(struct test_vm *vm, void *arg)
{
	if (test_backing_discard(arg, vm->mm, 0, page_at(0)) != TDP_OK)
		abort();
}

static void replace_and_lock(struct test_vm *vm, void *arg)
{
	replace(vm, arg);
	take_lock(vm);
}

static void only_lock(struct test_vm *vm, void *arg)
{
	(void)arg;
	take_lock(vm);
}

static void (*meanwhile)(struct test_vm *vm, void *arg);

static void once_in_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)gpa;
	b->on_resolve = NULL;
	run_aside(b->on_resolve_arg, meanwhile, b);
}

/* F09: what was looked up before an invalidation is given up without waiting for the table that it was for. */
static void stale_lookups_wait_for_no_lock(void **state)
{
	struct test_vm_options opts = {.host = count_waits};
	struct test_backing mem;
	struct tdp_stats before;
	struct test_vm vm;

	machine(&vm, state, &opts, &mem);
	before = stats_of(&vm);
	meanwhile = replace_and_lock;
	mem.on_resolve = once_in_resolve;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	assert_int_equal(taken.waits, 0);
	drop_lock();
	assert_int_equal(stats_of(&vm).resolves, before.resolves + 1);
	assert_int_equal(stats_of(&vm).fault_prechecked, before.fault_prechecked + 1);
	assert_false(mapped(&vm, 0, GPA));
	/* What is not stale does wait. */
	meanwhile = only_lock;
	mem.on_resolve = once_in_resolve;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(taken.waits, 1);
	assert_int_equal(stats_of(&vm).fault_prechecked, before.fault_prechecked + 1);
	machine_off(&vm, &mem);
}

/* ---- under the lock ---- */

/* Memory that is replaced at the next step of a walk from table to table. */
static struct {
	void *(*hook)(void *priv, tdp_pa_t pa);
	struct test_backing *mem; /* NULL: not now */
} at_step;

static void *replace_at_step(void *priv, tdp_pa_t pa)
{
	struct test_backing *mem = at_step.mem;

	at_step.mem = NULL;
	if (mem)
		run_aside(mem->on_resolve_arg, replace, mem);
	return at_step.hook(priv, pa);
}

static void spy_on_steps(struct tdp_env *env)
{
	at_step.hook = env->phys_to_virt;
	env->phys_to_virt = replace_at_step;
}

static void arm_in_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)gpa;
	b->on_resolve = NULL;
	at_step.mem = b;
}

/* F08: an invalidation that comes after every look without the lock. */
static void the_look_under_the_lock_decides(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_HOOKS, .host = spy_on_steps};
	struct test_backing mem;
	struct tdp_stats before;
	struct test_vm vm;

	machine(&vm, state, &opts, &mem);
	before = stats_of(&vm);
	mem.on_resolve = arm_in_resolve;
	assert_int_equal(fault(&vm, 0, GPA, TDP_W), TDP_FAULT_RETRY);
	assert_null(at_step.mem);
	assert_int_equal(stats_of(&vm).fault_prechecked, before.fault_prechecked);
	assert_int_equal(stats_of(&vm).resolves, before.resolves + 1);
	assert_false(mapped(&vm, 0, GPA));
	assert_int_equal(use(&vm, 0, GPA, TDP_W).pa, test_backing_pa(&mem, GPA));
	machine_off(&vm, &mem);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(covered_pages_are_not_looked_up),
		TEST_CASE(stale_lookups_wait_for_no_lock),
		TEST_CASE(the_look_under_the_lock_decides),
	};

	return test_run("stale_faults", cases, ARRAY_LEN(cases));
}

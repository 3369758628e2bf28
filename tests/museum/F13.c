/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F13, seL4 on AArch64 2018: a hardware identifier was given back first, and then the TLB was to be flushed by
 * it: the flush found no identifier and did nothing.
 *
 * Here the identifier is the root. Whenever a vCPU is taken off a root, because it is destroyed or goes to
 * another one, the walker must be told while that root's pages are still in use; with an RCU whose grace
 * periods take no time, one step too early and they are gone.
 */
#include "flush.h"

static tdp_pa_t root_of[TEST_CPUS_MAX];
static unsigned told, too_late;
static bool gone[TEST_CPUS_MAX];
static void (*table_state)(void *priv, void *va, uint64_t size, int in_use);

static void freed(void *priv, void *va, uint64_t size, int in_use)
{
	table_state(priv, va, size, in_use);
	for (unsigned cpu = 0; cpu < TEST_CPUS_MAX; cpu++)
		if (!in_use && root_of[cpu] == (tdp_pa_t)(uintptr_t)va)
			gone[cpu] = true;
}

static void loaded(unsigned cpu, const struct tdp_root_view *root)
{
	told++;
	too_late += root_of[cpu] && gone[cpu];
	root_of[cpu] = root ? root->pa : 0;
	gone[cpu] = false;
}

static void host(struct tdp_env *env)
{
	table_state = env->table_state;
	env->table_state = freed;
}

static struct test_vm *watched_roots(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .rcu = &tdp_rcu_single, .host = host};
	struct test_vm *vm;

	memset(root_of, 0, sizeof(root_of));
	memset(gone, 0, sizeof(gone));
	vm = spied_vm(state, &opts, NULL);
	mm_down(vm);
	told = too_late = 0;
	spy.on_load = loaded;
	mm_up(vm);
	assert_int_equal(test_vm_slot(vm, 0, GPA, 4 * TEST_PAGE, PA, 0, NULL), TDP_OK);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		touch_linear(vm, cpu, GPA, TDP_W);
	return vm;
}

/* The vCPUs hold the last references of a root that is torn down. */
static void last_holders(struct test_vm *vm)
{
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
	assert_false(gone[0] || gone[1]);
	told = 0;
}

static void vcpu_is_destroyed(void **state)
{
	struct test_vm *vm = watched_roots(state);

	last_holders(vm);
	mm_down(vm);
	assert_int_equal(told, 2);
	assert_int_equal(too_late, 0);
	mm_up(vm);
	close_vm(vm);
}

static void vcpu_goes_elsewhere(void **state)
{
	struct test_vm *vm = watched_roots(state);

	last_holders(vm);
	for (unsigned cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[cpu].vcpu, cpu), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[cpu].vcpu), TDP_OK);
	}
	assert_int_equal(told, 2);
	assert_int_equal(too_late, 0);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(vcpu_is_destroyed),
						 TEST_CASE(vcpu_goes_elsewhere)};

	return test_run("museum/F13", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Roots that are invalid: at once for all, out of the way of most, torn down in steps (rows R
 * of FEATURES.md).
 */
#include "machine.h"

#include "engine/engine.h"
#include "mm/root.h"

#define RAM (4 * MIB)

/* One table per page, all over a few tables: RAM at 0, mapped small, touched by CPU 0. */
static void map_ram(struct test_vm *vm, uint32_t as_id, tdp_pa_t pa)
{
	assert_int_equal(test_vm_slot(vm, as_id, 0, RAM, pa, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(tdp_populate(vm->mm, as_id, range_of(0, RAM), TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
}

/* What one root holds, be it valid or not: the public walk only goes through valid ones. */
struct contents {
	struct tdp_visit visits[RAM / TEST_PAGE];
	size_t count;
};

static int note_visit(void *arg, const struct tdp_visit *visit)
{
	struct contents *c = arg;

	if (c->count == ARRAY_LEN(c->visits))
		return TDP_ENOSPC;
	c->visits[c->count++] = *visit;
	return 0;
}

static struct contents *contents_of(const struct test_vm *vm, struct tdp_root *root)
{
	struct contents *c = calloc(1, sizeof(*c));
	struct tdpi_span all = {0, test_vm_size(vm) >> TDP_PAGE_LG2};

	assert_non_null(c);
	tdpi_rcu_lock(vm->mm);
	assert_int_equal(vm->mm->engine->walk(vm->mm, root, all, TDP_WALK_LEAF, note_visit, c), 0);
	tdpi_rcu_unlock(vm->mm);
	return c;
}

/* ---- invalidation ---- */

static void invalidate_costs_roots_not_mappings(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_emu_exit ex;
	struct test_vm vm;
	struct tdp_root *old, *fresh;
	uint64_t tables, asked;

	vm_up(&vm, state, &opts);
	map_ram(&vm, 0, SLOT_PA);
	old = root_of(&vm, 0);
	for (uint32_t cpu = 0; cpu < 2; cpu++)
		assert_int_equal(test_vm_touch(&vm, cpu, 0x7000, TDP_W), 0);
	tables = tables_of(&vm);
	asked = atomic_load(&vm.env.yield_asked);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tables_of(&vm), tables); /* not one was visited or freed */
	assert_int_equal(atomic_load(&vm.env.yield_asked), asked);
	assert_int_equal(tdp_emu_cached(vm.emu, 0, RAM), 0);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(tdp_emu_access(vm.cpu[cpu].emu, 0x7000, TDP_W, &ex),
				 TDP_EMU_RELOAD);
		assert_int_equal(tdp_vcpu_load(vm.cpu[cpu].vcpu), TDP_OK);
	}
	fresh = root_of(&vm, 0);
	assert_ptr_not_equal(fresh, old);
	assert_true(view_of(&vm, fresh).generation != view_of(&vm, old).generation);
	assert_int_equal(translate(&vm, 0, 0x7000, NULL), TDP_ENOENT);
	assert_int_equal(tdp_root_put(vm.mm, fresh), 0);
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	vm_down(&vm);
}

static void invalid_is_no_part_of_the_role(void **state)
{
	struct test_vm vm;
	struct tdp_root *old, *fresh;
	tdp_role_t role;

	vm_up(&vm, state, NULL);
	old = root_of(&vm, 0);
	role = old->role;
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(old->role, role);
	fresh = root_of(&vm, 0);
	assert_int_equal(fresh->role, role);
	assert_ptr_not_equal(fresh, old);
	assert_true(tdp_root_is_invalid(old));
	assert_false(tdp_root_is_invalid(fresh));
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	assert_int_equal(tdp_root_put(vm.mm, fresh), 0);
	vm_down(&vm);
}

static void invalid_roots_are_left_alone(void **state)
{
	struct test_vm vm;
	struct tdp_root *old;
	struct contents *before, *after;
	struct tdp_range all = {0, RAM};
	uint64_t young = 1, made = 1;

	vm_up(&vm, state, NULL);
	map_ram(&vm, 0, SLOT_PA);
	old = root_of(&vm, 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	before = contents_of(&vm, old);
	assert_int_equal(before->count, RAM / TEST_PAGE);
	assert_int_equal(tdp_age(vm.mm, TDP_AS_ALL, all, &young), 0);
	assert_int_equal(young, 0);
	assert_int_equal(tdp_test_age(vm.mm, TDP_AS_ALL, all), 0);
	assert_int_equal(tdp_write_protect(vm.mm, TDP_AS_ALL, all), TDP_OK);
	assert_int_equal(tdp_split(vm.mm, TDP_AS_ALL, all, TDP_PAGE_LG2), TDP_OK);
	assert_int_equal(tdp_collapse(vm.mm, TDP_AS_ALL, all, 0, &made), TDP_OK);
	assert_int_equal(made, 0);
	assert_int_equal(tdp_compact(vm.mm, TDP_AS_ALL, all), 0);
	after = contents_of(&vm, old);
	assert_memory_equal(before, after, sizeof(*before));
	free(before);
	free(after);
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	vm_down(&vm);
}

static void zap_reaches_invalid_roots(void **state)
{
	struct test_vm vm;
	struct tdp_root *old;
	struct contents *c;

	vm_up(&vm, state, NULL);
	map_ram(&vm, 0, SLOT_PA);
	old = root_of(&vm, 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(MIB, MIB), 0), TDP_OK);
	c = contents_of(&vm, old);
	assert_int_equal(c->count, (RAM - MIB) / TEST_PAGE);
	for (size_t i = 0; i < c->count; i++)
		assert_true(c->visits[i].gpa < MIB || c->visits[i].gpa >= 2 * MIB);
	free(c);
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	vm_down(&vm);
}

static void zap_beside_a_teardown(void **state)
{
	struct test_vm vm;
	struct tdp_root *old;
	struct contents *c;
	int more;

	vm_up(&vm, state, NULL);
	map_ram(&vm, 0, SLOT_PA);
	/* In the far half too, so that one step does not do it all. */
	assert_int_equal(test_vm_slot(&vm, 0, test_vm_size(&vm) / 2, MIB, SLOT_PA + RAM,
				      TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(test_vm_size(&vm) / 2, MIB), 0, NULL),
			 TDP_OK);
	old = root_of(&vm, 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	more = tdp_roots_reclaim(vm.mm, 1);
	assert_int_equal(more, 1);
	c = contents_of(&vm, old);
	assert_true(c->count > 0);
	free(c);
	/* Half torn down it can still be found, so its memory can still be taken away. */
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	c = contents_of(&vm, old);
	assert_int_equal(c->count, 0);
	free(c);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(tdp_root_put(vm.mm, old), 1);
	vm_down(&vm);
}

static void reclaim_is_quiet(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm vm;
	uint64_t flushes, rounds = 0;

	vm_up(&vm, state, &opts);
	map_ram(&vm, 0, SLOT_PA);
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_W), 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	flushes = flushes_of(&vm);
	while (tdp_roots_reclaim(vm.mm, 1) == 1) {
		/* The new root works meanwhile. */
		assert_int_equal(test_vm_touch(&vm, 1, (rounds % 16) * TEST_PAGE, TDP_W), 0);
		assert_true(rounds++ < 10000);
	}
	assert_int_equal(stats_of(&vm).roots_invalid, 1); /* CPU 0 has not come by yet */
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_W), 0);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(stats_of(&vm).roots_invalid, 0);
	assert_int_equal(flushes_of(&vm), flushes + stats_of(&vm).flush_cause[TDP_FLUSH_LOCAL]);
	vm_down(&vm);
}

static void invalidate_aside(struct test_vm *vm, void *arg)
{
	(void)arg;
	if (tdp_roots_invalidate(vm->mm) != TDP_OK)
		test_violation(&vm->env, "invalidate failed");
}

static void invalidate_in_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)gpa;
	run_aside(b->on_resolve_arg, invalidate_aside, NULL);
}

static void faults_on_an_invalid_root_retry(void **state)
{
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct test_vm vm;
	struct tdp_root *old;
	struct contents *c;
	uint32_t id;

	vm_up(&vm, state, NULL);
	assert_int_equal(test_backing_init(&b, &vm.env, 0, MIB, SLOT_PA, 0, TDP_PAGE_LG2), TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	old = root_of(&vm, 0);
	/* Invalid since it was loaded. */
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(fault(&vm, 0, 0x4000, TDP_W), TDP_FAULT_RETRY);
	assert_int_equal(b.resolves_ok, 0);
	c = contents_of(&vm, old);
	assert_int_equal(c->count, 0);
	free(c);
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	/* Invalid since its page was looked up. */
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	old = root_of(&vm, 0);
	b.on_resolve = invalidate_in_resolve;
	b.on_resolve_arg = &vm;
	assert_int_equal(fault(&vm, 0, 0x4000, TDP_W), TDP_FAULT_RETRY);
	b.on_resolve = NULL;
	assert_int_equal(b.resolves_ok, 1);
	c = contents_of(&vm, old);
	assert_int_equal(c->count, 0);
	free(c);
	assert_int_equal(tdp_root_put(vm.mm, old), 0);
	assert_int_equal(test_vm_touch(&vm, 0, 0x4000, TDP_W), 0);
	assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
	test_backing_fini(&b);
	vm_down(&vm);
}

/* ---- the root of a walk that is away ---- */

struct away {
	struct test_vm *vm;
	tdp_gpa_t first, second; /* huge pages */
	unsigned stage;
	bool busy;
};

/* First another huge page comes; once the first one is split, and tables for that one are fetched, the root goes. */
static void while_away(struct test_vm *vm, void *arg)
{
	struct away *a = arg;
	struct tdp_mapping leaf;

	if (a->stage == 0) {
		if (test_vm_access(vm, 0, a->second, TDP_W, NULL) == TEST_OK)
			a->stage = 1;
	} else if (a->stage == 1 && translate(vm, 0, a->first, &leaf) == TDP_OK &&
		   leaf.lg2 == TDP_PAGE_LG2) {
		a->stage = 2;
		if (tdp_roots_invalidate(vm->mm) != TDP_OK ||
		    tdp_vcpu_load(vm->cpu[0].vcpu) != TDP_OK || tdp_roots_reclaim(vm->mm, 0) < 0)
			a->stage = 3;
		test_rcu_run();
	}
}

static void at_alloc(void *arg)
{
	struct away *a = arg;

	if (a->busy)
		return;
	a->busy = true;
	run_aside(a->vm, while_away, a);
	a->busy = false;
}

static void a_split_away_keeps_its_root(void **state)
{
	struct test_vm vm;
	struct away a = {.vm = &vm};
	uint64_t huge;

	vm_up(&vm, state, NULL);
	huge = (uint64_t)1 << huge_lg2(&vm);
	a.first = huge;
	a.second = 2 * huge;
	assert_int_equal(test_vm_slot(&vm, 0, huge, 2 * huge, huge, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_access(&vm, 0, a.first, TDP_W, NULL), TEST_OK);
	vm.env.on_alloc = at_alloc;
	vm.env.on_alloc_arg = &a;
	assert_int_equal(tdp_split(vm.mm, 0, range_of(huge, 2 * huge), TDP_PAGE_LG2), TDP_OK);
	vm.env.on_alloc = NULL;
	assert_int_equal(a.stage, 2);
	assert_int_equal(test_vm_check(&vm), 0);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(invalidate_costs_roots_not_mappings),
		TEST_CASE(invalid_is_no_part_of_the_role),
		TEST_CASE(invalid_roots_are_left_alone),
		TEST_CASE(zap_reaches_invalid_roots),
		TEST_CASE(zap_beside_a_teardown),
		TEST_CASE(reclaim_is_quiet),
		TEST_CASE(faults_on_an_invalid_root_retry),
		TEST_CASE(a_split_away_keeps_its_root),
	};

	return test_run("roots_invalid", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F21, OpenBSD vmm and KVM RISC-V 2022: a vCPU moved to another CPU, where translations of an earlier stay were
 * still cached: the flush that should have dropped them had gone only to CPUs that were running the VM.
 *
 * Here the walker flushes just those CPUs that have a root loaded, which is all that is asked of it. A CPU
 * that had a vCPU once and gets another one later must not answer with what it remembers. And with a walker that
 * flushes a vCPU only when it enters the guest the next time, one that slept through few or many flushes must
 * have caught up with all of them by its first access.
 */
#include "flush.h"

#include <tdp/gate.h>

#define PAGES 4u

static void flush_running(void *ctx, struct tdp_range range)
{
	for (unsigned cpu = 0; cpu < spy.vm->cpus; cpu++)
		if (spy.loaded[cpu])
			tdp_emu_backend.flush_vcpu(ctx, spy.vm->cpu[cpu].emu, range);
}

static void flush_all_running(void *ctx)
{
	flush_running(ctx, museum_range(0, test_vm_size(spy.vm)));
}

/* Idle CPUs keep what they have. */
static void reload_running(void *ctx)
{
	for (unsigned cpu = 0; cpu < spy.vm->cpus; cpu++) {
		if (!spy.loaded[cpu])
			continue;
		tdp_emu_backend.flush_vcpu(ctx, spy.vm->cpu[cpu].emu,
					   museum_range(0, test_vm_size(spy.vm)));
		tdp_emu_backend.root_load(ctx, spy.vm->cpu[cpu].emu, NULL);
		spy.loaded[cpu] = false;
	}
}

static void only_running(struct tdp_backend_ops *ops)
{
	ops->flush_range = flush_running;
	ops->flush_all = flush_all_running;
	ops->reload = reload_running;
}

static void sees(struct test_vm *vm, unsigned cpu, tdp_pa_t pa)
{
	for (unsigned page = 0; page < PAGES; page++)
		assert_int_equal(touch(vm, cpu, GPA + page * TEST_PAGE, TDP_W).pa,
				 pa + page * TEST_PAGE);
}

static void leaves(struct test_vm *vm, unsigned cpu)
{
	tdp_vcpu_destroy(vm->cpu[cpu].vcpu);
	vm->cpu[cpu].vcpu = NULL;
}

static void arrives(struct test_vm *vm, unsigned cpu)
{
	assert_int_equal(tdp_vcpu_create(vm->mm, vm->cpu[cpu].emu, &vm->cpu[cpu].vcpu), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm->cpu[cpu].vcpu), TDP_OK);
}

static void to_and_fro(void **state, bool all_roots)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm = spied_vm(state, &opts, only_running);
	uint32_t slot;

	assert_int_equal(test_vm_slot(vm, 0, GPA, PAGES * TEST_PAGE, PA, 0, &slot), TDP_OK);
	for (unsigned move = 0; move < 6; move++) {
		unsigned from = move & 1, to = !from;
		tdp_pa_t now = PA + ((tdp_pa_t)move << 30),
			 next = PA + ((tdp_pa_t)(move + 1) << 30);

		sees(vm, 0, now);
		sees(vm, 1, now);
		/* One goes to sleep; what the other one takes away, it still has cached. */
		leaves(vm, from);
		if (all_roots)
			assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
		assert_int_equal(tdp_slot_remove(vm->mm, slot), TDP_OK);
		assert_int_equal(test_vm_slot(vm, 0, GPA, PAGES * TEST_PAGE, next, 0, &slot),
				 TDP_OK);
		if (all_roots)
			assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
		sees(vm, to, next);
		/* It moves to where the sleeper was. */
		leaves(vm, to);
		arrives(vm, from);
		sees(vm, from, next);
		arrives(vm, to);
	}
	close_vm(vm);
}

static void a_moved_vcpu_sees_today(void **state)
{
	to_and_fro(state, false);
	to_and_fro(state, true);
}

/* ---- flushed on entry ---- */

static struct tdp_gate *gate;
static unsigned kicked;

/* Nobody is in the guest while the host of this test works. */
static void kick(void *ctx, uint32_t vcpu)
{
	(void)ctx;
	(void)vcpu;
	kicked++;
}

static void flush_later(void *ctx, struct tdp_range range)
{
	(void)ctx;
	assert_int_equal(tdp_gate_flush(gate, range, 0), TDP_OK);
}

static void flush_all_later(void *ctx)
{
	flush_later(ctx, museum_range(0, 0));
}

static void enters(struct test_vm *vm, unsigned cpu)
{
	struct tdp_gate_work work = {.size = (uint32_t)sizeof(work)};

	while (tdp_gate_enter(gate, cpu, &work) == 1) {
		if (work.what)
			work.range[work.count++] = museum_range(0, test_vm_size(vm));
		for (uint32_t i = 0; i < work.count; i++)
			tdp_emu_backend.flush_vcpu(vm->emu, vm->cpu[cpu].emu, work.range[i]);
		assert_int_equal(tdp_gate_done(gate, cpu, &work), TDP_OK);
	}
}

/* vCPU 1 sleeps through so many flushes. */
static void sleeps_through(void **state, unsigned flushes)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm *vm;
	uint64_t span;

	kicked = 0;
	vm = spied_vm(state, &opts, NULL);
	span = table_span(vm, 0);
	assert_int_equal(tdp_gate_create(&vm->env.env, 2, kick, NULL, &gate), TDP_OK);
	mm_down(vm);
	spy.ops.flush_range = flush_later;
	spy.ops.flush_all = flush_all_later;
	mm_up(vm);
	assert_int_equal(test_vm_slot(vm, 0, GPA, flushes * span, PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (unsigned cpu = 0; cpu < 2; cpu++)
		for (unsigned i = 0; i < flushes; i++) {
			enters(vm, cpu);
			touch_linear(vm, cpu, GPA + i * span, TDP_W);
			assert_int_equal(tdp_gate_leave(gate, cpu), TDP_OK);
		}
	for (unsigned i = 0; i < flushes; i++) {
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA + i * span, TEST_PAGE), 0),
				 TDP_OK);
		enters(vm, 0);
		assert_int_equal(
			stale_accesses(vm, range_of(GPA + i * span, TEST_PAGE), TEST_PAGE) > 0,
			1); /* of vCPU 1, which is not in the guest */
		assert_int_equal(tdp_gate_leave(gate, 0), TDP_OK);
	}
	enters(vm, 1);
	for (unsigned i = 0; i < flushes; i++)
		assert_int_not_equal(raw(vm, 1, GPA + i * span, TDP_R, NULL), TDP_EMU_OK);
	assert_int_equal(tdp_gate_leave(gate, 1), TDP_OK);
	assert_int_equal(kicked, 0);
	tdp_gate_destroy(gate);
	gate = NULL;
	close_vm(vm);
}

static void a_sleeper_catches_up(void **state)
{
	sleeps_through(state, 3);
	sleeps_through(state, TDP_GATE_RANGES);
	sleeps_through(state, 2 * TDP_GATE_RANGES + 1);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(a_moved_vcpu_sees_today),
						 TEST_CASE(a_sleeper_catches_up)};

	return test_run("museum/F21", cases, ARRAY_LEN(cases));
}

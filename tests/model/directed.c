/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sequences that random operations meet too seldom, each one a promise that two features have to
 * keep together: aging and write protection, dirty bits and everything that takes leaves away.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <string.h>

#define PA ((uint64_t)1 << 47)
#define GPA ((uint64_t)1 << 30)
#define PAGES 4u

static const struct tdp_range pages = {GPA, PAGES *TDP_PAGE_SIZE};

static uint32_t open_vm(struct test_vm *vm, const struct test_format *fmt)
{
	struct test_vm_options opts = {.cpus = 2};
	uint32_t id;

	assert_int_equal(test_vm_init(vm, fmt, &opts), TDP_OK);
	assert_int_equal(test_vm_slot(vm, 0, GPA, PAGES * TEST_PAGE, PA, 0, &id), TDP_OK);
	return id;
}

static void close_vm(struct test_vm *vm)
{
	assert_int_equal(test_vm_check(vm), 0);
	assert_int_equal(test_vm_fini(vm), 0);
}

static uint32_t write_faults(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa)
{
	struct test_access a;

	assert_int_equal(test_vm_access(vm, cpu, gpa, TDP_W, &a), TEST_OK);
	return a.faults;
}

static uint64_t harvest(struct test_vm *vm, uint32_t slot)
{
	uint64_t bits = 0;

	assert_int_equal(tdp_dirty_harvest(vm->mm, slot, 0, &bits, 1), TDP_OK);
	return bits;
}

/* The modes that this machine has. */
static uint32_t modes(const struct test_vm *vm, uint32_t list[2])
{
	list[0] = TDP_LOG_WRPROT;
	list[1] = TDP_LOG_DBIT;
	return vm->info.ad & 2 ? 2 : 1;
}

/* Aging flushes nothing, and may drop W: what comes after must not take that for flushed. */
static void aged_then_protected(void **state)
{
	struct test_vm vm;

	open_vm(&vm, *state);
	write_faults(&vm, 0, GPA);
	assert_int_equal(write_faults(&vm, 0, GPA), 0);
	assert_int_equal(tdp_age(vm.mm, 0, pages, NULL), 1);
	assert_int_equal(tdp_write_protect(vm.mm, 0, pages), TDP_OK);
	assert_int_not_equal(write_faults(&vm, 0, GPA), 0);
	close_vm(&vm);
}

static void aged_read_then_protected(void **state)
{
	struct test_vm vm;

	open_vm(&vm, *state);
	write_faults(&vm, 0, GPA);
	assert_int_equal(tdp_age(vm.mm, 0, pages, NULL), 1);
	/* The other vCPU makes it young again, with R alone. */
	assert_int_equal(test_vm_touch(&vm, 1, GPA, TDP_R), 0);
	assert_int_equal(tdp_write_protect(vm.mm, 0, pages), TDP_OK);
	assert_int_not_equal(write_faults(&vm, 0, GPA), 0);
	close_vm(&vm);
}

static void aged_then_tracked(void **state)
{
	struct test_vm vm;
	struct test_access a;

	open_vm(&vm, *state);
	write_faults(&vm, 0, GPA);
	assert_int_equal(tdp_age(vm.mm, 0, pages, NULL), 1);
	assert_int_equal(tdp_write_track(vm.mm, 0, pages, true), TDP_OK);
	assert_int_equal(test_vm_access(&vm, 0, GPA, TDP_W, &a), TEST_OUTCOME);
	assert_int_equal(a.outcome, TDP_FAULT_TRACKED);
	close_vm(&vm);
}

static void aged_then_logged(void **state)
{
	struct test_vm vm;
	uint32_t slot, list[2], i, n;

	slot = open_vm(&vm, *state);
	n = modes(&vm, list);
	for (i = 0; i < n; i++) {
		write_faults(&vm, 0, GPA);
		assert_int_equal(tdp_age(vm.mm, 0, pages, NULL), 1);
		assert_int_equal(tdp_dirty_log(vm.mm, slot, list[i]), TDP_OK);
		write_faults(&vm, 0, GPA);
		assert_int_equal(harvest(&vm, slot), 1);
		/* The same with the log running. */
		write_faults(&vm, 0, GPA + TEST_PAGE);
		assert_int_equal(tdp_age(vm.mm, 0, pages, NULL), 1);
		assert_int_equal(harvest(&vm, slot), 2);
		write_faults(&vm, 0, GPA + TEST_PAGE);
		assert_int_equal(harvest(&vm, slot), 2);
		assert_int_equal(harvest(&vm, slot), 0);
		assert_int_equal(tdp_dirty_log(vm.mm, slot, TDP_LOG_OFF), TDP_OK);
	}
	close_vm(&vm);
}

/* ---- dirty bits outlive what held them --------------------------------------------------------- */

static void take_zap(struct test_vm *vm)
{
	assert_int_equal(tdp_zap(vm->mm, 0, pages, 0), TDP_OK);
}

static void take_roots(struct test_vm *vm)
{
	assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
}

static void take_roots_and_reclaim(struct test_vm *vm)
{
	take_roots(vm);
	assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
}

static int lowest_table(void *arg, const struct tdp_visit *v)
{
	*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static void take_table(struct test_vm *vm)
{
	tdp_pa_t table = 0;

	assert_int_equal(tdp_walk(vm->mm, 0, pages, TDP_WALK_TABLE_PRE, lowest_table, &table),
			 TDP_OK);
	assert_int_not_equal(table, 0);
	assert_int_equal(tdp_zap_table(vm->mm, table), TDP_OK);
}

static void take_age(struct test_vm *vm)
{
	assert_true(tdp_age(vm->mm, 0, pages, NULL) >= 0);
}

static void take_protect(struct test_vm *vm)
{
	assert_int_equal(tdp_write_protect(vm->mm, 0, pages), TDP_OK);
}

static void take_track(struct test_vm *vm)
{
	assert_int_equal(tdp_write_track(vm->mm, 0, pages, true), TDP_OK);
	assert_int_equal(tdp_write_track(vm->mm, 0, pages, false), TDP_OK);
}

static void take_nothing(struct test_vm *vm)
{
	(void)vm;
}

static void dirty_survives(void **state)
{
	static void (*const takes[])(struct test_vm * vm) = {
		take_nothing,           take_zap, take_table,   take_roots,
		take_roots_and_reclaim, take_age, take_protect, take_track,
	};
	struct test_vm vm;
	uint32_t slot, list[2], i, n;
	size_t k;

	slot = open_vm(&vm, *state);
	n = modes(&vm, list);
	for (i = 0; i < n; i++) {
		assert_int_equal(tdp_dirty_log(vm.mm, slot, list[i]), TDP_OK);
		for (k = 0; k < ARRAY_LEN(takes); k++) {
			uint64_t bits;

			write_faults(&vm, 0, GPA + TEST_PAGE);
			assert_int_equal(test_vm_touch(&vm, 0, GPA, TDP_R), 0);
			takes[k](&vm);
			bits = harvest(&vm, slot);
			if (bits != 2)
				fail_msg("mode %u, way %zu: %#llx", list[i], k,
					 (unsigned long long)bits);
			assert_int_equal(harvest(&vm, slot), 0);
		}
		assert_int_equal(tdp_dirty_log(vm.mm, slot, TDP_LOG_OFF), TDP_OK);
	}
	close_vm(&vm);
}

static void dirty_moves_along(void **state)
{
	struct test_vm vm;
	uint32_t slot, list[2], i, n;
	tdp_gpa_t gpa = GPA;

	slot = open_vm(&vm, *state);
	n = modes(&vm, list);
	for (i = 0; i < n; i++) {
		assert_int_equal(tdp_dirty_log(vm.mm, slot, list[i]), TDP_OK);
		write_faults(&vm, 0, gpa + 2 * TEST_PAGE);
		gpa = gpa == GPA ? GPA / 2 : GPA;
		assert_int_equal(tdp_slot_move(vm.mm, slot, gpa), TDP_OK);
		write_faults(&vm, 0, gpa);
		assert_int_equal(harvest(&vm, slot), 5);
		assert_int_equal(tdp_dirty_log(vm.mm, slot, TDP_LOG_OFF), TDP_OK);
	}
	close_vm(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(aged_then_protected), TEST_CASE(aged_read_then_protected),
		TEST_CASE(aged_then_tracked),   TEST_CASE(aged_then_logged),
		TEST_CASE(dirty_survives),      TEST_CASE(dirty_moves_along),
	};

	return test_run("directed", cases, ARRAY_LEN(cases));
}

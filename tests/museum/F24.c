/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * F24, Bareflank 2017, HAXM 2018, HyperDbg 2024: INVEPT with a type that the CPU does not have, or with a wrong
 * descriptor, does nothing but set a flag, which nobody looked at.
 *
 * A flush of this library cannot fail; but a walker may lack flushes by range, and then a call of one does
 * nothing here: the library has to know that and use the one that works. And loading a root can fail: then
 * it may not be taken for loaded.
 */
#include "flush.h"

static unsigned in_vain;

static void does_nothing(void *ctx, struct tdp_range range)
{
	(void)ctx;
	(void)range;
	in_vain++;
}

static void without_ranges(struct tdp_backend_ops *ops)
{
	spy.clear_caps = TDP_CAP_RANGE_FLUSH;
	ops->flush_range = does_nothing;
}

/* The same, and nothing that acts on one vCPU either. */
static void with_flush_all_only(struct tdp_backend_ops *ops)
{
	without_ranges(ops);
	ops->flush_vcpu = NULL;
}

static void no_flush_in_vain(void **state, void (*change)(struct tdp_backend_ops *ops))
{
	struct test_vm_options opts = {.cpus = 2, .without_caps = TDP_CAP_FAULT_INVALIDATES};
	struct test_vm *vm = spied_vm(state, &opts, change);
	struct tdp_range all = range_of(GPA, table_span(vm, 0));
	struct tdp_range page = range_of(GPA + TEST_PAGE, TEST_PAGE);
	uint32_t slot;

	in_vain = 0;
	assert_int_equal(test_vm_slot(vm, 0, GPA, all.size, PA, 0, &slot), TDP_OK);
	cache_all(vm, all, TEST_PAGE);
	assert_int_equal(tdp_write_protect(vm->mm, 0, page), TDP_OK);
	assert_int_equal(stale_accesses(vm, all, TEST_PAGE), 0);
	for (unsigned cpu = 0; cpu < vm->cpus; cpu++) {
		struct test_access a;

		/* Both hold it without W by now; the second fault finds nothing to do. */
		assert_int_equal(test_vm_access(vm, cpu, page.start, TDP_W, &a), TEST_OK);
		assert_true(a.faults <= 2);
	}
	assert_int_equal(tdp_zap(vm->mm, 0, page, 0), TDP_OK);
	assert_gone(vm, page, TEST_PAGE);
	assert_int_equal(tdp_split(vm->mm, 0, all, TDP_PAGE_LG2), TDP_OK);
	cache_all(vm, all, TEST_PAGE);
	assert_int_equal(tdp_collapse(vm->mm, 0, all, 0, NULL), TDP_OK);
	cache_all(vm, all, TEST_PAGE);
	assert_int_equal(stale_accesses(vm, all, TEST_PAGE), 0);
	assert_int_equal(tdp_zap(vm->mm, 0, all, 0), TDP_OK);
	assert_gone(vm, all, TEST_PAGE);
	assert_int_equal(in_vain, 0);
	close_vm(vm);
}

static void only_flushes_that_work(void **state)
{
	no_flush_in_vain(state, without_ranges);
	no_flush_in_vain(state, with_flush_all_only);
}

/* The guest does not run, and nothing says that it could. */
static void not_loaded(struct test_vm *vm, int status)
{
	struct tdp_fault fault = {.size = (uint32_t)sizeof(fault), .gpa = GPA, .access = TDP_R};

	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), status);
	assert_int_equal(raw(vm, 0, GPA, TDP_R, NULL), TDP_EMU_RELOAD);
	assert_int_equal(tdp_fault(vm->cpu[0].vcpu, &fault, NULL), TDP_ENOENT);
}

static void a_load_that_fails(void **state)
{
	struct test_vm *vm = spied_vm(state, NULL, NULL);

	for (uint32_t as_id = 0; as_id < 2; as_id++)
		assert_int_equal(test_vm_slot(vm, as_id, GPA, 4 * TEST_PAGE,
					      PA + as_id * 8 * TEST_PAGE, 0, NULL),
				 TDP_OK);
	touch_linear(vm, 0, GPA, TDP_W);
	for (unsigned round = 0; round < 3; round++) {
		/* To another root, and again to the one it had. */
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[0].vcpu, 1), TDP_OK);
		spy.load_status = TDP_EIO;
		not_loaded(vm, TDP_EIO);
		not_loaded(vm, TDP_EIO);
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[0].vcpu, 0), TDP_OK);
		not_loaded(vm, TDP_EIO);
		spy.load_status = 0;
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
		assert_int_not_equal(raw(vm, 0, GPA, TDP_R, NULL), TDP_EMU_OK);
		touch_linear(vm, 0, GPA, TDP_W);
	}
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(only_flushes_that_work),
						 TEST_CASE(a_load_that_fails)};

	return test_run("museum/F24", cases, ARRAY_LEN(cases));
}

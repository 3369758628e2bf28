/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C05, Xen/Arm 2016 (XSA-181), ACRN 2018: creation failed half way and the teardown of what
 * there was took it for complete: a root that had never been allocated was freed. Here memory
 * runs out at each allocation of creating mm, vCPU, slot and root in turn: the answer is
 * TDP_ENOMEM, destroying what exists works, and nothing is left over.
 */
#include "museum.h"

static void creation_fails_at_each_step(void **state)
{
	const struct test_format *fmt = museum_format(state);
	struct test_vm vm;
	int status = TDP_ENOMEM;

	for (int64_t n = 1; status != TDP_OK; n++) {
		assert_true(n < 100);
		status = test_vm_init(&vm, fmt,
				      &(struct test_vm_options){.fail_after = n, .cpus = 2});
		assert_true(status == TDP_OK || status == TDP_ENOMEM);
	}
	test_env_fail(&vm.env, 0);
	museum_end(&vm);
}

/*
 * All that comes after creation, with the n-th allocation failing; then it is torn down as it
 * is.
 */
static int use(struct test_vm *vm)
{
	struct tdp_vcpu *extra;
	struct test_access a;
	uint32_t id;
	int status = tdp_vcpu_create(vm->mm, vm->cpu[0].emu, &extra);

	if (status)
		return status;
	tdp_vcpu_destroy(extra);
	status = test_vm_slot(vm, 0, 0, museum_huge(vm), MUSEUM_PA, 0, &id);
	if (!status)
		status = tdp_vcpu_load(vm->cpu[0].vcpu);
	if (!status && test_vm_access(vm, 0, 0, TDP_W, &a) != TEST_OK)
		status = a.outcome;
	if (!status)
		status = tdp_write_track(vm->mm, 0, museum_range(0, TEST_PAGE), true);
	if (!status)
		status = tdp_dirty_log(vm->mm, id, TDP_LOG_AUTO);
	return status;
}

static void use_fails_at_each_step(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm vm;
	int status = TDP_ENOMEM;

	for (int64_t n = 1; status != TDP_OK; n++) {
		assert_true(n < 1000);
		assert_int_equal(test_vm_init(&vm, museum_format(state), &opts), TDP_OK);
		test_env_fail(&vm.env, n);
		status = use(&vm);
		assert_true(status == TDP_OK || status == TDP_ENOMEM);
		test_env_fail(&vm.env, 0);
		museum_end(&vm);
	}
}

/* One page is the smallest limit there is. */
static bool larger_root(const struct test_format *fmt)
{
	return fmt->root_pages > 1;
}

/* The limit of table memory is reached by the root itself. */
static void no_room_for_a_root(void **state)
{
	const struct test_format *fmt = museum_format(state);
	struct test_vm vm;
	struct tdp_fault fault = {.access = TDP_R};

	assert_int_equal(
		test_vm_init(&vm, fmt, &(struct test_vm_options){.table_limit = TEST_PAGE}),
		TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_ENOMEM);
	/* No root was half loaded. */
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &fault, NULL), TDP_ENOENT);
	assert_int_equal(atomic_load(&vm.env.tables), 0);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(creation_fails_at_each_step),
						 TEST_CASE(use_fails_at_each_step),
						 TEST_CASE_IF(no_room_for_a_root, larger_root)};

	return test_run("museum/C05", cases, ARRAY_LEN(cases));
}

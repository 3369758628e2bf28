/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory that runs out, at each allocation of each operation in turn: the answer is TDP_ENOMEM,
 * nothing leaks, what the operation promises to leave alone is bit for bit the same, and trying
 * again works.
 */
#include "operations.h"

/* Returns false when the n-th allocation was not reached. */
static bool try_one(void **state, const struct operation *op, int64_t n)
{
	struct before before;
	struct bench b;
	bool reached;
	int status;

	bench_open(&b, state, op->state, false);
	before = before_of(&b);
	test_env_fail(&b.vm->env, n);
	status = op->run(&b);
	test_env_fail(&b.vm->env, 0);
	reached = atomic_load(&b.vm->env.failed) != 0;
	if (status < 0) {
		if (!reached || op->promise == CANNOT_FAIL || status != TDP_ENOMEM)
			fail_msg("%s, allocation %d%s: %s", op->name, (int)n,
				 reached ? " failed" : "", tdp_status_name(status));
		compare(&b, op->name, &before, op->promise == NOTHING_CHANGED, 0);
		assert_int_equal(test_vm_check(b.vm), 0);
		status = op->run(&b);
		if (status < 0)
			fail_msg("%s again: %s", op->name, tdp_status_name(status));
	}
	before_free(&before);
	bench_close(&b);
	return reached;
}

static void every_allocation(void **state)
{
	size_t i;
	unsigned allocating = 0;
	int64_t n;

	for (i = 0; i < ARRAY_LEN(operations); i++) {
		for (n = 1; try_one(state, &operations[i], n); n++)
			if (n > 3000)
				fail_msg("%s allocates without end", operations[i].name);
		allocating += n > 1;
	}
	/* What needs memory by its nature: else nothing was tried here. */
	assert_true(allocating >= 12);
}

static void create_and_destroy(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_vm vm;
	int status;

	for (opts.fail_after = 1;; opts.fail_after++) {
		status = test_vm_init(&vm, *state, &opts);
		if (status == TDP_OK)
			break;
		assert_int_equal(status, TDP_ENOMEM);
		assert_true(opts.fail_after < 100);
	}
	assert_true(opts.fail_after > 3); /* an mm and two vCPUs at least */
	test_env_fail(&vm.env, 0);
	assert_int_equal(test_vm_slot(&vm, 0, 0, TEST_PAGE, PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 1, 0, TDP_W), 0);
	/* Teardown with no memory at all. */
	test_env_fail(&vm.env, 1);
	assert_int_equal(test_vm_fini(&vm), 0);
}

/* W10: less memory for tables than needed is TDP_ENOMEM, and the limit is never passed. */
static void table_limit(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	const struct test_format *fmt = *state;
	struct tdp_range first = {0, TEST_PAGE}, far;
	struct test_dump before, after;
	struct test_vm vm;
	uint32_t pages;
	int status;

	for (pages = fmt->root_pages;; pages++) {
		assert_true(pages < 200);
		opts.table_limit = pages * TEST_PAGE;
		assert_int_equal(test_vm_init(&vm, fmt, &opts), TDP_OK);
		far.start = test_vm_size(&vm) - 4 * TEST_PAGE;
		far.size = 4 * TEST_PAGE;
		assert_int_equal(test_vm_slot(&vm, 0, 0, TEST_PAGE, PA, 0, NULL), TDP_OK);
		assert_int_equal(test_vm_slot(&vm, 0, far.start, far.size, PA + TEST_PAGE, 0, NULL),
				 TDP_OK);
		status = tdp_populate(vm.mm, 0, first, 0, NULL);
		assert_true(status == TDP_OK || status == TDP_ENOMEM);
		assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
		status = tdp_populate(vm.mm, 0, far, 0, NULL);
		assert_int_equal(tdp_stats(vm.mm, &stats), TDP_OK);
		assert_true(stats.table_bytes <= opts.table_limit);
		assert_true(atomic_load(&vm.env.table_pages) <= pages);
		if (status != TDP_OK) {
			assert_int_equal(status, TDP_ENOMEM);
			assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
			assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&after);
		}
		test_dump_free(&before);
		assert_int_equal(test_vm_check(&vm), 0);
		if (status == TDP_OK)
			break;
		/* What is given back can be used again. */
		assert_int_equal(tdp_zap(vm.mm, 0, first, 0), TDP_OK);
		assert_true(tdp_compact(vm.mm, 0, first) >= 0);
		test_rcu_run();
		assert_int_equal(test_vm_fini(&vm), 0);
	}
	/* Root, and one table for each other level of both paths at the most. */
	assert_true(pages >= fmt->root_pages + fmt->tree_levels - 1);
	assert_true(pages <= fmt->root_pages + 2 * (fmt->tree_levels - 1));
	assert_int_equal(test_vm_fini(&vm), 0);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(create_and_destroy),
		TEST_CASE(table_limit),
		TEST_CASE(every_allocation),
	};

	return test_run("nth_alloc", cases, ARRAY_LEN(cases));
}

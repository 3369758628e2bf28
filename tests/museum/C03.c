/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C03, pKVM arm64 2021 (CVE-2021-47450): a root of several concatenated pages was allocated as
 * one block but counted per page; when the entries in a tail page were gone, the page's count
 * fell to 0 while it was still part of the root. Here only the last page of a root is used and
 * emptied again, and roots come and go beside one that is in use: none of its pages is handed
 * out to anybody else.
 */
#include "museum.h"

static bool concatenated(const struct test_format *fmt)
{
	return fmt->root_pages > 1;
}

/* What one page of the root covers. */
static uint64_t root_page_bytes(const struct test_vm *vm)
{
	return test_vm_size(vm) / vm->info.root_pages;
}

static void touch_all(struct test_vm *vm)
{
	uint64_t step = root_page_bytes(vm);

	for (uint32_t i = 0; i < vm->info.root_pages; i++)
		museum_reaches(vm, i * step, TDP_W, MUSEUM_PA + (uint64_t)i * TEST_PAGE);
}

static void tail_pages_belong_to_the_root(void **state)
{
	struct test_vm vm;
	struct tdp_root *other;
	uint64_t step, tables;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = TEST_CPUS_MAX});
	step = root_page_bytes(&vm);
	assert_int_equal(vm.info.root_pages, museum_format(state)->root_pages);
	/* The first tables after the root are none of its pages: each page in use is taken once. */
	for (uint32_t i = 0; i < vm.cpus; i++)
		assert_int_equal(tdp_vcpu_topup(vm.cpu[i].vcpu), TDP_OK);
	assert_int_equal(atomic_load(&vm.env.violations), 0);
	assert_int_equal(test_vm_check(&vm), 0);
	for (uint32_t i = 0; i < vm.info.root_pages; i++)
		museum_slot(&vm, i * step, TEST_PAGE, MUSEUM_PA + (uint64_t)i * TEST_PAGE);

	/* The last page alone: filled, emptied, compacted, filled again. */
	for (unsigned i = 0; i < 3; i++) {
		tdp_gpa_t last = (vm.info.root_pages - 1) * step;

		museum_reaches(&vm, last, TDP_W, MUSEUM_PA + (vm.info.root_pages - 1) * TEST_PAGE);
		assert_int_equal(tdp_zap(vm.mm, 0, museum_range(last, TEST_PAGE), 0), TDP_OK);
		assert_true(tdp_compact(vm.mm, 0, museum_range(0, test_vm_size(&vm))) > 0);
		test_rcu_run();
		assert_int_equal(test_vm_check(&vm), 0);
	}
	/* Roots of other address spaces are freed beside the one that is in use. */
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 1), &other), TDP_OK);
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		for (uint32_t k = 0; k < vm.cpus; k++)
			assert_int_equal(tdp_vcpu_load(vm.cpu[k].vcpu), TDP_OK);
		tdp_root_put(vm.mm, other);
		assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		test_rcu_run();
		touch_all(&vm);
		assert_int_equal(test_vm_check(&vm), 0);
	}
	tables = atomic_load(&vm.env.tables);
	assert_true(tables >= vm.info.root_pages);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(tail_pages_belong_to_the_root, concatenated)};

	return test_run("museum/C03", cases, ARRAY_LEN(cases));
}

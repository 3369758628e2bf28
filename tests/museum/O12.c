/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O12, Xvisor RISC-V 2020: a root that has to be 16K long and so aligned was allocated as one
 * page; the hardware masked the low bits of its address and indexed past its end. Here roots are
 * made when the pool's next page is at every possible offset to that alignment: each is aligned
 * to all of its pages, they all are its own, and a guest gets through each.
 */
#include "museum.h"

static void roots_are_aligned(void **state)
{
	struct test_vm vm;
	struct tdp_range page;
	uint64_t step;

	museum_start(&vm, state, NULL);
	step = test_vm_size(&vm) / vm.info.root_pages;
	for (uint32_t i = 0; i < vm.info.root_pages; i++)
		museum_slot(&vm, i * step, TEST_PAGE, MUSEUM_PA + (uint64_t)i * TEST_PAGE);
	for (unsigned n = 0; n < 18; n++) {
		struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
		struct tdp_root *root;

		/* One table more is in use each time, wherever the pool puts it. */
		page = museum_range((step >> 1) + ((uint64_t)n << test_vm_lg2(&vm, 1)), TEST_PAGE);
		assert_int_equal(test_vm_slot(&vm, 1, page.start, TEST_PAGE, MUSEUM_PA, 0, NULL),
				 TDP_OK);
		assert_int_equal(tdp_populate(vm.mm, 1, page, 0, NULL), TDP_OK);

		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		assert_int_equal(tdp_populate(vm.mm, 1, page, 0, NULL), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
		assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root), TDP_OK);
		assert_int_equal(tdp_root_view(vm.mm, root, &view), TDP_OK);
		assert_int_equal(view.pages, museum_format(state)->root_pages);
		assert_int_equal(view.pa % (view.pages * TEST_PAGE), 0);
		assert_int_equal(tdp_root_put(vm.mm, root), 0);
		for (uint32_t i = 0; i < vm.info.root_pages; i++)
			museum_reaches(&vm, i * step, TDP_W, MUSEUM_PA + (uint64_t)i * TEST_PAGE);
		if (n % 3 == 2) {
			assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
			test_rcu_run();
		}
		assert_int_equal(test_vm_check(&vm), 0);
	}
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(roots_are_aligned)};

	return test_run("museum/O12", cases, ARRAY_LEN(cases));
}

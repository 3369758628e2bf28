/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C06, Xen 2024: pages of VM B were mapped into VM A; A was destroyed without visiting those
 * foreign mappings in all its views, so B's pages stayed referenced and B could never go away.
 * Here one memory is mapped by two VMs, in each of three address spaces of the first: when that
 * one is destroyed, every reference of it is gone exactly once, in all address spaces, and the
 * other goes on.
 */
#include "museum.h"

static void destroy_gives_everything_back(void **state)
{
	struct test_vm a, b;
	struct test_backing mem;
	struct tdp_slot_desc desc;
	uint64_t huge;
	uint32_t id;

	museum_start(&b, state, NULL);
	huge = museum_huge(&b);
	/* One registration of this thread is enough for both. */
	b.env.env.rcu->thread_unregister();
	museum_start(&a, state, NULL);
	assert_int_equal(test_backing_init(&mem, &b.env, 0, 2 * huge, MUSEUM_PA, TDP_RWX,
					   test_vm_lg2(&b, 1)),
			 TDP_OK);
	desc = test_backing_slot(&mem, 0, 0);
	assert_int_equal(tdp_slot_add(b.mm, &desc, &id), TDP_OK);
	museum_reaches(&b, 0, TDP_W, test_backing_pa(&mem, 0));
	for (uint32_t as_id = 0; as_id < 3; as_id++) {
		desc.as_id = as_id;
		assert_int_equal(tdp_slot_add(a.mm, &desc, &id), TDP_OK);
		assert_int_equal(tdp_vcpu_set_as(a.cpu[0].vcpu, as_id), TDP_OK);
		assert_int_equal(tdp_vcpu_load(a.cpu[0].vcpu), TDP_OK);
		museum_reaches(&a, huge, TDP_W, test_backing_pa(&mem, huge));
		assert_int_equal(tdp_dirty_log(a.mm, id, TDP_LOG_AUTO), TDP_OK);
	}
	assert_true(test_backing_balanced(&mem));
	assert_int_equal(test_vm_check(&a), 0);
	/* A dies with all of it mapped; its objects and tables are counted by its own host. */
	assert_int_equal(test_vm_fini(&a), 0);
	b.env.env.rcu->thread_register();
	assert_true(test_backing_balanced(&mem));

	museum_is_there(&b, 0, TDP_W, test_backing_pa(&mem, 0));
	assert_int_equal(test_backing_discard(&mem, b.mm, 0, museum_range(0, 2 * huge)), TDP_OK);
	museum_reaches(&b, huge, TDP_R, test_backing_pa(&mem, huge));
	museum_end(&b);
	test_backing_fini(&mem);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(destroy_gives_everything_back)};

	return test_run("museum/C06", cases, ARRAY_LEN(cases));
}

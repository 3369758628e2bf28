/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * L02, Xen on Arm 2017 (XSA-235): a guest asked to map a grant that did not exist; the error path kept the lock
 * of the grant table. Mapping here begins with a slot and goes on with faults: slots are refused for every
 * reason there is, faults fail in the backing and for want of memory, one thread alone; after each, every lock
 * is free and the slot can be removed (which waits for faults that hold it).
 */
#include "alone.h"

#define PAGES 8u

static int add(struct test_vm *vm, struct tdp_slot_desc desc)
{
	uint32_t id;

	desc.size = (uint32_t)sizeof(desc);
	return tdp_slot_add(vm->mm, &desc, &id);
}

static void slots_refused(struct test_vm *vm, tdp_gpa_t gpa, uint32_t slot)
{
	static const struct tdp_backing_ops none = {.size = (uint32_t)sizeof(none)};
	struct tdp_slot_desc good = {.gpa = {0, TEST_PAGE}}, bad[8];
	unsigned n = 0;

	bad[n] = good, bad[n++].gpa.start = gpa + TEST_PAGE;
	bad[n] = good, bad[n++].gpa.start = test_vm_size(vm);
	bad[n] = good, bad[n++].pa = ~(tdp_pa_t)0 << TDP_PAGE_LG2;
	bad[n] = good, bad[n++].flags = 0x80;
	bad[n] = good, bad[n++].as_id = 1000;
	bad[n] = good, bad[n++].prot = TDP_W;
	bad[n] = good, bad[n++].backing = &none;
	for (unsigned i = 0; i < n; i++) {
		assert_true(add(vm, bad[i]) < 0);
		alone_probe(vm, gpa, slot);
	}
	for (int64_t k = 1; k < 100; k++) {
		int ret;

		test_env_fail(&vm->env, k);
		ret = add(vm, good);
		test_env_fail(&vm->env, 0);
		if (ret == TDP_OK)
			break;
		assert_int_equal(ret, TDP_ENOMEM);
		alone_probe(vm, gpa, slot);
	}
}

static void mapping_fails(void **state)
{
	struct test_vm vm;
	struct test_backing b;
	struct tdp_slot_desc desc;
	tdp_gpa_t gpa;
	uint32_t slot;

	museum_start(&vm, state,
		     &(struct test_vm_options){.host = alone_host, .chunk_lg2 = TEST_CHUNK_SMALL});
	gpa = museum_huge(&vm);
	assert_int_equal(
		test_backing_init(&b, &vm.env, gpa, PAGES * TEST_PAGE, MUSEUM_PA, 0, TDP_PAGE_LG2),
		TDP_OK);
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &slot), TDP_OK);
	alone_probe(&vm, gpa, slot);
	slots_refused(&vm, gpa, slot);

	test_backing_fail(&b, museum_range(gpa + 5 * TEST_PAGE, TEST_PAGE), true);
	museum_answer(&vm, gpa + 5 * TEST_PAGE, TDP_R, TDP_EFAULT);
	alone_probe(&vm, gpa, slot);
	assert_int_equal(tdp_populate(vm.mm, 0, museum_range(gpa, PAGES * TEST_PAGE), 0, NULL),
			 TDP_EFAULT);
	alone_probe(&vm, gpa, slot);
	b.prot = TDP_R;
	museum_answer(&vm, gpa + 6 * TEST_PAGE, TDP_W, TDP_EACCES);
	b.prot = TDP_RWX;
	alone_probe(&vm, gpa, slot);
	for (int64_t k = 1; k < 100; k++) {
		int ret;

		test_env_fail(&vm.env, k);
		ret = tdp_populate(vm.mm, 0, museum_range(gpa, 4 * TEST_PAGE), 0, NULL);
		test_env_fail(&vm.env, 0);
		if (ret == TDP_OK)
			break;
		assert_int_equal(ret, TDP_ENOMEM);
		alone_probe(&vm, gpa, slot);
	}
	assert_int_equal(tdp_slot_remove(vm.mm, slot), TDP_OK);
	museum_end(&vm);
	test_backing_fini(&b);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(mapping_fails)};

	return test_run("museum/L02", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * C14, pKVM arm64 2026 (CVE-2026-46147): setting up a vCPU pinned pages, a later step failed,
 * and the pins were not taken back; and the vCPU could be found by others before it was
 * complete. Here the backend refuses to load a root, or memory runs out while slot, vCPU and
 * root are made: the reference of the root is given back, nobody finds what does not exist, and
 * trying again works.
 */
#include "museum.h"

static int refuse; /* loads that fail from now on */

static int load_or_refuse(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	if (root && refuse > 0) {
		refuse--;
		return TDP_EPERM;
	}
	return tdp_emu_backend.root_load(ctx, cookie, root);
}

/* A second mm on the same machine whose root_load can fail. */
static void failed_load_drops_its_root(void **state)
{
	struct tdp_backend_ops ops = tdp_emu_backend;
	struct tdp_fault fault = {.access = TDP_R};
	struct tdp_mm_config cfg;
	struct tdp_vcpu *vcpu;
	struct test_vm vm;
	struct tdp_mm *mm;
	uint64_t tables;

	museum_start(&vm, state, NULL);
	tables = atomic_load(&vm.env.tables);
	ops.root_load = load_or_refuse;
	cfg = vm.cfg;
	cfg.backend = &ops;
	assert_int_equal(tdp_mm_create(&cfg, &mm), TDP_OK);
	assert_int_equal(tdp_vcpu_create(mm, vm.cpu[0].emu, &vcpu), TDP_OK);
	for (int i = 0; i < 3; i++) {
		refuse = 1;
		assert_int_equal(tdp_vcpu_load(vcpu), TDP_EPERM);
		assert_int_equal(tdp_fault(vcpu, &fault, NULL), TDP_ENOENT); /* no root is loaded */
		/* The root was not kept by the failed load: invalid and reclaimed it is gone. */
		assert_int_equal(tdp_roots_invalidate(mm), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(mm, 0), 0);
		tdp_vcpu_destroy(vcpu);
		test_rcu_run();
		assert_int_equal(atomic_load(&vm.env.tables), tables);
		assert_int_equal(tdp_vcpu_create(mm, vm.cpu[0].emu, &vcpu), TDP_OK);
	}
	assert_int_equal(tdp_vcpu_load(vcpu), TDP_OK);
	/* A load that fails takes the old root away as well, with its reference. */
	assert_int_equal(tdp_vcpu_set_as(vcpu, 1), TDP_OK);
	refuse = 1;
	assert_int_equal(tdp_vcpu_load(vcpu), TDP_EPERM);
	assert_int_equal(tdp_fault(vcpu, &fault, NULL), TDP_ENOENT);
	tdp_vcpu_destroy(vcpu);
	assert_int_equal(tdp_mm_destroy(mm), 0);
	assert_int_equal(atomic_load(&vm.env.tables), tables);
	museum_end(&vm);
}

static void half_made_is_not_found(void **state)
{
	struct test_vm vm;
	struct tdp_slot_desc found = {.size = (uint32_t)sizeof(found)};
	uint64_t huge, objects;
	uint32_t id = 4711;
	int status = TDP_ENOMEM;

	museum_start(&vm, state, NULL);
	huge = museum_huge(&vm);
	objects = atomic_load(&vm.env.obj_bytes);
	for (int64_t n = 1; status != TDP_OK; n++) {
		assert_true(n < 10);
		test_env_fail(&vm.env, n);
		status = test_vm_slot(&vm, 0, huge, huge, MUSEUM_PA, 0, &id);
		test_env_fail(&vm.env, 0);
		if (status == TDP_OK)
			break;
		assert_int_equal(status, TDP_ENOMEM);
		assert_int_equal(id, 4711);
		assert_int_equal(atomic_load(&vm.env.obj_bytes), objects);
		assert_int_equal(tdp_slot_find(vm.mm, 0, huge, NULL, &found), TDP_ENOENT);
		museum_answer(&vm, huge, TDP_R, TDP_FAULT_MMIO);
	}
	assert_int_equal(tdp_slot_find(vm.mm, 0, huge, NULL, &found), TDP_OK);
	assert_int_equal(found.pa, MUSEUM_PA);
	museum_reaches(&vm, huge, TDP_R, MUSEUM_PA);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(failed_load_drops_its_root),
						 TEST_CASE(half_made_is_not_found)};

	return test_run("museum/C14", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * R01, KVM x86 2021: a fault had looked up its page; before it took the lock the memslots changed, the root
 * became invalid and was zapped; then the fault put its page into the dead root, where nobody looked for it
 * any more. Here all roots become invalid while the backing is asked: the fault says RETRY, and the root that
 * it ran in is what it was, entry for entry.
 */
#include "old_root.h"

static struct {
	struct test_vm *vm;
	bool armed, teardown;
	int invalidate, reclaim;
} scene;

static void roots_go(void *arg)
{
	(void)arg;
	scene.invalidate = tdp_roots_invalidate(scene.vm->mm);
	if (scene.teardown)
		scene.reclaim = tdp_roots_reclaim(scene.vm->mm, 0);
}

static void on_resolve(struct test_backing *b, tdp_gpa_t gpa)
{
	(void)b;
	(void)gpa;
	if (!scene.armed)
		return;
	scene.armed = false;
	museum_meanwhile(scene.vm, roots_go, NULL);
}

static void one(void **state, bool neighbour, bool teardown)
{
	struct test_vm vm;
	struct test_backing b;
	struct tdp_slot_desc desc;
	struct tdp_fault fault = {.access = TDP_W};
	struct tdp_mapping m;
	struct old_root old;
	uint64_t huge;
	uint32_t id;

	museum_start(&vm, state, NULL);
	memset(&scene, 0, sizeof(scene));
	scene.vm = &vm;
	scene.teardown = teardown;
	huge = museum_huge(&vm);
	assert_int_equal(test_backing_init(&b, &vm.env, huge, huge, MUSEUM_PA, 0, TDP_PAGE_LG2),
			 TDP_OK);
	b.on_resolve = on_resolve;
	desc = test_backing_slot(&b, 0, 0);
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	if (neighbour)
		museum_reaches(&vm, huge + TEST_PAGE, TDP_W, test_backing_pa(&b, huge + TEST_PAGE));
	old_root_hold(&vm, 0, &old);

	scene.armed = true;
	fault.gpa = huge;
	assert_int_equal(tdp_fault(vm.cpu[0].vcpu, &fault, NULL), TDP_FAULT_RETRY);
	assert_int_equal(scene.invalidate, TDP_OK);
	assert_int_equal(scene.reclaim, 0);
	assert_false(old_root_maps(&old, huge));
	assert_int_equal(old_root_maps(&old, huge + TEST_PAGE), neighbour && !teardown);
	assert_false(museum_mapped(&vm, huge, &m));
	assert_in_range(tdp_root_put(vm.mm, old.root), 0, 1);
	museum_reaches(&vm, huge, TDP_W, test_backing_pa(&b, huge));
	museum_end(&vm);
	test_backing_fini(&b);
}

static void root_goes_during_a_fault(void **state)
{
	for (unsigned i = 0; i < 4; i++)
		one(state, i & 1, i & 2);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(root_goes_during_a_fault)};

	return test_run("museum/R01", cases, ARRAY_LEN(cases));
}

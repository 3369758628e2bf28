/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U02, KVM x86 2021 (CVE-2021-47639): memslots changed, so all roots were invalid and being torn down in the
 * background. The host took a page away just then: unmap visited valid roots only and returned, and the
 * teardown wrote the dirty state of a page that was somebody else's by now. Here a page goes while the
 * teardown gives way: when the zap returns no root maps it, old ones included, its dirty bit is in the log
 * already, and the rest of the teardown says nothing of it any more.
 */
#include "old_root.h"

#define PAGES 64u

static struct {
	struct test_vm *vm;
	struct old_root old;
	tdp_gpa_t victim;
	uint32_t slot;
	bool hit, mapped_before, mapped_after;
	int zap, harvest;
	uint64_t at_once;
} scene;

static void host_takes_page(void *arg)
{
	struct tdp_range page = museum_range(scene.victim, TEST_PAGE);

	(void)arg;
	scene.mapped_before = old_root_maps(&scene.old, scene.victim);
	scene.zap = tdp_zap(scene.vm->mm, 0, page, 0);
	scene.mapped_after = old_root_maps(&scene.old, scene.victim);
	scene.harvest = tdp_dirty_harvest(scene.vm->mm, scene.slot, 0, &scene.at_once, 1);
}

/* The first time that the teardown has the page still before it. */
static void on_yield(void *arg)
{
	if (scene.hit || !old_root_maps(&scene.old, scene.victim))
		return;
	scene.hit = true;
	museum_meanwhile(arg, host_takes_page, NULL);
}

static void page_goes_during_teardown(void **state)
{
	struct test_vm vm;
	uint64_t stride, bits = 0;

	museum_start(&vm, state, NULL);
	memset(&scene, 0, sizeof(scene));
	scene.vm = &vm;
	/* The victim is in the last page; many tables come before it. */
	stride = (uint64_t)1 << test_vm_lg2(&vm, vm.info.levels > 2 ? vm.info.levels - 1 : 2);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(test_vm_slot(&vm, 0, i * stride, PAGES * TEST_PAGE,
					      MUSEUM_PA + i * stride, TDP_SLOT_FORCE_4K,
					      &scene.slot),
				 TDP_OK);
	scene.victim = 2 * stride + 5 * TEST_PAGE;
	assert_int_equal(tdp_dirty_log(vm.mm, scene.slot, TDP_LOG_AUTO), TDP_OK);
	for (unsigned i = 0; i < 3; i++)
		museum_reaches(&vm, i * stride, TDP_R, MUSEUM_PA + i * stride);
	museum_reaches(&vm, scene.victim, TDP_W, MUSEUM_PA + scene.victim);
	old_root_hold(&vm, 0, &scene.old);
	assert_true(old_root_maps(&scene.old, scene.victim));

	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	vm.env.on_yield = on_yield;
	vm.env.on_yield_arg = &vm;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	/* In small steps; the host may also come between two of them. */
	for (unsigned i = 0; i < 1000 && tdp_roots_reclaim(vm.mm, 1) == 1; i++)
		on_yield(&vm);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);

	assert_true(scene.hit);
	assert_true(scene.mapped_before);
	assert_int_equal(scene.zap, TDP_OK);
	assert_false(scene.mapped_after);
	assert_int_equal(scene.harvest, TDP_OK);
	assert_int_equal(scene.at_once, 1u << 5);
	assert_int_equal(tdp_dirty_harvest(vm.mm, scene.slot, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits, 0);
	assert_int_equal(tdp_root_put(vm.mm, scene.old.root), 0);
	museum_reaches(&vm, scene.victim, TDP_R, MUSEUM_PA + scene.victim);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(page_goes_during_teardown)};

	return test_run("museum/U02", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * U07, KVM x86 2021: the body of a loop over all roots gave way, but the loop held no reference: the root it
 * stood on was freed meanwhile, and with it the way to the next. Here the walk over two roots gives way in the
 * first, which is torn down then, and freed as soon as the walk lets it go (the host's grace periods are short,
 * its freed objects zeros): the second one is zapped all the same.
 */
#include "old_root.h"

#include "kept.h"

static struct tdp_rcu_ops hasty;

/* No reader: a grace period is over at once. */
static void hasty_defer(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head))
{
	test_rcu.defer(head, fn);
	if (!test_rcu_in_section())
		test_rcu_run();
}

static void hasty_host(struct tdp_env *env)
{
	kept_begin(env, true);
}

static struct {
	struct test_vm *vm;
	bool done;
	uint64_t size;
} scene;

/* All of the first root, and of the second what lies at the very start. */
static void tear_first(void *arg)
{
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};

	(void)arg;
	for (unsigned i = 0; i < 8; i++) {
		if (tdp_stats(scene.vm->mm, &stats) || stats.root_creates != 2)
			return;
		tdp_roots_reclaim(scene.vm->mm, 1);
		tdp_stats(scene.vm->mm, &stats);
		/* The first root's own table is counted out when it is torn down. */
		if (stats.tables[scene.vm->info.levels - 1] == scene.vm->info.root_pages)
			return;
	}
}

static void on_yield(void *arg)
{
	(void)arg;
	if (scene.done)
		return;
	scene.done = true;
	test_env_yield(&scene.vm->env, TEST_YIELD_NEVER, 0);
	museum_meanwhile(scene.vm, tear_first, NULL);
}

static void root_goes_under_the_loop(void **state)
{
	struct test_vm vm;
	struct old_root second;
	struct tdp_range both;
	tdp_gpa_t target;

	hasty = test_rcu;
	hasty.defer = hasty_defer;
	museum_start(&vm, state, &(struct test_vm_options){.host = hasty_host, .rcu = &hasty});
	memset(&scene, 0, sizeof(scene));
	scene.vm = &vm;
	target = test_vm_size(&vm) / 2;
	/* Eight decoys in the second root, for what the teardown takes too much. */
	for (unsigned i = 0; i < 8; i++) {
		tdp_gpa_t at = i * test_vm_size(&vm) / 16;

		assert_int_equal(test_vm_slot(&vm, 0, at, TEST_PAGE, MUSEUM_PA + at, 0, NULL),
				 TDP_OK);
		museum_reaches(&vm, at, TDP_W, MUSEUM_PA + at);
	}
	/* Two tables in each root, so that there is a step between. */
	both = museum_range(target, museum_huge(&vm) + TEST_PAGE);
	assert_int_equal(test_vm_slot(&vm, 0, target, both.size, MUSEUM_PA + target,
				      TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, both, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	old_root_hold(&vm, 0, &second);
	/* The newer root comes first. */
	assert_int_equal(test_vm_slot(&vm, 1, target, both.size, MUSEUM_PA + target,
				      TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 1, both, TDP_POPULATE_YOUNG, NULL), TDP_OK);

	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_true(old_root_maps(&second, target));
	vm.env.on_yield = on_yield;
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_int_equal(tdp_zap(vm.mm, TDP_AS_ALL, both, 0), TDP_OK);
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	assert_true(scene.done);
	assert_false(old_root_maps(&second, target));
	assert_int_equal(tdp_root_put(vm.mm, second.root), 0);
	assert_int_equal(test_vm_check(&vm), 0);
	while (vm.cpus > 0) {
		vm.cpus--;
		tdp_vcpu_destroy(vm.cpu[vm.cpus].vcpu);
		tdp_emu_vcpu_destroy(vm.cpu[vm.cpus].emu);
	}
	assert_int_equal(tdp_mm_destroy(vm.mm), 0);
	vm.mm = NULL;
	kept_let_go();
	assert_int_equal(test_vm_fini(&vm), 0);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(root_goes_under_the_loop)};

	return test_run("museum/U07", cases, ARRAY_LEN(cases));
}

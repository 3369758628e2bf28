/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an mm is made as: from capabilities, for good; and roots made by many threads at once
 * (rows R02, R10, B08).
 */
#include "machine.h"

#define RAM (2 * MIB)

static struct tdp_mm_info info_of(const struct tdp_mm *mm)
{
	struct tdp_mm_info info = {.size = (uint32_t)sizeof(info)};

	assert_int_equal(tdp_mm_info(mm, &info), TDP_OK);
	return info;
}

/* ---- one kind, for good ---- */

static void an_mm_stays_what_it_was_made_as(void **state)
{
	struct tdp_root_view before = {.size = (uint32_t)sizeof(before)}, after = before;
	struct tdp_mm_info info, now;
	struct tdp_root *root;
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct tdp_env env;
	struct tdp_backend_ops ops;
	tdp_role_t role;

	spy_up(&spy, state, NULL);
	info = info_of(vm->mm);
	role = tdp_role_root(vm->mm, 0);
	assert_int_equal(tdp_root_get(vm->mm, role, &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &before), TDP_OK);
	/* Configuration, environment, operations and capabilities were read when it was made. */
	memset(&vm->cfg, 0xff, sizeof(vm->cfg));
	env = spy.env;
	ops = spy.ops;
	memset(&spy.env, 0xff, sizeof(spy.env));
	memset(&spy.ops, 0xff, sizeof(spy.ops));
	spy.clear_caps = ~0u;
	assert_int_equal(test_vm_slot(vm, 0, 0, RAM, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0x1000, TDP_W), 0);
	assert_true(tdp_age(vm->mm, 0, range_of(0, RAM), NULL) >= 0);
	assert_int_equal(tdp_zap(vm->mm, 0, range_of(0, RAM), 0), TDP_OK);
	assert_int_equal(test_vm_touch(vm, 0, 0x1000, TDP_W), 0);
	now = info_of(vm->mm);
	assert_memory_equal(&info, &now, sizeof(info));
	assert_int_equal(tdp_role_root(vm->mm, 0), role);
	assert_int_equal(tdp_root_view(vm->mm, root, &after), TDP_OK);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	spy.env = env;
	spy.ops = ops;
	vm_down(vm);
}

/* ---- capabilities ---- */

struct machine {
	uint32_t format, without, leaf_levels, gpa_bits, levels, flags, asked_bits;
	int want;
};

static int make(struct test_env *env, const struct machine *m, struct tdp_mm_info *info)
{
	struct tdp_emu_config emu = tdp_emu_config_default();
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_emu *e;
	struct tdp_mm *mm = NULL;
	int ret;

	emu.without_caps = m->without;
	emu.leaf_levels = m->leaf_levels;
	emu.gpa_bits = m->gpa_bits;
	emu.max_levels = m->format == TDP_FMT_EPT || m->format == TDP_FMT_NPT ? m->levels & 7 : 0;
	assert_int_equal(tdp_emu_create(&emu, &e), TDP_OK);
	cfg.format = m->format;
	cfg.gpa_bits = m->asked_bits;
	cfg.levels = m->levels >> 4;
	cfg.flags = m->flags;
	cfg.env = &env->env;
	cfg.backend = &tdp_emu_backend;
	cfg.backend_ctx = e;
	ret = tdp_mm_create(&cfg, &mm);
	if (ret == TDP_OK) {
		*info = info_of(mm);
		assert_int_equal(tdp_mm_destroy(mm), TDP_OK);
	} else {
		assert_null(mm);
	}
	tdp_emu_destroy(e);
	return ret;
}

#define AD (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)

static void capabilities_decide(void **state)
{
	static const struct machine machines[] = {
		/*
		 * format, without, leaf levels, walker's bits, levels (asked << 4 | most),
		 * flags, asked bits
		 */
		{TDP_FMT_EPT, 0, 0, 0, 0, 0, 0, TDP_OK},
		{TDP_FMT_EPT, AD, 0, 0, 0, 0, 40, TDP_OK},
		{TDP_FMT_EPT, 0, 0, 0, 0x54, 0, 40, TDP_ERANGE},
		{TDP_FMT_EPT, 0, 0, 0, 0x55, 0, 40, TDP_OK},
		{TDP_FMT_EPT, 0, 0, 0, 0x04, 0, 52, TDP_ERANGE},
		{TDP_FMT_EPT, 0, 0, 0, 0x30, 0, 39, TDP_ERANGE},
		{TDP_FMT_EPT, 0, 0, 36, 0, 0, 40, TDP_ERANGE},
		{TDP_FMT_EPT, 0, 1, 0, 0, 0, 40, TDP_OK},
		{TDP_FMT_NPT, 0, 0, 0, 0, 0, 0, TDP_OK},
		/* Its bits cannot be switched off. */
		{TDP_FMT_NPT, AD, 0, 0, 0, 0, 40, TDP_ENOTSUP},
		{TDP_FMT_NPT, 0, 0, 0, 0, TDP_MM_NO_HW_AD, 40, TDP_ENOTSUP},
		{TDP_FMT_S2_4K, TDP_CAP_HW_DIRTY, 0, 0, 0, 0, 40, TDP_OK},
		{TDP_FMT_S2_4K, 0, 0, 0, 0x40, 0, 40, TDP_EINVAL},
		{TDP_FMT_S2_4K, 0, 0, 39, 0, 0, 40, TDP_ERANGE},
		{TDP_FMT_TEST, 0, 0, 0, 0, 0, 0, TDP_OK},
		{99, 0, 0, 0, 0, 0, 0, TDP_EINVAL},
	};
	struct test_env env;

	(void)state;
	test_rcu.thread_register();
	assert_int_equal(test_env_init(&env, 0, 0, NULL), TDP_OK);
	for (size_t i = 0; i < ARRAY_LEN(machines); i++) {
		const struct machine *m = &machines[i];
		struct tdp_mm_info info = {0};
		int got = make(&env, m, &info);

		if (got != m->want)
			fail_msg("machine %u: %d instead of %d", (unsigned)i, got, m->want);
		if (got != TDP_OK)
			continue;
		/* What it says it is follows from what the walker can do. */
		if (m->leaf_levels)
			assert_int_equal(info.leaf_levels & ~m->leaf_levels, 0);
		assert_int_equal(info.ad, m->without & TDP_CAP_HW_ACCESSED ? 0
					  : m->without & TDP_CAP_HW_DIRTY  ? 1
									   : 3);
		assert_true(!m->asked_bits || info.gpa_bits == m->asked_bits);
	}
	assert_int_equal(test_env_fini(&env), 0);
	test_rcu.thread_unregister();
}

static void what_the_machine_lacks_is_refused_or_not_used(void **state)
{
	struct tdp_slot_desc desc = {
		.size = (uint32_t)sizeof(desc), .gpa = {0, RAM}, .pa = SLOT_PA};
	struct test_vm_options opts = {.without_caps = TDP_CAP_EXEC_ONLY};
	struct test_vm vm;
	uint32_t id, lg2;
	bool x;

	vm_up(&vm, state, &opts);
	/* Execute without read: neither the format nor this walker. */
	desc.prot = TDP_X;
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_ENOTSUP);
	desc.prot = TDP_W;
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_ENOTSUP);
	if (!test_vm_has_wc(&vm)) {
		desc.prot = TDP_RWX | TDP_MT_WC;
		assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_ENOTSUP);
	}
	desc.prot = TDP_RWX;
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), TDP_OK);
	if (!(vm.info.ad & 2))
		assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_DBIT), TDP_ENOTSUP);
	assert_int_equal(tdp_dirty_log(vm.mm, id, TDP_LOG_AUTO), TDP_OK);
	vm_down(&vm);
	/* With the capability, where the format can say it. */
	opts.without_caps = 0;
	vm_up(&vm, state, &opts);
	x = vm.info.format != TDP_FMT_NPT;
	desc.prot = TDP_X;
	assert_int_equal(tdp_slot_add(vm.mm, &desc, &id), x ? TDP_OK : TDP_ENOTSUP);
	assert_int_equal(tdp_max_lg2(vm.mm, 0, 0, &lg2), x ? TDP_OK : TDP_ENOENT);
	vm_down(&vm);
}

/* ---- many threads ---- */

struct getters {
	struct test_vm *vm;
	pthread_barrier_t barrier;
	struct tdp_root *root[4];
	_Atomic uint32_t next, bad;
};

enum { THREADS = 4, ROUNDS = 40 };

static void *get_roots(void *arg)
{
	struct getters *g = arg;
	uint32_t me = atomic_fetch_add(&g->next, 1);

	g->vm->env.env.rcu->thread_register();
	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&g->barrier);
		if (tdp_root_get(g->vm->mm, tdp_role_root(g->vm->mm, 0), &g->root[me]) != TDP_OK)
			atomic_fetch_add(&g->bad, 1);
		pthread_barrier_wait(&g->barrier);
		/* The main thread looks and invalidates. */
		pthread_barrier_wait(&g->barrier);
		if (tdp_root_put(g->vm->mm, g->root[me]) < 0)
			atomic_fetch_add(&g->bad, 1);
	}
	g->vm->env.env.rcu->thread_unregister();
	return NULL;
}

static void racing_threads_make_one_root(void **state)
{
	struct getters g = {.vm = NULL};
	pthread_t thread[THREADS];
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	g.vm = &vm;
	pthread_barrier_init(&g.barrier, NULL, THREADS + 1);
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, get_roots, &g), 0);
	for (unsigned i = 0; i < ROUNDS; i++) {
		pthread_barrier_wait(&g.barrier);
		pthread_barrier_wait(&g.barrier);
		assert_int_equal(stats_of(&vm).root_creates, i + 1);
		assert_int_equal(stats_of(&vm).root_hits, (i + 1) * (THREADS - 1));
		assert_int_equal(stats_of(&vm).roots_valid, 1);
		for (unsigned t = 1; t < THREADS; t++)
			assert_ptr_equal(g.root[t], g.root[0]);
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		pthread_barrier_wait(&g.barrier);
		assert_true(tdp_roots_reclaim(vm.mm, 0) >= 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	assert_int_equal(atomic_load(&g.bad), 0);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), 0); /* what the losers had made is gone too */
	pthread_barrier_destroy(&g.barrier);
	vm_down(&vm);
}

/* ---- tearing down in steps ---- */

static void reclaim_steps_are_bounded(void **state)
{
	struct test_vm vm;
	uint64_t size, subtree, steps = 0, tables, before;

	vm_up(&vm, state, NULL);
	size = test_vm_size(&vm);
	assert_int_equal(test_vm_slot(&vm, 0, 0, size, 0, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	for (unsigned i = 0; i < 32; i++)
		assert_int_equal(test_vm_touch(&vm, 0, size / 32 * i, TDP_R), 0);
	/* One large subtree: a table at level 1 and its tables (in this tree one or two). */
	subtree = vm.info.levels > 2 ? 2 + 32 : 1 + 32;
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	test_rcu_run();
	before = tables = atomic_load(&vm.env.tables);
	for (int more = 1; more; steps++) {
		uint64_t now;

		more = tdp_roots_reclaim(vm.mm, 2);
		assert_true(more == 0 || more == 1);
		test_rcu_run();
		now = atomic_load(&vm.env.tables);
		assert_true(tables - now <= 2 + subtree);
		tables = now;
	}
	if (vm.info.levels >= 4)
		assert_true(steps >= 16);
	assert_true(tables < before);
	assert_int_equal(stats_of(&vm).roots_invalid, 0);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(an_mm_stays_what_it_was_made_as),
		TEST_CASE_IF(capabilities_decide, first_format),
		TEST_CASE(what_the_machine_lacks_is_refused_or_not_used),
		TEST_CASE(racing_threads_make_one_root),
		TEST_CASE(reclaim_steps_are_bounded),
	};

	return test_run("kinds", cases, ARRAY_LEN(cases));
}

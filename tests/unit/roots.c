/* SPDX-License-Identifier: BSD-2-Clause */
/* Roots: found before made, counted, bounded, freed after their readers (rows R of FEATURES.md). */
#include "machine.h"

#include "mm/root.h"

#define RAM (4 * MIB)

/* One table per page, all over a few tables: RAM at 0, mapped small, touched by CPU 0. */
static void map_ram(struct test_vm *vm, uint32_t as_id, tdp_pa_t pa)
{
	assert_int_equal(test_vm_slot(vm, as_id, 0, RAM, pa, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	assert_int_equal(tdp_populate(vm->mm, as_id, range_of(0, RAM), TDP_POPULATE_YOUNG, NULL),
			 TDP_OK);
}

/* ---- finding and making ---- */

static void same_role_same_root(void **state)
{
	struct test_vm vm;
	struct tdp_root *a, *b, *other;
	tdp_role_t role;
	uint64_t allocs;

	vm_up(&vm, state, NULL);
	role = tdp_role_root(vm.mm, 0);
	a = root_of(&vm, 0);
	b = root_of(&vm, 0);
	assert_ptr_equal(a, b);
	assert_int_equal(stats_of(&vm).root_creates, 1);
	assert_int_equal(stats_of(&vm).root_hits, 1);
	other = root_of(&vm, 1);
	assert_ptr_not_equal(other, a);
	assert_true(view_of(&vm, other).pa != view_of(&vm, a).pa);
	assert_true(view_of(&vm, other).generation != view_of(&vm, a).generation);
	allocs = atomic_load(&vm.env.obj_allocs);
	for (unsigned bit = 0; bit < 64; bit++) {
		tdp_role_t changed = role ^ UINT64_C(1) << bit;
		struct tdp_root *c = NULL;
		int ret = tdp_root_get(vm.mm, changed, &c);

		if (bit >= 8 && bit < 11) { /* another address space: another root */
			assert_int_equal(ret, TDP_OK);
			assert_ptr_not_equal(c, a);
			assert_true(view_of(&vm, c).pa != view_of(&vm, a).pa);
			assert_int_equal(tdp_root_put(vm.mm, c), 0);
			allocs = atomic_load(&vm.env.obj_allocs);
		} else { /* nothing this mm can make */
			assert_int_equal(ret, TDP_EINVAL);
			assert_null(c);
			assert_int_equal(atomic_load(&vm.env.obj_allocs), allocs);
		}
	}
	assert_int_equal(tdp_root_put(vm.mm, a), 0);
	assert_int_equal(tdp_root_put(vm.mm, b), 0);
	assert_int_equal(tdp_root_put(vm.mm, other), 0);
	vm_down(&vm);
}

static void address_spaces_are_apart(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_access a;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, RAM, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(test_vm_slot(&vm, 1, 0, RAM, SLOT_PA + RAM, 0, NULL), TDP_OK);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[1].vcpu, 1), TDP_OK);
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(test_vm_access(&vm, cpu, 0x5000, TDP_W, &a), TEST_OK);
		assert_int_equal(a.pa, SLOT_PA + cpu * RAM + 0x5000);
	}
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, RAM), 0), TDP_OK);
	assert_int_equal(translate(&vm, 0, 0x5000, NULL), TDP_ENOENT);
	assert_int_equal(translate(&vm, 1, 0x5000, NULL), TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0x5000, TDP_W), 0);
	assert_int_equal(tdp_zap(vm.mm, TDP_AS_ALL, range_of(0, RAM), 0), TDP_OK);
	assert_int_equal(translate(&vm, 0, 0x5000, NULL), TDP_ENOENT);
	assert_int_equal(translate(&vm, 1, 0x5000, NULL), TDP_ENOENT);
	vm_down(&vm);
}

static void roots_are_bounded(void **state)
{
	struct test_vm_options opts = {.max_roots = 2};
	struct tdp_root *a, *b, *c = NULL;
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	a = root_of(&vm, 0);
	b = root_of(&vm, 1);
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 2), &c), TDP_ENOSPC);
	assert_null(c);
	assert_int_equal(tdp_vcpu_set_as(vm.cpu[0].vcpu, 2), TDP_OK);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_ENOSPC);
	assert_int_equal(stats_of(&vm).roots_valid, 2);
	/* A root that is gone makes room. */
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, a), 0);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, b), 1);
	vm_down(&vm);
}

/* Slot changes leave trees behind: a caller that never asks for their teardown does not run out of roots. */
static void dead_trees_make_room(void **state)
{
	struct test_vm_options opts = {.max_roots = 2};
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, RAM, SLOT_PA, 0, NULL), TDP_OK);
	for (int i = 0; i < 5; i++) {
		assert_int_equal(test_vm_access(&vm, 0, 0x5000, TDP_W, NULL), TEST_OK);
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	}
	assert_int_equal(stats_of(&vm).roots_valid, 1);
	vm_down(&vm);
}

/*
 * The same for populate, while all tickets but one are in use: it holds none while it makes room, or 64 of them
 * would wait for each other.
 */
static void room_is_made_before_the_ticket(void **state)
{
	struct test_vm_options opts = {.max_roots = 1};
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, RAM, SLOT_PA, 0, NULL), TDP_OK);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(0, TEST_PAGE), 0, NULL), TDP_OK);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	for (unsigned i = 1; i < TDPI_TICKETS; i++)
		vm.mm->tickets[i].busy = 1;
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(0, TEST_PAGE), 0, NULL), TDP_OK);
	for (unsigned i = 1; i < TDPI_TICKETS; i++)
		vm.mm->tickets[i].busy = 0;
	assert_int_equal(stats_of(&vm).roots_valid, 1);
	vm_down(&vm);
}

static void no_memory_no_root(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_root *root = NULL;
	struct test_vm vm;
	int ret = TDP_ENOMEM;

	vm_up(&vm, state, &opts);
	for (int64_t n = 1; ret == TDP_ENOMEM; n++) {
		assert_true(n < 10);
		test_env_fail(&vm.env, n);
		ret = tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &root);
		test_env_fail(&vm.env, 0);
		if (ret == TDP_ENOMEM) {
			assert_null(root);
			assert_int_equal(stats_of(&vm).roots_valid, 0);
			assert_int_equal(atomic_load(&vm.env.tables), 0);
		}
	}
	assert_int_equal(ret, TDP_OK);
	assert_true(atomic_load(&vm.env.failed) >= 2); /* the object, and the chunk */
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	vm_down(&vm);
}

/* ---- references ---- */

static void put_tells_the_last(void **state)
{
	struct test_vm vm;
	struct tdp_root *root;
	uint64_t pages;

	vm_up(&vm, state, NULL);
	root = root_of(&vm, 0);
	assert_int_equal(tdp_root_try_get(root), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	pages = atomic_load(&vm.env.tables);
	assert_int_equal(pages, vm.info.root_pages);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), pages); /* still held */
	assert_int_equal(tdp_root_put(vm.mm, root), 1);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), 0);
	vm_down(&vm);
}

static void dead_root_cannot_be_got(void **state)
{
	struct test_vm vm;
	struct tdp_root *root;

	vm_up(&vm, state, NULL);
	root = root_of(&vm, 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_true(tdp_root_is_invalid(root));
	assert_int_equal(tdp_root_try_get(root), TDP_ENOENT);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(tdp_root_put(vm.mm, root), 1);
	/* test_rcu frees nothing before it is told to, so the dead root can be looked at. */
	assert_int_equal(tdp_root_try_get(root), TDP_ENOENT);
	assert_false(tdpi_root_hold(root));
	assert_int_equal(root->refs, 0);
	vm_down(&vm);
}

static void kept_without_users(void **state)
{
	struct test_vm vm;
	struct tdp_root *a, *b;
	tdp_pa_t pa;

	vm_up(&vm, state, NULL);
	a = root_of(&vm, 0);
	map_ram(&vm, 0, SLOT_PA);
	pa = view_of(&vm, a).pa;
	assert_int_equal(tdp_root_put(vm.mm, a), 0);
	assert_int_equal(stats_of(&vm).roots_valid, 1);
	assert_int_equal(translate(&vm, 0, 0x3000, NULL), TDP_OK);
	b = root_of(&vm, 0);
	assert_int_equal(view_of(&vm, b).pa, pa);
	assert_int_equal(stats_of(&vm).root_creates, 1);
	assert_int_equal(tdp_root_put(vm.mm, b), 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(stats_of(&vm).roots_invalid, 1);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(stats_of(&vm).roots_invalid, 0);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), 0);
	vm_down(&vm);
}

static void one_put_too_many_is_a_bug(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_QUIET};
	struct tdp_mm_info info = {.size = (uint32_t)sizeof(info)};
	struct test_vm vm;
	struct tdp_root *root, *again = NULL;

	vm_up(&vm, state, &opts);
	map_ram(&vm, 0, SLOT_PA);
	root = root_of(&vm, 0);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	assert_int_equal(tdp_root_put(vm.mm, root), TDP_EIO);
	assert_int_equal(atomic_load(&vm.env.bug_logs), 1);
	assert_int_equal(tdp_mm_info(vm.mm, &info), TDP_OK);
	assert_int_equal(info.bugged, 1);
	/* The machine is lost, the host lives. */
	assert_int_equal(tdp_root_get(vm.mm, tdp_role_root(vm.mm, 0), &again), TDP_EIO);
	assert_int_equal(tdp_vcpu_load(vm.cpu[0].vcpu), TDP_EIO);
	assert_int_equal(fault(&vm, 0, 0, TDP_W), TDP_EIO);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, RAM), 0), TDP_EIO);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_EIO);
	assert_int_equal(tdp_root_put(vm.mm, root), TDP_EIO);
	assert_int_equal(atomic_load(&vm.env.bug_logs), 1); /* said once */
	assert_int_equal(test_vm_fini(&vm), 1);
}

static void a_valid_root_keeps_its_last_reference(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_QUIET};
	struct test_vm vm;
	struct tdp_root *root;

	vm_up(&vm, state, &opts);
	root = root_of(&vm, 0);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	/* Whatever reference it is that goes too often: the library's own stays. */
	assert_false(tdpi_root_drop(vm.mm, root));
	assert_int_equal(root->refs, 1);
	assert_int_equal(vm.mm->bugged, 1);
	assert_int_equal(test_vm_fini(&vm), 1);
}

static void pages_wait_for_readers(void **state)
{
	struct test_vm vm;
	struct tdp_root *root, *seen;
	uint64_t frees;

	vm_up(&vm, state, NULL);
	root = root_of(&vm, 0);
	map_ram(&vm, 0, SLOT_PA);
	frees = atomic_load(&vm.env.obj_frees);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	/* Off the list, yet whole: somebody may stand on it. */
	seen = vm.mm->roots;
	assert_ptr_equal(seen, root);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_null(vm.mm->roots);
	assert_int_equal(atomic_load(&vm.env.obj_frees), frees);
	assert_true(atomic_load(&vm.env.tables) > vm.info.root_pages);
	assert_null(seen->next);
	test_rcu_run();
	assert_int_equal(atomic_load(&vm.env.tables), 0);
	assert_true(atomic_load(&vm.env.obj_frees) > frees);
	vm_down(&vm);
}

static void destroy_counts_and_waits(void **state)
{
	struct test_vm vm;
	struct tdp_root *root;
	struct tdpi_table *lost;
	uint64_t before;

	/* Not while somebody holds a root or is a vCPU; then nothing has changed. */
	vm_up(&vm, state, NULL);
	map_ram(&vm, 0, SLOT_PA);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_EBUSY);
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	vm.cpus = 0;
	root = root_of(&vm, 0);
	assert_int_equal(tdp_mm_destroy(vm.mm), TDP_EBUSY);
	assert_int_equal(translate(&vm, 0, 0x1000, NULL), TDP_OK);
	assert_int_equal(tdp_root_put(vm.mm, root), 0);
	/* Callbacks wait when it begins, none when it is over. */
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0, RAM), 0), TDP_OK);
	assert_true(test_rcu_pending() > 0);
	assert_int_equal(tdp_mm_destroy(vm.mm), 0);
	assert_int_equal(test_rcu_pending(), 0);
	assert_int_equal(atomic_load(&vm.env.chunk_bytes), 0);
	vm.mm = NULL;
	assert_int_equal(test_vm_fini(&vm), 0);

	/* What it counts as lost it gives back all the same. */
	vm_up(&vm, state, &(struct test_vm_options){.env_flags = TEST_ENV_QUIET});
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	vm.cpus = 0;
	assert_int_equal(tdpi_pool_take(vm.mm, 1, &lost), TDP_OK);
	assert_int_equal(tdp_mm_destroy(vm.mm), 1);
	assert_int_equal(atomic_load(&vm.env.chunk_bytes), 0);
	vm.mm = NULL;
	before = atomic_load(&vm.env.violations);
	assert_int_equal(before, 1); /* the census, of the page that was still in use */
	atomic_store(&vm.env.tables, 0);
	assert_int_equal(test_vm_fini(&vm), before);
}

/* ---- what is a root ---- */

struct tables {
	tdp_pa_t pa[64];
	tdp_gpa_t gpa[64];
	size_t count;
};

static int note_table(void *arg, const struct tdp_visit *visit)
{
	struct tables *t = arg;

	if (t->count < ARRAY_LEN(t->pa)) {
		t->gpa[t->count] = visit->gpa;
		t->pa[t->count++] = visit->pa;
	}
	return 0;
}

static void only_roots_are_roots(void **state)
{
	struct tables t = {.count = 0};
	struct test_vm vm;
	struct tdp_root *root;
	tdp_pa_t pa;

	vm_up(&vm, state, NULL);
	map_ram(&vm, 0, SLOT_PA);
	root = root_of(&vm, 0);
	pa = view_of(&vm, root).pa;
	assert_true(tdp_is_root(vm.mm, pa));
	assert_int_equal(tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, note_table, &t),
			 0);
	assert_true(t.count > 0);
	for (size_t i = 0; i < t.count; i++)
		assert_false(tdp_is_root(vm.mm, t.pa[i]));
	assert_false(tdp_is_root(vm.mm, SLOT_PA));
	assert_false(tdp_is_root(vm.mm, pa + TEST_PAGE));
	assert_false(tdp_is_root(vm.mm, 0));
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_true(tdp_is_root(vm.mm, pa)); /* invalid, but it lives */
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	assert_int_equal(tdp_root_put(vm.mm, root), 1);
	assert_false(tdp_is_root(vm.mm, pa));
	vm_down(&vm);
}

static void metadata_by_arithmetic(void **state)
{
	static const struct test_vm_options hosts[] = {
		{.chunk_lg2 = 0}, {.env_flags = TEST_ENV_HOOKS}, {.chunk_lg2 = TEST_CHUNK_SMALL}};

	for (size_t h = 0; h < ARRAY_LEN(hosts); h++) {
		struct tables t = {.count = 0};
		struct test_vm vm;

		vm_up(&vm, state, &hosts[h]);
		map_ram(&vm, 0, SLOT_PA);
		assert_int_equal(
			tdp_walk(vm.mm, 0, everything(&vm), TDP_WALK_TABLE_PRE, note_table, &t), 0);
		assert_true(t.count > 0);
		for (size_t i = 0; i < t.count; i++) {
			const struct tdpi_table *meta = tdpi_table_at(vm.mm, t.pa[i]);

			/* No search, no list: the page's address alone. */
			assert_int_equal((uintptr_t)meta & (TDPI_META_SIZE - 1), 0);
			assert_int_equal(tdpi_table_pa(vm.mm, meta), t.pa[i]);
			assert_int_equal(meta->gfn, t.gpa[i] >> TDP_PAGE_LG2);
			assert_ptr_equal(tdpi_table_of(vm.mm, tdpi_table_entries(vm.mm, meta)),
					 meta);
		}
		vm_down(&vm);
	}
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(same_role_same_root),
		TEST_CASE(address_spaces_are_apart),
		TEST_CASE(roots_are_bounded),
		TEST_CASE(dead_trees_make_room),
		TEST_CASE(room_is_made_before_the_ticket),
		TEST_CASE(no_memory_no_root),
		TEST_CASE(put_tells_the_last),
		TEST_CASE(dead_root_cannot_be_got),
		TEST_CASE(kept_without_users),
		TEST_CASE(one_put_too_many_is_a_bug),
		TEST_CASE(a_valid_root_keeps_its_last_reference),
		TEST_CASE(pages_wait_for_readers),
		TEST_CASE(destroy_counts_and_waits),
		TEST_CASE(only_roots_are_roots),
		TEST_CASE(metadata_by_arithmetic),
	};

	return test_run("roots", cases, ARRAY_LEN(cases));
}

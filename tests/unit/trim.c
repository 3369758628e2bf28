/* SPDX-License-Identifier: BSD-2-Clause */
/* tdp_trim(): the host gets what no table uses, all of it, and nothing else. */
#include "machine.h"

#include "mm/table.h"

#define SPOTS 64u

static tdp_gpa_t spot(const struct test_vm *vm, uint32_t i)
{
	return test_vm_size(vm) / SPOTS * i;
}

static void up(struct test_vm *vm, void **state, const struct test_vm_options *opts)
{
	vm_up(vm, state, opts);
	assert_int_equal(test_vm_slot(vm, 0, 0, test_vm_size(vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
}

static void touch(struct test_vm *vm, uint32_t from, uint32_t end)
{
	for (uint32_t i = from; i < end; i++)
		assert_int_equal(test_vm_touch(vm, 0, spot(vm, i), TDP_W), 0);
}

static uint64_t trim(struct test_vm *vm)
{
	uint64_t bytes = UINT64_MAX;

	assert_int_equal(tdp_trim(vm->mm, &bytes), TDP_OK);
	return bytes;
}

/* Metadata of `tables` table pages and of itself, of one chunk: 64 bytes each. */
static uint64_t meta_pages(const struct test_vm *vm, uint64_t tables)
{
	uint64_t pages = (vm->mm->chunk_mask + 1) / TEST_PAGE;
	uint64_t first = (pages * TDPI_META_SIZE + TEST_PAGE - 1) / TEST_PAGE;

	return ((first + tables) * TDPI_META_SIZE + TEST_PAGE - 1) / TEST_PAGE;
}

/* One chunk: what stays is the tables, and their own metadata. */
static void only_tables_stay(void **state)
{
	for (unsigned hooks = 0; hooks < 2; hooks++) {
		struct test_vm_options opts = {.env_flags = hooks ? TEST_ENV_HOOKS : 0};
		struct tdp_stats stats;
		struct test_vm vm;
		uint64_t bytes, used;

		up(&vm, state, &opts);
		touch(&vm, 0, 8);
		stats = stats_of(&vm);
		used = stats.table_bytes / TEST_PAGE;
		assert_int_equal(stats.chunk_bytes, 2 * MIB);
		assert_int_equal(stats.spare_bytes, (504 - used) * TEST_PAGE);
		bytes = trim(&vm);
		assert_int_equal(bytes, atomic_load(&vm.env.unused_pages) * TEST_PAGE);
		/* A long root is aligned; before it are pages that nobody has had. */
		if (vm.info.root_pages <= 8) {
			assert_int_equal(test_env_backed(&vm.env), used + meta_pages(&vm, used));
			assert_int_equal(bytes,
					 2 * MIB - (used + meta_pages(&vm, used)) * TEST_PAGE);
		}
		assert_true(bytes > stats.spare_bytes);
		assert_int_equal(test_vm_check(&vm), 0);
		/* The latest come free: what the vCPU had for its next fault. */
		tdp_vcpu_destroy(vm.cpu[0].vcpu);
		vm.cpu[0].vcpu = NULL;
		assert_true(stats_of(&vm).table_bytes < used * TEST_PAGE);
		used = stats_of(&vm).table_bytes / TEST_PAGE;
		assert_true(trim(&vm) > 0);
		if (vm.info.root_pages <= 8)
			assert_int_equal(test_env_backed(&vm.env), used + meta_pages(&vm, used));
		/* All but the root, which came first. */
		assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
		test_rcu_run();
		used = stats_of(&vm).table_bytes / TEST_PAGE;
		assert_int_equal(used, vm.info.root_pages);
		trim(&vm);
		if (vm.info.root_pages <= 8)
			assert_int_equal(test_env_backed(&vm.env), used + meta_pages(&vm, used));
		vm_down(&vm);
	}
}

/* The same with holes: tables that came free between others. */
static void holes_are_told(void **state)
{
	struct test_dump before, after;
	struct test_vm vm;
	uint64_t used;

	up(&vm, state, NULL);
	touch(&vm, 0, SPOTS);
	for (uint32_t i = 0; i < SPOTS; i += 2)
		assert_int_equal(
			tdp_zap(vm.mm, 0, range_of(spot(&vm, i), test_vm_size(&vm) / SPOTS), 0),
			TDP_OK);
	trim(&vm); /* tables that wait for readers are tables yet */
	assert_int_equal(test_vm_check(&vm), 0);
	test_rcu_run();
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	used = stats_of(&vm).table_bytes / TEST_PAGE;
	assert_true(trim(&vm) >= SPOTS / 2 * TEST_PAGE);
	assert_true(test_env_backed(&vm.env) >= used + 1);
	assert_true(test_env_backed(&vm.env) <= used + 8);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	/* And are tables again. */
	touch(&vm, 0, SPOTS);
	assert_int_equal(stats_of(&vm).chunk_bytes, atomic_load(&vm.env.chunk_bytes));
	vm_down(&vm);
}

/* Nothing is told twice before something has come free. */
static void told_once(void **state)
{
	struct test_vm vm;

	up(&vm, state, NULL);
	touch(&vm, 0, 16);
	assert_true(trim(&vm) > 0);
	assert_int_equal(trim(&vm), 0);
	touch(&vm, 16, 32); /* out of what was told: the rest is known */
	assert_int_equal(trim(&vm), 0);
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(spot(&vm, 16), test_vm_size(&vm) / 4), 0),
			 TDP_OK);
	test_rcu_run();
	assert_true(trim(&vm) > 0);
	assert_int_equal(trim(&vm), 0);
	assert_int_equal(tdp_trim(vm.mm, NULL), TDP_OK);
	vm_down(&vm);
}

/* Every chunk, not only the one that is filled. */
static void every_chunk_is_told(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = 17}; /* two pages of 32 are metadata, or one */
	struct test_vm vm;
	uint64_t used, chunks;

	up(&vm, state, &opts);
	touch(&vm, 0, SPOTS);
	for (uint32_t i = 0; i < SPOTS; i++)
		if (i % 8)
			assert_int_equal(tdp_zap(vm.mm, 0,
						 range_of(spot(&vm, i), test_vm_size(&vm) / SPOTS),
						 0),
					 TDP_OK);
	test_rcu_run();
	assert_true(trim(&vm) > 0);
	used = stats_of(&vm).table_bytes / TEST_PAGE;
	chunks = stats_of(&vm).chunk_bytes >> 17;
	assert_int_equal(test_env_backed(&vm.env), used + chunks);
	vm_down(&vm);
}

/* A chunk without a table goes as a whole, the last one too, told or not. */
static void whole_chunks_go(void **state)
{
	for (unsigned told = 0; told < 2; told++) {
		struct test_vm_options opts = {.env_flags = TEST_ENV_NODES};
		struct test_vm vm;

		test_env_set_node(TDP_NODE_ANY);
		up(&vm, state, &opts);
		touch(&vm, 0, 4);
		if (told)
			trim(&vm);
		tdp_vcpu_destroy(vm.cpu[0].vcpu);
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		test_rcu_run();
		assert_int_equal(stats_of(&vm).table_bytes, 0);
		assert_int_equal(stats_of(&vm).chunk_bytes, 2 * MIB);
		/* Another node's chunk beside it: the empty one is of no use to anybody. */
		assert_int_equal(tdp_vcpu_create(vm.mm, vm.cpu[0].emu, &vm.cpu[0].vcpu), TDP_OK);
		test_env_set_node(1);
		touch(&vm, 0, 4);
		assert_int_equal(stats_of(&vm).chunk_bytes, 4 * MIB);
		assert_true(trim(&vm) >= 2 * MIB);
		assert_int_equal(stats_of(&vm).chunk_bytes, 2 * MIB);
		assert_int_equal(atomic_load(&vm.env.chunk_bytes), 2 * MIB);
		tdp_vcpu_destroy(vm.cpu[0].vcpu);
		vm.cpu[0].vcpu = NULL;
		assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
		test_rcu_run();
		assert_int_equal(trim(&vm), 2 * MIB);
		assert_int_equal(stats_of(&vm).chunk_bytes, 0);
		assert_int_equal(trim(&vm), 0);
		/* From nothing again. */
		assert_int_equal(tdp_populate(vm.mm, 0, range_of(0, 8 * TEST_PAGE), 0, NULL),
				 TDP_OK);
		assert_int_equal(translate(&vm, 0, 0, NULL), TDP_OK);
		test_env_set_node(TDP_NODE_ANY);
		vm_down(&vm);
	}
}

static void cannot_be_told(struct tdp_env *env)
{
	env->chunk_unused = NULL;
}

static void hosts_that_cannot_take_parts(void **state)
{
	struct test_vm_options opts = {.host = cannot_be_told};
	struct test_vm vm;

	up(&vm, state, &opts);
	touch(&vm, 0, 8);
	assert_int_equal(trim(&vm), 0);
	assert_int_equal(atomic_load(&vm.env.unused_pages), 0);
	/* They take wholes. */
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	vm.cpu[0].vcpu = NULL;
	assert_int_equal(tdp_roots_invalidate(vm.mm), TDP_OK);
	assert_int_equal(tdp_roots_reclaim(vm.mm, 0), 0);
	test_rcu_run();
	assert_int_equal(trim(&vm), 2 * MIB);
	vm_down(&vm);
}

static void bad_mms_are_refused(void **state)
{
	uint64_t bytes = 7;
	struct test_vm vm;

	assert_int_equal(tdp_trim(NULL, &bytes), TDP_EINVAL);
	assert_int_equal(bytes, 7);
	vm_up(&vm, state, NULL);
	assert_int_equal(tdp_trim(vm.mm, &bytes), TDP_OK);
	assert_int_equal(bytes, 0);
	vm_down(&vm);
}

/* A fresh page costs nothing: neither it nor its metadata is written before it is a table. */
static void fresh_pages_are_not_touched(void **state)
{
	struct test_vm vm;
	const unsigned char *chunk;
	uint64_t used, from;

	up(&vm, state, NULL);
	touch(&vm, 0, 2);
	chunk = (const unsigned char *)((uintptr_t)vm.mm->roots->table & ~(uintptr_t)(2 * MIB - 1));
	used = stats_of(&vm).table_bytes / TEST_PAGE;
	from = vm.info.root_pages == 16 ? 16 + 16 : vm.info.root_pages > 1 ? 8 + 8 : 8;
	from = (from + used) * TDPI_META_SIZE;
	for (uint64_t i = from; i < 8 * TEST_PAGE; i++)
		assert_int_equal(chunk[i], 0xa5);
	vm_down(&vm);
}

/* ---- beside others ---- */

#define ROUNDS 60u

static void *zap_and_touch(void *arg)
{
	struct test_vm *vm = arg;

	vm->env.env.rcu->thread_register();
	for (uint32_t i = 0; i < ROUNDS; i++) {
		for (uint32_t at = SPOTS / 2; at < SPOTS; at += 4)
			if (test_vm_touch(vm, 1, spot(vm, at), TDP_W))
				test_violation(&vm->env, "touched in vain");
		if (tdp_zap(vm->mm, 0, range_of(test_vm_size(vm) / 2, test_vm_size(vm) / 2), 0))
			test_violation(&vm->env, "zapped in vain");
		test_rcu_run();
	}
	vm->env.env.rcu->thread_unregister();
	return NULL;
}

static void *trim_all_the_time(void *arg)
{
	struct test_vm *vm = arg;

	vm->env.env.rcu->thread_register();
	for (uint32_t i = 0; i < ROUNDS; i++)
		if (tdp_trim(vm->mm, NULL))
			test_violation(&vm->env, "trimmed in vain");
	vm->env.env.rcu->thread_unregister();
	return NULL;
}

/* Nobody's table is taken for spare: the canaries of the env and of the walker tell. */
static void beside_everything(void **state)
{
	struct test_vm_options opts = {.cpus = 2, .chunk_lg2 = 17};
	struct test_dump before, after;
	pthread_t a, b;
	struct test_vm vm;

	up(&vm, state, &opts);
	touch(&vm, 0, SPOTS / 2);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	assert_int_equal(pthread_create(&a, NULL, zap_and_touch, &vm), 0);
	assert_int_equal(pthread_create(&b, NULL, trim_all_the_time, &vm), 0);
	assert_int_equal(pthread_join(a, NULL), 0);
	assert_int_equal(pthread_join(b, NULL), 0);
	test_rcu_run();
	assert_int_equal(tdp_compact(vm.mm, 0, everything(&vm)) < 0, 0);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, true), 0);
	test_dump_free(&before);
	test_dump_free(&after);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(only_tables_stay),    TEST_CASE(holes_are_told),
		TEST_CASE(told_once),           TEST_CASE(every_chunk_is_told),
		TEST_CASE(whole_chunks_go),     TEST_CASE(hosts_that_cannot_take_parts),
		TEST_CASE(bad_mms_are_refused), TEST_CASE(fresh_pages_are_not_touched),
		TEST_CASE(beside_everything),
	};

	return test_run("trim", cases, ARRAY_LEN(cases));
}

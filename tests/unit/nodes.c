/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables near who makes them (env.node): where they lie, what happens where a node has no memory, what is counted. */
#include "machine.h"

#include "engine/engine.h"
#include "mm/table.h"

#define CPUS 4u

/* Where cpu maps its i-th page: far from all others, so that each takes tables. */
static tdp_gpa_t spot(const struct test_vm *vm, uint32_t cpu, uint32_t i)
{
	uint64_t part = test_vm_size(vm) / CPUS;

	return part * cpu + part / 8 * i;
}

#define SPOTS 8u

struct census {
	struct test_vm *vm;
	uint64_t on[TEST_NODES], nowhere;
};

static int census_table(void *arg, const struct tdp_visit *v)
{
	struct census *c = arg;
	uint32_t node = test_env_node_of(&c->vm->env, tdpi_table_at(c->vm->mm, v->pa));

	if (node < TEST_NODES)
		c->on[node]++;
	else
		c->nowhere++;
	return 0;
}

/* Tables below the root that a range has, by the node of their chunk. */
static struct census census_of(struct test_vm *vm, struct tdp_range range)
{
	struct census c = {.vm = vm};

	if (vm->mm->roots)
		assert_int_equal(tdp_walk(vm->mm, 0, range, TDP_WALK_TABLE_PRE, census_table, &c),
				 0);
	return c;
}

static uint64_t all_of(const struct census *c)
{
	uint64_t n = c->nowhere;

	for (unsigned i = 0; i < TEST_NODES; i++)
		n += c->on[i];
	return n;
}

static struct tdp_range part_of(const struct test_vm *vm, uint32_t cpu)
{
	return range_of(spot(vm, cpu, 0), test_vm_size(vm) / CPUS);
}

static void up(struct test_vm *vm, void **state, uint32_t chunk_lg2)
{
	struct test_vm_options opts = {
		.cpus = CPUS, .chunk_lg2 = chunk_lg2, .env_flags = TEST_ENV_NODES};

	vm_up(vm, state, &opts);
	assert_int_equal(test_vm_slot(vm, 0, 0, test_vm_size(vm), 0, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
}

static void down(struct test_vm *vm)
{
	test_env_set_node(TDP_NODE_ANY);
	vm_down(vm);
}

/* On the thread of a vCPU that runs on a node. */
static int touch_on(struct test_vm *vm, uint32_t node, uint32_t cpu, uint32_t i)
{
	test_env_set_node(node);
	return test_vm_touch(vm, cpu, spot(vm, cpu, i), TDP_W);
}

/* The library's own numbers are those of the chunks. */
static void check_counts(struct test_vm *vm)
{
	struct tdp_stats stats = stats_of(vm);
	uint64_t bytes = 0;

	for (unsigned n = 0; n <= TDP_NODES; n++)
		bytes += stats.node_bytes[n];
	assert_int_equal(bytes, stats.table_bytes);
	for (unsigned n = 0; n < TDP_NODES; n++)
		assert_true(stats.node_bytes[n] <= (uint64_t)atomic_load(&vm->env.node_chunks[n])
							   << vm->env.env.chunk_lg2);
	assert_int_equal(stats.chunk_bytes, atomic_load(&vm->env.chunk_bytes));
	assert_int_equal(test_vm_check(vm), 0);
}

static void tables_are_near_who_faults(void **state)
{
	for (unsigned small = 0; small < 2; small++) {
		struct test_vm vm;

		up(&vm, state, small ? TEST_CHUNK_SMALL : 0);
		for (uint32_t i = 0; i < SPOTS; i++)
			for (uint32_t cpu = 0; cpu < CPUS; cpu++)
				assert_int_equal(touch_on(&vm, cpu, cpu, i), 0);
		for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
			struct census c = census_of(&vm, part_of(&vm, cpu));

			assert_true(all_of(&c) >= SPOTS);
			assert_true(c.on[cpu] + CPUS >= all_of(&c));
			/* Only a table above several parts is another's. */
			c = census_of(&vm,
				      range_of(spot(&vm, cpu, 1), test_vm_size(&vm) / CPUS / 2));
			assert_true(c.on[cpu] >= SPOTS / 2);
			assert_int_equal(c.nowhere, 0);
			for (uint32_t n = 0; n < CPUS; n++)
				assert_true(n == cpu || c.on[n] <= 1);
		}
		check_counts(&vm);
		down(&vm);
	}
}

/* All that a call makes, the caller's. */
static void ranges_are_near_who_calls(void **state)
{
	uint64_t huge;
	struct test_vm vm;
	struct census c;

	up(&vm, state, 0);
	test_env_set_node(2);
	huge = (uint64_t)1 << huge_lg2(&vm);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(0, 8 * huge), 0, NULL), TDP_OK);
	c = census_of(&vm, range_of(0, 8 * huge));
	assert_true(c.on[2] >= 8);
	assert_int_equal(c.on[2], all_of(&c));
	assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
	test_rcu_run();
	assert_int_equal(tdp_slot_remove(vm.mm, 0), TDP_OK);
	assert_int_equal(test_vm_slot(&vm, 0, 0, 8 * huge, 0, 0, NULL), TDP_OK);
	test_env_set_node(3);
	assert_int_equal(tdp_populate(vm.mm, 0, range_of(0, 8 * huge), 0, NULL), TDP_OK);
	test_env_set_node(1);
	assert_int_equal(tdp_split(vm.mm, 0, range_of(0, 8 * huge), TDP_PAGE_LG2), TDP_OK);
	c = census_of(&vm, range_of(0, 8 * huge));
	assert_true(c.on[1] >= 8);
	assert_true(c.on[1] + c.on[3] + c.on[2] == all_of(&c));
	check_counts(&vm);
	down(&vm);
}

/* A thread that goes elsewhere uses up what its vCPU has, no more. */
static void threads_move(void **state)
{
	struct test_vm vm;
	struct census before, after;
	uint64_t old;

	up(&vm, state, 0);
	for (uint32_t i = 0; i < SPOTS / 2; i++)
		assert_int_equal(touch_on(&vm, 0, 1, i), 0);
	before = census_of(&vm, part_of(&vm, 1));
	for (uint32_t i = SPOTS / 2; i < SPOTS; i++)
		assert_int_equal(touch_on(&vm, 3, 1, i), 0);
	after = census_of(&vm, part_of(&vm, 1));
	assert_int_equal(before.on[0], all_of(&before));
	old = after.on[0] - before.on[0];
	assert_true(old <= vm.mm->engine->fault_tables);
	assert_int_equal(after.on[3], all_of(&after) - after.on[0]);
	assert_true(after.on[3] > 0);
	check_counts(&vm);
	down(&vm);
}

/* A node without memory is as good as any other; when it has some again that is used. */
static void other_nodes_help_out(void **state)
{
	for (unsigned small = 0; small < 2; small++) {
		struct test_vm vm;
		struct census c;

		up(&vm, state, small ? TEST_CHUNK_SMALL : 0);
		assert_int_equal(touch_on(&vm, 0, 0, 0), 0);
		atomic_store(&vm.env.node_room[1], 0);
		for (uint32_t i = 0; i < SPOTS / 2; i++)
			assert_int_equal(touch_on(&vm, 1, 1, i), 0);
		c = census_of(&vm, part_of(&vm, 1));
		assert_int_equal(c.on[1], 0);
		if (!small) /* there was room on node 0, and nobody asked for more */
			assert_int_equal(c.nowhere, 0);
		check_counts(&vm);
		atomic_store(&vm.env.node_room[1], 1000);
		for (uint32_t i = SPOTS / 2; i < SPOTS; i++)
			assert_int_equal(touch_on(&vm, 1, 1, i), 0);
		c = census_of(&vm, part_of(&vm, 1));
		assert_true(c.on[1] > 0);
		check_counts(&vm);
		down(&vm);
	}
}

/* The host has nothing more at all, but a chunk of another node has room. */
static void room_elsewhere_is_found(void **state)
{
	struct test_vm vm;

	up(&vm, state, 0);
	assert_int_equal(touch_on(&vm, 5, 0, 0), 0);
	test_env_fail(&vm.env, 1);
	for (uint32_t i = 0; i < SPOTS; i++)
		assert_int_equal(touch_on(&vm, i, 1, i), 0);
	assert_int_equal(touch_on(&vm, TDP_NODE_ANY, 2, 0), 0);
	assert_true(atomic_load(&vm.env.failed) > 0);
	test_env_fail(&vm.env, 0);
	check_counts(&vm);
	down(&vm);
}

/* Each allocation in turn fails, and all after it: then nothing has changed. */
static void running_out_changes_nothing(void **state)
{
	int64_t n = 0;
	int ret;

	do {
		struct test_dump before, after;
		struct test_vm vm;
		uint64_t bytes;

		n++;
		assert_true(n < 100);
		up(&vm, state, TEST_CHUNK_SMALL);
		assert_int_equal(touch_on(&vm, 0, 0, 0), 0);
		assert_int_equal(tdp_vcpu_load(vm.cpu[1].vcpu), TDP_OK);
		assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
		bytes = stats_of(&vm).table_bytes;
		test_env_set_node(1);
		test_env_fail(&vm.env, n);
		ret = fault(&vm, 1, spot(&vm, 1, 0), TDP_W);
		test_env_fail(&vm.env, 0);
		if (ret < 0) {
			assert_int_equal(ret, TDP_ENOMEM);
			assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
			assert_int_equal(test_dump_diff(&before, &after, false), 0);
			test_dump_free(&after);
			assert_int_equal(stats_of(&vm).table_bytes, bytes);
			assert_int_equal(fault(&vm, 1, spot(&vm, 1, 0), TDP_W), TDP_FAULT_FIXED);
		}
		test_dump_free(&before);
		check_counts(&vm);
		down(&vm);
	} while (ret < 0);
	/* A chunk for a root of many pages has room for all of it. */
	assert_true(n > 1 || format_of(state)->root_pages == 16);
}

/* What comes free is its own node's again, and an empty chunk goes back to where it was from. */
static void tables_go_home(void **state)
{
	struct test_vm vm;
	struct census c;

	up(&vm, state, 0);
	for (uint32_t round = 0; round < 3; round++) {
		for (uint32_t cpu = 1; cpu < CPUS; cpu++)
			for (uint32_t i = 0; i < SPOTS; i++)
				assert_int_equal(touch_on(&vm, cpu, cpu, i), 0);
		/* Two parts share no table but those above both, which the first one made. */
		c = census_of(&vm, range_of(spot(&vm, 3, 1), test_vm_size(&vm) / CPUS / 2));
		assert_true(c.on[3] >= SPOTS / 2);
		assert_true(c.on[3] + 1 >= all_of(&c));
		for (uint32_t n = 1; n < CPUS; n++)
			assert_int_equal(atomic_load(&vm.env.node_chunks[n]), 1);
		assert_int_equal(tdp_zap(vm.mm, 0, everything(&vm), 0), TDP_OK);
		test_rcu_run();
		check_counts(&vm);
	}
	/* Caches apart, all is free but the root, which node 1 has. */
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		tdp_vcpu_destroy(vm.cpu[cpu].vcpu);
		vm.cpu[cpu].vcpu = NULL;
	}
	assert_int_equal(atomic_load(&vm.env.node_chunks[1]), 1);
	assert_int_equal(atomic_load(&vm.env.node_chunks[2]), 0);
	assert_int_equal(atomic_load(&vm.env.node_chunks[3]), 0);
	assert_int_equal(stats_of(&vm).node_bytes[1], vm.info.root_pages * TEST_PAGE);
	down(&vm);
}

/* One that was full has room again, at its own node: nobody asks for another chunk. */
static void full_chunks_go_home(void **state)
{
	struct test_vm vm;

	up(&vm, state, format_of(state)->root_pages == 16 ? 17 : 14);
	for (uint32_t cpu = 0; cpu < CPUS; cpu++) {
		int64_t chunks;

		for (uint32_t i = 0; i < SPOTS; i++)
			assert_int_equal(touch_on(&vm, cpu, cpu, i), 0);
		assert_int_equal(tdp_vcpu_topup(vm.cpu[cpu].vcpu), TDP_OK);
		chunks = atomic_load(&vm.env.node_chunks[cpu]);
		for (uint32_t i = 0; i < SPOTS; i += 2)
			assert_int_equal(tdp_zap(vm.mm, 0,
						 range_of(spot(&vm, cpu, i),
							  test_vm_size(&vm) / CPUS / SPOTS),
						 0),
					 TDP_OK);
		test_rcu_run(); /* of the first zap, then of the others */
		test_rcu_run();
		for (uint32_t i = 0; i < SPOTS; i += 2)
			assert_int_equal(touch_on(&vm, cpu, cpu, i), 0);
		assert_int_equal(tdp_vcpu_topup(vm.cpu[cpu].vcpu), TDP_OK);
		assert_true(atomic_load(&vm.env.node_chunks[cpu]) <= chunks);
		check_counts(&vm);
	}
	down(&vm);
}

static void high_nodes_share_places(void **state)
{
	struct test_vm vm;

	up(&vm, state, 0);
	assert_int_equal(touch_on(&vm, 0, 0, 0), 0);
	assert_int_equal(touch_on(&vm, TDP_NODES + 3, 1, 0), 0);
	assert_int_equal(atomic_load(&vm.env.node_chunks[TDP_NODES + 3]), 1);
	assert_int_equal(atomic_load(&vm.env.node_chunks[3]), 0);
	assert_true(stats_of(&vm).node_bytes[3] > 0);
	assert_int_equal(touch_on(&vm, 3, 2, 0), 0); /* there is room in their common place */
	assert_int_equal(atomic_load(&vm.env.node_chunks[3]), 0);
	down(&vm);
}

/* Who has no wish gets what there is, or what the host thinks best. */
static void no_wish(void **state)
{
	struct test_vm vm;
	struct tdp_stats stats;

	up(&vm, state, 0);
	assert_int_equal(touch_on(&vm, TDP_NODE_ANY, 0, 0), 0);
	stats = stats_of(&vm);
	assert_int_equal(stats.node_bytes[TDP_NODES], stats.table_bytes);
	assert_int_equal(touch_on(&vm, 4, 1, 0), 0);
	assert_int_equal(touch_on(&vm, TDP_NODE_ANY, 2, 0), 0);
	assert_int_equal(stats_of(&vm).chunk_bytes, 4 * MIB);
	down(&vm);
}

/* A fault that has its tables asks nothing; filling up asks once. */
static void asked_when_filling_up(void **state)
{
	struct test_vm vm;
	uint64_t asked;

	up(&vm, state, 0);
	assert_int_equal(touch_on(&vm, 0, 0, 0), 0);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	asked = atomic_load(&vm.env.node_asked);
	for (uint32_t i = 1; i < 1u << vm.mm->index_lg2; i++)
		assert_int_equal(fault(&vm, 0, i * TEST_PAGE, TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(atomic_load(&vm.env.node_asked), asked);
	assert_int_equal(fault(&vm, 0, spot(&vm, 1, 0), TDP_W), TDP_FAULT_FIXED);
	assert_int_equal(atomic_load(&vm.env.node_asked), asked);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(atomic_load(&vm.env.node_asked), asked + 1);
	down(&vm);
}

static void without_node(struct tdp_env *env)
{
	env->node = NULL;
}

static void without_alloc(struct tdp_env *env)
{
	env->chunk_alloc_on = NULL;
}

static void as_before(struct tdp_env *env)
{
	env->size = (uint32_t)offsetof(struct tdp_env, chunk_alloc_on);
	env->node = NULL;
}

static void both_hooks_or_none(void **state)
{
	struct test_vm_options opts = {.env_flags = TEST_ENV_NODES};
	struct test_vm vm;

	opts.host = without_node;
	assert_int_equal(test_vm_init(&vm, *state, &opts), TDP_EINVAL);
	opts.host = without_alloc;
	assert_int_equal(test_vm_init(&vm, *state, &opts), TDP_EINVAL);
	opts.host = as_before; /* a caller that knows neither */
	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, TEST_PAGE, 0, 0, NULL), TDP_OK);
	assert_int_equal(touch_on(&vm, 1, 0, 0), 0);
	assert_int_equal(stats_of(&vm).node_bytes[TDP_NODES], stats_of(&vm).table_bytes);
	down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(tables_are_near_who_faults),
		TEST_CASE(ranges_are_near_who_calls),
		TEST_CASE(threads_move),
		TEST_CASE(other_nodes_help_out),
		TEST_CASE(room_elsewhere_is_found),
		TEST_CASE(running_out_changes_nothing),
		TEST_CASE(tables_go_home),
		TEST_CASE(full_chunks_go_home),
		TEST_CASE(high_nodes_share_places),
		TEST_CASE(no_wish),
		TEST_CASE(asked_when_filling_up),
		TEST_CASE(both_hooks_or_none),
	};

	return test_run("nodes", cases, ARRAY_LEN(cases));
}

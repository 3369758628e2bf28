/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The POSIX host's memory by node, and what it gives back. Its hooks for several nodes are called here on any
 * machine; whether the environments have them depends on how many nodes there are.
 */
#include "machine.h"

#include "../../backends/host/host.h"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHUNK (2 * MIB)
#define PAGES (CHUNK / TEST_PAGE)

static bool host_has_policies(void)
{
	int mode;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0ul, NULL, 0ul) == 0;
}

/* The policy of the memory at va, and the first node that it names. */
static int policy_of(const void *va, unsigned *node)
{
	unsigned long mask[1024 / 8 / sizeof(unsigned long)] = {0};
	int mode = -1;

	assert_int_equal(syscall(SYS_get_mempolicy, &mode, mask, 1024ul, va, MPOL_F_ADDR), 0);
	for (*node = 0; *node < 64 && !(mask[0] >> *node & 1);)
		++*node;
	return mode;
}

static void hooks_as_there_are_nodes(void **state)
{
	static const char *const flavours[] = {"memb", "mb", "qsbr", "bp"};
	unsigned node = tdpi_host_node(NULL);
	unsigned first = 0, last = 0;
	char path[64], line[256];
	FILE *status = fopen("/proc/self/status", "r");

	(void)state;
	/* As the kernel tells it elsewhere. */
	while (status && fgets(line, sizeof(line), status))
		if (sscanf(line, "Mems_allowed_list: %u%*[-,]%u", &first, &last) == 1)
			assert_int_equal(tdpi_host_nodes(), 1);
	if (last > first && host_has_policies())
		assert_true(tdpi_host_nodes() > 1);
	if (status)
		fclose(status);
	for (size_t i = 0; i < ARRAY_LEN(flavours); i++) {
		const struct tdp_env *env = tdp_posix_env(flavours[i]);

		assert_int_equal(env->node != NULL, tdpi_host_nodes() > 1);
		assert_int_equal(env->chunk_alloc_on != NULL, tdpi_host_nodes() > 1);
		assert_non_null(env->chunk_unused);
	}
	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u", node);
	assert_true(node == TDP_NODE_ANY || access("/sys/devices/system/node", F_OK) != 0 ||
		    access(path, F_OK) == 0);
}

static void chunks_are_wished_for_on_their_node(void **state)
{
	uint64_t before = tdp_posix_chunk_bytes();
	unsigned node;

	(void)state;
	if (!host_has_policies())
		skip();
	for (unsigned round = 0; round < 3; round++) {
		char *near = tdpi_host_chunk_alloc_on(NULL, CHUNK, 0);
		char *any = tdpi_host_chunk_alloc(NULL, CHUNK);

		assert_non_null(near);
		assert_non_null(any);
		assert_int_equal((uintptr_t)near % CHUNK, 0);
		memset(near, 1, CHUNK);
		memset(any, 2, CHUNK);
		assert_int_equal(policy_of(near, &node), MPOL_PREFERRED);
		assert_int_equal(node, 0);
		assert_int_equal(policy_of(near + CHUNK - TEST_PAGE, &node), MPOL_PREFERRED);
		assert_int_not_equal(policy_of(any, &node), MPOL_PREFERRED);
		assert_int_equal(near[CHUNK - 1], 1);
		assert_int_equal(tdp_posix_chunk_bytes(), before + 2 * CHUNK);
		tdpi_host_chunk_free(NULL, any, CHUNK);
		tdpi_host_chunk_free(NULL, near, CHUNK);
		assert_int_equal(tdp_posix_chunk_bytes(), before);
	}
}

/* Nodes that are not there, or too many to have arenas: memory all the same. */
static void any_node_serves(void **state)
{
	static const uint32_t nodes[] = {63, 64, 1023, 1024, TDP_NODE_ANY - 1};

	(void)state;
	for (size_t i = 0; i < ARRAY_LEN(nodes); i++) {
		char *chunk = tdpi_host_chunk_alloc_on(NULL, CHUNK, nodes[i]);

		assert_non_null(chunk);
		chunk[CHUNK - 1] = 1;
		tdpi_host_chunk_free(NULL, chunk, CHUNK);
		assert_null(tdpi_host_chunk_alloc_on(NULL, 12288, nodes[i]));
		assert_null(tdpi_host_chunk_alloc_on(NULL, 0, nodes[i]));
	}
}

/* What is told to be unused is not there any more; all else is. */
static void unused_pages_go(void **state)
{
	for (uint64_t size = CHUNK; size >= 16 * TEST_PAGE; size /= 32) {
		unsigned char page[PAGES], *chunk = tdpi_host_chunk_alloc(NULL, size);
		uint64_t host = (uint64_t)sysconf(_SC_PAGESIZE) / TEST_PAGE;

		(void)state;
		assert_non_null(chunk);
		memset(chunk, 0x5a, size);
		tdpi_host_chunk_unused(NULL, chunk, size, 3 * TEST_PAGE, 9 * TEST_PAGE);
		tdpi_host_chunk_unused(NULL, chunk, size, size - TEST_PAGE * host, size);
		assert_int_equal(mincore(chunk, size, page), 0);
		if (host == 1)
			for (uint64_t i = 0; i < size / TEST_PAGE; i++)
				assert_int_equal(page[i] & 1,
						 !((i >= 3 && i < 9) || i == size / TEST_PAGE - 1));
		for (uint64_t i = 0; i < size / TEST_PAGE; i++)
			if (i < 3 || (i >= 9 && i < size / TEST_PAGE - host))
				assert_int_equal(chunk[i * TEST_PAGE], 0x5a);
		/* And can be used again. */
		memset(chunk, 0xa5, size);
		tdpi_host_chunk_free(NULL, chunk, size);
	}
}

/* A VM on such a host, whatever this machine is: its tables on the node where we run, and given back. */
static void a_vm_by_node(void **state)
{
	struct tdp_slot_desc ram = {.size = sizeof(ram), .gpa = {0, 16 * MIB}, .pa = 0};
	struct tdp_mm_config cfg = tdp_mm_config_default();
	struct tdp_stats stats = {.size = sizeof(stats)};
	struct tdp_report report = {.size = sizeof(report)};
	struct tdp_env env = *tdp_posix_env_memb();
	uint64_t bytes = 0, on = 0;
	struct tdp_emu *machine;
	struct tdp_mm *mm;
	uint32_t slot;

	(void)state;
	env.node = tdpi_host_node;
	env.chunk_alloc_on = tdpi_host_chunk_alloc_on;
	env.rcu = &tdp_rcu_single;
	ram.flags = TDP_SLOT_FORCE_4K;
	env.rcu->thread_register();
	assert_int_equal(tdp_emu_create(NULL, &machine), TDP_OK);
	cfg.format = TDP_FMT_EPT, cfg.gpa_bits = 48, cfg.env = &env;
	cfg.backend = &tdp_emu_backend, cfg.backend_ctx = machine;
	assert_int_equal(tdp_mm_create(&cfg, &mm), TDP_OK);
	assert_int_equal(tdp_slot_add(mm, &ram, &slot), TDP_OK);
	assert_int_equal(tdp_populate(mm, 0, ram.gpa, 0, NULL), TDP_OK);
	assert_int_equal(tdp_trim(mm, &bytes), TDP_OK);
	assert_int_equal(tdp_stats(mm, &stats), TDP_OK);
	for (unsigned n = 0; n < TDP_NODES; n++)
		on += stats.node_bytes[n];
	if (tdpi_host_node(NULL) != TDP_NODE_ANY)
		assert_int_equal(on, stats.table_bytes);
	assert_int_equal(stats.chunk_bytes, bytes + stats.table_bytes + TEST_PAGE);
	assert_int_equal(tdp_populate(mm, 0, ram.gpa, 0, NULL), TDP_OK);
	assert_int_equal(tdp_verify(mm, &report), TDP_OK);
	assert_int_equal(report.leaves[0], 16 * MIB / TEST_PAGE);
	assert_int_equal(tdp_mm_destroy(mm), TDP_OK);
	tdp_emu_destroy(machine);
	env.rcu->thread_unregister();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hooks_as_there_are_nodes),
		cmocka_unit_test(chunks_are_wished_for_on_their_node),
		cmocka_unit_test(any_node_serves),
		cmocka_unit_test(unused_pages_go),
		cmocka_unit_test(a_vm_by_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

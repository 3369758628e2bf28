/* SPDX-License-Identifier: BSD-2-Clause */
/* The environments themselves: one constant table per liburcu flavour, found by call or by name. */
#include "host.h"

#include <string.h>

#if HOST_ASAN
#define HOST_TABLE_STATE tdpi_host_table_state
#else
#define HOST_TABLE_STATE NULL
#endif

/* The walker stands in the same process: it sees tables where we do, so linear_offset is 0. */
#define HOST_ENV(flavour, node_hook, alloc_hook)                                                   \
	{                                                                                          \
		.size = sizeof(struct tdp_env), .chunk_alloc = tdpi_host_chunk_alloc,              \
		.chunk_free = tdpi_host_chunk_free, .obj_alloc = tdpi_host_obj_alloc,              \
		.obj_free = tdpi_host_obj_free, .rcu = &tdpi_host_rcu_##flavour,                   \
		.wait = tdpi_host_wait, .wake = tdpi_host_wake, .relax = tdpi_host_relax,          \
		.log = tdpi_host_log, .table_state = HOST_TABLE_STATE, .now = tdpi_host_now,       \
		.scan = tdpi_host_scan, .node = node_hook, .chunk_alloc_on = alloc_hook,           \
		.chunk_unused = tdpi_host_chunk_unused,                                            \
	}

/* One for machines with one node, where there is nothing to ask, and one for others. */
#define HOST_FLAVOUR(flavour)                                                                      \
	static const struct tdp_env env_##flavour[2] = {                                           \
		HOST_ENV(flavour, NULL, NULL),                                                     \
		HOST_ENV(flavour, tdpi_host_node, tdpi_host_chunk_alloc_on),                       \
	};                                                                                         \
	const struct tdp_env *tdp_posix_env_##flavour(void)                                        \
	{                                                                                          \
		return &env_##flavour[tdpi_host_nodes() > 1];                                      \
	}

HOST_FLAVOUR(memb)
HOST_FLAVOUR(mb)
HOST_FLAVOUR(qsbr)
HOST_FLAVOUR(bp)

const struct tdp_env *tdp_posix_env(const char *flavour)
{
	static const struct {
		const char *name;
		const struct tdp_env *(*env)(void);
	} all[] = {
		{"memb", tdp_posix_env_memb},
		{"mb", tdp_posix_env_mb},
		{"qsbr", tdp_posix_env_qsbr},
		{"bp", tdp_posix_env_bp},
	};

	if (!flavour)
		return NULL;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strcmp(flavour, all[i].name))
			return all[i].env();
	}
	return NULL;
}

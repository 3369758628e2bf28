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
#define HOST_ENV(flavour)                                                                          \
	{                                                                                          \
		.size = sizeof(struct tdp_env), .chunk_alloc = tdpi_host_chunk_alloc,              \
		.chunk_free = tdpi_host_chunk_free, .obj_alloc = tdpi_host_obj_alloc,              \
		.obj_free = tdpi_host_obj_free, .rcu = &tdpi_host_rcu_##flavour,                   \
		.wait = tdpi_host_wait, .wake = tdpi_host_wake, .relax = tdpi_host_relax,          \
		.log = tdpi_host_log, .table_state = HOST_TABLE_STATE, .now = tdpi_host_now,       \
		.scan = tdpi_host_scan,                                                            \
	}

static const struct tdp_env env_memb = HOST_ENV(memb);
static const struct tdp_env env_mb = HOST_ENV(mb);
static const struct tdp_env env_qsbr = HOST_ENV(qsbr);
static const struct tdp_env env_bp = HOST_ENV(bp);

const struct tdp_env *tdp_posix_env_memb(void)
{
	return &env_memb;
}

const struct tdp_env *tdp_posix_env_mb(void)
{
	return &env_mb;
}

const struct tdp_env *tdp_posix_env_qsbr(void)
{
	return &env_qsbr;
}

const struct tdp_env *tdp_posix_env_bp(void)
{
	return &env_bp;
}

const struct tdp_env *tdp_posix_env(const char *flavour)
{
	static const struct {
		const char *name;
		const struct tdp_env *env;
	} all[] = {
		{"memb", &env_memb},
		{"mb", &env_mb},
		{"qsbr", &env_qsbr},
		{"bp", &env_bp},
	};

	if (!flavour)
		return NULL;
	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		if (!strcmp(flavour, all[i].name))
			return all[i].env;
	}
	return NULL;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Calls of the host that may sleep, made nowhere else: each is one of those that LOCKING.md has rules for. */
#ifndef TDPI_MM_HOST_H
#define TDPI_MM_HOST_H

#include "mm/mm.h"

/* Zeroed; NULL: no memory. */
static inline void *tdpi_obj_alloc(const struct tdp_env *env, uint64_t size)
{
	tdpi_lockcheck(env, TDPI_CALL_ALLOC);
	return env->obj_alloc(env->priv, size);
}

static inline void *tdpi_chunk_alloc(const struct tdp_env *env, uint64_t size, uint32_t node)
{
	tdpi_lockcheck(env, TDPI_CALL_ALLOC);
	return node == TDP_NODE_ANY ? env->chunk_alloc(env->priv, size)
				    : env->chunk_alloc_on(env->priv, size, node);
}

static inline void tdpi_yield(const struct tdp_env *env)
{
	tdpi_lockcheck(env, TDPI_CALL_YIELD);
	env->yield(env->priv);
}

static inline void tdpi_synchronize(const struct tdp_mm *mm)
{
	tdpi_lockcheck(&mm->env, TDPI_CALL_SYNCHRONIZE);
	mm->rcu.synchronize();
}

static inline void tdpi_barrier(const struct tdp_mm *mm)
{
	tdpi_lockcheck(&mm->env, TDPI_CALL_BARRIER);
	mm->rcu.barrier();
}

/* The slot is held, and its backing has the op. */
static inline int tdpi_resolve(const struct tdp_mm *mm, const struct tdpi_slot *slot,
			       tdpi_gfn_t gfn, uint32_t lg2, uint32_t access, struct tdp_page *page)
{
	tdpi_lockcheck(&mm->env, TDPI_CALL_BACKING);
	return slot->ops.resolve(slot->backing_arg, gfn << TDP_PAGE_LG2, lg2, access, page);
}

static inline void tdpi_release(const struct tdp_mm *mm, const struct tdpi_slot *slot,
				tdpi_gfn_t gfn, const struct tdp_page *page, uint32_t flags)
{
	tdpi_lockcheck(&mm->env, TDPI_CALL_BACKING);
	slot->ops.release(slot->backing_arg, gfn << TDP_PAGE_LG2, page, flags);
}

#endif

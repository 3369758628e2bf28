/* SPDX-License-Identifier: BSD-2-Clause */
/* Begin and end of operations that belong to no vCPU: own cache, a ticket and its counts. */
#ifndef TDPI_MM_OP_H
#define TDPI_MM_OP_H

#include "engine/engine.h"

struct tdpi_bulk {
	struct tdpi_op op;
	struct tdpi_cache cache;
};

/* All of it but the gather. */
static inline void tdpi_op_begin(struct tdpi_op *op, struct tdp_mm *mm, struct tdpi_cache *cache,
				 struct tdpi_counts *counts)
{
	op->mm = mm;
	op->cache = cache;
	op->counts = counts;
	op->vcpu_cookie = NULL;
	op->no_yield = false;
	op->max_tables = 0;
	op->limit = NULL;
}

static inline void tdpi_bulk_begin(struct tdpi_bulk *b, struct tdp_mm *mm, enum tdp_op op)
{
	b->cache.list = NULL;
	b->cache.count = 0;
	tdpi_gather_begin(&b->op.gather, mm, op);
	tdpi_op_begin(&b->op, mm, &b->cache, b->op.gather.counts);
}

/* TDP_DEBUG 3: every invariant of every root after each operation; else nothing. Defined in look.c. */
#if TDP_DEBUG >= 3
void tdpi_check_all(struct tdp_mm *mm);
#else
static inline void tdpi_check_all(struct tdp_mm *mm)
{
	(void)mm;
}
#endif

/* Outside read sections. What was removed is flushed and on its way to be freed when this returns. */
static inline void tdpi_bulk_end(struct tdpi_bulk *b)
{
	tdpi_gather_end(&b->op.gather);
	tdpi_cache_drain(b->op.mm, &b->cache);
	tdpi_lockcheck(&b->op.mm->env, TDPI_AT_OPERATION_END);
	tdpi_check_all(b->op.mm);
}

#endif

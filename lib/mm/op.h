/* SPDX-License-Identifier: BSD-2-Clause */
/* Begin and end of operations that belong to no vCPU: own cache, own counts, a ticket. */
#ifndef TDPI_MM_OP_H
#define TDPI_MM_OP_H

#include "engine/engine.h"

struct tdpi_bulk {
	struct tdpi_op op;
	struct tdpi_cache cache;
	struct tdpi_counts counts;
};

static inline void tdpi_bulk_begin(struct tdpi_bulk *b, struct tdp_mm *mm, enum tdp_op op)
{
	memset(b, 0, sizeof(*b));
	b->op.mm = mm;
	b->op.cache = &b->cache;
	b->op.counts = &b->counts;
	tdpi_gather_begin(&b->op.gather, mm, &b->counts, op);
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
	tdpi_counts_merge(b->op.mm, &b->counts);
	tdpi_lockcheck(&b->op.mm->env, TDPI_AT_OPERATION_END);
	tdpi_check_all(b->op.mm);
}

#endif

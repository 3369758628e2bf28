/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gather: what an operation has made unreachable and must flush and free before it returns.
 *
 * Order of a finish: flush once, read the dirty bits left in cut-off tables, complete the ticket, retire
 * the tables. tdpi_gather_retire() wants a struct tdpi_flushed, which only gather.c can make, so a table
 * cannot be freed without its flush.
 *
 * Owed flushes. Between a removal and its flush the table owes one. An operation that removes holds a
 * ticket; each removal stores ticket number * 64 + slot in table->owed, and the ticket's `done` reaches that
 * number once flushed. Two rules: whoever promises that nothing is reachable adds what it finds owed
 * to its own flush (tdpi_gather_owed); nobody fills an empty entry of a table that owes before flushing
 * that entry himself (tdpi_owes). When a removal overwrites another's unfinished ticket, the new one flushes
 * the whole table, so that its completion is true for both.
 *
 * Levels. Where only leaves changed the backend is told of which levels, so that a walker can spare the rest. What
 * vCPUs can have cached in a table's range is not only what it maps now: a leaf that was split without a break stays
 * in TLBs, and so do the small ones that were merged, and the way to their table. So each table knows (`cached`,
 * under its lock): its own level, once it was linked; what its parent had, if a leaf was split into it; and
 * everything, once tables below it were merged without a break. Nothing of an empty entry is cached unless the
 * table owes. Where a table was cut off, and for what others owe, everything is flushed.
 *
 * Ahead. A zap that goes on to the next root lets the backend begin the flush of the one before, and its finish waits
 * for all that were begun: before anything is collected, completed or retired. Until then the tables owe. Without that,
 * or when so many are outstanding, one flush is for all roots that are left.
 */
#ifndef TDPI_MM_GATHER_H
#define TDPI_MM_GATHER_H

#include "mm/counts.h"
#include "mm/table.h"

#define TDPI_LEVELS_ALL 0xffu /* leaves of all levels, and pointers to tables */

struct tdpi_gather {
	struct tdp_mm *mm;
	struct tdpi_counts *counts;
	enum tdp_op op;             /* who asks for its flushes */
	struct tdpi_ticket *ticket; /* NULL: may not remove */
	uint64_t number;            /* of the removals since the last finish */
	tdpi_gfn_t start, end;      /* to flush; start >= end: nothing */
	uint32_t levels;            /* … of which levels */
	uint32_t met;               /* what `levels` is for all leaves that a harvest has seen */
	uint32_t causes;            /* bit per enum tdp_flush_cause */
	bool quiet;                 /* nothing here can be reached by an MMU: no flush (teardown) */
	uint32_t table_count;       /* subtrees waiting */
	uint32_t begun;             /* flushes waited for in the finish */
	uint64_t freed;             /* tables cut off since begin */
	struct tdpi_table *tables;  /* roots of cut-off subtrees */
	uint64_t token[TDP_FLUSHES_BEGUN_MAX];
};

/* Proof that what was gathered has been flushed. */
struct tdpi_flushed {
	uint64_t number;
};

/* Claim a ticket (waits while all are in use: before any lock). */
void tdpi_gather_begin(struct tdpi_gather *g, struct tdp_mm *mm, enum tdp_op op);
/* Nothing to flush. */
static inline void tdpi_gather_reset_range(struct tdpi_gather *g)
{
	g->start = 1;
	g->end = 0;
	g->levels = 0;
	g->causes = 0;
}

static inline void tdpi_gather_reset(struct tdpi_gather *g)
{
	tdpi_gather_reset_range(g);
	g->tables = NULL;
	g->table_count = 0;
	g->begun = 0;
}

/* For operations that remove nothing but may flush. */
static inline void tdpi_gather_begin_flush_only(struct tdpi_gather *g, struct tdp_mm *mm,
						struct tdpi_counts *counts, enum tdp_op op)
{
	g->mm = mm;
	g->counts = counts;
	g->op = op;
	g->ticket = NULL;
	g->number = 0;
	g->quiet = false;
	g->freed = 0;
	g->met = 0;
	tdpi_gather_reset(g);
}

/* Flush, collect, complete, retire. The gather can be used again. No lock held. */
void tdpi_gather_finish(struct tdpi_gather *g);
/* Finish and give the ticket back. */
void tdpi_gather_end(struct tdpi_gather *g);

static inline bool tdpi_gather_idle(const struct tdpi_gather *g)
{
	return g->start >= g->end && !g->table_count && !g->begun;
}

static inline void tdpi_gather_range(struct tdpi_gather *g, tdpi_gfn_t start, tdpi_gfn_t end,
				     uint32_t levels, enum tdp_flush_cause cause)
{
	if (g->start >= g->end) {
		g->start = start;
		g->end = end;
	} else {
		g->start = tdpi_min64(g->start, start);
		g->end = tdpi_max64(g->end, end);
	}
	g->levels |= levels;
	g->causes |= 1u << cause;
}

/* Leaves of a locked table changed. */
static inline void tdpi_gather_leaves(struct tdpi_gather *g, struct tdpi_locked l, tdpi_gfn_t start,
				      tdpi_gfn_t end, enum tdp_flush_cause cause)
{
	tdpi_gather_range(g, start, end, l.t->cached, cause);
}

/* Does a removal from this table wait for its flush? Under the table's lock (A4b). */
static inline bool tdpi_owes(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	return t->owed && tdpi_load_acquire(&mm->tickets[t->owed % TDPI_TICKETS].done) <
				  t->owed / TDPI_TICKETS;
}

/* Something present was (or is about to be) removed from a locked table; its range is gathered too. */
void tdpi_gather_removed(struct tdpi_gather *g, struct tdpi_locked l, tdpi_gfn_t start,
			 tdpi_gfn_t end, uint32_t levels, enum tdp_flush_cause cause);
/* Take over what others owe in [start, end) of a locked table. */
static inline void tdpi_gather_owed(struct tdpi_gather *g, struct tdpi_locked l, tdpi_gfn_t start,
				    tdpi_gfn_t end)
{
	if (tdpi_unlikely(tdpi_owes(g->mm, l.t)))
		tdpi_gather_range(g, start, end, TDPI_LEVELS_ALL, TDP_FLUSH_OWED);
}

/* A subtree was cut off at its parent: mark all of it stale, keep it for finish. Parent not locked. */
void tdpi_gather_table(struct tdpi_gather *g, struct tdpi_table *t);

/* The same for a table that is stale already and counted (collapse). */
static inline void tdpi_gather_push(struct tdpi_gather *g, struct tdpi_table *t)
{
	t->next = g->tables;
	g->tables = t;
	g->table_count++;
}

/* One flush now (leaves, range or all, as the backend prefers). May be called with a table lock held. */
void tdpi_flush(struct tdpi_gather *g, tdpi_gfn_t start, tdpi_gfn_t end, uint32_t levels,
		uint32_t causes);
/* Begin one, of all that was gathered. */
void tdpi_flush_begin(struct tdpi_gather *g);

/* Before an operation goes on with another root. No table lock held. */
static inline void tdpi_gather_ahead(struct tdpi_gather *g)
{
	if (g->start < g->end && g->mm->backend.flush_begin && g->begun < TDP_FLUSHES_BEGUN_MAX)
		tdpi_flush_begin(g);
}

/* Wait until no operation holds uncollected dirty bits that it cut off before this call. No lock held. */
void tdpi_wait_collected(struct tdp_mm *mm);

#endif

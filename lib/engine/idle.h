/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Subtrees that nobody used, so that aging need not look at their leaves (TDP_MM_AGE_TABLES). Template.
 *
 * An MMU sets A in each entry that it goes through, before it reads the next. But it keeps what it read, and from
 * then on reaches a table without the entry that points there. So that A is clear says that nothing below was used,
 * but only if no MMU still has the entry from before, and if nothing below was young already. Age calls see to both
 * (I1):
 *
 *   1. One has looked at a table from end to end, nothing is young in it, and A of its parent entry is set: it clears
 *      that, and flushes. Until then uses may have gone unnoticed.
 *   2. The next one finds nothing young again, and A still clear: what had gone unnoticed would have been found. It
 *      marks the table idle. From now on, whoever makes something young below has set, or sets, A in all entries above.
 *   3. While A stays clear, calls pass the table by at its parent entry, with all that is below it.
 *
 * So it goes for each table; nothing is young in one that points to tables if nothing is in any of these. The mark
 * says nothing where A is set: nobody need take it away when an MMU sets A; who clears A does, before. Only one call
 * at a time does 1 and 2 (tdpi_age_roots()), as another's clear A, not flushed yet, looks the same.
 *
 * Software that makes a leaf young does above it what the MMU would have done, but afterwards and from below
 * (note_used()). Before the leaf, or from above, two calls could come between: one clears an upper A, the next passes
 * the lower table by, which was not told yet, and marks the upper one. Faults do that too: a guest that comes back
 * would in the end, but it need not come back, and until then the page would be young and not be found.
 *
 * Tables come and go meanwhile: in the entry for a fresh one A is set; one that is cut off may be marked or passed
 * by.
 */
#ifndef TDPI_ENGINE_IDLE_H
#define TDPI_ENGINE_IDLE_H

#include "engine/set.h"

/*
 * Something in t is young, by software: whoever ages looks at t. The caller has come to t in this section, so the
 * tables above stay as long. What stands there now instead of t may be taken for used; that is always right.
 */
static inline void note_used(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	if (!FMT_TABLE_A || tdpi_likely(!(mm->flags & TDP_MM_AGE_TABLES)))
		return;
	while (t->parent) {
		unsigned level = t->level + 1u;
		uint64_t e = tdpi_entry_load(t->parent);

		while (fmt_kind(e, level) == TDP_ENTRY_TABLE && !(e & FMT_TABLE_A) &&
		       !tdpi_entry_touch(t->parent, &e, FMT_TABLE_A))
			;
		t = tdpi_table_of(mm, t->parent);
	}
}

/* Tables that an age call is passing through, by level. */
struct idle_walk {
	bool marks; /* else nothing is settled */
	struct tdpi_table *table[FMT_LEVELS_MAX + 1];
	/* Looked at from the first entry on, and nothing young so far. */
	bool quiet[FMT_LEVELS_MAX + 1];
};

/*
 * Nothing young was found in all of t. False: it does not count as idle. Walks that end in a fault set A, too; so
 * that a device does not cost a flush each time, a table with MMIO entries never is.
 */
static bool idle_settle(struct tdpi_op *op, struct tdpi_table *t)
{
	tdpi_entry_t *ref = t->parent;
	struct tdpi_locked l, lt;
	bool quiet = false;
	uint64_t e;

	if (!ref || !tdpi_table_lock(op->mm, tdpi_table_of(op->mm, ref), &l))
		return false;
	e = tdpi_entry_load(ref);
	if (fmt_kind(e, l.t->level) == TDP_ENTRY_TABLE && table_below(op->mm, e, l.t->level) == t &&
	    tdpi_table_lock(op->mm, t, &lt)) {
		quiet = t->mmio == 0;
		if (quiet && e & FMT_TABLE_A) {
			tdpi_store_relaxed(&t->idle, (uint8_t)0); /* I1: before A */
			while (!tdpi_entry_update(l, ref, &e, e & ~FMT_TABLE_A))
				;
			sync_entry(op->mm, ref);
			tdpi_gather_range(&op->gather, t->gfn, t->gfn + level_pages(l.t->level),
					  TDPI_LEVELS_ALL, TDP_FLUSH_AGE);
		} else if (quiet) {
			tdpi_store_relaxed(&t->idle, (uint8_t)1);
		}
		tdpi_table_unlock(op->mm, lt);
	}
	tdpi_table_unlock(op->mm, l);
	return quiet;
}

/* Everything before `done` was looked at. */
static TDPI_COLD void idle_leave(struct idle_walk *w, struct tdpi_op *op, tdpi_gfn_t done)
{
	for (unsigned level = 0; level < FMT_LEVELS_MAX; level++) {
		struct tdpi_table *t = w->table[level];

		if (!t)
			continue;
		if (done < t->gfn + level_pages(level + 1))
			return;
		w->table[level] = NULL;
		if (!w->quiet[level] || !idle_settle(op, t))
			w->quiet[level + 1] = false;
	}
}

/* The walk has come to a table. What it has not left by now at this level and below it will begin anew. */
static inline void idle_enter(struct idle_walk *w, struct tdpi_op *op, const struct iter *it)
{
	if (tdpi_likely(!w->marks))
		return;
	idle_leave(w, op, it->next);
	for (unsigned level = 0; level < it->level; level++)
		w->table[level] = NULL;
	w->table[it->level] = it->t;
	w->quiet[it->level] = it->first == 0 && it->last == ENTRIES - 1;
}

/* It has looked at the leaves of the table. */
static inline void idle_done(struct idle_walk *w, struct tdpi_op *op, const struct iter *it,
			     bool quiet)
{
	if (tdpi_likely(!w->marks))
		return;
	w->quiet[it->level] &= quiet;
	idle_leave(w, op, iter_done(it));
}

/* It starts anew, or was outside its section. */
static inline void idle_forget(struct idle_walk *w)
{
	for (unsigned level = 0; w->marks && level < FMT_LEVELS_MAX; level++)
		w->table[level] = NULL;
}

/* It is over. */
static inline void idle_end(struct idle_walk *w, struct tdpi_op *op, const struct iter *it)
{
	if (w->marks)
		idle_leave(w, op, it->next);
}

#endif

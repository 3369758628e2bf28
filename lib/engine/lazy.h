/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Arming all of a slot by a few entries (TDP_LOG_LAZY), for formats in which an entry that points to a table says
 * whether anything below may be written (FMT_TABLE_W). Template.
 *
 * Arming goes down from the root and shuts each table that lies wholly in the slot: W is cleared in the entry that
 * points to it, and it is not entered. Only tables partly inside are, two at most at each level; leaves in these are
 * armed one by one. One flush at the end. Below a shut entry all is as it was: leaves say W, and D from before. So
 *
 *   - nothing below is written without a fault. A fault that writes goes down its way once more (open_way()) and opens
 *     each entry on it: first, what is in the table below is armed as above, be it leaves or further tables, which are
 *     shut themselves; then W comes back in the entry (L1). Both with the entry's table locked, and W looked at
 *     again under that lock: what is open has been armed, and arming it twice would lose what was written since;
 *   - nothing below was written since: harvests pass by, and D that goes away there is not told to the log;
 *   - who looks from outside is told what the MMU would say (seen_leaf()).
 *
 * Which flush opening needs. What vCPUs have of leaves was made on a way that had no W, since the arm's flush: they
 * cannot write by it, they fault and look again. So leaves of the lowest level that lose W or D need none. But an MMU
 * may keep an entry of a higher table by itself, with the rights that it has and not those of the way to it (a page
 * walk cache that knows entries by their address, as AMD's). Shut now, it would still be open there and, beside the
 * upper entry with its W back, be a way on which all may be written. So before W comes back above such a table its
 * range is flushed: once for a GiB, not once for 2 MiB.
 *
 * Shut entries lie in slots that are, or were, logged; W comes back without arming where the slot is logged no more.
 * The mode is read under the lock of the entry's table: who begins to log after that takes the lock to shut the entry,
 * or shuts one above, and then whoever opens that comes here again. New tables are open: the entries above decide.
 */
#ifndef TDPI_ENGINE_LAZY_H
#define TDPI_ENGINE_LAZY_H

#include "engine/track.h"

/* From now on the first write to each page in span, which is a slot, is noticed; by_d: by the Dirty bit. */
static int arm_lazily(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, bool by_d)
{
	struct harvest h = {.span = span, .base = span.start, .clear = true, .shut = true};
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_open(&it)) {
		if (BY_LEVEL(rearm_run, &it, op, &h, by_d))
			iter_breathe(&it, op);
		else
			iter_stale(&it);
	}
	return TDP_OK;
}

/* Everything in t is armed, and what is in tables below it is shut. False: t was cut off. Its parent is locked. */
static bool arm_table(struct tdpi_op *op, struct tdpi_table *t, bool by_d)
{
	struct tdpi_span span = {t->gfn, t->gfn + level_pages(t->level + 1u)};
	struct harvest h = {.span = span, .base = span.start, .clear = true, .shut = true};
	struct iter it;
	bool armed;

	iter_init(&it, op->mm, t->root, span, t->level);
	iter_enter(&it, t, t->level);
	armed = BY_LEVEL(rearm_run, &it, op, &h, by_d);
	if (t->level > 0)
		tdpi_flush(&op->gather, span.start, span.end, TDPI_LEVELS_ALL,
			   1u << TDP_FLUSH_PERMISSION);
	tdpi_gather_reset_range(&op->gather);
	return armed;
}

/* Give W back to a TABLE entry. True: it was shut. */
static bool open_entry(struct tdpi_op *op, const struct tdpi_slot *slot, tdpi_entry_t *ref)
{
	struct tdpi_locked l;
	bool opens = false;
	uint64_t e;

	if (!tdpi_table_lock(op->mm, tdpi_table_of(op->mm, ref), &l))
		return false;
	e = tdpi_entry_load(ref);
	if (fmt_kind(e, l.t->level) == TDP_ENTRY_TABLE && table_shut(e)) {
		uint32_t mode = tdpi_slot_log(slot);

		opens = mode == TDP_LOG_OFF ||
			arm_table(op, table_below(op->mm, e, l.t->level), mode == TDP_LOG_DBIT);
		while (opens && !tdpi_entry_update(l, ref, &e, e | FMT_TABLE_W)) /* L1 */
			;
		sync_entry(op->mm, ref);
	}
	tdpi_table_unlock(op->mm, l);
	return opens;
}

/* Somebody writes to gfn, of a slot: open all that is shut above. True: something was. */
static TDPI_COLD bool open_way(struct tdpi_op *op, const struct tdp_root *root,
			       const struct tdpi_slot *slot, tdpi_gfn_t gfn)
{
	struct spot s = spot_top(root, gfn);
	bool opened = false;

	TDPI_ASSERT(tdpi_gather_idle(&op->gather));
	while (fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE) {
		if (table_shut(s.e))
			opened |= open_entry(op, slot, s.ref);
		s = spot_in(tdpi_entries_at(op->mm, fmt_pa(s.e, s.level)), s.level - 1, gfn);
	}
	return opened;
}

/* Is anything above gfn shut? */
static TDPI_COLD bool way_shut(const struct tdp_mm *mm, const struct tdp_root *root, tdpi_gfn_t gfn)
{
	struct spot s = spot_top(root, gfn);

	while (fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE && !table_shut(s.e))
		s = spot_in(tdpi_entries_at(mm, fmt_pa(s.e, s.level)), s.level - 1, gfn);
	return fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE;
}

/* A leaf as it works, for others to look at: below shut entries nobody can write, and nobody has. */
static inline uint64_t seen_leaf(const struct tdp_mm *mm, const struct tdp_root *root,
				 tdpi_gfn_t gfn, uint64_t e, unsigned level)
{
	if (FMT_TABLE_W && tdpi_unlikely(tdpi_load_relaxed(&mm->lazy)) && way_shut(mm, root, gfn))
		return fmt_wrprot(e, level);
	return e;
}

#endif

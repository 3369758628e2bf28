/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Removal: ranges, single tables, empty tables, whole roots. Template.
 *
 * A removal takes the lock of every table that overlaps the range, but for those in which it meets only tables to go
 * down to; also where it meets nothing: a look without the lock may never be the reason for skipping something,
 * because a fault that has passed its check and not yet written would slip through (A4). Whole subtrees are cut off
 * at their parent with one exchange; what is in them is looked at after the flush, and only if somebody wants it.
 */
#ifndef TDPI_ENGINE_ZAP_H
#define TDPI_ENGINE_ZAP_H

#include "engine/huge.h"
#include "engine/run.h"

/*
 * Larger subtrees are descended into first, and one of this size is cut off at a time, so that no step is
 * long (I18): marking its tables stale, freeing them.
 */
#define ZAP_CUT_LEVEL 2u

struct zap_run {
	struct tdpi_op *op;
	struct tdpi_locked l;
	struct tdpi_span span;
	uint32_t flags;
	unsigned cut_level;
	struct tdpi_table *cut; /* chained by next, still to be marked stale */
};

static inline bool covered(struct tdpi_span span, tdpi_gfn_t gfn, unsigned level)
{
	return gfn >= span.start && span.end - gfn >= level_pages(level);
}

/* Why KEEP_YOUNG: hardware forgets, so the empty word remembers that the page was in use (A08). */
static uint64_t empty_word(const struct zap_run *z, uint64_t leaf, unsigned level)
{
	if (z->flags & TDP_ZAP_KEEP_YOUNG && fmt_accessed(leaf, level))
		return fmt_empty_young(level);
	return fmt_empty(level);
}

static void zap_leaf(struct zap_run *z, tdpi_entry_t *ref, tdpi_gfn_t gfn, uint64_t e)
{
	unsigned level = z->l.t->level;

	/*
	 * Partly outside: split, and the walk goes on below. Without tables for it (LAZY, or a huge page
	 * that came back after the caller had counted) all of it goes: a fault brings the rest back.
	 */
	if (!covered(z->span, gfn, level) && !(z->flags & TDP_ZAP_LAZY) &&
	    z->op->cache->count >= split_tables(level)) {
		split_locked(z->op, z->l, ref, gfn);
		return;
	}
	set_removed_leaf(z->op, z->l, ref, gfn, e, empty_word(z, e, level));
}

/* The table below e, an entry of t, has just been cut off there. */
static TDPI_COLD void note_unwritten(const struct tdp_mm *mm, const struct tdpi_table *t,
				     uint64_t e)
{
	struct tdpi_locked below;

	if ((table_shut(e) || shut_above(mm, t)) &&
	    tdpi_table_lock(mm, table_below(mm, e, t->level), &below)) {
		tdpi_store_relaxed(&below.t->state, (uint8_t)TDPI_TABLE_UNWRITTEN);
		tdpi_table_unlock(mm, below);
	}
}

/* As set_removed_table(); and what is below what is shut tells no log. */
static struct tdpi_table *cut_table(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				    tdpi_gfn_t gfn, uint64_t e)
{
	struct tdpi_table *below = set_removed_table(op, l, ref, gfn, e);

	if (FMT_TABLE_W && tdpi_unlikely(tdpi_load_relaxed(&op->mm->lazy)))
		note_unwritten(op->mm, l.t, e);
	return below;
}

/* Is a table below this entry to be cut off? If not, the walk goes down to it. */
static inline bool to_cut(const struct zap_run *z, tdpi_gfn_t gfn, unsigned level)
{
	return level <= z->cut_level && covered(z->span, gfn, level) &&
	       !(z->flags & TDP_ZAP_KEEP_YOUNG);
}

/* Nothing to be done at the table's entries themselves: a zap of a page takes one lock. */
static bool zap_pass(const struct zap_run *z, struct iter *it)
{
	tdpi_gfn_t gfn = it->gfn;

	for (unsigned i = it->first; i <= it->last; i++, gfn += level_pages(it->level))
		if (to_cut(z, gfn, it->level))
			return false;
	return iter_pass(it);
}

/* True: it was a table and is cut off. */
static bool zap_entry(struct zap_run *z, tdpi_entry_t *ref, tdpi_gfn_t gfn)
{
	unsigned level = z->l.t->level;
	uint64_t e = tdpi_entry_load(ref);
	struct tdpi_table *t;

	switch (fmt_kind(e, level)) {
	case TDP_ENTRY_LEAF: zap_leaf(z, ref, gfn, e); break;
	case TDP_ENTRY_MMIO: set_removed_mmio(z->op, z->l, ref); break;
	case TDP_ENTRY_TABLE:
		if (!to_cut(z, gfn, level))
			break;
		t = cut_table(z->op, z->l, ref, gfn, e);
		t->next = z->cut;
		z->cut = t;
		return true;
	default: break;
	}
	return false;
}

/* Tables that one run of a job may cut off: so many that asking the time between two runs costs nothing. */
#define JOB_CUTS 64u

/* After a large subtree, or what a job may cut off at a time, the run ends. */
static unsigned cuts_allowed(const struct tdpi_op *op, unsigned level)
{
	if (level >= ZAP_CUT_LEVEL)
		return 1;
	if (!op->limit)
		return ENTRIES;
	return (unsigned)tdpi_max64(1, tdpi_min64(op->limit->entries / ENTRIES, JOB_CUTS));
}

/*
 * One table's run. False: the table was cut off by somebody else. With the run also the range of the walk ends
 * for now: what comes before is still descended into, the rest is zap()'s next round.
 */
static bool zap_run(struct zap_run *z, struct iter *it)
{
	struct tdpi_op *op = z->op;
	unsigned cuts = cuts_allowed(op, it->level), from = it->first, end = it->last + 1;
	tdpi_gfn_t gfn = it->gfn, behind = gfn + (end - from) * level_pages(it->level);

	if (!tdpi_table_lock(op->mm, it->t, &z->l))
		return false;
	z->cut = NULL;
	if (!op->gather.quiet)
		tdpi_gather_owed(&op->gather, z->l, tdpi_max64(gfn, z->span.start),
				 tdpi_min64(behind, z->span.end));
	occupied_run(it->t, &from, &end);
	gfn += (from - it->first) * level_pages(it->level);
	for (unsigned i = from; i < end; i++, gfn += level_pages(it->level)) {
		cuts -= zap_entry(z, &it->entries[i], gfn);
		if (cuts == 0) {
			it->end = tdpi_min64(gfn + level_pages(it->level), it->end);
			break;
		}
	}
	if (it->level == 0)
		table_vacate(it->t, it->first, it->last);
	iter_knows_cuts(it);
	tdpi_table_unlock(op->mm, z->l);
	while (z->cut) {
		struct tdpi_table *t = z->cut;

		z->cut = t->next;
		tdpi_gather_table(&op->gather, t);
	}
	return true;
}

/* 0: all done; 1: op->max_tables reached. */
static int zap(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, uint32_t flags,
	       unsigned cut_level)
{
	struct zap_run z = {.op = op, .span = span, .flags = flags, .cut_level = cut_level};
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	for (;;) {
		while (iter_table(&it)) {
			if (zap_pass(&z, &it))
				continue;
			if (!zap_run(&z, &it)) {
				iter_stale(&it);
				continue;
			}
			if (op->max_tables && op->gather.freed >= op->max_tables)
				return 1;
			iter_breathe(&it, op);
		}
		if (it.end == span.end)
			return 0;
		it.next = it.end;
		it.end = span.end;
		iter_restart(&it);
		if (op->limit && iter_stop(&it, op))
			return 0;
	}
}

/* Tables that splitting the leaf over `edge` takes, so that the edge falls between two leaves. */
static uint64_t edge_split(const struct tdp_mm *mm, struct tdp_root *root, tdpi_gfn_t edge)
{
	struct spot s = spot_of(mm, root, edge);
	unsigned level = s.level;
	uint64_t n = 0;

	if (fmt_kind(s.e, level) != TDP_ENTRY_LEAF)
		return 0;
	for (; level > 0 && (edge & (level_pages(level) - 1)) != 0; level -= split_depth(level))
		n += split_tables(level);
	return n;
}

static uint64_t edge_tables(const struct tdp_mm *mm, struct tdp_root *root, struct tdpi_span span)
{
	uint64_t n = edge_split(mm, root, span.start);

	/* The end may be the first frame that no table covers: then nothing is there to split. */
	if (span.end >> (mm->gpa_bits - TDP_PAGE_LG2) == 0)
		n += edge_split(mm, root, span.end);
	return n;
}

/* Cut off one live table by itself. TDP_ENOENT: it is not linked (any more). */
static int zap_table(struct tdpi_op *op, struct tdpi_table *t)
{
	tdpi_entry_t *ref = t->parent;
	struct tdpi_table *parent = tdpi_table_of(op->mm, ref);
	struct tdpi_locked l;
	uint64_t e;
	bool found;

	if (!tdpi_table_lock(op->mm, parent, &l))
		return TDP_ENOENT;
	e = tdpi_entry_load(ref);
	found = fmt_kind(e, parent->level) == TDP_ENTRY_TABLE &&
		table_below(op->mm, e, parent->level) == t;
	if (found)
		cut_table(op, l, ref, t->gfn, e);
	tdpi_table_unlock(op->mm, l);
	if (!found)
		return TDP_ENOENT;
	tdpi_gather_table(&op->gather, t);
	return TDP_OK;
}

/* ---- empty tables ---- */

static bool compact_entry(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
			  tdpi_gfn_t gfn)
{
	uint64_t e = tdpi_entry_load(ref);
	struct tdpi_locked below;
	bool empty;

	if (fmt_kind(e, l.t->level) != TDP_ENTRY_TABLE ||
	    !tdpi_table_lock(op->mm, table_below(op->mm, e, l.t->level), &below))
		return false;
	/* Its lock is held across the cut, so nothing can be put in between look and cut. */
	empty = below.t->present == 0;
	if (empty) {
		tdpi_gather_owed(&op->gather, below, gfn, gfn + level_pages(l.t->level));
		set_removed_table(op, l, ref, gfn, e);
		tdpi_store_relaxed(&below.t->state, (uint8_t)TDPI_TABLE_STALE);
		tdpi_count(op->counts, tables[l.t->level - 1u], -1);
		tdpi_gather_push(&op->gather, below.t);
	}
	tdpi_table_unlock(op->mm, below);
	return empty;
}

/* Free empty tables below the tables at `level` that lie inside span; how many. */
static uint64_t compact(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			unsigned level)
{
	struct iter it;
	uint64_t n = 0;

	iter_begin(&it, op, root, span, level);
	while (iter_table(&it)) {
		struct tdpi_locked l;
		tdpi_gfn_t gfn = it.gfn;

		if (it.level != level)
			continue;
		if (!tdpi_table_lock(op->mm, it.t, &l)) {
			iter_stale(&it);
			continue;
		}
		for (unsigned i = it.first; i <= it.last; i++, gfn += level_pages(level))
			if (covered(span, gfn, level) && compact_entry(op, l, &it.entries[i], gfn))
				n++;
		tdpi_table_unlock(op->mm, l);
		iter_breathe(&it, op);
	}
	return n;
}

/* ---- after the cut ---- */

/*
 * Mark a cut-off subtree stale, top down, each table under its own lock: when this returns no software
 * writes there any more, and what it held is counted out. Returns how many tables it has.
 */
static uint64_t cut_off(struct tdp_mm *mm, struct tdpi_counts *counts, struct tdpi_table *t)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	unsigned level = t->level;
	uint64_t n = 1, leaves = 0;

	tdpi_lock(&mm->env, &t->lock, TDPI_LOCK_TABLE);
	if (t->state == TDPI_TABLE_LINKED)
		tdpi_store_relaxed(&t->state, (uint8_t)TDPI_TABLE_STALE);
	tdpi_unlock(&mm->env, &t->lock);
	tdpi_count(counts, tables[level], -1);
	tdpi_count(counts, mmio, -(uint64_t)t->mmio);
	if (level == 0) {
		tdpi_count(counts, leaves[0], -(uint64_t)(t->present - t->mmio));
		return n;
	}
	for (unsigned i = 0, left = t->present; left > 0 && i < ENTRIES; i++) {
		uint64_t e = tdpi_entry_load_table(&entries[i]);
		enum tdp_entry_kind kind = fmt_kind(e, level);

		left -= kind != TDP_ENTRY_EMPTY;
		leaves += kind == TDP_ENTRY_LEAF;
		if (kind == TDP_ENTRY_TABLE)
			n += cut_off(mm, counts, table_below(mm, e, level));
	}
	tdpi_count(counts, leaves[level], -leaves);
	return n;
}

/* Dirty leaves of a table that nobody reaches, and that was flushed. */
static void collect_dirty(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	const tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	uint64_t leaf = leaf_bits(mm->ad, t->level), any = 0;
	struct run_dirty dirty;

	for (unsigned w = 0; w < RUN_WORDS; w++, entries += 64) {
		uint64_t bits = tdpi_entries_with(entries, ENTRIES < 64 ? ENTRIES : 64,
						  leaf | fmt_d_bits(t->level));

		/* Where no bits tell what a leaf is, each is asked. */
		for (uint64_t rest = leaf ? 0 : bits; rest; rest &= rest - 1) {
			unsigned i = tdpi_ctz64(rest);

			if (fmt_kind(tdpi_entry_load_quiet(&entries[i]), t->level) !=
			    TDP_ENTRY_LEAF)
				bits &= ~TDPI_BIT(i);
		}
		dirty.bits[w] = bits;
		any |= bits;
	}
	if (any)
		run_tell_log(mm, t, &dirty);
}

static uint64_t collect_below(struct tdp_mm *mm, struct tdpi_table *t, bool written,
			      struct tdpi_table **free_list)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	unsigned level = t->level;
	uint64_t n = 1;

	if (tdpi_unlikely(tdpi_load_relaxed(&mm->dbit_logs) != 0) && written)
		collect_dirty(mm, t);
	for (unsigned i = 0; level > 0 && i < ENTRIES; i++) {
		uint64_t e = tdpi_entry_load_quiet(&entries[i]);

		if (fmt_kind(e, level) == TDP_ENTRY_TABLE)
			n += collect_below(mm, table_below(mm, e, level), written && !table_shut(e),
					   free_list);
	}
	t->next = *free_list;
	*free_list = t;
	return n;
}

/* The subtree was flushed: hand over its dirty bits, put its tables on a list. Returns how many. */
static uint64_t collect(struct tdp_mm *mm, struct tdpi_table *t, struct tdpi_table **free_list)
{
	return collect_below(mm, t, t->state != TDPI_TABLE_UNWRITTEN, free_list);
}

/*
 * Tear down an invalid root in steps of about max_tables (0: all). True: more to do. In the end its own tables
 * are stale too, so a fault that still holds the root finds nothing to put an entry into.
 */
static bool teardown(struct tdpi_op *op, struct tdp_root *root, uint64_t max_tables)
{
	struct tdpi_span all = {0, TDPI_BIT(op->mm->gpa_bits - TDP_PAGE_LG2)};

	op->max_tables = max_tables;
	if (zap(op, root, all, 0, ZAP_CUT_LEVEL) || zap(op, root, all, 0, FMT_LEVELS_MAX))
		return true;
	for (unsigned i = 0; i < op->mm->root_pages; i++) {
		struct tdpi_table *t =
			(struct tdpi_table *)((uintptr_t)root->table + i * TDPI_META_SIZE);
		bool empty;

		tdpi_lock(&op->mm->env, &t->lock, TDPI_LOCK_TABLE);
		empty = t->present == 0;
		if (empty)
			tdpi_store_relaxed(&t->state, (uint8_t)TDPI_TABLE_STALE);
		tdpi_unlock(&op->mm->env, &t->lock);
		if (!empty)
			return true; /* a fault that had checked before was late: once more */
	}
	return false;
}

#endif

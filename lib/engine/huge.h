/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Huge pages: split a leaf into tables of smaller ones, collapse a table into a leaf, find candidates.
 * Template.
 *
 * A split is complete before it is linked, so no MMU and no reader sees a hole (with break-before-make the MMU
 * faults and waits for the lock). Its leaves start with the A and D that the huge one had at the very end.
 */
#ifndef TDPI_ENGINE_HUGE_H
#define TDPI_ENGINE_HUGE_H

#include "engine/idle.h"

#define MAP_AGAIN 0x7fff /* not an outcome: the tree changed under us, walk again */

/* Levels between a leaf and its parts: 1, but where leaves skip levels (test format). */
static inline unsigned split_depth(unsigned level)
{
	return level - tdpi_leaf_below(FMT_LEAF_LEVELS, level);
}

/* Tables that splitting one leaf takes. */
static inline uint64_t split_tables(unsigned level)
{
	return split_depth(level) == 1 ? 1 : 1 + ENTRIES;
}

/* Parts first .. first + ENTRIES of the leaf go into one table. */
static void fill_parts(const struct tdp_mm *mm, struct tdpi_table *t, uint64_t leaf, unsigned level,
		       unsigned first)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	uint64_t part = fmt_split(leaf, level, first);
	unsigned below = t->level;

	for (unsigned i = 0; i < ENTRIES; i++, part = fmt_next(part, below))
		tdpi_entry_init(&entries[i], part);
	table_begins(t, true);
	if (mm->backend.table_sync)
		mm->backend.table_sync(mm->backend_ctx, entries, ENTRIES * sizeof(*entries));
}

/* `top` and, two levels deep, one table of `rest` below each of its entries. Nothing is reachable yet. */
static void fill_split(const struct tdp_mm *mm, struct tdpi_table *top, struct tdpi_table *rest,
		       uint64_t leaf, unsigned level)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, top);

	if (split_depth(level) == 1) {
		fill_parts(mm, top, leaf, level, 0);
		return;
	}
	for (unsigned i = 0; i < ENTRIES; i++, rest = rest->next) {
		init_child(top, rest, &entries[i], top->gfn + i * level_pages(top->level),
			   top->cached);
		fill_parts(mm, rest, leaf, level, i * ENTRIES);
		tdpi_entry_init(&entries[i], fmt_table(tdpi_table_pa(mm, rest), top->level));
	}
	table_begins(top, true);
	if (mm->backend.table_sync)
		mm->backend.table_sync(mm->backend_ctx, entries, ENTRIES * sizeof(*entries));
}

static void count_split(struct tdpi_op *op, unsigned level)
{
	unsigned depth = split_depth(level);

	tdpi_count(op->counts, leaves[level], -1);
	tdpi_count(op->counts, leaves[level - depth], level_pages(depth));
	tdpi_count(op->counts, tables[level - 1], 1);
	if (depth == 2)
		tdpi_count(op->counts, tables[level - 2], ENTRIES);
	tdpi_count(op->counts, splits, 1);
}

/* Split the leaf at ref of a locked table; op->cache has split_tables(level) tables. */
static void split_locked(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
			 tdpi_gfn_t gfn)
{
	unsigned level = l.t->level, shift = level_shift(level);
	struct tdpi_table *top = tdpi_cache_take(op->cache), *rest = NULL;
	uint64_t old = tdpi_entry_load(ref), table;
	bool breaks;

	for (uint64_t i = 1; i < split_tables(level); i++) {
		struct tdpi_table *one = tdpi_cache_take(op->cache);

		one->next = rest;
		rest = one;
	}
	gfn = gfn >> shift << shift;
	table = fmt_table(tdpi_table_pa(op->mm, top), level);
	breaks = needs_break(op->mm, old, table, level);
	init_child(l.t, top, ref, gfn, breaks ? 0 : l.t->cached);
	if (breaks) {
		old = break_entry(op, l, ref, gfn);
		fill_split(op->mm, top, rest, old, level);
		tdpi_entry_publish(l, ref, table);
	} else {
		do /* again when the MMU set A or D meanwhile: the parts inherit it */
			fill_split(op->mm, top, rest, old, level);
		while (!tdpi_entry_update(l, ref, &old, table));
	}
	sync_entry(op->mm, ref);
	count_split(op, level);
}

/* Split the leaf over gfn in t. 0: done, or gone meanwhile; MAP_AGAIN: t was cut off; TDP_ENOMEM. */
static int split_one(struct tdpi_op *op, struct tdpi_table *t, tdpi_entry_t *ref, tdpi_gfn_t gfn)
{
	struct tdpi_locked l;

	if (op->cache->count < split_tables(t->level))
		return TDP_ENOMEM;
	if (!tdpi_table_lock(op->mm, t, &l))
		return MAP_AGAIN;
	if (fmt_kind(tdpi_entry_load(ref), t->level) == TDP_ENTRY_LEAF)
		split_locked(op, l, ref, gfn);
	tdpi_table_unlock(op->mm, l);
	return 0;
}

/*
 * Split every leaf above `target` in one table's run. 0: all done; 1: the cache ran out at it->next (the
 * caller refills it outside the lock); MAP_AGAIN: cut off.
 */
static int split_run(struct tdpi_op *op, struct iter *it, unsigned target)
{
	struct tdpi_locked l;
	tdpi_gfn_t gfn = it->gfn;
	int ret = 0;

	if (it->level <= target || !(FMT_LEAF_LEVELS >> it->level & 1))
		return 0;
	if (!tdpi_table_lock(op->mm, it->t, &l))
		return MAP_AGAIN;
	for (unsigned i = it->first; i <= it->last; i++, gfn += level_pages(it->level)) {
		if (fmt_kind(tdpi_entry_load(&it->entries[i]), it->level) != TDP_ENTRY_LEAF)
			continue;
		if (op->cache->count < split_tables(it->level)) {
			ret = 1;
			break;
		}
		split_locked(op, l, &it->entries[i], gfn);
	}
	tdpi_table_unlock(op->mm, l);
	return ret;
}

/*
 * Tables that splitting the leaf over gfn down to `target` takes: of its parts only those are split
 * again that overlap span.
 */
static uint64_t leaf_need(struct tdpi_span span, tdpi_gfn_t gfn, unsigned level, unsigned target)
{
	tdpi_gfn_t first = tdpi_max64(gfn, span.start);
	tdpi_gfn_t last = tdpi_min64(gfn + level_pages(level), span.end) - 1;
	uint64_t n = 0;

	for (; level > target; level -= split_depth(level)) {
		unsigned shift = level_shift(level);

		n += ((last >> shift) - (first >> shift) + 1) * split_tables(level);
	}
	return n;
}

/* The same for everything in span. Unlocked: an estimate, exact when quiet. */
static uint64_t split_need(const struct tdp_mm *mm, struct tdp_root *root, struct tdpi_span span,
			   unsigned target)
{
	struct iter it;
	uint64_t n = 0;

	iter_init(&it, mm, root, span, target + 1);
	while (iter_table(&it)) {
		tdpi_gfn_t gfn = it.gfn;

		for (unsigned i = it.first; i <= it.last; i++, gfn += level_pages(it.level))
			if (fmt_kind(tdpi_entry_load(&it.entries[i]), it.level) == TDP_ENTRY_LEAF)
				n += leaf_need(span, gfn, it.level, target);
	}
	return n;
}

#define SPLIT_BATCH 32u

static int split(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, unsigned target)
{
	struct iter it;

	iter_init(&it, op->mm, root, span, target + 1);
	while (iter_table(&it)) {
		int ret = split_run(op, &it, target);

		if (ret == 1) {
			uint64_t want = tdpi_max64(split_tables(it.level), SPLIT_BATCH);

			/* A host allocator may sleep: not in the section, and not with anything owed. */
			if (!section_leave(op->mm, root))
				return TDP_OK;
			ret = tdpi_cache_topup(op->mm, op->cache, want);
			if (ret)
				ret = tdpi_cache_topup(op->mm, op->cache, split_tables(it.level));
			section_enter(op->mm, root);
			if (ret)
				return ret;
			iter_restart(&it);
			continue;
		}
		if (ret == MAP_AGAIN)
			iter_stale(&it);
		else
			iter_breathe(&it, op);
	}
	return TDP_OK;
}

/* ---- collapse ---- */

/*
 * In which bits do a table's words differ from `first` and those that follow from it? Looks no further than the first
 * eight that differ in `same`.
 */
static uint64_t differing(const tdpi_entry_t *e, uint64_t first, unsigned level, uint64_t same)
{
	const tdpi_entry_t *end = e + ENTRIES;
	uint64_t bits = 0;

	for (; e < end && !(bits & same); e += 8) {
#define X(i)                                                                                       \
	bits |= tdpi_entry_load_quiet(&e[i]) ^ first;                                              \
	first = fmt_next(first, level);
		TDPI_EIGHT(X)
#undef X
	}
	return bits;
}

/* The same of leaves some of which may be tracked, as they are once touched. */
static uint64_t differing_young(const tdpi_entry_t *e, uint64_t first, unsigned level,
				uint64_t same)
{
	uint64_t bits = 0;

	for (unsigned i = 0; i < ENTRIES && !(bits & same); i++) {
		bits |= fmt_young(tdpi_entry_load_quiet(&e[i]), level, 0) ^ first;
		first = fmt_next(first, level);
	}
	return bits;
}

/*
 * Do all entries of t map consecutive memory from pa on, alike? *merged is the leaf that can replace them. Words are
 * compared, not what they mean: alike is whose words differ in A, D and W only.
 */
static bool mergeable(const struct tdp_mm *mm, const struct tdpi_table *t, uint64_t pa,
		      uint64_t *merged)
{
	const tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	unsigned level = t->level;
	/* W may differ; then the huge page is write-protected and one fault gives W back. */
	uint64_t same = ~(fmt_a_bits(level) | fmt_w_bits(level)), first, bits;
	bool accessed = mm->ad & TDPI_HW_A, tracked = !accessed && !FMT_AF_FAULT;
	struct tdpi_attr all;

	if (t->present != ENTRIES || t->mmio || !(FMT_LEAF_LEVELS >> level & 1))
		return false;
	TDPI_POINT(READ, entries, TDP_PAGE_SIZE);
	first = tdpi_entry_load_quiet(&entries[0]);
	if (fmt_kind(first, level) != TDP_ENTRY_LEAF || fmt_pa(first, level) != pa)
		return false;
	if (tracked) {
		first = fmt_young(first, level, 0);
		bits = differing_young(entries, first, level, same);
	} else {
		bits = differing(entries, first, level, same);
	}
	if (bits & same)
		return false;
	/* The MMU may still set A below until the flush, where nobody looks: so count it as set. */
	accessed = accessed || tdpi_entries_find(entries, 0, ENTRIES, fmt_a_bits(level)) < ENTRIES;
	all = fmt_attr(first & ~bits, level); /* W if all have it; what is tracked has not */
	all.accessed = accessed;
	all.tracked = !accessed && !FMT_AF_FAULT;
	all.dirty = all.prot & TDP_W;
	*merged = fmt_leaf(pa, level + 1u, all, mm->ad);
	return true;
}

/* Both locked. The table's entries stay as they are until the MMU cannot use them any more. */
static void collapse_locked(struct tdpi_op *op, struct tdpi_locked l, struct tdpi_locked below,
			    tdpi_entry_t *ref, tdpi_gfn_t gfn, uint64_t leaf)
{
	unsigned level = l.t->level;

	note_cut(l);
	if (needs_break(op->mm, tdpi_entry_load(ref), leaf, level)) {
		break_entry(op, l, ref, gfn);
		tdpi_entry_publish(l, ref, leaf);
	} else {
		/* Same translations before and after: a stale one harms nobody, no flush is owed (E05). */
		tdpi_entry_exchange(l, ref, leaf);
		l.t->cached = TDPI_LEVELS_ALL; /* small ones, and the way to them */
	}
	sync_entry(op->mm, ref);
	tdpi_store_relaxed(&below.t->state, (uint8_t)TDPI_TABLE_STALE);
	tdpi_count(op->counts, leaves[level], 1);
	tdpi_count(op->counts, leaves[level - 1], -(uint64_t)ENTRIES);
	tdpi_count(op->counts, tables[level - 1], -1);
	tdpi_count(op->counts, collapses, 1);
}

/* 1: collapsed, 0: not possible (any more). pfn: what the backing says about gfn, looked up at seq. */
static int collapse(struct tdpi_op *op, struct tdp_root *root, unsigned level, tdpi_gfn_t gfn,
		    uint64_t pfn, uint64_t seq)
{
	struct tdpi_table *below;
	uint64_t pa = (pfn << TDP_PAGE_LG2) | op->mm->encrypt_mask, leaf;
	struct tdpi_locked l, lb;
	struct spot s;
	bool done = false;

	s = spot_down(op->mm, spot_top(root, gfn), gfn, level);
	if (s.level > level || fmt_kind(s.e, level) != TDP_ENTRY_TABLE)
		return 0;
	below = table_below(op->mm, s.e, level);
	if (!tdpi_table_lock(op->mm, tdpi_table_of(op->mm, s.ref), &l))
		return 0;
	/* An MMU may have set A in it meanwhile. */
	if ((tdpi_entry_load(s.ref) | FMT_TABLE_A) == (s.e | FMT_TABLE_A) &&
	    tdpi_table_lock(op->mm, below, &lb)) {
		/* Asked with both locked: who walks by may only take the one below (A4). */
		done = !tdpi_invalidated(op->mm, gfn, level_pages(level), seq) &&
		       !tdpi_load_acquire(&root->invalid) && mergeable(op->mm, below, pa, &leaf);
		if (done)
			collapse_locked(op, l, lb, s.ref, gfn, leaf);
		tdpi_table_unlock(op->mm, lb);
	}
	tdpi_table_unlock(op->mm, l);
	if (done) {
		note_used(op->mm, l.t);
		tdpi_gather_push(&op->gather, below);
		tdpi_gather_range(&op->gather, gfn, gfn + level_pages(level), TDPI_LEVELS_ALL,
				  TDP_FLUSH_TABLE);
	}
	return done;
}

/* A look without the lock at both ends of t. */
static bool looks_mergeable(const struct tdp_mm *mm, const struct tdpi_table *t, uint64_t *pfn)
{
	const tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	unsigned level = t->level;
	uint64_t e, last;

	if (tdpi_load_relaxed(&t->present) != ENTRIES)
		return false;
	e = tdpi_entry_load(&entries[0]);
	last = tdpi_entry_load(&entries[ENTRIES - 1]);
	if (fmt_kind(e, level) != TDP_ENTRY_LEAF || fmt_kind(last, level) != TDP_ENTRY_LEAF ||
	    fmt_pa(last, level) - fmt_pa(e, level) != (ENTRIES - 1) * level_pages(level)
							      << TDP_PAGE_LG2)
		return false;
	*pfn = (fmt_pa(e, level) & ~mm->encrypt_mask) >> TDP_PAGE_LG2;
	return !(*pfn & (level_pages(level + 1) - 1));
}

/*
 * The next table below `level` in [*gfn, end) that looks as if it could become a leaf: *gfn its range,
 * *pfn what its first entry maps. Unlocked; collapse() looks again.
 */
static bool candidate(struct tdpi_op *op, struct tdp_root *root, unsigned level, tdpi_gfn_t end,
		      tdpi_gfn_t *gfn, uint64_t *pfn)
{
	unsigned shift = level_shift(level);
	tdpi_gfn_t from = op->limit ? tdpi_max64(*gfn, op->limit->from) : *gfn;
	struct tdpi_span span = {(from + level_pages(level) - 1) >> shift << shift,
				 end >> shift << shift};
	struct spot s;
	struct iter it;

	if (span.start >= span.end || split_depth(level) != 1)
		return false;
	/* Mostly the next one is right behind the last: no walk for that. */
	s = spot_down(op->mm, spot_top(root, span.start), span.start, level);
	if (s.level == level && fmt_kind(s.e, level) == TDP_ENTRY_TABLE &&
	    looks_mergeable(op->mm, table_below(op->mm, s.e, level), pfn)) {
		*gfn = span.start;
		return true;
	}
	iter_begin(&it, op, root, span, level - 1);
	while (iter_table(&it)) {
		if (it.level == level - 1 && looks_mergeable(op->mm, it.t, pfn)) {
			*gfn = it.gfn;
			return true;
		}
		iter_breathe(&it, op);
	}
	return false;
}

#endif

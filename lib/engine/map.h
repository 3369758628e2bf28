/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Installing leaves: the fault path's two halves (fast: the leaf is there and only wants a permission or an
 * Accessed bit; map: the backing was looked up), and the table count for populate.
 * Template.
 *
 * Locks: one table at a time. Tables come from op->cache, filled before anything is locked; a walk that
 * finds its table cut off starts again at the root.
 */
#ifndef TDPI_ENGINE_MAP_H
#define TDPI_ENGINE_MAP_H

#include "engine/lazy.h"

static TDPI_COLD void wait_for_lock(struct tdpi_op *op, struct tdpi_table *t)
{
	const struct tdp_env *env = &op->mm->env;
	uint64_t since = env->now ? env->now(env->priv) : 0;

	tdpi_lock(env, &t->lock, TDPI_LOCK_TABLE);
	if (env->now)
		tdpi_count_stall(op->mm, since);
}

/* As tdpi_table_lock(). Only waiting is timed: who finds the lock free pays nothing for it. */
static inline bool fault_lock(struct tdpi_op *op, struct tdpi_table *t, struct tdpi_locked *l)
{
	if (tdpi_unlikely(!tdpi_trylock(&op->mm->env, &t->lock, TDPI_LOCK_TABLE)))
		wait_for_lock(op, t);
	return tdpi_table_locked(op->mm, t, l);
}

/* A permission was given: where a fault does not drop the vCPU's own stale translation, we do. */
static void flush_local(struct tdpi_op *op, tdpi_gfn_t gfn, unsigned level)
{
	struct tdp_mm *mm = op->mm;
	unsigned shift = level_shift(level);
	struct tdp_range r = {gfn >> shift << (shift + TDP_PAGE_LG2), level_pages(level)
									      << TDP_PAGE_LG2};

	if (mm->caps.flags & TDP_CAP_FAULT_INVALIDATES || !op->vcpu_cookie)
		return;
	if (mm->backend.flush_vcpu)
		mm->backend.flush_vcpu(mm->backend_ctx, op->vcpu_cookie, r);
	else if (mm->caps.flags & TDP_CAP_RANGE_FLUSH)
		mm->backend.flush_range(mm->backend_ctx, r);
	else
		mm->backend.flush_all(mm->backend_ctx);
	tdpi_count(op->counts, flush_vcpu, 1);
	tdpi_count_flush(op->counts, op->gather.op, 1u << TDP_FLUSH_LOCAL);
}

/*
 * Does the filler of an empty entry have to flush first? Whoever removed what was there may not have flushed
 * yet; two views of one gfn must not be. *seen remembers that this walk has flushed since the latest removal.
 */
struct owed_seen {
	struct tdpi_table *t;
	uint64_t owed;
	uint16_t removals;
};

static TDPI_COLD bool settle_debt(struct tdpi_op *op, struct tdpi_locked l, tdpi_gfn_t start,
				  tdpi_gfn_t end, struct owed_seen *seen)
{
	const struct tdp_env *env = &op->mm->env;
	uint64_t since = 0;

	if (seen->t == l.t && seen->owed == l.t->owed && seen->removals == l.t->removals)
		return true;
	seen->t = l.t;
	seen->owed = l.t->owed;
	seen->removals = l.t->removals;
	tdpi_table_unlock(op->mm, l);
	if (env->now)
		since = env->now(env->priv);
	tdpi_flush(&op->gather, start, end, TDPI_LEVELS_ALL, 1u << TDP_FLUSH_OWED);
	if (env->now)
		tdpi_count_stall(op->mm, since);
	return false;
}

/* False: the table was unlocked, [start, end) flushed, walk again. */
static inline bool settle_owed(struct tdpi_op *op, struct tdpi_locked l, tdpi_gfn_t start,
			       tdpi_gfn_t end, struct owed_seen *seen)
{
	return tdpi_likely(!tdpi_owes(op->mm, l.t)) || settle_debt(op, l, start, end, seen);
}

/* For the one who asked for the fault's result. */
static inline void found_leaf(struct tdpi_map *m, const tdpi_entry_t *ref, unsigned level)
{
	m->leaf = tdpi_entry_load(ref);
	m->leaf_level = level;
}

/* ---- fast: no backing needed ---- */

static int fast_locked(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
		       const struct tdpi_slot *slot, struct tdpi_map *m)
{
	unsigned level = l.t->level, ad = op->mm->ad;
	uint64_t old = tdpi_entry_load(ref), e;
	struct tdpi_attr a;

	do {
		if (fmt_kind(old, level) != TDP_ENTRY_LEAF)
			return TDP_ENOENT;
		if ((m->access & ~fmt_perm(old, level, ad)) == 0)
			return TDP_FAULT_SPURIOUS;
		a = fmt_attr(old, level);
		if (m->access & ~TDP_W & ~a.prot)
			return TDP_ENOENT;
		e = fmt_young(old, level, ad);
		if (m->access & TDP_W && !(a.prot & TDP_W)) {
			/* Write protected by us, or not ours to grant. Logging grants only 4K (D06). */
			if (!a.mmu_w || !slot || (tdpi_slot_log(slot) && level > 0) ||
			    tdpi_slot_tracked(slot, m->gfn))
				return TDP_ENOENT;
			e = fmt_mkwrite(e, level, ad);
		}
		if (m->access & TDP_W && slot && tdpi_slot_log(slot))
			tdpi_slot_mark(slot, m->gfn, 1); /* before W can be used: under the lock */
	} while (!tdpi_entry_update(l, ref, &old, e));
	sync_entry(op->mm, ref);
	m->writable = true;
	return TDP_FAULT_FIXED;
}

static int fast_open(struct tdpi_op *op, struct tdp_root *root, const struct tdpi_slot *slot,
		     struct tdpi_map *m)
{
	struct spot s = spot_of(op->mm, root, m->gfn);
	struct tdpi_locked l;
	int ret;

	m->at = s.ref;
	m->at_level = s.level;
	if (fmt_kind(s.e, s.level) == TDP_ENTRY_MMIO && !slot &&
	    fmt_mmio_gen(s.e, s.level) == m->mmio_gen)
		return TDP_FAULT_MMIO;
	if (fmt_kind(s.e, s.level) != TDP_ENTRY_LEAF ||
	    !fault_lock(op, tdpi_table_of(op->mm, s.ref), &l))
		return TDP_ENOENT;
	ret = fast_locked(op, l, s.ref, slot, m);
	if (ret >= 0)
		found_leaf(m, s.ref, s.level);
	tdpi_table_unlock(op->mm, l);
	if (ret == TDP_FAULT_FIXED)
		note_used(op->mm, l.t);
	if (ret >= 0) {
		m->leaf = seen_leaf(op->mm, root, m->gfn, m->leaf, s.level);
		flush_local(op, m->gfn, s.level);
	}
	return ret;
}

static int fast(struct tdpi_op *op, struct tdp_root *root, const struct tdpi_slot *slot,
		struct tdpi_map *m)
{
	bool opened = FMT_TABLE_W && tdpi_unlikely(tdpi_load_relaxed(&op->mm->lazy)) &&
		      m->access & TDP_W && slot && open_way(op, root, slot, m->gfn);
	int ret = fast_open(op, root, slot, m);

	return opened && ret == TDP_FAULT_SPURIOUS ? TDP_FAULT_FIXED : ret;
}

/* ---- map: the leaf's content is known ---- */

/*
 * What all leaves of a run have in common. Asked once, under the lock of the table: who changes slot or logging takes
 * that lock before relying on it.
 */
static inline struct tdpi_leaf_in run_in(const struct tdpi_map *m, unsigned level)
{
	return (struct tdpi_leaf_in){
		.prot = m->prot,
		.readonly = tdpi_slot_readonly(m->slot),
		.logging = tdpi_slot_log(m->slot) != TDP_LOG_OFF,
		.write = m->access & TDP_W,
		.old = m->prefetch && !m->young,
		.hold_write = m->hold_write,
		.level = level,
	};
}

/* … and of one of them. */
static inline struct tdpi_attr wanted_attr(const struct tdp_mm *mm, const struct tdpi_map *m,
					   struct tdpi_leaf_in in, tdpi_gfn_t gfn)
{
	in.write_tracked = tdpi_slot_tracked(m->slot, gfn);
	return tdpi_leaf_attr(&in, mm->ad, FMT_AF_FAULT);
}

/*
 * A leaf is there already. Same memory: raise (or, when the backing gives less now, lower) its rights in
 * place and keep what the MMU set. Other memory: refused, somebody forgot to invalidate.
 */
static int remap_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
		      struct tdpi_map *m, struct tdpi_leaf_in in, tdpi_gfn_t gfn, uint64_t pa)
{
	unsigned level = in.level, ad = op->mm->ad;
	struct tdpi_attr want, have, to;
	uint64_t old = tdpi_entry_load(ref), e;

	if (fmt_pa(old, level) != pa)
		return TDP_EEXIST;
	in.old = false;
	want = wanted_attr(op->mm, m, in, gfn);
	do {
		have = fmt_attr(old, level);
		to = want;
		/* W once granted (and logged) stays until something takes it away. */
		if (have.prot & TDP_W && to.mmu_w)
			to.prot |= TDP_W;
		to.dirty = to.prot & TDP_W &&
			   (have.dirty || !(have.prot & TDP_W) || !(ad & TDPI_HW_D));
		e = fmt_leaf(pa, level, to, ad);
		if (e == old)
			return TDP_FAULT_SPURIOUS;
		if (needs_break(op->mm, old, e, level)) {
			old = break_entry(op, l, ref, gfn);
			tdpi_entry_publish(l, ref, e);
			break;
		}
	} while (!tdpi_entry_update(l, ref, &old, e));
	sync_entry(op->mm, ref);
	if (fmt_dirty(old, level) && !to.dirty)
		note_dirty(op, l, gfn, old);
	if (tdpi_leaf_flush_need(have, to) != TDPI_FLUSH_NONE)
		tdpi_gather_leaves(&op->gather, l, gfn, gfn + level_pages(level),
				   TDP_FLUSH_PERMISSION);
	return TDP_FAULT_FIXED;
}

static inline tdp_pa_t map_pa(const struct tdp_mm *mm, const struct tdpi_map *m, tdpi_gfn_t gfn)
{
	return ((m->pfn + (gfn - m->gfn)) << TDP_PAGE_LG2) | mm->encrypt_mask;
}

/* One entry under its table's lock. */
TDPI_ALWAYS_INLINE int map_entry(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				 struct tdpi_map *m, const struct tdpi_leaf_in *in, tdpi_gfn_t gfn)
{
	unsigned level = in->level;
	uint64_t old = tdpi_entry_load(ref), pa = map_pa(op->mm, m, gfn);
	enum tdp_entry_kind kind = fmt_kind(old, level);
	struct tdpi_attr a;
	int ret = TDP_FAULT_FIXED;

	if (tdpi_unlikely(kind == TDP_ENTRY_LEAF)) {
		if (m->prefetch)
			return TDP_FAULT_SPURIOUS;
		ret = remap_leaf(op, l, ref, m, *in, gfn, pa);
		m->raised = true;
	} else if (tdpi_unlikely(kind == TDP_ENTRY_TABLE)) {
		return MAP_AGAIN;
	} else {
		a = wanted_attr(op->mm, m, *in, gfn);
		if (old == fmt_empty_young(level) && !a.accessed) {
			struct tdpi_leaf_in again = *in;

			again.old = false; /* hot before it was unmapped, hot again (A08) */
			a = wanted_attr(op->mm, m, again, gfn);
		}
		if (in->logging && a.prot & TDP_W)
			tdpi_slot_mark(m->slot, gfn, level_pages(level));
		set_present(op, l, ref, level, kind, fmt_leaf(pa, level, a, op->mm->ad), true);
	}
	if (in->logging && ret >= 0 && m->access & TDP_W)
		tdpi_slot_mark(m->slot, m->gfn, 1);
	return ret;
}

/*
 * Empty 4K entries in a row, to be filled without anybody asking for them: what the first one gets they all get, with
 * the next address. Pages that are tracked or owned are looked at one by one. The first frame that is not done.
 */
static tdpi_gfn_t map_row(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *first,
			  const struct tdpi_map *m, const struct tdpi_leaf_in *in, tdpi_gfn_t start,
			  tdpi_gfn_t end)
{
	uint64_t e = fmt_leaf(map_pa(op->mm, m, start), 0, wanted_attr(op->mm, m, *in, start),
			      op->mm->ad),
		 empty = fmt_empty(0);
	tdpi_entry_t *ref = first;

	if (!m->prefetch || tdpi_load_acquire(&m->slot->tracked) ||
	    tdpi_load_acquire(&m->slot->owner))
		return start;
	for (tdpi_gfn_t gfn = start; gfn < end && tdpi_entry_load(ref) == empty; gfn++, ref++) {
		if (ref == first)
			table_occupy(l.t, parts_of(entry_index(start, 0), entry_index(end - 1, 0)));
		tdpi_entry_publish(l, ref, e);
		e = fmt_next(e, 0);
	}
	if (ref == first)
		return start;
	table_add(l.t, (int)(ref - first));
	tdpi_count(op->counts, leaves[0], ref - first);
	if (tdpi_unlikely(op->mm->backend.table_sync != NULL))
		op->mm->backend.table_sync(op->mm->backend_ctx, first,
					   (uint64_t)(ref - first) * sizeof(*ref));
	return start + (tdpi_gfn_t)(ref - first);
}

/* The locked table is the one at m->level, ref its entry over m->gfn: install the run. */
static int map_run(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref, struct tdpi_map *m,
		   struct owed_seen *seen)
{
	unsigned level = l.t->level;
	struct tdpi_leaf_in in = run_in(m, level);
	uint64_t pages = level_pages(level);
	tdpi_gfn_t start = m->gfn & ~(pages - 1), gfn = start, end = start + pages;
	int ret = TDP_FAULT_SPURIOUS;

	if (end < m->end)
		end = tdpi_min64(m->end, l.t->gfn + level_pages(level + 1));
	if (tdpi_invalidated(op->mm, start, end - start, m->seq) ||
	    tdpi_load_acquire(&l.t->root->invalid)) {
		tdpi_table_unlock(op->mm, l);
		return TDP_FAULT_RETRY;
	}
	if (!settle_owed(op, l, start, end, seen))
		return MAP_AGAIN;
	do {
		int one = map_entry(op, l, ref, m, &in, gfn);

		if (one == MAP_AGAIN && gfn > start)
			break;
		if (one < 0 || one == MAP_AGAIN) {
			ret = one;
			break;
		}
		if (one == TDP_FAULT_FIXED)
			ret = one;
		if (gfn == start)
			found_leaf(m, ref, level);
		gfn += pages;
		ref++;
		if (level == 0 && gfn < end) {
			tdpi_gfn_t row = map_row(op, l, ref, m, &in, gfn, end);

			ret = row > gfn ? TDP_FAULT_FIXED : ret;
			ref += row - gfn;
			gfn = row;
		}
		/* Level and ownership were looked at for the first leaf; each further one qualifies by itself. */
	} while (gfn < end && (level == 0 ? !tdpi_slot_owner(m->slot, gfn)
					  : tdpi_slot_level(op->mm, m->slot, gfn, level) == level));
	m->next = gfn;
	m->writable = fmt_perm(m->leaf, level, op->mm->ad) & TDP_W;
	tdpi_table_unlock(op->mm, l);
	m->leaf = seen_leaf(op->mm, l.t->root, m->gfn, m->leaf, level);
	if (ret == TDP_FAULT_FIXED)
		note_used(op->mm, l.t);
	/* Nothing was there: nothing can be cached. */
	if (m->raised && ret >= 0 && ret != MAP_AGAIN)
		flush_local(op, start, level);
	return ret;
}

/* Link an empty table at ref of t (which is not locked yet). 0, MAP_AGAIN, RETRY or TDP_ENOMEM. */
static int grow(struct tdpi_op *op, struct tdpi_table *t, tdpi_entry_t *ref, struct tdpi_map *m,
		struct owed_seen *seen)
{
	unsigned level = t->level, shift = level_shift(level);
	tdpi_gfn_t start = m->gfn >> shift << shift;
	struct tdpi_table *child = tdpi_cache_take(op->cache);
	struct tdpi_locked l;
	uint64_t old;

	if (!child)
		return TDP_ENOMEM;
	fill(op->mm, child, level - 1);
	if (!fault_lock(op, t, &l)) {
		tdpi_cache_give(op->cache, child);
		return MAP_AGAIN;
	}
	old = tdpi_entry_load(ref);
	if (fmt_kind(old, level) != TDP_ENTRY_EMPTY && fmt_kind(old, level) != TDP_ENTRY_MMIO) {
		tdpi_table_unlock(op->mm, l); /* somebody else was faster: use theirs */
		tdpi_cache_give(op->cache, child);
		return MAP_AGAIN;
	}
	if (!settle_owed(op, l, start, start + TDPI_BIT(shift), seen)) {
		tdpi_cache_give(op->cache, child);
		return MAP_AGAIN;
	}
	init_child(t, child, ref, m->gfn, 0);
	set_present(op, l, ref, level, fmt_kind(old, level),
		    fmt_table(tdpi_table_pa(op->mm, child), level), false);
	tdpi_table_unlock(op->mm, l);
	return 0;
}

/* Is all below an empty entry at level 1 populated, and alike? Who tracks or owns later moves seq before it walks. */
static inline bool fills_table(const struct tdpi_map *m)
{
	return m->prefetch && m->level == 0 && !(m->gfn & (ENTRIES - 1)) &&
	       m->end - m->gfn >= ENTRIES && !tdpi_load_acquire(&m->slot->tracked) &&
	       !tdpi_load_acquire(&m->slot->owner);
}

/* Nobody can reach t, so its leaves need no order among them. */
static void fill_leaves(struct tdpi_op *op, struct tdpi_table *t, uint64_t e)
{
	tdpi_entry_t *entries = tdpi_table_entries(op->mm, t);

	TDPI_POINT(WRITE, entries, TDP_PAGE_SIZE);
	for (unsigned i = 0; i < ENTRIES; i++) {
		tdpi_entry_init(&entries[i], e);
		e = fmt_next(e, 0);
	}
	table_begins(t, true);
	tdpi_count(op->counts, leaves[0], ENTRIES);
	if (op->mm->backend.table_sync)
		op->mm->backend.table_sync(op->mm->backend_ctx, entries,
					   ENTRIES * sizeof(*entries));
}

static void link_full(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
		      struct tdpi_table *child, struct tdpi_map *m)
{
	struct tdpi_attr a = wanted_attr(op->mm, m, run_in(m, 0), m->gfn);

	m->leaf_level = 0;
	m->leaf = fmt_leaf(map_pa(op->mm, m, m->gfn), 0, a, op->mm->ad);
	m->writable = a.prot & TDP_W;
	m->next = m->gfn + ENTRIES;
	fill_leaves(op, child, m->leaf);
	init_child(l.t, child, ref, m->gfn, 0);
	set_present(op, l, ref, 1, TDP_ENTRY_EMPTY, fmt_table(tdpi_table_pa(op->mm, child), 1),
		    false);
}

/*
 * A full table at the empty entry ref of t, as if it were one huge leaf: with the lock of the same table, and after the
 * same questions as in map_run(), none of which has another answer for a part of it.
 */
static int map_full(struct tdpi_op *op, struct tdpi_table *t, tdpi_entry_t *ref, struct tdpi_map *m,
		    struct owed_seen *seen)
{
	struct tdpi_table *child = tdpi_cache_take(op->cache);
	int ret = MAP_AGAIN;
	struct tdpi_locked l;

	if (!child)
		return TDP_ENOMEM;
	if (!fault_lock(op, t, &l))
		goto out;
	if (tdpi_invalidated(op->mm, m->gfn, ENTRIES, m->seq) ||
	    tdpi_load_acquire(&t->root->invalid)) {
		ret = TDP_FAULT_RETRY;
	} else if (fmt_kind(tdpi_entry_load(ref), 1) == TDP_ENTRY_EMPTY) {
		if (!settle_owed(op, l, m->gfn, m->gfn + ENTRIES, seen))
			goto out;
		link_full(op, l, ref, child, m);
		child = NULL;
		ret = TDP_FAULT_FIXED;
	}
	tdpi_table_unlock(op->mm, l);
	if (ret == TDP_FAULT_FIXED)
		note_used(op->mm, t);
out:
	if (child)
		tdpi_cache_give(op->cache, child);
	return ret;
}

/* Step over or remove what stands between us and a table at `level - 1`. 0: look at the entry again. */
static int map_descend(struct tdpi_op *op, struct tdpi_table *t, tdpi_entry_t *ref, uint64_t e,
		       struct tdpi_map *m, struct owed_seen *seen)
{
	unsigned level = t->level;
	struct tdpi_locked l;

	switch (fmt_kind(e, level)) {
	case TDP_ENTRY_LEAF:
		if (m->prefetch) {
			m->next = ((m->gfn >> level_shift(level)) + 1) << level_shift(level);
			return TDP_FAULT_SPURIOUS;
		}
		return split_one(op, t, ref, m->gfn);
	case TDP_ENTRY_FROZEN:
		if (fault_lock(op, t, &l)) /* whoever breaks it holds the lock */
			tdpi_table_unlock(op->mm, l);
		return MAP_AGAIN;
	default: return grow(op, t, ref, m, seen);
	}
}

/*
 * Down to m->level, from where fast has come to or from the root. MAP_AGAIN: start again at the root. A table that
 * was cut off meanwhile shows when it is locked.
 */
static int map_walk(struct tdpi_op *op, struct tdp_root *root, struct tdpi_map *m,
		    struct owed_seen *seen)
{
	struct spot s = spot_top(root, m->gfn);

	if (m->at)
		s = (struct spot){m->at, tdpi_entry_load_table(m->at), m->at_level};
	m->at = NULL;
	for (;;) {
		struct tdpi_locked l;
		struct tdpi_table *t;
		int ret;

		s = spot_below(op->mm, s, m->gfn);
		/* Smaller pages are here already: a fault makes its own small one beside them. */
		while (s.level < m->level || !(FMT_LEAF_LEVELS >> m->level & 1))
			m->level--;
		t = tdpi_table_of(op->mm, s.ref);
		if (s.level == m->level) {
			if (!fault_lock(op, t, &l))
				return MAP_AGAIN;
			return map_run(op, l, s.ref, m, seen);
		}
		if (s.level == 1 && fmt_kind(s.e, 1) == TDP_ENTRY_EMPTY && fills_table(m))
			return map_full(op, t, s.ref, m, seen);
		ret = map_descend(op, t, s.ref, s.e, m, seen);
		if (ret || (fmt_kind(s.e, s.level) == TDP_ENTRY_LEAF && m->prefetch))
			return ret;
		s.e = tdpi_entry_load_table(s.ref);
	}
}

/* A walk that is thrown back more often than this reports RETRY: the guest comes again (K6). */
#define MAP_TRIES 16

static int map(struct tdpi_op *op, struct tdp_root *root, struct tdpi_map *m)
{
	struct owed_seen seen = {0};

	for (unsigned tries = 0; tries < MAP_TRIES; tries++) {
		int ret;

		TDPI_ASSERT(!op->mm->rcu.read_ongoing || op->mm->rcu.read_ongoing());
		if (tdpi_load_acquire(&root->invalid))
			return TDP_FAULT_RETRY;
		ret = map_walk(op, root, m, &seen);
		if (ret != MAP_AGAIN)
			return ret;
	}
	return TDP_FAULT_RETRY;
}

/* ---- how many tables populating can take ---- */

static uint64_t missing_below(const struct tdp_mm *mm, const struct tdpi_slot *slot,
			      tdpi_gfn_t start, tdpi_gfn_t end, unsigned level)
{
	uint64_t n = 0;

	/* The tables at `level` over [start, end), and what is below each of their empty entries. */
	n += ((end - 1) >> level_shift(level + 1)) - (start >> level_shift(level + 1)) + 1;
	if (level == 0)
		return n;
	for (tdpi_gfn_t gfn = start; gfn < end;) {
		tdpi_gfn_t next = ((gfn >> level_shift(level)) + 1) << level_shift(level);

		next = tdpi_min64(next, end);
		if (slot->ops.resolve || tdpi_slot_level(mm, slot, gfn, level) < level)
			n += missing_below(mm, slot, gfn, next, level - 1);
		gfn = next;
	}
	return n;
}

static uint64_t missing(const struct tdp_mm *mm, struct tdp_root *root,
			const struct tdpi_slot *slot, struct tdpi_span span)
{
	struct iter it;
	uint64_t n = 0;

	iter_init(&it, mm, root, span, 1);
	while (iter_table(&it)) {
		tdpi_gfn_t gfn = it.next;

		for (unsigned i = it.first; it.level > 0 && i <= it.last; i++) {
			tdpi_gfn_t next = ((gfn >> level_shift(it.level)) + 1)
					  << level_shift(it.level);
			enum tdp_entry_kind kind =
				fmt_kind(tdpi_entry_load(&it.entries[i]), it.level);

			next = tdpi_min64(next, span.end);
			if ((kind == TDP_ENTRY_EMPTY || kind == TDP_ENTRY_MMIO) &&
			    (slot->ops.resolve ||
			     tdpi_slot_level(mm, slot, gfn, it.level) < it.level))
				n += missing_below(mm, slot, gfn, next, it.level - 1);
			gfn = next;
		}
	}
	return n;
}

#endif

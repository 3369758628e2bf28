/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who used and who wrote: write protection, dirty bits, aging. Template.
 *
 * Bits are cleared under the table's lock: by a plain store where the MMU has no bit left to set, else by
 * one atomic AND, so that nothing the MMU sets meanwhile is lost (A6).
 */
#ifndef TDPI_ENGINE_TRACK_H
#define TDPI_ENGINE_TRACK_H

#include "engine/huge.h"

/*
 * Who promises that the next write is noticed takes over what others have removed here and not flushed: through
 * that, too, a vCPU could still write.
 */
static inline void take_over(struct tdpi_op *op, struct tdpi_locked l, const struct iter *it,
			     struct tdpi_span span)
{
	tdpi_gfn_t end = it->gfn + (it->last - it->first + 1) * level_pages(it->level);

	tdpi_gather_owed(&op->gather, l, tdpi_max64(it->gfn, span.start),
			 tdpi_min64(end, span.end));
}

/* Clear bits in a present leaf; the answer is what it was before. */
static inline uint64_t clear_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				  uint64_t old, uint64_t bits)
{
	if (fmt_volatile(old, l.t->level, op->mm->ad) == 0)
		tdpi_entry_overwrite(l, ref, old & ~bits);
	else
		old = tdpi_entry_clear(ref, bits);
	sync_entry(op->mm, ref);
	return old;
}

/*
 * Whoever promises that the next write is noticed flushes every leaf that is not writable too: it may have lost W
 * a moment ago, to somebody who has not flushed yet, or to aging and collapse, which do not hurry.
 */
static void protect_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
			 tdpi_gfn_t gfn, uint64_t old)
{
	unsigned level = l.t->level;
	uint64_t bits =
		fmt_w_bits(level); /* all of them: the MMU may set one just now (arm64 DBM) */

	if (old & bits) {
		old = clear_leaf(op, l, ref, old, bits);
		note_dirty(op, l, gfn, old);
	}
	tdpi_gather_leaves(&op->gather, l, gfn, gfn + level_pages(level), TDP_FLUSH_PERMISSION);
}

/* W and the engine's right to grant it go: writes are tracked. */
static void track_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref, tdpi_gfn_t gfn)
{
	unsigned level = l.t->level;
	uint64_t old = tdpi_entry_load(ref), e;

	do
		e = fmt_set_mmu_w(fmt_wrprot(old, level), level, false);
	while (e != old && !tdpi_entry_update(l, ref, &old, e));
	if (e != old) {
		sync_entry(op->mm, ref);
		note_dirty(op, l, gfn, old);
	}
	tdpi_gather_leaves(&op->gather, l, gfn, gfn + level_pages(level), TDP_FLUSH_PERMISSION);
}

/*
 * One run; false: the table was cut off. A leaf that is only partly inside is split; should the tables that the
 * caller counted for that not suffice (it came back as a huge one meanwhile), all of it is protected: whoever
 * writes to the rest faults once and gets W back.
 */
static bool protect_run(struct tdpi_op *op, const struct iter *it, struct tdpi_span span,
			bool track)
{
	tdpi_gfn_t gfn = it->gfn;
	struct tdpi_locked l;

	if (!tdpi_table_lock(op->mm, it->t, &l))
		return false;
	take_over(op, l, it, span);
	for (unsigned i = it->first; i <= it->last; i++, gfn += level_pages(it->level)) {
		uint64_t e = tdpi_entry_load(&it->entries[i]);

		if (fmt_kind(e, it->level) != TDP_ENTRY_LEAF)
			continue;
		if ((gfn < span.start || span.end - gfn < level_pages(it->level)) &&
		    op->cache->count >= split_tables(it->level))
			split_locked(op, l, &it->entries[i], gfn);
		else if (track)
			track_leaf(op, l, &it->entries[i], gfn);
		else
			protect_leaf(op, l, &it->entries[i], gfn, e);
	}
	tdpi_table_unlock(op->mm, l);
	return true;
}

static int write_protect(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			 bool track)
{
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		if (protect_run(op, &it, span, track))
			iter_breathe(&it, op);
		else
			iter_stale(&it);
	}
	return TDP_OK;
}

/* ---- dirty bits ---- */

static inline bool bit_of(const uint64_t *bits, uint64_t i)
{
	return bits[i / 64] >> i % 64 & 1;
}

static void set_bits(uint64_t *bits, uint64_t i, uint64_t n)
{
	for (; n > 0; i++, n--)
		bits[i / 64] |= TDPI_BIT(i % 64);
}

/*
 * Logging by Dirty bit: OR the dirty leaves of a run into bits (from base on; NULL: nobody wants to know) and,
 * with clear, clean them. Huge leaves lose W instead: while logging, only 4K pages may be written.
 */
static void harvest_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
			 tdpi_gfn_t gfn, struct tdpi_span span, uint64_t *bits, tdpi_gfn_t base,
			 bool clear)
{
	unsigned level = l.t->level;
	tdpi_gfn_t start = tdpi_max64(gfn, span.start);
	tdpi_gfn_t end = tdpi_min64(gfn + level_pages(level), span.end);
	uint64_t e = tdpi_entry_load(ref), gone;

	if (bits && fmt_dirty(e, level))
		set_bits(bits, start - base, end - start);
	if (!clear)
		return;
	gone = level > 0 ? fmt_w_bits(level) : fmt_dirty(e, level) ? fmt_d_bits(level) : 0;
	if (!(e & gone)) {
		/* Arming: as protect_leaf(). A harvest leaves it to who took W. */
		if (!bits && !(e & fmt_w_bits(level)))
			tdpi_gather_leaves(&op->gather, l, start, end, TDP_FLUSH_PERMISSION);
		return;
	}
	e = clear_leaf(op, l, ref, e, gone);
	if (bits && fmt_dirty(e, level))
		set_bits(bits, start - base, end - start);
	/* Of a huge page that is partly outside, the rest's dirtiness must not go with it. */
	if (level > 0 && fmt_dirty(e, level) && (start != gfn || end != gfn + level_pages(level)))
		tdpi_note_dirty(op->mm, tdp_role_as(l.t->role), gfn, level_pages(level));
	tdpi_gather_leaves(&op->gather, l, start, end, TDP_FLUSH_DIRTY);
}

static int harvest(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, uint64_t *bits,
		   tdpi_gfn_t base, bool clear)
{
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		tdpi_gfn_t gfn = it.gfn;
		struct tdpi_locked l;

		if (!tdpi_table_lock(op->mm, it.t, &l)) {
			iter_stale(&it);
			continue;
		}
		take_over(op, l, &it, span);
		for (unsigned i = it.first; i <= it.last; i++, gfn += level_pages(it.level))
			if (fmt_kind(tdpi_entry_load(&it.entries[i]), it.level) == TDP_ENTRY_LEAF) {
				op->gather.met |= l.t->cached;
				harvest_leaf(op, l, &it.entries[i], gfn, span, bits, base, clear);
			}
		tdpi_table_unlock(op->mm, l);
		iter_breathe(&it, op);
	}
	return TDP_OK;
}

/* Any bit of [start, end) set? */
static bool any_bit(const uint64_t *bits, uint64_t start, uint64_t end)
{
	for (; start < end; start++)
		if (bit_of(bits, start))
			return true;
	return false;
}

/*
 * The pages whose bits are set (all, if bits is NULL) shall fault, or set D, at their next write: what a
 * harvest has taken out of the log. by_d: the slot is logged by Dirty bit.
 */
static int rearm(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		 const uint64_t *bits, tdpi_gfn_t base, bool by_d)
{
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		tdpi_gfn_t gfn = it.gfn;
		struct tdpi_locked l;

		if (!tdpi_table_lock(op->mm, it.t, &l)) {
			iter_stale(&it);
			continue;
		}
		take_over(op, l, &it, span);
		for (unsigned i = it.first; i <= it.last; i++, gfn += level_pages(it.level)) {
			tdpi_gfn_t start = tdpi_max64(gfn, span.start);
			tdpi_gfn_t end = tdpi_min64(gfn + level_pages(it.level), span.end);
			uint64_t e = tdpi_entry_load(&it.entries[i]);

			if (fmt_kind(e, it.level) != TDP_ENTRY_LEAF ||
			    (bits && !any_bit(bits, start - base, end - base)))
				continue;
			op->gather.met |= l.t->cached;
			if (by_d)
				harvest_leaf(op, l, &it.entries[i], gfn, span, NULL, base, true);
			else
				protect_leaf(op, l, &it.entries[i], gfn, e);
		}
		tdpi_table_unlock(op->mm, l);
		iter_breathe(&it, op);
	}
	return TDP_OK;
}

/* ---- aging ---- */

static void age_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref, tdpi_gfn_t gfn,
		     uint64_t e)
{
	unsigned level = l.t->level;

	if (op->mm->ad & TDPI_HW_A) {
		clear_leaf(op, l, ref, e, fmt_a_bits(level));
	} else {
		/* The MMU sets nothing here: no bit can be lost. W goes with it, so D is handed over. */
		note_dirty(op, l, gfn, e);
		tdpi_entry_overwrite(l, ref, fmt_old(e, level, op->mm->ad));
		sync_entry(op->mm, ref);
	}
	if (op->mm->flags & TDP_MM_FLUSH_ON_AGE)
		tdpi_gather_leaves(&op->gather, l, gfn, gfn + level_pages(level), TDP_FLUSH_AGE);
}

static void note_young(struct tdpi_age *age, tdpi_gfn_t gfn, unsigned level, struct tdpi_span span)
{
	tdpi_gfn_t start = tdpi_max64(gfn, span.start);
	tdpi_gfn_t end = tdpi_min64(gfn + level_pages(level), span.end);

	age->young++;
	if (age->bitmap)
		set_bits(age->bitmap, start - age->base, end - start);
}

/* One table's run. 1: a young leaf was found and that is all that is asked for; MAP_AGAIN: cut off. */
static int age_run(struct tdpi_op *op, const struct iter *it, struct tdpi_span span,
		   struct tdpi_age *age)
{
	tdpi_gfn_t gfn = it->gfn;
	struct tdpi_locked l = {NULL};

	for (unsigned i = it->first; i <= it->last; i++, gfn += level_pages(it->level)) {
		uint64_t e = tdpi_entry_load(&it->entries[i]);

		if (fmt_kind(e, it->level) != TDP_ENTRY_LEAF || !fmt_accessed(e, it->level))
			continue;
		if (age->mode & TDPI_AGE_FIRST) {
			age->young = 1;
			return 1;
		}
		if (age->mode & TDPI_AGE_CLEAR) {
			/* Looking needs no lock; the first young leaf takes it, and is looked at again. */
			if (!l.t && !tdpi_table_lock(op->mm, it->t, &l))
				return MAP_AGAIN;
			e = tdpi_entry_load(&it->entries[i]);
			if (fmt_kind(e, it->level) != TDP_ENTRY_LEAF || !fmt_accessed(e, it->level))
				continue;
			age_leaf(op, l, &it->entries[i], gfn, e);
		}
		note_young(age, gfn, it->level, span);
	}
	if (l.t)
		tdpi_table_unlock(op->mm, l);
	return 0;
}

static int age(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
	       struct tdpi_age *age)
{
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		int ret = FMT_LEAF_LEVELS >> it.level & 1 ? age_run(op, &it, span, age) : 0;

		if (ret == 1)
			return 1;
		if (ret == MAP_AGAIN)
			iter_stale(&it);
		else
			iter_breathe(&it, op);
	}
	return TDP_OK;
}

#endif

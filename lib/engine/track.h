/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who used and who wrote: write protection, dirty bits, aging. Template.
 *
 * Bits are cleared under the table's lock: by a plain store where the MMU has no bit left to set, else by
 * one atomic AND, so that nothing the MMU sets meanwhile is lost (A6). Loops are over runs of one table's entries, with
 * what belongs to the run as a whole (flush, log, sync) done once behind them; they are compiled for 4K pages by
 * themselves, where almost all entries are.
 */
#ifndef TDPI_ENGINE_TRACK_H
#define TDPI_ENGINE_TRACK_H

#include "engine/huge.h"
#include "engine/run.h"

/*
 * Who promises that the next write is noticed takes over what others have removed here and not flushed: through
 * that, too, a vCPU could still write.
 */
static inline void take_over(const struct run *r, const struct iter *it, struct tdpi_span span,
			     unsigned level)
{
	tdpi_gather_owed(&r->op->gather, r->l,
			 tdpi_max64(r->gfn + it->first * level_pages(level), span.start),
			 tdpi_min64(r->gfn + (it->last + 1) * level_pages(level), span.end));
}

/* Clear bits in a present leaf of a run; the answer is what it was before. */
TDPI_ALWAYS_INLINE uint64_t clear_leaf(struct run *r, unsigned i, uint64_t old, unsigned level,
				       uint64_t bits)
{
	tdpi_entry_t *ref = &r->entries[i];

	r->changed = true;
	if (fmt_volatile(old, level, r->ad) == 0)
		tdpi_entry_overwrite(r->l, ref, old & ~bits);
	else
		old = tdpi_entry_clear(r->l, ref, bits);
	return old;
}

/* Is the leaf only partly inside? Never at 4K. */
TDPI_ALWAYS_INLINE bool cut_by(struct tdpi_span span, tdpi_gfn_t gfn, unsigned level)
{
	return level > 0 && (gfn < span.start || span.end - gfn < level_pages(level));
}

/*
 * fn(arguments …, level), false if the table was cut off. At 4K, where almost all entries are, the level is a
 * constant.
 */
#define BY_LEVEL(fn, it, ...)                                                                      \
	((it)->level == 0 ? fn(__VA_ARGS__, it, 0) : fn(__VA_ARGS__, it, (it)->level))

/* ---- write protection ---- */

/*
 * Whoever promises that the next write is noticed flushes every leaf that is not writable too: it may have lost W
 * a moment ago, to somebody who has not flushed yet, or to aging and collapse, which do not hurry.
 */
TDPI_ALWAYS_INLINE void protect_leaf(struct run *r, struct run_dirty *dirty, unsigned i, uint64_t e,
				     unsigned level)
{
	uint64_t bits =
		fmt_w_bits(level); /* all of them: the MMU may set one just now (arm64 DBM) */

	if (e & bits)
		run_note_dirty(r, dirty, i, clear_leaf(r, i, e, level, bits), level);
	run_flush(r, i, 1);
}

/* What each leaf has that the MMU lets be written. Where it sets no D itself, that stands wherever W does. */
static inline uint64_t may_write_bits(unsigned ad, unsigned level)
{
	return ad & TDPI_HW_D ? fmt_w_bits(level) & ~fmt_d_bits(level) : fmt_d_bits(level);
}

/* W and the engine's right to grant it go: writes are tracked. */
TDPI_ALWAYS_INLINE void track_leaf(struct run *r, struct run_dirty *dirty, unsigned i, uint64_t old,
				   unsigned level)
{
	uint64_t e;

	do
		e = fmt_set_mmu_w(fmt_wrprot(old, level), level, false);
	while (e != old && !tdpi_entry_update(r->l, &r->entries[i], &old, e));
	if (e != old) {
		r->changed = true;
		run_note_dirty(r, dirty, i, old, level);
	}
	run_flush(r, i, 1);
}

/*
 * A leaf that is only partly inside is split; should the tables that the caller counted for that not suffice (it came
 * back as a huge one meanwhile), all of it is protected: whoever writes to the rest faults once and gets W back.
 */
TDPI_ALWAYS_INLINE bool protect_run(struct tdpi_op *op, struct tdpi_span span, bool track,
				    const struct iter *it, unsigned level)
{
	struct run r = run_of(op, it);
	struct run_dirty dirty;

	if (!run_lock(&r, it->t, &dirty))
		return false;
	take_over(&r, it, span, level);
	for (unsigned i = r.from; i < r.end; i++) {
		tdpi_gfn_t gfn = r.gfn + i * level_pages(level);
		unsigned n = track || r.log
				     ? 0
				     : run_clear(&r, i, r.end, level, may_write_bits(r.ad, level),
						 fmt_w_bits(level));
		uint64_t e;

		if (n > 0) {
			i += n - 1;
			continue;
		}
		e = tdpi_entry_load(&r.entries[i]);
		if (fmt_kind(e, level) != TDP_ENTRY_LEAF)
			continue;
		if (cut_by(span, gfn, level) && op->cache->count >= split_tables(level))
			split_locked(op, r.l, &r.entries[i], gfn);
		else if (track)
			track_leaf(&r, &dirty, i, e, level);
		else
			protect_leaf(&r, &dirty, i, e, level);
	}
	run_end(&r, &dirty, level, TDP_FLUSH_PERMISSION, true);
	return true;
}

static int write_protect(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			 bool track)
{
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		if (iter_pass(&it))
			continue;
		if (BY_LEVEL(protect_run, &it, op, span, track))
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

static inline void set_bits(uint64_t *bits, uint64_t i, uint64_t n)
{
	while (n > 0) {
		uint64_t part = tdpi_min64(64 - i % 64, n);

		bits[i / 64] |= ~(uint64_t)0 >> (64 - part) << i % 64;
		i += part;
		n -= part;
	}
}

/* The part of a leaf that is inside. */
static inline struct tdpi_span part_of(struct tdpi_span span, tdpi_gfn_t gfn, unsigned level)
{
	span.start = tdpi_max64(gfn, span.start);
	span.end = tdpi_min64(gfn + level_pages(level), span.end);
	return span;
}

static inline void set_part(uint64_t *bits, tdpi_gfn_t base, struct tdpi_span part)
{
	set_bits(bits, part.start - base, part.end - part.start);
}

/* Whose writes are asked for, or are to be noticed. */
struct harvest {
	struct tdpi_span span;
	tdpi_gfn_t base;
	uint64_t *bits; /* from base on: dirty frames are set; NULL: writes are to be noticed */
	const uint64_t *only; /* then: of these frames, from base on; NULL: of all */
	bool clear;           /* clean them, too */
	bool shut;            /* tables that lie wholly in span: by their entry (engine/lazy.h) */
};

/*
 * Logging by Dirty bit: OR a dirty leaf into the bits and, with clear, clean it. Huge leaves lose W instead: while
 * logging, only 4K pages may be written.
 */
TDPI_ALWAYS_INLINE void harvest_leaf(struct run *r, unsigned i, const struct harvest *h,
				     unsigned level)
{
	tdpi_gfn_t gfn = r->gfn + i * level_pages(level);
	struct tdpi_span part = part_of(h->span, gfn, level);
	uint64_t e = tdpi_entry_load(&r->entries[i]), gone;

	if (h->bits && fmt_dirty(e, level))
		set_part(h->bits, h->base, part);
	if (!h->clear)
		return;
	gone = level > 0 ? fmt_w_bits(level) : fmt_dirty(e, level) ? fmt_d_bits(level) : 0;
	if (!(e & gone)) {
		/* Arming: as protect_leaf(). A harvest leaves it to who took W. */
		if (!h->bits && !(e & fmt_w_bits(level)))
			run_flush(r, i, 1);
		return;
	}
	e = clear_leaf(r, i, e, level, gone);
	if (h->bits && fmt_dirty(e, level))
		set_part(h->bits, h->base, part);
	/* Of a huge page that is partly outside, the rest's dirtiness must not go with it. */
	if (cut_by(h->span, gfn, level) && fmt_dirty(e, level) && !shut_above(r->op->mm, r->l.t))
		tdpi_note_dirty(r->op->mm, r->l.t->root->as_id, gfn, level_pages(level));
	run_flush(r, i, 1);
}

/*
 * A harvest flushes all of its window, whatever it finds: for which levels, the tables say in which there are leaves
 * (gather.h).
 */
TDPI_ALWAYS_INLINE void note_levels(const struct run *r, unsigned level)
{
	bool any = level == 0 && r->l.t->present > r->l.t->mmio;

	for (unsigned i = r->from; level > 0 && !any && i < r->end; i++)
		any = fmt_kind(tdpi_entry_load(&r->entries[i]), level) == TDP_ENTRY_LEAF;
	if (any)
		r->op->gather.met |= r->l.t->cached;
}

/* A harvest only has to do with leaves that are dirty, or huge and writable: the others are passed over. */
TDPI_ALWAYS_INLINE bool harvest_run(struct tdpi_op *op, const struct harvest *h,
				    const struct iter *it, unsigned level)
{
	uint64_t bits = level > 0 ? fmt_w_bits(level) | fmt_d_bits(level) : fmt_d_bits(level);
	struct run r = run_of(op, it);
	struct run_dirty dirty;
	unsigned i;

	if (!run_lock(&r, it->t, &dirty))
		return false;
	take_over(&r, it, h->span, level);
	note_levels(&r, level);
	i = tdpi_entries_scan(&op->mm->env, r.entries, r.from, r.end, bits);
	for (; (i = tdpi_entries_find(r.entries, i, r.end, bits)) < r.end; i++) {
		unsigned n = h->clear ? run_clear(&r, i, r.end, level, bits, bits) : 0;

		if (n > 0) {
			set_bits(h->bits, r.gfn + i - h->base, n);
			i += n - 1;
		} else if (fmt_kind(tdpi_entry_load(&r.entries[i]), level) == TDP_ENTRY_LEAF) {
			harvest_leaf(&r, i, h, level);
		}
	}
	run_end(&r, &dirty, level, TDP_FLUSH_DIRTY, true);
	return true;
}

static int harvest(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, uint64_t *bits,
		   tdpi_gfn_t base, bool clear)
{
	struct harvest h = {.span = span, .bits = bits, .base = base, .clear = clear};
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_open(&it)) {
		if (iter_pass(&it))
			continue;
		if (BY_LEVEL(harvest_run, &it, op, &h))
			iter_breathe(&it, op);
		else
			iter_stale(&it);
	}
	return TDP_OK;
}

/* Any bit of the part set? */
static inline bool any_bit(const uint64_t *bits, tdpi_gfn_t base, struct tdpi_span part)
{
	for (; part.start < part.end; part.start++)
		if (bit_of(bits, part.start - base))
			return true;
	return false;
}

/* Entries from i of a run of 4K leaves to there are all asked for: by words or eights, which is cheap to say. */
static inline unsigned asked_until(const struct harvest *h, const struct run *r, unsigned i)
{
	uint64_t at = r->gfn + i - h->base, only;

	if (!h->only)
		return r->end;
	only = h->only[at / 64] >> at % 64;
	i += only == ~(uint64_t)0 ? 64 : (only & 0xff) == 0xff ? 8 : 0;
	return i < r->end ? i : r->end;
}

/*
 * W of the entry goes instead of that of all leaves below. Pointers to tables that MMUs keep have W of before, be it
 * for the way down to there or for this entry alone: so all levels are flushed.
 */
static void shut_table(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref, tdpi_gfn_t gfn)
{
	unsigned level = l.t->level;

	tdpi_entry_clear(l, ref, FMT_TABLE_W);
	sync_entry(op->mm, ref);
	tdpi_gather_range(&op->gather, gfn, gfn + level_pages(level), TDPI_LEVELS_ALL,
			  TDP_FLUSH_PERMISSION);
}

TDPI_ALWAYS_INLINE bool rearm_run(struct tdpi_op *op, const struct harvest *h, bool by_d,
				  const struct iter *it, unsigned level)
{
	uint64_t bits = by_d ? fmt_d_bits(level) : fmt_w_bits(level),
		 have = by_d ? bits : may_write_bits(op->mm->ad, level);
	struct run r = run_of(op, it);
	struct run_dirty dirty;

	if (!run_lock(&r, it->t, &dirty))
		return false;
	take_over(&r, it, h->span, level);
	note_levels(&r, level);
	for (unsigned i = r.from; i < r.end; i++) {
		struct tdpi_span part = part_of(h->span, r.gfn + i * level_pages(level), level);
		unsigned n = level > 0 || (r.log && !by_d)
				     ? 0
				     : run_clear(&r, i, asked_until(h, &r, i), level, have, bits);
		uint64_t e;

		if (n > 0) {
			i += n - 1;
			continue;
		}
		e = tdpi_entry_load(&r.entries[i]);
		if (level > 0 && h->shut && fmt_kind(e, level) == TDP_ENTRY_TABLE &&
		    part.end - part.start == level_pages(level))
			shut_table(op, r.l, &r.entries[i], part.start);
		if (fmt_kind(e, level) != TDP_ENTRY_LEAF ||
		    (h->only && !any_bit(h->only, h->base, part)))
			continue;
		if (by_d)
			harvest_leaf(&r, i, h, level);
		else
			protect_leaf(&r, &dirty, i, e, level);
	}
	run_end(&r, &dirty, level, by_d ? TDP_FLUSH_DIRTY : TDP_FLUSH_PERMISSION, true);
	return true;
}

/*
 * The pages whose bits are set (all, if bits is NULL) shall fault, or set D, at their next write: what a
 * harvest has taken out of the log. by_d: the slot is logged by Dirty bit.
 */
static int rearm(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		 const uint64_t *bits, tdpi_gfn_t base, bool by_d)
{
	struct harvest h = {.span = span, .only = bits, .base = base, .clear = true};
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (iter_table(&it)) {
		if (iter_pass(&it))
			continue;
		if (BY_LEVEL(rearm_run, &it, op, &h, by_d))
			iter_breathe(&it, op);
		else
			iter_stale(&it);
	}
	return TDP_OK;
}

/* ---- aging ---- */

TDPI_ALWAYS_INLINE void age_leaf(struct run *r, struct run_dirty *dirty, unsigned i, uint64_t e,
				 unsigned level)
{
	if (r->ad & TDPI_HW_A) {
		clear_leaf(r, i, e, level, fmt_a_bits(level));
	} else {
		/* The MMU sets nothing here: no bit can be lost. W goes with it, so D is handed over. */
		r->changed = true;
		run_note_dirty(r, dirty, i, e, level);
		tdpi_entry_overwrite(r->l, &r->entries[i], fmt_old(e, level, r->ad));
	}
	run_flush(r, i, 1);
}

/* The first young leaf of entries [i, end), or end. */
TDPI_ALWAYS_INLINE unsigned young_from(const tdpi_entry_t *entries, unsigned i, unsigned end,
				       unsigned level)
{
	for (; (i = tdpi_entries_find(entries, i, end, fmt_a_bits(level))) < end; i++) {
		uint64_t e = tdpi_entry_load(&entries[i]);

		if (fmt_kind(e, level) == TDP_ENTRY_LEAF && fmt_accessed(e, level))
			break;
	}
	return i;
}

/* Of the run [i, *end), which loses its empty ends. */
TDPI_ALWAYS_INLINE unsigned first_young(const struct iter *it, unsigned *end, unsigned level)
{
	unsigned i = it->first;

	*end = it->last + 1;
	occupied_run(it->t, &i, end);
	i = tdpi_entries_scan(&it->mm->env, it->entries, i, *end, fmt_a_bits(level));
	return young_from(it->entries, i, *end, level);
}

/* One table's run. False: its table was cut off. */
TDPI_ALWAYS_INLINE bool age_run(struct tdpi_op *op, struct tdpi_span span, struct tdpi_age *age,
				uint64_t *bitmap, const struct iter *it, unsigned level)
{
	uint64_t bits = fmt_a_bits(level), young = 0;
	struct run r = run_of(op, it);
	struct run_dirty dirty;
	unsigned end, i = first_young(it, &end, level);

	/* Looking needs no lock: only for a table in which something is young it is taken, and all looked at again. */
	if (i == end)
		return true;
	if (!run_lock(&r, it->t, &dirty))
		return false;
	for (; (i = young_from(r.entries, i, r.end, level)) < r.end; i++) {
		tdpi_gfn_t gfn = r.gfn + i * level_pages(level);
		unsigned n = r.ad & TDPI_HW_A ? run_clear(&r, i, r.end, level, bits, bits) : 0;
		uint64_t e;

		if (n > 0) {
			if (bitmap)
				set_bits(bitmap, gfn - age->base, n);
			young += n;
			i += n - 1;
			continue;
		}
		e = tdpi_entry_load(&r.entries[i]);
		young++;
		age_leaf(&r, &dirty, i, e, level);
		if (bitmap)
			set_part(bitmap, age->base, part_of(span, gfn, level));
	}
	run_end(&r, &dirty, level, TDP_FLUSH_AGE, op->mm->flags & TDP_MM_FLUSH_ON_AGE);
	age->young += young;
	return true;
}

/* The same without changing anything; without a lock, too. True: one is young, and that is all that was asked. */
static bool look_run(struct tdpi_span span, struct tdpi_age *age, const struct iter *it)
{
	unsigned level = it->level, end, i = first_young(it, &end, level);

	for (; (i = young_from(it->entries, i, end, level)) < end; i++) {
		tdpi_gfn_t gfn = it->gfn + (i - it->first) * level_pages(level);

		age->young++;
		if (age->mode & TDPI_AGE_FIRST)
			return true;
		if (age->bitmap)
			set_part(age->bitmap, age->base, part_of(span, gfn, level));
	}
	return false;
}

/* 1: a young leaf was found and that is all that is asked for. */
static int age(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
	       struct tdpi_age *age)
{
	bool used = FMT_TABLE_A && tdpi_unlikely(op->mm->flags & TDP_MM_AGE_TABLES);
	struct idle_walk idle = {.marks = used && age->mode & TDPI_AGE_MARK};
	struct iter it;

	iter_begin(&it, op, root, span, 0);
	while (used ? iter_used(&it) : iter_table(&it)) {
		uint64_t young = age->young;
		bool there = true;

		idle_enter(&idle, op, &it);
		if (!(FMT_LEAF_LEVELS >> it.level & 1))
			;
		else if (!(age->mode & TDPI_AGE_CLEAR)) {
			if (look_run(span, age, &it))
				return 1;
		} else if (age->bitmap) {
			there = BY_LEVEL(age_run, &it, op, span, age, age->bitmap);
		} else {
			there = BY_LEVEL(age_run, &it, op, span, age, NULL);
		}
		if (there)
			idle_done(&idle, op, &it, age->young == young);
		else
			iter_stale(&it);
		if (!there || iter_breathe(&it, op))
			idle_forget(&idle);
	}
	idle_end(&idle, op, &it);
	return TDP_OK;
}

#endif

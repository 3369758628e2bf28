/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run: entries of one table that a loop passes over under its lock. What the loop changes is told here and done once
 * at the end, before the lock is dropped: the flush is gathered as one range, dirty bits go to the log by words, a
 * walker that does not snoop is told. Template.
 */
#ifndef TDPI_ENGINE_RUN_H
#define TDPI_ENGINE_RUN_H

#include "engine/set.h"

#define RUN_WORDS ((ENTRIES + 63) / 64)

/*
 * No function that is not inlined gets the address of one, so that its members stay in registers over the atomic
 * accesses of a loop; but for the dirty bits, which are only used where somebody logs.
 */
struct run {
	struct tdpi_op *op;
	struct tdpi_locked l;
	tdpi_entry_t *entries;
	tdpi_gfn_t gfn; /* of entry 0 */
	unsigned ad;
	unsigned from, end;   /* entries of the run; once locked, without empty ends */
	unsigned first, last; /* to be flushed, whether changed or not; first > last: none */
	bool changed;         /* any of them */
	bool log;             /* somebody logs by Dirty bit */
	bool any_dirty;
};

/* The entries of a run whose Dirty bit is about to be forgotten. */
struct run_dirty {
	uint64_t bits[RUN_WORDS];
};

TDPI_ALWAYS_INLINE struct run run_of(struct tdpi_op *op, const struct iter *it)
{
	struct run r = {
		.op = op,
		.entries = it->entries,
		.gfn = it->gfn - it->first * level_pages(it->level),
		.ad = op->mm->ad,
		.from = it->first,
		.end = it->last + 1,
		.first = ENTRIES,
	};

	return r;
}

/*
 * Lock its table; false: that was cut off. Whether somebody logs is asked once: who begins to log after that takes
 * this lock before relying on it, be it to arm or to harvest.
 */
TDPI_ALWAYS_INLINE bool run_lock(struct run *r, struct tdpi_table *t, struct run_dirty *dirty)
{
	const struct tdp_mm *mm = r->op->mm;

	if (!tdpi_table_lock(mm, t, &r->l))
		return false;
	occupied_run(t, &r->from, &r->end);
	r->log = tdpi_load_relaxed(&mm->dbit_logs) != 0;
	if (tdpi_unlikely(r->log))
		for (unsigned i = 0; i < RUN_WORDS; i++)
			dirty->bits[i] = 0;
	return true;
}

/* Entries [i, i + n) are to be flushed. Loops go up. */
TDPI_ALWAYS_INLINE void run_flush(struct run *r, unsigned i, unsigned n)
{
	if (r->first > i)
		r->first = i;
	r->last = i + n - 1;
}

/* What has these bits is a leaf that the MMU looks at; 0: nothing tells. A dirty leaf of that level has them. */
TDPI_ALWAYS_INLINE uint64_t leaf_bits(unsigned ad, unsigned level)
{
	return level > 0 ? 0 : fmt_settled(ad) & ~(fmt_a_bits(level) | fmt_d_bits(level));
}

/*
 * Entries [i, end), as far as they are leaves that all have `have`, lose `bits` and are flushed: how many. Begun at an
 * eighth entry only, so that asking costs little where the answer is 0.
 */
TDPI_ALWAYS_INLINE unsigned run_clear(struct run *r, unsigned i, unsigned end, unsigned level,
				      uint64_t have, uint64_t bits)
{
	uint64_t leaf = leaf_bits(r->ad, level);
	unsigned n;

	if (i % 8 != 0 || end - i < 8 || !leaf)
		return 0;
	n = tdpi_entries_clear(r->l, &r->entries[i], end - i, have | leaf, fmt_settled(r->ad),
			       bits);
	if (n > 0) {
		r->changed = true;
		run_flush(r, i, n);
	}
	return n;
}

/* A leaf's Dirty bit is about to be forgotten. */
TDPI_ALWAYS_INLINE void run_note_dirty(struct run *r, struct run_dirty *dirty, unsigned i,
				       uint64_t old, unsigned level)
{
	if (tdpi_unlikely(r->log) && fmt_dirty(old, level)) {
		dirty->bits[i / 64] |= TDPI_BIT(i % 64);
		r->any_dirty = true;
	}
}

/* By its role: the root of a table that was cut off may be gone. */
static TDPI_COLD void run_tell_log(const struct tdp_mm *mm, const struct tdpi_table *t,
				   const struct run_dirty *dirty)
{
	for (unsigned i = 0; i < RUN_WORDS; i++)
		tdpi_note_dirty_mask(mm, tdp_role_as(t->role),
				     t->gfn + i * 64 * level_pages(t->level), dirty->bits[i],
				     level_pages(t->level));
}

/* Unlocks. The flush of what changed is gathered for `cause`, unless nobody needs one. */
TDPI_ALWAYS_INLINE void run_end(struct run *r, const struct run_dirty *dirty, unsigned level,
				enum tdp_flush_cause cause, bool flush)
{
	const struct tdp_mm *mm = r->op->mm;

	if (tdpi_unlikely(r->any_dirty) && !shut_above(mm, r->l.t))
		run_tell_log(mm, r->l.t, dirty);
	if (tdpi_unlikely(mm->backend.table_sync != NULL) && r->changed)
		mm->backend.table_sync(mm->backend_ctx, &r->entries[r->first],
				       (r->last - r->first + 1) * sizeof(*r->entries));
	if (flush && r->first <= r->last)
		tdpi_gather_leaves(&r->op->gather, r->l, r->gfn + r->first * level_pages(level),
				   r->gfn + (r->last + 1) * level_pages(level), cause);
	tdpi_table_unlock(mm, r->l);
}

#endif

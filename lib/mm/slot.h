/* SPDX-License-Identifier: BSD-2-Clause */
/* Memslots as the engine and the fault path see them, and the invalidation check. */
#ifndef TDPI_MM_SLOT_H
#define TDPI_MM_SLOT_H

#include "mm/host.h"

/* The slot that holds gfn, NULL: none. Inside a read section; the slot stays until it ends. */
struct tdpi_slot *tdpi_slot_at(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn);
/* No slot holds gfn, but one is being moved from or to there. The caller checks its seq afterwards. */
static inline bool tdpi_slot_in_transit(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn)
{
	const struct tdpi_transit *t = &mm->transit;

	return tdpi_load_acquire(&t->active) && tdpi_load_relaxed(&t->as_id) == as_id &&
	       (gfn - tdpi_load_relaxed(&t->from) < tdpi_load_relaxed(&t->pages) ||
		gfn - tdpi_load_relaxed(&t->to) < tdpi_load_relaxed(&t->pages));
}
/* By id. Inside a read section, or with slots_lock held. */
struct tdpi_slot *tdpi_slot_by_id(const struct tdp_mm *mm, uint32_t id);

/* A reference keeps the slot and its backing ops beyond the read section. */
void tdpi_slot_hold(struct tdpi_slot *slot);
void tdpi_slot_drop(const struct tdp_mm *mm, struct tdpi_slot *slot);

/*
 * The same for a fault while resolve() runs. Noted in the vCPU, so that faults of two vCPUs write no common
 * line. Inside the section in which the slot was found: whoever removes the slot waits for that section to end,
 * and then for the note to go.
 */
static inline void tdpi_slot_ask(struct tdp_vcpu *v, struct tdpi_slot *slot)
{
	tdpi_store_relaxed(&v->asking, slot);
}
/* The slot is not touched any more. */
void tdpi_slot_answered(struct tdp_vcpu *v);

/*
 * The log of a slot: no page in it, or all. TDP_ENOMEM: as before. slots_lock held, and the log off; who marks from
 * when it was on may still come.
 */
int tdpi_slot_log_begin(struct tdp_mm *mm, struct tdpi_slot *slot, bool all);
/* Nobody finds the slot, nobody holds it. */
void tdpi_slot_log_free(struct tdp_mm *mm, struct tdpi_slot *slot);
/* Set the dirty bits of count frames from gfn on, as far as the slot reaches and is logged. */
void tdpi_slot_mark(const struct tdpi_slot *slot, tdpi_gfn_t gfn, uint64_t count);
/* The same for whichever slot is there: the Dirty bit of a leaf that goes away. Read section. */
void tdpi_note_dirty(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn, uint64_t count);
/* Of up to 64 leaves in a row of `pages` frames each, the first at gfn, those whose bit is set. */
void tdpi_note_dirty_mask(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn, uint64_t mask,
			  uint64_t pages);

static inline bool tdpi_slot_tracked(const struct tdpi_slot *slot, tdpi_gfn_t gfn)
{
	const uint16_t *tracked = tdpi_load_acquire(&slot->tracked);

	return tracked && tdpi_load_relaxed(&tracked[gfn - slot->base]) != 0;
}

static inline uint32_t tdpi_slot_owner(const struct tdpi_slot *slot, tdpi_gfn_t gfn)
{
	const uint8_t *owner = tdpi_load_acquire(&slot->owner);

	return owner ? (uint32_t)tdpi_load_relaxed(&owner[gfn - slot->base]) : 0;
}

static inline uint32_t tdpi_slot_log(const struct tdpi_slot *slot)
{
	return tdpi_load_relaxed(&slot->log);
}

static inline bool tdpi_slot_readonly(const struct tdpi_slot *slot)
{
	return tdpi_load_relaxed(&slot->flags) & TDP_SLOT_READONLY;
}

/* Largest level <= max at which a leaf over gfn may stand: bounds, congruence, tracking, logging, policy. */
unsigned tdpi_slot_level(const struct tdp_mm *mm, const struct tdpi_slot *slot, tdpi_gfn_t gfn,
			 unsigned max);

/* Which of the slot's huge pages at `level` holds gfn; the first may begin before the slot. */
static inline uint64_t tdpi_slot_huge_index(const struct tdp_mm *mm, const struct tdpi_slot *slot,
					    tdpi_gfn_t gfn, unsigned level)
{
	unsigned shift = tdpi_level_shift(mm, level);

	return (gfn >> shift) - (slot->base >> shift);
}

/* slot_track.c: free the counts (the slot is found by nobody). */
void tdpi_slot_track_free(struct tdp_mm *mm, struct tdpi_slot *slot);

/* Taken before the backing is looked up (A4). */
static inline uint64_t tdpi_invalidation_seq(const struct tdp_mm *mm)
{
	return tdpi_load_acquire(&mm->inv.seq);
}

/*
 * Must what was looked up at `seq` not be installed at [gfn, gfn + count)? Under the lock of the table
 * that will hold it. Why no fence is needed: an invalidation publishes its range, then takes the lock of
 * every table in the range. Either it had this table (or the parent that this table was linked into)
 * before us, then its range is visible here; or it comes after us and finds our entry (A4). A range that
 * has ended has moved seq before; the bounds are acquired so that who reads those of a later range sees that.
 */
static inline bool tdpi_invalidated(const struct tdp_mm *mm, tdpi_gfn_t gfn, uint64_t count,
				    uint64_t seq)
{
	if (tdpi_unlikely(tdpi_load_acquire(&mm->inv.running) != 0) &&
	    gfn < tdpi_load_acquire(&mm->inv.end) &&
	    gfn + count > tdpi_load_acquire(&mm->inv.start))
		return true;
	return tdpi_load_acquire(&mm->inv.seq) != seq;
}

/* What memslot changes do instead of a range: every lookup under way becomes void. */
static inline void tdpi_invalidate_lookups(struct tdp_mm *mm)
{
	tdpi_add_acq_rel(&mm->inv.seq, 1); /* A4 */
}

#endif

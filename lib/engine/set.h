/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Every change of a live entry, with its bookkeeping: present counts, statistics, dirty bits handed over,
 * flushes owed. Template. The caller holds the table's lock (the token) and decides; these do.
 */
#ifndef TDPI_ENGINE_SET_H
#define TDPI_ENGINE_SET_H

#include "engine/attr.h"
#include "engine/iter.h"
#include "mm/slot.h"

/*
 * Which parts of a table have something in them, so that loops leave out its empty ends: a guest that is mapped here
 * and there costs what is there. Never too few: set before the entry is, under the lock; cleared where all of a part
 * was emptied. Without the lock what was set before is seen, as the entries are.
 */
#define PART_LG2 (FMT_INDEX_LG2 > 5 ? FMT_INDEX_LG2 - 5 : 0)

/* Parts of entries first … last. */
static inline uint32_t parts_of(unsigned first, unsigned last)
{
	return (uint32_t)((TDPI_BIT((last >> PART_LG2) + 1) - 1) &
			  ~(TDPI_BIT(first >> PART_LG2) - 1));
}

static inline uint32_t part_of_entry(const tdpi_entry_t *ref)
{
	return (uint32_t)1 << (((uintptr_t)ref / sizeof(*ref) & (ENTRIES - 1)) >> PART_LG2);
}

/* Entries [*from, *end) shrink to where something is. */
static inline void occupied_run(const struct tdpi_table *t, unsigned *from, unsigned *end)
{
	uint32_t parts = tdpi_load_relaxed(&t->occupied) & parts_of(*from, *end - 1);

	if (tdpi_likely(parts == parts_of(*from, *end - 1)))
		return;
	*from = parts ? (unsigned)tdpi_max64(*from, (uint64_t)tdpi_ctz64(parts) << PART_LG2) : *end;
	*end = parts ? (unsigned)tdpi_min64(*end, (uint64_t)tdpi_bits64(parts) << PART_LG2) : *end;
}

/* Entries of these parts are about to be something. */
static inline void table_occupy(struct tdpi_table *t, uint32_t parts)
{
	if ((t->occupied & parts) != parts)
		tdpi_store_relaxed(&t->occupied, t->occupied | parts);
}

/* Entries that are not empty; others look without the lock, to steer. */
static inline void table_add(struct tdpi_table *t, int n)
{
	tdpi_store_relaxed(&t->present, (uint16_t)(t->present + n));
	if (t->present == 0)
		tdpi_store_relaxed(&t->occupied, 0u);
}

/* Entries first … last were all emptied. */
static inline void table_vacate(struct tdpi_table *t, unsigned first, unsigned last)
{
	unsigned from = (first + (1u << PART_LG2) - 1) >> PART_LG2, end = (last + 1) >> PART_LG2;

	if (from < end)
		tdpi_store_relaxed(&t->occupied, t->occupied & ~parts_of(from << PART_LG2,
									 (end << PART_LG2) - 1));
}

/* All entries are something, or none is. Nobody can reach the table. */
static inline void table_begins(struct tdpi_table *t, bool full)
{
	tdpi_store_quiet(&t->present, (uint16_t)(full ? ENTRIES : 0));
	tdpi_store_quiet(&t->occupied, full ? parts_of(0, ENTRIES - 1) : 0u);
	t->mmio = 0;
}

static inline void sync_entry(const struct tdp_mm *mm, const tdpi_entry_t *ref)
{
	if (tdpi_unlikely(mm->backend.table_sync != NULL))
		mm->backend.table_sync(mm->backend_ctx, ref, sizeof(*ref));
}

/* An entry that was EMPTY or MMIO becomes a leaf or table, complete at once. */
TDPI_ALWAYS_INLINE void set_present(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				    unsigned level, enum tdp_entry_kind was, uint64_t e, bool leaf)
{
	TDPI_ASSERT((was == TDP_ENTRY_EMPTY || was == TDP_ENTRY_MMIO) &&
		    leaf == (fmt_kind(e, level) == TDP_ENTRY_LEAF));
	if (tdpi_unlikely(was == TDP_ENTRY_MMIO)) {
		l.t->mmio--;
		tdpi_count(op->counts, mmio, -1);
	} else {
		table_occupy(l.t, part_of_entry(ref));
		table_add(l.t, 1);
	}
	tdpi_entry_publish(l, ref, e);
	if (leaf)
		tdpi_count(op->counts, leaves[level], 1);
	else
		tdpi_count(op->counts, tables[level - 1], 1);
	sync_entry(op->mm, ref);
}

/* Is an entry above t shut? Then what is said to be written in t was written before (engine/lazy.h). */
static TDPI_COLD bool shut_above(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	bool shut = false;

	while (FMT_TABLE_W && !shut && t->parent) {
		uint64_t e = tdpi_entry_load(t->parent);

		shut = fmt_kind(e, t->level + 1u) == TDP_ENTRY_TABLE && table_shut(e);
		t = tdpi_table_of(mm, t->parent);
	}
	return shut;
}

/* A leaf's Dirty bit is about to be forgotten: into the log, if anybody logs by Dirty bit. */
static inline void note_dirty(struct tdpi_op *op, struct tdpi_locked l, tdpi_gfn_t gfn,
			      uint64_t old)
{
	if (tdpi_unlikely(tdpi_load_relaxed(&op->mm->dbit_logs) != 0) &&
	    fmt_dirty(old, l.t->level) && !shut_above(op->mm, l.t))
		tdpi_note_dirty(op->mm, l.t->root->as_id, gfn, level_pages(l.t->level));
}

/*
 * Replace a present leaf by e, keeping nothing that the MMU sets meanwhile but telling it: the answer is what
 * was there last. A plain store where no bit can change any more.
 */
static inline uint64_t swap_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				 uint64_t old, uint64_t e)
{
	if (fmt_volatile(old, l.t->level, op->mm->ad) == 0)
		tdpi_entry_overwrite(l, ref, e);
	else
		old = tdpi_entry_exchange(l, ref, e);
	sync_entry(op->mm, ref);
	return old;
}

/* A leaf goes. Its range and the debt are gathered, its dirty bit handed over. */
static inline void set_removed_leaf(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				    tdpi_gfn_t gfn, uint64_t old, uint64_t empty)
{
	unsigned level = l.t->level;

	old = swap_leaf(op, l, ref, old, empty);
	table_add(l.t, -1);
	tdpi_count(op->counts, leaves[level], -1);
	note_dirty(op, l, gfn, old);
	tdpi_gather_removed(&op->gather, l, gfn, gfn + level_pages(level), l.t->cached,
			    TDP_FLUSH_ZAP);
}

static inline void set_removed_mmio(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref)
{
	table_add(l.t, -1);
	l.t->mmio--;
	tdpi_count(op->counts, mmio, -1);
	tdpi_entry_publish(l, ref, fmt_empty(l.t->level));
	sync_entry(op->mm, ref);
}

/* Before the entry of a linked table is replaced: tells walks that have passed its parent (A4c). */
static inline void note_cut(struct tdpi_locked l)
{
	tdpi_store_relaxed(&l.t->cuts, (uint16_t)(l.t->cuts + 1));
}

/*
 * A table is cut off at its parent. Returns it for tdpi_gather_table(), to be called once the parent is
 * unlocked. collecting is announced before the exchange: a harvest that sees the hole waits (A5).
 */
static inline struct tdpi_table *set_removed_table(struct tdpi_op *op, struct tdpi_locked l,
						   tdpi_entry_t *ref, tdpi_gfn_t gfn, uint64_t e)
{
	unsigned level = l.t->level;

	note_cut(l);
	/* Whether or not anybody logs: somebody may begin before the flush. */
	if (op->gather.ticket)
		tdpi_store_relaxed(&op->gather.ticket->collecting, 1u);
	tdpi_entry_exchange(l, ref, fmt_empty(level));
	sync_entry(op->mm, ref);
	table_add(l.t, -1);
	tdpi_gather_removed(&op->gather, l, gfn, gfn + level_pages(level), TDPI_LEVELS_ALL,
			    TDP_FLUSH_TABLE);
	return table_below(op->mm, e, level);
}

/*
 * Break before make: a present entry may not become another present one directly. Invalid, flushed, and
 * only then the new word, all under the table's lock, so a fault on it waits. Returns the old word with
 * every bit the MMU set until the flush.
 */
static inline uint64_t break_entry(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
				   tdpi_gfn_t gfn)
{
	unsigned level = l.t->level;
	uint64_t old = tdpi_entry_exchange(l, ref, fmt_frozen(level));
	bool leaf = fmt_kind(old, level) == TDP_ENTRY_LEAF;

	sync_entry(op->mm, ref);
	tdpi_flush(&op->gather, gfn, gfn + level_pages(level), leaf ? l.t->cached : TDPI_LEVELS_ALL,
		   1u << TDP_FLUSH_BREAK);
	return old;
}

static inline bool needs_break(const struct tdp_mm *mm, uint64_t old, uint64_t e, unsigned level)
{
	return FMT_BBM && !fmt_live_change_ok(old, e, level, mm->caps.bbm_level);
}

/*
 * Metadata of a table that is about to be linked at ref of a locked parent. cached: levels of what vCPUs can have
 * cached of the leaf that it stands for, 0: none.
 */
static inline void init_child(const struct tdpi_table *parent, struct tdpi_table *child,
			      tdpi_entry_t *ref, tdpi_gfn_t gfn, uint32_t cached)
{
	unsigned shift = level_shift(parent->level);

	child->level = (uint8_t)(parent->level - 1);
	child->role = (uint32_t)tdp_role_at(parent->role, child->level);
	child->gfn = gfn >> shift << shift;
	child->parent = ref;
	child->root = parent->root;
	child->owed = 0;
	child->removals = 0;
	child->cached = (uint8_t)(cached | TDPI_BIT(child->level));
	tdpi_store_release(&child->state, (uint8_t)TDPI_TABLE_LINKED);
}

static void fill(const struct tdp_mm *mm, struct tdpi_table *t, unsigned level)
{
	tdpi_entry_t *entries = tdpi_table_entries(mm, t);
	uint64_t empty = fmt_empty(level);

	TDPI_POINT(WRITE, entries, TDP_PAGE_SIZE);
	for (unsigned i = 0; i < ENTRIES; i++)
		tdpi_entry_init(&entries[i], empty);
	table_begins(t, false);
	if (mm->backend.table_sync)
		mm->backend.table_sync(mm->backend_ctx, entries, ENTRIES * sizeof(*entries));
}

#endif

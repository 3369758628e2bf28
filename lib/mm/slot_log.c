/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which pages of a slot were written: a bit each, set by whoever learns of it and taken out by mm/dirty.c.
 *
 * Behind these bits are others, one for each part of the bitmap that is a page of the host's: was anything set there
 * since the log was empty? So one that is switched on again is emptied where something is, and a new one not at all: it
 * is zeroed memory, which a host need not touch to hand out. 1 TiB of guest memory has 32 MiB of bits.
 */
#include "mm/slot.h"

#include "mm/host.h"

#define PART 512u /* words of the bitmap */

static uint64_t words_of(const struct tdpi_slot *slot)
{
	return (slot->pages + 63) / 64;
}

static uint64_t log_bytes(const struct tdpi_slot *slot)
{
	uint64_t words = words_of(slot), parts = (words + PART - 1) / PART;

	return (words + (parts + 63) / 64) * sizeof(*slot->dirty);
}

/* ---- on, and gone ---- */

static void fill(const struct tdpi_slot *slot, uint64_t first, uint64_t end, uint64_t word)
{
	for (uint64_t i = first; i < end; i++)
		tdpi_store_relaxed(&slot->dirty[i], word);
}

static void empty(const struct tdpi_slot *slot)
{
	uint64_t words = words_of(slot);

	for (uint64_t first = 0; first < words; first += 64 * PART) {
		uint64_t *parts = &slot->dirty[words + first / PART / 64], set;

		if (!tdpi_load_relaxed(parts))
			continue;
		for (set = tdpi_xchg_relaxed(parts, (uint64_t)0); set; set &= set - 1) {
			uint64_t from = first + tdpi_ctz64(set) * PART;

			fill(slot, from, tdpi_min64(from + PART, words), 0);
		}
	}
}

static void mark_all(const struct tdpi_slot *slot)
{
	uint64_t words = words_of(slot), parts = log_bytes(slot) / sizeof(*slot->dirty);

	fill(slot, 0, words, ~(uint64_t)0);
	if (slot->pages % 64)
		tdpi_store_relaxed(&slot->dirty[words - 1], TDPI_BIT(slot->pages % 64) - 1);
	fill(slot, words, parts, ~(uint64_t)0);
}

int tdpi_slot_log_begin(struct tdp_mm *mm, struct tdpi_slot *slot, bool all)
{
	uint64_t *dirty = slot->dirty;

	if (dirty) {
		empty(slot);
	} else {
		dirty = tdpi_obj_alloc(&mm->env, log_bytes(slot));
		if (!dirty)
			return TDP_ENOMEM;
		tdpi_store_release(&slot->dirty, dirty); /* stays until the slot goes */
	}
	if (all)
		mark_all(slot);
	return TDP_OK;
}

void tdpi_slot_log_free(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	if (slot->dirty)
		mm->env.obj_free(mm->env.priv, slot->dirty, log_bytes(slot));
}

/* ---- marks ---- */

/*
 * The bits first. Who comes from a log that was switched off and marks while the next one begins may leave a page too
 * many, never one too few.
 */
static void mark_word(const struct tdpi_slot *slot, uint64_t *dirty, uint64_t i, uint64_t bits)
{
	uint64_t part = i / PART, *parts = &dirty[words_of(slot) + part / 64];

	if ((tdpi_load_relaxed(&dirty[i]) & bits) == bits)
		return;
	tdpi_or_relaxed(&dirty[i], bits);
	if (!(tdpi_load_relaxed(parts) & TDPI_BIT(part % 64)))
		tdpi_or_relaxed(parts, TDPI_BIT(part % 64));
}

void tdpi_slot_mark(const struct tdpi_slot *slot, tdpi_gfn_t gfn, uint64_t count)
{
	uint64_t *dirty = tdpi_load_acquire(&slot->dirty);
	tdpi_gfn_t end = tdpi_min64(gfn + count, slot->base + slot->pages);

	if (!dirty || tdpi_slot_log(slot) == TDP_LOG_OFF)
		return;
	for (gfn = tdpi_max64(gfn, slot->base); gfn < end;) {
		uint64_t i = gfn - slot->base, n = tdpi_min64(64 - i % 64, end - gfn);
		uint64_t bits = n == 64 ? ~(uint64_t)0 : (TDPI_BIT(n) - 1) << i % 64;

		mark_word(slot, dirty, i / 64, bits);
		gfn += n;
	}
}

/* Whose log wants to know that the leaf at gfn is dirty; NULL: nobody's. A leaf lies in one slot: gfn finds it. */
static struct tdpi_slot *slot_of_dirty(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn)
{
	struct tdpi_slot *slot = tdpi_slot_at(mm, as_id, gfn);
	struct tdpi_slot *leaving = tdpi_load_acquire(&mm->leaving);

	if (!slot && leaving && leaving->as_id == as_id)
		slot = leaving; /* it moves: its log goes along */
	/* By write protection the log was told when W was granted; again would be once too often. */
	return slot && tdpi_slot_log(slot) == TDP_LOG_DBIT ? slot : NULL;
}

void tdpi_note_dirty(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn, uint64_t count)
{
	struct tdpi_slot *slot = slot_of_dirty(mm, as_id, gfn);

	if (slot)
		tdpi_slot_mark(slot, gfn, count);
}

/* Frames gfn + i for each bit i, all in the slot. */
static void mark_mask(const struct tdpi_slot *slot, tdpi_gfn_t gfn, uint64_t mask)
{
	uint64_t *dirty = tdpi_load_acquire(&slot->dirty);
	uint64_t i = gfn - slot->base;

	if (!dirty)
		return;
	mark_word(slot, dirty, i / 64, mask << i % 64);
	if (i % 64 && mask >> (64 - i % 64))
		mark_word(slot, dirty, i / 64 + 1, mask >> (64 - i % 64));
}

void tdpi_note_dirty_mask(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn, uint64_t mask,
			  uint64_t pages)
{
	while (mask) {
		unsigned skip = tdpi_ctz64(mask);
		const struct tdpi_slot *slot;
		uint64_t left;

		gfn += skip * pages;
		mask >>= skip;
		if (pages > 1) {
			tdpi_note_dirty(mm, as_id, gfn, pages);
			mask &= ~(uint64_t)1;
			continue;
		}
		/* As many as lie in the same slot; without one, this one only. */
		slot = slot_of_dirty(mm, as_id, gfn);
		left = slot ? slot->base + slot->pages - gfn : 1;
		if (slot)
			mark_mask(slot, gfn, left < 64 ? mask & (TDPI_BIT(left) - 1) : mask);
		mask = left < 64 ? mask & ~(TDPI_BIT(left) - 1) : 0;
	}
}

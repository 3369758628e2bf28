/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Dirty logging of a slot. Two sources, one answer: the slot's bitmap (set when a fault grants W, when the host
 * marks, when a dirty leaf goes away) and, logging by Dirty bit, the leaves themselves.
 *
 * Order of a harvest: clean the leaves and take the bits, wait for bits that others have cut off and not handed
 * over yet, empty the bitmap, re-arm what it said, flush once, return (A5). A write before the harvest is
 * in the answer; a write after the flush faults or sets D again.
 */
#include "mm/range.h"
#include "mm/root.h"
#include "mm/slot.h"

/* The slot, held; or NULL. */
static struct tdpi_slot *hold(struct tdp_mm *mm, uint32_t id)
{
	struct tdpi_slot *slot;

	tdpi_rcu_lock(mm);
	slot = tdpi_slot_by_id(mm, id);
	if (slot)
		tdpi_slot_hold(slot);
	tdpi_rcu_unlock(mm);
	return slot;
}

/* Valid argument, logged slot: held in *slot. */
static int begin(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t pages,
		 struct tdpi_slot **slot)
{
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	*slot = hold(mm, id);
	if (!*slot)
		return TDP_ENOENT;
	if (tdpi_slot_log(*slot) == TDP_LOG_OFF)
		ret = TDP_ENOENT;
	else if (first > (*slot)->pages || pages > (*slot)->pages - first)
		ret = TDP_ERANGE;
	if (ret)
		tdpi_slot_drop(mm, *slot);
	return ret;
}

static void each_root(struct tdpi_bulk *b, const struct tdpi_slot *slot, struct tdpi_span span,
		      const uint64_t *rearm, uint64_t *harvest, bool clear)
{
	struct tdp_mm *mm = b->op.mm;
	bool by_d = tdpi_slot_log(slot) == TDP_LOG_DBIT;

	/* Invalid roots as well: until they are torn down, writes made through them are only known there. */
	tdpi_for_each_root_inside(mm, root, slot->as_id, TDPI_ROOTS_ALL)
	{
		if (harvest)
			mm->engine->harvest(&b->op, root, span, harvest, span.start, clear);
		else
			mm->engine->rearm(&b->op, root, span, rearm, span.start, by_d);
	}
}

/* ---- on and off ---- */

#define ON_FLAGS (TDP_LOG_INITIALLY_SET | TDP_LOG_EAGER_SPLIT | TDP_LOG_LAZY)

/*
 * The new mode is published and lookups made before are void; then every table of the slot is locked once and
 * what could be written without notice is armed. A fault that had checked before is found by that pass,
 * one that checks later sees the mode.
 */
static void log_arm(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	struct tdpi_span span = {slot->base, slot->base + slot->pages};
	struct tdpi_bulk b;

	tdpi_bulk_begin(&b, mm, TDP_OP_DIRTY_LOG);
	each_root(&b, slot, span, NULL, NULL, true);
	tdpi_bulk_end(&b);
}

/* The same for what is above the leaves: then that pass locks the tables at the slot's edges, and faults the others. */
static void log_arm_lazily(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	struct tdpi_span span = {slot->base, slot->base + slot->pages};
	struct tdpi_bulk b;

	/* Stays: what is shut is only opened by who writes there. */
	tdpi_store_relaxed(&mm->lazy, 1u);
	tdpi_bulk_begin(&b, mm, TDP_OP_DIRTY_LOG);
	tdpi_for_each_root_inside(mm, root, slot->as_id, TDPI_ROOTS_ALL)
		mm->engine->arm_lazily(&b.op, root, span, slot->log == TDP_LOG_DBIT);
	tdpi_bulk_end(&b);
}

static int log_on(struct tdp_mm *mm, struct tdpi_slot *slot, uint32_t mode)
{
	struct tdpi_span span = {slot->base, slot->base + slot->pages};
	uint32_t how = mode & 0xff;
	int ret;

	if (how == TDP_LOG_AUTO)
		how = mm->ad & 2 ? TDP_LOG_DBIT : TDP_LOG_WRPROT;
	if ((how == TDP_LOG_DBIT && !(mm->ad & 2)) || (mode & TDP_LOG_LAZY && !mm->engine->table_w))
		return TDP_ENOTSUP;
	if (slot->log == how)
		return TDP_OK;
	if (slot->log != TDP_LOG_OFF)
		return TDP_EEXIST;
	ret = tdpi_slot_log_begin(mm, slot, mode & TDP_LOG_INITIALLY_SET);
	if (!ret && mode & TDP_LOG_EAGER_SPLIT)
		ret = tdpi_split(mm, TDP_OP_DIRTY_LOG, slot->as_id, span, 0);
	if (ret)
		return ret;
	if (how == TDP_LOG_DBIT)
		tdpi_add_relaxed(&mm->dbit_logs, 1);
	tdpi_store_release(&slot->log, how);
	tdpi_invalidate_lookups(mm);
	if (mode & TDP_LOG_INITIALLY_SET)
		return TDP_OK;
	if (mode & TDP_LOG_LAZY)
		log_arm_lazily(mm, slot);
	else
		log_arm(mm, slot);
	return TDP_OK;
}

static void log_off(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	bool was_dbit = slot->log == TDP_LOG_DBIT;

	tdpi_store_release(&slot->log, (uint32_t)TDP_LOG_OFF);
	tdpi_invalidate_lookups(mm);
	if (was_dbit)
		tdpi_sub_relaxed(&mm->dbit_logs, 1);
}

int tdp_dirty_log(struct tdp_mm *mm, uint32_t id, uint32_t mode)
{
	struct tdpi_span span = {0, 0};
	struct tdpi_slot *slot;
	uint32_t as_id = 0;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (mode & ~(0xffu | ON_FLAGS | TDP_LOG_RECOVER) || (mode & 0xff) > TDP_LOG_DBIT ||
	    mode & ((mode & 0xff) == TDP_LOG_OFF ? ON_FLAGS : TDP_LOG_RECOVER))
		return TDP_EINVAL;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	slot = tdpi_slot_by_id(mm, id);
	if (!slot) {
		ret = TDP_ENOENT;
	} else if ((mode & 0xff) == TDP_LOG_OFF) {
		log_off(mm, slot);
		as_id = slot->as_id;
		span.start = slot->base;
		span.end = slot->base + slot->pages;
	} else {
		ret = log_on(mm, slot, mode);
	}
	tdpi_unlock(&mm->env, &mm->slots_lock);
	/* Not under the lock: the backing is asked about each huge page. */
	if (!ret && mode & TDP_LOG_RECOVER)
		ret = tdpi_collapse(mm, TDP_OP_DIRTY_LOG, as_id, span, 0, NULL);
	return ret;
}

/* ---- harvest and clear ---- */

/*
 * Whatever the leaves say: a page may have lost W to aging, unflushed, and a vCPU still write to it by what it has
 * cached. Where no leaf was met everything, though nothing can be cached there.
 */
static void gather_window(struct tdpi_gather *g, struct tdpi_span span)
{
	tdpi_gather_range(g, span.start, span.end, g->met ? g->met : TDPI_LEVELS_ALL,
			  TDP_FLUSH_DIRTY);
}

/* The bits that a bitmap of `pages` pages has in its word i. */
static uint64_t word_mask(uint64_t pages, uint64_t i)
{
	return pages - i * 64 >= 64 ? ~(uint64_t)0 : TDPI_BIT(pages - i * 64) - 1;
}

/* Valid window of a logged slot: held in *slot, its frames in *span, the bitmap emptied. */
static int begin_words(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t *bitmap,
		       size_t words, struct tdpi_slot **slot, struct tdpi_span *span)
{
	int ret = begin(mm, id, 0, 0, slot);
	uint64_t last;

	if (ret)
		return ret;
	last = ((*slot)->pages + 63) / 64;
	if (!bitmap || words == 0 || first % 64)
		ret = TDP_EINVAL;
	else if (first / 64 > last || words > last - first / 64)
		ret = TDP_ERANGE;
	if (ret) {
		tdpi_slot_drop(mm, *slot);
		return ret;
	}
	span->start = (*slot)->base + first;
	span->end = span->start + tdpi_min64((*slot)->pages - first, words * 64);
	memset(bitmap, 0, words * sizeof(*bitmap));
	return TDP_OK;
}

int tdp_dirty_harvest(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t *bitmap,
		      size_t words)
{
	struct tdpi_slot *slot;
	struct tdpi_span span;
	struct tdpi_bulk b;
	uint64_t pages, any = 0;
	int ret = begin_words(mm, id, first, bitmap, words, &slot, &span);

	if (ret)
		return ret;
	pages = span.end - span.start;
	tdpi_bulk_begin(&b, mm, TDP_OP_DIRTY_HARVEST);
	if (tdpi_slot_log(slot) == TDP_LOG_DBIT) {
		each_root(&b, slot, span, NULL, bitmap, true);
		tdpi_wait_collected(mm);
	}
	for (uint64_t i = 0; i < words; i++) {
		uint64_t *word = &slot->dirty[first / 64 + i];

		if (tdpi_load_relaxed(word))
			bitmap[i] |= tdpi_xchg_acquire(word, (uint64_t)0) & word_mask(pages, i);
		any |= bitmap[i];
	}
	if (any) {
		if (tdpi_slot_log(slot) == TDP_LOG_WRPROT)
			each_root(&b, slot, span, bitmap, NULL, true);
		gather_window(&b.op.gather, span);
	}
	tdpi_bulk_end(&b);
	tdpi_slot_drop(mm, slot);
	return TDP_OK;
}

int tdp_dirty_get(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t *bitmap, size_t words)
{
	struct tdpi_slot *slot;
	struct tdpi_span span;
	struct tdpi_bulk b;
	uint64_t pages;
	int ret = begin_words(mm, id, first, bitmap, words, &slot, &span);

	if (ret)
		return ret;
	pages = span.end - span.start;
	tdpi_bulk_begin(&b, mm, TDP_OP_DIRTY_HARVEST);
	if (tdpi_slot_log(slot) == TDP_LOG_DBIT) {
		each_root(&b, slot, span, NULL, bitmap, false);
		tdpi_wait_collected(mm);
	}
	for (uint64_t i = 0; i < words; i++)
		bitmap[i] |= tdpi_load_acquire(&slot->dirty[first / 64 + i]) & word_mask(pages, i);
	tdpi_bulk_end(&b);
	tdpi_slot_drop(mm, slot);
	return TDP_OK;
}

/* Take [first, first + pages) (of it, what mask says if not NULL) out of the log and re-arm it. */
static void clear(struct tdp_mm *mm, struct tdpi_slot *slot, uint64_t first, uint64_t pages,
		  const uint64_t *mask)
{
	struct tdpi_span span = {slot->base + first, slot->base + first + pages};
	struct tdpi_bulk b;
	uint64_t any = 0;

	tdpi_bulk_begin(&b, mm, TDP_OP_DIRTY_CLEAR);
	for (uint64_t i = first; i < first + pages;) {
		uint64_t n = tdpi_min64(64 - i % 64, first + pages - i);
		uint64_t bits = (n == 64 ? ~(uint64_t)0 : TDPI_BIT(n) - 1) << i % 64;
		uint64_t *word = &slot->dirty[i / 64];

		if (mask)
			bits &= *mask;
		if (tdpi_load_relaxed(word) & bits)
			any |= tdpi_and_relaxed(word, ~bits) & bits;
		i += n;
	}
	/* By write protection only what is in the log can be written to; by Dirty bit the leaves know. */
	if (any || tdpi_slot_log(slot) == TDP_LOG_DBIT)
		each_root(&b, slot, span, mask, NULL, true);
	if (any)
		gather_window(&b.op.gather, span);
	tdpi_bulk_end(&b);
}

int tdp_dirty_clear(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t pages)
{
	struct tdpi_slot *slot;
	int ret;

	if (pages == 0)
		return TDP_EINVAL;
	ret = begin(mm, id, first, pages, &slot);
	if (ret)
		return ret;
	clear(mm, slot, first, pages, NULL);
	tdpi_slot_drop(mm, slot);
	return TDP_OK;
}

int tdp_dirty_clear_mask(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t mask)
{
	struct tdpi_slot *slot;
	uint64_t pages;
	int ret;

	if (first % 64)
		return TDP_EINVAL;
	/* Only pages whose bit is set need to exist; no bit at all asks for nothing. */
	for (pages = 64; pages > 0 && !(mask >> (pages - 1) & 1);)
		pages--;
	ret = begin(mm, id, first, pages, &slot);
	if (ret)
		return ret;
	if (pages > 0)
		clear(mm, slot, first, pages, &mask);
	tdpi_slot_drop(mm, slot);
	return TDP_OK;
}

int tdp_dirty_mark(struct tdp_mm *mm, uint32_t id, uint64_t first, uint64_t pages)
{
	struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (pages == 0)
		return TDP_EINVAL;
	tdpi_rcu_lock(mm);
	slot = tdpi_slot_by_id(mm, id);
	if (!slot)
		ret = TDP_ENOENT;
	else if (first >= slot->pages || pages > slot->pages - first)
		ret = TDP_ERANGE;
	else
		tdpi_slot_mark(slot, slot->base + first, pages);
	tdpi_rcu_unlock(mm);
	return ret;
}

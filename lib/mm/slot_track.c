/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What memslots remember of single pages: write-tracking counts and owners. Both keep huge pages away, so each
 * huge page has a count of such pages.
 */
#include "mm/range.h"
#include "mm/slot.h"

static uint64_t huge_count(const struct tdp_mm *mm, const struct tdpi_slot *slot, unsigned level)
{
	return tdpi_slot_huge_index(mm, slot, slot->base + slot->pages - 1, level) + 1;
}

void tdpi_slot_track_free(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	if (slot->tracked)
		mm->env.obj_free(mm->env.priv, slot->tracked, slot->pages * sizeof(uint16_t));
	slot->tracked = NULL;
	if (slot->owner)
		mm->env.obj_free(mm->env.priv, slot->owner, slot->pages);
	slot->owner = NULL;
	for (unsigned l = 1; l < TDP_LEVELS_MAX; l++) {
		if (slot->tracked_huge[l])
			mm->env.obj_free(mm->env.priv, slot->tracked_huge[l],
					 huge_count(mm, slot, l) * sizeof(uint32_t));
		slot->tracked_huge[l] = NULL;
	}
}

static int huge_alloc(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	for (unsigned l = 1; l < mm->levels; l++) {
		uint32_t *huge;

		if (!(mm->leaf_levels >> l & 1) || slot->tracked_huge[l])
			continue;
		huge = tdpi_obj_alloc(&mm->env, huge_count(mm, slot, l) * sizeof(uint32_t));
		if (!huge)
			return TDP_ENOMEM; /* what is there already serves next time */
		tdpi_store_release(&slot->tracked_huge[l], huge);
	}
	return TDP_OK;
}

static int tracked_alloc(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	if (!slot->tracked) {
		uint16_t *tracked = tdpi_obj_alloc(&mm->env, slot->pages * sizeof(uint16_t));

		if (!tracked)
			return TDP_ENOMEM;
		tdpi_store_release(&slot->tracked, tracked);
	}
	return huge_alloc(mm, slot);
}

static int owner_alloc(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	if (!slot->owner) {
		uint8_t *owner = tdpi_obj_alloc(&mm->env, slot->pages);

		if (!owner)
			return TDP_ENOMEM;
		tdpi_store_release(&slot->owner, owner);
	}
	return huge_alloc(mm, slot);
}

/* One page more (1) or less (-1) that must not lie in a huge leaf. */
static void count_page(struct tdp_mm *mm, struct tdpi_slot *slot, tdpi_gfn_t gfn, int change)
{
	slot->tracked_pages += (uint64_t)(int64_t)change;
	for (unsigned l = 1; l < TDP_LEVELS_MAX; l++) {
		uint32_t *huge = slot->tracked_huge[l];

		if (huge && change) {
			huge += tdpi_slot_huge_index(mm, slot, gfn, l);
			tdpi_store_relaxed(huge, *huge + (uint32_t)change);
		}
	}
}

static void track_one(struct tdp_mm *mm, struct tdpi_slot *slot, tdpi_gfn_t gfn, bool on)
{
	uint16_t *count = &slot->tracked[gfn - slot->base];
	uint16_t now = (uint16_t)(*count + (on ? 1 : -1));

	tdpi_store_relaxed(count, now);
	count_page(mm, slot, gfn, on ? now == 1 : -(now == 0));
}

/* Nothing changes unless all of the range can be counted. */
int tdpi_slots_track(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, bool on)
{
	for (tdpi_gfn_t gfn = span.start; gfn < span.end;) {
		struct tdpi_slot *slot = tdpi_slot_at(mm, as_id, gfn);
		int ret;

		if (!slot)
			return TDP_ENOENT;
		ret = tracked_alloc(mm, slot);
		if (ret)
			return ret;
		for (; gfn < span.end && gfn < slot->base + slot->pages; gfn++)
			if (slot->tracked[gfn - slot->base] == (on ? UINT16_MAX : 0))
				return TDP_ENOSPC;
	}
	for (tdpi_gfn_t gfn = span.start; gfn < span.end; gfn++)
		track_one(mm, tdpi_slot_at(mm, as_id, gfn), gfn, on);
	tdpi_invalidate_lookups(mm);
	return TDP_OK;
}

static int set_owner(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, uint8_t owner)
{
	for (tdpi_gfn_t gfn = span.start; gfn < span.end;) {
		struct tdpi_slot *slot = tdpi_slot_at(mm, as_id, gfn);
		int ret = slot ? owner_alloc(mm, slot) : TDP_ENOENT;

		if (ret)
			return ret;
		gfn = slot->base + slot->pages;
	}
	for (tdpi_gfn_t gfn = span.start; gfn < span.end; gfn++) {
		struct tdpi_slot *slot = tdpi_slot_at(mm, as_id, gfn);
		uint8_t *now = &slot->owner[gfn - slot->base];
		int change = (owner != 0) - (*now != 0);

		tdpi_store_relaxed(now, owner);
		count_page(mm, slot, gfn, change);
	}
	/* No fault under way uses what it saw before; then nothing of before may stay. */
	tdpi_invalidate_lookups(mm);
	return owner ? tdpi_zap(mm, TDP_OP_OWNER, as_id, span, TDP_ZAP_LAZY) : TDP_OK;
}

int tdp_set_owner(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t owner)
{
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX || owner > UINT8_MAX)
		return TDP_EINVAL;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	ret = set_owner(mm, as_id, span, (uint8_t)owner);
	tdpi_unlock(&mm->env, &mm->slots_lock);
	return ret;
}

int tdp_get_owner(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *owner)
{
	const struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX || !owner)
		return TDP_EINVAL;
	if (gpa >> mm->gpa_bits)
		return TDP_ERANGE;
	tdpi_rcu_lock(mm);
	slot = tdpi_slot_at(mm, as_id, gpa >> TDP_PAGE_LG2);
	if (slot)
		*owner = tdpi_slot_owner(slot, gpa >> TDP_PAGE_LG2);
	tdpi_rcu_unlock(mm);
	return slot ? TDP_OK : TDP_ENOENT;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Write tracking of memslots: a count per page, and how many tracked pages each huge page holds. */
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
	for (unsigned l = 1; l < TDP_LEVELS_MAX; l++) {
		if (slot->tracked_huge[l])
			mm->env.obj_free(mm->env.priv, slot->tracked_huge[l],
					 huge_count(mm, slot, l) * sizeof(uint32_t));
		slot->tracked_huge[l] = NULL;
	}
}

static int tracked_alloc(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	if (!slot->tracked) {
		uint16_t *tracked = mm->env.obj_alloc(mm->env.priv, slot->pages * sizeof(uint16_t));

		if (!tracked)
			return TDP_ENOMEM;
		tdpi_store_release(&slot->tracked, tracked);
	}
	for (unsigned l = 1; l < mm->levels; l++) {
		uint32_t *huge;

		if (!(mm->leaf_levels >> l & 1) || slot->tracked_huge[l])
			continue;
		huge = mm->env.obj_alloc(mm->env.priv, huge_count(mm, slot, l) * sizeof(uint32_t));
		if (!huge)
			return TDP_ENOMEM; /* what is there already serves next time */
		tdpi_store_release(&slot->tracked_huge[l], huge);
	}
	return TDP_OK;
}

static void track_one(struct tdp_mm *mm, struct tdpi_slot *slot, tdpi_gfn_t gfn, bool on)
{
	uint16_t *count = &slot->tracked[gfn - slot->base];
	uint16_t now = (uint16_t)(*count + (on ? 1 : -1));
	int change = on ? now == 1 : -(now == 0);

	tdpi_store_relaxed(count, now);
	slot->tracked_pages += (uint64_t)(int64_t)change;
	for (unsigned l = 1; l < TDP_LEVELS_MAX; l++) {
		uint32_t *huge = slot->tracked_huge[l];

		if (huge && change) {
			huge += tdpi_slot_huge_index(mm, slot, gfn, l);
			tdpi_store_relaxed(huge, *huge + (uint32_t)change);
		}
	}
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

/* SPDX-License-Identifier: BSD-2-Clause */
/* Asking about memslots: by address, by backing, by page size. */
#include "mm/slot.h"

int tdp_slot_find(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *id,
		  struct tdp_slot_desc *desc)
{
	const struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX || (desc && desc->size != sizeof(*desc)))
		return TDP_EINVAL;
	if (gpa >> mm->gpa_bits)
		return TDP_ERANGE;
	tdpi_rcu_lock(mm);
	slot = tdpi_slot_at(mm, as_id, gpa >> TDP_PAGE_LG2);
	if (slot && id)
		*id = slot->id;
	if (slot && desc) {
		memset(desc, 0, sizeof(*desc));
		desc->size = sizeof(*desc);
		desc->flags = tdpi_load_relaxed(&slot->flags);
		desc->gpa.start = slot->base << TDP_PAGE_LG2;
		desc->gpa.size = slot->pages << TDP_PAGE_LG2;
		desc->pa = slot->pfn << TDP_PAGE_LG2;
		desc->prot = slot->prot;
		desc->as_id = slot->as_id;
		desc->backing = slot->backing;
		desc->backing_arg = slot->backing_arg;
		desc->backing_start = slot->backing_start;
	}
	tdpi_rcu_unlock(mm);
	return slot ? TDP_OK : TDP_ENOENT;
}

struct found {
	uint32_t as_id;
	struct tdp_range range;
};

/* The part of a slot whose backing lies in [start, start + size). */
static bool backing_part(const struct tdpi_slot *slot, uint64_t start, uint64_t size,
			 struct found *f)
{
	uint64_t bytes = slot->pages << TDP_PAGE_LG2;
	uint64_t from = tdpi_max64(start, slot->backing_start);
	uint64_t to = tdpi_min64(start + size, slot->backing_start + bytes);

	if (from >= to)
		return false;
	f->as_id = slot->as_id;
	f->range.start = (slot->base << TDP_PAGE_LG2) + (from - slot->backing_start);
	f->range.size = to - from;
	return true;
}

int tdp_backing_ranges(struct tdp_mm *mm, uint64_t start, uint64_t size,
		       int (*fn)(void *arg, uint32_t as_id, struct tdp_range range), void *arg)
{
	struct found *found = NULL;
	uint64_t total = 0, n = 0;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!fn || size == 0 || (start | size) & (TDP_PAGE_SIZE - 1))
		return TDP_EINVAL;
	if (start + size < start)
		return TDP_ERANGE;
	/* Collected first: fn may sleep and may call us. */
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	for (unsigned as = 0; as < TDP_AS_MAX; as++)
		total += mm->slots[as] ? mm->slots[as]->count : 0;
	if (total)
		found = tdpi_obj_alloc(&mm->env, total * sizeof(*found));
	for (unsigned as = 0; found && as < TDP_AS_MAX; as++)
		for (uint64_t i = 0; mm->slots[as] && i < mm->slots[as]->count; i++)
			n += backing_part(mm->slots[as]->slot[i], start, size, &found[n]);
	tdpi_unlock(&mm->env, &mm->slots_lock);
	if (total && !found)
		return TDP_ENOMEM;
	for (uint64_t i = 0; i < n && !ret; i++)
		ret = fn(arg, found[i].as_id, found[i].range);
	if (found)
		mm->env.obj_free(mm->env.priv, found, total * sizeof(*found));
	return ret;
}

int tdp_max_lg2(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *lg2)
{
	const struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!lg2 || as_id >= TDP_AS_MAX)
		return TDP_EINVAL;
	if (gpa >> mm->gpa_bits)
		return TDP_ERANGE;
	tdpi_rcu_lock(mm);
	slot = tdpi_slot_at(mm, as_id, gpa >> TDP_PAGE_LG2);
	if (slot)
		*lg2 = TDP_PAGE_LG2 +
		       tdpi_level_shift(
			       mm, tdpi_slot_level(mm, slot, gpa >> TDP_PAGE_LG2, mm->levels - 1));
	tdpi_rcu_unlock(mm);
	return slot ? TDP_OK : TDP_ENOENT;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What nearly every fault is: nothing is there yet, in a slot of plain memory, and nobody is in the way. Template.
 *
 * The steps of map() in their order, each question asked once. Whatever is not as expected, a lock that somebody has
 * included, is left to it: then nothing has changed.
 */
#ifndef TDPI_ENGINE_STRAIGHT_H
#define TDPI_ENGINE_STRAIGHT_H

#include "engine/map.h"

/* Neither logged nor read only: asked under the lock of the table, as run_in(). */
static inline bool plain(const struct tdpi_slot *slot)
{
	return !tdpi_slot_readonly(slot) && tdpi_slot_log(slot) == TDP_LOG_OFF;
}

TDPI_ALWAYS_INLINE uint64_t leaf_of(tdp_pa_t pa, uint32_t prot, unsigned level, unsigned ad)
{
	const struct tdpi_leaf_in in = {.prot = prot, .level = level};

	return fmt_leaf(pa, level, tdpi_leaf_attr(&in, ad, FMT_AF_FAULT), ad);
}

#define PLAIN_PROT (TDP_RWX | TDP_MT_WB)

/* The leaf of an access to plain memory. For what most memory is, all but its address is constant. */
TDPI_ALWAYS_INLINE uint64_t plain_leaf(const struct tdp_mm *mm, const struct tdpi_slot *slot,
				       tdpi_gfn_t gfn, unsigned level)
{
	tdp_pa_t pa = (slot->pfn + (gfn - slot->base)) << TDP_PAGE_LG2 | mm->encrypt_mask;

	return tdpi_likely(slot->prot == PLAIN_PROT) ? leaf_of(pa, PLAIN_PROT, level, mm->ad)
						     : leaf_of(pa, slot->prot, level, mm->ad);
}

TDPI_ALWAYS_INLINE int straight_at(struct tdp_vcpu *v, const struct tdpi_slot *slot,
				   struct tdpi_map *m, tdpi_entry_t *ref, unsigned level)
{
	tdpi_gfn_t start = m->gfn & ~(level_pages(level) - 1);
	struct tdpi_op op = {.mm = v->mm, .counts = &v->counts};
	struct tdpi_table *t = tdpi_table_of(op.mm, ref);
	int ret = TDP_ENOENT;
	struct tdpi_locked l;

	if (!tdpi_trylock(&op.mm->env, &t->lock, TDPI_LOCK_TABLE))
		return TDP_ENOENT;
	if (tdpi_table_locked(op.mm, t, &l)) {
		if (may_install(op.mm, l, start, level_pages(level), m->seq) && plain(slot) &&
		    tdpi_entry_load(ref) == fmt_empty(level) && !tdpi_owes(op.mm, t)) {
			m->leaf = plain_leaf(op.mm, slot, start, level);
			set_present(&op, l, ref, level, TDP_ENTRY_EMPTY, m->leaf, true);
			ret = TDP_FAULT_FIXED;
		}
		tdpi_table_unlock(op.mm, l);
	}
	if (ret == TDP_FAULT_FIXED)
		note_used(op.mm, t);
	return ret;
}

/* m: gfn, access, seq. TDP_FAULT_FIXED with m->leaf and m->leaf_level, or TDP_ENOENT. */
static int straight(struct tdp_vcpu *v, const struct tdpi_slot *slot, struct tdpi_map *m)
{
	const struct tdp_mm *mm = v->mm;
	struct spot s = spot_of(mm, v->root, m->gfn);

	TDPI_ASSERT(!mm->rcu.read_ongoing || mm->rcu.read_ongoing());
	if (s.e != fmt_empty(s.level) || m->access & ~slot->prot & TDP_RWX ||
	    tdpi_slot_owner(slot, m->gfn) || tdpi_slot_tracked(slot, m->gfn) ||
	    (FMT_TABLE_W && tdpi_load_relaxed(&mm->lazy)))
		return TDP_ENOENT;
	m->leaf_level = s.level;
	if (s.level == 0)
		return straight_at(v, slot, m, s.ref, 0);
	if (tdpi_slot_level(mm, slot, m->gfn, s.level) != s.level)
		return TDP_ENOENT;
	return straight_at(v, slot, m, s.ref, s.level);
}

#endif

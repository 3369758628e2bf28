/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Two pure decisions: what a new leaf may do (tdpi_leaf_attr), and which change of an entry needs a flush
 * (tdpi_flush_need). Nothing else in the library decides either.
 */
#ifndef TDPI_ENGINE_ATTR_H
#define TDPI_ENGINE_ATTR_H

#include "fmt/contract.h"

struct tdpi_leaf_in {
	uint32_t prot; /* of the backing */
	bool readonly; /* slot */
	bool write_tracked;
	bool logging;    /* in any mode */
	bool write;      /* the access writes */
	bool old;        /* prefetch: not accessed yet */
	bool hold_write; /* populate: the first write shall still fault */
	unsigned level;
};

/*
 * W => mmu_w => host_w. W is granted when the engine may, and while logging only to the write that asks
 * for it, only at 4K: so whoever gets W is in the log. W => D, so that all racers of one access make the same
 * leaf and none needs to touch it again.
 */
TDPI_ALWAYS_INLINE struct tdpi_attr tdpi_leaf_attr(const struct tdpi_leaf_in *in, unsigned ad,
						   bool af_fault)
{
	struct tdpi_attr a = {0};
	bool w;

	a.host_w = (in->prot & TDP_W) && !in->readonly;
	a.mmu_w = a.host_w && !in->write_tracked;
	w = a.mmu_w && !in->hold_write && (!in->logging || (in->write && in->level == 0));
	a.accessed = !in->old;
	if (in->old && !(ad & TDPI_HW_A)) {
		/* Nobody would notice the first use: make it fault. */
		a.tracked = !af_fault;
		if (a.tracked)
			w = false;
	}
	a.prot = (uint16_t)((in->prot & TDP_PROT_MASK & ~TDP_W) | (w ? TDP_W : 0));
	a.dirty = w;
	return a;
}

enum tdpi_flush_need {
	TDPI_FLUSH_NONE = 0,  /* a stale translation is harmless */
	TDPI_FLUSH_BATCH = 1, /* before the batch's result (dirty bits, freed tables) is used */
	TDPI_FLUSH_NOW = 2,   /* before the call returns, and before anything it hid is freed */
};

/* Both are leaves over the same memory. */
static inline enum tdpi_flush_need tdpi_leaf_flush_need(struct tdpi_attr from, struct tdpi_attr to)
{
	if (from.prot & ~to.prot & (TDP_R | TDP_X) && !to.tracked)
		return TDPI_FLUSH_NOW;
	if (from.mmu_w && !to.mmu_w)
		return TDPI_FLUSH_NOW; /* somebody relies on no write happening any more */
	if ((from.prot & TDP_MT_MASK) != (to.prot & TDP_MT_MASK))
		return TDPI_FLUSH_NOW;
	if (to.tracked)
		return TDPI_FLUSH_NONE; /* aging: a stale translation only looks old */
	if ((from.prot & ~to.prot & TDP_W) || (from.dirty && !to.dirty))
		return TDPI_FLUSH_BATCH;
	return TDPI_FLUSH_NONE; /* also: Accessed cleared */
}

/* Any change of an entry, by kind. same_pa: both leaves map the same frame. */
static inline enum tdpi_flush_need tdpi_flush_need(enum tdp_entry_kind from, enum tdp_entry_kind to,
						   bool same_pa, struct tdpi_attr from_attr,
						   struct tdpi_attr to_attr)
{
	switch (from) {
	case TDP_ENTRY_EMPTY:
	case TDP_ENTRY_FROZEN:
	case TDP_ENTRY_MMIO: return TDPI_FLUSH_NONE; /* no MMU holds a translation of it */
	case TDP_ENTRY_TABLE:
		/* A huge leaf over the same memory can wait, the table's page cannot be freed before. */
		return to == TDP_ENTRY_LEAF ? TDPI_FLUSH_BATCH : TDPI_FLUSH_NOW;
	case TDP_ENTRY_LEAF:
		if (to == TDP_ENTRY_TABLE)
			return TDPI_FLUSH_NONE; /* split: same translations, in smaller pieces */
		if (to != TDP_ENTRY_LEAF || !same_pa)
			return TDPI_FLUSH_NOW;
		return tdpi_leaf_flush_need(from_attr, to_attr);
	}
	return TDPI_FLUSH_NOW;
}

#endif

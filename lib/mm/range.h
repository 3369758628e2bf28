/* SPDX-License-Identifier: BSD-2-Clause */
/* Range operations over all roots, for callers that have checked their arguments. */
#ifndef TDPI_MM_RANGE_H
#define TDPI_MM_RANGE_H

#include "mm/op.h"

/* tdp_zap() without STRICT. With LAZY it cannot fail. */
int tdpi_zap(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
	     uint32_t flags);
/*
 * The same in parts, for one running operation: what it needs first, then subtrees up to cut_level, and with
 * `high`, before anything is flushed, the emptied ones above them.
 */
int tdpi_zap_prepare(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, uint32_t flags);
void tdpi_zap_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, uint32_t flags,
		    unsigned cut_level, bool high);
/* Does the range hold subtrees above cut level 2? */
bool tdpi_zap_high(const struct tdp_mm *mm, struct tdpi_span span);
/* Tables below `level` that map nothing; how many went. */
uint64_t tdpi_compact_level(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
			    unsigned level);
int tdpi_protect_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, bool track);
void tdpi_age_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
		    struct tdpi_age *age);
uint64_t tdpi_collapse_level(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
			     unsigned level, uint32_t flags);
int tdpi_split(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
	       unsigned level);
int tdpi_collapse(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
		  uint32_t flags, uint64_t *collapsed);

/* slot.c, slots_lock held: count write tracking up or down, all of the range or nothing. */
int tdpi_slots_track(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, bool on);
/* slot.c: free all slots (destroy; nobody looks any more). */
void tdpi_slots_destroy(struct tdp_mm *mm);

#endif

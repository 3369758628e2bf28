/* SPDX-License-Identifier: BSD-2-Clause */
/* Range operations over all roots, for callers that have checked their arguments. */
#ifndef TDPI_MM_RANGE_H
#define TDPI_MM_RANGE_H

#include "mm/op.h"

/* tdp_zap() without STRICT. With LAZY it cannot fail. */
int tdpi_zap(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, uint32_t flags);
int tdpi_split(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, unsigned level);
int tdpi_collapse(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, uint32_t flags,
		  uint64_t *collapsed);

/* slot.c, slots_lock held: count write tracking up or down, all of the range or nothing. */
int tdpi_slots_track(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, bool on);
/* slot.c: free all slots (destroy; nobody looks any more). */
void tdpi_slots_destroy(struct tdp_mm *mm);

#endif

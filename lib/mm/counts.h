/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics: each running operation counts for itself; readers add up. */
#ifndef TDPI_MM_COUNTS_H
#define TDPI_MM_COUNTS_H

#include "mm/mm.h"

/* One writer, readers on other threads: a plain add in two relaxed halves, no locked instruction. */
#define tdpi_count(counts, field, n)                                                               \
	tdpi_store_quiet(&(counts)->field, tdpi_load_quiet(&(counts)->field) + (uint64_t)(n))

/* Of a flush beside its kind: who asked, and why (bit per enum tdp_flush_cause). */
static inline void tdpi_count_flush(struct tdpi_counts *counts, enum tdp_op op, uint32_t causes)
{
	tdpi_count(counts, flush_op[op], 1);
	for (unsigned c = 0; c < TDP_FLUSH_CAUSES; c++)
		if (causes & 1u << c)
			tdpi_count(counts, flush_cause[c], 1);
}

/* Somebody waited since then, by env.now(). Rare, so counted in one place for all. */
void tdpi_count_stall(struct tdp_mm *mm, uint64_t since);

/* Add what an operation counted to the mm's shared sums. */
void tdpi_counts_merge(struct tdp_mm *mm, const struct tdpi_counts *from);
/* Sums over the mm and all its vCPUs. */
void tdpi_counts_sum(struct tdp_mm *mm, struct tdpi_counts *sum);

#endif

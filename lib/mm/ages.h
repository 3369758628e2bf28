/* SPDX-License-Identifier: BSD-2-Clause */
/* From which pages were young to how long each has been idle (mm/job.c, TDP_JOB_AGE with ages). */
#ifndef TDPI_MM_AGES_H
#define TDPI_MM_AGES_H

#include <stdbool.h>
#include <tdp/job.h>

/* Buckets that a job may have: none, or each for older pages than the one before. */
bool tdpi_ages_buckets_ok(const struct tdp_idle_bucket *buckets, uint64_t count);

/* The bits of the first `pages` pages are taken back and told to their ages; these are counted. */
void tdpi_ages_take(uint8_t *ages, uint64_t *bits, uint64_t pages, struct tdp_idle_bucket *buckets,
		    uint64_t count);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* Adding up statistics. */
#include "mm/counts.h"

TDPI_COLD void tdpi_count_stall(struct tdp_mm *mm, uint64_t since)
{
	uint64_t ns = mm->env.now(mm->env.priv) - since;
	unsigned bucket = 0;

	while (ns >>= 1)
		bucket++;
	tdpi_add_quiet(&mm->stalls[tdpi_min64(bucket, TDP_STALL_BUCKETS - 1)], 1);
}

void tdpi_counts_merge(struct tdp_mm *mm, const struct tdpi_counts *from)
{
	const uint64_t *src = (const uint64_t *)from;
	uint64_t *dst = (uint64_t *)&mm->counts;

	for (size_t i = 0; i < TDPI_COUNTS_WORDS; i++)
		if (src[i])
			tdpi_add_quiet(&dst[i], src[i]);
}

static void add(struct tdpi_counts *sum, const struct tdpi_counts *from)
{
	const uint64_t *src = (const uint64_t *)from;
	uint64_t *dst = (uint64_t *)sum;

	for (size_t i = 0; i < TDPI_COUNTS_WORDS; i++)
		dst[i] += tdpi_load_relaxed(&src[i]);
}

void tdpi_counts_sum(struct tdp_mm *mm, struct tdpi_counts *sum)
{
	memset(sum, 0, sizeof(*sum));
	/* The lock keeps vCPUs (and their counts, merged when they go) from being seen twice or never. */
	tdpi_lock(&mm->env, &mm->vcpus_lock, TDPI_LOCK_VCPUS);
	add(sum, &mm->counts);
	for (unsigned i = 0; i < TDPI_TICKETS; i++)
		add(sum, &mm->tickets[i].counts);
	for (const struct tdp_vcpu *v = mm->vcpus; v; v = v->next)
		add(sum, &v->counts);
	tdpi_unlock(&mm->env, &mm->vcpus_lock);
}

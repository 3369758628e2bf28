/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One operation, several threads. Parts are taken by counting, and a part that fails takes all that are left. `left` is
 * what is not complete: who has taken parts takes them off when they are flushed, and the owner waits for 0 (S1). So
 * whoever comes late takes nothing, changes nothing, and need not be waited for.
 */
#include <tdp/share.h>

#include "mm/job.h"
#include "mm/mm.h"

/* Parts end where pages of this level do: the largest, and subtrees that a zap cuts off at once. */
static unsigned part_level(const struct tdp_mm *mm)
{
	unsigned level = 2;

	while (mm->leaf_levels >> (level + 1))
		level++;
	return level;
}

static unsigned part_shift(const struct tdp_mm *mm)
{
	return tdpi_level_shift(mm, part_level(mm));
}

static struct tdpi_span span_of(const struct tdp_job *job)
{
	return (struct tdpi_span){job->range.start >> TDP_PAGE_LG2,
				  (job->range.start + job->range.size) >> TDP_PAGE_LG2};
}

/* The next part, as a job of its own. */
static bool take(struct tdp_share *share, struct tdp_job *part)
{
	struct tdpi_span all = span_of(&share->job);
	uint64_t i = tdpi_add_relaxed(&share->next, (uint64_t)1);
	unsigned shift = part_shift(share->mm);
	tdpi_gfn_t first, end;

	if (i >= share->parts)
		return false;
	i += all.start >> shift;
	first = tdpi_max64(i << shift, all.start);
	end = tdpi_min64((i + 1) << shift, all.end);
	*part = share->job;
	part->range.start = first << TDP_PAGE_LG2;
	part->range.size = (end - first) << TDP_PAGE_LG2;
	if (part->bitmap) {
		part->bitmap += (first - all.start) / 64;
		part->words = (end - first + 63) / 64;
	}
	return true;
}

static bool any_left(const struct tdp_share *share)
{
	return tdpi_load_relaxed(&share->next) < share->parts;
}

/* Nobody is to take any more. How many are taken by that. */
static uint32_t give_up(struct tdp_share *share, int status)
{
	int32_t none = TDP_OK;
	uint64_t next;

	(void)tdpi_cas_relaxed(&share->status, &none, status);
	next = tdpi_add_relaxed(&share->next, (uint64_t)share->parts);
	return share->parts - (uint32_t)tdpi_min64(next, share->parts);
}

/* One gather for all parts, so that there is one flush. */
static int walk_parts(struct tdp_share *share, uint64_t max_parts, uint32_t *taken)
{
	unsigned level = part_level(share->mm);
	struct tdpi_bulk b;
	struct tdp_job part;
	int ret = TDP_OK;

	tdpi_bulk_begin(&b, share->mm, tdpi_job_op(&share->job));
	while (!ret && *taken < max_parts && take(share, &part)) {
		++*taken;
		ret = tdpi_job_part(&b, &part, span_of(&part), level);
		tdpi_add_relaxed(&share->count, part.count);
	}
	tdpi_bulk_end(&b);
	return ret;
}

static int window_parts(struct tdp_share *share, uint64_t max_parts, uint32_t *taken)
{
	struct tdp_job part;
	int ret = TDP_OK;

	while (!ret && *taken < max_parts && take(share, &part)) {
		++*taken;
		ret = tdpi_job_windows(share->mm, &part);
		tdpi_add_relaxed(&share->count, part.count);
	}
	return ret;
}

/* As tdp_share_help(). Afterwards the share is not looked into any more. */
static int do_parts(struct tdp_share *share, uint64_t max_parts)
{
	struct tdp_mm *mm = share->mm;
	int ret = tdpi_mm_check(mm);
	uint32_t taken = 0;

	if (!any_left(share))
		return ret;
	if (!ret)
		ret = tdpi_job_walks(&share->job) ? walk_parts(share, max_parts, &taken)
						  : window_parts(share, max_parts, &taken);
	if (ret)
		taken += give_up(share, ret);
	else
		ret = any_left(share);
	/* S1: flushed, counted, written to the bitmap. */
	if (taken && tdpi_sub_acq_rel(&share->left, taken) == taken && mm->env.wake)
		mm->env.wake(mm->env.priv, &share->left);
	return ret;
}

static void wait_for_helpers(const struct tdp_share *share)
{
	const struct tdp_env *env = &share->mm->env;
	uint32_t left;

	tdpi_lockcheck(env, TDPI_CALL_HELPERS);
	while ((left = tdpi_load_acquire(&share->left)) != 0) { /* S1: all of them */
		if (env->wait)
			env->wait(env->priv, &share->left, left);
		else
			tdpi_relax(env);
	}
}

static int finish_above(struct tdp_share *share)
{
	struct tdp_job job = share->job;
	struct tdpi_bulk b;
	int ret;

	tdpi_bulk_begin(&b, share->mm, tdpi_job_op(&job));
	ret = tdpi_job_above(&b, &job, span_of(&job), part_level(share->mm));
	tdpi_bulk_end(&b);
	tdpi_add_relaxed(&share->count, job.count);
	return ret;
}

static int check(struct tdp_mm *mm, const struct tdp_job *job)
{
	struct tdpi_span span;
	uint64_t last;
	int ret = tdpi_job_check(mm, job, &span);

	if (ret)
		return ret;
	/* Two parts must not share a word of the bitmap, nor a bucket. */
	if (job->max_entries || job->max_ns || job->done || job->pass || job->count || job->ages ||
	    (job->bitmap && job->range.start % (64 * TDP_PAGE_SIZE)))
		return TDP_EINVAL;
	if (job->kind != TDP_JOB_HARVEST)
		return TDP_OK;
	span = span_of(job);
	return tdp_dirty_get(mm, job->slot, (span.end - 1) / 64 * 64, &last, 1);
}

int tdp_share_begin(struct tdp_mm *mm, struct tdp_share *share, const struct tdp_job *job)
{
	struct tdpi_span all;
	unsigned shift;
	int ret = check(mm, job);

	if (ret)
		return ret;
	if (!share)
		return TDP_EINVAL;
	all = span_of(job);
	shift = part_shift(mm);
	*share = (struct tdp_share){.mm = mm, .job = *job};
	share->parts = (uint32_t)(((all.end - 1) >> shift) - (all.start >> shift) + 1);
	share->left = share->parts;
	return TDP_OK;
}

int tdp_share_help(struct tdp_share *share, uint64_t max_parts)
{
	if (!share || !share->mm)
		return TDP_EINVAL;
	return do_parts(share, max_parts ? max_parts : ~(uint64_t)0);
}

int tdp_share_finish(struct tdp_share *share, uint64_t *count)
{
	int ret;

	if (!share || !share->mm)
		return TDP_EINVAL;
	(void)do_parts(share, ~(uint64_t)0);
	wait_for_helpers(share);
	ret = tdpi_load_relaxed(&share->status);
	if (!ret)
		ret = tdpi_mm_state(share->mm);
	if (!ret && tdpi_job_walks(&share->job))
		ret = finish_above(share);
	if (count)
		*count = tdpi_load_relaxed(&share->count);
	return ret;
}

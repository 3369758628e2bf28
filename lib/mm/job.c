/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bulk operations in steps. Two kinds: those that walk tables stop where their walk has used up its share
 * (struct tdpi_limit); those that make tables or fill bitmaps do a window of the range at a time. Aging with ages is
 * both, one after the other: no limit cuts off what the walk found, and idle ranges, which it passes by at no cost, are
 * paid for where their ages change.
 */
#include "mm/job.h"

#include "mm/ages.h"
#include "mm/range.h"
#include "mm/root.h"

/* ---- kinds that walk tables: one pass over the range, as far as it comes ---- */

/*
 * Small tables first: cutting off a whole gigabyte takes as long as it has tables. In the passes after the first
 * what is cut off is empty, but for what was mapped meanwhile.
 */
static int zap_part(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span)
{
	static const uint8_t cut_level[] = {1, 2, TDP_LEVELS_MAX};
	int ret = tdpi_zap_prepare(b, job->as_id, span, job->flags);

	if (!ret)
		tdpi_zap_roots(b, job->as_id, span, job->flags, cut_level[job->pass], false);
	return ret;
}

static int walk_part(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span)
{
	struct tdpi_age age = {.mode = TDPI_AGE_CLEAR, .bitmap = job->bitmap, .base = span.start};
	unsigned level = job->pass + 1;
	int ret = TDP_OK;

	switch (job->kind) {
	case TDP_JOB_ZAP: return zap_part(b, job, span);
	case TDP_JOB_WRITE_PROTECT: return tdpi_protect_roots(b, job->as_id, span, false);
	case TDP_JOB_COMPACT: job->count += tdpi_compact_level(b, job->as_id, span, level); break;
	case TDP_JOB_COLLAPSE:
		job->count += tdpi_collapse_level(b, job->as_id, span, level, job->flags);
		break;
	default:
		tdpi_age_roots(b, job->as_id, span, &age);
		job->count += age.young;
		break;
	}
	return ret;
}

static unsigned passes(const struct tdp_mm *mm, const struct tdp_job *job)
{
	switch (job->kind) {
	case TDP_JOB_ZAP: return 3;
	case TDP_JOB_COMPACT:
	case TDP_JOB_COLLAPSE: return mm->levels - 1;
	case TDP_JOB_AGE: return job->ages ? 2 : 1;
	default: return 1;
	}
}

enum tdp_op tdpi_job_op(const struct tdp_job *job)
{
	static const uint8_t op[] = {[TDP_JOB_ZAP] = TDP_OP_ZAP,
				     [TDP_JOB_COMPACT] = TDP_OP_COMPACT,
				     [TDP_JOB_WRITE_PROTECT] = TDP_OP_WRITE_PROTECT,
				     [TDP_JOB_AGE] = TDP_OP_AGE,
				     [TDP_JOB_COLLAPSE] = TDP_OP_COLLAPSE};

	return (enum tdp_op)op[job->kind];
}

static int walk_step(struct tdp_mm *mm, struct tdp_job *job, struct tdpi_span span)
{
	struct tdpi_limit limit = {.max_entries = job->max_entries, .max_ns = job->max_ns};
	struct tdpi_bulk b;
	int ret;

	limit.from = span.start + (job->done >> TDP_PAGE_LG2);
	limit.stop = TDPI_GFN_NONE;
	tdpi_bulk_begin(&b, mm, tdpi_job_op(job));
	b.op.limit = &limit;
	ret = walk_part(&b, job, span);
	tdpi_bulk_end(&b);
	if (!ret)
		job->done = (tdpi_min64(limit.stop, span.end) - span.start) << TDP_PAGE_LG2;
	return ret;
}

/* ---- the same kinds, cut into parts of the range instead ---- */

static int walk_passes(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span,
		       unsigned from, unsigned end)
{
	int ret = TDP_OK;

	for (job->pass = from; !ret && job->pass < end; job->pass++)
		ret = walk_part(b, job, span);
	return ret;
}

int tdpi_job_part(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span, unsigned level)
{
	/* A part is all that one pass of a zap needs: small tables go with the larger ones above them. */
	if (job->kind == TDP_JOB_ZAP)
		return walk_passes(b, job, span, 1, 2);
	return walk_passes(b, job, span, 0, (unsigned)tdpi_min64(level, passes(b->op.mm, job)));
}

int tdpi_job_above(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span, unsigned level)
{
	switch (job->kind) {
	case TDP_JOB_ZAP:
		/* Where young pages are remembered all tables stay. */
		if (job->flags & TDP_ZAP_KEEP_YOUNG || !tdpi_zap_high(b->op.mm, span))
			return TDP_OK;
		return walk_passes(b, job, span, 2, 3);
	case TDP_JOB_COMPACT: return walk_passes(b, job, span, level, passes(b->op.mm, job));
	default: return TDP_OK;
	}
}

/* ---- kinds that work on windows of pages ---- */

/* The time is looked at so often. */
#define WINDOW_PAGES 512u

static int window_populate(struct tdp_mm *mm, struct tdp_job *job, struct tdp_range r,
			   uint64_t *did)
{
	return tdp_populate(mm, job->as_id, r, job->flags, did);
}

static int window_split(struct tdp_mm *mm, struct tdp_job *job, struct tdp_range r, uint64_t *did)
{
	int ret = tdp_split(mm, job->as_id, r, job->lg2);

	*did = ret ? 0 : r.size;
	return ret;
}

static int window_harvest(struct tdp_mm *mm, struct tdp_job *job, struct tdp_range r, uint64_t *did)
{
	uint64_t first = r.start >> TDP_PAGE_LG2, pages = r.size >> TDP_PAGE_LG2;
	uint64_t *bits = job->bitmap + (job->done >> TDP_PAGE_LG2) / 64, words = (pages + 63) / 64;
	int ret = tdp_dirty_harvest(mm, job->slot, first, bits, words);

	*did = 0;
	if (ret)
		return ret;
	*did = r.size;
	for (uint64_t i = 0; i < words; i++)
		job->count += tdpi_popcount64(bits[i]);
	return TDP_OK;
}

static int window_ages(struct tdp_job *job, struct tdp_range r, uint64_t *did)
{
	uint64_t first = job->done >> TDP_PAGE_LG2;

	if (first % 64)
		return TDP_EINVAL;
	tdpi_ages_take(job->ages + first, job->bitmap + first / 64, r.size >> TDP_PAGE_LG2,
		       job->buckets, job->bucket_count);
	*did = r.size;
	return TDP_OK;
}

/*
 * Windows end at multiples of their size: as huge pages do, or, where there is a bitmap, at words of it. A harvest's
 * range begins with one, so there it is the same.
 */
static struct tdp_range next_window(const struct tdp_job *job, uint64_t pages)
{
	struct tdp_range r = {job->range.start + job->done, job->range.size - job->done};
	uint64_t bytes = pages << TDP_PAGE_LG2;

	r.size = tdpi_min64(r.size, bytes - (job->bitmap ? job->done : r.start) % bytes);
	return r;
}

int tdpi_job_windows(struct tdp_mm *mm, struct tdp_job *job)
{
	const struct tdp_env *env = &mm->env;
	uint64_t start = job->max_ns ? env->now(env->priv) : 0, left = ~(uint64_t)0;
	uint64_t window = job->max_ns ? WINDOW_PAGES : job->range.size >> TDP_PAGE_LG2;

	if (job->max_entries) {
		left = tdpi_max64(job->max_entries, 64);
		window = tdpi_min64(window, left);
	}
	window = tdpi_max64(window / 64, 1) * 64;
	do {
		struct tdp_range r = next_window(job, window);
		uint64_t did = 0;
		int ret;

		if (job->kind == TDP_JOB_POPULATE)
			ret = window_populate(mm, job, r, &did);
		else if (job->kind == TDP_JOB_SPLIT)
			ret = window_split(mm, job, r, &did);
		else if (job->kind == TDP_JOB_AGE)
			ret = window_ages(job, r, &did);
		else
			ret = window_harvest(mm, job, r, &did);
		job->done += did;
		if (ret)
			return ret;
		left -= tdpi_min64(left, r.size >> TDP_PAGE_LG2);
	} while (job->done < job->range.size && left >= window &&
		 !(job->max_ns && env->now(env->priv) - start >= job->max_ns));
	return TDP_OK;
}

/* ---- both ---- */

bool tdpi_job_walks(const struct tdp_job *job)
{
	switch (job->kind) {
	case TDP_JOB_POPULATE:
	case TDP_JOB_SPLIT:
	case TDP_JOB_HARVEST: return false;
	case TDP_JOB_AGE: return job->pass == 0;
	default: return true;
	}
}

static uint32_t flags_of(const struct tdp_job *job)
{
	switch (job->kind) {
	case TDP_JOB_ZAP: return TDP_ZAP_LAZY | TDP_ZAP_KEEP_YOUNG | TDP_ZAP_NOYIELD;
	case TDP_JOB_COLLAPSE: return TDP_COLLAPSE_ZAP;
	case TDP_JOB_POPULATE: return TDP_POPULATE_READ | TDP_POPULATE_YOUNG;
	default: return 0;
	}
}

static bool bitmap_fits(const struct tdp_job *job)
{
	bool wanted = job->kind == TDP_JOB_HARVEST || (job->kind == TDP_JOB_AGE && job->bitmap);

	if (job->ages && (job->kind != TDP_JOB_AGE || !job->bitmap))
		return false;
	if (!tdpi_ages_buckets_ok(job->buckets, job->bucket_count) || (job->buckets && !job->ages))
		return false;
	return wanted ? job->bitmap && job->words == ((job->range.size >> TDP_PAGE_LG2) + 63) / 64
		      : !job->bitmap && job->words == 0;
}

/* A harvest's range is in its slot, which tdp_dirty_harvest() knows best. */
static int check_range(struct tdp_mm *mm, const struct tdp_job *job, struct tdpi_span *span)
{
	if (job->kind != TDP_JOB_HARVEST)
		return job->slot ? TDP_EINVAL : tdpi_span_check(mm, job->as_id, job->range, span);
	if (job->as_id || job->range.size == 0 || job->range.size % TDP_PAGE_SIZE ||
	    job->range.start % (64 * TDP_PAGE_SIZE))
		return TDP_EINVAL;
	return job->range.start + job->range.size < job->range.start ? TDP_ERANGE : TDP_OK;
}

int tdpi_job_check(struct tdp_mm *mm, const struct tdp_job *job, struct tdpi_span *span)
{
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (!job || job->size != sizeof(*job) || job->kind < TDP_JOB_ZAP ||
	    job->kind > TDP_JOB_HARVEST || job->reserved || job->flags & ~flags_of(job) ||
	    (job->kind != TDP_JOB_SPLIT && job->lg2) || !bitmap_fits(job))
		return TDP_EINVAL;
	if (job->max_ns && !mm->env.now)
		return TDP_ENOTSUP;
	ret = check_range(mm, job, span);
	if (ret)
		return ret;
	return job->done > job->range.size || job->done % TDP_PAGE_SIZE ||
			       job->pass > passes(mm, job)
		       ? TDP_EINVAL
		       : TDP_OK;
}

int tdp_job_step(struct tdp_mm *mm, struct tdp_job *job)
{
	bool limited = job && (job->max_entries || job->max_ns);
	struct tdpi_span span = {0, 0};
	int ret = tdpi_job_check(mm, job, &span);

	if (ret)
		return ret;
	while (job->pass < passes(mm, job)) {
		ret = tdpi_job_walks(job) ? walk_step(mm, job, span) : tdpi_job_windows(mm, job);
		if (ret)
			return ret;
		if (job->done < job->range.size)
			return 1;
		job->done = 0;
		job->pass++;
		if (limited)
			break;
	}
	return job->pass < passes(mm, job);
}

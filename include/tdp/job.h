/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file job.h
 * Long operations in short steps: each step ends when it has looked at so many entries or taken so long, and the
 * job knows where to go on. For VMMs that hold something while they call (a lock, a vCPU, a deadline).
 *
 * What bounds other calls: tdp_roots_reclaim() takes a number of tables; tdp_dirty_get(), _clear() and _clear_mask()
 * do as many pages as they are asked for; tdp_dirty_log() with TDP_LOG_INITIALLY_SET arms nothing by itself, the
 * first harvest, in steps, does.
 */
#ifndef TDP_JOB_H
#define TDP_JOB_H

#include <tdp/tdp.h>

#ifdef __cplusplus
extern "C" {
#endif

enum tdp_job_kind {
	TDP_JOB_ZAP = 1,           /* tdp_zap(); flags: TDP_ZAP_*, but not STRICT */
	TDP_JOB_COMPACT = 2,       /* tdp_compact(); count: tables freed */
	TDP_JOB_WRITE_PROTECT = 3, /* tdp_write_protect() */
	TDP_JOB_AGE = 4,      /* tdp_age(); count: young pages; bitmap, ages, buckets if given */
	TDP_JOB_SPLIT = 5,    /* tdp_split(); lg2 */
	TDP_JOB_COLLAPSE = 6, /* tdp_collapse(); flags: TDP_COLLAPSE_*; count: huge pages made */
	TDP_JOB_POPULATE = 7, /* tdp_populate(); flags: TDP_POPULATE_*, but not STRICT */
	TDP_JOB_HARVEST = 8,  /* tdp_dirty_harvest(); slot, bitmap; count: dirty pages */
};

/**
 * The idle age of a 4K page, in scans: whole AGE jobs over the same array. 0: found young in the latest one; n: not
 * in the latest n, but in the one before these.
 */
#define TDP_IDLE_MOST 254u /* so many or more; it goes no further */
/** Never found young since the array began: fill it with this first. Older than all others. */
#define TDP_IDLE_NEVER 255u

/** Pages by idle age. */
struct tdp_idle_bucket {
	uint64_t pages;    /* out, added up: of this age or more, but less than the next one's */
	uint32_t age;      /* 0 .. TDP_IDLE_NEVER, more than the one before */
	uint32_t reserved; /* 0 */
};

/**
 * One job. Fill in what the kind needs, zero the rest; the caller's, not to be changed between its steps but
 * for the two limits. Needs no end: a job that is not finished may be forgotten.
 */
struct tdp_job {
	uint32_t size;  /* sizeof(struct tdp_job) */
	uint32_t kind;  /* enum tdp_job_kind */
	uint32_t as_id; /* an address space; TDP_AS_ALL where the plain call takes it; HARVEST: 0 */
	uint32_t flags; /* of the plain call */
	uint32_t lg2;   /* SPLIT, else 0 */
	uint32_t slot;  /* HARVEST, else 0 */
	/** What to do. HARVEST: bytes from the slot's start; start is a multiple of 64 pages. */
	struct tdp_range range;
	/**
	 * A step ends after about so many entries (0: no limit): entries of tables looked at; a table that is
	 * cut off counts as all of its entries; POPULATE, SPLIT, HARVEST, ages: 4K pages of the range. At least one
	 * table (with those above it), or 64 pages, are done in each step. Each root that the range is looked up
	 * in has this limit for itself: over TDP_AS_ALL, or beside invalid roots, a step takes so many times as long.
	 */
	uint64_t max_entries;
	/** … or after about so many nanoseconds of env->now(); 0: no limit. TDP_ENOTSUP without now(). */
	uint64_t max_ns;
	/**
	 * AGE, HARVEST: bit i is page i of the range. AGE only sets bits, as tdp_age_bitmap() does: clear it before the
	 * first step. HARVEST writes all of the words of a step, which may tell of up to 63 pages behind the range's
	 * end.
	 */
	uint64_t *bitmap;
	uint64_t
		words; /* of bitmap: exactly range.size / 4096 / 64, rounded up; without bitmap 0 */
	/**
	 * AGE with a bitmap: range.size / 4096 bytes, byte i is the idle age of page i of the range; or NULL. The
	 * tables are walked once; a second pass then brings all ages up to date and takes the bits back, so that one
	 * bitmap, cleared once, serves all scans, and what a forgotten job had found is found by the next.
	 * A huge page that was used makes all its pages young. Pages that are not mapped grow old as others do: the
	 * use of a page that was zapped since the last scan is not seen (but see TDP_ZAP_KEEP_YOUNG), nor is what
	 * another call of tdp_age() and the like has found.
	 */
	uint8_t *ages;
	/**
	 * With ages, or NULL: into which the second pass counts each page of the range; not those younger than the
	 * first bucket. How many were not used for at least n scans is the sum of the bucket of age n and all after it.
	 */
	struct tdp_idle_bucket *buckets;
	uint64_t bucket_count;
	/** Out, added up over all steps. */
	uint64_t count;
	/**
	 * Where the next step goes on: `done` bytes from range.start are done in this pass. Some kinds go over the
	 * range several times (ZAP: leaves and small tables first, then the larger ones above them, so that no
	 * step has much below it; AGE with ages: the tables, then the ages). 0 before the first step.
	 */
	uint64_t done;
	uint32_t pass;
	uint32_t reserved; /* 0 */
};

/**
 * Do one step, all there is to do if it has no limit. Returns 1: more is to be done; 0: all is done (also when asked
 * again); or a status.
 *
 * Each step keeps the promises of the plain call for what it has done: flushed before it returns. What
 * others map, dirty or use behind `done` between two steps is not looked at again in this pass; a zap for
 * memory that goes away is made between tdp_invalidate_begin() and _end() as always, around all of its steps.
 * Where the range is mapped in several roots, a part of it may be looked at in two steps; AGE may
 * count a page twice then.
 *
 * Fails as the plain call; then nothing of this step is done but what `pass` and `done` say, and the same job may
 * be stepped again. TDP_EINVAL: size, kind, flags, bitmap, ages, buckets, or done beyond the range; TDP_ENOTSUP:
 * max_ns without now().
 * Sleeps: may. Locks, RCU: as the plain call (a registered thread, outside sections). One thread at a time.
 */
TDP_API int tdp_job_step(struct tdp_mm *mm, struct tdp_job *job);

#ifdef __cplusplus
}
#endif
#endif

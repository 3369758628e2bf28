/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file share.h
 * One long operation done by several threads. The library has no threads: the caller brings those it can spare
 * (workers, vCPUs that wait anyhow), as many and as late as it likes.
 *
 *     owner                                     helpers
 *     tdp_share_begin(mm, &share, &job);
 *     … hands &share to others …                while (tdp_share_help(&share, 8) == 1)
 *     ret = tdp_share_finish(&share, &count);           … anything else that is to be done …
 *     … waits until nobody calls help any more …
 *
 * The range is cut into parts that end at multiples of a large page (1 GiB with tables of 512 entries; of the largest
 * page that can be mapped, if that is more), so that no part splits what the whole would not. Each call takes parts
 * from one counter until none is left: nobody waits for a slow thread but the owner, once, in the end.
 */
#ifndef TDP_SHARE_H
#define TDP_SHARE_H

#include <tdp/job.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The caller's memory, any (a stack, too); what is in it is the library's. It stays where it is, and with it the mm
 * and the job's bitmap, until tdp_share_finish() and all calls of tdp_share_help() have returned and none can begin.
 * Holds nothing: who neither finishes nor helps any more just forgets it.
 */
struct tdp_share {
	struct tdp_mm *mm;
	struct tdp_job job;
	uint64_t next;  /* part to be taken; not less than `parts`: none */
	uint64_t count; /* as in struct tdp_job */
	uint32_t parts; /* of the range */
	uint32_t left;  /* not complete */
	int32_t status; /* of the first part that failed */
	uint32_t reserved;
};

/**
 * Describe the operation. `job` is copied, as for tdp_job_step() with these differences: max_entries, max_ns, done,
 * pass and count are 0; AGE with a bitmap begins at a multiple of 64 pages, and keeps no ages. Does nothing yet.
 * TDP_EINVAL, TDP_ERANGE: as tdp_job_step(), and share NULL; HARVEST also TDP_ENOENT, TDP_ERANGE as
 * tdp_dirty_harvest(). Any number of shares may be open at once. Sleeps: HARVEST may. Locks, RCU: as the plain call.
 */
TDP_API int tdp_share_begin(struct tdp_mm *mm, struct tdp_share *share, const struct tdp_job *job);

/**
 * Do up to max_parts parts (0: as many as there are). Any thread that may make the plain call (registered with the
 * RCU, outside of sections), any number at once, before, beside and after tdp_share_finish().
 * Returns 1: more are to be taken; 0: none is (others may still be at theirs), also when somebody's part failed; or
 * the status with which a part of this call failed. Then nobody takes any more.
 * What this call did is flushed when it returns; it gives way (env->yield) as the plain call does.
 */
TDP_API int tdp_share_help(struct tdp_share *share, uint64_t max_parts);

/**
 * The owner's call, one for each share: does what nobody has taken, waits (env->wait) until all that was taken is
 * complete, and then frees what the plain call frees of tables over several parts. On return all that the plain
 * call promises is true of the whole range, whoever did it, and what helpers wrote (the bitmap) can be read.
 *
 * Returns TDP_OK, or the status of the first part that failed: then some parts are done, each as a plain call over
 * it, and others are not (TDP_ENOMEM as well). *count (may be NULL): as in struct tdp_job, the sum of what was done.
 *
 * Flushes: one for each call that did any part, where the plain call takes one; so for each thread, if helpers
 * do not ask for few parts at a time; and one if tables over several parts go. HARVEST: one for each part with a
 * dirty page. AGE with TDP_MM_AGE_TABLES: tables are found idle by one call at a time, the others merely age.
 */
TDP_API int tdp_share_finish(struct tdp_share *share, uint64_t *count);

#ifdef __cplusplus
}
#endif
#endif

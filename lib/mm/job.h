/* SPDX-License-Identifier: BSD-2-Clause */
/* What jobs do, for those who do them in other pieces than steps. */
#ifndef TDPI_MM_JOB_H
#define TDPI_MM_JOB_H

#include <tdp/job.h>

#include "mm/op.h"

/* Is it a job? span: of its range, or of bytes from its slot's start. */
int tdpi_job_check(struct tdp_mm *mm, const struct tdp_job *job, struct tdpi_span *span);
/* Does this pass of it walk tables? Else it makes windows of pages. */
bool tdpi_job_walks(const struct tdp_job *job);
enum tdp_op tdpi_job_op(const struct tdp_job *job);

/*
 * Kinds that walk, in one running operation. All that can be done of a range which ends at pages of `level`, if the
 * job's range does; then, once for all such ranges, what is left of tables above them. Both count in job->count.
 */
int tdpi_job_part(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span, unsigned level);
int tdpi_job_above(struct tdpi_bulk *b, struct tdp_job *job, struct tdpi_span span, unsigned level);
/* The other kinds: all of the job. */
int tdpi_job_windows(struct tdp_mm *mm, struct tdp_job *job);

#endif

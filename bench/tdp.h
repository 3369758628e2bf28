/* SPDX-License-Identifier: BSD-2-Clause */
/* A VM of libtdp as the harness makes it, for questions that other engines are not asked. */
#ifndef BENCH_TDP_H
#define BENCH_TDP_H

#include "bench.h"

#include <tdp/job.h>
#include <tdp/posix.h>
#include <tdp/tdp.h>

struct tdp_vm {
	struct bench_shape shape;
	struct tdp_mm *mm;
	struct tdp_vcpu *vcpu[THREADS_MAX];
	uint32_t slot;
	uint64_t loads;
	struct tdp_env env; /* of a host that is asked whether to give way: */
	uint64_t asks;      /* how often */
};

/* tdp_look.c: the engine's functions of these names. */
void tdp_vm_look(void *vm, uint64_t gpa, struct bench_seen *seen);
void tdp_vm_counts(void *vm, struct bench_counts *out);
void tdp_vm_tables(void *vm, bench_table_fn *fn, void *arg);
int tdp_vm_trim(struct bench_work *w);

/* What the operation is as a job. Only those that can be one. */
struct tdp_job tdp_job_of(enum bench_op op, const struct bench_work *w);

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/* What the programs here share: a walker that does nothing, so that only the library is measured; clock and order. */
#ifndef BENCH_COMMON_H
#define BENCH_COMMON_H

#include <inttypes.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <tdp/posix.h>
#include <tdp/walk.h>

#define PAGE ((uint64_t)4096)

static inline void must(int status, const char *what)
{
	if (status >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, tdp_strerror(status));
	exit(1);
}

static inline double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/* ---- a walker that does nothing: EPT, hardware A and D; its context is a counter of flushes ---- */

static inline int probe(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps)
{
	(void)ctx;
	if (format != TDP_FMT_EPT)
		return TDP_ENOTSUP;
	caps->flags = TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY | TDP_CAP_EXEC_ONLY |
		      TDP_CAP_FAULT_INVALIDATES | TDP_CAP_RANGE_FLUSH | TDP_CAP_WALKS_TABLES;
	caps->leaf_levels = 0x7;
	caps->gpa_bits = 48;
	caps->pa_bits = 48;
	caps->max_levels = 4;
	return TDP_OK;
}

static inline int root_load(void *ctx, void *cookie, const struct tdp_root_view *root)
{
	(void)ctx, (void)cookie, (void)root;
	return TDP_OK;
}

static inline void flush_range(void *ctx, struct tdp_range range)
{
	(void)range;
	__atomic_fetch_add((uint64_t *)ctx, 1, __ATOMIC_RELAXED);
}

static inline void flush_all(void *ctx)
{
	__atomic_fetch_add((uint64_t *)ctx, 1, __ATOMIC_RELAXED);
}

static const struct tdp_backend_ops walker = {
	.size = sizeof(walker),
	.name = "nothing",
	.probe = probe,
	.root_load = root_load,
	.flush_range = flush_range,
	.flush_all = flush_all,
	.reload = flush_all,
};

/* ---- order ---- */

static inline void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static inline int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static inline double median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), by_size);
	return v[n / 2];
}

#endif

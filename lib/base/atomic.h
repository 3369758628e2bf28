/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only place that names memory orders. Plain integers are accessed through these inside lib/;
 * what an ordering is for is tagged (A1 …) at its use and explained in lib/ORDERING.md.
 */
#ifndef TDPI_BASE_ATOMIC_H
#define TDPI_BASE_ATOMIC_H

#include <stdint.h>

/*
 * In builds for <tdp/explore.h> every access is a step that others can come before; in all others this is
 * nothing.
 */
#ifndef TDP_TEST_POINTS
#define TDP_TEST_POINTS 0
#endif
#if TDP_TEST_POINTS
#include <tdp/point.h>
#define TDPI_POINT(kind, p, size) tdp_test_point(TDP_POINT_##kind, (p), (size))
#define TDPI_STEP(kind, p, access) (TDPI_POINT(kind, (p), sizeof(*(p))), (access))
#else
#define TDPI_POINT(kind, p, size) ((void)(p))
#define TDPI_STEP(kind, p, access) (access)
#endif

#define tdpi_load_relaxed(p) TDPI_STEP(READ, (p), __atomic_load_n((p), __ATOMIC_RELAXED))
#define tdpi_load_acquire(p) TDPI_STEP(READ, (p), __atomic_load_n((p), __ATOMIC_ACQUIRE))
#define tdpi_store_relaxed(p, v) TDPI_STEP(WRITE, (p), __atomic_store_n((p), (v), __ATOMIC_RELAXED))
#define tdpi_store_release(p, v) TDPI_STEP(WRITE, (p), __atomic_store_n((p), (v), __ATOMIC_RELEASE))
#define tdpi_xchg_acq_rel(p, v)                                                                    \
	TDPI_STEP(WRITE, (p), __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL))
#define tdpi_xchg_relaxed(p, v)                                                                    \
	TDPI_STEP(WRITE, (p), __atomic_exchange_n((p), (v), __ATOMIC_RELAXED))
#define tdpi_xchg_acquire(p, v)                                                                    \
	TDPI_STEP(WRITE, (p), __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE))
#define tdpi_xchg_release(p, v)                                                                    \
	TDPI_STEP(WRITE, (p), __atomic_exchange_n((p), (v), __ATOMIC_RELEASE))
#define tdpi_and_relaxed(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_and((p), (v), __ATOMIC_RELAXED))
#define tdpi_or_relaxed(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_or((p), (v), __ATOMIC_RELAXED))
#define tdpi_add_relaxed(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_add((p), (v), __ATOMIC_RELAXED))
#define tdpi_sub_relaxed(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED))
#define tdpi_add_acq_rel(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL))
#define tdpi_sub_acq_rel(p, v) TDPI_STEP(WRITE, (p), __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL))
#define tdpi_fence_seq_cst()                                                                       \
	(TDPI_POINT(FENCE, (const void *)0, 0), __atomic_thread_fence(__ATOMIC_SEQ_CST))

/* On failure *expected is what was found. */
#define tdpi_cas_acq_rel(p, expected, v)                                                           \
	TDPI_STEP(WRITE, (p),                                                                      \
		  __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE))
#define tdpi_cas_acquire(p, expected, v)                                                           \
	TDPI_STEP(WRITE, (p),                                                                      \
		  __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
#define tdpi_cas_relaxed(p, expected, v)                                                           \
	TDPI_STEP(WRITE, (p),                                                                      \
		  __atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED))

/* Relaxed, and of no interest to anybody's order: statistics, and memory that nobody else reaches. */
#define tdpi_load_quiet(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define tdpi_store_quiet(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define tdpi_add_quiet(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)

/* A lock's word: taking and dropping are steps of their own (mm/lock.h). */
#define tdpi_lock_cas(p, expected)                                                                 \
	__atomic_compare_exchange_n((p), (expected), 1u, 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define tdpi_lock_xchg(p) __atomic_exchange_n((p), 0u, __ATOMIC_RELEASE)
#define tdpi_lock_clear(p) __atomic_store_n((p), 0u, __ATOMIC_RELEASE)

#endif

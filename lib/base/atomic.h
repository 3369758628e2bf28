/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The only place that names memory orders. Plain integers are accessed through these inside lib/;
 * what an ordering is for is tagged (A1 …) at its use and explained in lib/ORDERING.md.
 */
#ifndef TDPI_BASE_ATOMIC_H
#define TDPI_BASE_ATOMIC_H

#include <stdint.h>

#define tdpi_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
#define tdpi_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
#define tdpi_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
#define tdpi_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
#define tdpi_xchg_acq_rel(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
#define tdpi_xchg_relaxed(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELAXED)
#define tdpi_xchg_acquire(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQUIRE)
#define tdpi_xchg_release(p, v) __atomic_exchange_n((p), (v), __ATOMIC_RELEASE)
#define tdpi_and_relaxed(p, v) __atomic_fetch_and((p), (v), __ATOMIC_RELAXED)
#define tdpi_or_relaxed(p, v) __atomic_fetch_or((p), (v), __ATOMIC_RELAXED)
#define tdpi_add_relaxed(p, v) __atomic_fetch_add((p), (v), __ATOMIC_RELAXED)
#define tdpi_sub_relaxed(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_RELAXED)
#define tdpi_add_acq_rel(p, v) __atomic_fetch_add((p), (v), __ATOMIC_ACQ_REL)
#define tdpi_sub_acq_rel(p, v) __atomic_fetch_sub((p), (v), __ATOMIC_ACQ_REL)
#define tdpi_fence_seq_cst() __atomic_thread_fence(__ATOMIC_SEQ_CST)

/* On failure *expected is what was found. */
#define tdpi_cas_acq_rel(p, expected, v)                                                           \
	__atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)
#define tdpi_cas_acquire(p, expected, v)                                                           \
	__atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)
#define tdpi_cas_relaxed(p, expected, v)                                                           \
	__atomic_compare_exchange_n((p), (expected), (v), 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED)

#endif

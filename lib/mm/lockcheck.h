/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The rules of lib/LOCKING.md, asked at run time in debug builds on a host: what may be done while holding what,
 * inside or outside of a read-side section. A breach is logged and trapped. Everywhere else this is nothing: the
 * record of a thread is thread-local, and a freestanding core has no state.
 */
#ifndef TDPI_MM_LOCKCHECK_H
#define TDPI_MM_LOCKCHECK_H

#include "base/atomic.h"

#include <tdp/env.h>

#ifndef TDP_LOCKCHECK
#define TDP_LOCKCHECK 0
#endif
/* The explorer's actors share one thread, so a thread's record would be of all of them. */
#if TDP_LOCKCHECK && !TDP_TEST_POINTS
#define TDPI_LOCKCHECK 1
#else
#define TDPI_LOCKCHECK 0
#endif

enum tdpi_locking {
	/* Classes of locks. */
	TDPI_LOCK_TABLE,
	TDPI_LOCK_SLOTS,
	TDPI_LOCK_RELOAD,
	TDPI_LOCK_ROOTS,
	TDPI_LOCK_POOL,
	TDPI_LOCK_RETIRE,
	TDPI_LOCK_VCPUS,
	TDPI_LOCK_INV,
	TDPI_LOCK_GATE,
	TDPI_LOCK_TICKET,
	/* What may sleep or wait. */
	TDPI_CALL_ALLOC,
	TDPI_CALL_BACKING,
	TDPI_CALL_YIELD,
	TDPI_CALL_SYNCHRONIZE,
	TDPI_CALL_BARRIER,
	TDPI_CALL_FLUSH,
	TDPI_CALL_FLUSH_BEGIN,
	TDPI_CALL_FLUSH_WAIT,
	TDPI_CALL_COLLECTED,
	TDPI_CALL_HELPERS,
	/* Where something must have been left, or taken. */
	TDPI_AT_DROP,
	TDPI_AT_SECTION_END,
	TDPI_AT_OPERATION_END,
	TDPI_AT_BEGIN,
	TDPI_AT_RETURN,
};

#if TDPI_LOCKCHECK
/* May this be done here? */
void tdpi_lockcheck(const struct tdp_env *env, enum tdpi_locking what);
/* Before a lock is waited for, or after it was taken without waiting; and when it is dropped. */
void tdpi_lockcheck_take(const struct tdp_env *env, const uint32_t *word, enum tdpi_locking class);
void tdpi_lockcheck_drop(const struct tdp_env *env, const uint32_t *word);
/* Read-side sections. */
void tdpi_lockcheck_enter(void);
void tdpi_lockcheck_leave(const struct tdp_env *env);
#else
#define tdpi_lockcheck(env, what) ((void)(env), (void)(what))
#define tdpi_lockcheck_take(env, word, class) ((void)(env), (void)(word), (void)(class))
#define tdpi_lockcheck_drop(env, word) ((void)(env), (void)(word))
#define tdpi_lockcheck_enter() ((void)0)
#define tdpi_lockcheck_leave(env) ((void)(env))
#endif

#endif

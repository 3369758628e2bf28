/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of this backend know of each other: the hooks of struct tdp_env. */
#ifndef TDPI_HOST_H
#define TDPI_HOST_H

#include <tdp/posix.h>

#if defined(__SANITIZE_ADDRESS__)
#define HOST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HOST_ASAN 1
#endif
#endif
#ifndef HOST_ASAN
#define HOST_ASAN 0
#endif

#if defined(__SANITIZE_THREAD__)
#define HOST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HOST_TSAN 1
#endif
#endif
#ifndef HOST_TSAN
#define HOST_TSAN 0
#endif

/*
 * liburcu and jemalloc are not instrumented, so ThreadSanitizer cannot see the order that they give.
 * These two say it: what a thread did before release(token) is before what follows acquire(token).
 */
#if HOST_TSAN
#include <sanitizer/tsan_interface.h>
#define host_tsan_release(token) __tsan_release(token)
#define host_tsan_acquire(token) __tsan_acquire(token)
#else
#define host_tsan_release(token) ((void)(token))
#define host_tsan_acquire(token) ((void)(token))
#endif

/*
 * Included before liburcu's headers: a read-side section is inline then, not two calls into a shared library. liburcu
 * means these functions (of a few lines) for all code that is compatible with its licence. ThreadSanitizer has to see
 * calls: what is inline it would watch.
 */
#if !HOST_TSAN && !defined(HOST_URCU_CALLS)
#define _LGPL_SOURCE
#endif

/* mem_jemalloc.c */
void *tdpi_host_chunk_alloc(void *priv, uint64_t size);
void *tdpi_host_chunk_alloc_on(void *priv, uint64_t size, uint32_t node);
void tdpi_host_chunk_free(void *priv, void *chunk, uint64_t size);
void tdpi_host_chunk_unused(void *priv, void *chunk, uint64_t size, uint64_t from, uint64_t end);
void *tdpi_host_obj_alloc(void *priv, uint64_t size);
void tdpi_host_obj_free(void *priv, void *obj, uint64_t size);
#if HOST_ASAN
void tdpi_host_table_state(void *priv, void *va, uint64_t size, int in_use);
#endif

/* node.c */
unsigned tdpi_host_nodes(void); /* that this process may use memory of; 1 where there is but one */
uint32_t tdpi_host_node(void *priv);
void tdpi_host_prefer(void *va, uint64_t size, uint32_t node);

/* wait.c */
void tdpi_host_wait(void *priv, const uint32_t *word, uint32_t value);
void tdpi_host_wake(void *priv, const uint32_t *word);
void tdpi_host_relax(void *priv);
uint64_t tdpi_host_now(void *priv);

/* scan.c */
unsigned tdpi_host_scan(void *priv, const uint64_t *words, unsigned from, unsigned end,
			uint64_t bits);

/* log.c */
void tdpi_host_log(void *priv, int level, const char *msg);

/* rcu_<flavour>.c */
extern const struct tdp_rcu_ops tdpi_host_rcu_memb;
extern const struct tdp_rcu_ops tdpi_host_rcu_mb;
extern const struct tdp_rcu_ops tdpi_host_rcu_qsbr;
extern const struct tdp_rcu_ops tdpi_host_rcu_bp;

#endif

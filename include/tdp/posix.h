/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file posix.h
 * Ready environments for a POSIX process: jemalloc for memory, liburcu for RCU, futex-like waiting.
 */
#ifndef TDP_POSIX_H
#define TDP_POSIX_H

#include <tdp/env.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * One environment per liburcu flavour; static, shared by any number of mms, never freed. Several flavours may
 * be used in one process. Threads register with env->rcu->thread_register() (bp: a no-op).
 * memb is the default choice. qsbr: an online thread is a reader all the time; go offline around long
 * waits (tdp_vcpu_guest_enter). At fork() no thread but the forking one may be registered (memb, mb, qsbr).
 */
TDP_API const struct tdp_env *tdp_posix_env_memb(void);
TDP_API const struct tdp_env *tdp_posix_env_mb(void);
TDP_API const struct tdp_env *tdp_posix_env_qsbr(void);
TDP_API const struct tdp_env *tdp_posix_env_bp(void);
/*
 * Where the process may use memory of several NUMA nodes, tables are taken near the thread that asks: env->node
 * is where it runs just now; the kernel, asked by MPOL_PREFERRED, takes other memory when there is none. Else
 * both hooks are NULL. tdp_trim() gives pages to the kernel (MADV_DONTNEED); a 2 MiB page that was used in part is
 * then no longer one, and its unused part is free when the kernel, short of memory, has split it.
 */
/** By name: "memb", "mb", "qsbr", "bp"; NULL for another. */
TDP_API const struct tdp_env *tdp_posix_env(const char *flavour);

/** Bytes of chunks and objects that these environments have handed out and not got back. */
TDP_API uint64_t tdp_posix_chunk_bytes(void);
TDP_API uint64_t tdp_posix_object_bytes(void);

/** Where log lines go; NULL: nowhere. Default: "libtdp: LEVEL: text" on standard error. */
TDP_API void tdp_posix_set_log(void (*log)(void *priv, int level, const char *msg), void *priv);

#ifdef __cplusplus
}
#endif
#endif

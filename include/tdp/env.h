/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file env.h
 * What the host gives to the library: memory, address translation, RCU, waiting, yielding, a log.
 *
 * The core calls nothing else (beyond memcpy, memset, memmove, memcmp). <tdp/posix.h> has ready
 * environments for a POSIX process; a hypervisor fills in its own.
 */
#ifndef TDP_ENV_H
#define TDP_ENV_H

#include <tdp/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Room for the host's RCU callback head; owned by the library between defer() and the callback. */
struct tdp_rcu_head {
	void *opaque[4];
	void (*fn)(struct tdp_rcu_head *head);
};

/**
 * Read-copy-update as a service. All members without "optional" must be set.
 *
 * `size` is sizeof(struct tdp_rcu_ops) as the caller compiled it. The table must outlive every mm
 * that uses it and may be in read-only memory. Several tables (flavours) may be used in one process,
 * each by other mms.
 */
struct tdp_rcu_ops {
	uint32_t size;
	uint32_t flags; /* must be 0 */
	/** Enter and leave a read-side section; they nest. Must not sleep, must not call the library. */
	void (*read_lock)(void);
	void (*read_unlock)(void);
	/** Optional: 1 inside a read-side section, 0 outside, for assertions. QSBR: 1 while online. */
	int (*read_ongoing)(void);
	/** Call fn(head) after every read-side section that runs now has ended. Never waits. */
	void (*defer)(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head));
	/** Wait for a grace period. Not inside a read-side section. */
	void (*synchronize)(void);
	/** Wait until every callback deferred before has run. Not inside a read-side section. */
	void (*barrier)(void);
	/** A thread registers before its first call that reads; the library never does it for one. */
	void (*thread_register)(void);
	void (*thread_unregister)(void);
	/** Optional (QSBR): the thread is no reader between offline and online (while in the guest). */
	void (*thread_offline)(void);
	void (*thread_online)(void);
	/** Optional: forwarded by tdp_before_fork() and its partners. */
	void (*before_fork)(void);
	void (*after_fork_parent)(void);
	void (*after_fork_child)(void);
};

/** RCU for one thread (or a stopped world): sections cost nothing, defer() calls at once. */
TDP_API extern const struct tdp_rcu_ops tdp_rcu_single;

/** env->node: no node is nearer than others. */
#define TDP_NODE_ANY 0xffffffffu
/** So many nodes are told apart; higher ones share their places: node n is n % TDP_NODES. */
#define TDP_NODES 8u

enum tdp_log_level { TDP_LOG_BUG = 0, TDP_LOG_WARN = 1, TDP_LOG_INFO = 2 };

/**
 * The host. `size` as compiled by the caller; missing members count as 0.
 *
 * Must outlive every mm made with it; read-only to the library. Every hook gets `priv` first. No hook
 * may call the library. Hooks marked [any] may be called with library locks held and must not sleep.
 */
struct tdp_env {
	uint32_t size;
	uint32_t flags; /* must be 0 */
	void *priv;

	/**
	 * Memory for tables comes in chunks of 1 << chunk_lg2 bytes, aligned to their size; contents
	 * need not be zero. The first pages of a chunk hold 64 bytes of metadata for each of its pages,
	 * so that the metadata of a table is found by arithmetic. 13..30, 0 means 21 (2 MiB). A format
	 * whose root is k pages long needs chunks of at least 2k pages. May sleep; NULL when there is
	 * no memory. chunk_free may be called from an RCU callback.
	 */
	void *(*chunk_alloc)(void *priv, uint64_t size);
	void (*chunk_free)(void *priv, void *chunk, uint64_t size);
	uint32_t chunk_lg2;
	uint32_t reserved; /* must be 0 */

	/** Objects (mm, vCPU, slots, bitmaps): zeroed, 64-byte aligned. May sleep; NULL: no memory. */
	void *(*obj_alloc)(void *priv, uint64_t size);
	void (*obj_free)(void *priv, void *obj, uint64_t size);

	/**
	 * Where the MMU sees a table: pa = (uintptr_t)va + linear_offset (modulo 2^64), the fast path;
	 * or, when virt_to_phys is set, what the two hooks [any] say (then both must be set).
	 */
	uint64_t linear_offset;
	tdp_pa_t (*virt_to_phys)(void *priv, const void *va);
	void *(*phys_to_virt)(void *priv, tdp_pa_t pa);

	const struct tdp_rcu_ops *rcu;

	/**
	 * Optional pair, futex-like: wait() may sleep while *word == value and may return early; wake()
	 * wakes every waiter on word. NULL: the library spins and calls relax().
	 */
	void (*wait)(void *priv, const uint32_t *word, uint32_t value);
	void (*wake)(void *priv, const uint32_t *word);
	/** Optional [any]: a pause hint while spinning. */
	void (*relax)(void *priv);

	/**
	 * Optional pair: should_yield() [any, cheap, asked between two tables of a long operation]
	 * returns non-zero when somebody else should run; yield() then may sleep. When yield() is called
	 * the library is in no read-side section, owes no flush and holds no lock that a fault, a zap, a
	 * harvest or a flush could wait for (calls that change memslots hold off others of their kind).
	 */
	int (*should_yield)(void *priv);
	void (*yield)(void *priv);

	/**
	 * Optional [any]: one line without newline. TDP_LOG_BUG comes once, when an mm becomes bugged; debug
	 * builds also name a broken rule of locking by it, right before they trap.
	 */
	void (*log)(void *priv, int level, const char *msg);

	/**
	 * Optional [any]: a table page leaves the free pool (in_use 1, before it is filled) or returns to
	 * it (in_use 0, after flush and grace period). For poisoning, sanitizers and census in tests.
	 */
	void (*table_state)(void *priv, void *va, uint64_t size, int in_use);

	/**
	 * Optional [any]: nanoseconds since whenever, never going back. Asked where somebody waits (struct
	 * tdp_stats: stalls) and by jobs with max_ns (<tdp/job.h>); nowhere else.
	 */
	uint64_t (*now)(void *priv);

	/**
	 * Optional [any]: the first of words [from, end) that has any of `bits` set, `end` if none has; for hosts
	 * that can look at many words at once, as the core itself uses no vector registers. words is 8-byte
	 * aligned, end at most 512. Others write there meanwhile, a word at a time: each word is read whole; one
	 * that changes may be seen as it was. Nothing is ordered by it.
	 */
	unsigned (*scan)(void *priv, const uint64_t *words, unsigned from, unsigned end,
			 uint64_t bits);

	/**
	 * Optional pair, for hosts whose memory is not equally near: node() [any] says near what the calling thread
	 * wants the tables that it makes (TDP_NODE_ANY: no wish); a vCPU's thread the node where it runs. Asked
	 * when tables are taken ahead of need, once for at most 64 of them, never by a fault that has
	 * its tables. chunk_alloc_on() is as chunk_alloc(), on that node; NULL when it has none there: then tables
	 * come from any other chunk, or from chunk_alloc(). chunk_free() takes both kinds. A wish makes nothing
	 * fail that would succeed without.
	 */
	uint32_t (*node)(void *priv);
	void *(*chunk_alloc_on)(void *priv, uint64_t size, uint32_t node);

	/**
	 * Optional [any]: bytes [from, end) of a chunk, whole pages, hold nothing that the library will read: a host
	 * that backs memory when it is first written can take what is there. Told by tdp_trim() only; what is
	 * written later must be kept again, without further notice.
	 */
	void (*chunk_unused)(void *priv, void *chunk, uint64_t size, uint64_t from, uint64_t end);
};

/** fork() with live mms: call around it; forwards to the RCU flavour (see tdp_mm_abandon). */
TDP_API void tdp_before_fork(const struct tdp_env *env);
TDP_API void tdp_after_fork_parent(const struct tdp_env *env);
TDP_API void tdp_after_fork_child(const struct tdp_env *env);

#ifdef __cplusplus
}
#endif
#endif

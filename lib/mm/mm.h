/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The objects of an mm and who owns them. Format-blind: nothing here knows what an entry looks like.
 * Locking is on one page in lib/LOCKING.md.
 */
#ifndef TDPI_MM_MM_H
#define TDPI_MM_MM_H

#include "base/assert.h"
#include "base/atomic.h"
#include "base/bits.h"
#include "base/entry.h"
#include "base/mem.h"
#include "mm/lock.h"

#include <tdp/backend.h>
#include <tdp/env.h>
#include <tdp/tdp.h>
#include <tdp/walk.h>

#define TDPI_META_SIZE 64u
#define TDPI_LINE 64
#define TDPI_TICKETS_LG2 6u
#define TDPI_TICKETS (1u << TDPI_TICKETS_LG2)

struct tdpi_engine;

/* ---- tables ---- */

enum tdpi_table_state {
	TDPI_TABLE_FREE = 0,  /* in the pool */
	TDPI_TABLE_CACHED,    /* taken, reachable by nobody else */
	TDPI_TABLE_LINKED,    /* reachable from a root */
	TDPI_TABLE_STALE,     /* cut off: waits for flush, collection and grace period */
	TDPI_TABLE_UNWRITTEN, /* the same, and was below what is shut: Dirty bits there are old */
};

/*
 * Metadata of one table page, 64 bytes, found by arithmetic from its address (mm/table.h). Everything
 * below the lock is changed only under it, or before the table is linked; `next` belongs to whichever
 * list the table is on.
 */
struct tdpi_table {
	uint32_t lock;
	uint16_t present; /* entries that are not EMPTY: leaves, tables, MMIO */
	uint16_t mmio;    /* of these, MMIO entries */
	uint8_t level;
	uint8_t state;     /* enum tdpi_table_state */
	uint16_t cuts;     /* tables cut off or merged here: a walk that had passed looks again */
	uint16_t removals; /* so far: tells a filler that its flush was in time */
	uint8_t cached;    /* levels of the leaves that vCPUs can have cached here (mm/gather.h) */
	uint8_t idle; /* while A of the parent entry is clear: nothing below is young (engine/idle.h) */
	uint64_t gfn;         /* of entry 0 */
	uint32_t role;        /* a tdp_role_t: all its fields are in 32 bits */
	uint32_t occupied;    /* parts of the entries in which something may stand (engine/set.h) */
	uint64_t owed;        /* ticket of the latest removal, 0: none ever (mm/gather.h) */
	tdpi_entry_t *parent; /* the entry that points here, NULL for a root */
	struct tdp_root *root;
	struct tdpi_table *next;
};
TDPI_STATIC_ASSERT(sizeof(struct tdpi_table) <= TDPI_META_SIZE, "metadata is one cache line");

/* Tables taken from the pool ahead of need, so that nothing is allocated under a lock. */
struct tdpi_cache {
	struct tdpi_table *list;
	uint32_t count;
};

/* ---- statistics ---- */

/* One per vCPU and one per ticket (one writer each), and one shared per mm (added to by atomics). */
struct tdpi_counts {
	uint64_t faults[TDP_FAULT_OUTCOMES];
	uint64_t fault_errors, fault_fast, fault_prechecked, resolves;
	uint64_t flush_range, flush_leaves, flush_all, flush_vcpu, flush_begun;
	uint64_t flush_cause[TDP_FLUSH_CAUSES], flush_op[TDP_OPS];
	uint64_t leaves[TDP_LEVELS_MAX]; /* differences: may wrap below zero, sums are exact */
	uint64_t tables[TDP_LEVELS_MAX];
	uint64_t mmio;
	uint64_t splits, collapses, root_hits, root_creates, yields;
};
#define TDPI_COUNTS_WORDS (sizeof(struct tdpi_counts) / sizeof(uint64_t))

/* ---- roots ---- */

struct tdp_root {
	struct tdp_mm *mm;
	tdp_role_t role;
	struct tdp_root *next;    /* RCU list; unlinked only when refs reached 0 */
	struct tdpi_table *table; /* of the first page; the others follow */
	tdpi_entry_t *entries;    /* likewise */
	uint32_t level, as_id;    /* as the role says */
	uint64_t generation;
	uint32_t invalid;
	uint32_t stopped; /* invalid, and no MMU can be walking from it any more */
	uint32_t torn;    /* teardown finished: the mm's reference is gone */
	/* Apart from what every fault reads. */
	_Alignas(TDPI_LINE) uint32_t refs; /* one is the mm's own, until invalid and torn down */
	uint32_t users; /* references taken with tdp_root_get() by the caller of the library */
	struct tdp_rcu_head rcu;
};

/* ---- memslots ---- */

struct tdpi_slot {
	uint32_t id;
	uint32_t as_id;
	tdpi_gfn_t base;
	uint64_t pages;
	uint64_t pfn; /* linear: frame of base */
	uint32_t prot;
	uint32_t flags;                        /* TDP_SLOT_*; changed with seq bumped */
	uint32_t log;                          /* enum tdp_log_mode; changed with seq bumped */
	uint32_t refs;                         /* who uses it by count; a removal waits for them */
	const struct tdp_backing_ops *backing; /* as given, to be told again */
	struct tdp_backing_ops ops;            /* resolve == NULL: linear */
	void *backing_arg;
	uint64_t backing_start;
	uint64_t *dirty; /* one bit per page, and more (mm/slot_log.c); from the first log on */
	uint64_t tracked_pages; /* with a count above 0, or an owner */
	uint8_t *owner;         /* per page, from the first use on; 0: the guest */
	uint16_t *tracked;      /* write-tracking count per page, from the first use on */
	uint32_t *tracked_huge[TDP_LEVELS_MAX]; /* such pages in each aligned huge page */
};

/* All slots of one address space, sorted by base; replaced as a whole. */
struct tdpi_slots {
	struct tdp_rcu_head rcu;
	struct tdp_mm *mm;
	uint64_t count;
	struct tdpi_slot *slot[];
};

/* ---- invalidation: what faults are checked against under their table lock (A4) ---- */

struct tdpi_invalidation {
	uint32_t lock;
	uint32_t running;
	uint64_t seq;
	tdpi_gfn_t start, end; /* covers all running ones; only grows while any is running */
};

/* ---- tickets: one per running operation that removes (mm/gather.h) ---- */

struct tdpi_ticket {
	uint64_t done; /* removals up to this number are flushed and collected */
	uint32_t busy;
	uint32_t collecting; /* cut-off tables hold dirty bits that no harvest sees yet */
	/* Of all operations that had it; written while busy. */
	_Alignas(TDPI_LINE) struct tdpi_counts counts;
};
TDPI_STATIC_ASSERT(offsetof(struct tdpi_ticket, counts) == TDPI_LINE &&
			   sizeof(struct tdpi_ticket) % TDPI_LINE == 0,
		   "no two tickets share a cache line");

/* ---- the mm ---- */

struct tdpi_chunk;

/*
 * Members that faults read lie apart from those that somebody writes: vCPUs that fault in different 2 MiB
 * regions write no common cache line, and have none taken away by who does something else.
 */
struct tdp_mm {
	/* Read only. */
	const struct tdpi_engine *engine;
	struct tdp_env env;
	struct tdp_rcu_ops rcu;
	struct tdp_backend_ops backend;
	void *backend_ctx;
	struct tdp_backend_caps caps;
	uint32_t flags, format, gpa_bits, levels, index_lg2, leaf_levels, ad, root_pages;
	uint32_t max_roots, mmio_gen_bits, vmid;
	uint64_t encrypt_mask, table_limit;
	uint64_t chunk_mask; /* chunk size - 1 */
	uint64_t pa_offset;  /* linear: pa = va + this, encryption bits included */

	/* Read by every fault, written by changes of slots and roots, and by invalidations. */
	_Alignas(TDPI_LINE) uint32_t bugged;
	uint32_t dying;
	uint64_t slot_generation;
	uint64_t reload_generation;
	uint32_t dbit_logs;       /* slots logged by Dirty bit: removals must hand their D over */
	uint32_t answers_awaited; /* a slot that leaves waits for vCPUs that ask its backing */
	uint32_t lazy;            /* something was armed lazily once (engine/lazy.h) */
	struct tdpi_slots *slots[TDP_AS_MAX];
	struct tdpi_slot *leaving; /* found by nobody, its mappings not all gone */
	/* A slot on its way from one place to another; read with seq checked afterwards. */
	struct tdpi_transit {
		uint32_t active, as_id;
		tdpi_gfn_t from, to;
		uint64_t pages;
	} transit;
	struct tdpi_invalidation inv;

	/* slot.c */
	_Alignas(TDPI_LINE) uint32_t slots_lock;
	uint32_t next_slot_id;
	uint32_t answers; /* moves with each answer while they are awaited */

	/* pool.c */
	_Alignas(TDPI_LINE) uint32_t pool_lock;
	uint32_t chunk_count;
	struct tdpi_chunk *chunks, *full_chunks;
	uint64_t tables_taken;

	/* retire.c */
	_Alignas(TDPI_LINE) uint32_t retire_lock;
	uint32_t retire_running;
	struct tdpi_table *retire_pending, *retire_inflight;
	uint64_t retired;
	struct tdp_rcu_head retire_rcu;

	/* root.c */
	_Alignas(TDPI_LINE) uint32_t roots_lock;
	uint32_t reload_lock; /* one invalidation of all roots at a time; outside roots_lock */
	uint32_t root_count;
	struct tdp_root *roots;
	uint64_t root_generation;

	/* vcpu.c */
	_Alignas(TDPI_LINE) uint32_t vcpus_lock;
	uint32_t vcpu_count;
	struct tdp_vcpu *vcpus;

	uint32_t marking; /* range.c: an age call that may change tdpi_table.idle is running */

	_Alignas(TDPI_LINE) struct tdpi_counts counts; /* of operations that belong to no vCPU */
	uint64_t stalls[TDP_STALL_BUCKETS];            /* how long faults waited, by powers of 2 */
	_Alignas(TDPI_LINE) struct tdpi_ticket tickets[TDPI_TICKETS];
};

struct tdp_vcpu {
	/* Written when vCPUs come and go, by others too. */
	struct tdp_mm *mm;
	struct tdp_vcpu *next, **prev;
	/* Its own thread's; others look at the counts, the root and what it asks. */
	_Alignas(TDPI_LINE) void *cookie;
	struct tdp_root *root; /* referenced */
	uint64_t loaded_generation;
	uint32_t as_id;
	uint32_t reserved;
	struct tdpi_cache cache;
	/* Found at last_generation: still there while that is current. */
	struct tdpi_slot *last_slot;
	uint64_t last_generation;
	struct tdpi_slot *asking; /* whose backing the fault under way asks; it stays as long */
	struct tdpi_counts counts;
};

/* A range in frames, within the guest-physical width. */
struct tdpi_span {
	tdpi_gfn_t start, end;
};

/* Mark the mm bugged, once, and say why. Every later call returns TDP_EIO. */
void tdpi_bug(struct tdp_mm *mm, const char *why);

/* TDP_OK, TDP_EINVAL (NULL), TDP_EIO, TDP_ESHUTDOWN. */
static inline int tdpi_mm_state(const struct tdp_mm *mm)
{
	if (!mm)
		return TDP_EINVAL;
	if (tdpi_unlikely(tdpi_load_relaxed(&mm->bugged)))
		return TDP_EIO;
	return tdpi_unlikely(tdpi_load_relaxed(&mm->dying)) ? TDP_ESHUTDOWN : TDP_OK;
}

/* The same where a call of the user's begins: outside read sections, nothing held. */
static inline int tdpi_mm_check(const struct tdp_mm *mm)
{
	if (mm)
		tdpi_lockcheck(&mm->env, TDPI_AT_BEGIN);
	return tdpi_mm_state(mm);
}

/* The same, plus as_id and range; fills *span. */
int tdpi_span_check(const struct tdp_mm *mm, uint32_t as_id, struct tdp_range range,
		    struct tdpi_span *span);

static inline unsigned tdpi_level_shift(const struct tdp_mm *mm, unsigned level)
{
	return mm->index_lg2 * level;
}

static inline uint64_t tdpi_level_pages(const struct tdp_mm *mm, unsigned level)
{
	return TDPI_BIT(tdpi_level_shift(mm, level));
}

static inline void tdpi_rcu_lock(const struct tdp_mm *mm)
{
	tdpi_lockcheck_enter();
	mm->rcu.read_lock();
}

static inline void tdpi_rcu_unlock(const struct tdp_mm *mm)
{
	tdpi_lockcheck_leave(&mm->env);
	mm->rcu.read_unlock();
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file walk.h
 * Looking: translate, walk, dump, explain, verify, statistics, roles and roots.
 *
 * Unless a call says otherwise. Context: thread registered with env->rcu. Locking: none is taken that a
 * fault could wait for long; may run beside everything else. Sleeps: no. Nothing is changed. What is
 * reported was true at some moment during the call.
 */
#ifndef TDP_WALK_H
#define TDP_WALK_H

#include <tdp/tdp.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one address ------------------------------------------------------------------------------- */

#define TDP_MAP_ACCESSED 0x01u
#define TDP_MAP_DIRTY 0x02u
#define TDP_MAP_TRACKED_ACCESS 0x04u /* present for the library, not for the MMU, until touched */
#define TDP_MAP_HOST_WRITABLE 0x08u  /* the backing permits writes */
#define TDP_MAP_MMU_WRITABLE 0x10u   /* a write fault may restore W by itself */

struct tdp_mapping {
	uint32_t size;
	uint32_t flags; /* TDP_MAP_* */
	tdp_gpa_t gpa;  /* start of the page */
	tdp_pa_t pa;    /* of the page, without encryption bits */
	uint32_t lg2;   /* of the page size */
	uint32_t prot;  /* TDP_R|W|XS|XU granted now (or when touched again), TDP_MT_*, TDP_SW() */
};
/** The leaf that maps gpa in the valid root of as_id. TDP_ENOENT: none. TDP_ERANGE: too high. */
TDP_API int tdp_translate(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa,
			  struct tdp_mapping *out);

enum tdp_entry_kind {
	TDP_ENTRY_EMPTY = 0,
	TDP_ENTRY_TABLE = 1,
	TDP_ENTRY_LEAF = 2,
	TDP_ENTRY_FROZEN = 3,
	TDP_ENTRY_MMIO = 4,
};

#define TDP_LEVELS_MAX 6
struct tdp_path {
	uint32_t size;
	uint8_t first_level; /* of the root table */
	uint8_t last_level;  /* of the last entry read; entries below it were not read and are 0 */
	uint8_t reserved[2];
	uint64_t entry[TDP_LEVELS_MAX]; /* by level, as stored */
	uint8_t kind[TDP_LEVELS_MAX];   /* enum tdp_entry_kind, by level */
	uint8_t reserved2[2];
};
/** All entries on the way to gpa. TDP_ENOENT: no root. */
TDP_API int tdp_walk_gpa(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, struct tdp_path *path);

/* ---- a range ----------------------------------------------------------------------------------- */

#define TDP_WALK_LEAF 0x1u       /* visit leaves */
#define TDP_WALK_TABLE_PRE 0x2u  /* visit a table entry before what is below it */
#define TDP_WALK_TABLE_POST 0x4u /* … and after it */
#define TDP_WALK_MMIO 0x8u       /* visit MMIO entries */

struct tdp_visit {
	tdp_gpa_t gpa;
	uint64_t entry; /* as stored */
	uint32_t level;
	uint32_t kind;  /* enum tdp_entry_kind */
	uint32_t when;  /* the TDP_WALK_* that this visit is */
	uint32_t lg2;   /* of what one entry of this level covers */
	tdp_pa_t pa;    /* leaf: output address; table: address of the table */
	uint32_t prot;  /* leaf only */
	uint32_t flags; /* leaf only: TDP_MAP_* */
};
/**
 * Visit entries in ascending order (pre-order for tables). fn runs inside a read-side section: it must not
 * sleep and may call nothing on this mm but tdp_translate(). Its answer: 0 go on, 1 skip what is below
 * (TABLE_PRE), negative: stop and return it.
 */
TDP_API int tdp_walk(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
		     int (*fn)(void *arg, const struct tdp_visit *visit), void *arg);

/**
 * Text: one line per run of equal, contiguous leaves, without newline. fn as in tdp_walk(). Permissions are
 * "rwx"; s or u instead of x: executable in supervisor or in user mode only.
 */
TDP_API int tdp_dump(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range,
		     int (*fn)(void *arg, const char *line), void *arg);
/**
 * Why gpa translates as it does, or not: each level decoded, the slot, why it is not writable.
 * Writes at most len bytes, always terminated; returns the length it would have needed, or a status.
 */
TDP_API int tdp_explain(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, char *buf, size_t len);

/* ---- all of it --------------------------------------------------------------------------------- */

struct tdp_report {
	uint32_t size;
	uint32_t errors; /* broken invariants found */
	uint64_t roots;  /* valid and invalid */
	uint64_t tables; /* reachable, roots included */
	uint64_t leaves[TDP_LEVELS_MAX];
	uint64_t mmio;
	uint64_t retired;   /* tables waiting for their grace period */
	uint64_t cached;    /* tables in vCPU caches */
	uint64_t allocated; /* tables out of the pool: == tables + retired + cached when quiet */
	char first[128];    /* the first broken invariant, in words */
};
/**
 * Check every invariant of every root. Returns 0 when all hold, TDP_EIO when not (the report says what).
 * Sums are exact when nothing else runs; beside other operations only what a table lock protects is judged.
 * Takes each table's lock in turn. Sleeps: may.
 */
TDP_API int tdp_verify(struct tdp_mm *mm, struct tdp_report *report);

/** Why a flush was needed. */
enum tdp_flush_cause {
	TDP_FLUSH_ZAP = 0,        /* mappings removed */
	TDP_FLUSH_TABLE = 1,      /* tables unlinked */
	TDP_FLUSH_PERMISSION = 2, /* a permission was taken away */
	TDP_FLUSH_DIRTY = 3,      /* dirty bits harvested or cleared */
	TDP_FLUSH_BREAK = 4,      /* break-before-make */
	TDP_FLUSH_OWED = 5,       /* somebody else's removal was not flushed yet */
	TDP_FLUSH_ROOT = 6,       /* roots invalidated or newly loaded */
	TDP_FLUSH_AGE = 7,        /* configured, or subtrees turned out idle */
	TDP_FLUSH_LOCAL = 8,      /* one vCPU, after a permission was given */
};
#define TDP_FLUSH_CAUSES 9

/*
 * Which call asked for a flush: name, and words to print. ZAP is tdp_zap_table(), too, SLOT all that changes slots;
 * a step of a job is the plain call; what a call does by means of others is still that call.
 */
#define TDP_OP_LIST(X)                                                                             \
	X(FAULT, "fault")                                                                          \
	X(POPULATE, "populate")                                                                    \
	X(ZAP, "zap")                                                                              \
	X(COMPACT, "compact")                                                                      \
	X(SLOT, "slot change")                                                                     \
	X(OWNER, "set_owner")                                                                      \
	X(ROOTS, "roots_invalidate")                                                               \
	X(LOAD, "vcpu_load")                                                                       \
	X(WRITE_PROTECT, "write_protect")                                                          \
	X(WRITE_TRACK, "write_track")                                                              \
	X(DIRTY_LOG, "dirty_log")                                                                  \
	X(DIRTY_HARVEST, "dirty_harvest")                                                          \
	X(DIRTY_CLEAR, "dirty_clear")                                                              \
	X(AGE, "age")                                                                              \
	X(SPLIT, "split")                                                                          \
	X(COLLAPSE, "collapse")

enum tdp_op {
#define TDP_OP_ENUM(name, text) TDP_OP_##name,
	TDP_OP_LIST(TDP_OP_ENUM)
#undef TDP_OP_ENUM
};
#define TDP_OPS 16
/** Its words ("write_protect"), "?" for a number that is none. Never NULL, static storage. Any context. */
TDP_API const char *tdp_op_name(uint32_t op);

#define TDP_STALL_BUCKETS 32

struct tdp_stats {
	uint32_t size;
	uint32_t reserved;
	uint64_t faults[TDP_FAULT_OUTCOMES]; /* by outcome */
	uint64_t fault_errors;
	uint64_t fault_fast; /* fixed without resolve() */
	uint64_t resolves;
	uint64_t flush_range, flush_all, flush_vcpu;
	uint64_t flush_cause[TDP_FLUSH_CAUSES]; /* one flush may have several */
	uint64_t leaves[TDP_LEVELS_MAX];        /* mapped now, by level */
	uint64_t tables[TDP_LEVELS_MAX];        /* linked now, by level, roots included */
	uint64_t mmio;                          /* MMIO entries now */
	uint64_t splits, collapses;
	uint64_t roots_valid, roots_invalid;
	uint64_t root_hits, root_creates;
	uint64_t table_bytes; /* of tables in use (linked, cached or waiting), 4K each */
	uint64_t chunk_bytes; /* taken from the host for tables, metadata included */
	uint64_t spare_bytes; /* of these, pages that could be tables and are none */
	/* Of table_bytes, on each node (env->node), modulo TDP_NODES; the last: nobody knows where. */
	uint64_t node_bytes[TDP_NODES + 1];
	uint64_t yields;
	/**
	 * How long faults (and populate) waited for somebody else: for a table's lock, or for a flush owed
	 * by others that they had to do first. stalls[i] waits took 2^i to 2^(i+1) - 1 ns (0: less than 2 ns; the
	 * last: or longer). All 0 without env->now().
	 */
	uint64_t stalls[TDP_STALL_BUCKETS];
	uint64_t fault_prechecked;  /* RETRY before a look-up or a lock: invalidated already */
	uint64_t flush_leaves;      /* of flush_range: could say of which levels (flush_leaves) */
	uint64_t flush_op[TDP_OPS]; /* of all three: by the call that asked for it */
	uint64_t flush_begun;       /* of range and all: in two halves, with work between them */
};
/** A snapshot; counters of running calls may be missing. */
TDP_API int tdp_stats(struct tdp_mm *mm, struct tdp_stats *stats);

/* ---- roles and roots --------------------------------------------------------------------------- */

/**
 * What makes two roots (or tables) interchangeable, as one word compared with ==:
 * bits 0..3 level, 4..7 format, 8..15 as_id, 16 hardware Accessed, 17 hardware Dirty, 18 direct
 * (always 1 here), 19..22 access (R, W, XS, XU; all set for direct tables), 23..26 levels, others 0.
 * Whether a root is invalid is not part of it.
 */
typedef uint64_t tdp_role_t;

/** The role of a root of this mm in an address space; 0 for an as_id out of range. */
TDP_API tdp_role_t tdp_role_root(const struct tdp_mm *mm, uint32_t as_id);
/** The same role at another level. */
TDP_API tdp_role_t tdp_role_at(tdp_role_t role, uint32_t level);
TDP_API uint32_t tdp_role_level(tdp_role_t role);
TDP_API uint32_t tdp_role_as(tdp_role_t role);
/** Names the fields in which two roles differ ("as_id 0 != 1"). As tdp_explain() for buf and len. */
TDP_API int tdp_role_diff(tdp_role_t a, tdp_role_t b, char *buf, size_t len);

struct tdp_root;
/**
 * The valid root with this role, found or made, with a reference for the caller.
 * TDP_EINVAL: not a role of this mm. TDP_ENOMEM, TDP_ENOSPC. Sleeps: may. Registered, outside sections.
 */
TDP_API int tdp_root_get(struct tdp_mm *mm, tdp_role_t role, struct tdp_root **root);
/** One more reference; TDP_ENOENT when the root is dead or invalid. Inside a section, or holding one. */
TDP_API int tdp_root_try_get(struct tdp_root *root);
/**
 * Give a reference back; 1 when it was the last. The mm itself holds one until the root is invalid and torn
 * down; dropping that one too many is refused with TDP_EIO and the mm becomes bugged. Sleeps: may.
 */
TDP_API int tdp_root_put(struct tdp_mm *mm, struct tdp_root *root);
/** How a walker would be given this root. */
TDP_API int tdp_root_view(struct tdp_mm *mm, struct tdp_root *root, struct tdp_root_view *view);
TDP_API bool tdp_root_is_invalid(const struct tdp_root *root);
/** Is pa (of a page that is or was a table of this mm) the first page of a live root? */
TDP_API bool tdp_is_root(struct tdp_mm *mm, tdp_pa_t pa);
/** gpa (with as_id in *as_id if not NULL) of entry `index` of a live table of this mm. TDP_ENOENT. */
TDP_API int tdp_table_gpa(struct tdp_mm *mm, tdp_pa_t table, uint32_t index, tdp_gpa_t *gpa,
			  uint32_t *as_id);
/** Levels that a format needs for gpa_bits, the forced number if that reaches; TDP_ERANGE, TDP_ENOTSUP. */
TDP_API int tdp_pick_levels(enum tdp_format format, const struct tdp_backend_caps *caps,
			    uint32_t gpa_bits, uint32_t forced);

#ifdef __cplusplus
}
#endif
#endif

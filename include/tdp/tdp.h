/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file tdp.h
 * The library: mm, vCPUs, memslots, faults, populate, zap, dirty logging, aging, huge pages.
 *
 * Rules that hold for every call here, unless its text says otherwise:
 *
 * Context:  the thread is registered with env->rcu and is not inside a read-side section.
 * Locking:  calls on one mm may run at once on any threads; a vCPU belongs to one thread at a time.
 * Sleeps:   may (table locks, flushes, env->yield). Never from a callback that the library made.
 * Fails:    negative enum tdp_status, then nothing has changed and no out-parameter is written.
 *           TDP_EINVAL: bad argument, unknown flag, non-zero reserved field. TDP_EIO: the mm is
 *           bugged. TDP_ESHUTDOWN: tdp_mm_destroy() has begun. These three are not repeated below.
 * Ordering: what a call promised holds for every MMU access that begins after it returned.
 *
 * Structures start with their size, set by their *_default() or by sizeof. A shorter one is zero
 * beyond its end; a longer one must be zero there, else TDP_E2BIG.
 *
 * Ownership: the caller owns configurations, descriptors (copied), bitmaps, env, ops and contexts
 * (borrowed until destroy); the library owns what it hands out as opaque pointers.
 */
#ifndef TDP_TDP_H
#define TDP_TDP_H

#include <tdp/backend.h>
#include <tdp/base.h>
#include <tdp/env.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tdp_mm;
struct tdp_vcpu;

/* ---- mm: one guest-physical memory ------------------------------------------------------------ */

/** Do not use the walker's Accessed/Dirty although it has them (EPT: EPTP bit 6 clear). */
#define TDP_MM_NO_HW_AD 0x01u
/** Zero a table page before it returns to the pool. */
#define TDP_MM_SCRUB 0x02u
/** Flush when aging cleared anything, also where the backend does not ask for it. */
#define TDP_MM_FLUSH_ON_AGE 0x04u
/** Make no MMIO entries: every MMIO fault takes the slot lookup. */
#define TDP_MM_NO_MMIO_CACHE 0x08u
/** Slot removal invalidates all roots instead of zapping the slot's range. */
#define TDP_MM_SLOT_ZAP_ALL 0x10u
/**
 * Aging passes idle subtrees by: where the MMU sets Accessed in the entries that point to tables, too (EPT and NPT,
 * with hardware A/D; else TDP_ENOTSUP). The answers are those that looking at every leaf would give.
 *
 * A call that clears, and finds that nothing was used in a table that it looked at from end to end, clears Accessed
 * above it: one flush (TDP_FLUSH_AGE) for the call, of all such tables (one more each time it gives way). The next call
 * looks at all of them once more; from then on each costs one entry, or nothing below a larger subtree that is idle,
 * until it is used. Tables in use cost no flush; one with MMIO entries never counts as idle. A fault that maps or
 * changes something goes once more over the entries above it. Of clearing calls that run at once, one finds what is
 * idle.
 */
#define TDP_MM_AGE_TABLES 0x20u

struct tdp_mm_config {
	uint32_t size;
	uint32_t flags;         /* TDP_MM_* */
	uint32_t format;        /* enum tdp_format */
	uint32_t gpa_bits;      /* guest-physical width; 0: as wide as format and backend can */
	uint32_t levels;        /* x86: 4 or 5; 0: the fewest that reach gpa_bits. Else must be 0 */
	uint32_t max_roots;     /* roots that may exist at once, 1..256; 0: 64 */
	uint32_t mmio_gen_bits; /* width of the MMIO generation, 3..16; 0: 16 */
	uint32_t vmid;          /* goes into the root's register value (arm64); else must be 0 */
	uint64_t table_limit;   /* bytes of table pages; 0: no limit */
	uint64_t
		encrypt_mask; /* x86: address bits set in every RAM leaf and table pointer (C-bit) */
	const struct tdp_env *env;
	const struct tdp_backend_ops *backend;
	void *backend_ctx;
};

/** A zeroed configuration with its size set; compiled in the caller. */
static inline struct tdp_mm_config tdp_mm_config_default(void)
{
	struct tdp_mm_config cfg = {0};
	cfg.size = (uint32_t)sizeof(cfg);
	return cfg;
}

/**
 * Make an mm: probes the backend, picks format and levels, allocates no table.
 * Format, backend and A/D mode never change afterwards.
 *
 * Context: any. Fails: TDP_ENOMEM; TDP_ENOTSUP when backend or format cannot do what cfg asks;
 * TDP_ERANGE for a gpa_bits or levels the format does not have; TDP_E2BIG.
 */
TDP_API int tdp_mm_create(const struct tdp_mm_config *cfg, struct tdp_mm **mm);

/**
 * Destroy an mm: all roots are torn down in bounded steps (env->yield between them) without flush,
 * then deferred frees are waited for (rcu->barrier).
 *
 * Every vCPU must be destroyed and no other call may be running or come later. Calls that begin while
 * it runs get TDP_ESHUTDOWN. Not from an RCU callback.
 * Returns 0, or TDP_EBUSY with nothing changed while vCPUs or roots taken with tdp_root_get() exist;
 * a positive number counts leaked tables (a bug in the library), and all is freed all the same.
 */
TDP_API int tdp_mm_destroy(struct tdp_mm *mm);

/** After fork(), in the child, instead of destroy: frees memory, touches no backend and no RCU. */
TDP_API void tdp_mm_abandon(struct tdp_mm *mm);

struct tdp_mm_info {
	uint32_t size;
	uint32_t flags; /* TDP_MM_* in force */
	uint32_t format;
	uint32_t gpa_bits;
	uint32_t levels;      /* of the root: a root table is at level levels - 1 */
	uint32_t index_lg2;   /* log2 of entries in a table */
	uint32_t leaf_levels; /* bit l: leaves at level l are used */
	uint32_t ad;          /* 1: hardware Accessed, 2: hardware Dirty */
	uint32_t root_pages;
	uint32_t bugged; /* 1: the mm is bugged */
};
/** What an mm turned out to be. Context: any. Sleeps: no. */
TDP_API int tdp_mm_info(const struct tdp_mm *mm, struct tdp_mm_info *info);

/** An upper bound for the bytes of tables that mapping `bytes` of guest memory at 4K can take. */
TDP_API uint64_t tdp_table_bytes_max(const struct tdp_mm *mm, uint64_t bytes);

/* ---- vCPU -------------------------------------------------------------------------------------- */

/**
 * Make a vCPU. `cookie` is the backend's own idea of it, handed to root_load and flush_vcpu.
 * It starts in address space 0 with no root loaded. Fails: TDP_ENOMEM.
 */
TDP_API int tdp_vcpu_create(struct tdp_mm *mm, void *cookie, struct tdp_vcpu **vcpu);
/** Unload its root (root_load with NULL), give back its cached tables, free it. NULL is nothing. */
TDP_API void tdp_vcpu_destroy(struct tdp_vcpu *vcpu);
/** Fill the vCPU's own table cache, so that one tdp_fault() cannot run out. Fails: TDP_ENOMEM. */
TDP_API int tdp_vcpu_topup(struct tdp_vcpu *vcpu);
/** Run in another address space from the next load on. Fails: TDP_ERANGE (as_id >= TDP_AS_MAX). */
TDP_API int tdp_vcpu_set_as(struct tdp_vcpu *vcpu, uint32_t as_id);
/**
 * Before entering the guest: make the vCPU use the valid root of its address space (found, or made),
 * and call root_load if that is not what it uses already. Cheap when nothing changed. When max_roots is
 * reached, trees that wait for tdp_roots_reclaim() are torn down first, all of them.
 * Fails: TDP_ENOMEM, TDP_ENOSPC (max_roots are in use), or what root_load returned; then no root is loaded.
 */
TDP_API int tdp_vcpu_load(struct tdp_vcpu *vcpu);
/** Around running the guest: takes a QSBR thread out of the set of readers and back. */
TDP_API void tdp_vcpu_guest_enter(struct tdp_vcpu *vcpu);
TDP_API void tdp_vcpu_guest_exit(struct tdp_vcpu *vcpu);

/* ---- memslots ---------------------------------------------------------------------------------- */

/** What resolve() found for one gpa. */
struct tdp_page {
	tdp_pa_t pa;     /* output address of the 4K page that holds gpa, 4K-aligned */
	uint32_t lg2;    /* 12, 21 or 30 (or between): the naturally aligned 1 << lg2 bytes of guest
			    memory around gpa are backed contiguously; lower is always right */
	uint32_t prot;   /* TDP_R|W|XS|XU permitted, TDP_MT_*, TDP_SW() */
	uint64_t cookie; /* the resolver's own, handed to release() */
};

/** release(): the page was mapped (else it was not used: lost race, stale, error). */
#define TDP_RELEASE_MAPPED 0x1u
/** release(): it was mapped writable. */
#define TDP_RELEASE_WRITABLE 0x2u

/**
 * Backing memory that is looked up when faulted on.
 *
 * resolve() is called with no lock held and outside read-side sections, so it may sleep; it may not call
 * the library on the same mm. want_lg2 is the largest size of use; `access` what the guest wanted (of a
 * fetch TDP_X, or only TDP_XS or TDP_XU).
 * Returns TDP_OK, TDP_EAGAIN (fault again later: RETRY), or a negative status for the fault to report.
 * What it found may go away: the owner then calls tdp_invalidate_begin(), tdp_zap(),
 * tdp_invalidate_end(), and no mapping made from an older answer survives or appears.
 *
 * release() (optional) is called exactly once for each resolve() that returned TDP_OK, before the call
 * that resolved returns; with no lock held. The library keeps no reference of its own: a mapping is
 * protected by the invalidation protocol, not by a count.
 */
struct tdp_backing_ops {
	uint32_t size;
	uint32_t flags; /* must be 0 */
	int (*resolve)(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		       struct tdp_page *page);
	void (*release)(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags);
};

/** Guest writes are not permitted: a write fault is TDP_FAULT_READONLY. */
#define TDP_SLOT_READONLY 0x1u
/** Never map larger than 4K. */
#define TDP_SLOT_FORCE_4K 0x2u

struct tdp_slot_desc {
	uint32_t size;
	uint32_t flags; /* TDP_SLOT_* */
	struct tdp_range gpa;
	tdp_pa_t pa;   /* linear slot: output address of gpa.start; unused with `backing` */
	uint32_t prot; /* linear slot: TDP_RWX subset | TDP_MT_* | TDP_SW(); 0: RWX, WB */
	uint32_t as_id;
	const struct tdp_backing_ops *backing; /* NULL: linear slot. Must outlive the slot */
	void *backing_arg;
	uint64_t backing_start; /* the owner's address of gpa.start, for tdp_backing_ranges() */
};

/**
 * Add a memslot. Slots of one address space never overlap (TDP_EEXIST). pa + size may not pass the
 * output width (TDP_ERANGE). Fails: TDP_ENOMEM. *id is never reused within an mm.
 * Faults that return after this see the slot; MMIO entries made before are void.
 */
TDP_API int tdp_slot_add(struct tdp_mm *mm, const struct tdp_slot_desc *desc, uint32_t *id);
/**
 * Remove a memslot. On return nothing of it can be reached by any MMU through any root, and neither
 * its backing ops nor their arg are in use. TDP_ENOENT: no such slot; TDP_ENOMEM.
 * Must not be called from resolve() or release().
 */
TDP_API int tdp_slot_remove(struct tdp_mm *mm, uint32_t id);
/**
 * Move a slot to another gpa (unmapped in between; faults meanwhile retry). Dirty bits move along. As add and
 * remove; TDP_EBUSY while pages of it are write-tracked or owned.
 */
TDP_API int tdp_slot_move(struct tdp_mm *mm, uint32_t id, tdp_gpa_t gpa);
/** Change TDP_SLOT_*; mappings that no longer conform are zapped before it returns. */
TDP_API int tdp_slot_set_flags(struct tdp_mm *mm, uint32_t id, uint32_t flags);
/** Copy the descriptor of the slot that holds gpa. TDP_ENOENT: none. Sleeps: no. */
TDP_API int tdp_slot_find(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *id,
			  struct tdp_slot_desc *desc);
/**
 * Call fn for every guest-physical range whose backing overlaps [start, start + size) in the owner's
 * addresses (backing_start). All slots, also aliases. fn may call tdp_zap() and friends.
 * Returns the first non-zero answer of fn, else 0. TDP_ENOMEM: nothing was called.
 */
TDP_API int tdp_backing_ranges(struct tdp_mm *mm, uint64_t start, uint64_t size,
			       int (*fn)(void *arg, uint32_t as_id, struct tdp_range range),
			       void *arg);

/* ---- faults ------------------------------------------------------------------------------------ */

enum tdp_fault_outcome {
	TDP_FAULT_FIXED = 0,    /* a mapping was made or changed: enter again */
	TDP_FAULT_SPURIOUS = 1, /* the mapping was there already: enter again */
	TDP_FAULT_RETRY = 2,    /* something changed meanwhile, nothing was done: enter again */
	TDP_FAULT_MMIO = 3,     /* no slot there: emulate */
	TDP_FAULT_READONLY = 4, /* a write to a read-only slot: emulate, or tell the guest */
	TDP_FAULT_TRACKED = 5,  /* a write to a page under tdp_write_track(): emulate */
};
#define TDP_FAULT_OUTCOMES 6

/* struct tdp_fault flags: what the hardware said. All are hints except PREFETCH and SIZE. */
#define TDP_FAULT_PRESENT 0x01u     /* a translation was present (permission fault) */
#define TDP_FAULT_RSVD 0x02u        /* reserved bit or misconfiguration */
#define TDP_FAULT_ACCESS_FLAG 0x04u /* arm64 Access flag fault */
#define TDP_FAULT_WALK 0x08u        /* on an access to a guest page table */
#define TDP_FAULT_GVA 0x10u         /* gva is valid */
#define TDP_FAULT_SIZE 0x20u        /* arm64 address size fault: answered with TDP_ERANGE */
#define TDP_FAULT_PREFETCH 0x40u    /* not a fault: map if nothing is there, as not accessed */

/** Read during the call, and more than once: never in memory that a guest can write. */
struct tdp_fault {
	uint32_t size;   /* 0 counts as the whole structure */
	uint32_t flags;  /* TDP_FAULT_* */
	tdp_gpa_t gpa;   /* need not be aligned */
	uint32_t access; /* TDP_R, TDP_W, TDP_X (or TDP_XS, TDP_XU) or several */
	uint32_t reserved;
	uint64_t gva; /* with TDP_FAULT_GVA; not used by the library */
};

/**
 * What a fault did. Outcomes FIXED and SPURIOUS: the leaf. Other outcomes, and failures of the backing or of
 * memory: where (gpa, lg2 12) and in which slot; the rest is 0. Not written for TDP_EINVAL, TDP_ERANGE,
 * TDP_EIO, TDP_ESHUTDOWN and TDP_ENOENT for a vCPU without root.
 */
struct tdp_fault_result {
	uint32_t size;
	uint32_t lg2;  /* log2 of the page size of the leaf */
	tdp_gpa_t gpa; /* of the page */
	tdp_pa_t pa;   /* of the page */
	uint32_t prot; /* of the leaf now */
	uint32_t slot; /* id, or ~0 */
};

/**
 * Handle a second-stage fault in the vCPU's address space.
 *
 * It is mended when the leaf grants every bit of `access`. So a fetch as TDP_X asks for execution in both modes:
 * right where modes are not told apart. Of memory that is executable in one mode only it is refused
 * (TDP_EACCES), so with TDP_CAP_EXEC_BY_MODE say TDP_XS or TDP_XU, as the guest fetched (see decode.h).
 *
 * Returns an outcome >= 0, or: TDP_ERANGE gpa beyond the guest-physical width, nothing is mapped;
 * TDP_EACCES the memory does not permit this access (execute of a no-execute page, …); TDP_ENOMEM;
 * TDP_ENOENT no root is loaded; TDP_EEXIST the backing says another page than the one mapped, without an
 * invalidation; or what resolve() returned.
 * Locking: takes at most a few table locks, one chain; waits only for their holders. resolve() is called
 * outside all of them. Allocates only from the vCPU's cache, which it tops up before anything is locked.
 * Ordering: a fault that lost a race against an invalidation installs nothing (RETRY). Where that can be seen
 * beforehand it neither asks the backing nor waits for a lock.
 * result may be NULL.
 */
TDP_API int tdp_fault(struct tdp_vcpu *vcpu, const struct tdp_fault *fault,
		      struct tdp_fault_result *result);

/** populate: TDP_EEXIST if anything in the range is mapped already (checked first). */
#define TDP_POPULATE_STRICT 0x1u
/** populate: as if read only, so that the first write still faults. */
#define TDP_POPULATE_READ 0x2u
/** populate: mark accessed (by default prefetched pages are old until the guest uses them). */
#define TDP_POPULATE_YOUNG 0x4u

/**
 * Map all of a range in one go, present entries are left as they are.
 * Tables are allocated first: TDP_ENOMEM changes nothing. Fails later only by resolve() (its status, TDP_EAGAIN
 * too), TDP_ENOENT for memory in no slot, or TDP_EAGAIN when roots were invalidated meanwhile; then what comes
 * before *done (bytes from start) is mapped. done may be NULL. Huge pages are used where a fault would use
 * them, so more than the range may be mapped at both ends.
 */
TDP_API int tdp_populate(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
			 uint64_t *done);

/* ---- zap and invalidation ---------------------------------------------------------------------- */

/** zap: a huge page that is only partly in the range is dropped whole; never fails with ENOMEM. */
#define TDP_ZAP_LAZY 0x1u
/** zap: TDP_ENOENT if a page of the range is not mapped (checked first). */
#define TDP_ZAP_STRICT 0x2u
/** zap: remember in the empty entry that the page was young; a refault restores it (no prefetch age). */
#define TDP_ZAP_KEEP_YOUNG 0x4u
/** zap: never call env->yield (callers that may not sleep for long). */
#define TDP_ZAP_NOYIELD 0x8u

/**
 * Unmap exactly a range in every root, valid or not. A huge page that is only partly inside is split.
 * On return nothing that was mapped there can be reached, flushes owed by others included, and tables that
 * lay wholly inside are on their way to be freed. Dirty pages of logged slots stay in the log.
 * A table that is only partly inside stays, empty or not; faults below it make small pages until
 * tdp_compact() or a zap of all of it.
 * Fails: TDP_ENOMEM (a split was needed), nothing changed; not with whole huge pages or LAZY.
 */
TDP_API int tdp_zap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags);

/**
 * Backing memory is about to go: from here to the matching end no fault installs what it covers.
 * Then tdp_zap() the range, then free the memory, then end. May nest and overlap.
 * end: TDP_EINVAL when no begin is open for it. Sleeps: no.
 */
TDP_API int tdp_invalidate_begin(struct tdp_mm *mm, struct tdp_range range);
TDP_API int tdp_invalidate_end(struct tdp_mm *mm, struct tdp_range range);

/**
 * Zap everything, fast: every root becomes invalid and every vCPU stops using it (backend reload)
 * before this returns; each needs tdp_vcpu_load() to go on. Costs as much as there are roots. The old
 * trees wait for tdp_roots_reclaim().
 */
TDP_API int tdp_roots_invalidate(struct tdp_mm *mm);
/**
 * Tear down invalid roots, at most about `max_tables` tables (0: all, with env->yield between steps).
 * No flush is needed. Returns 1 when there is more to do, else 0. A root that a vCPU or a tdp_root_get() still
 * holds stays, empty, until it is let go.
 */
TDP_API int tdp_roots_reclaim(struct tdp_mm *mm, uint64_t max_tables);

/** Unlink one table page (not a root: TDP_EINVAL) by its address. TDP_ENOENT: not a live table here. */
TDP_API int tdp_zap_table(struct tdp_mm *mm, tdp_pa_t table);
/** Free tables in the range that map nothing. Returns how many, or a status. */
TDP_API int tdp_compact(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range);
/**
 * Give to the host what no table uses: whole chunks (chunk_free), and pages of others (env->chunk_unused, if it is
 * there), metadata of theirs included. *bytes (may be NULL): how much; what was told of before and has not been
 * used since is told again only when more of its chunk has come free. For a VM whose working set is known, or a
 * host short of memory: tables are taken from there as before. What waits for a grace period, or in
 * vCPUs for their next fault, stays. Any thread, beside anything; holds off who takes or returns tables for one
 * chunk at a time. Allocates nothing, changes no mapping; fails only for a bad mm.
 */
TDP_API int tdp_trim(struct tdp_mm *mm, uint64_t *bytes);

/* ---- write protection and dirty logging -------------------------------------------------------- */

/**
 * Take write permission from every leaf in the range; the next write faults and gets it back.
 * Huge pages that are only partly inside are split (TDP_ENOMEM). One flush if anything is mapped there, also
 * when none of it was writable: somebody may have taken W a moment ago and not flushed yet.
 */
TDP_API int tdp_write_protect(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range);
/**
 * Count up (on) or down the write tracking of each page of the range. Writes to a tracked page fault
 * with TDP_FAULT_TRACKED (also where the backing would not permit them). Fails: TDP_ENOENT not all in slots;
 * TDP_ENOSPC over 65535 or below 0; TDP_ENOMEM. Flushed before it returns.
 */
TDP_API int tdp_write_track(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, bool on);

/**
 * Give pages to somebody else (owner 1..255) or back (0): a page with an owner is not mapped and no fault maps
 * it (TDP_EACCES), whatever is zapped or invalidated meanwhile. On return the range is unmapped if owner is
 * not 0. Kept beside the slot, not in the tables, so it lives as long as the slot; huge pages do not cover owned
 * ones. Fails: TDP_ENOENT not all in slots; TDP_ENOMEM; nothing changed then.
 */
TDP_API int tdp_set_owner(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range,
			  uint32_t owner);
/** Who owns the page of gpa; 0: the guest of this mm. TDP_ENOENT: no slot. Sleeps: no. */
TDP_API int tdp_get_owner(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *owner);

enum tdp_log_mode {
	TDP_LOG_OFF = 0,
	TDP_LOG_AUTO = 1,   /* DBIT where the MMU sets Dirty, else WRPROT */
	TDP_LOG_WRPROT = 2, /* by write protection: one fault per page and round */
	TDP_LOG_DBIT = 3, /* by the Dirty bit: no fault per page. TDP_ENOTSUP without hardware D */
};
/** Start with every page dirty instead of none. */
#define TDP_LOG_INITIALLY_SET 0x100u
/** Split huge pages now instead of at the first write to each. TDP_ENOMEM: logging is not on. */
#define TDP_LOG_EAGER_SPLIT 0x200u
/** With OFF: rebuild huge pages now (tdp_collapse over the slot). */
#define TDP_LOG_RECOVER 0x400u
/**
 * Arm in microseconds, whatever the slot's size: one permission is taken high up in the tables, and the rest is done
 * table by table when somebody writes there. For formats in which entries that point to tables carry permissions (EPT
 * and NPT; else TDP_ENOTSUP).
 *
 * The first write below a table faults, also where logging by Dirty bit takes no fault otherwise: once for each table
 * of 4K pages (2 MiB) that is written to, in which all is armed then, and above these once for 1 GiB and once for
 * 512 GiB, each in the same fault and with a flush of that range. Lookups say what the MMU would: where nobody has
 * written yet nothing is writable, nor dirty. With INITIALLY_SET nothing is armed, so nothing is lazy. After OFF the
 * first write below what is still shut faults once more.
 */
#define TDP_LOG_LAZY 0x800u

/**
 * Switch dirty logging of a slot. From the return on, every guest write is in the log (superset rule:
 * what a harvest returned is reported again if written after that harvest began to clear it).
 * Fails: TDP_ENOENT, TDP_ENOTSUP, TDP_ENOMEM, TDP_EEXIST when it is on in another mode.
 */
TDP_API int tdp_dirty_log(struct tdp_mm *mm, uint32_t slot, uint32_t mode);
/**
 * Return and clear: bit i of bitmap is page first_page + i of the slot (4K pages). first_page is a
 * multiple of 64; bits beyond the slot's end are 0. One flush if any bit was set, before it returns.
 * Waits for a collapse or cut-off under way there, so that no write is lost. (DBIT: a dirty huge page, left
 * from before by INITIALLY_SET, of which only a part is harvested is reported again as a whole.)
 * Fails: TDP_ENOENT no slot or not logging; TDP_ERANGE first_page or words beyond the slot's last word.
 */
TDP_API int tdp_dirty_harvest(struct tdp_mm *mm, uint32_t slot, uint64_t first_page,
			      uint64_t *bitmap, size_t words);
/** Return without clearing (for a later clear by range or mask). As harvest; no flush. */
TDP_API int tdp_dirty_get(struct tdp_mm *mm, uint32_t slot, uint64_t first_page, uint64_t *bitmap,
			  size_t words);
/** Clear pages [first_page, first_page + pages) of a slot. One flush if any was dirty. */
TDP_API int tdp_dirty_clear(struct tdp_mm *mm, uint32_t slot, uint64_t first_page, uint64_t pages);
/** Clear the pages first_page + i whose bit i is set in mask (0: none). first_page: multiple of 64. */
TDP_API int tdp_dirty_clear_mask(struct tdp_mm *mm, uint32_t slot, uint64_t first_page,
				 uint64_t mask);
/** Record a write by the host itself into a slot that is logged (no-op if not). Sleeps: no. */
TDP_API int tdp_dirty_mark(struct tdp_mm *mm, uint32_t slot, uint64_t first_page, uint64_t pages);

/* ---- aging ------------------------------------------------------------------------------------- */

/**
 * Clear Accessed in the range and count pages (of any size) that were young. No flush (unless
 * configured, and but for TDP_MM_AGE_TABLES): a page whose translation a TLB still holds can look old.
 * Only valid roots.
 * young may be NULL. Returns 1 if any was young, else 0, or a status.
 */
TDP_API int tdp_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint64_t *young);
/** 1 at the first young page found, else 0. Changes nothing. */
TDP_API int tdp_test_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range);
/**
 * Bit i of bitmap: 4K page i of the range is covered by a young leaf. With clear, as tdp_age().
 * words must be exactly range.size / 4096 / 64 rounded up. Returns 1 or 0 as tdp_age().
 * For how long pages have been idle: TDP_JOB_AGE with ages (job.h).
 */
TDP_API int tdp_age_bitmap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, bool clear,
			   uint64_t *bitmap, size_t words);

/* ---- huge pages -------------------------------------------------------------------------------- */

/**
 * Split every huge page that overlaps the range until none is larger than 1 << lg2, a page size of the
 * format (12 or 21; TDP_EINVAL for one that is none). Translations and permissions stay; no MMU sees a
 * hole (formats with break-before-make: a fault, which waits). Fails: TDP_ENOMEM, nothing changed (but for
 * what others made huge meanwhile).
 */
TDP_API int tdp_split(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t lg2);

/** collapse: zap the small pages and let a fault make the huge one, instead of in place. */
#define TDP_COLLAPSE_ZAP 0x1u

/**
 * Replace tables of small pages by one huge page wherever all of them are present, contiguous in
 * guest and output space, alike in attributes, in one slot that permits it and is not logged. The huge
 * page is writable only if all small ones were (else its first write faults and gets W back), and where the
 * MMU sets Accessed it starts young, since some small page may just have been used.
 * One flush per batch. collapsed (may be NULL) counts huge pages made. Allocates nothing.
 */
TDP_API int tdp_collapse(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
			 uint64_t *collapsed);
/** The largest page (log2) that a fault on gpa may use: slot bounds, congruence, tracking, logging. */
TDP_API int tdp_max_lg2(struct tdp_mm *mm, uint32_t as_id, tdp_gpa_t gpa, uint32_t *lg2);

#ifdef __cplusplus
}
#endif
#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file backend.h
 * What a walker (the MMU, or whatever stands in for it) gives: capabilities, root load, flushes.
 *
 * Implement struct tdp_backend_ops once per kind of walker; <tdp/emu.h> is a complete example.
 */
#ifndef TDP_BACKEND_H
#define TDP_BACKEND_H

#include <tdp/base.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Entry formats that this library can write. Levels and root size follow from gpa_bits. */
enum tdp_format {
	TDP_FMT_EPT = 1,   /* Intel EPT, 4 or 5 levels (SDM vol. 3C, 29.3) */
	TDP_FMT_NPT = 2,   /* AMD nested paging, long mode, 4 or 5 levels (APM vol. 2, 15.25) */
	TDP_FMT_S2_4K = 3, /* Arm VMSAv8-64 stage 2, 4 KiB granule (DDI 0487, D8) */
	TDP_FMT_TEST = 4,  /* the hostile format, for tests (lib/fmt/test.h) */
};
#define TDP_FMT_COUNT 5 /* one more than the largest */

/** The MMU sets Accessed by itself (EPT: EPTP bit 6 together with DIRTY; arm64: VTCR_EL2.HA). */
#define TDP_CAP_HW_ACCESSED 0x01u
/** The MMU sets Dirty by itself (arm64: VTCR_EL2.HD with DBM). Needs HW_ACCESSED. */
#define TDP_CAP_HW_DIRTY 0x02u
/** Leaves without R but with X are legal (IA32_VMX_EPT_VPID_CAP bit 0; arm64 always). */
#define TDP_CAP_EXEC_ONLY 0x04u
/** A second-stage fault drops the faulting vCPU's own cached translation of that address (x86). */
#define TDP_CAP_FAULT_INVALIDATES 0x08u
/** flush_range is cheaper than flush_all; otherwise the library only uses flush_all. */
#define TDP_CAP_RANGE_FLUSH 0x10u
/** The walker really walks the library's tables (not a mirror of them). */
#define TDP_CAP_WALKS_TABLES 0x20u
/** Aging must flush (the walker keeps young translations too long to be useful otherwise). */
#define TDP_CAP_FLUSH_ON_AGE 0x40u
/**
 * Every vCPU looks at TDP_XS and TDP_XU apart: EPT with "mode-based execute control" on in the VMCS of each;
 * arm64 with FEAT_XNX. Formats that cannot say it ignore the flag.
 */
#define TDP_CAP_EXEC_BY_MODE 0x80u

struct tdp_backend_caps {
	uint32_t size;
	uint32_t flags;       /* TDP_CAP_* */
	uint32_t leaf_levels; /* bit l: leaves at level l (0: 4K, 1: 2M, 2: 1G) are walked */
	uint8_t gpa_bits;     /* widest guest-physical address */
	uint8_t pa_bits;      /* width of an output address */
	uint8_t max_levels;   /* 4 or 5 (x86) */
	uint8_t bbm_level;    /* arm64: FEAT_BBM level 0..2; others: ignored */
};

/** root_load: drop every translation cached for this vCPU under any root before using this one. */
#define TDP_ROOT_FLUSH 0x1u

/** A root as a walker needs it. */
struct tdp_root_view {
	uint32_t size;
	uint32_t flags;      /* TDP_ROOT_* */
	tdp_pa_t pa;         /* of the root table (of the first one if concatenated) */
	uint64_t hw[2];      /* EPTP, 0 | nCR3, 1 if 5 levels | VTTBR_EL2, VTCR_EL2 | test: pa, levels */
	uint64_t generation; /* differs for any two roots of an mm, also for one reused page */
	uint32_t format;     /* enum tdp_format */
	uint16_t as_id;
	uint8_t levels;
	uint8_t pages; /* concatenated root pages, 1..16 */
};

/** Flushes that one thread has begun and not waited for (flush_begin below). */
#define TDP_FLUSHES_BEGUN_MAX 4

/**
 * A walker. `size` as compiled by the implementer; must outlive every mm that uses it.
 *
 * No op may call the library. Flushes cannot fail. flush_* may be called with one table lock held
 * (break-before-make), so they must not wait for a thread that is inside the library; they may wait
 * for vCPUs that are in the guest.
 */
struct tdp_backend_ops {
	uint32_t size;
	uint32_t flags; /* must be 0 */
	const char *name;
	/** Fill *caps (size is set by the caller) for a format; negative status: format not walked. */
	int (*probe)(void *ctx, enum tdp_format format, struct tdp_backend_caps *caps);
	/**
	 * Called by tdp_vcpu_load() on the vCPU's thread when its root changed, and with NULL when it
	 * must stop using any (destroy). May sleep. A negative status is handed to the caller of load.
	 */
	int (*root_load)(void *ctx, void *vcpu_cookie, const struct tdp_root_view *root);
	/**
	 * On return no vCPU holds a translation, or a cached pointer to a table, that overlaps range
	 * and was read before the call; walks that were under way have ended.
	 */
	void (*flush_range)(void *ctx, struct tdp_range range);
	void (*flush_all)(void *ctx);
	/**
	 * Optional: the same for one vCPU, called on its thread. NULL: flush_range is used, or flush_all where
	 * TDP_CAP_RANGE_FLUSH is missing.
	 */
	void (*flush_vcpu)(void *ctx, void *vcpu_cookie, struct tdp_range range);
	/**
	 * On return no vCPU walks from a root loaded before the call: each one that was in the guest has
	 * left, and none enters before its next root_load. Everything cached from roots is dropped.
	 */
	void (*reload)(void *ctx);
	/** Optional: make [va, va + len) of a table visible to a walker that does not snoop caches. */
	void (*table_sync)(void *ctx, const void *va, uint64_t len);
	/**
	 * Optional: flush_range() that may spare what did not change: only leaves did, and bit l of `levels` (never 0)
	 * is set if vCPUs can have cached some of level l (0: 4K) in range. On return no vCPU holds a translation
	 * by a leaf of these levels that overlaps range and was read before the call, one combined with the guest's
	 * own tables included; walks that were under way have ended. Other leaves and pointers to tables may stay.
	 * With Arm's FEAT_TTL: one bit is TTL 4 + (3 - l), several are TTL 0; flush_range() is TTL 0 as well.
	 * NULL: flush_range is used. Not called without TDP_CAP_RANGE_FLUSH.
	 */
	void (*flush_leaves)(void *ctx, struct tdp_range range, uint32_t levels);
	/**
	 * Optional pair (both or none): a flush in two halves, so that a zap walks the next root while vCPUs flush
	 * what it removed from the one before. flush_begin() asks for it and gives it a name, any number. When
	 * flush_wait() has returned for that token, all is true that flush_leaves (levels not 0), flush_range (levels
	 * 0) or flush_all (range.size 0) promise of a call at the time of flush_begin().
	 *
	 * Ordering: what the library wrote before flush_begin() is visible to whoever has served it; between the halves
	 * a vCPU may serve it as early or as late as it likes. Other flushes and reloads come in between, and neither
	 * wait for it nor replace it.
	 * Context: no table lock held. flush_begin() waits for no vCPU, and can be called inside a read-side section;
	 * flush_wait() is not, it may sleep until those that are in the guest have left.
	 * Limits: one thread has TDP_FLUSHES_BEGUN_MAX outstanding at most, and waits for each of them once, in any
	 * order, before its call of the library returns or gives way (env.yield); any number of threads do so at once.
	 * Neither can fail: a flush_begin() that has no room to remember one does it there and then.
	 * NULL: one of the flushes above for all roots; they are also used for what is left when the last one has been
	 * walked, and where nothing is to do meanwhile.
	 */
	uint64_t (*flush_begin)(void *ctx, struct tdp_range range, uint32_t levels);
	void (*flush_wait)(void *ctx, uint64_t token);
};

#ifdef __cplusplus
}
#endif
#endif

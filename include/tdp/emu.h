/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file emu.h
 * The emulated walker: vCPUs that walk second-stage tables in this process, the referee of the engine.
 *
 * It decodes EPT, NPT, arm64 stage 2 and the test format from the manuals by itself and shares no code
 * with the library's core. Its TLBs and walk caches keep everything until a flush that truly covers it, so
 * what real hardware may do at worst happens here every time.
 *
 * Threads: an emu may have many vCPUs; each is used by one thread at a time; flushes come from any.
 */
#ifndef TDP_EMU_H
#define TDP_EMU_H

#include <tdp/backend.h>
#include <tdp/tdp.h>

#ifdef __cplusplus
extern "C" {
#endif

struct tdp_emu;
struct tdp_emu_vcpu;

/** The backend; ctx is a struct tdp_emu *, a vCPU cookie a struct tdp_emu_vcpu *. */
TDP_API extern const struct tdp_backend_ops tdp_emu_backend;

/** Capabilities to leave out (same bits as TDP_CAP_*): e.g. TDP_CAP_HW_DIRTY. */
struct tdp_emu_config {
	uint32_t size;
	uint32_t flags;        /* TDP_EMU_* */
	uint32_t without_caps; /* TDP_CAP_* that this machine lacks */
	uint32_t with_caps;    /* beyond the default: FLUSH_ON_AGE, EXEC_BY_MODE (not NPT) */
	uint32_t leaf_levels;  /* 0: all of the format */
	uint32_t gpa_bits;     /* 0: x86 52 (with 5 levels; 48 with 4), arm64 48, test 32 */
	uint32_t pa_bits;      /* 0: 52 (arm64 48, test 48) */
	uint32_t max_levels;   /* x86: 4 or 5; 0: 5 */
	uint32_t bbm_level;    /* arm64: 0..2 */
	uint32_t reserved;
	/**
	 * Where table (and guest page-table) memory at pa can be read and A/D written; NULL when nothing is
	 * there (a bus error, reported as a violation). NULL hook: pa is the address itself.
	 */
	void *(*mem)(void *arg, tdp_pa_t pa);
	void *mem_arg;
	/**
	 * Called when an access breaks a rule (walk through a forbidden table, hit on a forbidden page, two
	 * translations of one address at once). NULL: counted only. what is static text. It runs inside the
	 * access and may not call the emu. A forbidden table is not read: the access ends as a bus error.
	 */
	void (*violation)(void *arg, const char *what, tdp_gpa_t gpa, tdp_pa_t pa);
	void *violation_arg;
};
/** TLB and walk cache off: every access walks. */
#define TDP_EMU_NO_TLB 0x1u
/** Check that two vCPUs never hold different translations of one gpa (slow). */
#define TDP_EMU_CHECK_TWINS 0x2u

static inline struct tdp_emu_config tdp_emu_config_default(void)
{
	struct tdp_emu_config cfg = {0};
	cfg.size = (uint32_t)sizeof(cfg);
	return cfg;
}

/** cfg may be NULL. Fails: TDP_ENOMEM, TDP_EINVAL. Destroy: after all its vCPUs and mms. */
TDP_API int tdp_emu_create(const struct tdp_emu_config *cfg, struct tdp_emu **emu);
TDP_API void tdp_emu_destroy(struct tdp_emu *emu);
TDP_API int tdp_emu_vcpu_create(struct tdp_emu *emu, struct tdp_emu_vcpu **vcpu);
TDP_API void tdp_emu_vcpu_destroy(struct tdp_emu_vcpu *vcpu);

enum tdp_emu_reason {
	TDP_EMU_OK = 0,
	TDP_EMU_RELOAD = 1,        /* no root is loaded (any more): tdp_vcpu_load() and again */
	TDP_EMU_EPT_VIOLATION = 2, /* raw.ept */
	TDP_EMU_EPT_MISCONFIG = 3, /* raw.ept.gpa only */
	TDP_EMU_NPF = 4,           /* raw.npf */
	TDP_EMU_S2_ABORT = 5,      /* raw.s2 */
	TDP_EMU_TEST_FAULT = 6,    /* raw.test */
	TDP_EMU_GUEST_FAULT = 7,   /* the guest's own stage-1 tables refuse: raw.guest */
	TDP_EMU_BUS_ERROR = 8,     /* a table or guest page table is where no memory is */
};

/** What one access did, as the architecture reports it. */
struct tdp_emu_exit {
	uint32_t reason; /* enum tdp_emu_reason */
	uint32_t lg2;    /* OK: log2 of the smallest page size on the way (TLB entry) */
	tdp_pa_t pa;     /* OK: output byte address */
	tdp_gpa_t gpa;   /* OK: guest-physical byte address (differs from the argument for gva) */
	uint32_t refs;   /* table entries read for this access, both dimensions; 0: TLB hit */
	uint32_t prot;   /* OK: TDP_R|W|XS|XU of the translation used */
	/**
	 * Second-stage fault of a fetch, with TDP_CAP_EXEC_BY_MODE: TDP_XS or TDP_XU, what the guest needed (what a
	 * VMM learns from SPSR_EL2.M, or from the guest's tables). Else 0.
	 */
	uint32_t fetch;
	uint32_t reserved;
	union {
		struct {
			uint64_t qualification, gpa, gla;
		} ept;
		struct {
			uint64_t exitinfo1, exitinfo2;
		} npf;
		struct {
			uint64_t esr, hpfar, far;
		} s2;
		struct {
			uint64_t code, gpa;
		} test;
		struct {
			uint64_t address, code;
		} guest; /* x86: CR2, #PF code (~0: #GP); arm64: FAR, ESR */
	} raw;
};

/** With an access: at user privilege (x86 CPL 3, arm64 EL0), else at system privilege. */
#define TDP_EMU_USER 0x100u
/**
 * One access by guest-physical address (of a guest that maps linear addresses one to one): access is TDP_R,
 * TDP_W or TDP_X, with TDP_EMU_USER or without. Where execution is by mode that also says (EPT) whether the
 * linear address is a user-mode one. Returns exit->reason; TDP_EINVAL for anything else, then nothing was
 * done.
 */
TDP_API int tdp_emu_access(struct tdp_emu_vcpu *vcpu, tdp_gpa_t gpa, uint32_t access,
			   struct tdp_emu_exit *exit);
/**
 * One access by guest-virtual address through the guest's own tables, each read nested. Without tables
 * (TDP_EMU_S1_OFF) every address of an EPT guest is a user-mode one, as in the SDM.
 */
TDP_API int tdp_emu_access_gva(struct tdp_emu_vcpu *vcpu, uint64_t gva, uint32_t access,
			       struct tdp_emu_exit *exit);
/**
 * Turn a second-stage exit into a fault for tdp_fault(), TDP_X narrowed to exit->fetch. TDP_EINVAL for other
 * reasons.
 */
TDP_API int tdp_emu_decode(const struct tdp_emu_exit *exit, struct tdp_fault *fault);

enum tdp_emu_stage1 {
	TDP_EMU_S1_OFF = 0,
	TDP_EMU_S1_X86_4 = 1, /* long mode, 4 levels: root is CR3 */
	TDP_EMU_S1_X86_5 = 2,
	TDP_EMU_S1_ARM64 = 3, /* 4K granule, 48 bits, TTBR0_EL1 */
};
/** Set the guest's translation regime; drops the vCPU's cached combined translations. */
TDP_API int tdp_emu_set_stage1(struct tdp_emu_vcpu *vcpu, enum tdp_emu_stage1 mode, uint64_t root);

/**
 * From now on the pages of [pa, pa + size) are gone (forbid) or back (allow): reaching one as a table, as a
 * guest page table or as the target of an access is a violation. Page granular.
 */
TDP_API int tdp_emu_forbid(struct tdp_emu *emu, tdp_pa_t pa, uint64_t size);
TDP_API int tdp_emu_allow(struct tdp_emu *emu, tdp_pa_t pa, uint64_t size);

#define TDP_EMU_REFS_MAX 40
struct tdp_emu_stats {
	uint32_t size;
	uint32_t reserved;
	uint64_t accesses, tlb_hits, walks, walk_cache_hits;
	uint64_t refs; /* table entries read */
	uint64_t
		refs_hist[TDP_EMU_REFS_MAX]; /* walks by number of references; last: that or more */
	uint64_t accessed_set, dirty_set;    /* bits set in second-stage entries */
	uint64_t exits;                      /* second-stage faults */
	uint64_t flush_range, flush_all, flush_vcpu, reloads;
	uint64_t violations;
	uint64_t flush_leaves; /* of flush_range: spared other levels, and the walk caches */
	uint64_t flush_begun;  /* of range and all: done in flush_wait(), not before */
};
/** Sums over all vCPUs, living and destroyed. */
TDP_API int tdp_emu_stats(struct tdp_emu *emu, struct tdp_emu_stats *stats);
/** Is any translation that overlaps [gpa, gpa + size) held in a TLB of any vCPU? 1 or 0. */
TDP_API int tdp_emu_cached(struct tdp_emu *emu, tdp_gpa_t gpa, uint64_t size);

/**
 * Walk foreign tables of a format by a read callback, without TLB and without setting bits (for tests and
 * for guests' own second-stage tables): hw as in struct tdp_root_view, access as in tdp_emu_access(). read
 * returns 0 when it wrote *entry.
 */
TDP_API int tdp_emu_walk_foreign(uint32_t format, const uint64_t hw[2], uint32_t caps_flags,
				 int (*read)(void *arg, tdp_pa_t pa, uint64_t *entry), void *arg,
				 tdp_gpa_t gpa, uint32_t access, struct tdp_emu_exit *exit);

#ifdef __cplusplus
}
#endif
#endif

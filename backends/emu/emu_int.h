/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated walker's own types: decoded root registers, architecture decoders, TLB maps, vCPUs.
 *
 * Nothing of lib/ is used here on purpose: what this folder believes about entry formats comes from
 * the manuals, so that it can be the judge of what lib/ writes.
 */
#ifndef TDPI_EMU_INT_H
#define TDPI_EMU_INT_H

#include <pthread.h>
#include <sched.h>

#include <tdp/emu.h>

/*
 * In builds for <tdp/explore.h> each access to what others share is a step; in all others this is nothing.
 */
#if defined(TDP_TEST_POINTS) && TDP_TEST_POINTS
#include <tdp/point.h>
#define EMU_POINT(kind, p, size) tdp_test_point(TDP_POINT_##kind, (p), (size))
#else
#define EMU_POINT(kind, p, size) ((void)(p))
#endif

/* Where first-stage permissions have what the user may, above what the system may. */
#define EMU_S1_USER 4

/* What the root register switched on. */
#define EMU_HW_A 1u
#define EMU_HW_D 2u

#define EMU_BIT(n) ((uint64_t)1 << (n))
/* Bits hi..lo, both included. */
#define EMU_BITS(hi, lo) ((~(uint64_t)0 >> (63 - (hi))) & (~(uint64_t)0 << (lo)))

enum emu_kind {
	EMU_ABSENT,
	EMU_RESERVED,
	EMU_SIZE, /* output address wider than allowed, where that is a fault of its own (arm64) */
	EMU_TABLE,
	EMU_LEAF,
};

enum emu_fault {
	EMU_F_NONE = 0,
	EMU_F_ABSENT,
	EMU_F_DENIED,
	EMU_F_RESERVED,
	EMU_F_AF,
	EMU_F_SIZE,
	EMU_F_BUS,
};

/* One entry, decoded. set_a and set_d are ORed into the stored word; 0: nothing to set. */
struct emu_entry {
	tdp_pa_t pa;
	uint64_t set_a;
	uint64_t set_d;
	uint32_t prot;
	bool af_fault;
};

struct emu_arch;

/* A root register, decoded: everything that a walk needs to know. */
struct emu_regs {
	const struct emu_arch *arch;
	tdp_pa_t root;
	uint64_t tag;         /* what this architecture tags cached translations with */
	uint32_t caps;        /* TDP_CAP_* of the machine */
	uint32_t leaf_levels;
	uint32_t ad;          /* EMU_HW_* in force */
	uint32_t pt_want;     /* what a read of a guest page-table entry needs */
	uint8_t start;        /* level of the root table */
	uint8_t index_lg2;
	uint8_t input_bits;
	uint8_t output_bits;
	uint8_t gpa_bits;     /* of the machine: guests' own entries may say no more */
	bool bbm;             /* two sizes cached for one gpa are a violation */
};

/* One second-stage access: `want` is what the permissions must hold, `said` what is reported. */
struct emu_req {
	tdp_gpa_t gpa;
	uint64_t gva;
	uint32_t want;
	uint32_t said;    /* TDP_R, TDP_W or TDP_X in the report */
	bool table_walk;  /* an access to a guest page table */
	bool fetch;       /* the guest's access was a fetch (also while walking its tables) */
};

struct emu_xlate {
	tdp_pa_t pa;       /* byte address */
	uint32_t prot;     /* AND over the walk */
	uint8_t level;     /* of the leaf or of the entry that ended the walk */
	uint8_t lg2;
	bool uncached; /* denied, and its Accessed is clear: no TLB may keep it */
	bool clean;        /* Dirty must be set at the first write */
};

struct emu_arch {
	uint32_t format;
	/* Fill caps for a machine that lacks nothing of this format. */
	void (*caps)(struct tdp_backend_caps *caps);
	/* Registers into *regs (caps, leaf_levels, output_bits, gpa_bits are set); TDP_EINVAL. */
	int (*load)(struct emu_regs *regs, const uint64_t hw[2],
		    const struct tdp_backend_caps *caps);
	enum emu_kind (*decode)(const struct emu_regs *regs, uint64_t raw, unsigned level,
				struct emu_entry *e);
	/* Sets reason and raw of the exit. */
	void (*report)(const struct emu_regs *regs, const struct emu_req *q, enum emu_fault fault,
		       const struct emu_xlate *x, struct tdp_emu_exit *exit);
};

extern const struct emu_arch tdpi_emu_ept, tdpi_emu_npt, tdpi_emu_s2, tdpi_emu_test;
const struct emu_arch *tdpi_emu_arch(uint32_t format);

/* ---- tlb.c: a map from (tag, aligned block of addresses) that never evicts ------------------- */

struct emu_slot {
	uint64_t key; /* start of the block | log2 of its size */
	uint64_t tag;
	uint64_t pa;  /* of the page; walk cache: of the table */
	uint64_t aux; /* leaf: identity of the root; combined: gpa of the page */
	uint32_t gen; /* not the map's: the slot is empty */
	uint8_t prot;
	uint8_t s1;    /* combined: TDP_RWX for the system, << EMU_S1_USER for the user */
	uint8_t level; /* of the second-stage leaf; walk cache: of the table */
	uint8_t clean;
};

#define EMU_TAGS 4
struct emu_map {
	struct emu_slot *slot;
	uint64_t sizes;      /* bit n: blocks of 1 << n are in the map */
	uint32_t per_size[64];
	uint32_t count;
	uint32_t cap_lg2;
	uint32_t gen;
	uint32_t ntags;      /* more than EMU_TAGS: the list is not complete */
	uint64_t tags[EMU_TAGS];
};

static inline uint64_t emu_slot_start(const struct emu_slot *s)
{
	return s->key & ~(uint64_t)0xfff;
}

static inline unsigned emu_slot_lg2(const struct emu_slot *s)
{
	return (unsigned)(s->key & 0xff);
}

void tdpi_emu_map_free(struct emu_map *map);
struct emu_slot *tdpi_emu_map_find(struct emu_map *map, uint64_t tag, uint64_t addr);
struct emu_slot *tdpi_emu_map_at(struct emu_map *map, uint64_t tag, uint64_t addr, unsigned lg2);
/* Insert or replace; key, tag and contents from *s. */
void tdpi_emu_map_put(struct emu_map *map, const struct emu_slot *s);
void tdpi_emu_map_clear(struct emu_map *map);
#define EMU_LEVELS_ALL (~(uint32_t)0)
/* Drop blocks of any tag, and of levels whose bit is set, that overlap [start, last]. */
void tdpi_emu_map_drop(struct emu_map *map, uint64_t start, uint64_t last, uint32_t levels);
/* The same by the gpa in aux. */
void tdpi_emu_map_drop_aux(struct emu_map *map, uint64_t start, uint64_t last, uint32_t levels);
/* Drop all blocks of one tag that hold addr. */
void tdpi_emu_map_drop_addr(struct emu_map *map, uint64_t tag, uint64_t addr);
/* Visit blocks (of one tag, or of any: all) that overlap; stops when fn returns true. */
bool tdpi_emu_map_overlap(struct emu_map *map, const uint64_t *tag, uint64_t start, uint64_t last,
			  bool (*fn)(void *arg, const struct emu_slot *s), void *arg);

/* ---- gone.c: the set of forbidden pages ------------------------------------------------------ */

struct emu_gone {
	uint64_t pages; /* how many; 0 is the fast path */
	void **top;
	pthread_mutex_t lock;
};

int tdpi_emu_gone_init(struct emu_gone *g);
void tdpi_emu_gone_fini(struct emu_gone *g);
int tdpi_emu_gone_set(struct emu_gone *g, tdp_pa_t pa, uint64_t size, bool on);
bool tdpi_emu_gone_slow(const struct emu_gone *g, tdp_pa_t pa);

static inline bool tdpi_emu_is_gone(const struct emu_gone *g, tdp_pa_t pa)
{
	return __atomic_load_n(&g->pages, __ATOMIC_ACQUIRE) && tdpi_emu_gone_slow(g, pa);
}

/* ---- the machine ----------------------------------------------------------------------------- */

#define EMU_BEGUN 64 /* flushes begun and not waited for; one more is done there and then */

struct tdp_emu {
	struct tdp_emu_config cfg;
	struct emu_gone gone;
	pthread_mutex_t list_lock;   /* the list of vCPUs; before any vCPU's lock */
	pthread_mutex_t shared_lock; /* stands for every vCPU's lock when twins are checked */
	struct tdp_emu_vcpu *vcpus;
	struct tdp_emu_stats past;   /* of destroyed vCPUs; under list_lock */
	uint64_t flush_range, flush_leaves, flush_all, flush_vcpu, flush_begun, reloads;
	struct emu_begun {
		struct tdp_range range;
		uint32_t levels;
		bool used;
	} begun[EMU_BEGUN]; /* flushes that were not waited for; under list_lock */
};

struct tdp_emu_vcpu {
	pthread_mutex_t *lock; /* held for each access: a flush waits for the walk under way */
	uint32_t waiters;      /* flushes that wait for the lock: accesses let them pass */
	bool loaded;
	struct tdp_emu *emu;
	struct emu_regs regs;
	uint64_t root_id;      /* which root, across reuse of its page */
	struct emu_map leaf;   /* gpa -> page */
	struct emu_map tables; /* gpa -> table: the walk cache */
	struct emu_map combined; /* gva -> page */
	/* gpa of guest page tables that `combined` came through; aux: levels of the leaves that mapped them */
	struct emu_map pt_pages;
	uint32_t s1_mode;      /* enum tdp_emu_stage1 */
	uint64_t s1_root;
	uint32_t refs;         /* of the access under way */
	struct tdp_emu_stats st;
	struct tdp_emu_vcpu *next;
	pthread_mutex_t own_lock;
};

/* What the machine can do in a format; TDP_ENOTSUP. */
int tdpi_emu_caps(const struct tdp_emu_config *cfg, uint32_t format, struct tdp_backend_caps *caps);
/* Decode registers for a machine with these capabilities. */
int tdpi_emu_load_regs(const struct tdp_backend_caps *caps, uint32_t format, const uint64_t hw[2],
		       struct emu_regs *regs);
void tdpi_emu_violation(struct tdp_emu_vcpu *v, const char *what, tdp_gpa_t gpa, tdp_pa_t pa);
void tdpi_emu_drop_all(struct tdp_emu_vcpu *v);
void tdpi_emu_drop_range(struct tdp_emu_vcpu *v, uint64_t start, uint64_t last);
/* Only leaves of these levels; the walk cache stays. */
void tdpi_emu_drop_leaves(struct tdp_emu_vcpu *v, uint64_t start, uint64_t last, uint32_t levels);
void tdpi_emu_drop_combined(struct tdp_emu_vcpu *v);
void tdpi_emu_stats_add(struct tdp_emu_stats *sum, const struct tdp_emu_stats *st);

/* Somebody else's vCPU: its thread lets us in before its next access. */
static inline void emu_lock_other(struct tdp_emu_vcpu *v)
{
	EMU_POINT(ACQUIRE, v->lock, 1);
	__atomic_fetch_add(&v->waiters, 1, __ATOMIC_RELAXED);
	pthread_mutex_lock(v->lock);
	__atomic_fetch_sub(&v->waiters, 1, __ATOMIC_RELAXED);
}

/* The vCPU's own thread. A mutex is not fair and accesses come back to back: give way first. */
static inline void emu_lock_own(struct tdp_emu_vcpu *v)
{
	EMU_POINT(ACQUIRE, v->lock, 1);
	for (int i = 0; i < 64 && __atomic_load_n(&v->waiters, __ATOMIC_RELAXED); i++)
		sched_yield();
	pthread_mutex_lock(v->lock);
}

static inline void emu_unlock(struct tdp_emu_vcpu *v)
{
	EMU_POINT(RELEASE, v->lock, 1);
	pthread_mutex_unlock(v->lock);
}

static inline void emu_list_lock(struct tdp_emu *emu)
{
	EMU_POINT(ACQUIRE, &emu->list_lock, 1);
	pthread_mutex_lock(&emu->list_lock);
}

static inline void emu_list_unlock(struct tdp_emu *emu)
{
	EMU_POINT(RELEASE, &emu->list_lock, 1);
	pthread_mutex_unlock(&emu->list_lock);
}

/* ---- walk.c, access.c, twins.c, stage1_*.c --------------------------------------------------- */

/* Where a walk reads: the vCPU's machine, or (vcpu NULL) a callback, which never sets bits. */
struct emu_walk {
	const struct emu_regs *regs;
	struct tdp_emu_vcpu *vcpu;
	int (*read)(void *arg, tdp_pa_t pa, uint64_t *entry);
	void *read_arg;
	uint32_t refs;
	bool again;
};

/* What permissions must hold for an access; user: a fetch counts as one in user mode. */
static inline uint32_t emu_want(uint32_t access, bool user)
{
	access &= TDP_RWX;
	return access == TDP_X ? (user ? TDP_XU : TDP_XS) : access;
}

enum emu_fault tdpi_emu_walk(struct emu_walk *w, const struct emu_req *q, struct emu_xlate *x);
/* One of TDP_R, TDP_W, TDP_X, with TDP_EMU_USER or without. */
bool tdpi_emu_access_ok(uint32_t access);
/* The report of a fault, as the architecture makes it, and what it leaves to be found out. */
void tdpi_emu_report(const struct emu_regs *r, const struct emu_req *q, enum emu_fault fault,
		     const struct emu_xlate *x, struct tdp_emu_exit *exit);
/* Through the TLB. With the vCPU's lock held. */
enum emu_fault tdpi_emu_translate(struct tdp_emu_vcpu *v, const struct emu_req *q,
				  struct emu_xlate *x);
/* Where memory at pa is; NULL after a violation. */
uint64_t *tdpi_emu_word(struct tdp_emu_vcpu *v, tdp_gpa_t gpa, tdp_pa_t pa, const char *gone,
			const char *nothing);
void tdpi_emu_check_twins(struct tdp_emu_vcpu *v, const struct emu_slot *fill);
void tdpi_emu_exit_fault(struct tdp_emu_vcpu *v, const struct emu_req *q, enum emu_fault fault,
			 const struct emu_xlate *x, struct tdp_emu_exit *exit);

/* A first-stage translation. */
struct emu_s1 {
	struct tdp_emu_vcpu *vcpu;
	uint64_t gva;
	uint32_t access; /* TDP_R, TDP_W or TDP_X */
	bool user;
	struct tdp_emu_exit *exit;
	/* out */
	tdp_gpa_t gpa;   /* byte address */
	uint32_t prot;   /* for the system, << EMU_S1_USER for the user; X is TDP_X or none */
	uint8_t lg2;
	bool clean;      /* the guest's Dirty is not set */
};

/* Both: 0 and the out members, or a reason with *exit filled. */
int tdpi_emu_s1_x86(struct emu_s1 *s, unsigned levels);
int tdpi_emu_s1_arm64(struct emu_s1 *s);
/* A guest page-table entry at gpa, for reading or also for writing; NULL: *exit is filled. */
uint64_t *tdpi_emu_guest_entry(struct emu_s1 *s, tdp_gpa_t gpa, bool write);

#endif

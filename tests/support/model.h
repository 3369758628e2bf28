/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The flat reference model: what every 4K page of a few windows of guest memory should be, without
 * any tree. Where the contract leaves a choice (page sizes, how early W is given) the model looks
 * at what was chosen, checks that it was allowed, and goes on from there; everything else it knows
 * beforehand.
 */
#ifndef TESTS_SUPPORT_MODEL_H
#define TESTS_SUPPORT_MODEL_H

#include "support.h"

#define MODEL_AS 2u
#define MODEL_SLOTS 12u
#define MODEL_WINDOWS 4u
#define MODEL_PAGE_NONE (~(uint64_t)0)

struct model_slot {
	bool live;
	uint32_t id, as_id, flags, prot; /* prot with the default filled in */
	uint64_t gfn, pages;
	uint64_t pfn;                 /* linear */
	struct test_backing *backing; /* else NULL */
	uint32_t log;                 /* TDP_LOG_OFF, WRPROT or DBIT */
	uint64_t *must, *may;         /* dirty: at least, at most; a bit per page */
	bool fuzzy;                   /* `may` is not known: see model_roots_gone() */
	uint16_t *track;
	uint64_t tracked; /* pages with track != 0 */
	uint8_t *owner;
	uint64_t owned; /* pages with owner != 0 */
};

/* Of a leaf, kept at its first page. */
#define LEAF_W 0x1u /* may be writable without another fault */
#define LEAF_YOUNG_MUST 0x2u
#define LEAF_YOUNG_MAY 0x4u
struct model_leaf {
	uint64_t pfn;
	uint8_t flags;
};

struct model_window {
	uint64_t gfn, pages;
	uint64_t at; /* index of its first page in the arrays */
};

struct model {
	struct test_vm *vm;
	struct model_window win[MODEL_WINDOWS];
	uint32_t windows;
	uint64_t pages;          /* of all windows */
	uint8_t *lg2[MODEL_AS];  /* by page: log2 of the leaf that maps it, 0: unmapped */
	uint8_t *kept[MODEL_AS]; /* by page: zapped with KEEP_YOUNG */
	struct model_leaf *leaf[MODEL_AS];
	struct model_slot slot[MODEL_SLOTS];
	bool stale;                   /* invalid roots are not all torn down */
	struct model_leaf_seen *seen; /* scratch of model_observe */
	size_t seen_count, seen_room;
	uint64_t complaints;
	char where[96]; /* what is being done, for messages */
};

int model_init(struct model *m, struct test_vm *vm, const struct model_window *win,
	       uint32_t windows);
void model_fini(struct model *m);
/* Say what is wrong; counted. */
void model_complain(struct model *m, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Index of a gfn in the arrays, or MODEL_PAGE_NONE. */
uint64_t model_at(const struct model *m, uint64_t gfn);
struct model_slot *model_slot_at(struct model *m, uint32_t as_id, uint64_t gfn);
/* Frame that the owner of the memory says; the page is in the slot. */
uint64_t model_pfn(const struct model_slot *s, uint64_t gfn);
bool model_mapped(const struct model *m, uint32_t as_id, uint64_t gfn);
/* Bounds of the leaf of a mapped gfn, or of the page itself. Returns the index of its first page.
 */
uint64_t model_leaf_of(const struct model *m, uint32_t as_id, uint64_t gfn, uint64_t *first,
		       uint64_t *pages);

struct model_rules {
	uint64_t map_gfn,
		map_end; /* here pages may appear, or change, as a fault or populate may */
	uint64_t unmap_gfn, unmap_end; /* here nothing may be mapped now */
	bool may_unmap;                /* anything looked at may be gone */
	bool any_size; /* sizes may change; growth only where huge pages are legal */
	bool young;    /* what appears may be young */
	bool never_w;  /* what appears is not writable */
	bool clean;    /* leaves of logged slots are not dirty … */
	uint64_t clean_gfn, clean_end; /* … that lie wholly here (clean_end 0: everywhere) */
	uint64_t grown;                /* out: leaves that are larger than before */
};
/*
 * Look at [gfn, end) (widened to the leaves there) through tdp_walk(), compare with the model under
 * these rules, and take over what was free to choose.
 */
void model_observe(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
		   struct model_rules *rules);
/* All windows of an address space, nothing may have changed. */
void model_check_all(struct model *m);
/* tdp_translate() of one page against the model. */
void model_check_page(struct model *m, uint32_t as_id, uint64_t gfn);
/* Call fn for each mapped leaf that overlaps. */
void model_each(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end,
		void (*fn)(struct model *m, struct model_leaf *leaf, uint64_t first, uint64_t pages,
			   void *arg),
		void *arg);
/* Clear flags of all leaves that overlap. */
void model_clear(struct model *m, uint32_t as_id, uint64_t gfn, uint64_t end, uint8_t flags);
/*
 * Roots become invalid. What they still hold goes to the log when they are torn down, a whole huge
 * page for one Dirty bit: so a slot logged by Dirty bit that has huge pages loses its upper bound.
 */
void model_roots_gone(struct model *m);
/* Everything of an address space is unmapped (the model only). */
void model_forget(struct model *m, uint32_t as_id);

/* Dirty log bounds of a slot: pages are numbers in the slot. */
void model_log_start(struct model *m, struct model_slot *s, uint32_t mode, bool all_dirty);
void model_log_stop(struct model_slot *s);
/* A harvested (or got) bitmap against the bounds. */
void model_log_compare(struct model *m, struct model_slot *s, uint64_t first,
		       const uint64_t *bitmap, size_t words);
void model_log_bits_clear(struct model_slot *s, uint64_t first, uint64_t pages);
static inline void model_bit_set(uint64_t *bits, uint64_t i)
{
	bits[i / 64] |= (uint64_t)1 << (i % 64);
}
static inline bool model_bit(const uint64_t *bits, uint64_t i)
{
	return (bits[i / 64] >> (i % 64)) & 1;
}

#endif

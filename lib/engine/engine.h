/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What one compiled engine (one format) offers to the format-blind rest: one constant object of function
 * pointers, one call per operation, never per entry.
 *
 * Unless said otherwise: called inside a read-side section, which is what keeps the root; may leave and re-enter the
 * section when it yields, holding the root meanwhile; holds no lock on return; returns 0 or a status.
 */
#ifndef TDPI_ENGINE_ENGINE_H
#define TDPI_ENGINE_ENGINE_H

#include "mm/gather.h"

struct tdpi_root_geom;

/*
 * How far one step of a job goes (mm/job.c). Each root of the step is walked from `from` until its share is used
 * up; the step is done up to where the first of these walks stopped.
 */
struct tdpi_limit {
	uint64_t max_entries, max_ns; /* for one root; 0: no limit */
	uint64_t entries;             /* of these, still to be looked at */
	uint64_t deadline;            /* in the time of env.now() */
	uint64_t freed;  /* tables cut off when this root's walk began or last paid for them */
	tdpi_gfn_t from; /* what comes before is done */
	tdpi_gfn_t stop; /* out: what comes before is done now; TDPI_GFN_NONE: all of it */
};
#define TDPI_GFN_NONE (~(tdpi_gfn_t)0)

/* One running operation: where it takes tables from, what it owes, where it counts. */
struct tdpi_op {
	struct tdp_mm *mm;
	struct tdpi_cache *cache;
	struct tdpi_counts *counts;
	void *vcpu_cookie; /* of the faulting vCPU, else NULL */
	bool no_yield;
	uint64_t max_tables;      /* zap: stop after about that many tables; 0: no limit */
	struct tdpi_limit *limit; /* NULL: none */
	struct tdpi_gather gather;
};

/* A root's walk begins with all of its share. */
static inline void tdpi_limit_root(struct tdpi_op *op)
{
	struct tdpi_limit *limit = op->limit;

	if (!limit)
		return;
	limit->entries = limit->max_entries ? limit->max_entries : ~(uint64_t)0;
	if (limit->max_ns) {
		uint64_t now = op->mm->env.now(op->mm->env.priv);

		limit->deadline = now + tdpi_min64(limit->max_ns, ~now);
	}
	limit->freed = op->gather.freed;
}

/* So many entries were looked at, and everything before `done` is done. True: the step ends here. */
static inline bool tdpi_limit_pay(struct tdpi_op *op, uint64_t entries, tdpi_gfn_t done)
{
	struct tdpi_limit *limit = op->limit;

	limit->entries -= tdpi_min64(entries, limit->entries);
	if (limit->entries > 0 &&
	    !(limit->max_ns && op->mm->env.now(op->mm->env.priv) >= limit->deadline))
		return false;
	limit->stop = tdpi_min64(limit->stop, done);
	return true;
}

/* A run of equal leaves to install: a fault is a run of one. */
struct tdpi_map {
	const struct tdpi_slot *slot;
	tdpi_gfn_t gfn; /* of the access; the run starts at its leaf */
	uint64_t pfn;   /* output frame of gfn, contiguous around it as `level` and `end` need */
	tdpi_gfn_t end; /* install up to here at most (and to the end of one table) */
	unsigned level; /* wanted; lowered where smaller tables exist */
	uint32_t prot;  /* of the backing */
	uint32_t access;
	bool prefetch;     /* present entries stay as they are; new ones are old */
	bool young;        /* … new ones are young all the same */
	bool hold_write;   /* new ones do not get W yet */
	uint32_t mmio_gen; /* fast: the current MMIO generation */
	uint64_t seq;      /* snapshot from before the backing was looked up */
	tdpi_entry_t *at;  /* of this section: fast went down to here; NULL: nowhere */
	unsigned at_level;
	tdpi_gfn_t next;     /* out: first frame behind what was handled */
	bool writable;       /* out: W was granted */
	bool raised;         /* out: a leaf that was there changed */
	unsigned leaf_level; /* out, for FIXED and SPURIOUS: where the leaf is … */
	uint64_t leaf;       /* … and what it says */
};

/* MARK: may change tdpi_table.idle, and nobody else meanwhile. */
enum tdpi_age_mode { TDPI_AGE_CLEAR = 1, TDPI_AGE_FIRST = 2, TDPI_AGE_MARK = 4 };
struct tdpi_age {
	unsigned mode;    /* bits of enum tdpi_age_mode */
	uint64_t young;   /* out: leaves found young */
	uint64_t *bitmap; /* bit per frame from `base` */
	tdpi_gfn_t base;
};

struct tdpi_engine {
	uint32_t format, index_lg2, leaf_levels, levels_max, gpa_bits_max, pa_bits_max;
	uint32_t fault_tables; /* the most that one fault can take from the vCPU's cache */
	bool ad_always, table_a, table_w; /* FMT_AD_ALWAYS; FMT_TABLE_A, FMT_TABLE_W are there */

	/* Geometry and registers; any context. */
	int (*levels)(unsigned gpa_bits, unsigned forced);
	unsigned (*root_pages)(unsigned gpa_bits, unsigned levels);
	void (*root_hw)(const struct tdpi_root_geom *g, uint64_t hw[2]);
	bool (*prot_ok)(uint32_t prot, uint32_t caps); /* TDP_CAP_* */

	/* All entries of a table nobody can reach become empty. Any context. */
	void (*fill)(const struct tdp_mm *mm, struct tdpi_table *t, unsigned level);

	/*
	 * Faults (engine/straight.h, map.h). Outcomes >= 0. TDP_ENOENT: straight: not that simple; fast: needs the
	 * backing.
	 */
	int (*straight)(struct tdp_vcpu *v, const struct tdpi_slot *slot, struct tdpi_map *m);
	int (*fast)(struct tdpi_op *op, struct tdp_root *root, const struct tdpi_slot *slot,
		    struct tdpi_map *m);
	int (*map)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_map *m);
	int (*map_mmio)(struct tdpi_op *op, struct tdp_root *root, tdpi_gfn_t gfn,
			uint32_t generation, uint64_t seq);
	uint64_t (*missing)(const struct tdp_mm *mm, struct tdp_root *root,
			    const struct tdpi_slot *slot, struct tdpi_span span);

	/* Removal (engine/zap.h). */
	int (*zap)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span, uint32_t flags,
		   unsigned cut_level);
	uint64_t (*edge_tables)(const struct tdp_mm *mm, struct tdp_root *root,
				struct tdpi_span span);
	int (*zap_table)(struct tdpi_op *op, struct tdpi_table *t);
	uint64_t (*compact)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			    unsigned level);
	bool (*teardown)(struct tdpi_op *op, struct tdp_root *root, uint64_t max_tables);
	uint64_t (*cut_off)(struct tdp_mm *mm, struct tdpi_counts *counts, struct tdpi_table *t);
	uint64_t (*collect)(struct tdp_mm *mm, struct tdpi_table *t, struct tdpi_table **free_list);

	/* Tracking (engine/track.h). */
	int (*write_protect)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			     bool track);
	int (*harvest)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		       uint64_t *bits, tdpi_gfn_t base, bool clear);
	int (*rearm)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		     const uint64_t *bits, tdpi_gfn_t base, bool by_d);
	int (*arm_lazily)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
			  bool by_d);
	int (*age)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		   struct tdpi_age *age);

	/* Huge pages (engine/huge.h). */
	uint64_t (*split_need)(const struct tdp_mm *mm, struct tdp_root *root,
			       struct tdpi_span span, unsigned level);
	int (*split)(struct tdpi_op *op, struct tdp_root *root, struct tdpi_span span,
		     unsigned level);
	bool (*candidate)(struct tdpi_op *op, struct tdp_root *root, unsigned level, tdpi_gfn_t end,
			  tdpi_gfn_t *gfn, uint64_t *pfn);
	int (*collapse)(struct tdpi_op *op, struct tdp_root *root, unsigned level, tdpi_gfn_t gfn,
			uint64_t pfn, uint64_t seq);

	/* Looking (engine/look.h). */
	bool (*translate)(const struct tdp_mm *mm, const struct tdp_root *root, tdpi_gfn_t gfn,
			  struct tdp_mapping *out);
	/* A leaf over m->gfn: into m->leaf, and m->next behind it. */
	bool (*present)(const struct tdp_mm *mm, const struct tdp_root *root, struct tdpi_map *m);
	/* What a leaf says; gfn is any frame of it. */
	void (*leaf_info)(uint64_t e, unsigned level, tdpi_gfn_t gfn, uint64_t encrypt,
			  struct tdp_mapping *out);
	void (*path)(const struct tdp_mm *mm, struct tdp_root *root, tdpi_gfn_t gfn,
		     struct tdp_path *path);
	int (*walk)(const struct tdp_mm *mm, struct tdp_root *root, struct tdpi_span span,
		    uint32_t flags, int (*fn)(void *arg, const struct tdp_visit *visit), void *arg);
	void (*check)(struct tdp_mm *mm, struct tdp_root *root, struct tdp_report *report);
};

extern const struct tdpi_engine tdpi_ept_engine, tdpi_npt_engine, tdpi_s2_engine, tdpi_test_engine;

/* The engine of a format, NULL for a number that is none. */
const struct tdpi_engine *tdpi_engine_of(uint32_t format);

#endif

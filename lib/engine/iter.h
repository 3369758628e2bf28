/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walking a range table by table. Template: included once per format, after the format's header.
 *
 * The iterator visits tables in pre-order and hands out, for each, the run of its entries that lies in the
 * range; loops over entries belong to the caller. Between two tables it may give way: then everything it
 * knew is forgotten and the walk goes down again from the root to the first frame not done. One table or
 * more is completed between two yields, so every walk ends.
 *
 *   iter_init → iter_table (visit) → iter_table (visit) → … false
 *                  ↑ iter_restart: after the table turned out stale, or after a finish of the gather
 */
#ifndef TDPI_ENGINE_ITER_H
#define TDPI_ENGINE_ITER_H

#include "engine/engine.h"
#include "mm/root.h"
#include "mm/table.h"

#define ENTRIES ((unsigned)1 << FMT_INDEX_LG2)

static inline unsigned level_shift(unsigned level)
{
	return FMT_INDEX_LG2 * level;
}

static inline uint64_t level_pages(unsigned level)
{
	return (uint64_t)1 << level_shift(level);
}

static inline unsigned entry_index(tdpi_gfn_t gfn, unsigned level)
{
	return (unsigned)(gfn >> level_shift(level)) & (ENTRIES - 1);
}

/* The root table over gfn: one of up to 16 concatenated ones. */
static inline struct tdpi_table *root_table(const struct tdp_root *root, tdpi_gfn_t gfn)
{
	uint64_t page = gfn >> level_shift(root->level + 1u);

	return (struct tdpi_table *)((uintptr_t)root->table + page * TDPI_META_SIZE);
}

/* The table that a TABLE entry points to. Its metadata may be read while inside the read section. */
static inline struct tdpi_table *table_below(const struct tdp_mm *mm, uint64_t e, unsigned level)
{
	return tdpi_table_at(mm, fmt_pa(e, level));
}

/* Has nobody used what is below a TABLE entry since it was seen to be all old (engine/idle.h)? */
static inline bool table_idle(const struct tdp_mm *mm, uint64_t e, unsigned level)
{
	return FMT_TABLE_A && !(e & FMT_TABLE_A) &&
	       tdpi_load_relaxed(&table_below(mm, e, level)->idle);
}

/* Can nothing below a TABLE entry be written, and was nothing since it was shut (engine/lazy.h)? */
static inline bool table_shut(uint64_t e)
{
	return FMT_TABLE_W && !(e & FMT_TABLE_W);
}

/* Which subtrees a walk passes by: a constant where it is asked for. */
enum past { PAST_NONE, PAST_IDLE, PAST_SHUT };

TDPI_ALWAYS_INLINE bool passed_by(const struct tdp_mm *mm, uint64_t e, unsigned level,
				  enum past past)
{
	return (past == PAST_IDLE && table_idle(mm, e, level)) ||
	       (past == PAST_SHUT && table_shut(e));
}

/* Where a walk for one address has come to. The table is tdpi_table_of(ref). */
struct spot {
	tdpi_entry_t *ref;
	uint64_t e;
	unsigned level;
};

static inline struct spot spot_in(tdpi_entry_t *entries, unsigned level, tdpi_gfn_t gfn)
{
	struct spot s = {entries + entry_index(gfn, level), 0, level};

	s.e = tdpi_entry_load_table(s.ref);
	return s;
}

/* Concatenated root pages are one array. */
static inline struct spot spot_top(const struct tdp_root *root, tdpi_gfn_t gfn)
{
	struct spot s = {root->entries + (gfn >> level_shift(root->level)), 0, root->level};

	s.e = tdpi_entry_load_table(s.ref);
	return s;
}

/* A host that finds its tables by a hook. By itself, so that the walk of all others calls nothing. */
static TDPI_COLD struct spot spot_down_by_hook(const struct tdp_mm *mm, struct spot s,
					       tdpi_gfn_t gfn, unsigned level)
{
	while (s.level > level && fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE)
		s = spot_in(tdpi_entries_at(mm, fmt_pa(s.e, s.level)), s.level - 1, gfn);
	return s;
}

/*
 * Down to `level`, or to the first entry over gfn that is no table. No metadata is touched on the way: one load for
 * each level.
 */
static inline struct spot spot_down(const struct tdp_mm *mm, struct spot s, tdpi_gfn_t gfn,
				    unsigned level)
{
	if (tdpi_unlikely(mm->env.phys_to_virt != NULL))
		return spot_down_by_hook(mm, s, gfn, level);
	while (s.level > level && fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE)
		s = spot_in(tdpi_entries_linear(mm, fmt_pa(s.e, s.level)), s.level - 1, gfn);
	return s;
}

/* Down to the first entry over gfn that is no table: there are none at level 0. */
static inline struct spot spot_below(const struct tdp_mm *mm, struct spot s, tdpi_gfn_t gfn)
{
	return spot_down(mm, s, gfn, 0);
}

static inline struct spot spot_of(const struct tdp_mm *mm, const struct tdp_root *root,
				  tdpi_gfn_t gfn)
{
	return spot_below(mm, spot_top(root, gfn), gfn);
}

struct iter {
	const struct tdp_mm *mm;
	struct tdp_root *root;
	tdpi_gfn_t next; /* everything before is done */
	tdpi_gfn_t end;
	tdpi_gfn_t yielded; /* `next` at the last yield */
	unsigned min_level; /* tables below are not entered */
	bool direct; /* of an operation on the range: tables wholly around it are not visited */
	bool fresh;  /* start (again) at the root */
	/* The current table and its run of entries: */
	struct tdpi_table *t;
	tdpi_entry_t *entries;
	unsigned level, first, last;
	tdpi_gfn_t gfn;                               /* start of entry `first` */
	struct tdpi_table *above[FMT_LEVELS_MAX + 1]; /* by level */
	uint32_t cuts[FMT_LEVELS_MAX + 1];            /* of these when they were entered, or: */
#define ITER_PASSED (UINT32_MAX)                      /* unequal to all that a table counts */
};

static inline void iter_init(struct iter *it, const struct tdp_mm *mm, struct tdp_root *root,
			     struct tdpi_span span, unsigned min_level)
{
	/* Tables are freed a grace period after they were cut off: outside a section, at any moment. */
	TDPI_ASSERT(!mm->rcu.read_ongoing || mm->rcu.read_ongoing());
	it->mm = mm;
	it->root = root;
	it->next = span.start;
	it->end = span.end;
	it->yielded = span.start;
	it->min_level = min_level;
	it->direct = false;
	it->fresh = true;
	it->t = NULL;
	it->entries = NULL;
	it->level = it->first = it->last = 0;
	it->gfn = span.start;
}

/* The walk of an operation: from where the steps before it have come. */
static inline void iter_begin(struct iter *it, const struct tdpi_op *op, struct tdp_root *root,
			      struct tdpi_span span, unsigned min_level)
{
	iter_init(it, op->mm, root, span, min_level);
	it->direct = true;
	if (op->limit) {
		it->next = tdpi_max64(span.start, op->limit->from);
		it->yielded = it->next;
	}
}

static inline void iter_restart(struct iter *it)
{
	it->fresh = true;
}

/*
 * The current table was cut off: go down again. Only a root that has been torn down has stale tables at
 * the top; nothing will ever be in them again, so the walk steps over them.
 */
static inline void iter_stale(struct iter *it)
{
	unsigned shift = level_shift(it->level + 1);

	if (it->level == it->root->level)
		it->next = tdpi_min64(((it->next >> shift) + 1) << shift, it->end);
	iter_restart(it);
}

/* Make t current; its run starts at the entry over it->next. */
static inline void iter_enter(struct iter *it, struct tdpi_table *t, unsigned level)
{
	unsigned shift = level_shift(level);
	tdpi_gfn_t last = it->end - 1;

	it->t = t;
	it->level = level;
	it->above[level] = t;
	it->cuts[level] = tdpi_load_relaxed(&t->cuts);
	it->entries = tdpi_table_entries(it->mm, t);
	it->first = entry_index(it->next, level);
	it->gfn = it->next >> shift << shift;
	it->last = (last >> (shift + FMT_INDEX_LG2)) == (it->next >> (shift + FMT_INDEX_LG2))
			   ? entry_index(last, level)
			   : ENTRIES - 1;
}

/* A break-before-make is under way: its end is when the table's lock is free. */
static inline uint64_t iter_thaw(const struct iter *it, const tdpi_entry_t *ref)
{
	tdpi_lock(&it->mm->env, &it->t->lock, TDPI_LOCK_TABLE);
	tdpi_unlock(&it->mm->env, &it->t->lock);
	return tdpi_entry_load_table(ref);
}

/*
 * Was a table below this one cut off or merged into a leaf since this one was visited? Then what the visit
 * left to be done below stands here now, or its removal is not flushed yet and this walk has not taken it over
 * (A4c). The count moves before the entry does.
 */
static inline bool iter_cut(const struct iter *it)
{
	return tdpi_load_relaxed(&it->t->cuts) != it->cuts[it->level];
}

/* This walk itself cut tables off here, and knows. Under the table's lock, and all else taken over. */
static inline void iter_knows_cuts(struct iter *it)
{
	it->cuts[it->level] = it->t->cuts;
}

/*
 * Only open tables in the run, and the caller will go down to each: then there is nothing to be done here, and no
 * lock to be taken, which all walks of a VM would write to. True: passed. What is a table now may be none when the walk
 * comes to it; a walk that passed without the lock then always comes back, as iter_cut() says (A4c).
 */
static inline bool iter_pass(struct iter *it)
{
	if (it->level == it->min_level)
		return false;
	TDPI_POINT(READ, &it->entries[it->first],
		   (it->last - it->first + 1) * sizeof(*it->entries));
	for (unsigned i = it->first; i <= it->last; i++) {
		uint64_t e = tdpi_entry_load_quiet(&it->entries[i]);

		if (fmt_kind(e, it->level) != TDP_ENTRY_TABLE || table_shut(e))
			return false;
	}
	it->cuts[it->level] = ITER_PASSED;
	return true;
}

/*
 * The first of the current table's entries [*at, end) below which a walk goes on: its word, and *at; 0: none. Nothing
 * but break-before-make freezes an entry.
 */
TDPI_ALWAYS_INLINE uint64_t iter_skip(const struct iter *it, uint64_t *at, uint64_t end,
				      enum past past)
{
	const tdpi_entry_t *ref = it->entries + (*at & (ENTRIES - 1));

	for (; *at < end; ++*at, ref++) {
		uint64_t e = tdpi_entry_load_table(ref);

		if (FMT_BBM && fmt_kind(e, it->level) == TDP_ENTRY_FROZEN)
			e = iter_thaw(it, ref);
		if (fmt_kind(e, it->level) == TDP_ENTRY_TABLE &&
		    !passed_by(it->mm, e, it->level, past))
			return e;
	}
	return 0;
}

/* From the current table's entry over it->next on: the next child table, or up, or the end. */
TDPI_ALWAYS_INLINE bool iter_move(struct iter *it, enum past past)
{
	unsigned top = it->root->level;

	for (;;) {
		unsigned shift = level_shift(it->level);
		uint64_t first = it->next >> shift, at = first,
			 behind = (first | (ENTRIES - 1)) + 1, e = 0;

		/* Of a table of the lowest level all was visited. */
		if (it->level <= it->min_level)
			at = behind;
		else
			e = iter_skip(it, &at, tdpi_min64(behind, ((it->end - 1) >> shift) + 1),
				      past);
		if (at > first) {
			if (it->level > it->min_level && tdpi_unlikely(iter_cut(it))) {
				iter_enter(it, root_table(it->root, it->next), top);
				return true;
			}
			it->next = at << shift;
		}
		if (e) {
			iter_enter(it, table_below(it->mm, e, it->level), it->level - 1);
			return true;
		}
		if (it->next >= it->end)
			return false;
		/* Up to the first table that also covers it->next; the top one may be the next root page. */
		do {
			if (it->level == top) {
				iter_enter(it, root_table(it->root, it->next), top);
				return true;
			}
			it->level++;
		} while (entry_index(it->next, it->level) == 0);
		it->t = it->above[it->level];
		it->entries = tdpi_table_entries(it->mm, it->t);
	}
}

/* The root's table, or the first on the way down in which the range is more than a part of one table below. */
TDPI_ALWAYS_INLINE void iter_start(struct iter *it, enum past past)
{
	struct spot s = spot_top(it->root, it->next);
	tdpi_gfn_t last = it->end - 1;

	/* What is passed here is what iter_pass() would pass; nothing leads back up to it but a restart. */
	while (it->direct && s.level > it->min_level &&
	       last - it->next < level_pages(s.level) - 1 &&
	       it->next >> level_shift(s.level) == last >> level_shift(s.level) &&
	       fmt_kind(s.e, s.level) == TDP_ENTRY_TABLE && !passed_by(it->mm, s.e, s.level, past))
		s = spot_in(tdpi_entries_at(it->mm, fmt_pa(s.e, s.level)), s.level - 1, it->next);
	it->fresh = false;
	iter_enter(it, tdpi_table_of(it->mm, s.ref), s.level);
}

TDPI_ALWAYS_INLINE bool iter_step(struct iter *it, enum past past)
{
	if (it->next >= it->end)
		return false;
	if (it->fresh) {
		iter_start(it, past);
		return true;
	}
	return iter_move(it, past);
}

/* Step to the next table to visit; false: the range is done. Inside a read section. */
static inline bool iter_table(struct iter *it)
{
	return iter_step(it, PAST_NONE);
}

/* The same, past idle subtrees. */
static inline bool iter_used(struct iter *it)
{
	return iter_step(it, PAST_IDLE);
}

/* The same, past shut ones. */
static inline bool iter_open(struct iter *it)
{
	return iter_step(it, PAST_SHUT);
}

static inline bool iter_need_resched(const struct iter *it)
{
	const struct tdp_env *env = &it->mm->env;

	return env->should_yield && env->should_yield(env->priv);
}

/*
 * Out of the section and in again. Inside, nobody else need hold the root; outside this does. False, and still
 * inside: the root is dead, and has so little left that whoever walks it just goes on.
 */
static inline bool section_leave(const struct tdp_mm *mm, struct tdp_root *root)
{
	if (!tdpi_root_hold(root))
		return false;
	tdpi_rcu_unlock(mm);
	return true;
}

static inline void section_enter(struct tdp_mm *mm, struct tdp_root *root)
{
	tdpi_rcu_lock(mm);
	tdpi_root_drop(mm, root);
}

/* More cut-off subtrees than this are not kept waiting for their flush. */
#define GATHER_TABLES_MAX 256u

/* The first frame that a walk starting anew now has to do: a table of the lowest level is done when it was visited. */
static inline tdpi_gfn_t iter_done(const struct iter *it)
{
	unsigned shift = level_shift(it->level + 1);

	if (it->fresh || it->level > it->min_level)
		return it->next;
	return tdpi_min64(((it->next >> shift) + 1) << shift, it->end);
}

/*
 * A job pays for the current run and for tables cut off, with all their entries: somebody looks at them sooner or
 * later. If that uses up its share, and anything was done, the walk is over.
 */
static inline bool iter_stop(struct iter *it, struct tdpi_op *op)
{
	uint64_t price = (op->gather.freed - op->limit->freed) * ENTRIES;
	tdpi_gfn_t done = iter_done(it);

	op->limit->freed = op->gather.freed;
	if (!it->fresh)
		price += it->last - it->first + 1;
	if (!tdpi_limit_pay(op, price, done > it->yielded ? done : TDPI_GFN_NONE) ||
	    done <= it->yielded)
		return false;
	it->next = it->end = done;
	return true;
}

/*
 * Between two tables: give way if somebody asks for it and something was done since the last time, and keep
 * the gather small. Nothing read before may be used afterwards: the walk restarts by itself.
 */
static inline bool iter_breathe(struct iter *it, struct tdpi_op *op)
{
	bool yield;

	if (tdpi_unlikely(op->limit != NULL) && iter_stop(it, op))
		return true;
	/* Asking for the cheap common answer first: most of the time nobody wants anything. */
	yield = !op->no_yield && iter_need_resched(it) && iter_done(it) > it->yielded;
	if (tdpi_likely(!yield && op->gather.table_count < GATHER_TABLES_MAX))
		return false;
	if (!section_leave(it->mm, it->root))
		return false;
	it->next = iter_done(it);
	tdpi_gather_finish(&op->gather); /* before others run: nothing is owed across a yield */
	if (yield) {
		tdpi_count(op->counts, yields, 1);
		if (it->mm->env.yield)
			tdpi_yield(&it->mm->env);
		it->yielded = it->next;
	}
	section_enter(op->mm, it->root);
	iter_restart(it);
	return true;
}

#endif

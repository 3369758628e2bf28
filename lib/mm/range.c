/* SPDX-License-Identifier: BSD-2-Clause */
/* Operations on a range of guest memory: zap, write protection, aging, split, collapse, compact. */
#include "mm/range.h"

#include "mm/root.h"
#include "mm/slot.h"

/* Tables that splitting at the two edges can take, over all roots that will be visited. */
static int topup_edges(struct tdp_mm *mm, struct tdpi_bulk *b, uint32_t as_id,
		       struct tdpi_span span, unsigned which)
{
	uint64_t n = 0;

	tdpi_for_each_root_inside(mm, root, as_id, which) n +=
		mm->engine->edge_tables(mm, root, span);
	return tdpi_cache_topup(mm, &b->cache, n);
}

/* ---- zap ---- */

/* The highest pass only pays where a whole entry above the usual cut lies in the range. */
bool tdpi_zap_high(const struct tdp_mm *mm, struct tdpi_span span)
{
	unsigned level = 3;

	if (mm->levels <= level)
		return false;
	return span.end - span.start >= tdpi_level_pages(mm, level);
}

int tdpi_zap_prepare(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, uint32_t flags)
{
	b->op.no_yield = flags & TDP_ZAP_NOYIELD;
	if (flags & TDP_ZAP_LAZY)
		return TDP_OK;
	return topup_edges(b->op.mm, b, as_id, span, TDPI_ROOTS_ALL);
}

void tdpi_zap_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, uint32_t flags,
		    unsigned cut_level, bool high)
{
	struct tdp_mm *mm = b->op.mm;
	bool before = false;

	/* Invalid roots too: their leaves still point at memory that is about to go. */
	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_ALL)
	{
		/* vCPUs can flush what the root before this one owes while we walk; else one flush is for all. */
		if (before)
			tdpi_gather_ahead(&b->op.gather);
		before = true;
		tdpi_limit_root(&b->op);
		mm->engine->zap(&b->op, root, span, flags, cut_level);
		if (high)
			mm->engine->zap(&b->op, root, span, flags, TDP_LEVELS_MAX);
	}
}

int tdpi_zap(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
	     uint32_t flags)
{
	struct tdpi_bulk b;
	int ret;

	tdpi_bulk_begin(&b, mm, op);
	ret = tdpi_zap_prepare(&b, as_id, span, flags);
	if (!ret)
		tdpi_zap_roots(&b, as_id, span, flags, 2, tdpi_zap_high(mm, span));
	tdpi_bulk_end(&b);
	return ret;
}

struct coverage {
	tdp_gpa_t next;
};

static int cover(void *arg, const struct tdp_visit *visit)
{
	struct coverage *c = arg;

	if (visit->gpa > c->next)
		return TDP_ENOENT;
	c->next = visit->gpa + TDPI_BIT(visit->lg2);
	return 0;
}

/* Is every page of the range mapped in the valid roots? */
static bool all_mapped(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span)
{
	bool all = false;

	tdpi_for_each_root(mm, root, as_id, TDPI_ROOTS_VALID)
	{
		struct coverage c = {span.start << TDP_PAGE_LG2};
		int ret;

		tdpi_rcu_lock(mm);
		ret = mm->engine->walk(mm, root, span, TDP_WALK_LEAF, cover, &c);
		tdpi_rcu_unlock(mm);
		all = ret == 0 && c.next >= span.end << TDP_PAGE_LG2;
		if (!all) {
			tdpi_root_drop(mm, root);
			break;
		}
	}
	return all;
}

int tdp_zap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags)
{
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (flags & ~(TDP_ZAP_LAZY | TDP_ZAP_STRICT | TDP_ZAP_KEEP_YOUNG | TDP_ZAP_NOYIELD))
		return TDP_EINVAL;
	if (flags & TDP_ZAP_STRICT && !all_mapped(mm, as_id, span))
		return TDP_ENOENT;
	return tdpi_zap(mm, TDP_OP_ZAP, as_id, span, flags);
}

int tdp_zap_table(struct tdp_mm *mm, tdp_pa_t pa)
{
	struct tdpi_table *t;
	struct tdpi_bulk b;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	tdpi_bulk_begin(&b, mm, TDP_OP_ZAP);
	tdpi_rcu_lock(mm);
	t = tdpi_pool_find(mm, pa);
	/* Linked now and inside the section: neither it nor its parent is freed before the section ends. */
	if (!t)
		ret = TDP_ENOENT;
	else if (!t->parent)
		ret = TDP_EINVAL;
	else
		ret = mm->engine->zap_table(&b.op, t);
	tdpi_rcu_unlock(mm);
	tdpi_bulk_end(&b);
	return ret;
}

uint64_t tdpi_compact_level(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
			    unsigned level)
{
	struct tdp_mm *mm = b->op.mm;
	uint64_t n = 0;

	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_VALID)
	{
		tdpi_limit_root(&b->op);
		n += mm->engine->compact(&b->op, root, span, level);
	}
	return n;
}

int tdp_compact(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range)
{
	struct tdpi_span span;
	struct tdpi_bulk b;
	uint64_t n = 0;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	tdpi_bulk_begin(&b, mm, TDP_OP_COMPACT);
	/* Bottom up: a table whose last child goes is empty itself then. */
	for (unsigned level = 1; level < mm->levels; level++)
		n += tdpi_compact_level(&b, as_id, span, level);
	tdpi_bulk_end(&b);
	return (int)tdpi_min64(n, INT32_MAX);
}

int tdp_trim(struct tdp_mm *mm, uint64_t *bytes)
{
	int ret = tdpi_mm_check(mm);
	uint64_t n;

	if (ret)
		return ret;
	n = tdpi_pool_trim(mm);
	if (bytes)
		*bytes = n;
	return TDP_OK;
}

/* ---- write protection ---- */

int tdpi_protect_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span, bool track)
{
	struct tdp_mm *mm = b->op.mm;
	int ret = topup_edges(mm, b, as_id, span, TDPI_ROOTS_VALID);

	if (ret)
		return ret;
	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_VALID)
	{
		tdpi_limit_root(&b->op);
		mm->engine->write_protect(&b->op, root, span, track);
	}
	return TDP_OK;
}

static int protect(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, bool track)
{
	struct tdpi_bulk b;
	int ret;

	tdpi_bulk_begin(&b, mm, track ? TDP_OP_WRITE_TRACK : TDP_OP_WRITE_PROTECT);
	ret = tdpi_protect_roots(&b, as_id, span, track);
	tdpi_bulk_end(&b);
	return ret;
}

int tdp_write_protect(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range)
{
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	return ret ? ret : protect(mm, as_id, span, false);
}

int tdp_write_track(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, bool on)
{
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX)
		return TDP_EINVAL;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	ret = tdpi_slots_track(mm, as_id, span, on);
	if (!ret && on) {
		ret = protect(mm, as_id, span, true);
		if (ret) /* no memory to split: as if it had never been asked */
			tdpi_slots_track(mm, as_id, span, false);
	}
	tdpi_unlock(&mm->env, &mm->slots_lock);
	return ret;
}

/* ---- aging ---- */

void tdpi_age_roots(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
		    struct tdpi_age *age)
{
	struct tdp_mm *mm = b->op.mm;
	/* One call at a time, which flushes before another may rely on it (I1). Nobody waits. */
	bool marks = mm->flags & TDP_MM_AGE_TABLES && age->mode & TDPI_AGE_CLEAR &&
		     tdpi_xchg_acquire(&mm->marking, 1u) == 0;

	age->mode |= marks ? TDPI_AGE_MARK : 0;
	/* Only valid roots: what an invalid one says is about memory as it was. */
	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_VALID)
	{
		tdpi_limit_root(&b->op);
		if (mm->engine->age(&b->op, root, span, age)) {
			tdpi_rcu_unlock(mm);
			break;
		}
	}
	if (marks) {
		tdpi_gather_finish(&b->op.gather);
		tdpi_store_release(&mm->marking, 0u);
		age->mode &= ~(unsigned)TDPI_AGE_MARK;
	}
}

static int age_all(struct tdp_mm *mm, uint32_t as_id, struct tdpi_span span, struct tdpi_age *age)
{
	struct tdpi_bulk b;

	tdpi_bulk_begin(&b, mm, TDP_OP_AGE);
	tdpi_age_roots(&b, as_id, span, age);
	tdpi_bulk_end(&b);
	return age->young != 0;
}

int tdp_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint64_t *young)
{
	struct tdpi_age age = {.mode = TDPI_AGE_CLEAR};
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	ret = age_all(mm, as_id, span, &age);
	if (young)
		*young = age.young;
	return ret;
}

int tdp_test_age(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range)
{
	struct tdpi_age age = {.mode = TDPI_AGE_FIRST};
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	return ret ? ret : age_all(mm, as_id, span, &age);
}

int tdp_age_bitmap(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, bool clear,
		   uint64_t *bitmap, size_t words)
{
	struct tdpi_age age = {.mode = clear ? TDPI_AGE_CLEAR : 0, .bitmap = bitmap};
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (!bitmap || words != (span.end - span.start + 63) / 64)
		return TDP_EINVAL;
	memset(bitmap, 0, words * sizeof(*bitmap));
	age.base = span.start;
	return age_all(mm, as_id, span, &age);
}

/* ---- huge pages ---- */

int tdpi_split(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
	       unsigned level)
{
	struct tdpi_bulk b;
	uint64_t need = 0;
	int ret;

	tdpi_bulk_begin(&b, mm, op);
	/* All of it first, so that running out changes nothing. */
	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_VALID) need +=
		mm->engine->split_need(mm, root, span, level);
	ret = tdpi_cache_topup(mm, &b.cache, need);
	tdpi_for_each_root_inside(mm, root, as_id, TDPI_ROOTS_VALID) if (!ret) ret =
		mm->engine->split(&b.op, root, span, level);
	tdpi_bulk_end(&b);
	return ret;
}

int tdp_split(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t lg2)
{
	struct tdpi_span span;
	unsigned level = 0;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	while (level < mm->levels && TDP_PAGE_LG2 + tdpi_level_shift(mm, level) != lg2)
		level++;
	if (level == mm->levels || !(mm->leaf_levels >> level & 1))
		return TDP_EINVAL;
	return tdpi_split(mm, TDP_OP_SPLIT, as_id, span, level);
}

/* What the slot and its backing say about a huge page that is to be made. 1: all well. */
static int ask_backing(struct tdp_mm *mm, uint32_t as_id, unsigned level, tdpi_gfn_t gfn,
		       uint64_t pfn, struct tdpi_bulk *b)
{
	struct tdp_page page = {0};
	struct tdpi_slot *slot;
	bool resolved = false;
	uint32_t lg2 = TDP_PAGE_LG2 + tdpi_level_shift(mm, level);
	int ret = 0;

	tdpi_rcu_lock(mm);
	slot = tdpi_slot_at(mm, as_id, gfn);
	if (slot && tdpi_slot_level(mm, slot, gfn, level) == level) {
		ret = 1;
		resolved = slot->ops.resolve != NULL;
		if (resolved)
			tdpi_slot_hold(slot);
		else if (slot->pfn + (gfn - slot->base) != pfn)
			ret = 0;
	}
	tdpi_rcu_unlock(mm);
	if (!resolved)
		return ret;
	tdpi_count(b->op.counts, resolves, 1);
	if (tdpi_resolve(mm, slot, gfn, lg2, TDP_R, &page)) {
		ret = 0;
	} else {
		ret = page.lg2 >= lg2 && page.pa >> TDP_PAGE_LG2 == pfn;
		if (slot->ops.release)
			tdpi_release(mm, slot, gfn, &page, ret ? TDP_RELEASE_MAPPED : 0);
	}
	tdpi_slot_drop(mm, slot);
	return ret;
}

/* One candidate. The gather is not kept long: the tables wait in it. */
static uint64_t collapse_one(struct tdpi_bulk *b, struct tdp_root *root, unsigned level,
			     tdpi_gfn_t gfn, uint64_t pfn, uint32_t flags)
{
	struct tdp_mm *mm = b->op.mm;
	struct tdpi_span one = {gfn, gfn + tdpi_level_pages(mm, level)};
	uint64_t seq = tdpi_invalidation_seq(mm), n = 0;
	struct tdpi_limit *limit = b->op.limit;

	if (!ask_backing(mm, root->as_id, level, gfn, pfn, b))
		return 0;
	tdpi_rcu_lock(mm);
	if (flags & TDP_COLLAPSE_ZAP) {
		b->op.limit = NULL; /* one table: no step ends inside */
		n = mm->engine->zap(&b->op, root, one, 0, level) == 0;
		b->op.limit = limit;
	} else {
		n = (uint64_t)mm->engine->collapse(&b->op, root, level, gfn, pfn, seq);
	}
	tdpi_rcu_unlock(mm);
	if (b->op.gather.table_count >= 64 ||
	    (mm->env.should_yield && mm->env.should_yield(mm->env.priv))) {
		tdpi_gather_finish(&b->op.gather);
		tdpi_count(b->op.counts, yields, 1);
		if (mm->env.yield)
			tdpi_yield(&mm->env);
	}
	return n;
}

static uint64_t collapse_root(struct tdpi_bulk *b, struct tdp_root *root, struct tdpi_span span,
			      unsigned level, uint32_t flags)
{
	struct tdp_mm *mm = b->op.mm;
	tdpi_gfn_t gfn = span.start;
	uint64_t pfn, n = 0;

	tdpi_limit_root(&b->op);
	for (;;) {
		bool found;

		tdpi_rcu_lock(mm);
		found = mm->engine->candidate(&b->op, root, level, span.end, &gfn, &pfn);
		tdpi_rcu_unlock(mm);
		if (!found)
			return n;
		n += collapse_one(b, root, level, gfn, pfn, flags);
		gfn += tdpi_level_pages(mm, level);
		if (b->op.limit && tdpi_limit_pay(&b->op, TDPI_BIT(mm->engine->index_lg2), gfn))
			return n;
	}
}

uint64_t tdpi_collapse_level(struct tdpi_bulk *b, uint32_t as_id, struct tdpi_span span,
			     unsigned level, uint32_t flags)
{
	uint64_t n = 0;

	if (b->op.mm->leaf_levels >> level & 1)
		tdpi_for_each_root(b->op.mm, root, as_id, TDPI_ROOTS_VALID) n +=
			collapse_root(b, root, span, level, flags);
	return n;
}

int tdpi_collapse(struct tdp_mm *mm, enum tdp_op op, uint32_t as_id, struct tdpi_span span,
		  uint32_t flags, uint64_t *collapsed)
{
	struct tdpi_bulk b;
	uint64_t n = 0;

	tdpi_bulk_begin(&b, mm, op);
	/* Bottom up: huge pages made now are the parts of larger ones. */
	for (unsigned level = 1; level < mm->levels; level++)
		n += tdpi_collapse_level(&b, as_id, span, level, flags);
	tdpi_bulk_end(&b);
	if (collapsed)
		*collapsed = n;
	return TDP_OK;
}

int tdp_collapse(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
		 uint64_t *collapsed)
{
	struct tdpi_span span;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (flags & ~TDP_COLLAPSE_ZAP)
		return TDP_EINVAL;
	return tdpi_collapse(mm, TDP_OP_COLLAPSE, as_id, span, flags, collapsed);
}

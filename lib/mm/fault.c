/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults and populate: which slot, what backs it, how large a page; the engine installs it.
 *
 * Order of a fault: fill the cache, sequence, slot, fast path, backing (no section, no lock), then the engine
 * checks the sequence again under the lock of the table it writes in. Before the backing is asked, and after, a look
 * without the lock saves what would be in vain.
 */
#include "mm/op.h"
#include "mm/root.h"
#include "mm/slot.h"
#include "mm/struct.h"

#define FAULT_FLAGS                                                                                \
	(TDP_FAULT_PRESENT | TDP_FAULT_RSVD | TDP_FAULT_ACCESS_FLAG | TDP_FAULT_WALK |             \
	 TDP_FAULT_GVA | TDP_FAULT_SIZE | TDP_FAULT_PREFETCH)

/* One attempt to map around a frame: used by faults and by populate. */
struct attempt {
	struct tdpi_op *op;
	struct tdp_vcpu *vcpu; /* NULL: populate */
	struct tdp_root *root;
	uint32_t as_id;
	struct tdpi_map map;
	struct tdp_page page;
	struct tdpi_slot *slot; /* held while resolved */
	uint32_t slot_id;
	bool later; /* the backing said TDP_EAGAIN */
};

static uint32_t mmio_generation(const struct tdp_mm *mm)
{
	return (uint32_t)(tdpi_load_acquire(&mm->slot_generation) &
			  (TDPI_BIT(mm->mmio_gen_bits) - 1));
}

/* The vCPU's last slot while no slot has changed (Z08); else NULL. Inside the section, after seq. */
static inline struct tdpi_slot *last_slot(const struct tdp_vcpu *v, uint64_t generation,
					  uint32_t as_id, tdpi_gfn_t gfn)
{
	struct tdpi_slot *slot = v->last_slot;

	/* Its removal would have moved the generation, and waits for this section. */
	return slot && v->last_generation == generation && slot->as_id == as_id &&
			       gfn - slot->base < slot->pages
		       ? slot
		       : NULL;
}

/* That, else by bisection. */
static struct tdpi_slot *find_slot(struct attempt *a)
{
	const struct tdp_mm *mm = a->op->mm;
	uint64_t generation = tdpi_load_acquire(&mm->slot_generation);
	struct tdpi_slot *slot = NULL;

	if (a->vcpu)
		slot = last_slot(a->vcpu, generation, a->as_id, a->map.gfn);
	if (slot)
		return slot;
	slot = tdpi_slot_at(mm, a->as_id, a->map.gfn);
	if (a->vcpu && slot) {
		a->vcpu->last_slot = slot;
		a->vcpu->last_generation = generation;
	}
	return slot;
}

static int mmio(struct attempt *a)
{
	const struct tdp_mm *mm = a->op->mm;
	int ret;

	if (tdpi_slot_in_transit(mm, a->as_id, a->map.gfn) ||
	    tdpi_invalidation_seq(mm) != a->map.seq)
		return TDP_FAULT_RETRY;
	if (mm->flags & TDP_MM_NO_MMIO_CACHE || a->map.prefetch)
		return TDP_FAULT_MMIO;
	ret = mm->engine->map_mmio(a->op, a->root, a->map.gfn, a->map.mmio_gen, a->map.seq);
	/* The entry is only a cache: no memory for it changes nothing about the answer. */
	return ret == TDP_ENOMEM ? TDP_FAULT_MMIO : ret;
}

/* What can be said before the backing is looked up; TDP_ENOENT: it has to be. Inside the section. */
static int before_backing(struct attempt *a, struct tdpi_slot *slot)
{
	struct tdpi_map *m = &a->map;
	int ret;

	if (slot && tdpi_slot_owner(slot, m->gfn))
		return TDP_EACCES;
	if (slot && m->access & TDP_W && tdpi_slot_readonly(slot))
		return TDP_FAULT_READONLY;
	if (slot && m->access & TDP_W && tdpi_slot_tracked(slot, m->gfn))
		return TDP_FAULT_TRACKED;
	if (m->prefetch && slot)
		/* What is mapped stays as it is, so its backing need not be asked. */
		return a->op->mm->engine->present(a->op->mm, a->root, m) ? TDP_FAULT_SPURIOUS
									 : TDP_ENOENT;
	ret = a->op->mm->engine->fast(a->op, a->root, slot, m);
	if (ret != TDP_ENOENT) {
		tdpi_count(a->op->counts, fault_fast, ret == TDP_FAULT_FIXED);
		return ret;
	}
	return slot ? TDP_ENOENT : mmio(a);
}

/* The slot and its backing stay, outside the section too. A fault has one at a time, populate is no vCPU. */
static void hold(struct attempt *a, struct tdpi_slot *slot)
{
	if (a->vcpu)
		tdpi_slot_ask(a->vcpu, slot);
	else
		tdpi_slot_hold(slot);
}

static void let_go(struct attempt *a, struct tdpi_slot *slot)
{
	if (a->vcpu)
		tdpi_slot_answered(a->vcpu);
	else
		tdpi_slot_drop(a->op->mm, slot);
}

/*
 * Would the look under the table's lock refuse this attempt anyhow? Asked without the lock it saves a look-up, or a
 * wait for the zap that has the lock. Yes is an answer (RETRY is never wrong), no is none: that look decides (A4).
 */
static bool stale(struct attempt *a)
{
	if (tdpi_likely(!tdpi_invalidated(a->op->mm, a->map.gfn, 1, a->map.seq)))
		return false;
	tdpi_count(a->op->counts, fault_prechecked, 1);
	return true;
}

/* May the access be granted by memory that can do `can`? */
static int allowed(const struct attempt *a, const struct tdpi_slot *slot, uint32_t can)
{
	if (tdpi_slot_readonly(slot))
		can &= ~TDP_W;
	/* Populate asks as a reader, but nobody reads: execute-only memory is mapped as what it is. */
	if (a->map.prefetch)
		can |= TDP_R;
	return a->map.access & ~can & TDP_RWX ? TDP_EACCES : TDP_OK;
}

/* Linear: arithmetic. The slot was checked when it was added, the level says what is congruent. */
static int linear(struct attempt *a, const struct tdpi_slot *slot, unsigned level)
{
	struct tdpi_map *m = &a->map;

	if (stale(a))
		return TDP_FAULT_RETRY;
	m->pfn = slot->pfn + (m->gfn - slot->base);
	m->prot = slot->prot;
	m->level = level;
	m->end = slot->base + slot->pages;
	return allowed(a, slot, slot->prot);
}

/* Ask, outside the section (which is left and entered again). */
static int ask(struct attempt *a, struct tdpi_slot *slot, unsigned level)
{
	const struct tdp_mm *mm = a->op->mm;
	int ret;

	if (stale(a))
		return TDP_FAULT_RETRY;
	hold(a, slot);
	a->map.at = NULL; /* found in the section that ends here */
	tdpi_rcu_unlock(mm);
	tdpi_count(a->op->counts, resolves, 1);
	ret = tdpi_resolve(mm, slot, a->map.gfn, TDP_PAGE_LG2 + tdpi_level_shift(mm, level),
			   a->map.access, &a->page);
	tdpi_rcu_lock(mm);
	if (ret) {
		a->later = ret == TDP_EAGAIN;
		let_go(a, slot);
		return ret == TDP_EAGAIN ? TDP_FAULT_RETRY : ret < 0 ? ret : TDP_EFAULT;
	}
	a->slot = slot;
	return stale(a) ? TDP_FAULT_RETRY : TDP_OK;
}

/* Is the answer something we can map, for this access? */
static int check_page(const struct attempt *a, const struct tdpi_slot *slot)
{
	const struct tdp_mm *mm = a->op->mm;

	if (a->page.pa & (TDP_PAGE_SIZE - 1) || a->page.lg2 < TDP_PAGE_LG2 ||
	    a->page.pa >> (mm->caps.pa_bits - 1) > 1)
		return TDP_EFAULT;
	if (!mm->engine->prot_ok(a->page.prot, mm->caps.flags))
		return TDP_EFAULT;
	return allowed(a, slot, a->page.prot);
}

/* The largest leaf that slot, backing and congruence allow. */
static unsigned pick_level(const struct attempt *a, unsigned max)
{
	const struct tdp_mm *mm = a->op->mm;
	uint64_t pfn = a->page.pa >> TDP_PAGE_LG2;

	for (unsigned level = max; level > 0; level--) {
		uint64_t pages = tdpi_level_pages(mm, level);

		if (mm->leaf_levels >> level & 1 &&
		    a->page.lg2 >= TDP_PAGE_LG2 + tdpi_level_shift(mm, level) &&
		    !((pfn ^ a->map.gfn) & (pages - 1)))
			return level;
	}
	return 0;
}

static int resolved(struct attempt *a, struct tdpi_slot *slot, unsigned level)
{
	struct tdpi_map *m = &a->map;
	int ret = ask(a, slot, level);
	uint64_t block;

	if (!ret)
		ret = check_page(a, slot);
	if (ret)
		return ret;
	m->pfn = a->page.pa >> TDP_PAGE_LG2;
	m->prot = a->page.prot;
	m->level = pick_level(a, level);
	/* Contiguous as far as the answer goes. */
	block = TDPI_BIT(tdpi_min64(a->page.lg2, 63) - TDP_PAGE_LG2);
	m->end = tdpi_min64((m->gfn & ~(block - 1)) + block, slot->base + slot->pages);
	return TDP_OK;
}

/* Give the page back, exactly once for each lookup; outside the section. */
static void release(struct attempt *a, int outcome)
{
	struct tdpi_slot *slot = a->slot;
	bool mapped = outcome == TDP_FAULT_FIXED;

	if (!slot)
		return;
	if (slot->ops.release)
		tdpi_release(a->op->mm, slot, a->map.gfn, &a->page,
			     (mapped ? TDP_RELEASE_MAPPED : 0) |
				     (mapped && a->map.writable ? TDP_RELEASE_WRITABLE : 0));
	a->slot = NULL;
	let_go(a, slot);
}

/* end: populate fills up to there; a fault passes gfn + 1. */
static int attempt(struct attempt *a, tdpi_gfn_t end)
{
	struct tdp_mm *mm = a->op->mm;
	struct tdpi_map *m = &a->map;
	struct tdpi_slot *slot;
	unsigned level;
	int ret;

	a->slot = NULL;
	a->slot_id = ~(uint32_t)0;
	a->later = false;
	m->at = NULL;
	tdpi_rcu_lock(mm);
	if (tdpi_load_acquire(&a->root->invalid)) {
		tdpi_rcu_unlock(mm);
		return TDP_FAULT_RETRY;
	}
	m->seq = tdpi_invalidation_seq(mm); /* A4: before slot and backing */
	m->mmio_gen = mmio_generation(mm);
	slot = find_slot(a);
	a->slot_id = slot ? slot->id : ~(uint32_t)0;
	ret = before_backing(a, slot);
	if (ret == TDP_ENOENT) {
		m->slot = slot;
		level = tdpi_slot_level(mm, slot, m->gfn, mm->levels - 1);
		ret = slot->ops.resolve ? resolved(a, slot, level) : linear(a, slot, level);
		if (!ret) {
			m->end = tdpi_min64(m->end, end);
			ret = mm->engine->map(a->op, a->root, m);
		}
	}
	tdpi_rcu_unlock(mm);
	/* Rights that were lowered in passing are flushed before anybody relies on it. */
	if (!tdpi_gather_idle(&a->op->gather))
		tdpi_gather_finish(&a->op->gather);
	release(a, ret);
	return ret;
}

/* ---- faults ---- */

static int fault_check(const struct tdp_vcpu *v, const struct tdp_fault *f)
{
	int ret;

	if (!v || !f)
		return TDP_EINVAL;
	ret = tdpi_mm_check(v->mm);
	if (ret)
		return ret;
	if (f->flags & ~FAULT_FLAGS || f->access == 0 || f->access & ~TDP_RWX || f->reserved)
		return TDP_EINVAL;
	if (f->gpa >> v->mm->gpa_bits || f->flags & TDP_FAULT_SIZE)
		return TDP_ERANGE;
	return v->root ? TDP_OK : TDP_ENOENT;
}

/*
 * A fault that needs no attempt(): memory is where arithmetic says, and nothing else is there (engine/straight.h). What
 * it is asked about is in the order of attempt(). TDP_ENOENT: not that simple.
 */
static int straight(struct tdp_vcpu *v, struct tdpi_map *m, uint32_t *slot_id)
{
	const struct tdp_mm *mm = v->mm;
	const struct tdpi_slot *slot;
	int ret = TDP_ENOENT;

	tdpi_rcu_lock(mm);
	m->seq = tdpi_invalidation_seq(mm); /* A4: before the slot */
	slot = last_slot(v, tdpi_load_acquire(&mm->slot_generation), v->root->as_id, m->gfn);
	if (slot && !slot->ops.resolve) {
		ret = mm->engine->straight(v, slot, m);
		*slot_id = slot->id;
	}
	tdpi_rcu_unlock(mm);
	return ret;
}

static void fill_result(const struct tdp_mm *mm, const struct tdpi_map *m, uint32_t slot_id,
			int outcome, tdp_gpa_t gpa, struct tdp_fault_result *r)
{
	struct tdp_mapping leaf;
	uint32_t size = r->size;

	memset(r, 0, sizeof(*r));
	r->size = size;
	r->gpa = gpa & ~(TDP_PAGE_SIZE - 1);
	r->lg2 = TDP_PAGE_LG2;
	r->slot = slot_id;
	if (outcome != TDP_FAULT_FIXED && outcome != TDP_FAULT_SPURIOUS)
		return;
	mm->engine->leaf_info(m->leaf, m->leaf_level, m->gfn, mm->encrypt_mask, &leaf);
	r->gpa = leaf.gpa;
	r->lg2 = leaf.lg2;
	r->pa = leaf.pa;
	r->prot = leaf.prot;
}

/* Not zeroed as a whole: that would cost as much as all the rest. */
static int fault_once(struct tdp_vcpu *v, struct attempt *a)
{
	struct tdpi_op op;

	tdpi_op_begin(&op, v->mm, &v->cache, &v->counts);
	op.vcpu_cookie = v->cookie;
	tdpi_gather_begin_flush_only(&op.gather, v->mm, &v->counts, TDP_OP_FAULT);
	a->op = &op;
	a->vcpu = v;
	a->root = v->root;
	a->as_id = v->root->as_id;
	a->map.young = false;
	a->map.hold_write = false;
	a->map.raised = false;
	return attempt(a, a->map.gfn + 1);
}

int tdp_fault(struct tdp_vcpu *v, const struct tdp_fault *fault, struct tdp_fault_result *result)
{
	const struct tdp_fault *f = fault;
	struct tdp_fault other; /* as an older or newer caller has it */
	struct attempt a;
	int ret;

	if (!fault)
		return TDP_EINVAL;
	if (tdpi_unlikely(fault->size != sizeof(*f) && fault->size)) {
		ret = tdpi_struct_copy(&other, sizeof(other), fault, fault->size);
		if (ret)
			return ret;
		f = &other;
	}
	ret = result && result->size != sizeof(*result) ? TDP_EINVAL : fault_check(v, f);
	if (!ret && tdpi_unlikely(v->cache.count < v->mm->engine->fault_tables))
		ret = tdpi_cache_topup(v->mm, &v->cache, v->mm->engine->fault_tables);
	if (ret)
		return ret;
	a.map.gfn = f->gpa >> TDP_PAGE_LG2;
	a.map.access = f->access;
	a.map.prefetch = f->flags & TDP_FAULT_PREFETCH;
	ret = a.map.prefetch ? TDP_ENOENT : straight(v, &a.map, &a.slot_id);
	if (tdpi_unlikely(ret == TDP_ENOENT))
		ret = fault_once(v, &a);
	if (ret >= 0)
		tdpi_count(&v->counts, faults[ret], 1);
	else
		tdpi_count(&v->counts, fault_errors, 1);
	if (result)
		fill_result(v->mm, &a.map, a.slot_id, ret, f->gpa, result);
	tdpi_lockcheck(&v->mm->env, TDPI_AT_RETURN);
	return ret;
}

/* ---- populate ---- */

/* Tables for all of span, so that running out of memory is known before anything is mapped. */
static int reserve(struct attempt *a, struct tdpi_span span)
{
	struct tdp_mm *mm = a->op->mm;
	uint64_t n = 0;

	tdpi_rcu_lock(mm);
	for (tdpi_gfn_t gfn = span.start; gfn < span.end;) {
		struct tdpi_slot *slot = tdpi_slot_at(mm, a->as_id, gfn);
		struct tdpi_span part = {gfn, span.end};

		if (!slot)
			break; /* reported when the walk comes there */
		part.end = tdpi_min64(part.end, slot->base + slot->pages);
		n += mm->engine->missing(mm, a->root, slot, part);
		gfn = part.end;
	}
	tdpi_rcu_unlock(mm);
	return tdpi_cache_topup(mm, a->op->cache, n);
}

static int stop_at_leaf(void *arg, const struct tdp_visit *visit)
{
	(void)arg;
	(void)visit;
	return TDP_EEXIST;
}

static int populate(struct attempt *a, struct tdpi_span span, uint32_t flags, tdpi_gfn_t *done)
{
	struct tdp_mm *mm = a->op->mm;
	int ret = TDP_OK;

	if (flags & TDP_POPULATE_STRICT) {
		tdpi_rcu_lock(mm);
		ret = mm->engine->walk(mm, a->root, span, TDP_WALK_LEAF, stop_at_leaf, NULL);
		tdpi_rcu_unlock(mm);
	}
	if (!ret)
		ret = reserve(a, span);
	while (!ret && *done < span.end) {
		a->map.gfn = *done;
		a->map.next = *done;
		a->map.prefetch = true;
		a->map.young = flags & TDP_POPULATE_YOUNG;
		a->map.hold_write = flags & TDP_POPULATE_READ;
		a->map.access = TDP_R;
		ret = attempt(a, span.end);
		if (ret == TDP_FAULT_MMIO)
			return TDP_ENOENT;
		if (ret == TDP_ENOMEM) /* tables went away meanwhile: as many again */
			ret = tdpi_cache_topup(mm, a->op->cache, mm->engine->fault_tables);
		if (a->later) /* when, only the caller can know */
			return TDP_EAGAIN;
		if (ret > 0 && ret != TDP_FAULT_RETRY && ret != TDP_FAULT_SPURIOUS)
			return TDP_EFAULT;
		if (ret >= 0) {
			if (tdpi_load_acquire(&a->root->invalid))
				return TDP_EAGAIN;
			*done = tdpi_min64(tdpi_max64(*done, a->map.next), span.end);
			ret = TDP_OK;
		}
		if (mm->env.should_yield && mm->env.should_yield(mm->env.priv))
			tdpi_yield(&mm->env);
	}
	return ret;
}

int tdp_populate(struct tdp_mm *mm, uint32_t as_id, struct tdp_range range, uint32_t flags,
		 uint64_t *done)
{
	struct tdpi_counts counts = {0};
	struct tdpi_bulk b;
	struct attempt a = {0};
	struct tdpi_span span;
	tdpi_gfn_t upto;
	int ret = tdpi_span_check(mm, as_id, range, &span);

	if (ret)
		return ret;
	if (as_id >= TDP_AS_MAX ||
	    flags & ~(TDP_POPULATE_STRICT | TDP_POPULATE_READ | TDP_POPULATE_YOUNG))
		return TDP_EINVAL;
	/* Before we hold a ticket: making room for a root tears others down, and that takes one. */
	ret = tdpi_root_get(mm, tdp_role_root(mm, as_id), &counts, &a.root);
	tdpi_counts_merge(mm, &counts);
	if (ret)
		return ret;
	tdpi_bulk_begin(&b, mm, TDP_OP_POPULATE);
	upto = span.start;
	a.op = &b.op;
	a.as_id = as_id;
	ret = populate(&a, span, flags, &upto);
	tdpi_root_drop(mm, a.root);
	if (done)
		*done = (upto - span.start) << TDP_PAGE_LG2;
	tdpi_bulk_end(&b);
	return ret;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memslots: sorted arrays read under RCU and replaced as a whole, one per address space. All changes hold
 * slots_lock; each bumps the invalidation sequence, so that no fault under way uses what it looked up.
 */
#include "mm/slot.h"

#include "mm/range.h"
#include "mm/root.h"
#include "mm/struct.h"

/* ---- readers ---- */

struct tdpi_slot *tdpi_slot_at(const struct tdp_mm *mm, uint32_t as_id, tdpi_gfn_t gfn)
{
	const struct tdpi_slots *slots = tdpi_load_acquire(&mm->slots[as_id]);
	uint64_t lo = 0, hi = slots ? slots->count : 0;

	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		struct tdpi_slot *slot = slots->slot[mid];

		if (gfn < slot->base)
			hi = mid;
		else if (gfn - slot->base >= slot->pages)
			lo = mid + 1;
		else
			return slot;
	}
	return NULL;
}

struct tdpi_slot *tdpi_slot_by_id(const struct tdp_mm *mm, uint32_t id)
{
	for (unsigned as = 0; as < TDP_AS_MAX; as++) {
		const struct tdpi_slots *slots = tdpi_load_acquire(&mm->slots[as]);

		for (uint64_t i = 0; slots && i < slots->count; i++)
			if (slots->slot[i]->id == id)
				return slots->slot[i];
	}
	return NULL;
}

/* In the count of references: a removal waits for them. Else nobody is woken. */
#define SLOT_AWAITED 0x80000000u

void tdpi_slot_hold(struct tdpi_slot *slot)
{
	tdpi_add_relaxed(&slot->refs, 1);
}

void tdpi_slot_drop(const struct tdp_mm *mm, struct tdpi_slot *slot)
{
	/* The last one lets a removal go on, which frees the slot: nothing of it is touched after. */
	const struct tdp_env *env = &mm->env;
	const uint32_t *word = &slot->refs;

	if (tdpi_sub_acq_rel(&slot->refs, 1) == (SLOT_AWAITED | 1) && env->wake)
		env->wake(env->priv, word);
}

void tdpi_slot_answered(struct tdp_vcpu *v)
{
	struct tdp_mm *mm = v->mm;

	tdpi_store_release(&v->asking, (struct tdpi_slot *)NULL);
	tdpi_fence_seq_cst(); /* A7: pairs with wait_for_answers() */
	if (tdpi_likely(tdpi_load_relaxed(&mm->answers_awaited) == 0))
		return;
	tdpi_add_relaxed(&mm->answers, 1);
	if (mm->env.wake)
		mm->env.wake(mm->env.priv, &mm->answers);
}

/* Is a vCPU's fault still asking the backing of this slot? */
static bool is_asked(struct tdp_mm *mm, const struct tdpi_slot *slot)
{
	bool asked = false;

	tdpi_lock(&mm->env, &mm->vcpus_lock, TDPI_LOCK_VCPUS);
	for (const struct tdp_vcpu *v = mm->vcpus; v && !asked; v = v->next)
		asked = tdpi_load_acquire(&v->asking) == slot;
	tdpi_unlock(&mm->env, &mm->vcpus_lock);
	return asked;
}

/* No fault can begin to ask any more: the slot is found by nobody, and who had found it has left a section since. */
static void wait_for_answers(struct tdp_mm *mm, const struct tdpi_slot *slot)
{
	tdpi_store_relaxed(&mm->answers_awaited, 1u);
	tdpi_fence_seq_cst(); /* A7: an answer sees that somebody waits, or is seen */
	for (;;) {
		uint32_t answers = tdpi_load_acquire(&mm->answers);

		if (!is_asked(mm, slot))
			break;
		if (mm->env.wait)
			mm->env.wait(mm->env.priv, &mm->answers, answers);
		else
			tdpi_relax(&mm->env);
	}
	tdpi_store_relaxed(&mm->answers_awaited, 0u);
}

static void wait_for_holders(const struct tdp_mm *mm, struct tdpi_slot *slot)
{
	uint32_t refs;

	tdpi_or_relaxed(&slot->refs,
			SLOT_AWAITED); /* the same word: who drops after this sees it */
	while ((refs = tdpi_load_acquire(&slot->refs)) != SLOT_AWAITED) {
		if (mm->env.wait)
			mm->env.wait(mm->env.priv, &slot->refs, refs);
		else
			tdpi_relax(&mm->env);
	}
	tdpi_store_relaxed(&slot->refs, 0u); /* a slot that moves is found again */
}

unsigned tdpi_slot_level(const struct tdp_mm *mm, const struct tdpi_slot *slot, tdpi_gfn_t gfn,
			 unsigned max)
{
	if (tdpi_load_relaxed(&slot->flags) & TDP_SLOT_FORCE_4K || tdpi_slot_log(slot))
		return 0;
	for (unsigned level = max; level > 0; level--) {
		uint64_t pages = tdpi_level_pages(mm, level);
		tdpi_gfn_t base = gfn & ~(pages - 1);
		const uint32_t *tracked = tdpi_load_acquire(&slot->tracked_huge[level]);

		if (!(mm->leaf_levels >> level & 1))
			continue;
		if (base < slot->base || base + pages > slot->base + slot->pages)
			continue;
		if (!slot->ops.resolve && (slot->pfn + (base - slot->base)) & (pages - 1))
			continue;
		if (tracked &&
		    tdpi_load_relaxed(&tracked[tdpi_slot_huge_index(mm, slot, gfn, level)]))
			continue;
		return level;
	}
	return 0;
}

/* ---- replacing an array ---- */

static uint64_t slots_bytes(uint64_t count)
{
	return sizeof(struct tdpi_slots) + count * sizeof(struct tdpi_slot *);
}

static struct tdpi_slots *slots_alloc(struct tdp_mm *mm, uint64_t count)
{
	struct tdpi_slots *slots = tdpi_obj_alloc(&mm->env, slots_bytes(count));

	if (slots) {
		slots->mm = mm;
		slots->count = count;
	}
	return slots;
}

static void slots_free(struct tdp_rcu_head *head)
{
	struct tdpi_slots *slots = tdpi_container_of(head, struct tdpi_slots, rcu);

	slots->mm->env.obj_free(slots->mm->env.priv, slots, slots_bytes(slots->count));
}

/* The old array without `out` (may be NULL) and with `in` (may be NULL) at its place. */
static void slots_rebuild(struct tdpi_slots *to, const struct tdpi_slots *from,
			  const struct tdpi_slot *out, struct tdpi_slot *in)
{
	uint64_t n = 0;

	for (uint64_t i = 0; from && i < from->count; i++) {
		if (in && from->slot[i]->base > in->base) {
			to->slot[n++] = in;
			in = NULL;
		}
		if (from->slot[i] != out)
			to->slot[n++] = from->slot[i];
	}
	if (in)
		to->slot[n++] = in;
	TDPI_ASSERT(n == to->count);
}

/* A new generation voids all MMIO entries; when its stored width wraps, old ones would come alive again. */
static void new_generation(struct tdp_mm *mm)
{
	uint64_t gen = tdpi_load_relaxed(&mm->slot_generation) + 1;

	tdpi_store_release(&mm->slot_generation, gen);
	if (!(gen & (TDPI_BIT(mm->mmio_gen_bits) - 1)))
		tdpi_roots_invalidate(mm, TDP_OP_SLOT);
}

/* slots_lock held. From here no new lookup finds the old state, and no old lookup is used. */
static void slots_publish(struct tdp_mm *mm, uint32_t as_id, struct tdpi_slots *fresh)
{
	struct tdpi_slots *old = mm->slots[as_id];

	tdpi_store_release(&mm->slots[as_id], fresh);
	/* In this order: whoever has the new sequence does not trust a slot of the old generation. */
	new_generation(mm);
	tdpi_invalidate_lookups(mm);
	if (old)
		mm->rcu.defer(&old->rcu, slots_free);
}

static bool overlaps(const struct tdpi_slots *slots, const struct tdpi_slot *but, tdpi_gfn_t base,
		     uint64_t pages)
{
	for (uint64_t i = 0; slots && i < slots->count; i++) {
		const struct tdpi_slot *s = slots->slot[i];

		if (s != but && base < s->base + s->pages && s->base < base + pages)
			return true;
	}
	return false;
}

/* ---- life ---- */

static void slot_destroy(struct tdp_mm *mm, struct tdpi_slot *slot)
{
	tdpi_slot_log_free(mm, slot);
	tdpi_slot_track_free(mm, slot);
	mm->env.obj_free(mm->env.priv, slot, sizeof(*slot));
}

void tdpi_slots_destroy(struct tdp_mm *mm)
{
	for (unsigned as = 0; as < TDP_AS_MAX; as++) {
		struct tdpi_slots *slots = mm->slots[as];

		if (!slots)
			continue;
		for (uint64_t i = 0; i < slots->count; i++)
			slot_destroy(mm, slots->slot[i]);
		mm->env.obj_free(mm->env.priv, slots, slots_bytes(slots->count));
		mm->slots[as] = NULL;
	}
}

/*
 * The slot is found no more: zap what it mapped, wait for lookups under way. Until the zap is over its log
 * still takes the dirty bits of what goes.
 */
static void slot_leave(struct tdp_mm *mm, struct tdpi_slot *slot, struct tdpi_slots *without)
{
	struct tdpi_span span = {slot->base, slot->base + slot->pages};

	tdpi_store_release(&mm->leaving, slot);
	slots_publish(mm, slot->as_id, without);
	if (mm->flags & TDP_MM_SLOT_ZAP_ALL)
		tdpi_roots_invalidate(mm, TDP_OP_SLOT);
	tdpi_zap(mm, TDP_OP_SLOT, slot->as_id, span, TDP_ZAP_LAZY);
	tdpi_store_release(&mm->leaving, (struct tdpi_slot *)NULL);
	tdpi_synchronize(mm);
	wait_for_answers(mm, slot);
	wait_for_holders(mm, slot);
}

static int check_backing(const struct tdp_mm *mm, const struct tdp_slot_desc *d,
			 const struct tdp_backing_ops *ops, uint32_t prot)
{
	uint64_t limit = mm->caps.pa_bits >= 64 ? ~(uint64_t)0 : TDPI_BIT(mm->caps.pa_bits);

	if (d->backing)
		return ops->resolve && !ops->flags ? TDP_OK : TDP_EINVAL;
	if (d->pa & (TDP_PAGE_SIZE - 1) || d->backing_arg)
		return TDP_EINVAL;
	if (d->gpa.size > limit || d->pa > limit - d->gpa.size)
		return TDP_ERANGE;
	if (prot & ~TDP_PROT_MASK)
		return TDP_EINVAL;
	return mm->engine->prot_ok(prot, mm->caps.flags) ? TDP_OK : TDP_ENOTSUP;
}

static int slot_make(struct tdp_mm *mm, const struct tdp_slot_desc *d, struct tdpi_span span,
		     struct tdpi_slot **out)
{
	struct tdp_backing_ops ops = {0};
	uint32_t prot = d->prot ? d->prot : TDP_RWX | TDP_MT_WB;
	struct tdpi_slot *slot;
	int ret;

	if (d->flags & ~(TDP_SLOT_READONLY | TDP_SLOT_FORCE_4K) || d->as_id >= TDP_AS_MAX)
		return TDP_EINVAL;
	if (d->backing_start + d->gpa.size < d->backing_start)
		return TDP_ERANGE;
	if (d->backing) {
		ret = tdpi_struct_copy(&ops, sizeof(ops), d->backing, d->backing->size);
		if (ret)
			return ret;
	}
	ret = check_backing(mm, d, &ops, prot);
	if (ret)
		return ret;
	slot = tdpi_obj_alloc(&mm->env, sizeof(*slot));
	if (!slot)
		return TDP_ENOMEM;
	slot->as_id = d->as_id;
	slot->base = span.start;
	slot->pages = span.end - span.start;
	slot->pfn = d->pa >> TDP_PAGE_LG2;
	slot->prot = prot;
	slot->flags = d->flags;
	slot->ops = ops;
	slot->backing_arg = d->backing_arg;
	slot->backing_start = d->backing_start;
	slot->backing = d->backing;
	*out = slot;
	return TDP_OK;
}

int tdp_slot_add(struct tdp_mm *mm, const struct tdp_slot_desc *desc, uint32_t *id)
{
	struct tdp_slot_desc d;
	struct tdpi_slots *fresh;
	struct tdpi_slot *slot;
	struct tdpi_span span;
	int ret;

	if (!desc || !id)
		return TDP_EINVAL;
	ret = tdpi_struct_copy(&d, sizeof(d), desc, desc->size);
	if (!ret)
		ret = tdpi_span_check(mm, 0, d.gpa, &span);
	if (!ret)
		ret = slot_make(mm, &d, span, &slot);
	if (ret)
		return ret;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	fresh = slots_alloc(mm, (mm->slots[d.as_id] ? mm->slots[d.as_id]->count : 0) + 1);
	if (!fresh)
		ret = TDP_ENOMEM;
	else if (overlaps(mm->slots[d.as_id], NULL, slot->base, slot->pages))
		ret = TDP_EEXIST;
	else if (mm->next_slot_id == ~(uint32_t)0)
		ret = TDP_ENOSPC;
	if (!ret) {
		slot->id = mm->next_slot_id++;
		*id = slot->id;
		slots_rebuild(fresh, mm->slots[d.as_id], NULL, slot);
		slots_publish(mm, d.as_id, fresh);
	}
	tdpi_unlock(&mm->env, &mm->slots_lock);
	if (ret) {
		if (fresh)
			slots_free(&fresh->rcu);
		slot_destroy(mm, slot);
	}
	return ret;
}

int tdp_slot_remove(struct tdp_mm *mm, uint32_t id)
{
	struct tdpi_slots *fresh;
	struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	slot = tdpi_slot_by_id(mm, id);
	fresh = slot ? slots_alloc(mm, mm->slots[slot->as_id]->count - 1) : NULL;
	if (!slot)
		ret = TDP_ENOENT;
	else if (!fresh)
		ret = TDP_ENOMEM;
	if (!ret) {
		slots_rebuild(fresh, mm->slots[slot->as_id], slot, NULL);
		slot_leave(mm, slot, fresh);
		if (slot->log == TDP_LOG_DBIT)
			tdpi_sub_relaxed(&mm->dbit_logs, 1);
	}
	tdpi_unlock(&mm->env, &mm->slots_lock);
	if (!ret)
		slot_destroy(mm, slot);
	return ret;
}

/*
 * Between two arrays nothing is mapped: first the slot disappears (and everything of it), then it is there
 * again at its new place. Both arrays and nothing else are allocated first.
 */
static int move_locked(struct tdp_mm *mm, struct tdpi_slot *slot, tdpi_gfn_t base)
{
	struct tdpi_slots *now = mm->slots[slot->as_id];
	struct tdpi_slots *without = slots_alloc(mm, now->count - 1);
	struct tdpi_slots *with = slots_alloc(mm, now->count);

	if (!without || !with) {
		if (without)
			slots_free(&without->rcu);
		if (with)
			slots_free(&with->rcu);
		return TDP_ENOMEM;
	}
	slots_rebuild(without, now, slot, NULL);
	/* Meanwhile faults at both places wait (RETRY): neither is MMIO. */
	tdpi_store_relaxed(&mm->transit.as_id, slot->as_id);
	tdpi_store_relaxed(&mm->transit.from, slot->base);
	tdpi_store_relaxed(&mm->transit.to, base);
	tdpi_store_relaxed(&mm->transit.pages, slot->pages);
	tdpi_store_release(&mm->transit.active, 1u);
	slot_leave(mm, slot, without);
	tdpi_slot_track_free(mm, slot); /* counts by huge page depend on where the slot lies */
	slot->base = base;
	slots_rebuild(with, without, NULL, slot);
	slots_publish(mm, slot->as_id, with);
	tdpi_store_release(&mm->transit.active, 0u);
	return TDP_OK;
}

int tdp_slot_move(struct tdp_mm *mm, uint32_t id, tdp_gpa_t gpa)
{
	struct tdp_range to = {gpa, TDP_PAGE_SIZE};
	struct tdpi_span span;
	struct tdpi_slot *slot;
	int ret = tdpi_span_check(mm, 0, to, &span);

	if (ret)
		return ret;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	slot = tdpi_slot_by_id(mm, id);
	if (!slot)
		ret = TDP_ENOENT;
	else if (slot->pages > (TDPI_BIT(mm->gpa_bits) - gpa) >> TDP_PAGE_LG2)
		ret = TDP_ERANGE;
	else if (overlaps(mm->slots[slot->as_id], slot, span.start, slot->pages))
		ret = TDP_EEXIST;
	else if (slot->tracked_pages)
		ret = TDP_EBUSY;
	else if (slot->base != span.start)
		ret = move_locked(mm, slot, span.start);
	tdpi_unlock(&mm->env, &mm->slots_lock);
	return ret;
}

int tdp_slot_set_flags(struct tdp_mm *mm, uint32_t id, uint32_t flags)
{
	struct tdpi_slot *slot;
	int ret = tdpi_mm_check(mm);

	if (ret)
		return ret;
	if (flags & ~(TDP_SLOT_READONLY | TDP_SLOT_FORCE_4K))
		return TDP_EINVAL;
	tdpi_lock(&mm->env, &mm->slots_lock, TDPI_LOCK_SLOTS);
	slot = tdpi_slot_by_id(mm, id);
	if (!slot) {
		ret = TDP_ENOENT;
	} else if (slot->flags != flags) {
		struct tdpi_span span = {slot->base, slot->base + slot->pages};

		/* Also when it becomes looser: what the host permits never changes in a present leaf. */
		tdpi_store_relaxed(&slot->flags, flags);
		tdpi_invalidate_lookups(mm);
		tdpi_zap(mm, TDP_OP_SLOT, slot->as_id, span, TDP_ZAP_LAZY);
	}
	tdpi_unlock(&mm->env, &mm->slots_lock);
	return ret;
}

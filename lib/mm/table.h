/* SPDX-License-Identifier: BSD-2-Clause */
/* Table pages: from metadata to page and back, locks, the pool, caches and retirement. */
#ifndef TDPI_MM_TABLE_H
#define TDPI_MM_TABLE_H

#include "mm/host.h"

/* A chunk holds 64 bytes for each of its pages, in page order, at its start. */
static inline struct tdpi_table *tdpi_table_of(const struct tdp_mm *mm, const void *in_page)
{
	uintptr_t va = (uintptr_t)in_page;
	uintptr_t chunk = va & ~(uintptr_t)mm->chunk_mask;

	return (struct tdpi_table *)(chunk + ((va - chunk) >> TDP_PAGE_LG2) * TDPI_META_SIZE);
}

static inline tdpi_entry_t *tdpi_table_entries(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	uintptr_t va = (uintptr_t)t;
	uintptr_t chunk = va & ~(uintptr_t)mm->chunk_mask;

	return (tdpi_entry_t *)(chunk + ((va - chunk) / TDPI_META_SIZE << TDP_PAGE_LG2));
}

static inline tdp_pa_t tdpi_table_pa(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	tdpi_entry_t *va = tdpi_table_entries(mm, t);

	if (tdpi_unlikely(mm->env.virt_to_phys != NULL))
		return mm->env.virt_to_phys(mm->env.priv, va) | mm->encrypt_mask;
	return (uint64_t)(uintptr_t)va + mm->pa_offset;
}

/* pa comes out of an entry that this mm wrote, and the host has no hook for it. */
static inline tdpi_entry_t *tdpi_entries_linear(const struct tdp_mm *mm, tdp_pa_t pa)
{
	return (tdpi_entry_t *)(uintptr_t)(pa - mm->pa_offset);
}

/* pa comes out of an entry that this mm wrote. */
static inline tdpi_entry_t *tdpi_entries_at(const struct tdp_mm *mm, tdp_pa_t pa)
{
	if (tdpi_unlikely(mm->env.phys_to_virt != NULL))
		return mm->env.phys_to_virt(mm->env.priv, pa & ~mm->encrypt_mask);
	return tdpi_entries_linear(mm, pa);
}

static inline struct tdpi_table *tdpi_table_at(const struct tdp_mm *mm, tdp_pa_t pa)
{
	return tdpi_table_of(mm, tdpi_entries_at(mm, pa));
}

/* The second half of tdpi_table_lock(): the lock is held. */
static inline bool tdpi_table_locked(const struct tdp_mm *mm, struct tdpi_table *t,
				     struct tdpi_locked *l)
{
	if (tdpi_unlikely(t->state != TDPI_TABLE_LINKED)) {
		tdpi_unlock(&mm->env, &t->lock);
		return false;
	}
	l->t = t;
	return true;
}

/*
 * Lock a linked table. False (and nothing is held): it has been cut off, walk again from the root.
 * Order: parent before child, never two siblings, never inside a callback.
 */
static inline bool tdpi_table_lock(const struct tdp_mm *mm, struct tdpi_table *t,
				   struct tdpi_locked *l)
{
	tdpi_lock(&mm->env, &t->lock, TDPI_LOCK_TABLE);
	return tdpi_table_locked(mm, t, l);
}

static inline void tdpi_table_unlock(const struct tdp_mm *mm, struct tdpi_locked l)
{
	tdpi_unlock(&mm->env, &l.t->lock);
}

/* ---- pool.c ---- */

/* Take `pages` (a power of two) consecutive, aligned table pages; content undefined. TDP_ENOMEM. */
int tdpi_pool_take(struct tdp_mm *mm, unsigned pages, struct tdpi_table **first);
void tdpi_pool_give(struct tdp_mm *mm, struct tdpi_table *t);
/* The linked table at an address, NULL: none there. Inside a read section, which keeps it and its chunk. */
struct tdpi_table *tdpi_pool_find(struct tdp_mm *mm, tdp_pa_t pa);
/* What no table uses goes to the host. Bytes. Nothing is held. */
uint64_t tdpi_pool_trim(struct tdp_mm *mm);
/* All chunks back to the host, whatever is in them (destroy). */
void tdpi_pool_release(struct tdp_mm *mm);
/* What it holds: chunk_bytes, spare_bytes, node_bytes. */
void tdpi_pool_stats(struct tdp_mm *mm, struct tdp_stats *stats);

/* At least n tables in the cache, or TDP_ENOMEM with the cache as it was. */
int tdpi_cache_topup(struct tdp_mm *mm, struct tdpi_cache *cache, uint64_t n);
void tdpi_cache_drain(struct tdp_mm *mm, struct tdpi_cache *cache);
static inline struct tdpi_table *tdpi_cache_take(struct tdpi_cache *cache)
{
	struct tdpi_table *t = cache->list;

	if (t) {
		cache->list = t->next;
		tdpi_store_relaxed(&cache->count, cache->count - 1);
	}
	return t;
}
static inline void tdpi_cache_give(struct tdpi_cache *cache, struct tdpi_table *t)
{
	t->next = cache->list;
	cache->list = t;
	tdpi_store_relaxed(&cache->count, cache->count + 1); /* verify looks from outside */
}

/* ---- retire.c ---- */

/* A list of flushed, unreachable tables goes back to the pool after a grace period (A2). */
void tdpi_retire(struct tdp_mm *mm, struct tdpi_table *list, uint64_t count);
/* Wait until everything retired before is back in the pool. Outside read sections. */
void tdpi_retire_wait(struct tdp_mm *mm);

#endif

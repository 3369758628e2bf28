/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Table pages out of large chunks of the host's. The first pages of a chunk are the metadata of all its
 * pages; the metadata slots of those pages themselves hold the chunk's own header.
 */
#include "mm/table.h"

struct tdpi_chunk {
	struct tdpi_chunk *next, **prev; /* mm->chunks[home], or mm->full_chunks */
	struct tdpi_table *free;         /* pages given back */
	uint32_t pages;                  /* in all */
	uint32_t fresh;                  /* first page never handed out */
	uint32_t first;                  /* first page that can be a table */
	uint32_t used;
	uint32_t home; /* its node, TDP_NODES: of no known one */
	uint32_t told; /* the host knows of all that is spare in here */
};
TDPI_STATIC_ASSERT(sizeof(struct tdpi_chunk) <= TDPI_META_SIZE, "the header takes a metadata slot");

static struct tdpi_chunk *chunk_of(const struct tdp_mm *mm, const struct tdpi_table *t)
{
	return (struct tdpi_chunk *)((uintptr_t)t & ~(uintptr_t)mm->chunk_mask);
}

static struct tdpi_table *chunk_meta(struct tdpi_chunk *c, uint32_t page)
{
	return (struct tdpi_table *)((uintptr_t)c + (uintptr_t)page * TDPI_META_SIZE);
}

/* So many pages of metadata for that many pages. */
static uint32_t meta_pages(uint32_t pages)
{
	return (uint32_t)(((uint64_t)pages * TDPI_META_SIZE + TDP_PAGE_SIZE - 1) >> TDP_PAGE_LG2);
}

static void chunk_unlink(struct tdpi_chunk *c)
{
	*c->prev = c->next;
	if (c->next)
		c->next->prev = c->prev;
}

static void chunk_link(struct tdpi_chunk **list, struct tdpi_chunk *c)
{
	c->next = *list;
	c->prev = list;
	if (c->next)
		c->next->prev = &c->next;
	*list = c;
}

static bool chunk_full(const struct tdpi_chunk *c)
{
	return !c->free && c->fresh == c->pages;
}

static void page_free(struct tdpi_chunk *c, struct tdpi_table *t)
{
	t->state = TDPI_TABLE_FREE;
	t->next = c->free;
	c->free = t;
	c->told = 0;
}

/* Under the pool's lock, so that who holds it can tell by the state which pages are tables. */
static void page_take(struct tdpi_chunk *c, struct tdpi_table *t)
{
	memset(t, 0, sizeof(*t));
	t->state = TDPI_TABLE_CACHED;
	c->used++;
}

/* `pages` consecutive fresh ones; what alignment skips can still serve as single pages. */
static struct tdpi_table *chunk_take_run(struct tdpi_chunk *c, uint32_t pages)
{
	uint32_t at = (c->fresh + pages - 1) & ~(pages - 1);

	if (at + pages > c->pages)
		return NULL;
	for (; c->fresh < at; c->fresh++)
		page_free(c, chunk_meta(c, c->fresh));
	for (uint32_t i = at; i < at + pages; i++)
		page_take(c, chunk_meta(c, i));
	c->fresh = at + pages;
	return chunk_meta(c, at);
}

static struct tdpi_table *chunk_take(struct tdpi_chunk *c, uint32_t pages)
{
	struct tdpi_table *t = c->free;

	if (pages > 1)
		return chunk_take_run(c, pages);
	if (t) {
		c->free = t->next;
		page_take(c, t);
		return t;
	}
	return chunk_take_run(c, 1);
}

static struct tdpi_table *pool_try_at(struct tdp_mm *mm, unsigned home, uint32_t pages)
{
	for (struct tdpi_chunk *c = mm->chunks[home]; c; c = c->next) {
		struct tdpi_table *t = chunk_take(c, pages);

		if (t) {
			if (chunk_full(c)) {
				chunk_unlink(c);
				chunk_link(&mm->full_chunks, c);
			}
			return t;
		}
	}
	return NULL;
}

static unsigned home_of(uint32_t node)
{
	return node == TDP_NODE_ANY ? TDP_NODES : node % TDP_NODES;
}

static struct tdpi_table *pool_try(struct tdp_mm *mm, uint32_t node, uint32_t pages)
{
	unsigned home = home_of(node);
	struct tdpi_table *t = pool_try_at(mm, home, pages);

	/* Who has no wish takes what there is. */
	while (!t && node == TDP_NODE_ANY && home-- > 0)
		t = pool_try_at(mm, home, pages);
	return t;
}

/* Of a fresh page neither the content nor the metadata is written: a lazy host need not back them. */
static struct tdpi_chunk *chunk_new(struct tdp_mm *mm, uint32_t node)
{
	uint64_t size = mm->chunk_mask + 1;
	struct tdpi_chunk *c = tdpi_chunk_alloc(&mm->env, size, node);

	if (!c)
		return NULL;
	memset(c, 0, sizeof(*c));
	c->pages = (uint32_t)(size >> TDP_PAGE_LG2);
	c->first = meta_pages(c->pages);
	c->fresh = c->first;
	c->home = home_of(node);
	return c;
}

static bool over_limit(const struct tdp_mm *mm, unsigned pages)
{
	return mm->table_limit && (mm->tables_taken + pages) * TDP_PAGE_SIZE > mm->table_limit;
}

/* With the pool's lock, which is dropped for a while when the host is asked. NULL: no memory. */
static struct tdpi_table *pool_take(struct tdp_mm *mm, uint32_t *node, unsigned pages)
{
	struct tdpi_table *t = NULL;

	while (!over_limit(mm, pages) && !(t = pool_try(mm, *node, pages))) {
		struct tdpi_chunk *fresh;

		/* The host may sleep in there, so not under the lock; then everything is looked at anew. */
		tdpi_unlock(&mm->env, &mm->pool_lock);
		fresh = chunk_new(mm, *node);
		tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
		if (fresh) {
			chunk_link(&mm->chunks[fresh->home], fresh);
			mm->chunk_count++;
		} else if (*node != TDP_NODE_ANY) {
			*node = TDP_NODE_ANY; /* nothing there: any chunk will do */
		} else {
			break;
		}
	}
	if (t)
		tdpi_store_relaxed(&mm->tables_taken, mm->tables_taken + pages);
	return t;
}

/* Near whom the tables are wanted that this thread takes now. */
static uint32_t node_wanted(const struct tdp_mm *mm)
{
	return mm->env.node ? mm->env.node(mm->env.priv) : TDP_NODE_ANY;
}

static void page_taken(const struct tdp_mm *mm, struct tdpi_table *t)
{
	if (mm->env.table_state)
		mm->env.table_state(mm->env.priv, tdpi_table_entries(mm, t), TDP_PAGE_SIZE, 1);
}

int tdpi_pool_take(struct tdp_mm *mm, unsigned pages, struct tdpi_table **first)
{
	uint32_t node = node_wanted(mm);
	struct tdpi_table *t;

	tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
	t = pool_take(mm, &node, pages);
	tdpi_unlock(&mm->env, &mm->pool_lock);
	if (!t)
		return TDP_ENOMEM;
	for (unsigned i = 0; i < pages; i++)
		page_taken(mm, (struct tdpi_table *)((uintptr_t)t + i * TDPI_META_SIZE));
	*first = t;
	return TDP_OK;
}

void tdpi_pool_give(struct tdp_mm *mm, struct tdpi_table *t)
{
	struct tdpi_chunk *c = chunk_of(mm, t);
	tdpi_entry_t *va = tdpi_table_entries(mm, t);
	struct tdpi_chunk *empty = NULL;
	bool was_full;

	TDPI_ASSERT(t->state != TDPI_TABLE_FREE);
	TDPI_POINT(WRITE, va, TDP_PAGE_SIZE);
	if (mm->flags & TDP_MM_SCRUB)
		memset(va, 0, TDP_PAGE_SIZE);
	if (mm->env.table_state)
		mm->env.table_state(mm->env.priv, va, TDP_PAGE_SIZE, 0);
	tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
	was_full = chunk_full(c);
	page_free(c, t);
	c->used--;
	tdpi_store_relaxed(&mm->tables_taken, mm->tables_taken - 1);
	if (c->used == 0 && mm->chunk_count > 1) {
		chunk_unlink(c);
		mm->chunk_count--;
		empty = c;
	} else {
		if (c->used == 0) {
			/* The last chunk stays; as good as new, so that long runs fit again. */
			c->free = NULL;
			c->fresh = c->first;
		}
		if (was_full) {
			chunk_unlink(c);
			chunk_link(&mm->chunks[c->home], c);
		}
	}
	tdpi_unlock(&mm->env, &mm->pool_lock);
	if (empty)
		mm->env.chunk_free(mm->env.priv, empty, mm->chunk_mask + 1);
}

#define LISTS (TDP_NODES + 2)

static struct tdpi_chunk **list_at(struct tdp_mm *mm, unsigned i)
{
	return i <= TDP_NODES ? &mm->chunks[i] : &mm->full_chunks;
}

static struct tdpi_table *chunk_find(const struct tdp_mm *mm, struct tdpi_chunk *c, tdp_pa_t pa)
{
	for (uint32_t i = c->first; i < c->fresh; i++) {
		struct tdpi_table *t = chunk_meta(c, i);

		if ((tdpi_table_pa(mm, t) & ~mm->encrypt_mask) == pa)
			return tdpi_load_acquire(&t->state) == TDPI_TABLE_LINKED ? t : NULL;
	}
	return NULL;
}

struct tdpi_table *tdpi_pool_find(struct tdp_mm *mm, tdp_pa_t pa)
{
	struct tdpi_table *found = NULL;

	pa &= ~mm->encrypt_mask;
	tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
	for (unsigned i = 0; i < LISTS; i++) {
		for (struct tdpi_chunk *c = *list_at(mm, i); c && !found; c = c->next) {
			uint64_t at = pa - mm->pa_offset + mm->encrypt_mask - (uintptr_t)c;

			/* Only linear hosts keep a chunk contiguous in pa; there arithmetic rules most out. */
			if (mm->env.virt_to_phys || at <= mm->chunk_mask)
				found = chunk_find(mm, c, pa);
		}
	}
	tdpi_unlock(&mm->env, &mm->pool_lock);
	return found;
}

void tdpi_pool_release(struct tdp_mm *mm)
{
	for (unsigned i = 0; i < LISTS; i++) {
		struct tdpi_chunk **list = list_at(mm, i), *c;

		while ((c = *list)) {
			chunk_unlink(c);
			mm->env.chunk_free(mm->env.priv, c, mm->chunk_mask + 1);
		}
	}
	mm->chunk_count = 0;
}

void tdpi_pool_stats(struct tdp_mm *mm, struct tdp_stats *stats)
{
	tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
	for (unsigned i = 0; i < LISTS; i++) {
		for (const struct tdpi_chunk *c = *list_at(mm, i); c; c = c->next) {
			stats->chunk_bytes += mm->chunk_mask + 1;
			stats->spare_bytes += (c->pages - c->first - c->used) * TDP_PAGE_SIZE;
			stats->node_bytes[c->home] += c->used * TDP_PAGE_SIZE;
		}
	}
	tdpi_unlock(&mm->env, &mm->pool_lock);
}

/* ---- what no table uses ---- */

static uint64_t tell_pages(const struct tdp_mm *mm, struct tdpi_chunk *c, uint32_t from,
			   uint32_t end)
{
	if (from >= end)
		return 0;
	mm->env.chunk_unused(mm->env.priv, c, mm->chunk_mask + 1, (uint64_t)from << TDP_PAGE_LG2,
			     (uint64_t)end << TDP_PAGE_LG2);
	return (uint64_t)(end - from) << TDP_PAGE_LG2;
}

/* Runs of pages that are no tables, those never handed out, and the metadata of these. */
static uint64_t chunk_tell(const struct tdp_mm *mm, struct tdpi_chunk *c)
{
	uint64_t bytes = tell_pages(mm, c, meta_pages(c->fresh), c->first);
	uint32_t from = c->first;

	for (uint32_t i = c->first; i < c->fresh; i++) {
		if (tdpi_load_relaxed(&chunk_meta(c, i)->state) == TDPI_TABLE_FREE)
			continue;
		bytes += tell_pages(mm, c, from, i);
		from = i + 1;
	}
	c->told = 1;
	return bytes + tell_pages(mm, c, from, c->pages);
}

/* One that has anything to give; the full ones have nothing. */
static struct tdpi_chunk *chunk_untold(struct tdp_mm *mm)
{
	for (unsigned i = 0; i <= TDP_NODES; i++)
		for (struct tdpi_chunk *c = mm->chunks[i]; c; c = c->next)
			if (c->used == 0 || (mm->env.chunk_unused && !c->told))
				return c;
	return NULL;
}

uint64_t tdpi_pool_trim(struct tdp_mm *mm)
{
	uint64_t size = mm->chunk_mask + 1, bytes = 0, left = UINT64_MAX;
	struct tdpi_chunk *c;

	do {
		struct tdpi_chunk *empty = NULL;

		/* The lock is dropped after each, so that nobody waits for more than one of them. */
		tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
		left = tdpi_min64(
			left, mm->chunk_count); /* what comes free meanwhile is for the next call */
		c = left > 0 ? chunk_untold(mm) : NULL;
		if (c && c->used == 0) {
			chunk_unlink(c);
			mm->chunk_count--;
			empty = c;
			bytes += size;
		} else if (c) {
			bytes += chunk_tell(mm, c);
		}
		left--;
		tdpi_unlock(&mm->env, &mm->pool_lock);
		if (empty)
			mm->env.chunk_free(mm->env.priv, empty, size);
	} while (c);
	return bytes;
}

/* Others wait for the lock only as long as these take. */
#define POOL_BATCH 64u

int tdpi_cache_topup(struct tdp_mm *mm, struct tdpi_cache *cache, uint64_t n)
{
	uint32_t had = cache->count;

	while (cache->count < n) {
		uint64_t want = tdpi_min64(n - cache->count, POOL_BATCH);
		struct tdpi_table *list = NULL, *t;
		uint32_t node = node_wanted(mm);

		tdpi_lock(&mm->env, &mm->pool_lock, TDPI_LOCK_POOL);
		for (; want > 0 && (t = pool_take(mm, &node, 1)); want--) {
			t->next = list;
			list = t;
		}
		tdpi_unlock(&mm->env, &mm->pool_lock);
		while ((t = list)) {
			list = t->next;
			page_taken(mm, t);
			tdpi_cache_give(cache, t);
		}
		if (want > 0) {
			while (cache->count > had)
				tdpi_pool_give(mm, tdpi_cache_take(cache));
			return TDP_ENOMEM;
		}
	}
	return TDP_OK;
}

void tdpi_cache_drain(struct tdp_mm *mm, struct tdpi_cache *cache)
{
	struct tdpi_table *t;

	while ((t = tdpi_cache_take(cache)))
		tdpi_pool_give(mm, t);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Pattern memory: a resolver whose pages have addresses that name nothing, in buddy blocks. Dropped
 * pages come back under other addresses, and the old ones are forbidden to the walker for a long
 * while.
 */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#define RING 4096u

static uint64_t page_of(const struct test_backing *b, tdp_gpa_t gpa)
{
	return (gpa - b->gpa) >> TDP_PAGE_LG2;
}

static int backing_resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
			   struct tdp_page *page)
{
	struct test_backing *b = arg;
	uint64_t i = page_of(b, gpa);
	int status = TDP_OK;

	(void)want_lg2; /* larger than wanted is a right answer too: the library has to cope */
	(void)access;
	if (b->on_resolve)
		b->on_resolve(b, gpa);
	pthread_mutex_lock(&b->lock);
	if (gpa < b->gpa || i >= b->pages) {
		test_violation(b->env, "resolve of %#llx, which is not of this memory",
			       (unsigned long long)gpa);
		status = TDP_EFAULT;
	} else if (b->fail[i]) {
		status = b->fail_status;
	} else {
		page->pa = b->frame[i] << TDP_PAGE_LG2;
		page->lg2 = b->lg2[i];
		page->prot = b->prot;
		page->cookie = ~b->frame[i];
	}
	if (status == TDP_OK)
		b->resolves_ok++;
	else
		b->resolves_failed++;
	pthread_mutex_unlock(&b->lock);
	return status;
}

static void backing_release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	struct test_backing *b = arg;

	pthread_mutex_lock(&b->lock);
	if (page->cookie != ~(page->pa >> TDP_PAGE_LG2))
		test_violation(b->env, "release of %#llx with another page or cookie",
			       (unsigned long long)gpa);
	if (b->releases++ >= b->resolves_ok)
		test_violation(b->env, "more releases than resolves");
	if (flags & TDP_RELEASE_MAPPED)
		b->released_mapped++;
	if (flags & TDP_RELEASE_WRITABLE)
		b->released_writable++;
	if ((flags & TDP_RELEASE_WRITABLE) && !(flags & TDP_RELEASE_MAPPED))
		test_violation(b->env, "released as writable but not mapped");
	if (flags & ~(TDP_RELEASE_WRITABLE | TDP_RELEASE_MAPPED))
		test_violation(b->env, "release with unknown flags %#x", flags);
	pthread_mutex_unlock(&b->lock);
}

int test_backing_init(struct test_backing *b, struct test_env *env, tdp_gpa_t gpa, uint64_t size,
		      tdp_pa_t pa, uint32_t prot, uint32_t max_lg2)
{
	uint64_t i, block = (uint64_t)1 << max_lg2;

	memset(b, 0, sizeof(*b));
	b->ops.size = (uint32_t)sizeof(b->ops);
	b->ops.resolve = backing_resolve;
	b->ops.release = backing_release;
	b->env = env;
	b->gpa = gpa;
	b->pages = size >> TDP_PAGE_LG2;
	b->prot = prot ? prot : TDP_RWX;
	b->max_lg2 = max_lg2;
	b->fail_status = TDP_EFAULT;
	b->frame = calloc(b->pages, sizeof(*b->frame));
	b->lg2 = calloc(b->pages, 1);
	b->fail = calloc(b->pages, 1);
	b->ring = calloc(2 * RING, sizeof(*b->ring));
	pthread_mutex_init(&b->lock, NULL);
	if (!b->frame || !b->lg2 || !b->fail || !b->ring)
		return TDP_ENOMEM;
	/* Congruent to gpa modulo the block; a partial block at either end has small pages. */
	pa = ((pa + block - 1) & ~(block - 1)) + (gpa & (block - 1));
	for (i = 0; i < b->pages; i++) {
		uint64_t start = (gpa + (i << TDP_PAGE_LG2)) & ~(block - 1);
		bool whole = start >= gpa && start + block <= gpa + size;

		b->frame[i] = (pa >> TDP_PAGE_LG2) + i;
		b->lg2[i] = (uint8_t)(whole ? max_lg2 : TDP_PAGE_LG2);
	}
	b->first = ((pa + size + block - 1) & ~(block - 1)) >> TDP_PAGE_LG2;
	b->next = b->first;
	return TDP_OK;
}

void test_backing_no_release(struct test_backing *b)
{
	b->ops.release = NULL;
}

bool test_backing_balanced(struct test_backing *b)
{
	bool equal;

	pthread_mutex_lock(&b->lock);
	equal = !b->ops.release || b->releases == b->resolves_ok;
	pthread_mutex_unlock(&b->lock);
	return equal;
}

void test_backing_fini(struct test_backing *b)
{
	size_t i;

	if (!test_backing_balanced(b))
		test_violation(b->env, "%llu pages resolved but %llu released",
			       (unsigned long long)b->resolves_ok, (unsigned long long)b->releases);
	for (i = 0; b->env->emu && i < RING; i++) /* another memory may live there next */
		if (b->ring[2 * i + 1])
			tdp_emu_allow(b->env->emu, b->ring[2 * i] << TDP_PAGE_LG2,
				      (uint64_t)1 << b->ring[2 * i + 1]);
	free(b->frame);
	free(b->lg2);
	free(b->fail);
	free(b->ring);
	pthread_mutex_destroy(&b->lock);
}

struct tdp_slot_desc test_backing_slot(struct test_backing *b, uint32_t as_id, uint32_t flags)
{
	struct tdp_slot_desc desc = {0};

	desc.size = (uint32_t)sizeof(desc);
	desc.flags = flags;
	desc.gpa.start = b->gpa;
	desc.gpa.size = b->pages << TDP_PAGE_LG2;
	desc.as_id = as_id;
	desc.backing = &b->ops;
	desc.backing_arg = b;
	desc.backing_start = b->gpa;
	return desc;
}

static void forbid_block(struct test_backing *b, uint64_t frame, uint32_t lg2)
{
	uint64_t *slot = &b->ring[2 * (size_t)(b->ring_at++ % RING)];

	if (!b->env->emu)
		return;
	if (slot[1])
		tdp_emu_allow(b->env->emu, slot[0] << TDP_PAGE_LG2, (uint64_t)1 << slot[1]);
	slot[0] = frame;
	slot[1] = lg2;
	tdp_emu_forbid(b->env->emu, frame << TDP_PAGE_LG2, (uint64_t)1 << lg2);
}

/* The largest block size at page i that ends within [i, end) and is aligned in guest space. */
static uint32_t fit(const struct test_backing *b, uint64_t i, uint64_t end)
{
	uint64_t gfn = (b->gpa >> TDP_PAGE_LG2) + i;
	uint32_t lg2 = 0;

	while (lg2 + TDP_PAGE_LG2 < b->max_lg2 && !(gfn & ((uint64_t)1 << lg2)) &&
	       i + ((uint64_t)2 << lg2) <= end)
		lg2++;
	return lg2 + TDP_PAGE_LG2;
}

/* Halve the block of page i until none that holds it reaches over [i, end). */
static void isolate(struct test_backing *b, uint64_t i, uint64_t end)
{
	uint64_t gfn0 = b->gpa >> TDP_PAGE_LG2, start, pages, k;

	for (;;) {
		pages = (uint64_t)1 << (b->lg2[i] - TDP_PAGE_LG2);
		if (pages == 1)
			return;
		start = ((gfn0 + i) & ~(pages - 1)) - gfn0;
		if (start >= i && start + pages <= end)
			return;
		for (k = start; k < start + pages; k++)
			b->lg2[k]--;
	}
}

void test_backing_drop(struct test_backing *b, struct tdp_range range)
{
	uint64_t i = page_of(b, range.start), k, end = i + (range.size >> TDP_PAGE_LG2);

	pthread_mutex_lock(&b->lock);
	while (i < end) {
		uint32_t lg2;
		uint64_t pages;

		isolate(b, i, end);
		forbid_block(b, b->frame[i], b->lg2[i]);
		/* The old block may be smaller than the best new one: forbid it all before. */
		lg2 = fit(b, i, end);
		pages = (uint64_t)1 << (lg2 - TDP_PAGE_LG2);
		for (k = i + ((uint64_t)1 << (b->lg2[i] - TDP_PAGE_LG2)); k < i + pages;) {
			isolate(b, k, end);
			forbid_block(b, b->frame[k], b->lg2[k]);
			k += (uint64_t)1 << (b->lg2[k] - TDP_PAGE_LG2);
		}
		b->next = (b->next + pages - 1) & ~(pages - 1);
		for (k = 0; k < pages; k++) {
			b->frame[i + k] = b->next + k;
			b->lg2[i + k] = (uint8_t)lg2;
		}
		/* Goes round in 2^31 frames: what was forbidden is allowed again long before. */
		b->next += pages;
		if (b->next - b->first >= (uint64_t)1 << 31)
			b->next = b->first;
		i += pages;
	}
	pthread_mutex_unlock(&b->lock);
}

int test_backing_discard(struct test_backing *b, struct tdp_mm *mm, uint32_t as_id,
			 struct tdp_range range)
{
	int status = tdp_invalidate_begin(mm, range), end;

	if (status < 0)
		return status;
	status = tdp_zap(mm, as_id, range, 0);
	if (status >= 0)
		test_backing_drop(b, range);
	end = tdp_invalidate_end(mm, range);
	return status < 0 ? status : end;
}

tdp_pa_t test_backing_pa(struct test_backing *b, tdp_gpa_t gpa)
{
	tdp_pa_t pa;

	pthread_mutex_lock(&b->lock);
	pa = (b->frame[page_of(b, gpa)] << TDP_PAGE_LG2) | (gpa & (TEST_PAGE - 1));
	pthread_mutex_unlock(&b->lock);
	return pa;
}

uint32_t test_backing_lg2(struct test_backing *b, tdp_gpa_t gpa)
{
	uint32_t lg2;

	pthread_mutex_lock(&b->lock);
	lg2 = b->lg2[page_of(b, gpa)];
	pthread_mutex_unlock(&b->lock);
	return lg2;
}

void test_backing_fail(struct test_backing *b, struct tdp_range range, bool fail)
{
	uint64_t i, first = page_of(b, range.start);

	pthread_mutex_lock(&b->lock);
	for (i = 0; i < range.size >> TDP_PAGE_LG2; i++)
		b->fail[first + i] = fail;
	pthread_mutex_unlock(&b->lock);
}

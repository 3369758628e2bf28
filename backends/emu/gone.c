/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The set of pages that no walk may reach: a three-level radix tree of bits, read without a lock.
 * Nodes stay until the emu is destroyed, so a reader needs no protection.
 */
#include <stdlib.h>

#include "emu_int.h"

/* 52-bit addresses: 12 + 13 bits of pointers, 15 bits of bitmap, 12 bits of page. */
#define TOP_LG2 12u
#define MID_LG2 13u
#define LOW_LG2 15u
#define PA_BITS 52u

int tdpi_emu_gone_init(struct emu_gone *g)
{
	g->pages = 0;
	g->top = calloc((size_t)1 << TOP_LG2, sizeof(*g->top));
	if (!g->top)
		return TDP_ENOMEM;
	pthread_mutex_init(&g->lock, NULL);
	return TDP_OK;
}

void tdpi_emu_gone_fini(struct emu_gone *g)
{
	for (unsigned i = 0; i < 1u << TOP_LG2; i++) {
		void **mid = g->top[i];

		for (unsigned j = 0; mid && j < 1u << MID_LG2; j++)
			if (mid[j]) /* most are not there */
				free(mid[j]);
		if (mid)
			free(mid);
	}
	free(g->top);
	pthread_mutex_destroy(&g->lock);
}

/* The bitmap of 2^15 pages that holds a page number, NULL when none was ever set there. */
static uint64_t *bitmap_of(const struct emu_gone *g, uint64_t pfn)
{
	void **mid = __atomic_load_n(&g->top[pfn >> (MID_LG2 + LOW_LG2)], __ATOMIC_ACQUIRE);

	if (!mid)
		return NULL;
	return __atomic_load_n(&mid[pfn >> LOW_LG2 & ((1u << MID_LG2) - 1)], __ATOMIC_ACQUIRE);
}

bool tdpi_emu_gone_slow(const struct emu_gone *g, tdp_pa_t pa)
{
	uint64_t pfn = pa >> 12, low = pfn & ((1u << LOW_LG2) - 1);
	const uint64_t *bits;

	if (pa >> PA_BITS)
		return false;
	bits = bitmap_of(g, pfn);
	return bits && (__atomic_load_n(&bits[low / 64], __ATOMIC_ACQUIRE) >> (low % 64) & 1);
}

/* Make sure that bitmap_of(pfn) exists. */
static bool bitmap_make(struct emu_gone *g, uint64_t pfn)
{
	void **top = &g->top[pfn >> (MID_LG2 + LOW_LG2)], **mid = *top;

	if (!mid) {
		mid = calloc((size_t)1 << MID_LG2, sizeof(*mid));
		if (!mid)
			return false;
		__atomic_store_n(top, (void *)mid, __ATOMIC_RELEASE);
	}
	mid += pfn >> LOW_LG2 & ((1u << MID_LG2) - 1);
	if (!*mid) {
		void *bits = calloc((size_t)1 << (LOW_LG2 - 6), sizeof(uint64_t));

		if (!bits)
			return false;
		__atomic_store_n(mid, bits, __ATOMIC_RELEASE);
	}
	return true;
}

static void set_one(struct emu_gone *g, uint64_t pfn, bool on)
{
	uint64_t low = pfn & ((1u << LOW_LG2) - 1), bit = EMU_BIT(low % 64);
	uint64_t *bits = bitmap_of(g, pfn), old;

	if (!bits)
		return;
	if (on)
		old = __atomic_fetch_or(&bits[low / 64], bit, __ATOMIC_ACQ_REL);
	else
		old = __atomic_fetch_and(&bits[low / 64], ~bit, __ATOMIC_ACQ_REL);
	if (on && !(old & bit))
		__atomic_fetch_add(&g->pages, 1, __ATOMIC_ACQ_REL);
	else if (!on && (old & bit))
		__atomic_fetch_sub(&g->pages, 1, __ATOMIC_ACQ_REL);
}

int tdpi_emu_gone_set(struct emu_gone *g, tdp_pa_t pa, uint64_t size, bool on)
{
	uint64_t first = pa >> 12, end, step = EMU_BIT(LOW_LG2);
	int ret = TDP_OK;

	if (!size || (pa | size) & 0xfff)
		return TDP_EINVAL;
	if (pa >> PA_BITS || size > EMU_BIT(PA_BITS) - pa)
		return TDP_ERANGE;
	end = first + (size >> 12);
	EMU_POINT(WRITE, (const void *)(uintptr_t)pa, size);
	pthread_mutex_lock(&g->lock);
	/* All nodes first, so that running out of memory changes nothing. */
	for (uint64_t p = first & ~(step - 1); on && p < end && ret == TDP_OK; p += step)
		ret = bitmap_make(g, p) ? TDP_OK : TDP_ENOMEM;
	for (uint64_t p = first; ret == TDP_OK && p < end; p++)
		set_one(g, p, on);
	pthread_mutex_unlock(&g->lock);
	return ret;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Lays out guest-physical memory for a trace and builds the guest's own page tables in it. */
#include "guest.h"

#include <stdlib.h>
#include <string.h>

#define TABLE_ENTRIES 512u
/* The largest region that fits between its neighbours (guest_gpa()). */
#define REGION_PAGES_MAX ((uint64_t)0x3d000000 >> PAGE_LG2)

uint64_t guest_gpa(enum region region, bool high)
{
	switch (region) {
	case REGION_TABLES: return 0;
	case REGION_RAM: return (uint64_t)1 << 30;
	case REGION_ROM: return (uint64_t)3 << 30;
	case REGION_HOTPLUG: return 0xfd000000;
	case REGION_DEVICE: return 0xfee00000;
	case REGION_PAGED:
	case REGIONS: break;
	}
	return ((uint64_t)1 << 32) + (high ? (uint64_t)1 << 48 : 0);
}

static uint64_t round_huge(uint64_t pages)
{
	return (pages + HUGE_PAGES - 1) / HUGE_PAGES * HUGE_PAGES;
}

/* Tables that map the places with 5 levels: the distinct prefixes of their page numbers. */
static uint64_t count_tables(const struct guest *guest)
{
	uint64_t tables = 1;

	for (unsigned shift = 9; shift <= 36; shift += 9) {
		uint64_t last = UINT64_MAX;

		for (uint32_t i = 0; i < guest->nplaces; i++) {
			/* The last two are not in order: at worst they count twice. */
			if (guest->places[i].vpn >> shift != last)
				tables++;
			last = guest->places[i].vpn >> shift;
		}
	}
	return tables;
}

/* A guest-virtual page that the trace does not use, from the top down. */
static uint64_t unused_vpn(const struct trace *trace, uint64_t below)
{
	uint64_t vpn = below;

	for (uint32_t i = trace->npages; i-- > 0;) {
		if (trace->pages[i].vpn < vpn - 1)
			break;
		vpn = trace->pages[i].vpn < vpn ? trace->pages[i].vpn : vpn;
	}
	return vpn - 1;
}

/*
 * Neighbours in guest-virtual memory stay near each other, as an operating system would have it,
 * but never in the same order: bits of the number are mixed within groups of 64 pages. A small
 * guest uses a quarter of each huge page, so that also a short trace has several of them.
 */
static uint32_t spread(uint64_t n, uint32_t npages)
{
	uint64_t per_huge = npages <= 1u << 14 ? HUGE_PAGES / 4 : HUGE_PAGES;
	uint64_t within = n % per_huge;

	within = (within & ~(uint64_t)63) | ((within * 37 + 11) & 63);
	return (uint32_t)(n / per_huge * HUGE_PAGES + within);
}

static void place_pages(struct guest *guest)
{
	const struct trace *trace = guest->trace;
	uint64_t count[REGIONS] = {0};

	for (uint32_t i = 0; i < trace->npages; i++) {
		const struct trace_page *page = &trace->pages[i];
		struct guest_place *place = &guest->places[i];

		place->vpn = page->vpn;
		if (!page->uses[TRACE_STORE] && !page->uses[TRACE_MODIFY])
			place->region = REGION_ROM;
		else
			place->region = page->vpn >> 5 & 1 ? REGION_PAGED : REGION_RAM;
		place->index = spread(count[place->region]++, trace->npages);
	}
	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++)
		guest->used[r] = count[r] ? spread(count[r] - 1, trace->npages) | 63 : 0;
}

int guest_init(struct guest *guest, const struct trace *trace, char *error, size_t error_size)
{
	uint64_t sum = 0;

	memset(guest, 0, sizeof(*guest));
	guest->trace = trace;
	guest->nplaces = trace->npages + 2;
	guest->places = calloc(guest->nplaces, sizeof(*guest->places));
	if (!guest->places)
		goto nomem;
	place_pages(guest);
	guest->device = &guest->places[trace->npages];
	guest->hotplug = guest->device + 1;
	guest->device->vpn = unused_vpn(trace, GVA_END >> PAGE_LG2);
	guest->device->region = REGION_DEVICE;
	guest->hotplug->vpn = unused_vpn(trace, guest->device->vpn);
	guest->hotplug->region = REGION_HOTPLUG;
	guest->used[REGION_TABLES] = count_tables(guest);
	guest->used[REGION_HOTPLUG] = 1;
	for (unsigned r = 0; r < REGION_DEVICE; r++) {
		/* At least one page of each region is in no page of the trace (the device's DMA). */
		guest->pages[r] = round_huge(guest->used[r] + 64);
		sum += guest->pages[r];
		if (r == REGION_TABLES)
			continue;
		guest->model[r] = malloc(guest->pages[r] * PAGE_BYTES);
		if (!guest->model[r])
			goto nomem;
	}
	if (sum > REGION_PAGES_MAX) {
		guest_free(guest);
		snprintf(error, error_size, "the trace touches too many pages; use --limit");
		return -1;
	}
	return 0;
nomem:
	guest_free(guest);
	snprintf(error, error_size, "out of memory");
	return -1;
}

void guest_reset(struct guest *guest)
{
	for (unsigned r = REGION_RAM; r < REGION_DEVICE; r++)
		memset(guest->model[r], 0, guest->pages[r] * PAGE_BYTES);
	/* A ROM says something: each word differs, so a wrong page is seen at once. */
	for (uint64_t i = 0; i < guest->pages[REGION_ROM] * PAGE_BYTES / 8; i++)
		guest->model[REGION_ROM][i] = (i + 1) * 0x9e3779b97f4a7c15u;
}

void guest_free(struct guest *guest)
{
	for (unsigned r = 0; r < REGIONS; r++)
		free(guest->model[r]);
	free(guest->places);
	memset(guest, 0, sizeof(*guest));
}

/*
 * Accessed and Dirty are set beforehand (x86: bits 5 and 6; arm64: AF, bit 10), so that walking
 * never changes a guest table and what the guest stores is the trace's alone.
 */
static uint64_t table_entry(enum guest_paging paging, uint64_t gpa)
{
	return gpa | (paging == GUEST_ARM64 ? 0x3 : 0x27); /* table | present, write, user, A */
}

static uint64_t page_entry(enum guest_paging paging, uint64_t gpa)
{
	/* arm64: page, AttrIndx 0, AP[2:1] = 00 (EL1 may write, and execute), inner shareable, AF. */
	return gpa | (paging == GUEST_ARM64 ? 0x703 : 0x67);
}

uint64_t guest_build_tables(const struct guest *guest, enum guest_paging paging, bool high,
			    uint64_t *memory)
{
	unsigned levels = paging == GUEST_X86_5 ? 5 : 4;
	uint64_t base = guest_gpa(REGION_TABLES, high), next = 1;

	for (uint32_t i = 0; i < guest->nplaces; i++) {
		const struct guest_place *place = &guest->places[i];
		uint64_t table = 0;

		for (unsigned level = levels - 1; level > 0; level--) {
			uint64_t *entry = &memory[table * TABLE_ENTRIES +
						  (place->vpn >> (9 * level) & 511)];

			if (!*entry)
				*entry = table_entry(paging, base + next++ * PAGE_BYTES);
			table = ((*entry & 0xffffffffff000) - base) / PAGE_BYTES;
		}
		memory[table * TABLE_ENTRIES + (place->vpn & 511)] =
			page_entry(paging, guest_gpa((enum region)place->region, high) +
						   (uint64_t)place->index * PAGE_BYTES);
	}
	return base;
}

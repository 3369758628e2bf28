/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guest of a replay: where each page of the trace lies in guest-physical memory, the guest's
 * own page tables, and a model of what its memory must contain. The same for all formats.
 */
#ifndef REPLAY_GUEST_H
#define REPLAY_GUEST_H

#include "trace.h"

#include <stdbool.h>

/*
 * TABLES  the guest's page tables, at low addresses, linear
 * RAM     linear memory, huge pages possible; half of the pages that the trace writes
 * PAGED   memory looked up when faulted on, partly in huge host pages; the other half
 * ROM     what the trace only reads or fetches; a read-only memslot
 * HOTPLUG a memslot that comes and goes where MMIO is else
 * DEVICE  in no memslot
 */
enum region { REGION_TABLES, REGION_RAM, REGION_PAGED, REGION_ROM, REGION_HOTPLUG, REGION_DEVICE,
	      REGIONS };
/* The regions with pages of the trace. */
#define REGION_FIRST REGION_RAM
#define REGION_LAST REGION_ROM

#define HUGE_LG2 21u
#define HUGE_PAGES 512u

/* Where a guest-virtual page is. */
struct guest_place {
	uint64_t vpn;
	uint32_t index; /* page within the region */
	uint32_t region;
};

struct guest {
	const struct trace *trace;
	struct guest_place *places; /* of the trace's pages, by number; then the two below */
	uint32_t nplaces;
	struct guest_place *device, *hotplug;
	uint64_t pages[REGIONS]; /* whole huge pages */
	uint64_t used[REGIONS];
	uint64_t *model[REGIONS]; /* what memory must contain; not of TABLES and DEVICE */
};

/* How a format's guest translates: entries of 8 bytes, 512 in a table. */
enum guest_paging { GUEST_X86_4, GUEST_X86_5, GUEST_ARM64 };

/* Returns 0 or -1 with the reason in error. */
int guest_init(struct guest *guest, const struct trace *trace, char *error, size_t error_size);
void guest_free(struct guest *guest);
/* Back to the contents at power-on. */
void guest_reset(struct guest *guest);
/* Guest-physical address of a region; high: PAGED lies above 48 bits. */
uint64_t guest_gpa(enum region region, bool high);
/*
 * Writes the guest's page tables into `memory`, the host's view of REGION_TABLES. Returns the
 * guest-physical address of the top table.
 */
uint64_t guest_build_tables(const struct guest *guest, enum guest_paging paging, bool high,
			    uint64_t *memory);

#endif

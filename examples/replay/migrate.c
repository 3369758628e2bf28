/* SPDX-License-Identifier: BSD-2-Clause */
/* A migration: dirty logging in rounds, copying what was dirty; at the end both sides are equal. */
#include "host.h"

#include <string.h>

/* ROM cannot change and is copied once. */
static const enum region logged[] = {REGION_TABLES, REGION_RAM, REGION_PAGED};
#define LOGGED (sizeof(logged) / sizeof(logged[0]))

static uint64_t huge_leaves(struct run *run)
{
	struct tdp_stats stats = {.size = sizeof(stats)};

	if (tdp_stats(run->vm.mm, &stats))
		vm_error(&run->vm, "no statistics");
	return stats.leaves[1];
}

void host_migrate_begin(struct run *run)
{
	struct vm *vm = &run->vm;

	run->huge_before = huge_leaves(run);
	for (unsigned i = 0; i < LOGGED; i++) {
		/* One slot is split at once, the others page by page when written. */
		uint32_t mode = TDP_LOG_AUTO | TDP_LOG_INITIALLY_SET |
				(logged[i] == REGION_PAGED ? TDP_LOG_EAGER_SPLIT : 0);
		int status = tdp_dirty_log(vm->mm, vm->region[logged[i]].slot, mode);

		if (status)
			vm_error(vm, "tdp_dirty_log: %s", tdp_strerror(status));
	}
	memcpy(run->shadow[REGION_ROM], vm->region[REGION_ROM].host,
	       vm->guest->pages[REGION_ROM] * PAGE_BYTES);
}

static void copy_dirty(struct run *run, enum region r)
{
	for (uint32_t i = 0; i < run->vm.guest->pages[r]; i++) {
		const uint8_t *page;

		if (!bit_test(run->harvest[r], i))
			continue;
		page = vm_host(&run->vm, r, i);
		/* A page that has no frame has never been anything but zero. */
		if (page)
			memcpy(run->shadow[r] + (uint64_t)i * PAGE_BYTES, page, PAGE_BYTES);
	}
}

/* What the log must say is known: the guest's stores went through vm_access() and vm_dma(). */
static uint64_t check_log(struct run *run, enum region r)
{
	struct vm *vm = &run->vm;
	struct result *result = run->result;
	uint64_t pages = 0;

	for (uint64_t w = 0; w < vm->guest->pages[r] / 64; w++) {
		uint64_t dirty = run->harvest[r][w], want = vm->region[r].stored[w];

		if (!run->rounds)
			want = UINT64_MAX;
		if (dirty != want)
			vm_error(vm, "round %u, region %u, pages %llu..: log %#llx, stored %#llx",
				 run->rounds, r, (unsigned long long)w * 64,
				 (unsigned long long)dirty, (unsigned long long)want);
		pages += (uint64_t)__builtin_popcountll(dirty);
		result->dirty_hash = vm_hash(result->dirty_hash, dirty ^ r);
		vm->region[r].stored[w] = 0;
	}
	return pages;
}

static uint64_t harvest(struct run *run)
{
	struct vm *vm = &run->vm;
	uint64_t pages = 0;

	for (unsigned i = 0; i < LOGGED; i++) {
		enum region r = logged[i];
		int status = tdp_dirty_harvest(vm->mm, vm->region[r].slot, 0, run->harvest[r],
					       (size_t)(vm->guest->pages[r] / 64));

		if (status < 0) {
			vm_error(vm, "tdp_dirty_harvest: %s", tdp_strerror(status));
			return 0;
		}
		copy_dirty(run, r);
		/*
		 * The guest's page tables differ from format to format, and some MMUs count every walk
		 * of them as a write: copied like all others, but not compared.
		 */
		if (r != REGION_TABLES)
			pages += check_log(run, r);
	}
	run->rounds++;
	return pages;
}

void host_migrate_round(struct run *run, unsigned epoch)
{
	const struct guest *g = run->vm.guest;

	run->result->dirty[epoch] = harvest(run);
	for (uint32_t i = 0; run->cells && i < g->trace->npages; i++) {
		const struct guest_place *place = &g->places[i];

		if (place->region != REGION_ROM && run->rounds > 1 &&
		    bit_test(run->harvest[place->region], place->index))
			run->cells[i].flags |= CELL_DIRTY;
	}
}

/* Byte for byte, also what no round reported. */
static void compare_sides(struct run *run)
{
	static const uint8_t zero[PAGE_BYTES];
	struct vm *vm = &run->vm;

	for (unsigned r = REGION_TABLES; r <= REGION_LAST; r++)
		for (uint32_t i = 0; i < vm->guest->pages[r]; i++) {
			const uint8_t *page = vm_host(vm, (enum region)r, i);

			if (memcmp(run->shadow[r] + (uint64_t)i * PAGE_BYTES, page ? page : zero,
				   PAGE_BYTES)) {
				vm_error(vm, "after the migration region %u page %u differs", r, i);
				return;
			}
		}
}

void host_migrate_end(struct run *run)
{
	struct vm *vm = &run->vm;
	uint64_t huge_now;

	harvest(run);
	compare_sides(run);
	for (unsigned i = 0; i < LOGGED; i++) {
		int status = tdp_dirty_log(vm->mm, vm->region[logged[i]].slot,
					   TDP_LOG_OFF | TDP_LOG_RECOVER);

		if (status)
			vm_error(vm, "tdp_dirty_log: %s", tdp_strerror(status));
	}
	/* What logging took apart must be whole again. */
	huge_now = huge_leaves(run);
	if (huge_now < run->huge_before)
		vm_error(vm, "%llu huge pages before the migration, %llu after it",
			 (unsigned long long)run->huge_before, (unsigned long long)huge_now);
	run->result->recovered = huge_now;
	host_age_anew(run);
}

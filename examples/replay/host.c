/* SPDX-License-Identifier: BSD-2-Clause */
/* The hypervisor's own work: aging, moving cold pages, splitting, zapping, and the checks. */
#include "host.h"

#include <stdlib.h>
#include <string.h>

#include <tdp/posix.h>

#define BALLOON_FIRST 64u
#define BALLOON_PAGES 16u
#define MOVES_MAX 16u
#define RECLAIM_TABLES 4u
#define QUIET_TRIES 4u

int host_init(struct run *run)
{
	for (unsigned r = 0; r < REGION_DEVICE; r++) {
		uint64_t pages = run->vm.guest->pages[r];

		run->shadow[r] = calloc(pages, PAGE_BYTES);
		run->bitmap[r] = calloc(pages / 64, sizeof(uint64_t));
		run->harvest[r] = calloc(pages / 64, sizeof(uint64_t));
		if (!run->shadow[r] || !run->bitmap[r] || !run->harvest[r]) {
			vm_error(&run->vm, "out of memory");
			return -1;
		}
	}
	return 0;
}

void host_free(struct run *run)
{
	for (unsigned r = 0; r < REGIONS; r++) {
		free(run->shadow[r]);
		free(run->bitmap[r]);
		free(run->harvest[r]);
	}
}

/* A status that only a defect can produce. */
static void expect(struct run *run, int status, const char *what)
{
	if (status < 0)
		vm_error(&run->vm, "%s: %s", what, tdp_strerror(status));
}

static void forget_touched(struct run *run, enum region r, uint64_t first, uint64_t pages)
{
	uint64_t *touched = run->vm.region[r].touched;

	for (uint64_t i = first; i < first + pages; i++)
		touched[i / 64] &= ~((uint64_t)1 << i % 64);
}

void host_age_anew(struct run *run)
{
	struct vm *vm = &run->vm;

	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++) {
		expect(run, tdp_age(vm->mm, 0, vm->region[r].gpa, NULL), "tdp_age");
		if (tdp_test_age(vm->mm, 0, vm->region[r].gpa) != 0)
			vm_error(vm, "region %u is young right after aging", r);
		forget_touched(run, (enum region)r, 0, vm->guest->pages[r]);
	}
}

void host_look(struct run *run, unsigned epoch)
{
	struct vm *vm = &run->vm;
	const struct guest *g = vm->guest;
	struct result *result = run->result;
	struct tdp_stats stats = {.size = sizeof(stats)};
	uint64_t tables = 0;

	(void)epoch;
	expect(run, tdp_stats(vm->mm, &stats), "tdp_stats");
	for (unsigned l = 0; l < TDP_LEVELS_MAX; l++)
		tables += stats.tables[l];
	if (tables > result->tables_peak)
		result->tables_peak = tables;
	if (stats.table_bytes > result->table_bytes_peak)
		result->table_bytes_peak = stats.table_bytes;
	if (stats.leaves[0] > result->leaves_4k_peak)
		result->leaves_4k_peak = stats.leaves[0];
	if (stats.leaves[1] > result->leaves_2m_peak)
		result->leaves_2m_peak = stats.leaves[1];
	for (uint32_t i = 0; run->cells && i < g->trace->npages; i++) {
		const struct guest_place *place = &g->places[i];
		struct tdp_mapping map = {.size = sizeof(map)};
		tdp_gpa_t gpa = vm->region[place->region].gpa.start +
				(uint64_t)place->index * PAGE_BYTES;

		if (tdp_translate(vm->mm, 0, gpa, &map) == TDP_OK)
			run->cells[i].lg2 = (uint8_t)map.lg2;
	}
}

void host_age(struct run *run, unsigned epoch)
{
	struct vm *vm = &run->vm;
	struct result *result = run->result;
	const struct guest *g = vm->guest;

	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++) {
		struct vm_region *region = &vm->region[r];
		size_t words = (size_t)(g->pages[r] / 64);

		expect(run, tdp_age_bitmap(vm->mm, 0, region->gpa, true, run->bitmap[r], words),
		       "tdp_age_bitmap");
		for (size_t w = 0; w < words; w++) {
			uint64_t young = run->bitmap[r][w];

			if (region->touched[w] & ~young)
				vm_error(vm, "epoch %u: a touched page is not young (region %u)",
					 epoch, r);
			result->young[epoch] += (uint64_t)__builtin_popcountll(young);
			region->touched[w] = 0;
			/*
			 * A small page inherits Accessed when its huge page is split, and which access
			 * splits it depends on how the MMU keeps Accessed. So only pages that never were
			 * huge must be young for all formats alike.
			 */
			if (r == REGION_PAGED && w * 64 / HUGE_PAGES % 2 == 0)
				result->young_hash = vm_hash(result->young_hash, young);
		}
	}
	for (uint32_t i = 0; run->cells && i < g->trace->npages; i++)
		if (bit_test(run->bitmap[g->places[i].region], g->places[i].index))
			run->cells[i].flags |= CELL_YOUNG;
}

void host_verify(struct run *run)
{
	struct tdp_report report = {.size = sizeof(report)};
	struct vm *vm = &run->vm;

	for (unsigned tries = 0;; tries++) {
		if (tdp_verify(vm->mm, &report)) {
			vm_error(vm, "tdp_verify: %u broken, first: %.100s", report.errors,
				 report.first);
			return;
		}
		if (report.allocated == report.tables + report.retired + report.cached)
			return;
		if (tries == QUIET_TRIES)
			break;
		/* Sums are exact when nothing runs, and freeing after a grace period does run. */
		tdp_posix_env_memb()->rcu->barrier();
	}
	vm_error(vm, "%llu tables allocated, but %llu linked, %llu retired, %llu cached",
		 (unsigned long long)report.allocated, (unsigned long long)report.tables,
		 (unsigned long long)report.retired, (unsigned long long)report.cached);
}

void host_move_cold(struct run *run)
{
	struct vm *vm = &run->vm;
	unsigned moved = 0;

	for (uint32_t i = 0; i < vm->guest->pages[REGION_PAGED] && moved < MOVES_MAX; i++) {
		int status = bit_test(run->bitmap[REGION_PAGED], i) ? 0 : vm_move_page(vm, i);

		if (status < 0)
			return;
		moved += (unsigned)status;
	}
}

void host_move_some(struct run *run, unsigned epoch)
{
	struct vm *vm = &run->vm;

	for (uint32_t i = epoch % MOVES_MAX; i < vm->guest->pages[REGION_PAGED]; i += MOVES_MAX)
		if (vm_move_page(vm, i) < 0)
			return;
}

void host_split(struct run *run)
{
	struct vm *vm = &run->vm;

	expect(run, tdp_split(vm->mm, 0, vm->region[REGION_RAM].gpa, PAGE_LG2), "tdp_split");
}

void host_collapse(struct run *run)
{
	static const enum region which[] = {REGION_TABLES, REGION_RAM, REGION_PAGED};
	struct vm *vm = &run->vm;

	for (unsigned i = 0; i < sizeof(which) / sizeof(which[0]); i++) {
		struct tdp_range gpa = vm->region[which[i]].gpa;
		uint64_t made = 0;

		/* What the balloon took out comes back first: a hole cannot be part of a huge page. */
		if (which[i] == REGION_RAM)
			expect(run, tdp_populate(vm->mm, 0, gpa, 0, NULL), "tdp_populate");
		expect(run, tdp_collapse(vm->mm, 0, gpa, 0, &made), "tdp_collapse");
	}
	host_age_anew(run);
}

void host_balloon(struct run *run)
{
	struct vm *vm = &run->vm;
	struct vm_region *ram = &vm->region[REGION_RAM];

	for (uint64_t page = 0; page < vm->guest->pages[REGION_RAM]; page += HUGE_PAGES) {
		struct tdp_range part = {
			ram->gpa.start + (page + BALLOON_FIRST) * PAGE_BYTES,
			BALLOON_PAGES * PAGE_BYTES};
		struct tdp_mapping map = {.size = sizeof(map)};

		expect(run, tdp_zap(vm->mm, 0, part, 0), "tdp_zap");
		forget_touched(run, REGION_RAM, page + BALLOON_FIRST, BALLOON_PAGES);
		/* Exactly the part: its neighbours keep their translations. */
		if (tdp_translate(vm->mm, 0, part.start, &map) != TDP_ENOENT ||
		    tdp_emu_cached(vm->emu, part.start, part.size))
			vm_error(vm, "zapped memory can still be reached");
	}
}

void host_fast_zap(struct run *run)
{
	struct vm *vm = &run->vm;

	expect(run, tdp_roots_invalidate(vm->mm), "tdp_roots_invalidate");
	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++) {
		forget_touched(run, (enum region)r, 0, vm->guest->pages[r]);
		if (tdp_emu_cached(vm->emu, vm->region[r].gpa.start, vm->region[r].gpa.size))
			vm_error(vm, "a vCPU still holds translations of an invalid root");
	}
}

void host_reclaim_step(struct run *run)
{
	int status = tdp_roots_reclaim(run->vm.mm, RECLAIM_TABLES);

	expect(run, status, "tdp_roots_reclaim");
	run->result->reclaim_steps += status == 1;
}

/* Every page must translate to where the host has it. */
static void final_translations(struct run *run)
{
	struct vm *vm = &run->vm;
	uint64_t hash = 0;

	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++) {
		expect(run, tdp_populate(vm->mm, 0, vm->region[r].gpa, 0, NULL), "tdp_populate");
		for (uint32_t i = 0; i < vm->guest->pages[r] && !vm->errors; i++) {
			struct tdp_mapping map = {.size = sizeof(map)};
			tdp_gpa_t gpa = vm->region[r].gpa.start + (uint64_t)i * PAGE_BYTES;
			uint8_t *page = vm_host(vm, (enum region)r, i);
			int status = tdp_translate(vm->mm, 0, gpa, &map);

			if (status || !page || map.pa + (gpa - map.gpa) != (uintptr_t)page)
				vm_error(vm, "gpa %#llx translates to %#llx, not %p (%s)",
					 (unsigned long long)gpa, (unsigned long long)map.pa,
					 (void *)page, tdp_strerror(status));
			hash = vm_hash(hash, i ^ (uint64_t)r << 56);
			hash = vm_hash(hash, r == REGION_PAGED ? vm->paging.frame_of[i] :
							  (uint64_t)(page - vm->region[r].host));
		}
	}
	run->result->translations = hash;
}

static void final_memory(struct run *run)
{
	struct vm *vm = &run->vm;
	uint64_t hash = 0;

	for (unsigned r = REGION_FIRST; r <= REGION_LAST; r++)
		for (uint32_t i = 0; i < vm->guest->pages[r]; i++) {
			const uint64_t *model = vm->guest->model[r] + i * (PAGE_BYTES / 8u);
			const uint64_t *page = (const void *)vm_host(vm, (enum region)r, i);

			if (!page || memcmp(page, model, PAGE_BYTES)) {
				vm_error(vm, "region %u page %u differs from the model", r, i);
				return;
			}
			for (unsigned w = 0; w < PAGE_BYTES / 8; w++)
				hash = vm_hash(hash, page[w]);
		}
	run->result->memory = hash;
}

void host_final(struct run *run)
{
	int status;

	do {
		status = tdp_roots_reclaim(run->vm.mm, 0);
		expect(run, status, "tdp_roots_reclaim");
	} while (status == 1);
	final_translations(run);
	if (!run->vm.errors)
		final_memory(run);
	host_verify(run);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the hypervisor does while the guest runs: demand paging; a migration with dirty rounds;
 * moving cold pages, splitting, zapping and rebuilding huge pages; zapping everything fast.
 */
#include "run.h"

#include "host.h"

#include <string.h>
#include <time.h>

#include <tdp/posix.h>

const char *const phase_names[4] = {"demand paging", "migration", "reclaim, split", "fast zap"};

#define SLICES 8u /* of an epoch; the guest's thread changes the vCPU after each */
#define BARE_ACCESSES 20000u

/* One record of the trace, and now and then what only a device driver does. */
static void guest_step(struct vm *vm, uint64_t number)
{
	static const uint32_t first[TRACE_KINDS] = {TDP_X, TDP_R, TDP_W, TDP_R};
	const struct guest *g = vm->guest;
	trace_access_t a = g->trace->accesses[number];
	const struct guest_place *place = &g->places[trace_page(a)];

	if (vm_access(vm, place, trace_offset(a), first[trace_kind(a)]) == VM_OK &&
	    trace_kind(a) == TRACE_MODIFY)
		vm_access(vm, place, trace_offset(a), TDP_W);
	if (number % 4096 == 4095) {
		if (vm_access(vm, g->device, 0x10, TDP_W) == VM_MMIO)
			vm_dma(vm);
		vm_access(vm, g->device, 0x14, TDP_R);
	}
	if (number % 16384 == 16383 && g->used[REGION_ROM])
		for (uint32_t i = 0; i < g->nplaces; i++)
			if (g->places[i].region == REGION_ROM) {
				vm_access(vm, &g->places[i], 0x20, TDP_W);
				break;
			}
}

static void count_uses(struct run *run, uint64_t from, uint64_t to)
{
	const struct trace *trace = run->vm.guest->trace;

	if (!run->cells)
		return;
	for (uint64_t i = from; i < to; i++)
		run->cells[trace_page(trace->accesses[i])].uses++;
}

/* ---- what happens in the middle of an epoch ---------------------------------------------- */

static void hotplug(struct run *run)
{
	struct vm *vm = &run->vm;
	const struct guest_place *place = vm->guest->hotplug;

	/* MMIO, memory, MMIO: a remembered MMIO answer may not survive a change of memslots. */
	vm_access(vm, place, 0, TDP_R);
	vm_access(vm, place, 0, TDP_R);
	vm_plug(vm, true);
	vm_access(vm, place, 0, TDP_W);
	vm_access(vm, place, 0, TDP_R);
	vm_plug(vm, false);
	vm_access(vm, place, 0, TDP_R);
}

static void run_epoch(struct run *run, unsigned epoch)
{
	struct vm *vm = &run->vm;
	uint64_t count = vm->guest->trace->count;
	uint64_t from = count * epoch / run->plan->epochs;
	uint64_t to = count * (epoch + 1) / run->plan->epochs;
	enum phase phase = phase_of(run->plan, epoch);

	for (unsigned slice = 0; slice < SLICES; slice++) {
		uint64_t i = from + (to - from) * slice / SLICES;
		uint64_t end = from + (to - from) * (slice + 1) / SLICES;

		vm->running = (vm->running + 1) % VM_CPUS;
		if (phase == PHASE_REBUILD && slice == SLICES / 2 && epoch % 2)
			host_fast_zap(run);
		if (phase == PHASE_RECLAIM && slice == SLICES / 2)
			host_balloon(run);
		/* Not where a round ends: the flush of the one would hide that the other has none. */
		if (phase == PHASE_MIGRATE && slice == SLICES / 2) {
			host_age(run, epoch);
			host_move_some(run, epoch);
		}
		for (; i < end && !vm->errors; i++)
			guest_step(vm, i);
		if (phase == PHASE_REBUILD)
			host_reclaim_step(run);
		run->plan->progress(run->plan->progress_arg, vm, end, phase_names[phase]);
	}
	count_uses(run, from, to);
}

/* ---- the plan ---------------------------------------------------------------------------- */

static void begin_phase(struct run *run, enum phase phase)
{
	switch (phase) {
	case PHASE_DEMAND:
		break;
	case PHASE_MIGRATE:
		host_migrate_begin(run);
		break;
	case PHASE_RECLAIM:
		host_migrate_end(run);
		host_split(run);
		break;
	case PHASE_REBUILD:
		host_collapse(run);
		hotplug(run);
		break;
	}
}

static void end_epoch(struct run *run, unsigned epoch)
{
	enum phase phase = phase_of(run->plan, epoch);

	host_look(run, epoch);
	if (phase == PHASE_MIGRATE)
		host_migrate_round(run, epoch);
	else
		host_age(run, epoch);
	if (phase == PHASE_RECLAIM)
		host_move_cold(run);
	if (phase == PHASE_RECLAIM && epoch % 2)
		host_collapse(run);
	host_verify(run);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void collect(struct run *run)
{
	struct result *result = run->result;
	struct vm *vm = &run->vm;

	result->info.size = sizeof(result->info);
	result->stats.size = sizeof(result->stats);
	result->emu.size = sizeof(result->emu);
	if (tdp_mm_info(vm->mm, &result->info) || tdp_stats(vm->mm, &result->stats) ||
	    tdp_emu_stats(vm->emu, &result->emu))
		vm_error(vm, "no statistics");
	if (result->emu.violations)
		vm_error(vm, "%llu violations", (unsigned long long)result->emu.violations);
	memcpy(result->outcomes, vm->outcomes, sizeof(result->outcomes));
	/* The library must have counted the same faults as the one who sent them. */
	for (unsigned i = 0; i < TDP_FAULT_OUTCOMES; i++)
		if (result->stats.faults[i] != vm->outcomes[i])
			vm_error(vm, "outcome %u: %llu counted, %llu seen", i,
				 (unsigned long long)result->stats.faults[i],
				 (unsigned long long)vm->outcomes[i]);
	result->accesses = vm->accesses;
	result->device_reads = vm->device_reads;
	result->device_writes = vm->device_writes;
	result->rom_writes = vm->rom_writes;
	result->resolves = vm->paging.resolves;
	result->moved = vm->paging.moved;
	result->answers = vm->answers;
}

/* What a walk costs without anything cached, as the architecture's manual counts it. */
static void run_bare(const struct vm_format *format, struct guest *guest, uint32_t slot_flags,
		     struct tdp_emu_stats *stats, struct vm *failed)
{
	struct vm_options options = {.emu_flags = TDP_EMU_NO_TLB, .slot_flags = slot_flags};
	struct vm vm;

	if (!vm_start(&vm, format, guest, options))
		for (uint64_t i = 0; i < BARE_ACCESSES && i < guest->trace->count; i++)
			guest_step(&vm, i);
	stats->size = sizeof(*stats);
	if (vm.emu && tdp_emu_stats(vm.emu, stats))
		vm_error(&vm, "no statistics");
	vm_stop(&vm);
	if (vm.errors)
		vm_error(failed, "without TLB: %.100s", vm.first_error);
}

int run_format(const struct plan *plan, const struct vm_format *format, struct guest *guest,
	       struct result *result)
{
	uint64_t chunks = tdp_posix_chunk_bytes(), objects = tdp_posix_object_bytes();
	struct run run = {.plan = plan, .result = result};
	double start = now();

	memset(result, 0, sizeof(*result));
	result->format = format;
	if (!vm_start(&run.vm, format, guest, (struct vm_options){0}) && !host_init(&run)) {
		for (unsigned epoch = 0; epoch < plan->epochs && !run.vm.errors; epoch++) {
			run.cells = plan->cells ?
				plan->cells + (uint64_t)epoch * guest->trace->npages : NULL;
			if (!epoch || phase_of(plan, epoch) != phase_of(plan, epoch - 1))
				begin_phase(&run, phase_of(plan, epoch));
			run_epoch(&run, epoch);
			end_epoch(&run, epoch);
		}
		if (!run.vm.errors)
			host_final(&run);
		collect(&run);
	}
	host_free(&run);
	vm_stop(&run.vm);
	if (!run.vm.errors) {
		run_bare(format, guest, 0, &result->bare_huge, &run.vm);
		run_bare(format, guest, TDP_SLOT_FORCE_4K, &result->bare_4k, &run.vm);
	}
	if (tdp_posix_chunk_bytes() != chunks || tdp_posix_object_bytes() != objects)
		vm_error(&run.vm, "leaked: %lld bytes of tables, %lld of objects",
			 (long long)(tdp_posix_chunk_bytes() - chunks),
			 (long long)(tdp_posix_object_bytes() - objects));
	result->seconds = now() - start;
	result->errors = run.vm.errors;
	memcpy(result->first_error, run.vm.first_error, sizeof(result->first_error));
	return result->errors ? -1 : 0;
}

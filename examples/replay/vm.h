/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One virtual machine: an mm of some format under the emulated walker, memslots, host memory, two
 * vCPUs and a device. Every access is checked against the guest's model.
 */
#ifndef REPLAY_VM_H
#define REPLAY_VM_H

#include "guest.h"

#include <tdp/emu.h>
#include <tdp/tdp.h>
#include <tdp/walk.h>

#define VM_CPUS 2u

/* A format as a user of this program names it. */
struct vm_format {
	const char *name;
	const char *what;
	enum tdp_format format;
	uint32_t levels;       /* x86 */
	uint32_t gpa_bits;
	uint32_t without_caps; /* TDP_CAP_* that the emulated machine lacks */
	enum guest_paging paging;
	enum tdp_emu_stage1 stage1;
	bool high; /* REGION_PAGED above 48 bits */
};
extern const struct vm_format vm_formats[];
extern const unsigned vm_nformats;

/* Host memory of REGION_PAGED: which frame of the pool holds a page, if any. */
struct vm_paging {
	uint8_t *pool;
	uint64_t frames;
	uint32_t *frame_of;  /* by page, frame + 1; 0: none yet */
	uint32_t *free_list;
	uint32_t free_next, free_count; /* moves take turns among the free ones */
	uint64_t resolves, releases, moved;
};

struct vm_region {
	struct tdp_range gpa;
	uint8_t *host; /* linear regions */
	uint32_t slot;
	bool present;
	/* What must be in the log and must be young, kept here independently of the library. */
	uint64_t *stored, *touched;
};

struct vm_options {
	uint32_t emu_flags;  /* TDP_EMU_* */
	uint32_t slot_flags; /* TDP_SLOT_* of all memslots */
};

struct vm {
	const struct vm_format *format;
	struct vm_options options;
	struct guest *guest;
	struct tdp_mm *mm;
	struct tdp_emu *emu;
	struct tdp_emu_vcpu *cpu[VM_CPUS];
	struct tdp_vcpu *vcpu[VM_CPUS];
	unsigned running; /* which of them runs the guest now */
	struct vm_region region[REGIONS];
	struct vm_paging paging;
	uint64_t token;   /* the next store writes it */
	uint64_t answers; /* hash of every translation used */
	uint64_t outcomes[TDP_FAULT_OUTCOMES];
	uint64_t accesses, device_reads, device_writes, rom_writes;
	uint64_t errors;
	char first_error[160];
};

enum vm_answer { VM_OK, VM_MMIO, VM_READONLY, VM_ERROR };

/* Returns 0, or -1 with the reason in vm->first_error; then vm_stop() is still to be called. */
int vm_start(struct vm *vm, const struct vm_format *format, struct guest *guest,
	     struct vm_options options);
/* Everything given back; what was not is an error of the vm. */
void vm_stop(struct vm *vm);

/* One access of the guest to byte `offset` of a place, TDP_R, TDP_W or TDP_X, with all faults. */
enum vm_answer vm_access(struct vm *vm, const struct guest_place *place, uint32_t offset,
			 uint32_t access);
/* The device writes into the last page of RAM, as DMA would: no MMU of the guest sees it. */
void vm_dma(struct vm *vm);
/* Where the host has a page; NULL when it has none yet. */
uint8_t *vm_host(const struct vm *vm, enum region region, uint32_t index);
/* Give a page of REGION_PAGED that has a 4K frame another one. 1: done, 0: no such page, -1. */
int vm_move_page(struct vm *vm, uint32_t index);
/* Add and remove REGION_HOTPLUG's memslot. */
void vm_plug(struct vm *vm, bool in);

/* Counts an error; the first is kept as text. */
__attribute__((format(printf, 2, 3))) void vm_error(struct vm *vm, const char *text, ...);

static inline uint64_t vm_hash(uint64_t hash, uint64_t word)
{
	return (hash ^ word) * 0x9fb21c651e98df25u ^ hash >> 32;
}

static inline bool bit_test(const uint64_t *map, uint64_t bit)
{
	return map[bit / 64] >> bit % 64 & 1;
}

static inline void bit_set(uint64_t *map, uint64_t bit)
{
	map[bit / 64] |= (uint64_t)1 << bit % 64;
}

#endif

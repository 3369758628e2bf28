/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs guest accesses on the emulated walker and checks each against the model. */
#include "vm.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* More faults than this on one access: the library makes no progress. */
#define FAULTS_MAX 200u

void vm_error(struct vm *vm, const char *text, ...)
{
	va_list args;

	if (!vm->errors++) {
		va_start(args, text);
		vsnprintf(vm->first_error, sizeof(vm->first_error), text, args);
		va_end(args);
	}
}

uint8_t *vm_host(const struct vm *vm, enum region region, uint32_t index)
{
	const struct vm_paging *p = &vm->paging;

	if (region != REGION_PAGED)
		return vm->region[region].host + (uint64_t)index * PAGE_BYTES;
	if (!p->frame_of[index])
		return NULL;
	return p->pool + (uint64_t)(p->frame_of[index] - 1) * PAGE_BYTES;
}

/* What the walker reached must be the page that the layout says, at the address that it says. */
static enum vm_answer reached(struct vm *vm, const struct guest_place *place, uint32_t offset,
			      uint32_t access, const struct tdp_emu_exit *exit)
{
	enum region r = (enum region)place->region;
	uint64_t gpa = vm->region[r].gpa.start + (uint64_t)place->index * PAGE_BYTES + offset;
	uint8_t *page = vm_host(vm, r, place->index);
	uint64_t *word, *model;

	if (exit->gpa != gpa || !page || exit->pa != (uintptr_t)page + offset) {
		vm_error(vm, "gva %#llx: reached pa %#llx by gpa %#llx, not %p by %#llx",
			 (unsigned long long)(place->vpn << PAGE_LG2 | offset),
			 (unsigned long long)exit->pa, (unsigned long long)exit->gpa,
			 (void *)page, (unsigned long long)gpa);
		return VM_ERROR;
	}
	word = (uint64_t *)(void *)(page + (offset & ~7u));
	model = &vm->guest->model[r][((uint64_t)place->index * PAGE_BYTES + offset) / 8];
	if (*word != *model) {
		vm_error(vm, "gpa %#llx: memory has %#llx, the model %#llx",
			 (unsigned long long)gpa, (unsigned long long)*word,
			 (unsigned long long)*model);
		return VM_ERROR;
	}
	if (access == TDP_W) {
		*word = *model = ++vm->token;
		bit_set(vm->region[r].stored, place->index);
	}
	bit_set(vm->region[r].touched, place->index);
	/* Where a frame is differs from run to run; which page was reached must not. */
	vm->answers = vm_hash(vm->answers, (uint64_t)r << 60 ^ (uint64_t)place->index << 16 ^
						   offset ^ *word << 20);
	return VM_OK;
}

static enum vm_answer handle_fault(struct vm *vm, const struct tdp_emu_exit *exit)
{
	struct tdp_fault fault = {.size = sizeof(fault)};
	int status = tdp_emu_decode(exit, &fault);

	if (!status)
		status = tdp_fault(vm->vcpu[vm->running], &fault, NULL);
	if (status < 0) {
		vm_error(vm, "exit reason %u at gpa %#llx: %s", exit->reason,
			 (unsigned long long)fault.gpa, tdp_strerror(status));
		return VM_ERROR;
	}
	vm->outcomes[status]++;
	switch (status) {
	case TDP_FAULT_MMIO:
		return VM_MMIO;
	case TDP_FAULT_READONLY:
		return VM_READONLY;
	case TDP_FAULT_TRACKED:
		vm_error(vm, "a write to gpa %#llx was tracked; nobody asked",
			 (unsigned long long)fault.gpa);
		return VM_ERROR;
	default:
		return VM_OK;
	}
}

/* What the guest's access ends in, when the memslots are taken into account. */
static enum vm_answer expected(const struct vm *vm, const struct guest_place *place,
			       uint32_t access)
{
	if (!vm->region[place->region].present)
		return VM_MMIO;
	if (place->region == REGION_ROM && access == TDP_W)
		return VM_READONLY;
	return VM_OK;
}

enum vm_answer vm_access(struct vm *vm, const struct guest_place *place, uint32_t offset,
			 uint32_t access)
{
	uint64_t gva = place->vpn << PAGE_LG2 | offset;
	enum vm_answer want = expected(vm, place, access), got = VM_OK;
	struct tdp_emu_exit exit;
	unsigned tries;
	int status;

	vm->accesses++;
	for (tries = 0; got == VM_OK && tries < FAULTS_MAX; tries++) {
		switch (tdp_emu_access_gva(vm->cpu[vm->running], gva, access, &exit)) {
		case TDP_EMU_OK:
			if (want == VM_OK)
				return reached(vm, place, offset, access, &exit);
			vm_error(vm, "gva %#llx: access permitted that must not be",
				 (unsigned long long)gva);
			return VM_ERROR;
		case TDP_EMU_RELOAD:
			status = tdp_vcpu_load(vm->vcpu[vm->running]);
			if (!status)
				continue;
			vm_error(vm, "no root: %s", tdp_strerror(status));
			return VM_ERROR;
		case TDP_EMU_GUEST_FAULT:
		case TDP_EMU_BUS_ERROR:
			vm_error(vm, "gva %#llx: guest tables cannot be walked (reason %u)",
				 (unsigned long long)gva, exit.reason);
			return VM_ERROR;
		default:
			got = handle_fault(vm, &exit);
		}
	}
	if (got == want && got != VM_OK) {
		/* The hypervisor emulates: a device register, or nothing for a write to ROM. */
		vm->answers = vm_hash(vm->answers, gva ^ (uint64_t)got);
		vm->device_reads += got == VM_MMIO && access == TDP_R;
		vm->device_writes += got == VM_MMIO && access == TDP_W;
		vm->rom_writes += got == VM_READONLY;
		return got;
	}
	if (got != VM_ERROR)
		vm_error(vm, "gva %#llx: answer %d after %u faults, not %d",
			 (unsigned long long)gva, (int)got, tries, (int)want);
	return VM_ERROR;
}

void vm_dma(struct vm *vm)
{
	struct vm_region *ram = &vm->region[REGION_RAM];
	uint32_t index = (uint32_t)(vm->guest->pages[REGION_RAM] - 1);
	uint64_t word = (uint64_t)index * PAGE_BYTES / 8;
	int status;

	vm->guest->model[REGION_RAM][word] = ++vm->token;
	((uint64_t *)(void *)ram->host)[word] = vm->token;
	bit_set(ram->stored, index);
	/* The guest's MMU did not write, so the host says so itself. */
	status = tdp_dirty_mark(vm->mm, ram->slot, index, 1);
	if (status)
		vm_error(vm, "tdp_dirty_mark: %s", tdp_strerror(status));
}

int vm_move_page(struct vm *vm, uint32_t index)
{
	struct vm_paging *p = &vm->paging;
	struct tdp_range page = {vm->region[REGION_PAGED].gpa.start + (uint64_t)index * PAGE_BYTES,
				 PAGE_BYTES};
	uint8_t *old = vm_host(vm, REGION_PAGED, index), *new_page;
	uint32_t frame;
	int status;

	if (!old || index / HUGE_PAGES % 2 || !p->free_count)
		return 0;
	status = tdp_invalidate_begin(vm->mm, page);
	if (!status)
		status = tdp_zap(vm->mm, 0, page, 0);
	if (status) {
		vm_error(vm, "moving a page: %s", tdp_strerror(status));
		return -1;
	}
	/* No MMU reaches the old frame any more: it may be copied and given to somebody else. */
	p->free_next = (p->free_next + 1) % p->free_count;
	frame = p->free_list[p->free_next];
	new_page = p->pool + (uint64_t)frame * PAGE_BYTES;
	memcpy(new_page, old, PAGE_BYTES);
	status = tdp_emu_allow(vm->emu, (uintptr_t)new_page, PAGE_BYTES);
	if (!status)
		status = tdp_emu_forbid(vm->emu, (uintptr_t)old, PAGE_BYTES);
	p->free_list[p->free_next] = p->frame_of[index] - 1;
	p->frame_of[index] = frame + 1;
	p->moved++;
	vm->region[REGION_PAGED].touched[index / 64] &= ~((uint64_t)1 << index % 64);
	if (!status)
		status = tdp_invalidate_end(vm->mm, page);
	if (status)
		vm_error(vm, "moving a page: %s", tdp_strerror(status));
	return status ? -1 : 1;
}

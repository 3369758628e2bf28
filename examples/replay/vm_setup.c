/* SPDX-License-Identifier: BSD-2-Clause */
/* Makes and unmakes a virtual machine: formats, host memory, memslots, vCPUs. */
#include "vm.h"

#include <stdlib.h>
#include <string.h>

#include <tdp/posix.h>

#define HUGE_BYTES ((uint64_t)1 << HUGE_LG2)
#define NO_AD (TDP_CAP_HW_ACCESSED | TDP_CAP_HW_DIRTY)

const struct vm_format vm_formats[] = {
	{"ept4", "Intel EPT, 4 levels", TDP_FMT_EPT, 4, 48, 0, GUEST_X86_4, TDP_EMU_S1_X86_4, false},
	{"ept5", "Intel EPT, 5 levels", TDP_FMT_EPT, 5, 52, 0, GUEST_X86_5, TDP_EMU_S1_X86_5, true},
	{"npt4", "AMD NPT, 4 levels", TDP_FMT_NPT, 4, 48, 0, GUEST_X86_4, TDP_EMU_S1_X86_4, false},
	{"npt5", "AMD NPT, 5 levels", TDP_FMT_NPT, 5, 52, 0, GUEST_X86_5, TDP_EMU_S1_X86_5, true},
	{"arm64", "Arm stage 2, 48 bits, 4 levels", TDP_FMT_S2_4K, 0, 48, 0, GUEST_ARM64,
	 TDP_EMU_S1_ARM64, false},
	{"arm64-40", "Arm stage 2, 40 bits, 3 levels, 2 root tables", TDP_FMT_S2_4K, 0, 40, 0,
	 GUEST_ARM64, TDP_EMU_S1_ARM64, false},
	{"ept4-noad", "EPT without Accessed and Dirty", TDP_FMT_EPT, 4, 48, NO_AD, GUEST_X86_4,
	 TDP_EMU_S1_X86_4, false},
	{"arm64-noad", "Arm stage 2 without hardware AF and DBM", TDP_FMT_S2_4K, 0, 48, NO_AD,
	 GUEST_ARM64, TDP_EMU_S1_ARM64, false},
};
const unsigned vm_nformats = sizeof(vm_formats) / sizeof(vm_formats[0]);

/* ---- host memory of REGION_PAGED --------------------------------------------------------- */

/* Every second huge page of guest memory is backed by one of the host's, others by 4K frames. */
static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	struct vm *vm = arg;
	struct vm_paging *p = &vm->paging;
	uint32_t index = (uint32_t)((gpa - vm->region[REGION_PAGED].gpa.start) / PAGE_BYTES);
	bool huge = index / HUGE_PAGES % 2;

	(void)want_lg2;
	(void)access;
	if (!p->frame_of[index] && !huge) {
		if (!p->free_count)
			return TDP_ENOMEM;
		p->frame_of[index] = p->free_list[--p->free_count] + 1;
		if (tdp_emu_allow(vm->emu, (uintptr_t)vm_host(vm, REGION_PAGED, index), PAGE_BYTES))
			return TDP_EFAULT;
	}
	page->pa = (uintptr_t)vm_host(vm, REGION_PAGED, index);
	page->lg2 = huge ? HUGE_LG2 : PAGE_LG2;
	page->prot = TDP_RWX;
	page->cookie = page->pa;
	p->resolves++;
	return TDP_OK;
}

static void release(void *arg, tdp_gpa_t gpa, const struct tdp_page *page, uint32_t flags)
{
	struct vm *vm = arg;

	(void)gpa;
	(void)flags;
	vm->paging.releases++;
	if (page->cookie != page->pa)
		vm_error(vm, "release() of something that resolve() did not give");
}

static const struct tdp_backing_ops backing = {sizeof(backing), 0, resolve, release};

/* The order in which 4K frames are handed out; anything but ascending. */
static void shuffle_frames(struct vm_paging *p)
{
	uint64_t seed = 1;

	for (uint32_t i = p->free_count; i > 1; i--) {
		uint32_t other, swap = p->free_list[i - 1];

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		other = (uint32_t)((seed >> 33) % i);
		p->free_list[i - 1] = p->free_list[other];
		p->free_list[other] = swap;
	}
}

static int make_paging(struct vm *vm)
{
	struct vm_paging *p = &vm->paging;
	uint64_t pages = vm->guest->pages[REGION_PAGED];

	/* A frame for each page, and a quarter more so that pages can move. */
	p->frames = pages + (pages / HUGE_PAGES / 4 + 1) * HUGE_PAGES;
	p->pool = aligned_alloc(HUGE_BYTES, p->frames * PAGE_BYTES);
	p->frame_of = calloc(pages, sizeof(*p->frame_of));
	p->free_list = malloc(p->frames * sizeof(*p->free_list));
	if (!p->pool || !p->frame_of || !p->free_list)
		return -1;
	memset(p->pool, 0, p->frames * PAGE_BYTES);
	for (uint32_t i = 0; i < p->frames; i++) {
		if (i < pages && i / HUGE_PAGES % 2)
			p->frame_of[i] = i + 1;
		else
			p->free_list[p->free_count++] = i;
	}
	shuffle_frames(p);
	/* A frame that holds no page is out of bounds for the guest. */
	for (uint32_t i = 0; i < p->free_count; i++) {
		uint8_t *frame = p->pool + (uint64_t)p->free_list[i] * PAGE_BYTES;

		if (tdp_emu_forbid(vm->emu, (uintptr_t)frame, PAGE_BYTES))
			return -1;
	}
	return 0;
}

/* ---- memslots ---------------------------------------------------------------------------- */

static int add_slot(struct vm *vm, enum region r)
{
	struct vm_region *region = &vm->region[r];
	struct tdp_slot_desc desc = {.size = sizeof(desc), .flags = vm->options.slot_flags,
				     .gpa = region->gpa};
	int status;

	if (r == REGION_PAGED) {
		desc.backing = &backing;
		desc.backing_arg = vm;
		desc.backing_start = desc.gpa.start;
	} else {
		desc.pa = (uintptr_t)region->host;
		desc.flags |= r == REGION_ROM ? TDP_SLOT_READONLY : 0;
	}
	status = tdp_slot_add(vm->mm, &desc, &region->slot);
	if (status)
		vm_error(vm, "tdp_slot_add: %s", tdp_strerror(status));
	region->present = !status;
	return status;
}

void vm_plug(struct vm *vm, bool in)
{
	struct vm_region *region = &vm->region[REGION_HOTPLUG];
	int status;

	if (in) {
		add_slot(vm, REGION_HOTPLUG);
		return;
	}
	status = tdp_slot_remove(vm->mm, region->slot);
	if (status)
		vm_error(vm, "tdp_slot_remove: %s", tdp_strerror(status));
	region->present = false;
}

static int make_region(struct vm *vm, enum region r)
{
	struct vm_region *region = &vm->region[r];
	uint64_t pages = vm->guest->pages[r], bytes = pages * PAGE_BYTES;

	region->gpa.start = guest_gpa(r, vm->format->high);
	region->gpa.size = bytes;
	region->stored = calloc(pages / 64, sizeof(*region->stored));
	region->touched = calloc(pages / 64, sizeof(*region->touched));
	if (!region->stored || !region->touched)
		return -1;
	if (r == REGION_PAGED)
		return make_paging(vm);
	/* As aligned as a huge page, at addresses that are: then huge pages can map it. */
	region->host = aligned_alloc(HUGE_BYTES, bytes);
	if (!region->host)
		return -1;
	if (vm->guest->model[r])
		memcpy(region->host, vm->guest->model[r], bytes);
	else
		memset(region->host, 0, bytes);
	return 0;
}

/* ---- the whole --------------------------------------------------------------------------- */

static void violation(void *arg, const char *what, tdp_gpa_t gpa, tdp_pa_t pa)
{
	vm_error(arg, "the walker says: %s (gpa %#llx, pa %#llx)", what, (unsigned long long)gpa,
		 (unsigned long long)pa);
}

static int make_mm(struct vm *vm)
{
	struct tdp_emu_config machine = tdp_emu_config_default();
	struct tdp_mm_config cfg = tdp_mm_config_default();
	int status;

	machine.flags = vm->options.emu_flags;
	machine.without_caps = vm->format->without_caps;
	machine.max_levels = vm->format->levels;
	machine.violation = violation;
	machine.violation_arg = vm;
	status = tdp_emu_create(&machine, &vm->emu);
	if (status)
		return status;
	cfg.format = vm->format->format;
	cfg.levels = vm->format->levels;
	cfg.gpa_bits = vm->format->gpa_bits;
	/* Young pages shall be exact, not only nearly so: the answers are compared. */
	cfg.flags = TDP_MM_FLUSH_ON_AGE;
	cfg.env = tdp_posix_env_memb();
	cfg.backend = &tdp_emu_backend;
	cfg.backend_ctx = vm->emu;
	return tdp_mm_create(&cfg, &vm->mm);
}

static int make_cpus(struct vm *vm, uint64_t stage1_root)
{
	for (unsigned i = 0; i < VM_CPUS; i++) {
		int status = tdp_emu_vcpu_create(vm->emu, &vm->cpu[i]);

		if (!status)
			status = tdp_emu_set_stage1(vm->cpu[i], vm->format->stage1, stage1_root);
		if (!status)
			status = tdp_vcpu_create(vm->mm, vm->cpu[i], &vm->vcpu[i]);
		if (status)
			return status;
	}
	return 0;
}

int vm_start(struct vm *vm, const struct vm_format *format, struct guest *guest,
	     struct vm_options options)
{
	uint64_t stage1_root;
	int status;

	memset(vm, 0, sizeof(*vm));
	vm->format = format;
	vm->guest = guest;
	vm->options = options;
	guest_reset(guest);
	status = make_mm(vm);
	for (unsigned r = 0; !status && r < REGION_DEVICE; r++) {
		if (make_region(vm, (enum region)r))
			status = TDP_ENOMEM;
		else if (r != REGION_HOTPLUG)
			status = add_slot(vm, (enum region)r);
	}
	if (!status) {
		stage1_root = guest_build_tables(guest, format->paging, format->high,
						 (uint64_t *)(void *)vm->region[REGION_TABLES].host);
		status = make_cpus(vm, stage1_root);
	}
	if (status)
		vm_error(vm, "the virtual machine cannot be made: %s", tdp_strerror(status));
	return status ? -1 : 0;
}

void vm_stop(struct vm *vm)
{
	int status;

	for (unsigned i = 0; i < VM_CPUS; i++)
		tdp_vcpu_destroy(vm->vcpu[i]);
	if (vm->mm) {
		status = tdp_mm_destroy(vm->mm);
		if (status)
			vm_error(vm, "tdp_mm_destroy: %d%s", status,
				 status > 0 ? " tables leaked" : "");
	}
	for (unsigned i = 0; i < VM_CPUS; i++)
		if (vm->cpu[i])
			tdp_emu_vcpu_destroy(vm->cpu[i]);
	if (vm->emu)
		tdp_emu_destroy(vm->emu);
	if (vm->paging.resolves != vm->paging.releases)
		vm_error(vm, "%llu resolve() but %llu release()",
			 (unsigned long long)vm->paging.resolves,
			 (unsigned long long)vm->paging.releases);
	for (unsigned r = 0; r < REGIONS; r++) {
		free(vm->region[r].host);
		free(vm->region[r].stored);
		free(vm->region[r].touched);
	}
	free(vm->paging.pool);
	free(vm->paging.frame_of);
	free(vm->paging.free_list);
}

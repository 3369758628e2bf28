/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * vCPUs of the emulated machine: life, loading of roots, the guest's translation regime.
 */
#include <stdlib.h>
#include <string.h>

#include "emu_int.h"

int tdp_emu_vcpu_create(struct tdp_emu *emu, struct tdp_emu_vcpu **vcpu)
{
	struct tdp_emu_vcpu *v;

	if (!emu || !vcpu)
		return TDP_EINVAL;
	v = calloc(1, sizeof(*v));
	if (!v)
		return TDP_ENOMEM;
	v->emu = emu;
	pthread_mutex_init(&v->own_lock, NULL);
	v->lock = emu->cfg.flags & TDP_EMU_CHECK_TWINS ? &emu->shared_lock : &v->own_lock;
	emu_list_lock(emu);
	emu_lock_other(v);
	v->next = emu->vcpus;
	emu->vcpus = v;
	emu_unlock(v);
	emu_list_unlock(emu);
	*vcpu = v;
	return TDP_OK;
}

void tdp_emu_vcpu_destroy(struct tdp_emu_vcpu *v)
{
	struct tdp_emu_vcpu **link;
	struct tdp_emu *emu;

	if (!v)
		return;
	emu = v->emu;
	emu_list_lock(emu);
	emu_lock_other(v);
	for (link = &emu->vcpus; *link != v; link = &(*link)->next)
		;
	*link = v->next;
	tdpi_emu_stats_add(&emu->past, &v->st);
	emu_unlock(v);
	emu_list_unlock(emu);
	tdpi_emu_map_free(&v->leaf);
	tdpi_emu_map_free(&v->tables);
	tdpi_emu_map_free(&v->combined);
	tdpi_emu_map_free(&v->pt_pages);
	pthread_mutex_destroy(&v->own_lock);
	free(v);
}

void tdpi_emu_drop_combined(struct tdp_emu_vcpu *v)
{
	tdpi_emu_map_clear(&v->combined);
	tdpi_emu_map_clear(&v->pt_pages);
}

void tdpi_emu_drop_all(struct tdp_emu_vcpu *v)
{
	tdpi_emu_map_clear(&v->leaf);
	tdpi_emu_map_clear(&v->tables);
	tdpi_emu_drop_combined(v);
}

static bool of_level(void *arg, const struct emu_slot *s)
{
	const uint32_t *levels = arg;

	return s->aux & *levels;
}

void tdpi_emu_drop_leaves(struct tdp_emu_vcpu *v, uint64_t start, uint64_t last, uint32_t levels)
{
	tdpi_emu_map_drop(&v->leaf, start, last, levels);
	if (!v->combined.count)
		return;
	/*
	 * A combined translation also stands for the guest tables it came through. Which ones
	 * each came through is not kept; if any of them moves, all combined translations go.
	 */
	if (tdpi_emu_map_overlap(&v->pt_pages, NULL, start, last, of_level, &levels))
		tdpi_emu_drop_combined(v);
	else
		tdpi_emu_map_drop_aux(&v->combined, start, last, levels);
}

void tdpi_emu_drop_range(struct tdp_emu_vcpu *v, uint64_t start, uint64_t last)
{
	tdpi_emu_map_drop(&v->tables, start, last, EMU_LEVELS_ALL);
	tdpi_emu_drop_leaves(v, start, last, EMU_LEVELS_ALL);
}

int tdp_emu_set_stage1(struct tdp_emu_vcpu *v, enum tdp_emu_stage1 mode, uint64_t root)
{
	if (!v || (unsigned)mode > TDP_EMU_S1_ARM64)
		return TDP_EINVAL;
	/* CR3 bits 63:52 are reserved; TTBR0_EL1 has the ASID there. */
	if ((mode == TDP_EMU_S1_X86_4 || mode == TDP_EMU_S1_X86_5) && root >> 52)
		return TDP_EINVAL;
	emu_lock_own(v);
	v->s1_mode = mode;
	v->s1_root = root;
	tdpi_emu_drop_combined(v);
	emu_unlock(v);
	return TDP_OK;
}

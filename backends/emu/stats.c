/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Counters of the emulated machine: kept per vCPU under its lock, added up when asked for.
 */
#include <string.h>

#include "emu_int.h"

void tdpi_emu_stats_add(struct tdp_emu_stats *sum, const struct tdp_emu_stats *st)
{
	sum->accesses += st->accesses;
	sum->tlb_hits += st->tlb_hits;
	sum->walks += st->walks;
	sum->walk_cache_hits += st->walk_cache_hits;
	sum->refs += st->refs;
	for (unsigned i = 0; i < TDP_EMU_REFS_MAX; i++)
		sum->refs_hist[i] += st->refs_hist[i];
	sum->accessed_set += st->accessed_set;
	sum->dirty_set += st->dirty_set;
	sum->exits += st->exits;
	sum->violations += st->violations;
}

int tdp_emu_stats(struct tdp_emu *emu, struct tdp_emu_stats *stats)
{
	struct tdp_emu_stats sum;
	uint32_t size;

	if (!emu || !stats || stats->size < 2 * sizeof(uint32_t))
		return TDP_EINVAL;
	size = stats->size;
	if (size > sizeof(sum)) {
		const unsigned char *bytes = (const unsigned char *)stats;

		for (uint32_t i = sizeof(sum); i < size; i++) {
			if (bytes[i])
				return TDP_E2BIG;
		}
	}
	emu_list_lock(emu);
	sum = emu->past;
	for (struct tdp_emu_vcpu *v = emu->vcpus; v; v = v->next) {
		emu_lock_other(v);
		tdpi_emu_stats_add(&sum, &v->st);
		emu_unlock(v);
	}
	emu_list_unlock(emu);
	sum.flush_range = __atomic_load_n(&emu->flush_range, __ATOMIC_RELAXED);
	sum.flush_leaves = __atomic_load_n(&emu->flush_leaves, __ATOMIC_RELAXED);
	sum.flush_begun = __atomic_load_n(&emu->flush_begun, __ATOMIC_RELAXED);
	sum.flush_all = __atomic_load_n(&emu->flush_all, __ATOMIC_RELAXED);
	sum.flush_vcpu = __atomic_load_n(&emu->flush_vcpu, __ATOMIC_RELAXED);
	sum.reloads = __atomic_load_n(&emu->reloads, __ATOMIC_RELAXED);
	sum.size = size;
	sum.reserved = 0;
	memcpy(stats, &sum, size < sizeof(sum) ? size : sizeof(sum));
	return TDP_OK;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* MMIO entries: where no slot is, a note in the table that spares the next fault the search. Template. */
#ifndef TDPI_ENGINE_MMIO_H
#define TDPI_ENGINE_MMIO_H

#include "engine/map.h"

/* A live leaf where no slot is: its slot is being removed, and the remover takes it away (IO04). */
static int mmio_entry(struct tdpi_op *op, struct tdpi_locked l, tdpi_entry_t *ref,
		      uint32_t generation)
{
	uint64_t old = tdpi_entry_load(ref);

	if (fmt_kind(old, 0) == TDP_ENTRY_LEAF)
		return TDP_FAULT_RETRY;
	if (fmt_kind(old, 0) != TDP_ENTRY_MMIO) {
		table_occupy(l.t, part_of_entry(ref));
		table_add(l.t, 1);
		l.t->mmio++;
		tdpi_count(op->counts, mmio, 1);
	}
	tdpi_entry_publish(l, ref, fmt_mmio(0, generation));
	sync_entry(op->mm, ref);
	return TDP_FAULT_MMIO;
}

static int mmio_walk(struct tdpi_op *op, struct tdp_root *root, struct tdpi_map *m,
		     struct owed_seen *seen)
{
	struct tdpi_table *t = root_table(root, m->gfn);
	struct tdpi_locked l;
	int ret;

	for (;;) {
		tdpi_entry_t *ref = tdpi_table_entries(op->mm, t) + entry_index(m->gfn, t->level);
		uint64_t e = tdpi_entry_load_table(ref);

		if (t->level == 0) {
			if (!fault_lock(op, t, &l))
				return MAP_AGAIN;
			if (tdpi_invalidated(op->mm, m->gfn, 1, m->seq) ||
			    tdpi_load_acquire(&root->invalid))
				ret = TDP_FAULT_RETRY;
			else
				ret = mmio_entry(op, l, ref, m->mmio_gen);
			tdpi_table_unlock(op->mm, l);
			return ret;
		}
		if (fmt_kind(e, t->level) == TDP_ENTRY_TABLE) {
			t = table_below(op->mm, e, t->level);
			continue;
		}
		if (fmt_kind(e, t->level) != TDP_ENTRY_EMPTY)
			return TDP_FAULT_RETRY;
		ret = grow(op, t, ref, m, seen);
		if (ret)
			return ret;
	}
}

static int map_mmio(struct tdpi_op *op, struct tdp_root *root, tdpi_gfn_t gfn, uint32_t generation,
		    uint64_t seq)
{
	struct tdpi_map m = {.gfn = gfn, .seq = seq, .mmio_gen = generation};
	struct owed_seen seen = {0};

	for (unsigned tries = 0; tries < MAP_TRIES; tries++) {
		int ret = mmio_walk(op, root, &m, &seen);

		if (ret != MAP_AGAIN)
			return ret;
	}
	return TDP_FAULT_RETRY;
}

#endif

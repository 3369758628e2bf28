/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an MMU does to tables, without a guest: it sets Accessed and Dirty. The few bits that takes are here, from
 * the manuals (Intel SDM vol. 3C, 29.3.2; AMD APM vol. 2, 5.4; Arm DDI 0487, D8.3 and D8.5).
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct bits {
	uint64_t present, accessed, dirty;
	uint64_t table, table_is; /* above level 0: a table if (e & table) == table_is */
	uint64_t table_accessed;  /* set in entries that point to tables */
};

static const struct bits formats[BENCH_FORMATS] = {
	[BENCH_EPT] = {0x407, 1 << 8, 1 << 9, 1 << 7, 0, 1 << 8},
	[BENCH_NPT] = {1 << 0, 1 << 5, 1 << 6, 1 << 7, 0, 1 << 5},
	/* A leaf with DBM that is clean has S2AP[1] clear. */
	[BENCH_S2] = {1 << 0, 1 << 10, 1 << 7, 1 << 1, 1 << 1, 0},
};

static bool is_leaf(const struct bits *b, uint64_t e, unsigned level)
{
	return e & b->present && (level == 0 || (e & b->table) != b->table_is);
}

static bool wanted(enum touch what, uint64_t nth, bool last)
{
	return what == TOUCH_ALL || (what == TOUCH_SOME && nth % SPARSE == 0) ||
	       (what == TOUCH_LAST && last);
}

static uint64_t count_leaves(const struct subject *b, const struct bits *bits)
{
	uint64_t leaves = 0;

	for (size_t t = 0; t < b->tables; t++)
		for (unsigned i = 0; i < b->table[t].count; i++)
			leaves += is_leaf(bits, b->table[t].entries[i], b->table[t].level);
	return leaves;
}

void mmu_touch(const struct subject *b, enum touch young, enum touch dirty, bool quietly)
{
	const struct bits *bits = &formats[b->shape.format];
	uint64_t change = (young ? bits->accessed : 0) | (dirty ? bits->dirty : 0), nth = 0;
	uint64_t leaves = young == TOUCH_LAST || dirty == TOUCH_LAST ? count_leaves(b, bits) : 0;

	for (size_t t = 0; t < b->tables; t++) {
		const struct table *table = &b->table[t];

		for (unsigned i = 0; i < table->count; i++) {
			uint64_t e = table->entries[i], to = e;

			if (!(e & bits->present))
				continue;
			if (is_leaf(bits, e, table->level)) {
				bool last = nth + 1 == leaves;

				to = (e & ~change) |
				     (wanted(young, nth, last) ? bits->accessed : 0) |
				     (wanted(dirty, nth, last) ? bits->dirty : 0);
				nth++;
			} else if (young && !quietly) {
				to |= bits->table_accessed;
			}
			if (to != e)
				table->entries[i] = to;
		}
	}
}

uint64_t mmu_count_young(const struct subject *b)
{
	const struct bits *bits = &formats[b->shape.format];
	uint64_t young = 0;

	for (size_t t = 0; t < b->tables; t++)
		for (unsigned i = 0; i < b->table[t].count; i++) {
			uint64_t e = b->table[t].entries[i];

			young += is_leaf(bits, e, b->table[t].level) && e & bits->accessed;
		}
	return young;
}

/* Twice the last cache, written. */
void mmu_sweep_caches(void)
{
	static volatile unsigned char *memory;
	static size_t size;

	if (!memory) {
		long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);

		size = 2 * (size_t)(cache > 0 ? cache : (long)(32 * MIB));
		memory = zeroed(size, 1);
	}
	for (size_t i = 0; i < size; i += 64)
		memory[i]++;
}

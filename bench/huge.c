/* SPDX-License-Identifier: BSD-2-Clause */
/* Huge pages into small ones and back; figures are for one huge page. */
#include "bench.h"

const struct question huge_questions[] = {
	{
		.name = "split",
		.op = BENCH_SPLIT,
		.floor = FLOOR_FILL,
		.floor_per_entry = PER_TABLE,
		.before = MAPPED | YOUNG | DIRTY,
		.after = LEFT_SMALL,
		.levels = LEVEL_2M | LEVEL_1G,
		.max_entries = 64 * KIB,
		.aim_ratio = 1.5,
	},
	{
		.name = "collapse",
		.op = BENCH_COLLAPSE,
		.floor = FLOOR_READ,
		.floor_per_entry = PER_TABLE,
		.before = MAPPED | SMALL | YOUNG | DIRTY,
		.after = LEFT_ALL | DONE_ENTRIES,
		.levels = LEVEL_2M | LEVEL_1G,
		.max_entries = 64 * KIB,
		.aim_ns = 250,
	},
	{0},
};

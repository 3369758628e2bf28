/* SPDX-License-Identifier: BSD-2-Clause */
/* Making mappings: one fault at a time, in order and in none, and a whole range in one call. */
#include "bench.h"

const struct question fault_questions[] = {
	{
		.name = "fault_seq",
		.op = BENCH_FAULT,
		.floor = FLOOR_LOCKED,
		.after = LEFT_EACH,
		.levels = LEVEL_4K,
		.single = true,
		.aim_ns = 12,
	},
	{
		.name = "fault_seq",
		.op = BENCH_FAULT,
		.floor = FLOOR_LOCKED,
		.after = LEFT_EACH,
		.levels = LEVEL_2M | LEVEL_1G,
		.single = true,
		.aim_ns = 15,
	},
	{
		.name = "fault_seq",
		.variant = "asked",
		.op = BENCH_FAULT,
		.floor = FLOOR_LOCKED,
		.after = LEFT_EACH,
		.levels = LEVEL_4K,
		.single = true,
		.asked = true,
	},
	{
		.name = "fault_rand",
		.op = BENCH_FAULT,
		.floor = FLOOR_MEND,
		.before = MAPPED | HOLES | KEPT,
		.after = LEFT_ALL,
		.levels = LEVEL_4K,
		.single = true,
		.random = true,
	},
	{
		.name = "populate",
		.op = BENCH_POPULATE,
		.floor = FLOOR_FILL,
		.after = LEFT_ALL,
		.levels = LEVEL_ANY,
		.aim_ns = 1,
	},
	{0},
};

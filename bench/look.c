/* SPDX-License-Identifier: BSD-2-Clause */
/* What changes nothing in the tables: lookups, and vCPUs that go from one root to another. */
#include "bench.h"

const struct question look_questions[] = {
	{
		.name = "lookup_seq",
		.op = BENCH_LOOKUP,
		.floor = FLOOR_LOADS,
		.before = MAPPED | KEPT,
		.after = LEFT_ALL | DONE_SUM,
		.levels = LEVEL_ANY,
		.single = true,
		.aim_ns = 7,
	},
	{
		.name = "lookup_rand",
		.op = BENCH_LOOKUP,
		.floor = FLOOR_LOADS,
		.before = MAPPED | KEPT,
		.after = LEFT_ALL | DONE_SUM,
		.levels = LEVEL_ANY,
		.single = true,
		.random = true,
	},
	{
		.name = "role_switch",
		.variant = "another role",
		.op = BENCH_SWITCH,
		.floor = FLOOR_LOCKED,
		.before = MAPPED | KEPT,
		.after = LEFT_ALL | DONE_ENTRIES,
		.levels = LEVEL_4K,
		.single = true,
	},
	{
		.name = "role_switch",
		.variant = "the same",
		.op = BENCH_SWITCH_SAME,
		.floor = FLOOR_LOCKED,
		.before = MAPPED | KEPT,
		.after = LEFT_ALL | DONE_ENTRIES,
		.levels = LEVEL_4K,
		.single = true,
	},
	{0},
};

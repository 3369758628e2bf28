/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much memory do the tables of a mapped guest take? The floor is the tables alone. Told is what was taken for them;
 * for "trimmed" what the kernel has really given, page by page, once the engine has said what it does not use.
 */
#include "bench.h"

#define TRIMMED 1u

static struct figure exactly(double v)
{
	return (struct figure){.median = v, .low = v, .high = v};
}

static void measure_engine(const struct bench_engine *engine, const struct question *q,
			   const struct setting *s)
{
	struct bench_counts counts;
	struct bench_work work;
	struct subject b;
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engine->name,
		.floor = "tables",
		.unit = "bytes/entry",
		.s = s,
		.instructions = {-1, -1},
		.cpu_ns = -1,
		.rounds = 1,
		.threads = 1,
		.page_lg2 = s->shape.page_lg2,
		.aim_ratio = q->aim_ratio,
	};

	idle_asked += s->idle;
	subject_open(&b, engine, q, s);
	subject_prepare(&b, false);
	work = subject_work(&b);
	(void)subject_run(&b, &work);
	if (!subject_check(&b, work.done, false))
		subject_refuse(&b);
	engine->counts(b.vm, &counts);
	if (q->detail & TRIMMED) {
		work.done = 0;
		if (engine->op[BENCH_TRIM](&work) || work.done == 0)
			die("%s: what it does not use cannot be given back", engine->name);
		counts.bytes = work.done;
	}
	r.entries = b.entries;
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	r.ns = exactly((double)counts.bytes / (double)b.entries);
	r.floor_ns = exactly((double)(counts.tables * 4 * KIB) / (double)b.entries);
	r.ratio = exactly(r.ns.median / r.floor_ns.median);
	if (!s->idle)
		tell(&r);
	subject_close(&b);
}

static void measure(const struct question *q, const struct setting *s)
{
	for (unsigned e = 0; e < engine_count; e++)
		if (subject_possible(engines[e], q, &s->shape) &&
		    (!(q->detail & TRIMMED) || engines[e]->op[BENCH_TRIM]))
			measure_engine(engines[e], q, s);
}

const struct question memory_questions[] = {
	{
		.name = "memory",
		.op = BENCH_POPULATE,
		.after = LEFT_ALL,
		.levels = LEVEL_ANY,
		.hot_only = true,
		.aim_ratio = 1.016,
		.measure = measure,
	},
	{
		.name = "memory",
		.variant = "trimmed",
		.op = BENCH_POPULATE,
		.after = LEFT_ALL,
		.levels = LEVEL_ANY,
		.hot_only = true,
		.detail = TRIMMED,
		.aim_ratio = 1.016,
		.measure = measure,
	},
	{0},
};

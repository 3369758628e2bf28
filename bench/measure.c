/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Rounds: libtdp, the engines beside it and the floor, one after the other, again and again, so that the machine's
 * mood is the same for all. Told are medians; a ratio is the median of the rounds' ratios.
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

/* ---- figures ---- */

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/*
 * The true median lies between the k-th smallest and the k-th largest of n values unless fewer than k of them came
 * out on one side: the largest k for which that is less likely than 1 in 20 (a coin thrown n times).
 */
static unsigned rank_of(unsigned n)
{
	double term = 1, sum = 0;
	unsigned k = 0;

	for (unsigned i = 0; i < n; i++)
		term /= 2;
	while (k < n / 2) {
		sum += term;
		if (2 * sum > 0.05)
			break;
		k++;
		term = term * (n - k + 1) / k;
	}
	return k ? k : 1;
}

struct figure figure_of(const double *v, unsigned n)
{
	double sorted[ROUNDS_MAX];
	unsigned k = rank_of(n);
	struct figure f;

	memcpy(sorted, v, n * sizeof(*v));
	qsort(sorted, n, sizeof(*sorted), by_size);
	f.median = n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
	f.low = sorted[k - 1];
	f.high = sorted[n - k];
	f.spread = f.median > 0 ? (sorted[3 * n / 4] - sorted[n / 4]) / f.median : 0;
	return f;
}

/* ---- rounds ---- */

struct measure {
	struct subject b[ENGINES_MAX];
	unsigned engines;
	double ns[ENGINES_MAX][ROUNDS_MAX], cpu[ENGINES_MAX][ROUNDS_MAX], floor[ROUNDS_MAX];
	struct bench_counts
		most[ENGINES_MAX]; /* tables and memory while it ran; flushes of a round */
};

static double one(struct subject *b, struct bench_counts *most, double *cpu, bool last)
{
	struct bench_counts before, after;
	struct bench_work work;
	double took, begin, looking;

	subject_prepare(b, last);
	work = subject_work(b);
	b->engine->counts(b->vm, &before);
	begin = cpu_now();
	took = subject_run(b, &work);
	looking = thread_now();
	b->engine->counts(b->vm, &after);
	most->flushes = after.flushes - before.flushes;
	most->tables = before.tables > after.tables ? before.tables : after.tables;
	most->bytes = before.bytes > after.bytes ? before.bytes : after.bytes;
	if (!subject_check(b, work.done, last))
		subject_refuse(b);
	looking = thread_now() - looking;
	subject_quiet(b);
	*cpu = (cpu_now() - begin - looking) * 1e9 / (double)subject_entries(b);
	return took * 1e9 / (double)subject_entries(b);
}

static double one_floor(const struct subject *b)
{
	const struct question *q = b->q;
	uint64_t per = q->floor_per_entry ? q->floor_per_entry : 1;
	uint64_t n = (q->single ? b->count : b->entries) * per;

	floor_prepare(q->floor, n);
	if (b->s->cold)
		mmu_sweep_caches();
	return floor_run(q->floor, n, b->each) * 1e9 / (double)subject_entries(b);
}

/* Number 0 is not kept: it warms up. Where the answer is "none" it is asked for one, too. */
static void warm_up(struct measure *m)
{
	for (unsigned e = 0; e < m->engines; e++) {
		if (m->b[e].q->after & DONE_NONE)
			(void)one(&m->b[e], &m->most[e], m->cpu[e], true);
		if (!m->b[e].s->check)
			(void)one(&m->b[e], &m->most[e], m->cpu[e], false);
	}
	(void)one_floor(&m->b[0]);
}

unsigned idle_asked, idle_noticed;

/* Each engine once, with nothing done; at least one of its checks must see it. */
static void idle(struct measure *m)
{
	for (unsigned e = 0; e < m->engines; e++) {
		unsigned before = idle_noticed;

		idle_asked++;
		if (m->b[e].q->after & DONE_NONE)
			(void)one(&m->b[e], &m->most[e], m->cpu[e], true);
		if (idle_noticed == before)
			(void)one(&m->b[e], &m->most[e], m->cpu[e], false);
	}
}

static unsigned rounds(struct measure *m, const struct setting *s)
{
	double begin = now(), spent = 0;
	unsigned n = 0, least = s->rounds < 5 ? s->rounds : 5;

	/* Large guests get fewer rounds, never fewer than five. */
	while (n < ROUNDS_MAX && (n < least || spent < (n < s->rounds ? 4 : 1) * s->seconds)) {
		for (unsigned i = 0; i <= m->engines; i++) {
			unsigned e = (i + n) % (m->engines + 1);

			if (e == m->engines)
				m->floor[n] = one_floor(&m->b[0]);
			else
				m->ns[e][n] = one(&m->b[e], &m->most[e], &m->cpu[e][n], false);
		}
		n++;
		spent = now() - begin;
	}
	return n;
}

static void tell_engine(struct measure *m, unsigned e, unsigned n, struct instructions per)
{
	const struct subject *b = &m->b[e];
	const struct question *q = b->q;
	double ratio[ROUNDS_MAX];
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = b->engine->name,
		.floor = floor_name(q->floor),
		.unit = q->once ? "ns/call" : "ns/entry",
		.s = b->s,
		.ns = figure_of(m->ns[e], n),
		.floor_ns = figure_of(m->floor, n),
		.cpu_ns = figure_of(m->cpu[e], n).median,
		.instructions = per,
		.rounds = n,
		.threads = 1,
		.page_lg2 = b->shape.page_lg2,
		.aim_ns = q->aim_ns,
		.aim_ratio = q->aim_ratio,
		.flushes = (double)m->most[e].flushes,
		.entries = b->entries,
		.tables = m->most[e].tables,
		.bytes = m->most[e].bytes,
	};

	for (unsigned i = 0; i < n; i++)
		ratio[i] = m->ns[e][i] / m->floor[i];
	r.ratio = figure_of(ratio, n);
	tell(&r);
}

void bench_measure(const struct question *q, const struct setting *s)
{
	struct instructions per[ENGINES_MAX];
	struct measure *m = zeroed(1, sizeof(*m));
	unsigned n;

	for (unsigned e = 0; e < engine_count; e++) {
		const struct bench_engine *engine = engines[e];

		if (!subject_possible(engine, q, &s->shape))
			continue;
		per[m->engines] = count_instructions(engine, q, s);
		subject_open(&m->b[m->engines++], engine, q, s);
	}
	if (s->idle) {
		idle(m);
	} else if (m->engines) {
		const struct subject *b = &m->b[0];

		floor_open(b->entries * (q->floor_per_entry ? q->floor_per_entry : 1),
			   s->shape.page_lg2);
		warm_up(m);
		n = rounds(m, s);
		for (unsigned e = 0; e < m->engines; e++)
			tell_engine(m, e, n, per[e]);
		floor_close();
	}
	for (unsigned e = 0; e < m->engines; e++)
		subject_close(&m->b[e]);
	free(m);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Do several threads on one VM get as much more done as there are of them? The operations of other questions: on parts
 * of the guest that share nothing ("disjoint"), or page by page in turn, so that all tables are everybody's. The floor
 * is as many VMs, one for each thread, that share nothing but the machine. Figures are of an entry of one thread's
 * part, so 1 is the best ratio that can be had.
 */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* Those of single pages are asked in turn, too: a range of somebody else's pages is not a part of one's own. */
static const struct scaled {
	const struct question *family;
	const char *name, *variant;
} scaled[] = {
	{fault_questions, "fault_seq", NULL},  {fault_questions, "fault_seq", "asked"},
	{fault_questions, "populate", NULL},   {zap_questions, "zap_range", "A and D set"},
	{zap_questions, "zap_page", NULL},     {age_questions, "age_all", "D set"},
	{age_questions, "age_none", NULL},     {age_questions, "age_page", NULL},
	{dirty_questions, "wrprot", "D set"},  {dirty_questions, "harvest", "all dirty"},
	{dirty_questions, "clear_mask", NULL}, {huge_questions, "split", NULL},
	{huge_questions, "collapse", NULL},    {look_questions, "lookup_seq", NULL},
	{look_questions, "lookup_rand", NULL},
};
#define SCALED (sizeof(scaled) / sizeof(scaled[0]))

static void measure(const struct question *q, const struct setting *s);

const struct question *question_named(const struct question *family, const char *name,
				      const char *variant)
{
	while (strcmp(family->name, name) != 0 ||
	       (variant && (!family->variant || strcmp(family->variant, variant) != 0)))
		family++;
	return family;
}

const struct question *scale_questions(unsigned threads)
{
	struct question *all = zeroed(2 * SCALED + 1, sizeof(*all)), *q = all;

	for (size_t i = 0; i < SCALED; i++) {
		const struct scaled *one = &scaled[i];
		const struct question *of = question_named(one->family, one->name, one->variant);

		for (int in_turn = 0; in_turn <= (of->single && !of->asked); in_turn++, q++) {
			char *name = zeroed(64, 1);

			snprintf(name, 64, "scale%u_%s", threads, of->name);
			*q = *of;
			q->name = name;
			q->variant = of->asked ? "asked" : in_turn ? "in turn" : "disjoint";
			q->of = of;
			q->detail = (unsigned)in_turn;
			q->hot_only = true;
			q->growth = false;
			q->max_entries = GIB >> 12;
			q->levels = of->levels & LEVEL_4K ? LEVEL_4K : LEVEL_2M;
			q->aim_ns = 0;
			q->aim_ratio = 1.95 / 1.9;
			q->measure = measure;
		}
	}
	return all;
}

/* ---- one round ---- */

struct part {
	struct subject *b;
	struct bench_work work;
	pthread_barrier_t *start;
	pthread_t thread;
	double begin, end;
};

struct scale {
	struct subject one, own[THREADS_MAX]; /* one VM for all; one for each */
	struct part part[THREADS_MAX];
	uint64_t *each[THREADS_MAX]; /* in turn: which */
	unsigned threads;
};

static void *run_part(void *arg)
{
	struct part *part = arg;
	const struct bench_engine *engine = part->b->engine;

	pin(part->work.thread);
	if (engine->enter)
		engine->enter();
	pthread_barrier_wait(part->start);
	part->begin = now();
	subject_do(part->b, &part->work);
	part->end = now();
	if (engine->leave)
		engine->leave();
	return NULL;
}

/* Seconds from the first one's begin to the last one's end. */
static double run_parts(struct part *part, unsigned n)
{
	pthread_barrier_t start;
	double begin, end;

	pthread_barrier_init(&start, NULL, n);
	for (unsigned i = 0; i < n; i++) {
		part[i].start = &start;
		if (pthread_create(&part[i].thread, NULL, run_part, &part[i]))
			die("no thread");
	}
	for (unsigned i = 0; i < n; i++)
		pthread_join(part[i].thread, NULL);
	pthread_barrier_destroy(&start);
	begin = part[0].begin;
	end = part[0].end;
	for (unsigned i = 1; i < n; i++) {
		begin = part[i].begin < begin ? part[i].begin : begin;
		end = part[i].end > end ? part[i].end : end;
	}
	return end - begin;
}

/* What thread i does in the VM that is everybody's. */
static struct bench_work part_of(struct scale *m, unsigned i)
{
	struct bench_work work = subject_work(&m->one);

	work.thread = i;
	work.bytes /= m->threads;
	work.gpa = i * work.bytes;
	work.count /= m->threads;
	work.each = m->each[i];
	work.bitmap += work.gpa / (4 * KIB) / 64;
	return work;
}

/* Each a VM of its own, or alone. */
static double own(struct scale *m, unsigned n)
{
	double took;

	for (unsigned i = 0; i < n; i++) {
		subject_prepare(&m->own[i], false);
		m->part[i].b = &m->own[i];
		m->part[i].work = subject_work(&m->own[i]);
		m->part[i].work.thread = i;
	}
	took = run_parts(m->part, n);
	for (unsigned i = 0; i < n; i++) {
		subject_used(&m->own[i]);
		if (!subject_check(&m->own[i], m->part[i].work.done, false))
			subject_refuse(&m->own[i]);
	}
	return took * 1e9 / (double)subject_entries(&m->own[0]);
}

static double together(struct scale *m, bool last)
{
	uint64_t done = 0;
	double took;

	subject_prepare(&m->one, last);
	for (unsigned i = 0; i < m->threads; i++) {
		m->part[i].b = &m->one;
		m->part[i].work = part_of(m, i);
	}
	took = run_parts(m->part, m->threads);
	subject_used(&m->one);
	for (unsigned i = 0; i < m->threads; i++)
		done += m->part[i].work.done;
	if (!subject_check(&m->one, done, last))
		subject_refuse(&m->one);
	return took * 1e9 / (double)subject_entries(&m->own[0]);
}

/* ---- all of it ---- */

static void open_all(struct scale *m, const struct question *q, const struct setting *part,
		     const struct setting *all)
{
	uint64_t count;

	m->threads = all->shape.threads;
	subject_open(&m->one, engines[0], q, all);
	for (unsigned i = 0; i < m->threads; i++)
		subject_open(&m->own[i], engines[0], q, part);
	count = m->one.count / m->threads;
	for (unsigned i = 0; i < m->threads; i++) {
		m->each[i] = zeroed(count, sizeof(*m->each[i]));
		for (uint64_t k = 0; k < count; k++)
			m->each[i][k] = m->one.each[q->detail ? k * m->threads + i : i * count + k];
	}
}

static void close_all(struct scale *m)
{
	subject_close(&m->one);
	for (unsigned i = 0; i < m->threads; i++) {
		subject_close(&m->own[i]);
		free(m->each[i]);
	}
}

static void tell_scale(const struct question *q, const struct setting *s, struct scale *m,
		       double (*ns)[ROUNDS_MAX], unsigned n)
{
	double ratio[ROUNDS_MAX], gain[ROUNDS_MAX], best[ROUNDS_MAX];
	char note[64], more[128];
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engines[0]->name,
		.floor = "VMs",
		.unit = "ns/entry",
		.s = s,
		.ns = figure_of(ns[2], n),
		.floor_ns = figure_of(ns[1], n),
		.cpu_ns = -1,
		.instructions = {-1, -1},
		.rounds = n,
		.threads = m->threads,
		.page_lg2 = s->shape.page_lg2,
		.aim_ratio = q->aim_ratio,
		.entries = m->one.entries,
		.note = note,
		.more = more,
	};
	struct bench_counts counts;

	for (unsigned i = 0; i < n; i++) {
		ratio[i] = ns[2][i] / ns[1][i];
		gain[i] = m->threads * ns[0][i] / ns[2][i];
		best[i] = m->threads * ns[0][i] / ns[1][i];
	}
	r.ratio = figure_of(ratio, n);
	engines[0]->counts(m->one.vm, &counts);
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	snprintf(note, sizeof(note), "threads x%.2f, VMs x%.2f", figure_of(gain, n).median,
		 figure_of(best, n).median);
	snprintf(more, sizeof(more), "\"alone_ns\":%.9g,\"gain\":%.4g,\"gain_floor\":%.4g",
		 figure_of(ns[0], n).median, figure_of(gain, n).median, figure_of(best, n).median);
	tell(&r);
}

static void measure(const struct question *q, const struct setting *s)
{
	double(*ns)[ROUNDS_MAX] = zeroed(3, sizeof(*ns)), begin;
	struct scale *m = zeroed(1, sizeof(*m));
	struct setting part = *s, all = *s;
	unsigned n = 0;

	part.shape.bytes /= 2;
	part.calls /= 2;
	part.shape.threads = s->threads;
	all.shape.threads = s->threads;
	all.shape.bytes = part.shape.bytes * s->threads;
	all.calls = part.calls * s->threads;
	open_all(m, q, &part, &all);
	/* Where the answer is "none" they are asked for one, too; idle, that is what notices. */
	if (q->after & DONE_NONE)
		(void)together(m, true);
	if (s->idle ? !(q->after & DONE_NONE) : !s->check)
		(void)together(m, false);
	if (!s->idle && !s->check)
		(void)own(m, m->threads);
	idle_asked += s->idle;
	if (s->idle)
		goto out;
	for (begin = now(); n < s->rounds || (n < ROUNDS_MAX && now() - begin < s->seconds); n++) {
		ns[0][n] = own(m, 1);
		ns[1][n] = own(m, m->threads);
		ns[2][n] = together(m, false);
	}
	tell_scale(q, &all, m, ns, n);
out:
	close_all(m);
	free(ns);
	free(m);
}

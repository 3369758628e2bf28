/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What does it cost that a long operation asks the host now and then whether somebody else should run? One VM whose
 * host has something to ask, and says no; the floor is the same operation on one whose host has nothing.
 */
#include "tdp.h"

#include <stdlib.h>

struct pair {
	struct subject b[2]; /* the second asks */
	double ns[2][ROUNDS_MAX], each[ROUNDS_MAX];
	uint64_t asks; /* of one round */
};

static double one(struct pair *p, unsigned which, bool last)
{
	struct subject *b = &p->b[which];
	struct bench_work work;
	const struct tdp_vm *vm = b->vm;
	uint64_t asks;
	double took;

	subject_prepare(b, last);
	work = subject_work(b);
	asks = vm->asks;
	took = subject_run(b, &work);
	p->asks = vm->asks - asks;
	if (!subject_check(b, work.done, last) || (!b->s->idle && (p->asks > 0) != (which == 1)))
		subject_refuse(b);
	subject_quiet(b);
	return took * 1e9 / (double)subject_entries(b);
}

static void tell_pair(const struct question *q, struct pair *p, const struct setting *s, unsigned n)
{
	double ratio[ROUNDS_MAX];
	char note[64], more[96];
	struct bench_counts counts;
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engines[0]->name,
		.floor = "without",
		.unit = "ns/entry",
		.s = s,
		.ns = figure_of(p->ns[1], n),
		.floor_ns = figure_of(p->ns[0], n),
		.instructions = {-1, -1},
		.cpu_ns = -1,
		.rounds = n,
		.threads = 1,
		.page_lg2 = s->shape.page_lg2,
		.entries = p->b[1].entries,
		.note = note,
		.more = more,
	};

	for (unsigned i = 0; i < n; i++) {
		ratio[i] = p->ns[1][i] / p->ns[0][i];
		p->each[i] = (p->ns[1][i] - p->ns[0][i]) * (double)r.entries / (double)p->asks;
	}
	r.ratio = figure_of(ratio, n);
	engines[0]->counts(p->b[1].vm, &counts);
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	snprintf(note, sizeof(note), "%" PRIu64 " asks, %.1f ns each", p->asks,
		 figure_of(p->each, n).median);
	snprintf(more, sizeof(more), "\"asks\":%" PRIu64 ",\"ask_ns\":%.4g", p->asks,
		 figure_of(p->each, n).median);
	tell(&r);
}

static void measure(const struct question *q, const struct setting *s)
{
	struct pair *p = zeroed(1, sizeof(*p));
	struct setting asks = *s;
	unsigned n = 0;

	asks.shape.yields = 1;
	subject_open(&p->b[0], engines[0], q, s);
	subject_open(&p->b[1], engines[0], q, &asks);
	/* Where the answer is "none" they are asked for one, too; idle, that is what notices. */
	for (unsigned which = 0; which < 2; which++)
		if (q->after & DONE_NONE || s->idle)
			(void)one(p, which, q->after & DONE_NONE);
	idle_asked += 2 * s->idle;
	for (double begin = now();
	     !s->idle && (n < s->rounds || (n < ROUNDS_MAX && now() - begin < s->seconds)); n++)
		for (unsigned which = 0; which < 2; which++)
			p->ns[which][n] = one(p, which, false);
	if (!s->idle)
		tell_pair(q, p, s, n);
	for (unsigned which = 0; which < 2; which++)
		subject_close(&p->b[which]);
	free(p);
}

const struct question yield_questions[] = {
	{
		.name = "yield_check",
		.variant = "age_none",
		.op = BENCH_AGE,
		.before = MAPPED | OLD | DIRTY | KEPT,
		.after = LEFT_ALL | ALL_OLD | DONE_NONE,
		.levels = LEVEL_4K,
		.hot_only = true,
		.max_entries = 4 * GIB >> 12,
		.measure = measure,
	},
	{
		.name = "yield_check",
		.variant = "wrprot",
		.op = BENCH_WRPROT,
		.before = MAPPED | YOUNG | DIRTY,
		.after = LEFT_ALL | ALL_PROTECTED,
		.levels = LEVEL_4K,
		.hot_only = true,
		.max_entries = 4 * GIB >> 12,
		.measure = measure,
	},
	{0},
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How much sooner is one operation over a large guest done when other threads help (<tdp/share.h>)? They stand ready,
 * as workers of a VMM do. The floor is the plain call of one thread, on the same VM, in turn with it, while the others
 * sleep: with n threads the best ratio is 1/n.
 */
#include "tdp.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <tdp/share.h>

/* Parts are 1 GiB: guests of many, but not of so many tables that all time goes into getting memory for them. */
static uint64_t larger(uint64_t bytes)
{
	return bytes < 16 * GIB ? 16 * bytes : 2 * bytes;
}

static const struct {
	const struct question *family;
	const char *name, *variant;
} helped[] = {
	{fault_questions, "populate", NULL},       {zap_questions, "zap_range", "A and D set"},
	{age_questions, "age_all", "D set"},       {dirty_questions, "wrprot", "D set"},
	{dirty_questions, "harvest", "all dirty"}, {huge_questions, "split", NULL},
	{huge_questions, "collapse", NULL},
};
#define HELPED (sizeof(helped) / sizeof(helped[0]))

static void measure(const struct question *q, const struct setting *s);

const struct question *helped_questions(void)
{
	struct question *all = zeroed(HELPED + 1, sizeof(*all));

	for (size_t i = 0; i < HELPED; i++) {
		struct question *q = &all[i];
		char *name = zeroed(64, 1);

		*q = *question_named(helped[i].family, helped[i].name, helped[i].variant);
		snprintf(name, 64, "helped_%s", q->name);
		q->name = name;
		q->variant = NULL;
		q->hot_only = true;
		q->growth = false;
		q->slow = true;
		q->levels = q->levels & LEVEL_4K ? LEVEL_4K : LEVEL_2M;
		q->max_entries = q->levels == LEVEL_4K ? GIB >> 12 : 16 * GIB >> 21;
		q->aim_ns = 0;
		q->aim_ratio = 0.55;
		q->measure = measure;
	}
	return all;
}

struct help {
	struct subject b;
	struct tdp_share share;
	unsigned threads; /* all together */
	pthread_t thread[THREADS_MAX];
	sem_t wake;
	_Atomic unsigned awake;
	_Atomic int stage; /* 1: the share is there; 2: go back to sleep; 3: go home */
	double ns[2][ROUNDS_MAX];
};

static void *helper(void *arg)
{
	struct help *h = arg;

	engines[0]->enter();
	for (;;) {
		int ret = 0;

		while (sem_wait(&h->wake))
			;
		pin(1 + atomic_fetch_add(&h->awake, 1));
		while (!atomic_load(&h->stage))
			;
		if (atomic_load(&h->stage) == 3)
			break;
		ret = tdp_share_help(&h->share, 0);
		if (ret < 0)
			die("help: %s", tdp_strerror(ret));
		while (atomic_load(&h->stage) == 1)
			;
		atomic_fetch_sub(&h->awake, 1);
	}
	engines[0]->leave();
	return NULL;
}

static void wake_helpers(struct help *h)
{
	for (unsigned i = 1; i < h->threads; i++)
		sem_post(&h->wake);
	while (atomic_load(&h->awake) < h->threads - 1)
		;
}

static void to_sleep(struct help *h)
{
	atomic_store(&h->stage, 2);
	while (atomic_load(&h->awake))
		;
	atomic_store(&h->stage, 0);
}

static double together(struct help *h, struct bench_work *work)
{
	struct tdp_vm *vm = h->b.vm;
	struct tdp_job job = tdp_job_of(h->b.q->op, work);
	double begin, took;
	int ret;

	wake_helpers(h);
	begin = now();
	ret = tdp_share_begin(vm->mm, &h->share, &job);
	atomic_store(&h->stage, 1);
	if (!ret)
		ret = tdp_share_finish(&h->share, &work->done);
	took = now() - begin;
	if (ret)
		die("%s: %s", h->b.q->name, tdp_strerror(ret));
	to_sleep(h);
	subject_used(&h->b);
	return took;
}

static double one(struct help *h, bool with_help)
{
	struct bench_work work;
	double took;

	subject_prepare(&h->b, false);
	work = subject_work(&h->b);
	took = with_help && !h->b.s->idle ? together(h, &work) : subject_run(&h->b, &work);
	if (!subject_check(&h->b, work.done, false))
		subject_refuse(&h->b);
	subject_quiet(&h->b);
	return took * 1e9 / (double)subject_entries(&h->b);
}

static void tell_helped(const struct question *q, const struct setting *s, struct help *h,
			unsigned n)
{
	double ratio[ROUNDS_MAX];
	char note[64];
	struct bench_counts counts;
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engines[0]->name,
		.floor = "one",
		.unit = "ns/entry",
		.s = s,
		.ns = figure_of(h->ns[1], n),
		.floor_ns = figure_of(h->ns[0], n),
		.instructions = {-1, -1},
		.cpu_ns = -1,
		.rounds = n,
		.threads = h->threads,
		.page_lg2 = s->shape.page_lg2,
		.aim_ratio = q->aim_ratio,
		.entries = h->b.entries,
		.note = note,
	};

	for (unsigned i = 0; i < n; i++)
		ratio[i] = h->ns[1][i] / h->ns[0][i];
	r.ratio = figure_of(ratio, n);
	engines[0]->counts(h->b.vm, &counts);
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	snprintf(note, sizeof(note), "x%.2f, %" PRIu64 " parts", 1 / r.ratio.median,
		 (uint64_t)h->share.parts);
	tell(&r);
}

static void open_helpers(struct help *h)
{
	sem_init(&h->wake, 0, 0);
	for (unsigned i = 1; i < h->threads; i++)
		if (pthread_create(&h->thread[i], NULL, helper, h))
			die("no thread");
}

static void close_helpers(struct help *h)
{
	wake_helpers(h);
	atomic_store(&h->stage, 3);
	for (unsigned i = 1; i < h->threads; i++)
		pthread_join(h->thread[i], NULL);
	sem_destroy(&h->wake);
}

static void measure(const struct question *q, const struct setting *s)
{
	struct help *h = zeroed(1, sizeof(*h));
	struct setting large = *s;
	unsigned n = 0;

	large.shape.bytes = larger(s->shape.bytes);
	h->threads = s->threads;
	subject_open(&h->b, engines[0], q, &large);
	open_helpers(h);
	if (s->idle || !s->check) /* warms up */
		(void)one(h, false);
	idle_asked += s->idle;
	for (double begin = now();
	     !s->idle && (n < s->rounds || (n < ROUNDS_MAX && now() - begin < s->seconds)); n++)
		for (int with_help = 0; with_help < 2; with_help++)
			h->ns[with_help][n] = one(h, with_help);
	if (!s->idle)
		tell_helped(q, &large, h, n);
	close_helpers(h);
	subject_close(&h->b);
	free(h);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does a vCPU's fault take while another thread zaps, harvests, collapses, ages or protects all of a guest of
 * small pages? One thread faults all the time, in memory of its own ("elsewhere") or at random places of the very range
 * ("there"); the other does the operation in one call, or as a job in steps of 200 us. The figure is the time
 * that 99 of 100 faults stay below, the floor the same without the operation.
 */
#include "tdp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include <tdp/job.h>

#define OWN ((uint64_t)1 << 46) /* the vCPU's own slot */
#define OWN_PAGES (GIB / TDP_PAGE_SIZE)
#define SAMPLES ((size_t)1 << 21) /* of a round; what comes after is not kept */
#define SAMPLES_MIN 32
#define STEP_NS 200000

/* bits of question.detail */
#define STEPS 1u
#define THERE 2u

struct line {
	struct subject b;
	struct tdp_vm *vm;
	bool there;
	uint32_t *ns;
	size_t count;
	atomic_bool stop, ready;
};

struct tail {
	double p50, p99, p999, max;
};

/* ---- the vCPU ---- */

static uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	return *state ^= *state << 17;
}

static void fault_once(struct line *line, uint64_t page)
{
	struct tdp_fault fault = {.size = sizeof(fault), .access = TDP_W};
	struct tdp_vm *vm = line->vm;
	double begin, took;
	int ret = 0;

	if (line->there) {
		fault.gpa = page % (vm->shape.bytes / TDP_PAGE_SIZE) * TDP_PAGE_SIZE;
	} else {
		fault.gpa = OWN + page % OWN_PAGES * TDP_PAGE_SIZE;
		ret = tdp_zap(vm->mm, 0, (struct tdp_range){fault.gpa, TDP_PAGE_SIZE}, 0);
	}
	begin = now();
	if (!ret)
		do
			ret = tdp_fault(vm->vcpu[0], &fault, NULL);
		while (ret == TDP_FAULT_RETRY);
	took = (now() - begin) * 1e9;
	if (ret < 0)
		die("fault: %s", tdp_strerror(ret));
	if (line->count < SAMPLES)
		line->ns[line->count++] = took > UINT32_MAX ? UINT32_MAX : (uint32_t)took;
}

static void *fault_all_the_time(void *arg)
{
	uint64_t random = 0x9e3779b97f4a7c15;
	struct line *line = arg;

	pin(1);
	engines[0]->enter();
	atomic_store(&line->ready, true);
	while (!atomic_load_explicit(&line->stop, memory_order_relaxed) ||
	       line->count < SAMPLES_MIN)
		fault_once(line, next_random(&random) >> 20);
	engines[0]->leave();
	return NULL;
}

/* ---- the other thread ---- */

static int kind_of(enum bench_op op)
{
	return op == BENCH_ZAP        ? TDP_JOB_ZAP
	       : op == BENCH_HARVEST  ? TDP_JOB_HARVEST
	       : op == BENCH_COLLAPSE ? TDP_JOB_COLLAPSE
	       : op == BENCH_AGE      ? TDP_JOB_AGE
				      : TDP_JOB_WRITE_PROTECT;
}

/* The longest call, in seconds: what anybody waits for who waits for it to return. */
static double in_steps(struct line *line, struct bench_work *work)
{
	struct tdp_job job = {
		.size = sizeof(job),
		.kind = (uint32_t)kind_of(line->b.q->op),
		.range = {0, work->bytes},
		.max_ns = STEP_NS,
	};
	double longest = 0;
	int ret;

	if (job.kind == TDP_JOB_HARVEST) {
		job.slot = line->vm->slot;
		job.bitmap = work->bitmap;
		job.words = work->bytes / TDP_PAGE_SIZE / 64;
	}
	do {
		double begin = now(), took;

		ret = tdp_job_step(line->vm->mm, &job);
		took = now() - begin;
		longest = took > longest ? took : longest;
	} while (ret == 1);
	if (ret < 0)
		die("%s in steps: %s", line->b.q->name, tdp_strerror(ret));
	work->done = job.count;
	subject_used(&line->b);
	return longest;
}

static int by_value(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

static double at(const struct line *line, double part)
{
	size_t i = (size_t)((double)line->count * part);

	return line->ns[i < line->count ? i : line->count - 1];
}

/*
 * One round: seconds of the longest call, or with `wait` (seconds) no call at all. *took is how long the operation
 * was under way.
 */
static double round_of(struct line *line, double wait, double *took, struct tail *tail)
{
	const struct question *q = line->b.q;
	struct tdp_range own = {OWN, OWN_PAGES * TDP_PAGE_SIZE};
	struct bench_work work;
	double longest = 0, begin;
	pthread_t thread;

	subject_prepare(&line->b, false);
	work = subject_work(&line->b);
	line->count = 0;
	atomic_store(&line->stop, false);
	atomic_store(&line->ready, false);
	if (pthread_create(&thread, NULL, fault_all_the_time, line))
		die("no thread");
	while (!atomic_load(&line->ready))
		;
	begin = now();
	if (wait > 0)
		while (now() - begin < wait)
			;
	else if (q->detail & STEPS && !line->b.s->idle)
		longest = in_steps(line, &work);
	else
		longest = subject_run(&line->b, &work);
	*took = now() - begin;
	atomic_store(&line->stop, true);
	pthread_join(thread, NULL);
	if (tdp_zap(line->vm->mm, 0, own, 0))
		die("the vCPU's own memory cannot be zapped");
	/* Where the vCPU undid a part of it meanwhile nothing can be said. */
	if (wait == 0 && !line->there && !subject_check(&line->b, work.done, false))
		subject_refuse(&line->b);
	if (line->there)
		line->b.whole = false;
	qsort(line->ns, line->count, sizeof(*line->ns), by_value);
	*tail = (struct tail){at(line, 0.5), at(line, 0.99), at(line, 0.999), at(line, 1)};
	return longest;
}

/* ---- all of it ---- */

static void tell_latency(const struct line *line, double (*v)[ROUNDS_MAX], unsigned n)
{
	double ratio[ROUNDS_MAX], p50 = figure_of(v[2], n).median, p999 = figure_of(v[3], n).median;
	double max = figure_of(v[4], n).high, longest = figure_of(v[5], n).median;
	const struct question *q = line->b.q;
	char note[96], more[160];
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engines[0]->name,
		.floor = "alone",
		.unit = "ns of 99 in 100 faults",
		.s = line->b.s,
		.ns = figure_of(v[0], n),
		.floor_ns = figure_of(v[1], n),
		.cpu_ns = -1,
		.instructions = {-1, -1},
		.rounds = n,
		.threads = 2,
		.page_lg2 = 12,
		.entries = line->b.entries * PER_TABLE,
		.note = note,
		.more = more,
	};
	struct bench_counts counts;

	for (unsigned i = 0; i < n; i++)
		ratio[i] = v[0][i] / v[1][i];
	r.ratio = figure_of(ratio, n);
	engines[0]->counts(line->b.vm, &counts);
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	snprintf(note, sizeof(note),
		 "50%% %.0f ns, 99.9%% %.1f us, max %.0f us, longest call %.0f us", p50, p999 / 1e3,
		 max / 1e3, longest * 1e6);
	snprintf(
		more, sizeof(more),
		"\"p50_ns\":%.9g,\"p99_ns\":%.9g,\"p999_ns\":%.9g,\"max_ns\":%.9g,\"longest_call_ns\":%.9g",
		p50, r.ns.median, p999, max, longest * 1e9);
	tell(&r);
}

static void open_line(struct line *line, const struct question *q, const struct setting *s)
{
	struct tdp_slot_desc own = {.size = sizeof(own), .flags = TDP_SLOT_FORCE_4K};
	uint32_t id;

	subject_open(&line->b, engines[0], q, s);
	line->vm = line->b.vm;
	line->there = q->detail & THERE;
	line->ns = zeroed(SAMPLES, sizeof(*line->ns));
	own.gpa = (struct tdp_range){OWN, OWN_PAGES * TDP_PAGE_SIZE};
	own.pa = OWN;
	if (tdp_slot_add(line->vm->mm, &own, &id))
		die("no slot for the vCPU");
}

static void measure(const struct question *q, const struct setting *s)
{
	double(*v)[ROUNDS_MAX] = zeroed(6, sizeof(*v)), began = now(), took;
	struct line *line = zeroed(1, sizeof(*line));
	unsigned rounds = (s->rounds + 1) / 2 < 5 ? (s->rounds + 1) / 2 : 5, n = 0;
	struct tail tail;

	open_line(line, q, s);
	/* Of what the vCPU may have undone nothing can be said. */
	idle_asked += s->idle && !line->there;
	if (s->idle || !s->check) /* warms up */
		(void)round_of(line, 0, &took, &tail);
	while (!s->idle && (n < rounds || (n < ROUNDS_MAX && now() - began < s->seconds))) {
		v[5][n] = round_of(line, 0, &took, &tail);
		v[0][n] = tail.p99;
		v[2][n] = tail.p50;
		v[3][n] = tail.p999;
		v[4][n] = tail.max;
		(void)round_of(line, took, &took, &tail);
		v[1][n++] = tail.p99;
	}
	if (!s->idle)
		tell_latency(line, v, n);
	subject_close(&line->b);
	free(line->ns);
	free(line);
	free(v);
}

#define LATENCY(what, text, how, with, is_before, is_after)                                        \
	{                                                                                          \
		.name = "latency_under_" what, .variant = text, .op = with,                        \
		.before = MAPPED | SMALL | (is_before), .after = is_after, .levels = LEVEL_2M,     \
		.hot_only = true, .slow = true, .max_entries = 16 * GIB >> 21, .detail = how,      \
		.measure = measure                                                                 \
	}
#define LATENCIES(what, with, is_before, is_after)                                                 \
	LATENCY(what, "one call", 0, with, is_before, is_after),                                   \
		LATENCY(what, "steps", STEPS, with, is_before, is_after),                          \
		LATENCY(what, "call, there", THERE, with, is_before, is_after),                    \
		LATENCY(what, "steps, there", STEPS | THERE, with, is_before, is_after)

const struct question latency_questions[] = {
	LATENCIES("zap", BENCH_ZAP, YOUNG | DIRTY, LEFT_NONE),
	LATENCIES("harvest", BENCH_HARVEST, YOUNG | DIRTY | LOGGED,
		  LEFT_SMALL | ALL_ARMED | DONE_ENTRIES | BITS_DONE),
	LATENCIES("collapse", BENCH_COLLAPSE, YOUNG | DIRTY, LEFT_ALL | DONE_ENTRIES),
	LATENCIES("age", BENCH_AGE, YOUNG | DIRTY, LEFT_SMALL | ALL_OLD),
	LATENCIES("wrprot", BENCH_WRPROT, YOUNG | DIRTY, LEFT_SMALL | ALL_PROTECTED),
	{0},
};

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How long does a vCPU's fault take while another thread zaps, harvests, collapses, ages or protects all of a guest of
 * small pages? One thread faults all the time, in memory of its own ("elsewhere") or at random places of the very range
 * ("there"); the other does the operation in one call, or as a job in steps of 200 us. The figure is the time
 * that 99 of 100 faults stay below, the floor the same without the operation.
 *
 * A maximum is only the engine's if the thread had its CPU all the while. So each stands beside another: of a fault,
 * the longest during which the kernel gave the CPU to nobody else, and the longest of a vCPU that has the VM for itself
 * (what the host does below the kernel shows there); of a call, the longest by the thread's own clock.
 */
#include "tdp.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/resource.h>

#define OWN ((uint64_t)1 << 46) /* the vCPU's own slot */
#define OWN_PAGES (GIB / TDP_PAGE_SIZE)
#define SAMPLES ((size_t)1 << 21) /* of a round; what comes after is not kept */
#define SAMPLES_MIN 32
#define STEP_NS 200000
#define LONG_NS 20e3 /* longer faults are asked whether they had their CPU */

/* bits of question.detail */
#define STEPS 1u
#define THERE 2u

struct line {
	struct subject b;
	struct tdp_vm *vm;
	bool there;
	uint32_t *ns;
	size_t count;
	double ran_max;  /* ns, of faults that had their CPU */
	double ran_call; /* seconds of the thread's clock, of calls */
	long preempted;  /* how often the kernel took the vCPU's thread off its CPU */
	atomic_bool stop, ready;
};

/* What is told of a round. */
enum column { P50, P99, P999, MAX, RAN_MAX, CALL, RAN_CALL, ALONE_P99, ALONE_MAX, COLUMNS };

/* ---- the vCPU ---- */

static long preemptions(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nivcsw;
}

/* Who waits for a lock gives the CPU away by itself, which is no preemption. */
static void note_long(struct line *line, double ns)
{
	long preempted = preemptions();

	if (preempted == line->preempted && ns > line->ran_max)
		line->ran_max = ns;
	line->preempted = preempted;
}

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
	if (took > LONG_NS)
		note_long(line, took);
}

static void *fault_all_the_time(void *arg)
{
	uint64_t random = 0x9e3779b97f4a7c15;
	struct line *line = arg;

	pin(1);
	engines[0]->enter();
	line->preempted = preemptions();
	atomic_store(&line->ready, true);
	while (!atomic_load_explicit(&line->stop, memory_order_relaxed) ||
	       line->count < SAMPLES_MIN)
		fault_once(line, next_random(&random) >> 20);
	engines[0]->leave();
	return NULL;
}

/* ---- the other thread ---- */

/* The longest call, in seconds: what anybody waits for who waits for it to return. */
static double in_steps(struct line *line, struct bench_work *work)
{
	struct tdp_job job = tdp_job_of(line->b.q->op, work);
	double longest = 0;
	int ret;

	job.max_ns = STEP_NS;
	do {
		double begin = now(), ran = thread_now(), took;

		ret = tdp_job_step(line->vm->mm, &job);
		ran = thread_now() - ran;
		took = now() - begin;
		longest = took > longest ? took : longest;
		line->ran_call = ran > line->ran_call ? ran : line->ran_call;
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

/* One round; with `wait` (seconds) no call at all. Seconds that the operation was under way. */
static double round_of(struct line *line, double wait, double told[COLUMNS])
{
	const struct question *q = line->b.q;
	struct tdp_range own = {OWN, OWN_PAGES * TDP_PAGE_SIZE};
	struct bench_work work;
	double longest = 0, begin, took;
	pthread_t thread;

	subject_prepare(&line->b, false);
	work = subject_work(&line->b);
	line->count = 0;
	line->ran_max = line->ran_call = 0;
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
	else {
		line->ran_call = thread_now();
		longest = subject_run(&line->b, &work);
		line->ran_call = thread_now() - line->ran_call;
	}
	took = now() - begin;
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
	told[P50] = at(line, 0.5);
	told[P99] = at(line, 0.99);
	told[P999] = at(line, 0.999);
	told[MAX] = at(line, 1);
	told[RAN_MAX] = line->ran_max > 0 ? line->ran_max : told[MAX];
	told[CALL] = longest * 1e9;
	told[RAN_CALL] = line->ran_call * 1e9;
	return took;
}

/* ---- all of it ---- */

static double highest(const double *v, unsigned n)
{
	double high = 0;

	for (unsigned i = 0; i < n; i++)
		high = v[i] > high ? v[i] : high;
	return high;
}

static void tell_latency(const struct line *line, double (*v)[ROUNDS_MAX], unsigned n)
{
	double ratio[ROUNDS_MAX], p50 = figure_of(v[P50], n).median;
	double p999 = figure_of(v[P999], n).median, high[COLUMNS];
	const struct question *q = line->b.q;
	char note[192], more[320];
	struct result r = {
		.name = q->name,
		.variant = q->variant,
		.engine = engines[0]->name,
		.floor = "alone",
		.unit = "ns of 99 in 100 faults",
		.s = line->b.s,
		.ns = figure_of(v[P99], n),
		.floor_ns = figure_of(v[ALONE_P99], n),
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
		ratio[i] = v[P99][i] / v[ALONE_P99][i];
	for (unsigned c = 0; c < COLUMNS; c++)
		high[c] = highest(v[c], n);
	r.ratio = figure_of(ratio, n);
	engines[0]->counts(line->b.vm, &counts);
	r.tables = counts.tables;
	r.bytes = counts.bytes;
	snprintf(note, sizeof(note),
		 "50%% %.0f ns, 99.9%% %.1f us, max %.0f us (had its CPU: %.0f, alone: %.0f), "
		 "longest call %.0f us (its clock: %.0f)",
		 p50, p999 / 1e3, high[MAX] / 1e3, high[RAN_MAX] / 1e3, high[ALONE_MAX] / 1e3,
		 high[CALL] / 1e3, high[RAN_CALL] / 1e3);
	snprintf(more, sizeof(more),
		 "\"p50_ns\":%.9g,\"p99_ns\":%.9g,\"p999_ns\":%.9g,\"max_ns\":%.9g,"
		 "\"ran_max_ns\":%.9g,\"alone_max_ns\":%.9g,\"longest_call_ns\":%.9g,"
		 "\"ran_longest_call_ns\":%.9g",
		 p50, r.ns.median, p999, high[MAX], high[RAN_MAX], high[ALONE_MAX], high[CALL],
		 high[RAN_CALL]);
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
	double(*v)[ROUNDS_MAX] = zeroed(COLUMNS, sizeof(*v)), began = now(), told[COLUMNS];
	struct line *line = zeroed(1, sizeof(*line));
	unsigned rounds = (s->rounds + 1) / 2 < 5 ? (s->rounds + 1) / 2 : 5, n = 0;

	open_line(line, q, s);
	/* Of what the vCPU may have undone nothing can be said. */
	idle_asked += s->idle && !line->there;
	if (s->idle || !s->check) /* warms up */
		(void)round_of(line, 0, told);
	while (!s->idle && (n < rounds || (n < ROUNDS_MAX && now() - began < s->seconds))) {
		double took = round_of(line, 0, told);

		for (unsigned c = P50; c <= RAN_CALL; c++)
			v[c][n] = told[c];
		(void)round_of(line, took, told);
		v[ALONE_P99][n] = told[P99];
		v[ALONE_MAX][n++] = told[MAX];
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

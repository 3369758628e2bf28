/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How many instructions, and how many locked ones, does an operation take? Counted, not guessed: the processor traps
 * after each instruction (x86: the trap flag), and the next one is looked at. In a small VM, since that takes 1 us
 * each, and more than 10 where the machine is a virtual one; the figures are the same every time.
 */
#include "bench.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ENTRIES 512 /* a table */
#define SINGLE_CALLS 64
#define FAULTS 128   /* they make tables, too */
#define HUGE_PAGES 2 /* to be split, or made */
#define STEPS_MAX 250000

#if defined(__x86_64__) && defined(__linux__)
#include <ucontext.h>

#define TRAP_FLAG 0x100

static volatile uint64_t steps, locked;

static bool is_prefix(uint8_t byte)
{
	return byte == 0x66 || byte == 0x67 || byte == 0xf2 || byte == 0xf3 || byte == 0x2e ||
	       byte == 0x36 || byte == 0x3e || byte == 0x26 || byte == 0x64 || byte == 0x65 ||
	       (byte & 0xf0) == 0x40;
}

/* The LOCK prefix, or XCHG with memory, which is locked without one (SDM vol. 2, "XCHG"). */
static bool is_locked(const uint8_t *code)
{
	while (is_prefix(*code))
		code++;
	return *code == 0xf0 || ((*code == 0x86 || *code == 0x87) && code[1] >> 6 != 3);
}

static void step(int number, siginfo_t *info, void *context)
{
	ucontext_t *user = context;

	(void)number, (void)info;
	steps++;
	locked += is_locked((const uint8_t *)user->uc_mcontext.gregs[REG_RIP]);
	if (steps == STEPS_MAX)
		user->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
}

static void run(struct subject *b, struct bench_work *work)
{
	struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO}, before;

	sigemptyset(&action.sa_mask);
	sigaction(SIGTRAP, &action, &before);
	steps = locked = 0;
	__asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
	(void)b->engine->op[b->q->op](work);
	__asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" ::: "memory", "cc");
	sigaction(SIGTRAP, &before, NULL);
}

static struct setting small_of(const struct question *q, const struct setting *s)
{
	struct setting small = *s;
	uint64_t pages = q->before & SMALL || q->op == BENCH_SPLIT ? HUGE_PAGES : ENTRIES;

	small.shape.bytes = pages << s->shape.page_lg2;
	small.shape.threads = 1;
	small.calls = q->op == BENCH_FAULT ? FAULTS : SINGLE_CALLS;
	small.cold = false;
	return small;
}

static struct instructions count(const struct bench_engine *engine, const struct question *q,
				 const struct setting *s)
{
	struct setting small = small_of(q, s);
	struct instructions per = {-1, -1};
	struct bench_work work;
	struct subject b;
	uint64_t entries;

	subject_open(&b, engine, q, &small);
	/* What is done once only (lazy binding, first chunks) is done before. */
	for (unsigned i = 0; i < 2; i++) {
		subject_prepare(&b, false);
		work = subject_work(&b);
		if (i == 0)
			(void)subject_run(&b, &work);
		else
			run(&b, &work);
		if (!subject_check(&b, work.done, false))
			die("%s: not done, while counting", q->name);
	}
	if (steps >= STEPS_MAX)
		goto too_many;
	entries = q->once ? b.entries : subject_entries(&b);
	per.all = (double)steps / (double)entries;
	per.locked = (double)locked / (double)entries;
too_many:
	subject_close(&b);
	return per;
}

/* The size of the guest is all the same, so a question is asked only once for each format and page. */
struct instructions count_instructions(const struct bench_engine *engine, const struct question *q,
				       const struct setting *s)
{
	static struct known {
		const struct bench_engine *engine;
		const struct question *q;
		enum bench_format format;
		unsigned page_lg2;
		struct instructions per;
	} known[ENGINES_MAX];
	struct known *k = known;

	if (!s->count || s->idle)
		return (struct instructions){-1, -1};
	while (k->engine && k->engine != engine)
		k++;
	if (k->q != q || k->format != s->shape.format || k->page_lg2 != s->shape.page_lg2)
		*k = (struct known){engine, q, s->shape.format, s->shape.page_lg2,
				    count(engine, q, s)};
	return k->per;
}

#else

struct instructions count_instructions(const struct bench_engine *engine, const struct question *q,
				       const struct setting *s)
{
	(void)engine, (void)q, (void)s;
	return (struct instructions){-1, -1};
}

#endif

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The host that actors see: RCU whose grace periods end at any moment that they may, and waiting that the
 * scheduler knows of. Outside of actors (setup, check, teardown) sections are counted for the caller and
 * callbacks run in barrier() and synchronize().
 */
#include <sched.h>

#include "explore_int.h"

#define OUTSIDE ACTORS /* the thread that explores, between orders */

static _Thread_local struct rcu {
	/* What steps are said to touch: a section's begin and end the first, a deferral the second. */
	uint8_t sections, queue;
	unsigned nest[ACTORS + 1];
	uint64_t section[ACTORS + 1]; /* 0: in none; else its number */
	uint64_t numbers;
	struct tdp_rcu_head *first, **last;
	uint64_t before[ACTORS]; /* what `first` waits for */
	bool waiting;
} rcu;

static unsigned self(void)
{
	struct run *run = tdpi_explore_current();

	return run ? run->current : OUTSIDE;
}

static void sections_now(uint64_t before[ACTORS])
{
	for (unsigned i = 0; i < ACTORS; i++)
		before[i] = rcu.section[i];
}

/* Have the sections that ran then ended, but for that of `but` itself? */
bool tdpi_explore_rcu_elapsed(const uint64_t *before, unsigned but)
{
	if (!before)
		return rcu.first != NULL;
	for (unsigned i = 0; i < ACTORS; i++)
		if (i != but && before[i] && rcu.section[i] == before[i])
			return false;
	return true;
}

void tdpi_explore_rcu_reset(void)
{
	for (unsigned i = 0; i < ACTORS; i++)
		rcu.nest[i] = 0, rcu.section[i] = 0;
}

static void rcu_point(enum op_kind kind, const uint8_t *what, uintptr_t size)
{
	struct run *run = tdpi_explore_current();

	if (run)
		tdpi_run_point(run,
			       (struct op){.kind = kind, .object = (uintptr_t)what, .size = size});
}

static void read_lock(void)
{
	unsigned me = self();

	if (rcu.nest[me]++)
		return;
	rcu_point(OP_READ, &rcu.sections, 1);
	rcu.section[me] = ++rcu.numbers;
}

static void read_unlock(void)
{
	unsigned me = self();

	if (--rcu.nest[me])
		return;
	rcu_point(OP_LEAVE, &rcu.sections, 1);
	rcu.section[me] = 0;
}

static int read_ongoing(void)
{
	return rcu.nest[self()] != 0;
}

static void defer(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head))
{
	rcu_point(OP_WRITE, &rcu.queue, 1);
	head->fn = fn;
	head->opaque[0] = NULL;
	if (!rcu.first)
		rcu.last = &rcu.first;
	*rcu.last = head;
	rcu.last = (struct tdp_rcu_head **)&head->opaque[0];
}

static struct tdp_rcu_head *take_first(void)
{
	struct tdp_rcu_head *head = rcu.first;

	rcu.first = head->opaque[0];
	return head;
}

static void run_all(void)
{
	while (rcu.first) {
		struct tdp_rcu_head *head = take_first();

		head->fn(head);
	}
}

/* Wait for a grace period that begins now. */
static void grace(struct run *run, uint64_t before[ACTORS])
{
	sections_now(before);
	tdpi_run_point(run, (struct op){.kind = OP_GRACE,
					.object = (uintptr_t)&rcu.sections,
					.size = 1,
					.before = before});
}

static void synchronize(void)
{
	struct run *run = tdpi_explore_current();
	uint64_t before[ACTORS];

	if (run)
		grace(run, before);
	else
		run_all();
}

/* Every callback that was deferred before has run: those that are there now. */
static void barrier(void)
{
	synchronize();
	run_all();
}

/*
 * A callback waits for the sections that were open when its grace period began, which is when the callback
 * before it has run.
 */
void tdpi_explore_rcu_actor(void *arg)
{
	struct run *run = tdpi_explore_current();

	(void)arg;
	for (;;) {
		struct tdp_rcu_head *head;

		/* The sections of now are looked at together with the queue. */
		tdpi_run_point(run, (struct op){.kind = OP_GRACE,
						.object = (uintptr_t)&rcu.sections,
						.size = 2});
		grace(run, rcu.before);
		if (!rcu.first)
			continue; /* somebody's barrier() was faster */
		head = take_first();
		head->fn(head);
	}
}

static void thread_nothing(void)
{
}

const struct tdp_rcu_ops tdp_rcu_explore = {
	.size = (uint32_t)sizeof(struct tdp_rcu_ops),
	.read_lock = read_lock,
	.read_unlock = read_unlock,
	.read_ongoing = read_ongoing,
	.defer = defer,
	.synchronize = synchronize,
	.barrier = barrier,
	.thread_register = thread_nothing,
	.thread_unregister = thread_nothing,
};

static void wait_word(void *priv, const uint32_t *word, uint32_t value)
{
	struct run *run = tdpi_explore_current();

	(void)priv;
	if (run)
		tdpi_run_point(run, (struct op){.kind = OP_WAIT,
						.object = (uintptr_t)word,
						.size = sizeof(*word),
						.value = value});
	else
		sched_yield();
}

static void wake_word(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word; /* waiting is a condition, not a sleep */
}

void tdp_explore_env(struct tdp_env *env)
{
	env->rcu = &tdp_rcu_explore;
	env->wait = wait_word;
	env->wake = wake_word;
	env->relax = NULL;
}

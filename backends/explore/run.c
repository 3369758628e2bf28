/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One order: actors run one at a time, from one point to the next. At each point an actor says what it is about
 * to do; it does it when it is chosen, together with everything of its own that follows.
 */
#include "explore_int.h"

static _Thread_local struct run *current_run; /* while one of its actors is running */
static _Thread_local struct run *prepared;    /* while setup() is running */

struct run *tdpi_explore_current(void)
{
	return current_run;
}

static unsigned held_by(const struct run *run, uintptr_t object)
{
	for (unsigned i = 0; i < run->held_count; i++)
		if (run->held[i].object == object)
			return i;
	return run->held_count;
}

/*
 * Asks who is next on the actor's own stack: most often it is the same actor, and then nothing is switched.
 */
void tdpi_run_point(struct run *run, struct op op)
{
	unsigned self = run->current;

	run->next[self] = op;
	current_run = NULL;
	if (run->started)
		run->chosen = run->schedule(run);
	if (!run->started || run->chosen != (int)self)
		tdpi_actor_suspend(run->actor[self]);
	current_run = run;
	run->current = self;
}

/* False: it has returned. */
static bool actor_go(struct run *run, unsigned actor)
{
	bool alive;

	run->current = actor;
	current_run = run;
	alive = tdpi_actor_resume(run->actor[actor]);
	if (!alive)
		run->alive &= ~(1u << actor);
	current_run = NULL;
	return alive;
}

void tdpi_run_setup_begin(struct run *run)
{
	run->failure = NULL;
	run->ignored_count = 0;
	prepared = run;
}

void tdpi_run_setup_end(void)
{
	prepared = NULL;
}

void tdpi_run_start(struct run *run)
{
	const struct tdp_explore_program *p = run->program;

	run->count = p->actors;
	run->alive = (2u << p->actors) - 1;
	run->steps = 0;
	run->held_count = 0;
	run->started = false;
	tdpi_explore_rcu_reset();
	for (unsigned i = 0; i <= run->count; i++) {
		tdpi_actor_start(run->actor[i],
				 i < run->count ? p->actor[i] : tdpi_explore_rcu_actor, p->arg);
		actor_go(run, i);
	}
	run->started = true;
}

void tdpi_run_go(struct run *run)
{
	run->chosen = run->schedule(run);
	while (run->chosen >= 0)
		if (!actor_go(run, (unsigned)run->chosen))
			run->chosen = run->schedule(run);
}

static bool op_enabled(const struct run *run, unsigned actor)
{
	const struct op *op = &run->next[actor];

	switch (op->kind) {
	case OP_ACQUIRE: return held_by(run, op->object) == run->held_count;
	case OP_WAIT:
		return __atomic_load_n((const uint32_t *)op->object, __ATOMIC_RELAXED) != op->value;
	case OP_GRACE: return tdpi_explore_rcu_elapsed(op->before, actor);
	default: return true;
	}
}

uint32_t tdpi_run_enabled(const struct run *run)
{
	uint32_t mask = 0;

	for (unsigned i = 0; i <= run->count; i++)
		if (run->alive & 1u << i && op_enabled(run, i))
			mask |= 1u << i;
	return mask;
}

void tdpi_run_take(struct run *run, unsigned actor)
{
	const struct op *op = &run->next[actor];
	unsigned at;

	if (op->kind == OP_ACQUIRE) {
		if (run->held_count == sizeof(run->held) / sizeof(run->held[0]))
			run->failure = "too many locks are held";
		else
			run->held[run->held_count++] = (struct held){op->object, actor};
	} else if (op->kind == OP_RELEASE) {
		at = held_by(run, op->object);
		/* A lock word that was taken by a plain compare-and-swap is in nobody's list. */
		if (at < run->held_count)
			run->held[at] = run->held[--run->held_count];
	}
	run->steps++;
}

/* ---- public ---- */

static bool ignored(const struct run *run, const struct op *op)
{
	for (unsigned i = 0; i < run->ignored_count; i++)
		if (tdpi_op_overlap(op, &run->ignored[i]))
			return true;
	return false;
}

void tdp_test_point(enum tdp_point kind, const void *object, size_t size)
{
	struct op op = {.kind = (enum op_kind)kind, .object = (uintptr_t)object, .size = size};
	struct run *run = current_run;

	if (run && kind != TDP_POINT_FENCE && !ignored(run, &op))
		tdpi_run_point(run, op);
}

void tdp_explore_ignore(const void *object, size_t size)
{
	struct run *run = prepared;

	if (!run)
		return;
	if (run->ignored_count == sizeof(run->ignored) / sizeof(run->ignored[0]))
		run->failure = "too much is to be ignored";
	else
		run->ignored[run->ignored_count++] =
			(struct op){.object = (uintptr_t)object, .size = size};
}

void tdp_explore_fail(const char *why)
{
	if (current_run && !current_run->failure)
		current_run->failure = why;
}

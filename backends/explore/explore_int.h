/* SPDX-License-Identifier: BSD-2-Clause */
/* Actors, their steps, and the run that all of them are in: what the files of this folder share. */
#ifndef TDPI_EXPLORE_INT_H
#define TDPI_EXPLORE_INT_H

#include <tdp/explore.h>

/* The actors of the program and, last, the one that runs RCU callbacks. */
#define ACTORS (TDP_EXPLORE_ACTORS_MAX + 1)

enum op_kind {
	OP_READ = TDP_POINT_READ,
	OP_WRITE = TDP_POINT_WRITE,
	OP_ACQUIRE = TDP_POINT_ACQUIRE,
	OP_RELEASE = TDP_POINT_RELEASE,
	OP_WAIT,  /* enabled while *word != value */
	OP_LEAVE, /* a read-side section ends */
	OP_GRACE, /* enabled when the sections of `before` have ended; NULL: when a callback waits */
};

/* One step that is about to be done. */
struct op {
	enum op_kind kind;
	uintptr_t object;
	uintptr_t size;
	uint32_t value;
	const uint64_t *before; /* OP_GRACE: by actor, the section that must have ended */
};

/* ---- actor.c: coroutines ---- */

struct actor;

/* A stack of its own that calls fn(arg) when resumed for the first time. NULL: no memory. */
struct actor *tdpi_actor_new(void);
void tdpi_actor_free(struct actor *a);
/* It is stuck in the middle of something, and others may point to its stack: kept for good. */
void tdpi_actor_abandon(struct actor *a);
void tdpi_actor_start(struct actor *a, void (*fn)(void *arg), void *arg);
/* On the caller's stack, until the actor suspends itself. False: it has returned. */
bool tdpi_actor_resume(struct actor *a);
void tdpi_actor_suspend(struct actor *a);

/* ---- run.c: one order ---- */

struct held {
	uintptr_t object;
	unsigned actor;
};

struct run {
	const struct tdp_explore_program *program;
	struct actor *actor[ACTORS];
	struct op next[ACTORS]; /* of those that are alive */
	uint32_t alive;         /* bit per actor that has not returned */
	unsigned count;         /* actors of the program; the RCU's is number `count` */
	unsigned current;       /* who is running */
	uint32_t steps;
	const char *failure;
	struct held held[64];
	unsigned held_count;
	/* Who does the next step, which is counted as done from then on; negative: nobody, the run is over. */
	int (*schedule)(struct run *run);
	int chosen;
	bool started;
	struct op ignored[32]; /* object and size */
	unsigned ignored_count;
};

/* NULL outside of actors: points are nothing then. */
struct run *tdpi_explore_current(void);

/* Around setup() of the next order. */
void tdpi_run_setup_begin(struct run *run);
void tdpi_run_setup_end(void);
/* Every actor up to its first step. */
void tdpi_run_start(struct run *run);
/* Steps as run->schedule chooses them, until it chooses nobody. */
void tdpi_run_go(struct run *run);
/* For schedule(): actors that could do their next step; one of them will. */
uint32_t tdpi_run_enabled(const struct run *run);
void tdpi_run_take(struct run *run, unsigned actor);
/* All actors of the program have returned. */
static inline bool tdpi_run_over(const struct run *run)
{
	return (run->alive & ((1u << run->count) - 1)) == 0;
}
/* The calling actor wants to do op: let others go first. */
void tdpi_run_point(struct run *run, struct op op);

static inline bool tdpi_op_overlap(const struct op *a, const struct op *b)
{
	return a->object < b->object + b->size && b->object < a->object + a->size;
}

static inline bool tdpi_op_reads(const struct op *op)
{
	return op->kind == OP_READ || op->kind == OP_WAIT || op->kind == OP_LEAVE;
}

/* Does the order of the two matter? */
static inline bool tdpi_op_dependent(const struct op *a, const struct op *b)
{
	return tdpi_op_overlap(a, b) && !(tdpi_op_reads(a) && tdpi_op_reads(b));
}

/* Does `later` only become possible by `earlier`? Then the two have no other order. */
static inline bool tdpi_op_enables(const struct op *earlier, const struct op *later)
{
	return (earlier->kind == OP_RELEASE && later->kind == OP_ACQUIRE) ||
	       (earlier->kind == OP_LEAVE && later->kind == OP_GRACE);
}

/* ---- env.c: RCU ---- */

/* Forget all sections and callbacks of the last order. */
void tdpi_explore_rcu_reset(void);
/* What the RCU's actor does: one callback after the other. */
void tdpi_explore_rcu_actor(void *arg);
bool tdpi_explore_rcu_elapsed(const uint64_t *before, unsigned but);

#endif

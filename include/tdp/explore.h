/* SPDX-License-Identifier: BSD-2-Clause */
/**
 * @file explore.h
 * Every order of a few operations: a deterministic host for tests of races.
 *
 * A program is a handful of actors, each a function that calls the library (or a backend of your own) as a
 * thread would. tdp_explore() runs it again and again, each time in another order of its atomic steps,
 * until no order is left that could make a difference, and stops at the first that fails.
 *
 * Link tdp::explore instead of tdp::core and tdp::emu: it holds both, compiled so that they call
 * tdp_test_point() before each atomic step, and the scheduler. Nothing else in the library knows of it.
 *
 * Which orders are tried: dynamic partial-order reduction (C. Flanagan, P. Godefroid, POPL 2005) with sleep
 * sets. Two steps are dependent when they touch the same bytes and one of them writes. Memory is
 * sequentially consistent here: what weaker hardware adds is for ThreadSanitizer and the model.
 */
#ifndef TDP_EXPLORE_H
#define TDP_EXPLORE_H

#include <tdp/env.h>
#include <tdp/point.h>

#ifdef __cplusplus
extern "C" {
#endif

#define TDP_EXPLORE_ACTORS_MAX 6

/** What is explored. Members without "optional" must be set. */
struct tdp_explore_program {
	uint32_t size;   /* sizeof(struct tdp_explore_program) */
	uint32_t actors; /* 1 .. TDP_EXPLORE_ACTORS_MAX */
	void *arg;
	/** Before each order: build everything anew, the same each time. A negative status ends it all. */
	int (*setup)(void *arg);
	void (*actor[TDP_EXPLORE_ACTORS_MAX])(void *arg);
	/** Optional: after all actors have returned; anything but 0 is a failure. */
	int (*check)(void *arg);
	/** After each order, failed or not. A negative status is a failure too. */
	int (*teardown)(void *arg);
};

enum tdp_explore_mode {
	TDP_EXPLORE_ALL = 0, /* every order that makes a difference */
	/** Random priorities that change `changes` times (S. Burckhardt et al., ASPLOS 2010). */
	TDP_EXPLORE_RANDOM = 1,
};

struct tdp_explore_config {
	uint32_t size;
	uint32_t mode;          /* enum tdp_explore_mode */
	uint64_t max_schedules; /* 0: 1000000 */
	uint32_t max_steps;     /* of one order; more is a failure ("no end"). 0: 20000 */
	/**
	 * ALL: no more than so many switches away from an actor that could have gone on; 0: no bound.
	 * With a bound `complete` says nothing of orders beyond it.
	 */
	uint32_t preemptions;
	uint32_t changes; /* RANDOM */
	uint64_t seed;    /* RANDOM */
	/** Not NULL: only this order (a `schedule` of an earlier result). */
	const char *replay;
};

struct tdp_explore_result {
	uint32_t size;
	uint32_t complete;  /* 1: no order is left (within the bound) */
	uint64_t schedules; /* orders run to their end */
	uint64_t pruned;    /* given up half-way: same as one that was run */
	uint32_t steps;     /* of the longest */
	uint32_t failed;
	char what[200]; /* of the failure */
	char schedule
		[4096]; /* of the failure: one letter a step, 'a' the first actor, 'z' the RCU */
};

/**
 * Explore. TDP_OK: no failure; TDP_EIO: one, and *result tells it; TDP_EINVAL; TDP_ENOMEM; what setup() said.
 * Calls everything on the calling thread. Must not be called by an actor; one at a time per thread.
 * After a deadlock or an endless order nothing is torn down: actors are still in the middle of something.
 */
TDP_API int tdp_explore(const struct tdp_explore_config *config,
			const struct tdp_explore_program *program,
			struct tdp_explore_result *result);

/** By an actor or a hook: this order has failed. It is run to its end. printf-free: `why` as it is. */
TDP_API void tdp_explore_fail(const char *why);

/**
 * By setup(): steps on [object, object + size) make no difference to what is explored (a reference count that
 * goes up and down again, say): they are steps no more. A lock may be ignored if everything that is done while
 * it is held is ignored too, or never a step. Up to 32 until the next setup(); more is a failure.
 */
TDP_API void tdp_explore_ignore(const void *object, size_t size);

/**
 * Give env the RCU, wait, wake and relax that actors need; to be called before the mm is made. Grace periods
 * end, and callbacks run, at every moment at which they may; what is left runs after the actors.
 */
TDP_API void tdp_explore_env(struct tdp_env *env);
TDP_API extern const struct tdp_rcu_ops tdp_rcu_explore;

#ifdef __cplusplus
}
#endif
#endif

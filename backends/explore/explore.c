/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The search: run one order, see which steps could have come the other way round and would have mattered, run
 * those orders too. Dynamic partial-order reduction with sleep sets; each order starts from the beginning.
 *
 * A frame is one step of the current order: who could go on there, who was chosen, who has been (done) and who
 * still must be (backtrack). Everything that holds an address is made anew each time the order is run.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explore_int.h"

struct frame {
	struct op op;
	unsigned actor;
	uint32_t enabled, backtrack, done, sleep;
	uint32_t preemptions; /* before this step */
	uint32_t clock[ACTORS];
	uint32_t
		chain; /* 1 + the frame before on the same word; of the wide ones, the wide one before */
};

#define WORDS 1024u

struct search {
	struct run run; /* first: schedule() gets it */
	const struct tdp_explore_config *config;
	struct tdp_explore_result *result;
	struct frame *frame;
	uint32_t max_steps;
	uint32_t clock[ACTORS][ACTORS]; /* what each actor's next step comes after */
	uint32_t word[WORDS];           /* 1 + the latest frame on words with this hash */
	uint32_t wide;                  /* 1 + the latest that touches more than one word */
	uint32_t at, prefix;            /* next frame; those that are chosen already */
	uint32_t asleep;                /* at that frame */
	bool pruned;
	unsigned turn; /* who went last in finish() */
	uint64_t rand;
	uint32_t priority[ACTORS];
	uint64_t change; /* RANDOM: one step in so many lowers a priority */
	bool stuck;
};

static bool bit(uint32_t mask, unsigned n)
{
	return mask >> n & 1;
}

static unsigned lowest(uint32_t mask)
{
	return (unsigned)__builtin_ctz(mask);
}

/* ---- what came before what ---- */

static void join(uint32_t *into, const uint32_t *clock)
{
	for (unsigned i = 0; i < ACTORS; i++)
		if (clock[i] > into[i])
			into[i] = clock[i];
}

/* Does the step of frame m come before one with this clock in every equivalent order? */
static bool before(const struct search *s, uint32_t m, const uint32_t *clock)
{
	return m < clock[s->frame[m].actor];
}

/*
 * To have the step of `actor` before that of frame i: the steps since that do not come after frame i's, and then
 * it. Who could begin with that: whose first step among these comes after none of the others.
 */
static uint32_t initials(const struct search *s, uint32_t i, uint32_t upto, unsigned actor,
			 const uint32_t *clock)
{
	uint32_t mask = 0, seen = 0;

	for (uint32_t k = i + 1; k <= upto; k++) {
		unsigned who = k < upto ? s->frame[k].actor : actor;
		const uint32_t *own = k < upto ? s->frame[k].clock : clock;
		bool first = true;

		if (bit(seen, who) || (k < upto && before(s, i, own)))
			continue;
		seen |= 1u << who;
		for (uint32_t m = i + 1; m < k && first; m++)
			first = before(s, i, s->frame[m].clock) || !before(s, m, own);
		if (first)
			mask |= 1u << who;
	}
	return mask & s->frame[i].enabled;
}

static void race(struct search *s, uint32_t i, uint32_t at, unsigned actor, const uint32_t *clock)
{
	struct frame *f = &s->frame[i];
	uint32_t can = initials(s, i, at, actor, clock);

	if (can & f->backtrack)
		return;
	if (bit(can, actor))
		f->backtrack |= 1u << actor;
	else if (can)
		f->backtrack |= 1u << lowest(can);
	else
		f->backtrack |= f->enabled;
}

static bool is_wide(const struct op *op)
{
	return op->object >> 3 != (op->object + op->size - 1) >> 3;
}

static uint32_t *word_of(struct search *s, const struct op *op)
{
	return &s->word[(op->object >> 3 ^ op->object >> 13) % WORDS];
}

/* Newest first, 1 + its number, 0: none. A wide step may touch whatever the others do. */
static uint32_t earlier(const struct search *s, uint32_t i, uint32_t *on_word, uint32_t *wide,
			bool all)
{
	uint32_t next;

	if (all)
		return i;
	next = *on_word > *wide ? *on_word : *wide;
	if (next == 0)
		return 0;
	if (next == *on_word)
		*on_word = s->frame[next - 1].chain;
	else
		*wide = s->frame[next - 1].chain;
	return next;
}

/*
 * The step at frame `at` is about to be done: order it after all it depends on, note the races. A step that
 * comes before another one that races is in no race itself; but what only made this step possible (the lock was
 * dropped) hides nothing, because the whole section could have come later.
 */
static void order(struct search *s, uint32_t at)
{
	struct frame *f = &s->frame[at];
	uint32_t *clock = s->clock[f->actor], raced[ACTORS];
	bool all = is_wide(&f->op);
	uint32_t *head = all ? &s->wide : word_of(s, &f->op);
	uint32_t on_word = all ? 0 : *head, wide = s->wide, i = at;

	memcpy(raced, clock, sizeof(raced));
	while ((i = earlier(s, i, &on_word, &wide, all)) != 0) {
		const struct frame *e = &s->frame[--i];

		if (e->actor == f->actor || i < raced[e->actor] ||
		    !tdpi_op_dependent(&e->op, &f->op))
			continue;
		if (!tdpi_op_enables(&e->op, &f->op)) {
			race(s, i, at, f->actor, clock);
			join(raced, e->clock);
		}
		join(clock, e->clock);
	}
	clock[f->actor] = at + 1;
	memcpy(f->clock, clock, sizeof(f->clock));
	f->chain = *head;
	*head = at + 1;
}

/* ---- one order ---- */

static uint64_t next_random(struct search *s)
{
	uint64_t x = s->rand += 0x9e3779b97f4a7c15u; /* splitmix64 */

	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static unsigned by_priority(struct search *s, uint32_t mask)
{
	unsigned best = lowest(mask);

	for (unsigned i = 0; i < ACTORS; i++)
		if (bit(mask, i) && s->priority[i] > s->priority[best])
			best = i;
	if (s->config->changes && next_random(s) % s->change == 0)
		s->priority[best] = (uint32_t)(next_random(s) >> 34);
	return best;
}

/* Whoever ran goes on if it can: as few switches as possible. */
static unsigned default_choice(const struct search *s, uint32_t at, uint32_t mask)
{
	if (at > 0 && bit(mask, s->frame[at - 1].actor))
		return s->frame[at - 1].actor;
	return lowest(mask);
}

static uint32_t preemptions_to(const struct search *s, uint32_t at, unsigned actor)
{
	const struct frame *before;

	if (at == 0)
		return 0;
	before = &s->frame[at - 1];
	return before->preemptions +
	       (before->actor != actor && bit(s->frame[at].enabled, before->actor));
}

static char letter(const struct search *s, unsigned actor)
{
	return actor == s->run.count ? 'z' : (char)('a' + actor);
}

/* The actor of frame `at` does its step. */
static void advance(struct search *s, uint32_t at)
{
	struct frame *f = &s->frame[at];
	uint32_t asleep = f->sleep | (f->done & ~(1u << f->actor)), next = 0;

	f->op = s->run.next[f->actor];
	f->preemptions = preemptions_to(s, at, f->actor);
	order(s, at);
	for (unsigned i = 0; i <= s->run.count; i++)
		if (i != f->actor && bit(asleep, i) && !tdpi_op_dependent(&s->run.next[i], &f->op))
			next |= 1u << i;
	f->done |= 1u << f->actor;
	s->asleep = next;
	tdpi_run_take(&s->run, f->actor);
}

static void fail(struct search *s, const char *what)
{
	if (!s->run.failure)
		s->run.failure = what;
}

/* To its end, in any order: nothing is learned from it. */
static int finish(struct run *run)
{
	struct search *s = (struct search *)(void *)run;
	uint32_t enabled = tdpi_run_enabled(run);

	if (!enabled && tdpi_run_over(run))
		return -1;
	if (!enabled || run->steps > 4 * s->max_steps) {
		s->stuck = true;
		return -1;
	}
	do
		s->turn = (s->turn + 1) % ACTORS;
	while (!bit(enabled, s->turn));
	tdpi_run_take(run, s->turn);
	return (int)s->turn;
}

static int choose(struct search *s, uint32_t at, uint32_t sleep)
{
	struct frame *f = &s->frame[at];
	const char *replay = s->config->replay;
	uint32_t can = f->enabled & ~sleep;

	if (replay) {
		unsigned actor = replay[at] == 'z' ? s->run.count : (unsigned)(replay[at] - 'a');

		if (at >= strlen(replay) || actor >= ACTORS || !bit(f->enabled, actor))
			return -1;
		return (int)actor;
	}
	if (s->config->mode == TDP_EXPLORE_RANDOM)
		return (int)by_priority(s, f->enabled);
	if (!can)
		return -1;
	return (int)default_choice(s, at, can);
}

/* A frame that this order is the first to come to. False: all that could go on are asleep. */
static bool new_frame(struct search *s, struct frame *f, uint32_t enabled)
{
	int actor;

	memset(f, 0, sizeof(*f));
	f->enabled = enabled;
	actor = choose(s, s->at, s->asleep);
	if (actor < 0)
		return false;
	f->actor = (unsigned)actor;
	f->backtrack = 1u << actor;
	return true;
}

/* Is a frame that was run before what it was then? */
static bool same_frame(const struct search *s, const struct frame *f, uint32_t enabled)
{
	return enabled == f->enabled &&
	       (s->at + 1 == s->prefix || f->op.kind == s->run.next[f->actor].kind);
}

static int schedule(struct run *run)
{
	struct search *s = (struct search *)(void *)run;
	uint32_t enabled = tdpi_run_enabled(run);
	struct frame *f = &s->frame[s->at];

	if (run->failure || (!enabled && tdpi_run_over(run)))
		return -1;
	if (!enabled || s->at == s->max_steps) {
		fail(s,
		     enabled ? "no end: more steps than allowed" : "deadlock: no actor can go on");
		s->stuck = true;
		return -1;
	}
	if (s->at >= s->prefix) {
		s->pruned = !new_frame(s, f, enabled);
		if (s->pruned)
			return -1;
	} else if (!same_frame(s, f, enabled)) {
		fail(s,
		     "the same order went another way: setup() or an actor is not deterministic");
		return -1;
	}
	f->sleep = s->asleep;
	advance(s, s->at++);
	return (int)f->actor;
}

/* The order whose first `prefix` frames are chosen. */
static void run_order(struct search *s, uint32_t prefix)
{
	memset(s->clock, 0, sizeof(s->clock));
	memset(s->word, 0, sizeof(s->word));
	s->wide = 0;
	s->at = s->asleep = 0;
	s->prefix = prefix;
	s->pruned = false;
	tdpi_run_start(&s->run);
	s->run.schedule = schedule;
	tdpi_run_go(&s->run);
	if (s->stuck)
		return;
	s->run.schedule = finish;
	tdpi_run_go(&s->run);
}

/* ---- all orders ---- */

/* The deepest frame with something left to try; how many frames are kept, 0: none. */
static uint32_t backtrack(struct search *s, uint32_t steps)
{
	for (uint32_t at = steps; at-- > 0;) {
		struct frame *f = &s->frame[at];
		uint32_t left;

		while ((left = f->backtrack & f->enabled & ~f->done & ~f->sleep) != 0) {
			unsigned actor = lowest(left);

			if (!s->config->preemptions ||
			    preemptions_to(s, at, actor) <= s->config->preemptions) {
				f->actor = actor;
				return at + 1;
			}
			f->done |= 1u << actor;
		}
	}
	return 0;
}

static void tell(struct search *s, uint32_t steps)
{
	struct tdp_explore_result *r = s->result;
	uint32_t i;

	r->failed = 1;
	snprintf(r->what, sizeof(r->what), "%s", s->run.failure);
	for (i = 0; i < steps && i + 1 < sizeof(r->schedule); i++)
		r->schedule[i] = letter(s, s->frame[i].actor);
	r->schedule[i] = 0;
}

static void random_order(struct search *s)
{
	for (unsigned i = 0; i < ACTORS; i++)
		s->priority[i] = (uint32_t)(next_random(s) >> 33);
	s->change = s->result->steps / (s->config->changes + 1) + 1;
}

/* One order from setup to teardown. TDP_OK to go on. */
static int one(struct search *s, uint32_t prefix, uint32_t *steps)
{
	const struct tdp_explore_program *p = s->run.program;
	struct tdp_explore_result *r = s->result;
	int ret;

	tdpi_run_setup_begin(&s->run);
	ret = p->setup(p->arg);
	tdpi_run_setup_end();
	if (ret < 0)
		return ret;
	if (s->config->mode == TDP_EXPLORE_RANDOM)
		random_order(s);
	run_order(s, prefix);
	*steps = s->at;
	if (*steps > r->steps)
		r->steps = *steps;
	if (!s->stuck) {
		if (!s->run.failure && p->check && p->check(p->arg))
			fail(s, "check() says that the outcome is wrong");
		if (p->teardown(p->arg) < 0)
			fail(s, "teardown() failed");
	}
	if (s->run.failure) {
		tell(s, *steps);
		return TDP_EIO;
	}
	if (s->pruned)
		r->pruned++;
	else
		r->schedules++;
	return TDP_OK;
}

static int search(struct search *s)
{
	uint64_t most = s->config->max_schedules ? s->config->max_schedules : 1000000;
	uint32_t prefix = 0, steps = 0;

	for (uint64_t n = 0; n < most; n++) {
		int ret = one(s, prefix, &steps);

		if (ret)
			return ret;
		if (s->config->replay)
			return TDP_OK;
		if (s->config->mode == TDP_EXPLORE_RANDOM)
			continue;
		prefix = backtrack(s, steps);
		if (!prefix) {
			s->result->complete = 1;
			break;
		}
	}
	return TDP_OK;
}

static bool program_ok(const struct tdp_explore_program *p)
{
	if (!p || p->size != sizeof(*p) || !p->setup || !p->teardown || p->actors < 1 ||
	    p->actors > TDP_EXPLORE_ACTORS_MAX)
		return false;
	for (unsigned i = 0; i < p->actors; i++)
		if (!p->actor[i])
			return false;
	return true;
}

int tdp_explore(const struct tdp_explore_config *config, const struct tdp_explore_program *program,
		struct tdp_explore_result *result)
{
	struct search *s;
	int ret = TDP_OK;

	if (!config || config->size != sizeof(*config) || config->mode > TDP_EXPLORE_RANDOM ||
	    !program_ok(program) || !result || result->size != sizeof(*result) ||
	    tdpi_explore_current())
		return TDP_EINVAL;
	memset(result, 0, sizeof(*result));
	result->size = (uint32_t)sizeof(*result);
	s = calloc(1, sizeof(*s));
	if (!s)
		return TDP_ENOMEM;
	s->config = config;
	s->result = result;
	s->rand = config->seed;
	s->run.program = program;
	s->max_steps = config->max_steps ? config->max_steps : 20000;
	s->frame = calloc(s->max_steps, sizeof(*s->frame));
	if (!s->frame)
		ret = TDP_ENOMEM;
	for (unsigned i = 0; i <= program->actors && !ret; i++)
		if (!(s->run.actor[i] = tdpi_actor_new()))
			ret = TDP_ENOMEM;
	if (!ret)
		ret = search(s);
	for (unsigned i = 0; i < ACTORS; i++)
		(s->stuck ? tdpi_actor_abandon : tdpi_actor_free)(s->run.actor[i]);
	free(s->frame);
	free(s);
	return ret;
}

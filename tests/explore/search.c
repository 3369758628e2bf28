/* SPDX-License-Identifier: BSD-2-Clause */
/* The explorer itself, on programs whose orders can be counted by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <string.h>

#include <tdp/explore.h>

/* What all programs share; made anew for each order. */
static struct shared {
	uint32_t a, b, lock, other_lock;
	uint32_t seen[3];
	uint64_t setups, teardowns;
	bool freed, used_after;
	struct tdp_rcu_head head;
} s;

static uint32_t load(const uint32_t *p)
{
	tdp_test_point(TDP_POINT_READ, p, sizeof(*p));
	return *p;
}

static void store(uint32_t *p, uint32_t v)
{
	tdp_test_point(TDP_POINT_WRITE, p, sizeof(*p));
	*p = v;
}

static void add(uint32_t *p, uint32_t v)
{
	tdp_test_point(TDP_POINT_WRITE, p, sizeof(*p));
	*p += v;
}

static void lock(const uint32_t *p)
{
	tdp_test_point(TDP_POINT_ACQUIRE, p, sizeof(*p));
}

static void unlock(const uint32_t *p)
{
	tdp_test_point(TDP_POINT_RELEASE, p, sizeof(*p));
}

static int setup(void *arg)
{
	uint64_t setups = s.setups, teardowns = s.teardowns;

	(void)arg;
	memset(&s, 0, sizeof(s));
	s.setups = setups + 1;
	s.teardowns = teardowns;
	return TDP_OK;
}

static int teardown(void *arg)
{
	(void)arg;
	s.teardowns++;
	return TDP_OK;
}

typedef void (*actor_fn)(void *arg);

static struct tdp_explore_result explore(struct tdp_explore_config config, int (*check)(void *arg),
					 actor_fn a, actor_fn b, actor_fn c)
{
	struct tdp_explore_program program = {.size = (uint32_t)sizeof(program),
					      .actors = c ? 3 : 2,
					      .setup = setup,
					      .actor = {a, b, c},
					      .check = check,
					      .teardown = teardown};
	struct tdp_explore_result result = {.size = (uint32_t)sizeof(result)};
	int ret;

	config.size = (uint32_t)sizeof(config);
	s.setups = s.teardowns = 0;
	ret = tdp_explore(&config, &program, &result);
	assert_int_equal(ret, result.failed ? TDP_EIO : TDP_OK);
	if (!strstr(result.what, "deadlock") && !strstr(result.what, "no end"))
		assert_int_equal(s.setups, s.teardowns);
	return result;
}

#define ALL                                                                                        \
	(struct tdp_explore_config)                                                                \
	{                                                                                          \
		0                                                                                  \
	}

/* ---- counting ---- */

static void write_a(void *arg)
{
	(void)arg;
	add(&s.a, 1);
}

static void write_b(void *arg)
{
	(void)arg;
	add(&s.b, 1);
}

static void read_a(void *arg)
{
	(void)arg;
	s.seen[0] = load(&s.a);
}

static void read_a_too(void *arg)
{
	(void)arg;
	s.seen[1] = load(&s.a);
}

static void independent_steps_have_one_order(void **state)
{
	struct tdp_explore_result r = explore(ALL, NULL, write_a, write_b, NULL);

	(void)state;
	assert_int_equal(r.schedules, 1);
	assert_int_equal(r.complete, 1);
	assert_int_equal(r.steps, 2);
	r = explore(ALL, NULL, read_a, read_a_too, NULL);
	assert_int_equal(r.schedules, 1);
}

static void dependent_steps_have_all(void **state)
{
	struct tdp_explore_result r = explore(ALL, NULL, write_a, write_a, NULL);

	(void)state;
	assert_int_equal(r.schedules, 2);
	r = explore(ALL, NULL, write_a, write_a, write_a);
	assert_int_equal(r.schedules, 6);
	assert_int_equal(r.complete, 1);
	/* Two readers and a writer: before both, between, after both, between the other way. */
	r = explore(ALL, NULL, read_a, read_a_too, write_a);
	assert_int_equal(r.schedules, 4);
}

static unsigned outcomes; /* bit 2 * first + second */

static int note_outcome(void *arg)
{
	(void)arg;
	outcomes |= 1u << (2 * s.seen[0] + s.seen[1]);
	return 0;
}

static void a_then_see_b(void *arg)
{
	(void)arg;
	store(&s.a, 1);
	s.seen[0] = load(&s.b);
}

static void b_then_see_a(void *arg)
{
	(void)arg;
	store(&s.b, 1);
	s.seen[1] = load(&s.a);
}

/* Store, then look at the other's: all outcomes of a sequentially consistent machine, no other. */
static void every_outcome_is_seen(void **state)
{
	struct tdp_explore_result r;

	(void)state;
	outcomes = 0;
	r = explore(ALL, note_outcome, a_then_see_b, b_then_see_a, NULL);
	assert_int_equal(outcomes, 0xe);
	assert_int_equal(r.schedules, 3);
}

/* ---- finding ---- */

static void increment(void *arg)
{
	uint32_t was = load(&s.a);

	(void)arg;
	store(&s.a, was + 1);
}

static void locked_increment(void *arg)
{
	lock(&s.lock);
	increment(arg);
	unlock(&s.lock);
}

static int is_two(void *arg)
{
	(void)arg;
	return s.a != 2;
}

static int is_three(void *arg)
{
	(void)arg;
	return s.a != 3;
}

static void a_lost_update_is_found_and_replayed(void **state)
{
	struct tdp_explore_result r = explore(ALL, is_two, increment, increment, NULL);
	char schedule[64];

	(void)state;
	assert_int_equal(r.failed, 1);
	assert_non_null(strstr(r.what, "check()"));
	assert_true(strlen(r.schedule) == 4 && strlen(r.schedule) < sizeof(schedule));
	strcpy(schedule, r.schedule);
	r = explore((struct tdp_explore_config){.replay = schedule}, is_two, increment, increment,
		    NULL);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.schedule, schedule);
	r = explore((struct tdp_explore_config){.replay = "aabb"}, is_two, increment, increment,
		    NULL);
	assert_int_equal(r.failed, 0);
}

static void locks_exclude(void **state)
{
	struct tdp_explore_result r =
		explore(ALL, is_two, locked_increment, locked_increment, NULL);

	(void)state;
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.schedules, 2);
	r = explore(ALL, is_three, locked_increment, locked_increment, locked_increment);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.schedules, 6);
	/* One of them forgets it. */
	r = explore(ALL, is_three, locked_increment, increment, locked_increment);
	assert_int_equal(r.failed, 1);
}

static void random_orders_find_it_too(void **state)
{
	struct tdp_explore_config config = {.mode = TDP_EXPLORE_RANDOM,
					    .max_schedules = 1000,
					    .changes = 2,
					    .seed = test_seed()};
	struct tdp_explore_result r = explore(config, is_two, increment, increment, NULL);

	(void)state;
	assert_int_equal(r.failed, 1);
	r = explore(config, is_two, locked_increment, locked_increment, NULL);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.schedules, 1000);
	assert_int_equal(r.complete, 0);
}

/* Needs two switches away from an actor that could go on. */
static void sees_one_then_none(void *arg)
{
	(void)arg;
	if (load(&s.a) == 1 && load(&s.a) == 0)
		tdp_explore_fail("one, then none");
}

static void one_then_none(void *arg)
{
	(void)arg;
	store(&s.a, 1);
	store(&s.a, 0);
}

static void preemptions_are_bounded(void **state)
{
	struct tdp_explore_config config = {.preemptions = 1};
	struct tdp_explore_result r;

	(void)state;
	r = explore(ALL, NULL, sees_one_then_none, one_then_none, NULL);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.what, "one, then none");
	r = explore(config, NULL, sees_one_then_none, one_then_none, NULL);
	assert_int_equal(r.failed, 0);
	config.preemptions = 2;
	r = explore(config, NULL, sees_one_then_none, one_then_none, NULL);
	assert_int_equal(r.failed, 1);
}

/* ---- waiting ---- */

static void lock_ab(void *arg)
{
	(void)arg;
	lock(&s.lock);
	lock(&s.other_lock);
	unlock(&s.other_lock);
	unlock(&s.lock);
}

static void lock_ba(void *arg)
{
	(void)arg;
	lock(&s.other_lock);
	lock(&s.lock);
	unlock(&s.lock);
	unlock(&s.other_lock);
}

static void deadlocks_are_found(void **state)
{
	struct tdp_explore_result r = explore(ALL, NULL, lock_ab, lock_ab, NULL);

	(void)state;
	assert_int_equal(r.failed, 0);
	r = explore(ALL, NULL, lock_ab, lock_ba, NULL);
	assert_int_equal(r.failed, 1);
	assert_non_null(strstr(r.what, "deadlock"));
}

static struct tdp_env env;

static void wait_for_a(void *arg)
{
	(void)arg;
	while (load(&s.a) == 0)
		env.wait(NULL, &s.a, 0);
	s.seen[0] = load(&s.b);
}

static void announce(void *arg)
{
	(void)arg;
	store(&s.b, 7);
	store(&s.a, 1);
}

static int saw_seven(void *arg)
{
	(void)arg;
	return s.seen[0] != 7;
}

static void waiting_ends_when_the_word_changes(void **state)
{
	struct tdp_explore_result r;

	(void)state;
	tdp_explore_env(&env);
	r = explore(ALL, saw_seven, wait_for_a, announce, NULL);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.complete, 1);
	assert_true(r.schedules >= 2);
	/* Nobody announces. */
	r = explore(ALL, NULL, wait_for_a, write_b, NULL);
	assert_int_equal(r.failed, 1);
}

static void forever(void *arg)
{
	(void)arg;
	for (;;)
		store(&s.a, 1);
}

static void endless_orders_are_a_failure(void **state)
{
	struct tdp_explore_config config = {.max_steps = 500};
	struct tdp_explore_result r = explore(config, NULL, forever, write_b, NULL);

	(void)state;
	assert_int_equal(r.failed, 1);
	assert_non_null(strstr(r.what, "no end"));
}

/* ---- RCU ---- */

static void callback(struct tdp_rcu_head *head)
{
	(void)head;
	store(&s.b, 1); /* freed */
}

static void unlink_and_defer(void *arg)
{
	(void)arg;
	store(&s.a, 1);
	tdp_rcu_explore.defer(&s.head, callback);
}

static void unlink_and_wait(void *arg)
{
	(void)arg;
	store(&s.a, 1);
	tdp_rcu_explore.synchronize();
	store(&s.b, 1);
}

static void unlink_and_free(void *arg)
{
	(void)arg;
	store(&s.a, 1);
	store(&s.b, 1);
}

static void read_side(void *arg)
{
	(void)arg;
	tdp_rcu_explore.read_lock();
	if (load(&s.a) == 0 && load(&s.b) != 0)
		tdp_explore_fail("freed under a reader");
	tdp_rcu_explore.read_unlock();
}

static void read_without_section(void *arg)
{
	(void)arg;
	if (load(&s.a) == 0 && load(&s.b) != 0)
		tdp_explore_fail("freed under a reader");
}

/* Callbacks have run when check() is called. */
static int freed(void *arg)
{
	(void)arg;
	return s.b != 1;
}

static void grace_periods_protect_readers(void **state)
{
	struct tdp_explore_result r;

	(void)state;
	r = explore(ALL, freed, unlink_and_defer, read_side, NULL);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.complete, 1);
	r = explore(ALL, NULL, unlink_and_wait, read_side, read_side);
	assert_int_equal(r.failed, 0);
	r = explore(ALL, NULL, unlink_and_free, read_side, NULL);
	assert_int_equal(r.failed, 1);
	r = explore(ALL, freed, unlink_and_defer, read_without_section, NULL);
	assert_int_equal(r.failed, 1);
	r = explore(ALL, NULL, unlink_and_wait, read_without_section, NULL);
	assert_int_equal(r.failed, 1);
}

static int note_seen(void *arg)
{
	(void)arg;
	outcomes |= 1u << s.seen[0];
	return 0;
}

static void see_b(void *arg)
{
	(void)arg;
	s.seen[0] = load(&s.b);
}

static void callbacks_run_early_and_late(void **state)
{
	struct tdp_explore_result r;

	(void)state;
	outcomes = 0;
	r = explore(ALL, note_seen, unlink_and_defer, see_b, NULL);
	assert_int_equal(r.failed, 0);
	assert_int_equal(outcomes, 3);
}

/* ---- bad input ---- */

static uint64_t calls;

static void another_way(void *arg)
{
	(void)arg;
	add(&s.a, 1);
	if (calls++ % 2)
		store(&s.a, 1);
	else
		load(&s.a);
	add(&s.a, 1);
}

static void what_is_not_deterministic_is_said_so(void **state)
{
	struct tdp_explore_result r = explore(ALL, NULL, another_way, write_a, NULL);

	(void)state;
	assert_int_equal(r.failed, 1);
	assert_non_null(strstr(r.what, "deterministic"));
}

static int no_setup(void *arg)
{
	(void)arg;
	return TDP_ENOMEM;
}

static void explores_within(void *arg);
static struct tdp_explore_program nested = {.size = sizeof(nested),
					    .actors = 1,
					    .setup = setup,
					    .actor = {explores_within},
					    .teardown = teardown};
static int nested_status;

static void explores_within(void *arg)
{
	struct tdp_explore_config config = {.size = (uint32_t)sizeof(config)};
	struct tdp_explore_result result = {.size = (uint32_t)sizeof(result)};

	(void)arg;
	nested_status = tdp_explore(&config, &nested, &result);
}

static void bad_programs_are_refused(void **state)
{
	struct tdp_explore_config config = {.size = (uint32_t)sizeof(config)}, bad;
	struct tdp_explore_result result = {.size = (uint32_t)sizeof(result)};
	struct tdp_explore_program p = nested;

	(void)state;
	p.actor[0] = write_a;
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_OK);
	assert_int_equal(tdp_explore(NULL, &p, &result), TDP_EINVAL);
	assert_int_equal(tdp_explore(&config, NULL, &result), TDP_EINVAL);
	assert_int_equal(tdp_explore(&config, &p, NULL), TDP_EINVAL);
	bad = config;
	bad.mode = 2;
	assert_int_equal(tdp_explore(&bad, &p, &result), TDP_EINVAL);
	p.actors = 0;
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_EINVAL);
	p.actors = TDP_EXPLORE_ACTORS_MAX + 1;
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_EINVAL);
	p.actors = 2; /* the second is not set */
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_EINVAL);
	p.actors = 1;
	p.setup = no_setup;
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_ENOMEM);
	result.size = 3;
	assert_int_equal(tdp_explore(&config, &p, &result), TDP_EINVAL);
	result.size = (uint32_t)sizeof(result);
	assert_int_equal(tdp_explore(&config, &nested, &result), TDP_OK);
	assert_int_equal(nested_status, TDP_EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(independent_steps_have_one_order),
		cmocka_unit_test(dependent_steps_have_all),
		cmocka_unit_test(every_outcome_is_seen),
		cmocka_unit_test(a_lost_update_is_found_and_replayed),
		cmocka_unit_test(locks_exclude),
		cmocka_unit_test(random_orders_find_it_too),
		cmocka_unit_test(preemptions_are_bounded),
		cmocka_unit_test(deadlocks_are_found),
		cmocka_unit_test(waiting_ends_when_the_word_changes),
		cmocka_unit_test(endless_orders_are_a_failure),
		cmocka_unit_test(grace_periods_protect_readers),
		cmocka_unit_test(callbacks_run_early_and_late),
		cmocka_unit_test(what_is_not_deterministic_is_said_so),
		cmocka_unit_test(bad_programs_are_refused),
	};

	return cmocka_run_group_tests_name("search", tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The test support itself: the reference RCU waits for readers, traps of freed tables close,
 * buddies add up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

struct node {
	struct tdp_rcu_head head;
	int value; /* plain: ThreadSanitizer judges it */
};

static _Atomic(struct node *) published;
static _Atomic bool stop;
static _Atomic uint64_t sums;

static void node_free(struct tdp_rcu_head *head)
{
	struct node *n = (struct node *)(void *)head;

	n->value = -1;
	free(n);
}

static void *reader(void *arg)
{
	uint64_t bad = 0;

	(void)arg;
	test_rcu.thread_register();
	while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
		struct node *n;

		test_rcu.read_lock();
		test_rcu.read_lock();
		test_rcu.read_unlock();
		n = atomic_load_explicit(&published, memory_order_acquire);
		bad += n->value <= 0;
		sched_yield();
		bad += n->value <= 0;
		test_rcu.read_unlock();
	}
	test_rcu.thread_unregister();
	atomic_fetch_add(&sums, bad);
	return NULL;
}

static void rcu_waits_for_readers(void **state)
{
	pthread_t threads[2];
	struct node *old, *n;
	int i;

	(void)state;
	test_rcu.thread_register();
	n = calloc(1, sizeof(*n));
	assert_non_null(n);
	n->value = 1;
	atomic_store(&published, n);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, reader, NULL), 0);
	for (i = 2; i < 3000; i++) {
		n = calloc(1, sizeof(*n));
		assert_non_null(n);
		n->value = i;
		old = atomic_exchange_explicit(&published, n, memory_order_acq_rel);
		test_rcu.defer(&old->head, node_free);
		if (i % 16 == 0)
			test_rcu.barrier();
	}
	atomic_store(&stop, true);
	for (i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	test_rcu.barrier();
	assert_int_equal(test_rcu_pending(), 0);
	assert_int_equal(atomic_load(&sums), 0);
	free(atomic_load(&published));
	test_rcu.thread_unregister();
}

static void count_free(struct tdp_rcu_head *head)
{
	uint32_t *order = head->opaque[1];

	head->opaque[2] = (void *)(uintptr_t)++ * order;
}

static void rcu_defers_in_order(void **state)
{
	struct tdp_rcu_head heads[5];
	uint32_t order = 0;
	uintptr_t i;

	(void)state;
	test_rcu.thread_register();
	for (i = 0; i < 5; i++) {
		heads[i].opaque[1] = &order;
		test_rcu.defer(&heads[i], count_free);
	}
	assert_int_equal(order, 0);
	assert_int_equal(test_rcu_pending(), 5);
	assert_int_equal(test_rcu_run(), 5);
	for (i = 0; i < 5; i++)
		assert_int_equal((uintptr_t)heads[i].opaque[2], i + 1);
	test_rcu.thread_unregister();
}

static void allocations_fail_as_told(void **state)
{
	struct test_env env;
	void *a, *b;

	(void)state;
	assert_int_equal(test_env_init(&env, TEST_ENV_QUIET, 14, NULL), TDP_OK);
	test_env_fail(&env, 2);
	a = env.env.obj_alloc(&env, 100);
	assert_non_null(a);
	assert_null(env.env.obj_alloc(&env, 100));
	assert_null(env.env.chunk_alloc(&env, 1 << 14));
	test_env_fail(&env, 0);
	b = env.env.chunk_alloc(&env, 1 << 14);
	assert_non_null(b);
	assert_int_equal((uintptr_t)b % (1 << 14), 0);
	assert_int_equal(atomic_load(&env.failed), 2);
	env.env.obj_free(&env, a, 99);
	assert_int_equal(atomic_load(&env.violations), 1);
	env.env.chunk_free(&env, b, 1 << 14);
	assert_int_equal(atomic_load(&env.violations), 1);
	a = env.env.obj_alloc(&env, 8);
	assert_int_equal(test_env_fini(&env), 2); /* the leak */
	free((char *)a - 64);
}

static void freed_tables_are_traps(void **state)
{
	struct test_env env;
	unsigned char *chunk;

	(void)state;
	assert_int_equal(test_env_init(&env, TEST_ENV_QUIET, 14, NULL), TDP_OK);
	env.format = TDP_FMT_EPT;
	chunk = env.env.chunk_alloc(&env, 1 << 14);
	assert_non_null(chunk);
	env.env.table_state(&env, chunk + TEST_PAGE, TEST_PAGE, 1);
	assert_int_equal(atomic_load(&env.tables), 1);
	env.env.table_state(&env, chunk + TEST_PAGE, TEST_PAGE, 1);
	assert_int_equal(atomic_load(&env.violations), 1); /* taken twice */
	env.env.table_state(&env, chunk + TEST_PAGE, TEST_PAGE, 0);
	env.env.table_state(&env, chunk + TEST_PAGE, TEST_PAGE, 0);
	assert_int_equal(atomic_load(&env.violations), 2); /* given twice */
	env.env.table_state(&env, chunk + TEST_PAGE, TEST_PAGE, 1);
	assert_int_equal(atomic_load(&env.violations), 2); /* untouched meanwhile */
	env.env.table_state(&env, chunk + 2 * TEST_PAGE, TEST_PAGE, 1);
	env.env.table_state(&env, chunk + 2 * TEST_PAGE, TEST_PAGE, 0);
	assert_int_equal(atomic_load(&env.violations), 2);
	env.env.chunk_free(&env, chunk, 1 << 14);
	assert_int_equal(atomic_load(&env.violations), 3); /* with a table in use */
	test_env_fini(&env);
}

static void blocks_stay_contiguous(void **state)
{
	struct test_env env;
	struct test_backing b;
	struct test_rand rand;
	uint64_t size = (uint64_t)8 << 21, gpa = ((uint64_t)1 << 30) + (3 << 12), i, k;
	unsigned round;

	(void)state;
	test_rand_init(&rand, test_seed());
	assert_int_equal(test_env_init(&env, TEST_ENV_QUIET, 0, NULL), TDP_OK);
	assert_int_equal(test_backing_init(&b, &env, gpa, size, (uint64_t)1 << 40, TDP_RWX, 21),
			 TDP_OK);
	for (round = 0; round < 300; round++) {
		uint64_t at = test_below(&rand, b.pages), n = 1 + test_below(&rand, 1500);
		struct tdp_range r = {gpa + at * TEST_PAGE, 0};
		tdp_pa_t old = test_backing_pa(&b, r.start);

		n = n < b.pages - at ? n : b.pages - at;
		r.size = n * TEST_PAGE;
		test_backing_drop(&b, r);
		assert_int_not_equal(test_backing_pa(&b, r.start), old);
		for (i = 0; i < b.pages; i += k) {
			uint64_t gfn = (gpa >> 12) + i;

			k = (uint64_t)1 << (b.lg2[i] - 12);
			/* Either the block begins here, or it is the part of one that begins before
			 * gpa. */
			assert_int_equal(gfn & (k - 1), 0);
			assert_int_equal(b.frame[i] & (k - 1), 0);
			assert_int_equal(b.frame[i + k - 1], b.frame[i] + k - 1);
			assert_int_equal(b.lg2[i + k - 1], b.lg2[i]);
		}
		assert_int_equal(i, b.pages);
	}
	test_backing_fini(&b);
	assert_int_equal(test_env_fini(&env), 0);
}

/* A fuzzer's bytes: as many for a choice as its bound takes, and 0 when there are none left. */
static void bytes_can_choose(void **state)
{
	static const unsigned char bytes[] = {7, 200, 1, 2, 3, 1, 2, 3, 4, 5, 6, 7, 8, 9};
	struct test_rand rand;

	(void)state;
	test_rand_init(&rand, test_seed());
	test_rand_feed(&rand, bytes, sizeof(bytes));
	assert_int_equal(test_below(&rand, 10), 7);
	assert_int_equal(test_below(&rand, 1), 0); /* no choice, no byte */
	assert_int_equal(test_below(&rand, 256), 200);
	assert_int_equal(test_below(&rand, 257), 0x0201 % 257);
	assert_false(test_one_in(&rand, 2));
	assert_int_equal(test_rand(&rand), 0x0807060504030201);
	assert_int_equal(rand.left, 1);
	assert_int_equal(test_below(&rand, ~(uint64_t)0), 9);
	assert_int_equal(rand.left, 0);
	assert_int_equal(test_rand(&rand), 0);
	assert_true(test_one_in(&rand, 100));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(rcu_waits_for_readers),
		cmocka_unit_test(rcu_defers_in_order),
		cmocka_unit_test(allocations_fail_as_told),
		cmocka_unit_test(freed_tables_are_traps),
		cmocka_unit_test(blocks_stay_contiguous),
		cmocka_unit_test(bytes_can_choose),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

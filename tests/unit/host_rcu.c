/* SPDX-License-Identifier: BSD-2-Clause */
/* Every liburcu flavour keeps the promises of struct tdp_rcu_ops, alone and beside another one. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include <tdp/posix.h>

/* Long enough for a wrong implementation to be caught, short enough to be paid at each run. */
#define WHILE_US 30000

static const char *const flavours[] = {"memb", "mb", "qsbr", "bp"};

struct item {
	struct tdp_rcu_head head;
	atomic_int *called;
	unsigned order;
	unsigned *next;
	unsigned seen;
};

static void item_called(struct tdp_rcu_head *head)
{
	struct item *item = (struct item *)(void *)((char *)head - offsetof(struct item, head));

	if (item->next)
		item->seen = (*item->next)++;
	atomic_fetch_add_explicit(item->called, 1, memory_order_relaxed);
}

/* A reader thread that stays inside a section until told. */
struct reader {
	const struct tdp_rcu_ops *rcu;
	atomic_int inside, leave;
	pthread_t thread;
};

static void *reader_main(void *arg)
{
	struct reader *r = arg;

	r->rcu->thread_register();
	r->rcu->read_lock();
	r->rcu->read_lock();
	r->rcu->read_unlock(); /* nested: still inside */
	atomic_store(&r->inside, r->rcu->read_ongoing() ? 1 : -1);
	while (!atomic_load(&r->leave))
		usleep(100);
	r->rcu->read_unlock();
	r->rcu->thread_unregister();
	return NULL;
}

static void reader_start(struct reader *r, const struct tdp_rcu_ops *rcu)
{
	r->rcu = rcu;
	atomic_store(&r->inside, 0);
	atomic_store(&r->leave, 0);
	assert_int_equal(pthread_create(&r->thread, NULL, reader_main, r), 0);
	while (!atomic_load(&r->inside))
		usleep(100);
	assert_int_equal(atomic_load(&r->inside), 1);
}

static void reader_stop(struct reader *r)
{
	atomic_store(&r->leave, 1);
	assert_int_equal(pthread_join(r->thread, NULL), 0);
}

static const struct tdp_env *env_of(void **state)
{
	const struct tdp_env *env = tdp_posix_env(*state);

	assert_non_null(env);
	return env;
}

static void test_tables(void **state)
{
	const struct tdp_env *env = env_of(state);
	const struct tdp_rcu_ops *rcu = env->rcu;

	assert_int_equal(env->size, sizeof(*env));
	assert_int_equal(env->flags, 0);
	assert_non_null(env->chunk_alloc);
	assert_non_null(env->obj_alloc);
	assert_int_equal(rcu->size, sizeof(*rcu));
	assert_int_equal(rcu->flags, 0);
	assert_non_null(rcu->read_lock);
	assert_non_null(rcu->read_unlock);
	assert_non_null(rcu->defer);
	assert_non_null(rcu->synchronize);
	assert_non_null(rcu->barrier);
	assert_non_null(rcu->thread_register);
	assert_non_null(rcu->thread_unregister);
	/* Both or none, and QSBR cannot do without. */
	assert_int_equal(!rcu->thread_offline, !rcu->thread_online);
	if (env == tdp_posix_env_qsbr())
		assert_non_null(rcu->thread_offline);
}

static void test_names(void **state)
{
	(void)state;
	assert_ptr_equal(tdp_posix_env("memb"), tdp_posix_env_memb());
	assert_ptr_equal(tdp_posix_env("mb"), tdp_posix_env_mb());
	assert_ptr_equal(tdp_posix_env("qsbr"), tdp_posix_env_qsbr());
	assert_ptr_equal(tdp_posix_env("bp"), tdp_posix_env_bp());
	assert_null(tdp_posix_env("signal"));
	assert_null(tdp_posix_env("mem"));
	assert_null(tdp_posix_env(""));
	assert_null(tdp_posix_env(NULL));
}

static void test_ongoing(void **state)
{
	const struct tdp_rcu_ops *rcu = env_of(state)->rcu;

	rcu->thread_register();
	if (rcu->thread_offline)
		rcu->thread_offline();
	assert_int_equal(rcu->read_ongoing(), 0);
	if (rcu->thread_online)
		rcu->thread_online();
	rcu->read_lock();
	rcu->read_lock();
	assert_int_equal(rcu->read_ongoing(), 1);
	rcu->read_unlock();
	assert_int_equal(rcu->read_ongoing(), 1);
	rcu->read_unlock();
	if (!rcu->thread_offline)
		assert_int_equal(rcu->read_ongoing(), 0);
	rcu->thread_unregister();
}

/* A callback neither comes before a section that ran at defer() has ended, nor is it lost. */
static void test_defer_waits(void **state)
{
	const struct tdp_rcu_ops *rcu = env_of(state)->rcu;
	struct reader reader;
	atomic_int called = 0;
	struct item item = {.called = &called};

	rcu->thread_register();
	reader_start(&reader, rcu);
	rcu->defer(&item.head, item_called);
	usleep(WHILE_US);
	assert_int_equal(atomic_load(&called), 0);
	reader_stop(&reader);
	rcu->barrier();
	assert_int_equal(atomic_load(&called), 1);
	rcu->thread_unregister();
}

/*
 * Plain accesses, ordered by RCU alone: what a reader saw through a pointer is not changed before it
 * has left, neither by a callback nor after synchronize(). ThreadSanitizer sees no race only if the
 * adapter tells it of that order, and would see one if a callback came early.
 */
struct shared {
	const struct tdp_rcu_ops *rcu;
	_Atomic(uint64_t *) published;
	atomic_int stop, wrong;
};

struct garbage {
	struct tdp_rcu_head head;
	uint64_t value;
};

static void garbage_spoil(struct tdp_rcu_head *head)
{
	struct garbage *g =
		(struct garbage *)(void *)((char *)head - offsetof(struct garbage, head));

	g->value = 0xdead;
	free(g);
}

static void *shared_reader(void *arg)
{
	struct shared *s = arg;

	s->rcu->thread_register();
	while (!atomic_load_explicit(&s->stop, memory_order_relaxed)) {
		const uint64_t *p;

		s->rcu->read_lock();
		p = atomic_load_explicit(&s->published, memory_order_acquire);
		if (*p != 1)
			atomic_store(&s->wrong, 1);
		s->rcu->read_unlock();
		if (s->rcu->thread_offline) {
			s->rcu->thread_offline();
			s->rcu->thread_online();
		}
	}
	s->rcu->thread_unregister();
	return NULL;
}

static struct garbage *garbage_new(void)
{
	struct garbage *g = calloc(1, sizeof(*g));

	assert_non_null(g);
	g->value = 1;
	return g;
}

static void test_order(void **state)
{
	struct shared s = {.rcu = env_of(state)->rcu};
	struct garbage *g = garbage_new();
	pthread_t thread[2];

	s.rcu->thread_register();
	atomic_store(&s.published, &g->value);
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, shared_reader, &s), 0);
	for (unsigned i = 0; i < 200; i++) {
		struct garbage *fresh = garbage_new();

		atomic_store_explicit(&s.published, &fresh->value, memory_order_release);
		if (i & 1) {
			s.rcu->defer(&g->head, garbage_spoil);
		} else {
			s.rcu->synchronize();
			g->value = 0xdead;
			free(g);
		}
		g = fresh;
	}
	atomic_store(&s.stop, 1);
	/* An online QSBR thread that only waits would hold up the readers' own grace periods. */
	if (s.rcu->thread_offline)
		s.rcu->thread_offline();
	for (unsigned i = 0; i < 2; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	if (s.rcu->thread_online)
		s.rcu->thread_online();
	assert_int_equal(atomic_load(&s.wrong), 0);
	s.rcu->barrier();
	free(g);
	s.rcu->thread_unregister();
}

struct synchronizer {
	const struct tdp_rcu_ops *rcu;
	atomic_int done;
};

static void *synchronizer_main(void *arg)
{
	struct synchronizer *s = arg;

	s->rcu->thread_register();
	s->rcu->synchronize();
	atomic_store(&s->done, 1);
	s->rcu->thread_unregister();
	return NULL;
}

static void test_synchronize_waits(void **state)
{
	const struct tdp_rcu_ops *rcu = env_of(state)->rcu;
	struct synchronizer s = {.rcu = rcu};
	struct reader reader;
	pthread_t thread;

	reader_start(&reader, rcu);
	assert_int_equal(pthread_create(&thread, NULL, synchronizer_main, &s), 0);
	usleep(WHILE_US);
	assert_int_equal(atomic_load(&s.done), 0);
	reader_stop(&reader);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&s.done), 1);
}

/* barrier() waits for all that this thread deferred; the callbacks come in order. */
static void test_barrier(void **state)
{
	enum { COUNT = 1000 };
	const struct tdp_rcu_ops *rcu = env_of(state)->rcu;
	struct item *items = calloc(COUNT, sizeof(*items));
	atomic_int called = 0;
	unsigned next = 0;

	assert_non_null(items);
	rcu->thread_register();
	for (unsigned i = 0; i < COUNT; i++) {
		items[i].called = &called;
		items[i].next = &next;
		rcu->defer(&items[i].head, item_called);
	}
	rcu->barrier();
	assert_int_equal(atomic_load(&called), COUNT);
	for (unsigned i = 0; i < COUNT; i++)
		assert_int_equal(items[i].seen, i);
	rcu->thread_unregister();
	free(items);
}

/* QSBR: an offline thread holds nobody up, an online one that says nothing does. */
static void test_offline(void **state)
{
	const struct tdp_rcu_ops *rcu = env_of(state)->rcu;
	struct synchronizer s = {.rcu = rcu};
	pthread_t thread;

	rcu->thread_register();
	assert_int_equal(pthread_create(&thread, NULL, synchronizer_main, &s), 0);
	usleep(WHILE_US);
	assert_int_equal(atomic_load(&s.done), 0);
	rcu->thread_offline();
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(atomic_load(&s.done), 1);
	rcu->thread_online();
	rcu->thread_unregister();
}

/* A reader of one flavour is none of another: grace periods do not mix. */
static void test_two_flavours(void **state)
{
	const struct tdp_rcu_ops *mine = env_of(state)->rcu;

	for (size_t i = 0; i < sizeof(flavours) / sizeof(flavours[0]); i++) {
		const struct tdp_rcu_ops *other = tdp_posix_env(flavours[i])->rcu;
		atomic_int called = 0, other_called = 0;
		struct item item = {.called = &called}, other_item = {.called = &other_called};
		struct reader reader;

		if (other == mine)
			continue;
		mine->thread_register();
		other->thread_register();
		reader_start(&reader, mine);
		mine->defer(&item.head, item_called);
		other->defer(&other_item.head, item_called);
		other->synchronize();
		other->barrier();
		assert_int_equal(atomic_load(&other_called), 1);
		assert_int_equal(atomic_load(&called), 0);
		reader_stop(&reader);
		mine->barrier();
		assert_int_equal(atomic_load(&called), 1);
		other->thread_unregister();
		mine->thread_unregister();
	}
}

#define PER_FLAVOUR(test, name)                                                                    \
	{                                                                                          \
#test "(" name ")", test, NULL, NULL, (void *)(uintptr_t)name                      \
	}
#define ALL_FLAVOURS(test)                                                                         \
	PER_FLAVOUR(test, "memb"), PER_FLAVOUR(test, "mb"), PER_FLAVOUR(test, "qsbr"),             \
		PER_FLAVOUR(test, "bp")

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_names),
		ALL_FLAVOURS(test_tables),
		ALL_FLAVOURS(test_ongoing),
		ALL_FLAVOURS(test_defer_waits),
		ALL_FLAVOURS(test_synchronize_waits),
		ALL_FLAVOURS(test_barrier),
		ALL_FLAVOURS(test_order),
		PER_FLAVOUR(test_offline, "qsbr"),
		ALL_FLAVOURS(test_two_flavours),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

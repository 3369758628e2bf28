/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reference RCU for tests: the textbook scheme of a counter per reader, in C11 atomics that
 * ThreadSanitizer models. A reader publishes the grace-period number that it started in; a grace
 * period ends when no reader shows an older one. Edges: unlock (release) to the scan (acquire),
 * defer (release) to the run of the callback (acquire). There are no others, so a race that RCU
 * does not order is seen.
 */
#include "support.h"

#include <sched.h>
#include <stdlib.h>

#if defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#endif
#ifndef UNDER_TSAN
#define UNDER_TSAN 0
#endif

struct reader {
	_Atomic uint64_t since; /* 0: not in a section, else the number of the grace period */
	struct reader *next;
	unsigned nest;
	unsigned registered; /* how often: a test may own several machines */
};

static _Thread_local struct reader self;
static pthread_mutex_t registry_lock = PTHREAD_MUTEX_INITIALIZER;
static struct reader *registry;
static pthread_mutex_t gp_lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic uint64_t gp_number = 1;
static _Atomic(struct tdp_rcu_head *) deferred;
static _Atomic uint64_t pending;
static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;

static void broken(const char *what)
{
	fprintf(stderr, "test_rcu: %s\n", what);
	abort();
}

/*
 * Orders the store of `since` before the loads of the section, and the number of a grace period
 * before the scan. ThreadSanitizer does not model fences; the exchanges are full barriers where it
 * runs.
 */
static void full_fence(void)
{
#if !UNDER_TSAN
	atomic_thread_fence(memory_order_seq_cst);
#endif
}

static void ref_read_lock(void)
{
	if (!self.registered)
		broken("read_lock on a thread that is not registered");
	if (self.nest++)
		return;
	atomic_exchange(&self.since, atomic_load_explicit(&gp_number, memory_order_relaxed));
	full_fence();
}

static void ref_read_unlock(void)
{
	if (!self.nest)
		broken("read_unlock without read_lock");
	if (--self.nest == 0)
		atomic_store_explicit(&self.since, 0, memory_order_release);
}

static int ref_read_ongoing(void)
{
	return self.nest != 0;
}

static void ref_defer(struct tdp_rcu_head *head, void (*fn)(struct tdp_rcu_head *head))
{
	struct tdp_rcu_head *first = atomic_load_explicit(&deferred, memory_order_relaxed);

	head->fn = fn;
	/* Release only: two threads that defer are not ordered by it. */
	do
		head->opaque[0] = first;
	while (!atomic_compare_exchange_weak_explicit(&deferred, &first, head, memory_order_release,
						      memory_order_relaxed));
	atomic_fetch_add_explicit(&pending, 1, memory_order_relaxed);
}

static void grace_period(void)
{
	uint64_t number, since;
	struct reader *r;

	if (self.nest)
		broken("waiting for a grace period inside a section");
	pthread_mutex_lock(&gp_lock);
	number = atomic_fetch_add(&gp_number, 1) + 1;
	full_fence();
	pthread_mutex_lock(&registry_lock);
	for (r = registry; r; r = r->next) {
		for (;;) {
			since = atomic_load(&r->since);
			if (!since || since >= number)
				break;
			sched_yield();
		}
	}
	pthread_mutex_unlock(&registry_lock);
	pthread_mutex_unlock(&gp_lock);
}

uint64_t test_rcu_run(void)
{
	struct tdp_rcu_head *head, *next, *ordered = NULL;
	uint64_t ran = 0;

	/* Held while callbacks run, so that barrier() also waits for those that another thread
	 * runs. */
	pthread_mutex_lock(&run_lock);
	head = atomic_exchange_explicit(&deferred, NULL, memory_order_acquire);
	for (; head; head = next) {
		next = head->opaque[0];
		head->opaque[0] = ordered;
		ordered = head;
	}
	grace_period();
	for (head = ordered; head; head = next) {
		next = head->opaque[0];
		head->fn(head);
		atomic_fetch_sub_explicit(&pending, 1, memory_order_relaxed);
		ran++;
	}
	pthread_mutex_unlock(&run_lock);
	return ran;
}

static void ref_synchronize(void)
{
	grace_period();
}

static void ref_barrier(void)
{
	test_rcu_run();
}

static void ref_register(void)
{
	if (self.registered++)
		return;
	pthread_mutex_lock(&registry_lock);
	self.next = registry;
	registry = &self;
	pthread_mutex_unlock(&registry_lock);
}

static void ref_unregister(void)
{
	struct reader **link;

	if (!self.registered || self.nest)
		broken("thread unregistered in a section or once too often");
	if (--self.registered)
		return;
	pthread_mutex_lock(&registry_lock);
	for (link = &registry; *link != &self; link = &(*link)->next)
		;
	*link = self.next;
	pthread_mutex_unlock(&registry_lock);
}

uint64_t test_rcu_pending(void)
{
	return atomic_load_explicit(&pending, memory_order_relaxed);
}

bool test_rcu_in_section(void)
{
	return self.nest != 0;
}

const struct tdp_rcu_ops test_rcu = {
	.size = sizeof(test_rcu),
	.read_lock = ref_read_lock,
	.read_unlock = ref_read_unlock,
	.read_ongoing = ref_read_ongoing,
	.defer = ref_defer,
	.synchronize = ref_synchronize,
	.barrier = ref_barrier,
	.thread_register = ref_register,
	.thread_unregister = ref_unregister,
};

/* SPDX-License-Identifier: BSD-2-Clause */
/* fork() between the environment's hooks: parent and child both go on with RCU and memory. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <tdp/posix.h>

struct item {
	struct tdp_rcu_head head;
	atomic_int called;
};

static void item_called(struct tdp_rcu_head *head)
{
	struct item *item = (struct item *)(void *)((char *)head - offsetof(struct item, head));

	atomic_fetch_add_explicit(&item->called, 1, memory_order_relaxed);
}

/* Uses everything that a library call could need. 0 when it works. */
static int use(const struct tdp_env *env)
{
	struct item item = {.called = 0};
	void *chunk = env->chunk_alloc(env->priv, 2u << 20);
	void *obj = env->obj_alloc(env->priv, 1000);

	if (!chunk || !obj)
		return 2;
	memset(chunk, 0xa5, 2u << 20);
	env->rcu->read_lock();
	env->rcu->read_unlock();
	env->rcu->synchronize();
	env->rcu->defer(&item.head, item_called);
	env->rcu->barrier();
	env->obj_free(env->priv, obj, 1000);
	env->chunk_free(env->priv, chunk, 2u << 20);
	return atomic_load(&item.called) == 1 ? 0 : 3;
}

static void check_child(pid_t pid)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_fork(void **state)
{
	const struct tdp_env *env = tdp_posix_env(*state);
	pid_t pid;

	assert_non_null(env);
	env->rcu->thread_register();
	/* The callback worker exists before the fork, and is what must survive it. */
	assert_int_equal(use(env), 0);
	for (unsigned i = 0; i < 3; i++) {
		env->rcu->before_fork();
		pid = fork();
		if (!pid) {
			int failed;

			alarm(20);
			env->rcu->after_fork_child();
			failed = use(env);
			env->rcu->thread_unregister();
			_exit(failed);
		}
		env->rcu->after_fork_parent();
		assert_true(pid > 0);
		assert_int_equal(use(env), 0);
		check_child(pid);
	}
	env->rcu->thread_unregister();
}

/* What was deferred and had not run at the fork is run in both processes. */
static void test_pending(void **state)
{
	const struct tdp_env *env = tdp_posix_env(*state);
	struct item item = {.called = 0};
	pid_t pid;

	assert_non_null(env);
	env->rcu->thread_register();
	assert_int_equal(use(env), 0);
	env->rcu->before_fork();
	env->rcu->defer(&item.head, item_called);
	pid = fork();
	if (!pid) {
		alarm(20);
		env->rcu->after_fork_child();
		env->rcu->barrier();
		_exit(atomic_load(&item.called) != 1);
	}
	env->rcu->after_fork_parent();
	assert_true(pid > 0);
	env->rcu->barrier();
	assert_int_equal(atomic_load(&item.called), 1);
	check_child(pid);
	env->rcu->thread_unregister();
}

#define PER_FLAVOUR(test, name)                                                                    \
	{                                                                                          \
#test "(" name ")", test, NULL, NULL, (void *)(uintptr_t)name                      \
	}
#define ALL_FLAVOURS(test)                                                                         \
	PER_FLAVOUR(test, "memb"), PER_FLAVOUR(test, "mb"), PER_FLAVOUR(test, "qsbr"),             \
		PER_FLAVOUR(test, "bp")

#if defined(__SANITIZE_THREAD__)
#define TEST_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define TEST_TSAN 1
#endif
#endif
#ifndef TEST_TSAN
#define TEST_TSAN 0
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		ALL_FLAVOURS(test_fork),
		ALL_FLAVOURS(test_pending),
	};

	if (TEST_TSAN) {
		print_message("skipped: ThreadSanitizer has no threads after fork()\n");
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* The environment's wait, wake, relax and log hooks. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include <tdp/posix.h>

enum { WAITERS = 4 };

static uint32_t word;
static atomic_int awake;

static uint32_t word_load(void)
{
	return __atomic_load_n(&word, __ATOMIC_ACQUIRE);
}

static void *waiter(void *arg)
{
	const struct tdp_env *env = arg;

	while (!word_load())
		env->wait(env->priv, &word, 0);
	atomic_fetch_add(&awake, 1);
	return NULL;
}

/* One wake wakes all; a waiter that comes too late does not sleep. */
static void test_wait(void **state)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	pthread_t thread[WAITERS];

	(void)state;
	alarm(60);
	for (unsigned round = 0; round < 50; round++) {
		word = 0;
		atomic_store(&awake, 0);
		for (unsigned i = 0; i < WAITERS; i++)
			assert_int_equal(
				pthread_create(&thread[i], NULL, waiter, (void *)(uintptr_t)env),
				0);
		/* Some rounds find them asleep, some on their way. */
		if (round & 1)
			usleep(2000);
		assert_int_equal(atomic_load(&awake), 0);
		__atomic_store_n(&word, 1, __ATOMIC_RELEASE);
		env->wake(env->priv, &word);
		for (unsigned i = 0; i < WAITERS; i++)
			assert_int_equal(pthread_join(thread[i], NULL), 0);
		assert_int_equal(atomic_load(&awake), WAITERS);
	}
	env->wait(env->priv, &word, 0); /* the value differs: no sleep */
	env->wake(env->priv, &word);    /* nobody there */
	env->relax(env->priv);
	alarm(0);
}

struct seen {
	unsigned count;
	int level;
	char msg[64];
};

static void see(void *priv, int level, const char *msg)
{
	struct seen *seen = priv;

	seen->count++;
	seen->level = level;
	strncpy(seen->msg, msg, sizeof(seen->msg) - 1);
}

static void test_log(void **state)
{
	const struct tdp_env *env = tdp_posix_env_bp();
	struct seen seen = {.count = 0};

	(void)state;
	tdp_posix_set_log(see, &seen);
	env->log(env->priv, TDP_LOG_WARN, "one line");
	assert_int_equal(seen.count, 1);
	assert_int_equal(seen.level, TDP_LOG_WARN);
	assert_string_equal(seen.msg, "one line");
	tdp_posix_env_mb()->log(NULL, TDP_LOG_BUG, "another");
	assert_int_equal(seen.count, 2);
	tdp_posix_set_log(NULL, NULL);
	env->log(env->priv, TDP_LOG_BUG, "unseen");
	assert_int_equal(seen.count, 2);
}

/* Without a sink of one's own: "libtdp: LEVEL: text" on standard error, and unknown levels do not crash. */
static void test_log_default(void **state)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	char text[128] = "";
	int fds[2], saved;
	ssize_t n;

	(void)state;
	assert_int_equal(pipe(fds), 0);
	saved = dup(2);
	assert_true(saved >= 0 && dup2(fds[1], 2) == 2);
	env->log(env->priv, TDP_LOG_BUG, "broken");
	env->log(env->priv, TDP_LOG_INFO, "fine");
	env->log(env->priv, 99, "odd");
	assert_int_equal(dup2(saved, 2), 2);
	n = read(fds[0], text, sizeof(text) - 1);
	assert_true(n > 0);
	assert_string_equal(text, "libtdp: bug: broken\nlibtdp: info: fine\nlibtdp: ?: odd\n");
	close(saved);
	close(fds[0]);
	close(fds[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_wait),
		cmocka_unit_test(test_log_default),
		cmocka_unit_test(test_log),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

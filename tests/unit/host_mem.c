/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks are aligned to their size, objects are zeroed and aligned, and both are counted exactly. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <tdp/posix.h>

#if defined(__SANITIZE_ADDRESS__)
#define TEST_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define TEST_ASAN 1
#endif
#endif
#ifndef TEST_ASAN
#define TEST_ASAN 0
#endif
#if TEST_ASAN
#include <sanitizer/asan_interface.h>
#endif

static void test_chunks(void **state)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	const uint64_t before = tdp_posix_chunk_bytes();
	uint64_t held = 0;
	char *chunk[16];

	(void)state;
	for (unsigned lg2 = 13; lg2 <= 24; lg2++) {
		const uint64_t size = (uint64_t)1 << lg2;

		for (unsigned i = 0; i < 16; i++) {
			chunk[i] = env->chunk_alloc(env->priv, size);
			assert_non_null(chunk[i]);
			assert_int_equal((uintptr_t)chunk[i] & (size - 1), 0);
			/* All of it is writable and nobody else's. */
			memset(chunk[i], (int)i, size);
			held += size;
			assert_int_equal(tdp_posix_chunk_bytes() - before, held);
		}
		for (unsigned i = 0; i < 16; i++) {
			assert_int_equal(chunk[i][0], i);
			assert_int_equal(chunk[i][size - 1], i);
			env->chunk_free(env->priv, chunk[i], size);
			held -= size;
			assert_int_equal(tdp_posix_chunk_bytes() - before, held);
		}
	}
	assert_int_equal(tdp_posix_chunk_bytes(), before);
}

static void test_chunk_refusals(void **state)
{
	const struct tdp_env *env = tdp_posix_env_memb();
	const uint64_t before = tdp_posix_chunk_bytes();

	(void)state;
	assert_null(env->chunk_alloc(env->priv, 0));
	assert_null(env->chunk_alloc(env->priv, 12288));
	assert_null(env->chunk_alloc(env->priv, (uint64_t)1 << 63));
	assert_null(env->chunk_alloc(env->priv, (uint64_t)1 << 62));
	env->chunk_free(env->priv, NULL, 4096);
	assert_int_equal(tdp_posix_chunk_bytes(), before);
}

static void test_objects(void **state)
{
	const struct tdp_env *env = tdp_posix_env_qsbr();
	const uint64_t before = tdp_posix_object_bytes();
	const uint64_t chunks = tdp_posix_chunk_bytes();

	(void)state;
	/* The second round gets memory back that the first one soiled. */
	for (unsigned round = 0; round < 2; round++) {
		for (uint64_t size = 1; size < 300000; size = size * 3 + 1) {
			unsigned char *obj = env->obj_alloc(env->priv, size);

			assert_non_null(obj);
			assert_int_equal((uintptr_t)obj & 63, 0);
			for (uint64_t i = 0; i < size; i++)
				assert_int_equal(obj[i], 0);
			memset(obj, 0xff, size);
			assert_int_equal(tdp_posix_object_bytes() - before, size);
			env->obj_free(env->priv, obj, size);
		}
	}
	assert_null(env->obj_alloc(env->priv, 0));
	assert_null(env->obj_alloc(env->priv, ~(uint64_t)0));
	assert_null(env->obj_alloc(env->priv, (uint64_t)1 << 62));
	env->obj_free(env->priv, NULL, 1);
	assert_int_equal(tdp_posix_object_bytes(), before);
	assert_int_equal(tdp_posix_chunk_bytes(), chunks);
}

static void *churn(void *arg)
{
	const struct tdp_env *env = arg;

	for (unsigned i = 0; i < 300; i++) {
		char *chunk = env->chunk_alloc(env->priv, 1u << 16);
		char *obj = env->obj_alloc(env->priv, 256);

		if (!chunk || !obj)
			return arg;
		chunk[i] = obj[i & 255] = 1;
		env->obj_free(env->priv, obj, 256);
		env->chunk_free(env->priv, chunk, 1u << 16);
	}
	return NULL;
}

static void test_threads(void **state)
{
	const uint64_t chunks = tdp_posix_chunk_bytes(), objects = tdp_posix_object_bytes();
	pthread_t thread[4];
	void *failed;

	(void)state;
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&thread[i], NULL, churn,
						(void *)(uintptr_t)tdp_posix_env_mb()),
				 0);
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(pthread_join(thread[i], &failed), 0);
		assert_null(failed);
	}
	assert_int_equal(tdp_posix_chunk_bytes(), chunks);
	assert_int_equal(tdp_posix_object_bytes(), objects);
}

/* Under ASan a table in the pool is poison, one in use is not, and a freed chunk carries none. */
static void test_poison(void **state)
{
#if TEST_ASAN
	const struct tdp_env *env = tdp_posix_env_memb();
	char *chunk = env->chunk_alloc(env->priv, 1u << 16);

	(void)state;
	assert_non_null(chunk);
	assert_non_null(env->table_state);
	env->table_state(env->priv, chunk + 4096, 4096, 0);
	assert_false(__asan_address_is_poisoned(chunk + 4095));
	assert_true(__asan_address_is_poisoned(chunk + 4096));
	assert_true(__asan_address_is_poisoned(chunk + 8191));
	assert_false(__asan_address_is_poisoned(chunk + 8192));
	env->table_state(env->priv, chunk + 4096, 4096, 1);
	assert_false(__asan_address_is_poisoned(chunk + 4096));
	env->table_state(env->priv, chunk + 8192, 4096, 0);
	env->chunk_free(env->priv, chunk, 1u << 16);
	assert_null(__asan_region_is_poisoned(chunk, 1u << 16));
#else
	(void)state;
	assert_null(tdp_posix_env_memb()->table_state);
	print_message("skipped: no AddressSanitizer in this build\n");
	skip();
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_chunks),  cmocka_unit_test(test_chunk_refusals),
		cmocka_unit_test(test_objects), cmocka_unit_test(test_threads),
		cmocka_unit_test(test_poison),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The instrumented host: counts and fails allocations, keeps a census of table pages, and turns
 * each freed one into a trap (entries that look valid and lead to a canary; forbidden to the
 * walker).
 */
#include "support.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__)
#define UNDER_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define UNDER_ASAN 1
#endif
#endif
#ifndef UNDER_ASAN
#define UNDER_ASAN 0
#endif
#if UNDER_ASAN
#include <sanitizer/asan_interface.h>
#define HIDE(p, n) ASAN_POISON_MEMORY_REGION((p), (n))
#define SHOW(p, n) ASAN_UNPOISON_MEMORY_REGION((p), (n))
#else
#define HIDE(p, n) ((void)(p), (void)(n))
#define SHOW(p, n) ((void)(p), (void)(n))
#endif

/* PAGE_GONE besides: what was there is lost. */
enum page_state { PAGE_NEW = 0, PAGE_IN_USE = 1, PAGE_FREED = 2, PAGE_GONE = 4 };

struct test_chunk {
	struct test_chunk *next;
	unsigned char *base;
	uint64_t size;
	uint32_t node;
	unsigned char state[];
};

#define HOOK_BIT ((uint64_t)1 << 46)

void test_violation(struct test_env *env, const char *fmt, ...)
{
	va_list ap;

	/* The first ones tell the story; a loop that goes wrong must not fill the disk. */
	if (atomic_fetch_add(&env->violations, 1) >= 20 || (env->flags & TEST_ENV_QUIET))
		return;
	fputs("violation: ", stderr);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
}

static uint64_t env_pa(const struct test_env *env, const void *va)
{
	uint64_t pa = (uint64_t)(uintptr_t)va;

	return env->flags & TEST_ENV_HOOKS ? pa ^ HOOK_BIT : pa;
}

void *test_env_mem(void *arg, tdp_pa_t pa)
{
	const struct test_env *env = arg;

	return (void *)(uintptr_t)(env->flags & TEST_ENV_HOOKS ? pa ^ HOOK_BIT : pa);
}

static tdp_pa_t hook_virt_to_phys(void *priv, const void *va)
{
	return env_pa(priv, va);
}

static void *hook_phys_to_virt(void *priv, tdp_pa_t pa)
{
	return test_env_mem(priv, pa);
}

/* ---- allocation ------------------------------------------------------------------------------ */

static bool refuse(struct test_env *env)
{
	int64_t n = atomic_load(&env->fail_after);

	/* 1 stays 1: memory that has run out stays so until the test says otherwise. */
	while (n > 1)
		if (atomic_compare_exchange_weak(&env->fail_after, &n, n - 1))
			return false;
	if (n == 1)
		atomic_fetch_add(&env->failed, 1);
	return n == 1;
}

static size_t bucket_of(const struct test_env *env, const void *base, size_t buckets)
{
	uint64_t key = (uint64_t)(uintptr_t)base >> env->env.chunk_lg2;

	return (size_t)((key * 0x9e3779b97f4a7c15u) >> 20) & (buckets - 1);
}

static void chunks_grow(struct test_env *env)
{
	size_t i, buckets = env->chunk_buckets ? 2 * env->chunk_buckets : 64;
	struct test_chunk **table = calloc(buckets, sizeof(*table)), *c, *next;

	if (!table)
		abort();
	for (i = 0; i < env->chunk_buckets; i++) {
		for (c = env->chunks[i]; c; c = next) {
			size_t at = bucket_of(env, c->base, buckets);

			next = c->next;
			c->next = table[at];
			table[at] = c;
		}
	}
	free(env->chunks);
	env->chunks = table;
	env->chunk_buckets = buckets;
}

static struct test_chunk **chunk_find(struct test_env *env, const void *va)
{
	uint64_t mask = ((uint64_t)1 << env->env.chunk_lg2) - 1;
	const void *base = (const void *)((uintptr_t)va & ~(uintptr_t)mask);
	struct test_chunk **link;

	if (!env->chunk_buckets)
		return NULL;
	link = &env->chunks[bucket_of(env, base, env->chunk_buckets)];
	while (*link && (*link)->base != base)
		link = &(*link)->next;
	return *link ? link : NULL;
}

static void *chunk_make(struct test_env *env, uint64_t size, uint32_t node)
{
	struct test_chunk *c;
	size_t at;

	if (size != (uint64_t)1 << env->env.chunk_lg2) {
		test_violation(env, "chunk_alloc of %llu bytes", (unsigned long long)size);
		return NULL;
	}
	if (refuse(env))
		return NULL;
	c = calloc(1, sizeof(*c) + (size_t)(size / TEST_PAGE));
	if (!c)
		return NULL;
	c->size = size;
	c->node = node;
	c->base = aligned_alloc((size_t)size, (size_t)size);
	if (!c->base) {
		free(c);
		return NULL;
	}
	memset(c->base, 0xa5, (size_t)size); /* contents need not be zero: so they never are */
	pthread_mutex_lock(&env->lock);
	if (env->chunk_count++ >= env->chunk_buckets)
		chunks_grow(env);
	at = bucket_of(env, c->base, env->chunk_buckets);
	c->next = env->chunks[at];
	env->chunks[at] = c;
	pthread_mutex_unlock(&env->lock);
	atomic_fetch_add(&env->chunk_allocs, 1);
	atomic_fetch_add(&env->chunk_bytes, size);
	return c->base;
}

static void *hook_chunk_alloc(void *priv, uint64_t size)
{
	return chunk_make(priv, size, TDP_NODE_ANY);
}

static _Thread_local uint32_t node_here = TDP_NODE_ANY;

void test_env_set_node(uint32_t node)
{
	node_here = node;
}

static uint32_t hook_node(void *priv)
{
	struct test_env *env = priv;

	atomic_fetch_add(&env->node_asked, 1);
	return node_here;
}

static void *hook_chunk_alloc_on(void *priv, uint64_t size, uint32_t node)
{
	struct test_env *env = priv;
	void *chunk = NULL;

	if (node >= TEST_NODES) {
		test_violation(env, "a chunk on node %u", node);
		return NULL;
	}
	if (atomic_fetch_sub(&env->node_room[node], 1) > 0)
		chunk = chunk_make(env, size, node);
	if (chunk)
		atomic_fetch_add(&env->node_chunks[node], 1);
	else
		atomic_fetch_add(&env->node_room[node], 1);
	return chunk;
}

uint32_t test_env_node_of(struct test_env *env, const void *va)
{
	struct test_chunk **link;
	uint32_t node;

	pthread_mutex_lock(&env->lock);
	link = chunk_find(env, va);
	node = link ? (*link)->node : TDP_NODE_ANY;
	pthread_mutex_unlock(&env->lock);
	return node;
}

/* What was there is lost, and seen to be. */
static void page_lose(struct test_env *env, unsigned char *page, unsigned char *state)
{
	if (*state == PAGE_IN_USE)
		test_violation(env, "table page %p in use is said to be unused", (void *)page);
	SHOW(page, TEST_PAGE);
	memset(page, 0xe7, TEST_PAGE);
	if (*state & PAGE_FREED)
		HIDE(page, TEST_PAGE);
	*state |= PAGE_GONE;
}

static void hook_chunk_unused(void *priv, void *chunk, uint64_t size, uint64_t from, uint64_t end)
{
	struct test_env *env = priv;
	struct test_chunk **link;

	pthread_mutex_lock(&env->lock);
	link = chunk_find(env, chunk);
	if (!link || (*link)->base != chunk || (*link)->size != size || from >= end || end > size ||
	    (from | end) % TEST_PAGE) {
		test_violation(env, "chunk_unused(%p): no part of a chunk", chunk);
	} else {
		for (uint64_t at = from; at < end; at += TEST_PAGE)
			page_lose(env, (*link)->base + at, &(*link)->state[at / TEST_PAGE]);
		atomic_fetch_add(&env->unused_pages, (end - from) / TEST_PAGE);
	}
	pthread_mutex_unlock(&env->lock);
}

uint64_t test_env_backed(struct test_env *env)
{
	uint64_t pages = 0;

	pthread_mutex_lock(&env->lock);
	for (size_t i = 0; i < env->chunk_buckets; i++)
		for (const struct test_chunk *c = env->chunks[i]; c; c = c->next)
			for (uint64_t page = 0; page < c->size / TEST_PAGE; page++)
				pages += !(c->state[page] & PAGE_GONE);
	pthread_mutex_unlock(&env->lock);
	return pages;
}

static void hook_chunk_free(void *priv, void *chunk, uint64_t size)
{
	struct test_env *env = priv;
	struct test_chunk **link, *c;
	uint64_t i;

	pthread_mutex_lock(&env->lock);
	link = chunk_find(env, chunk);
	c = link ? *link : NULL;
	if (c && c->base == chunk) {
		*link = c->next;
		env->chunk_count--;
	} else {
		c = NULL;
	}
	pthread_mutex_unlock(&env->lock);
	if (!c || c->size != size) {
		test_violation(env, "chunk_free(%p, %llu): no such chunk", chunk,
			       (unsigned long long)size);
		return;
	}
	for (i = 0; i < size / TEST_PAGE; i++) {
		if (c->state[i] == PAGE_IN_USE)
			test_violation(env, "chunk freed with table page %p in use",
				       (void *)(c->base + i * TEST_PAGE));
		if (c->state[i] & PAGE_FREED && env->emu)
			tdp_emu_allow(env->emu, env_pa(env, c->base + i * TEST_PAGE), TEST_PAGE);
	}
	if (c->node < TEST_NODES) {
		atomic_fetch_add(&env->node_room[c->node], 1);
		atomic_fetch_sub(&env->node_chunks[c->node], 1);
	}
	SHOW(c->base, (size_t)size);
	memset(c->base, 0xdb, (size_t)size);
	free(c->base);
	free(c);
	atomic_fetch_add(&env->chunk_frees, 1);
	atomic_fetch_sub(&env->chunk_bytes, size);
}

/* Objects carry their size in front, so that a free with another one is noticed. */
#define OBJ_HEAD 64u

static void *hook_obj_alloc(void *priv, uint64_t size)
{
	struct test_env *env = priv;
	uint64_t room = (size + OBJ_HEAD + 63) & ~(uint64_t)63;
	unsigned char *obj;

	if (refuse(env))
		return NULL;
	if (env->on_alloc)
		env->on_alloc(env->on_alloc_arg);
	obj = aligned_alloc(64, (size_t)room);
	if (!obj)
		return NULL;
	memset(obj, 0, (size_t)room);
	memcpy(obj, &size, sizeof(size));
	atomic_fetch_add(&env->obj_allocs, 1);
	atomic_fetch_add(&env->obj_bytes, size);
	return obj + OBJ_HEAD;
}

static void hook_obj_free(void *priv, void *obj, uint64_t size)
{
	struct test_env *env = priv;
	uint64_t was;

	if (!obj)
		return;
	memcpy(&was, (unsigned char *)obj - OBJ_HEAD, sizeof(was));
	if (was != size)
		test_violation(env, "obj_free of %llu bytes, allocated %llu",
			       (unsigned long long)size, (unsigned long long)was);
	memset(obj, 0xdb, (size_t)was);
	free((unsigned char *)obj - OBJ_HEAD);
	atomic_fetch_add(&env->obj_frees, 1);
	atomic_fetch_sub(&env->obj_bytes, was);
}

/* ---- the census ------------------------------------------------------------------------------ */

/* A leaf (at level 0) or table that the hardware would take, leading to the canary. */
static uint64_t trap_entry(const struct test_env *env)
{
	uint64_t pa = env_pa(env, env->canary), e;

	switch (env->format) {
	case TDP_FMT_EPT: /* RWX, write back, accessed and dirty */ return pa | 0x337;
	case TDP_FMT_NPT: /* P, W, U, A, D */ return pa | 0x67;
	case TDP_FMT_S2_4K: /* valid page, Normal WB, RW, inner shareable, AF */ return pa | 0x7ff;
	case TDP_FMT_TEST: /* leaf, W, X, D, A of level 0 (rotated by 3) */
		e = (pa >> 12) << 20 | 0x7a;
		return (e << 3) | (e >> 61);
	default: return ~(uint64_t)0;
	}
}

static void page_take(struct test_env *env, struct test_chunk *c, unsigned char *page,
		      unsigned char *state)
{
	uint64_t trap = trap_entry(env);
	size_t i;

	(void)c;
	if (*state == PAGE_IN_USE)
		test_violation(env, "table page %p taken twice", (void *)page);
	SHOW(page, TEST_PAGE);
	if (*state & PAGE_FREED) {
		for (i = *state & PAGE_GONE ? TEST_PAGE : 0; i < TEST_PAGE; i += sizeof(trap)) {
			if (memcmp(page + i, &trap, sizeof(trap)) != 0) {
				test_violation(env, "freed table page %p was written at %zu",
					       (void *)page, i);
				break;
			}
		}
		if (env->emu)
			tdp_emu_allow(env->emu, env_pa(env, page), TEST_PAGE);
	}
	*state = PAGE_IN_USE;
}

static void page_give(struct test_env *env, unsigned char *page, unsigned char *state)
{
	uint64_t trap = trap_entry(env);
	size_t i;

	if (*state != PAGE_IN_USE)
		test_violation(env, "table page %p freed but not in use", (void *)page);
	SHOW(page, TEST_PAGE);
	for (i = 0; i < TEST_PAGE; i += sizeof(trap))
		memcpy(page + i, &trap, sizeof(trap));
	HIDE(page, TEST_PAGE);
	if (env->emu)
		tdp_emu_forbid(env->emu, env_pa(env, page), TEST_PAGE);
	*state = PAGE_FREED;
}

static void hook_table_state(void *priv, void *va, uint64_t size, int in_use)
{
	struct test_env *env = priv;
	struct test_chunk **link, *c;
	uint64_t at, i;

	pthread_mutex_lock(&env->lock);
	link = chunk_find(env, va);
	c = link ? *link : NULL;
	pthread_mutex_unlock(&env->lock);
	if (!c || !size || size % TEST_PAGE || (uintptr_t)va % TEST_PAGE) {
		test_violation(env, "table_state(%p, %llu): no table", va,
			       (unsigned long long)size);
		return;
	}
	at = (uint64_t)((unsigned char *)va - c->base) / TEST_PAGE;
	if (at + size / TEST_PAGE > c->size / TEST_PAGE) {
		test_violation(env, "table_state(%p): beyond its chunk", va);
		return;
	}
	for (i = 0; i < size / TEST_PAGE; i++) {
		unsigned char *page = c->base + (at + i) * TEST_PAGE;

		if (in_use)
			page_take(env, c, page, &c->state[at + i]);
		else
			page_give(env, page, &c->state[at + i]);
	}
	if (in_use) {
		atomic_fetch_add(&env->tables, 1);
		atomic_fetch_add(&env->tables_total, 1);
		atomic_fetch_add(&env->table_pages, size / TEST_PAGE);
		if (env->on_alloc)
			env->on_alloc(env->on_alloc_arg);
	} else {
		atomic_fetch_sub(&env->tables, 1);
		atomic_fetch_sub(&env->table_pages, size / TEST_PAGE);
	}
}

/* ---- the other hooks ------------------------------------------------------------------------- */

static int hook_should_yield(void *priv)
{
	struct test_env *env = priv;
	uint64_t asked = atomic_fetch_add(&env->yield_asked, 1) + 1;
	uint64_t n = atomic_load(&env->yield_n);

	switch (atomic_load(&env->yield_mode)) {
	case TEST_YIELD_ALWAYS: return 1;
	case TEST_YIELD_NTH: return n && asked % n == 0;
	default: return 0;
	}
}

static void hook_yield(void *priv)
{
	struct test_env *env = priv;

	atomic_fetch_add(&env->yields, 1);
	if (env->env.rcu->read_ongoing && env->env.rcu == &test_rcu && test_rcu_in_section())
		test_violation(env, "yield inside a read-side section");
	if (env->on_yield)
		env->on_yield(env->on_yield_arg);
	sched_yield();
}

static void hook_relax(void *priv)
{
	(void)priv;
	sched_yield(); /* with fewer cores than threads a pause alone would burn the time slice */
}

static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wait_cond = PTHREAD_COND_INITIALIZER;

static void hook_wait(void *priv, const uint32_t *word, uint32_t value)
{
	struct timespec until;

	(void)priv;
	pthread_mutex_lock(&wait_lock);
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == value) {
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 20 * 1000 * 1000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_nsec -= 1000000000;
			until.tv_sec++;
		}
		pthread_cond_timedwait(&wait_cond, &wait_lock, &until);
	}
	pthread_mutex_unlock(&wait_lock);
}

static void hook_wake(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word;
	pthread_mutex_lock(&wait_lock);
	pthread_cond_broadcast(&wait_cond);
	pthread_mutex_unlock(&wait_lock);
}

static void hook_log(void *priv, int level, const char *msg)
{
	struct test_env *env = priv;

	snprintf(env->last_log, sizeof(env->last_log), "%s", msg);
	if (level != TDP_LOG_BUG)
		return;
	atomic_fetch_add(&env->bug_logs, 1);
	test_violation(env, "the library says: %s", msg);
}

/* ---- make and unmake ------------------------------------------------------------------------- */

int test_env_init(struct test_env *env, uint32_t flags, uint32_t chunk_lg2,
		  const struct tdp_rcu_ops *rcu)
{
	memset(env, 0, sizeof(*env));
	env->flags = flags;
	env->canary = aligned_alloc((size_t)TEST_PAGE, (size_t)TEST_PAGE);
	if (!env->canary)
		return TDP_ENOMEM;
	memset(env->canary, 0xcc, (size_t)TEST_PAGE);
	pthread_mutex_init(&env->lock, NULL);
	env->env.size = (uint32_t)sizeof(env->env);
	env->env.priv = env;
	env->env.chunk_lg2 = chunk_lg2 ? chunk_lg2 : 21;
	env->env.chunk_alloc = hook_chunk_alloc;
	env->env.chunk_free = hook_chunk_free;
	env->env.obj_alloc = hook_obj_alloc;
	env->env.obj_free = hook_obj_free;
	env->env.rcu = rcu ? rcu : &test_rcu;
	env->env.relax = hook_relax;
	env->env.should_yield = hook_should_yield;
	env->env.yield = hook_yield;
	env->env.log = hook_log;
	env->env.table_state = hook_table_state;
	env->env.chunk_unused = hook_chunk_unused;
	if (flags & TEST_ENV_NODES) {
		env->env.node = hook_node;
		env->env.chunk_alloc_on = hook_chunk_alloc_on;
		for (unsigned i = 0; i < TEST_NODES; i++)
			atomic_store(&env->node_room[i], INT64_MAX / 2);
	}
	if (flags & TEST_ENV_WAIT) {
		env->env.wait = hook_wait;
		env->env.wake = hook_wake;
	}
	if (flags & TEST_ENV_HOOKS) {
		env->env.virt_to_phys = hook_virt_to_phys;
		env->env.phys_to_virt = hook_phys_to_virt;
	}
	return TDP_OK;
}

uint64_t test_env_fini(struct test_env *env)
{
	uint64_t chunks = atomic_load(&env->chunk_allocs) - atomic_load(&env->chunk_frees);
	uint64_t objs = atomic_load(&env->obj_allocs) - atomic_load(&env->obj_frees);

	if (chunks || objs || atomic_load(&env->tables))
		test_violation(env, "leak: %llu chunks, %llu objects (%llu bytes), %llu tables",
			       (unsigned long long)chunks, (unsigned long long)objs,
			       (unsigned long long)atomic_load(&env->obj_bytes),
			       (unsigned long long)atomic_load(&env->tables));
	free(env->canary);
	free(env->chunks);
	env->chunks = NULL;
	pthread_mutex_destroy(&env->lock);
	return atomic_load(&env->violations);
}

void test_env_fail(struct test_env *env, int64_t n)
{
	atomic_store(&env->fail_after, n);
}

void test_env_yield(struct test_env *env, enum test_yield mode, uint64_t n)
{
	atomic_store(&env->yield_n, n);
	atomic_store(&env->yield_mode, (int)mode);
}

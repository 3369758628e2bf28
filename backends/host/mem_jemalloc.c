/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory from one jemalloc arena of our own, so that table chunks never share an extent with the
 * process's other data and what the library holds can be counted.
 */
#define _DEFAULT_SOURCE

#include "host.h"

#include <jemalloc/jemalloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <unistd.h>

#if HOST_ASAN
#include <sanitizer/asan_interface.h>
#define host_poison(va, size) ASAN_POISON_MEMORY_REGION(va, size)
#define host_unpoison(va, size) ASAN_UNPOISON_MEMORY_REGION(va, size)
#else
#define host_unpoison(va, size) ((void)(va), (void)(size))
#endif

#define OBJ_ALIGN 64u
#define HUGE_SIZE ((uint64_t)2 << 20)

static pthread_once_t arena_once = PTHREAD_ONCE_INIT;
static int arena_flags;
static _Atomic uint64_t chunk_bytes;
static _Atomic uint64_t object_bytes;

/*
 * Without a thread cache what is freed returns to the arena at once, and the arena's lock orders
 * its next user after us. If no arena is to be had the process's default ones serve as well.
 */
static void arena_make(void)
{
	unsigned index;
	size_t size = sizeof(index);

	arena_flags = MALLOCX_TCACHE_NONE;
	if (!mallctl("arenas.create", &index, &size, NULL, 0))
		arena_flags |= (int)MALLOCX_ARENA(index);
}

static int arena(void)
{
	pthread_once(&arena_once, arena_make);
	return arena_flags;
}

static void *chunk_from(int flags, uint64_t size)
{
	void *chunk;

	if (!size || (size & (size - 1)) || size > SIZE_MAX / 2)
		return NULL;
	/* The size is a power of two, and so is its own alignment. */
	chunk = mallocx((size_t)size, MALLOCX_ALIGN((size_t)size) | flags);
	if (!chunk)
		return NULL;
	host_tsan_acquire(&chunk_bytes);
	/* A wish: without transparent huge pages the chunk works all the same. */
	if (size >= HUGE_SIZE)
		(void)madvise(chunk, (size_t)size, MADV_HUGEPAGE);
	atomic_fetch_add_explicit(&chunk_bytes, size, memory_order_relaxed);
	return chunk;
}

void *tdpi_host_chunk_alloc(void *priv, uint64_t size)
{
	(void)priv;
	return chunk_from(arena(), size);
}

/* ---- nodes ---- */

/*
 * An arena for each node, all of whose memory is asked for there when it is mapped: so what is freed and used again
 * lies where it did.
 */
struct node_arena {
	extent_hooks_t
		hooks; /* the usual ones, but for alloc; first, so that it leads to the others */
	extent_hooks_t *usual;
	uint32_t node;
	int flags; /* 0: not made yet */
};

#define NODE_ARENAS 64u

static struct node_arena node_arenas[NODE_ARENAS];
static pthread_mutex_t node_lock = PTHREAD_MUTEX_INITIALIZER;

static void *node_extent_alloc(extent_hooks_t *hooks, void *new_addr, size_t size, size_t alignment,
			       bool *zero, bool *commit, unsigned index)
{
	struct node_arena *a = (struct node_arena *)(void *)hooks;
	void *va = a->usual->alloc(a->usual, new_addr, size, alignment, zero, commit, index);

	if (va)
		tdpi_host_prefer(va, size, a->node);
	return va;
}

/* Without an arena of its own a node has what the others have. */
static void node_arena_make(struct node_arena *a, uint32_t node)
{
	extent_hooks_t *hooks = &a->hooks;
	size_t size = sizeof(a->usual);
	unsigned index;

	a->flags = arena();
	a->node = node;
	if (mallctl("arena.0.extent_hooks", (void *)&a->usual, &size, NULL, 0))
		return;
	a->hooks = *a->usual;
	a->hooks.alloc = node_extent_alloc;
	size = sizeof(index);
	if (!mallctl("arenas.create", &index, &size, (void *)&hooks, sizeof(hooks)))
		a->flags = MALLOCX_TCACHE_NONE | (int)MALLOCX_ARENA(index);
}

void *tdpi_host_chunk_alloc_on(void *priv, uint64_t size, uint32_t node)
{
	struct node_arena *a;

	if (node >= NODE_ARENAS)
		return tdpi_host_chunk_alloc(priv, size);
	a = &node_arenas[node];
	pthread_mutex_lock(&node_lock);
	if (!a->flags)
		node_arena_make(a, node);
	pthread_mutex_unlock(&node_lock);
	return chunk_from(a->flags, size);
}

/* ---- back ---- */

/*
 * Huge pages that are used in part are not made whole again by the kernel's daemon; what was taken out of one is
 * free once the kernel has split it, which it does when it needs memory.
 */
void tdpi_host_chunk_unused(void *priv, void *chunk, uint64_t size, uint64_t from, uint64_t end)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	(void)priv;
	/* The kernel would round its end up: inwards, where its pages are larger than tables. */
	from = (from + page - 1) & ~(page - 1);
	end &= ~(page - 1);
	if (from >= end)
		return;
	if (size >= HUGE_SIZE)
		(void)madvise(chunk, (size_t)size, MADV_NOHUGEPAGE);
	(void)madvise((char *)chunk + from, (size_t)(end - from), MADV_DONTNEED);
}

void tdpi_host_chunk_free(void *priv, void *chunk, uint64_t size)
{
	(void)priv;
	if (!chunk)
		return;
	/* jemalloc hands this memory to anybody; nobody else would lift the poison. */
	host_unpoison(chunk, (size_t)size);
	atomic_fetch_sub_explicit(&chunk_bytes, size, memory_order_relaxed);
	host_tsan_release(&chunk_bytes);
	sdallocx(chunk, (size_t)size, MALLOCX_ALIGN((size_t)size) | arena());
}

void *tdpi_host_obj_alloc(void *priv, uint64_t size)
{
	void *obj;

	(void)priv;
	if (!size || size > SIZE_MAX / 2)
		return NULL;
	obj = mallocx((size_t)size, MALLOCX_ALIGN(OBJ_ALIGN) | MALLOCX_ZERO | arena());
	if (!obj)
		return NULL;
	host_tsan_acquire(&object_bytes);
	atomic_fetch_add_explicit(&object_bytes, size, memory_order_relaxed);
	return obj;
}

void tdpi_host_obj_free(void *priv, void *obj, uint64_t size)
{
	(void)priv;
	if (!obj)
		return;
	atomic_fetch_sub_explicit(&object_bytes, size, memory_order_relaxed);
	host_tsan_release(&object_bytes);
	sdallocx(obj, (size_t)size, MALLOCX_ALIGN(OBJ_ALIGN) | arena());
}

#if HOST_ASAN
/* A table in the pool stays mapped, so only poison makes a late reader of it visible. */
void tdpi_host_table_state(void *priv, void *va, uint64_t size, int in_use)
{
	(void)priv;
	if (in_use)
		host_unpoison(va, (size_t)size);
	else
		host_poison(va, (size_t)size);
}
#endif

uint64_t tdp_posix_chunk_bytes(void)
{
	return atomic_load_explicit(&chunk_bytes, memory_order_relaxed);
}

uint64_t tdp_posix_object_bytes(void)
{
	return atomic_load_explicit(&object_bytes, memory_order_relaxed);
}

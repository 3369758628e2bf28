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
#include <sys/mman.h>

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

void *tdpi_host_chunk_alloc(void *priv, uint64_t size)
{
	void *chunk;

	(void)priv;
	if (!size || (size & (size - 1)) || size > SIZE_MAX / 2)
		return NULL;
	/* The size is a power of two, and so is its own alignment. */
	chunk = mallocx((size_t)size, MALLOCX_ALIGN((size_t)size) | arena());
	if (!chunk)
		return NULL;
	host_tsan_acquire(&chunk_bytes);
	/* A wish: without transparent huge pages the chunk works all the same. */
	if (size >= HUGE_SIZE)
		(void)madvise(chunk, (size_t)size, MADV_HUGEPAGE);
	atomic_fetch_add_explicit(&chunk_bytes, size, memory_order_relaxed);
	return chunk;
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

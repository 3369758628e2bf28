/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the machine itself needs: loops with nothing in them but what cannot be avoided, on as much memory, of the
 * same kind, as the tables take. Where entries are live an engine must read and write them whole, so the scalar
 * loops use atomic accesses (relaxed: plain instructions, that no compiler makes vectors of).
 */
#include "bench.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define HUGE (2 * MIB)
#define LEVELS 4
#define BIT ((uint64_t)1 << 8)

static uint64_t *buffer, room;
static size_t bytes;
static uint64_t
	*above[LEVELS]; /* tables of pointers: [1] points to the buffer's, the last is the root */
static unsigned page;   /* log2 of what an entry of the buffer maps */

static volatile uint64_t sink; /* so that no loop is for nothing */

const char *floor_name(enum floor floor)
{
	static const char *const names[FLOORS] = {"read", "scan",  "store", "locked",
						  "fill", "loads", "mend"};
	return names[floor];
}

/* As the library's own memory: huge pages, if the machine has any. */
static void *huge(size_t size)
{
	void *p = aligned_alloc(HUGE, (size + HUGE - 1) / HUGE * HUGE);

	if (!p)
		die("no memory for %zu bytes", size);
	(void)madvise(p, size, MADV_HUGEPAGE);
	return p;
}

void floor_open(uint64_t entries, unsigned page_lg2)
{
	uint64_t n = (entries + PER_TABLE - 1) / PER_TABLE * PER_TABLE;
	uint64_t *below;

	room = n;
	page = page_lg2;
	bytes = n * sizeof(*buffer);
	below = buffer = huge(bytes);
	for (uint64_t i = 0; i < n; i++)
		buffer[i] = i << 12 | 0x7 | BIT;
	for (unsigned level = 1; level < LEVELS; level++) {
		uint64_t tables = n / PER_TABLE;

		n = (tables + PER_TABLE - 1) / PER_TABLE * PER_TABLE;
		above[level] = huge(n * sizeof(uint64_t));
		memset(above[level], 0, n * sizeof(uint64_t));
		for (uint64_t i = 0; i < tables; i++)
			above[level][i] = (uint64_t)(uintptr_t)(below + i * PER_TABLE);
		below = above[level];
	}
}

void floor_close(void)
{
	free(buffer);
	for (unsigned level = 1; level < LEVELS; level++)
		free(above[level]);
	buffer = NULL;
}

static inline uint64_t load(const uint64_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/* Memory as it is when an operation begins: written a moment ago. */
void floor_prepare(enum floor floor, uint64_t n)
{
	(void)floor;
	for (uint64_t i = 0; i < n && i < room; i++)
		__atomic_store_n(&buffer[i], load(&buffer[i]) | BIT, __ATOMIC_RELAXED);
}

static void run_read(uint64_t n)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += load(&buffer[i]);
	sink = sum;
}

/* The compiler makes vectors of it, as wide as it may. */
static inline __attribute__((always_inline)) uint64_t scan(const uint64_t *p, uint64_t n)
{
	uint64_t any = 0;

	for (uint64_t i = 0; i < n; i++)
		any |= p[i];
	return any;
}

#ifdef __x86_64__
#ifdef __clang__
#define WIDE "avx512f"
#else
#define WIDE "avx512f,prefer-vector-width=512"
#endif

static __attribute__((target(WIDE))) uint64_t scan_512(const uint64_t *p, uint64_t n)
{
	return scan(p, n);
}

static __attribute__((target("avx2"))) uint64_t scan_256(const uint64_t *p, uint64_t n)
{
	return scan(p, n);
}

static uint64_t scan_any(const uint64_t *p, uint64_t n)
{
	return __builtin_cpu_supports("avx512f") ? scan_512(p, n)
	       : __builtin_cpu_supports("avx2")  ? scan_256(p, n)
						 : scan(p, n);
}
#else
#define scan_any scan
#endif

static void run_store(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		__atomic_store_n(&buffer[i], load(&buffer[i]) & ~BIT, __ATOMIC_RELAXED);
}

static void run_locked(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		__atomic_fetch_and(&buffer[i], ~BIT, __ATOMIC_RELAXED);
}

static void run_fill(uint64_t n)
{
	for (uint64_t i = 0; i < n; i++)
		buffer[i] = i << 12 | 0x7 | BIT;
}

/* The entry that maps gpa. */
static uint64_t *walk(uint64_t gpa)
{
	uint64_t entry = gpa >> page;
	uint64_t *table = above[LEVELS - 1];

	for (unsigned shift = 9 * (LEVELS - 1); shift > 0; shift -= 9)
		table = (uint64_t *)(uintptr_t)load(&table[entry >> shift & (PER_TABLE - 1)]);
	return &table[entry & (PER_TABLE - 1)];
}

static void run_loads(uint64_t n, const uint64_t *each)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++)
		sum += load(walk(each[i]));
	sink = sum;
}

static void run_mend(uint64_t n, const uint64_t *each)
{
	for (uint64_t i = 0; i < n; i++)
		__atomic_fetch_or(walk(each[i]), BIT, __ATOMIC_RELAXED);
}

double floor_run(enum floor floor, uint64_t n, const uint64_t *each)
{
	double begin = now();

	switch (floor) {
	case FLOOR_READ: run_read(n); break;
	case FLOOR_SCAN: sink = scan_any(buffer, n); break;
	case FLOOR_STORE: run_store(n); break;
	case FLOOR_LOCKED: run_locked(n); break;
	case FLOOR_FILL: run_fill(n); break;
	case FLOOR_LOADS: run_loads(n, each); break;
	default: run_mend(n, each); break;
	}
	return now() - begin;
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What tests share: an instrumented host (test_env), a machine per format (test_vm), pattern memory
 * (test_backing), a reference RCU and a seeded generator. Needs no test framework but test_run().
 *
 * Nothing here stops a test by itself (it may run on any thread): what goes wrong is counted as a
 * violation of the env and printed; test_vm_check() and test_vm_fini() hand it to the test's
 * assert.
 */
#ifndef TESTS_SUPPORT_H
#define TESTS_SUPPORT_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include <tdp/decode.h>
#include <tdp/emu.h>
#include <tdp/env.h>
#include <tdp/tdp.h>
#include <tdp/walk.h>

#define TEST_PAGE TDP_PAGE_SIZE
#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

/* ---- random numbers (rand.c) ----------------------------------------------------------------- */

struct test_rand {
	uint64_t s[2];
	const unsigned char *bytes; /* not NULL: these decide, not the state */
	size_t left;
};
/* TDP_SEED from the environment, else the clock; the first call prints it. */
uint64_t test_seed(void);
void test_rand_init(struct test_rand *r, uint64_t seed);
/*
 * From now on each choice is read from bytes, as many as its bound needs; when none are left every choice is 0. So
 * a fuzzer can make them. The bytes must stay.
 */
void test_rand_feed(struct test_rand *r, const void *bytes, size_t size);
uint64_t test_rand(struct test_rand *r);
/* 0 .. bound - 1, bound > 0. */
uint64_t test_below(struct test_rand *r, uint64_t bound);
/* true once in n. */
bool test_one_in(struct test_rand *r, uint64_t n);
/* An unsigned number from the environment, or the default. */
uint64_t test_env_number(const char *name, uint64_t fallback);

/* ---- reference RCU (rcu.c) ------------------------------------------------------------------- */

/*
 * C11 atomics only, so ThreadSanitizer sees every edge and no more than RCU promises. Callbacks run
 * in barrier() and test_rcu_run(), on the calling thread, and nowhere else.
 */
extern const struct tdp_rcu_ops test_rcu;
/* Wait for a grace period and run what was deferred before; outside sections. Returns how many ran.
 */
uint64_t test_rcu_run(void);
/* Callbacks that wait. */
uint64_t test_rcu_pending(void);
/* Is the calling thread in a read-side section of test_rcu? */
bool test_rcu_in_section(void);

/* ---- the host (env.c) ------------------------------------------------------------------------ */

enum test_yield {
	TEST_YIELD_NEVER = 0,
	TEST_YIELD_ALWAYS = 1,
	TEST_YIELD_NTH = 2, /* every yield_n-th question */
};

#define TEST_ENV_WAIT 0x1u /* give the library wait() and wake(); else it spins with relax() */
#define TEST_ENV_HOOKS                                                                             \
	0x2u /* virt_to_phys/phys_to_virt instead of linear_offset (and not identical) */
#define TEST_ENV_QUIET 0x4u /* do not print violations (tests that provoke them) */
#define TEST_ENV_NODES 0x8u /* node() and chunk_alloc_on() */
#define TEST_NODES 16u      /* that there are */

struct test_chunk;

struct test_env {
	struct tdp_env env;  /* hand &env.env to the library */
	struct tdp_emu *emu; /* told what is forbidden; may be NULL */
	uint32_t format;     /* for entries that look valid */
	uint32_t flags;      /* TEST_ENV_* */

	/* n-th allocation from now fails (1: the next); 0: none. It stays failed until set again.
	 */
	_Atomic int64_t fail_after;
	_Atomic uint64_t failed; /* how often an allocation was refused */
	_Atomic uint64_t chunk_allocs, chunk_frees, obj_allocs, obj_frees;
	_Atomic uint64_t chunk_bytes, obj_bytes; /* live */
	_Atomic uint64_t tables, table_pages;    /* in use now, by table_state */
	_Atomic uint64_t tables_total;           /* ever taken */
	/* TEST_ENV_NODES: chunks that each has left; how many are taken; how often any was asked for. */
	_Atomic int64_t node_room[TEST_NODES];
	_Atomic int64_t node_chunks[TEST_NODES];
	_Atomic uint64_t node_asked;   /* node() */
	_Atomic uint64_t unused_pages; /* told by chunk_unused(), all together */

	_Atomic int yield_mode;
	_Atomic uint64_t yield_n;
	_Atomic uint64_t yield_asked, yields;
	void (*on_yield)(void *arg);
	void *on_yield_arg;
	void (*on_alloc)(void *arg); /* at each object, and each table that leaves the pool */
	void *on_alloc_arg;

	_Atomic uint64_t violations;
	_Atomic uint64_t bug_logs; /* TDP_LOG_BUG lines */
	char last_log[160];

	pthread_mutex_t lock; /* chunks */
	struct test_chunk **chunks;
	size_t chunk_buckets, chunk_count;
	void *canary;
};

/*
 * rcu NULL: test_rcu. chunk_lg2 0: 21. TEST_ENV_HOOKS makes pa = va ^ (1 << 46): give the emulated
 * walker test_env_mem as its memory (test_vm does).
 */
int test_env_init(struct test_env *env, uint32_t flags, uint32_t chunk_lg2,
		  const struct tdp_rcu_ops *rcu);
/* Counts what is still allocated as violations. Returns the number of violations ever. */
uint64_t test_env_fini(struct test_env *env);
/* Where the walker finds what is at pa. */
void *test_env_mem(void *env, tdp_pa_t pa);
void test_env_fail(struct test_env *env, int64_t n);
void test_env_yield(struct test_env *env, enum test_yield mode, uint64_t n);
/* The node that the calling thread is on; TDP_NODE_ANY at first. */
void test_env_set_node(uint32_t node);
/* The node of the chunk at va, TDP_NODE_ANY: of none. */
uint32_t test_env_node_of(struct test_env *env, const void *va);
/* Pages of chunks that the library has not said are unused, or has taken for tables since. */
uint64_t test_env_backed(struct test_env *env);
/* Record that something that must not happen happened. printf-like. */
void test_violation(struct test_env *env, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* ---- formats (formats.c) --------------------------------------------------------------------- */

struct test_format {
	const char *name;
	enum tdp_format format;
	uint32_t gpa_bits;
	uint32_t levels;       /* for tdp_mm_config: x86 only */
	uint32_t without_caps; /* TDP_CAP_* */
	uint32_t mm_flags;     /* TDP_MM_* */
	uint32_t chunk_lg2;    /* smallest that the root fits into: each table its own chunk */
	uint32_t root_pages;   /* what tdp_mm_info() must say */
	uint32_t tree_levels;
};
extern const struct test_format test_formats[];
extern const size_t test_format_count;
const struct test_format *test_format_find(const char *name);

/* A cmocka test that runs once for each format; *state is the const struct test_format *. */
struct test_case {
	const char *name;
	void (*fn)(void **state);
	bool (*wanted)(const struct test_format *fmt); /* NULL: every format */
};
#define TEST_CASE(fn)                                                                              \
	{                                                                                          \
#fn, (fn), NULL                                                                    \
	}
#define TEST_CASE_IF(fn, wanted)                                                                   \
	{                                                                                          \
#fn, (fn), (wanted)                                                                \
	}
/*
 * Run every case for every format as one cmocka group; TDP_FORMAT=name and
 * TDP_CASE=name restrict. Returns cmocka's
 * answer (to be returned by main): int main(void) { return test_run("group", cases,
 * ARRAY_LEN(cases)); }
 */
int test_run(const char *group, const struct test_case *cases, size_t count);

/* ---- a machine (vm.c) ------------------------------------------------------------------------ */

#define TEST_CPUS_MAX 8

struct test_cpu {
	struct tdp_vcpu *vcpu;
	struct tdp_emu_vcpu *emu;
	uint64_t faults, reloads, outcomes[TDP_FAULT_OUTCOMES], errors;
};

struct test_vm {
	struct test_env env;
	const struct test_format *fmt;
	struct tdp_emu *emu;
	struct tdp_mm *mm;
	struct tdp_mm_info info;
	struct tdp_mm_config cfg;
	struct test_cpu cpu[TEST_CPUS_MAX];
	uint32_t cpus;
	uint32_t max_steps;   /* of one access without RETRY; default 16 */
	uint32_t max_retries; /* RETRY answers in one access; default 1 << 20. 0: RETRY is an answer
			       */
};

struct test_vm_options {
	uint32_t cpus;      /* 0: 1 */
	uint32_t env_flags; /* TEST_ENV_* */
	uint32_t emu_flags; /* TDP_EMU_* */
	uint32_t mm_flags;  /* TDP_MM_*, besides those of the format */
	uint32_t chunk_lg2; /* 0: 21; TEST_CHUNK_SMALL: the smallest the format allows */
	uint32_t max_roots;
	uint32_t with_caps, without_caps; /* TDP_CAP_*, besides those of the format */
	uint64_t table_limit;
	int64_t fail_after;                /* as test_env_fail(), from the first allocation on */
	void (*host)(struct tdp_env *env); /* changes the environment before the mm is made */
	const struct tdp_rcu_ops
		*rcu; /* NULL: test_rcu. The calling thread must not be registered yet */
};
#define TEST_CHUNK_SMALL 1u

/*
 * Registers the calling thread with the RCU. opts may be NULL. Returns a status; all or nothing
 * (TDP_EIO: it failed and left something behind).
 */
int test_vm_init(struct test_vm *vm, const struct test_format *fmt,
		 const struct test_vm_options *opts);
/*
 * Destroy all; returns the number of violations (leaks, walks through freed tables, log lines of a
 * bug, a destroy that is not clean …): assert that it is 0.
 */
uint64_t test_vm_fini(struct test_vm *vm);
/*
 * Only when quiet (no other thread in the library). tdp_verify, census of tables against the env,
 * no violation. Returns 0 or the number of complaints, which are printed.
 */
uint64_t test_vm_check(struct test_vm *vm);

enum test_answer {
	TEST_OK = 0, /* pa, lg2, prot, refs are valid */
	TEST_OUTCOME =
		1, /* tdp_fault said MMIO, READONLY or TRACKED (or RETRY with max_retries 0) */
	TEST_STATUS = 2,   /* tdp_fault or tdp_vcpu_load failed: outcome is the status */
	TEST_LIVELOCK = 3, /* more steps than allowed (counted as violation) */
	TEST_BROKEN = 4,   /* bus error, decode failed, … (counted as violation) */
};
struct test_access {
	int outcome;     /* last answer of tdp_fault (or of load), 0 if there was no fault */
	uint32_t faults; /* tdp_fault calls */
	uint32_t retries;
	uint32_t reloads;
	tdp_pa_t pa;                    /* byte address */
	uint32_t lg2, prot, refs;       /* of the access that succeeded */
	struct tdp_fault_result result; /* of the last tdp_fault */
};
/*
 * What a VMM does: access; fault, decode, tdp_fault; load a root; again. access is TDP_R, W or X.
 * Returns an enum test_answer; out may be NULL.
 */
int test_vm_access(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa, uint32_t access,
		   struct test_access *out);
/* As above, and 0 only when TEST_OK. */
int test_vm_touch(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa, uint32_t access);

/* A linear slot; size of the page of leaves at a level; the emu's violations so far. */
int test_vm_slot(struct test_vm *vm, uint32_t as_id, tdp_gpa_t gpa, uint64_t size, tdp_pa_t pa,
		 uint32_t flags, uint32_t *id);
uint32_t test_vm_lg2(const struct test_vm *vm, uint32_t level);
/* The largest leaf size (log2) that this machine makes. */
uint32_t test_vm_max_lg2(const struct test_vm *vm);
uint64_t test_vm_size(const struct test_vm *vm); /* of guest-physical space, bytes */
bool test_vm_has_wc(const struct test_vm *vm);

/* Everything that is in the tables of one address space, in order: for bit-exact comparison. */
struct test_dump {
	struct tdp_visit *visits;
	size_t count, room;
	bool failed;
};
int test_dump_take(struct test_vm *vm, uint32_t as_id, struct test_dump *dump);
void test_dump_free(struct test_dump *dump);
/* 0 when equal, else prints the first difference. leaves_only: tables may differ (and are skipped).
 */
int test_dump_diff(const struct test_dump *a, const struct test_dump *b, bool leaves_only);

/* ---- pattern memory (backing.c) -------------------------------------------------------------- */

/*
 * Backing for a slot: pages get output addresses that name nothing real. Dropping pages gives them
 * new addresses and forbids the old ones to the walker. Blocks are buddies, so what a resolver may
 * answer as contiguous is always known. Thread-safe.
 */
struct test_backing {
	struct tdp_backing_ops ops;
	struct test_env *env;
	pthread_mutex_t lock;
	tdp_gpa_t gpa; /* of page 0, as in the slot */
	uint64_t pages;
	uint64_t *frame; /* pa >> 12, by page */
	uint8_t *lg2;    /* of the block of the page */
	uint8_t *fail;   /* 1: resolve answers `fail_status` */
	uint32_t prot;
	uint32_t max_lg2;
	int fail_status;      /* default TDP_EFAULT */
	uint64_t first, next; /* frames to hand out: where they begin, the next one */
	uint64_t *ring;       /* dropped blocks that are still forbidden: frame, lg2 */
	uint32_t ring_at;
	uint64_t resolves_ok; /* answered TDP_OK */
	uint64_t resolves_failed;
	uint64_t releases, released_mapped, released_writable;
	void (*on_resolve)(struct test_backing *b,
			   tdp_gpa_t gpa); /* called unlocked, before the answer */
	void *on_resolve_arg;
};

/*
 * max_lg2: largest block (12..30). Frames start at pa (rounded up to 1 << max_lg2) and go through
 * the 8 TiB after it, so memories that may be mixed up need addresses that far apart.
 */
int test_backing_init(struct test_backing *b, struct test_env *env, tdp_gpa_t gpa, uint64_t size,
		      tdp_pa_t pa, uint32_t prot, uint32_t max_lg2);
/* no_release: the ops have no release() member at all. Before the slot is added. */
void test_backing_no_release(struct test_backing *b);
/* Counts an imbalance of resolve and release as a violation. */
void test_backing_fini(struct test_backing *b);
/* Fill in gpa, backing and so on of a slot over [gpa + offset, + size) of this memory. */
struct tdp_slot_desc test_backing_slot(struct test_backing *b, uint32_t as_id, uint32_t flags);
/* New frames for a range (gpa): the caller has invalidated and zapped it. */
void test_backing_drop(struct test_backing *b, struct tdp_range range);
/* All of it: begin, zap in an address space, drop, end. Returns a status. */
int test_backing_discard(struct test_backing *b, struct tdp_mm *mm, uint32_t as_id,
			 struct tdp_range range);
tdp_pa_t test_backing_pa(struct test_backing *b, tdp_gpa_t gpa);
uint32_t test_backing_lg2(struct test_backing *b, tdp_gpa_t gpa);
void test_backing_fail(struct test_backing *b, struct tdp_range range, bool fail);
/* resolve and release balance now (when no fault is running). */
bool test_backing_balanced(struct test_backing *b);

#endif

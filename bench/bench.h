/* SPDX-License-Identifier: BSD-2-Clause */
/* The harness: questions, the state of a VM before and after, floors, rounds, what is told. */
#ifndef BENCH_H
#define BENCH_H

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>

#include "engine.h"

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)
#define GIB ((uint64_t)1 << 30)
#define TIB ((uint64_t)1 << 40)
#define THREADS_MAX 64
#define ROUNDS_MAX 301
#define PER_TABLE 512
#define SPARSE 64 /* one page of so many is young */

/* ---- what bounds an operation ---- */

enum floor {
	FLOOR_READ,   /* load each entry once */
	FLOOR_SCAN,   /* the same with the widest vectors there are */
	FLOOR_STORE,  /* load, change and store each entry, plainly */
	FLOOR_LOCKED, /* one locked instruction on each entry */
	FLOOR_FILL,   /* write tables full of entries */
	FLOOR_LOADS,  /* four dependent loads for each address: a bare walk */
	FLOOR_MEND,   /* the same, and one locked instruction on the entry at its end */
	FLOORS
};

const char *floor_name(enum floor floor);
/* Room for `entries`; then seconds for `n` of them, from memory as warm as the caller left it after prepare(). */
void floor_open(uint64_t entries, unsigned page_lg2);
void floor_prepare(enum floor floor, uint64_t n);
double floor_run(enum floor floor, uint64_t n, const uint64_t *each);
void floor_close(void);

/* ---- questions ---- */

/* What is there before: bits of `before`. Mapped pages are writable, and as populate leaves them. */
#define MAPPED 0x001u  /* all of it; else nothing */
#define YOUNG 0x002u   /* all are young … */
#define OLD 0x004u     /* … none is, but there are traces of use above them */
#define IDLE 0x008u    /* … none is, and the engine has had occasion to see that */
#define SOME 0x010u    /* … one of SPARSE is */
#define DIRTY 0x020u   /* all have D set … */
#define CLEAN 0x040u   /* … none has */
#define LOGGED 0x080u  /* writes are logged, by the Dirty bit */
#define FAULTED 0x100u /* … by faults, and `each` has been written to */
#define SMALL 0x200u   /* split into 512 */
#define HOLES 0x400u   /* `each` is not mapped, its tables are there */
#define KEPT 0x800u    /* the operation changes nothing but A and D: need not be mapped again */

/* What is there after: bits of `after`, all checked after every round. */
#define LEFT_ALL 0x001u
#define LEFT_NONE 0x002u
#define LEFT_EACH 0x004u  /* `each`, and nothing else */
#define LEFT_REST 0x008u  /* all but `each` */
#define LEFT_SMALL 0x010u /* 512 for each page */
#define LEFT_DEAD 0x020u  /* nothing can be reached; counts may still have it */
#define ALL_OLD 0x040u
#define ALL_ARMED 0x080u     /* no write goes unnoticed: not writable, or not dirty */
#define ALL_PROTECTED 0x100u /* not writable */
#define DONE_ENTRIES 0x200u  /* work.done is the number of entries … */
#define DONE_SOME 0x400u     /* … of those that were young */
#define DONE_NONE 0x800u     /* … 0; and a round in which the last page is young or dirty has 1 */
#define DONE_SUM 0x1000u     /* … the sum of output addresses */
#define BITS_DONE 0x2000u    /* it is the bitmap that says so … */
#define AGES_DONE 0x4000u    /* … or the ages, as well as work.done */
#define AGE_BEFORE 3

#define LEVEL_4K 0x1u
#define LEVEL_2M 0x2u
#define LEVEL_1G 0x4u
#define LEVEL_ANY 0x7u

struct setting;

struct question {
	const char *name, *variant;
	enum bench_op op;
	enum floor floor;
	unsigned floor_per_entry; /* 0 is 1 */
	unsigned before, after;
	unsigned levels;
	bool single; /* by single pages: at most setting.calls of them */
	bool random; /* … in no order */
	bool once;   /* told is the time of the call, not of an entry */
	bool growth; /* also asked for several sizes in between */
	bool hot_only;
	bool asked, above;         /* of bench_shape */
	bool slow;                 /* for EPT only, unless another format is asked for */
	unsigned detail;           /* of questions with a measure() of their own */
	uint64_t max_entries;      /* 0: any; a guest that was asked for by -m may have more */
	double aim_ns, aim_ratio;  /* 0: none */
	const struct question *of; /* the one that several threads are asked */
	/* NULL: bench_measure() */
	void (*measure)(const struct question *q, const struct setting *s);
};

extern const struct question fault_questions[], zap_questions[], age_questions[], dirty_questions[],
	huge_questions[], look_questions[], memory_questions[], latency_questions[],
	yield_questions[];
const struct question *scale_questions(unsigned threads);
const struct question *helped_questions(void);
const struct question *question_named(const struct question *family, const char *name,
				      const char *variant);

struct setting {
	struct bench_shape shape;
	bool cold;  /* caches are swept before each timed part */
	bool check; /* tiny: look at every page after each round, measure nothing well */
	bool idle;  /* leave the operation out: every question must notice */
	bool count; /* count instructions */
	uint64_t calls;
	unsigned threads; /* of questions about several */
	unsigned rounds;  /* at least; the budget may allow more */
	double seconds;
};

extern const struct bench_engine tdp_engine, textbook_engine;
#define ENGINES_MAX 8
/* libtdp is the first. */
extern const struct bench_engine *engines[ENGINES_MAX];
extern unsigned engine_count;

void bench_measure(const struct question *q, const struct setting *s);
/* Of idle questions: how many were asked, and how many times it was noticed. */
extern unsigned idle_asked, idle_noticed;

/* ---- one VM, made as the question wants it, and looked at afterwards ---- */

struct table {
	uint64_t *entries;
	unsigned count, level;
};

struct subject {
	const struct bench_engine *engine;
	const struct question *q;
	const struct setting *s;
	struct bench_shape shape;
	void *vm;
	uint64_t entries; /* pages of the whole guest */
	uint64_t *each;
	uint64_t count; /* of each */
	uint64_t *bitmap;
	uint8_t *ages;
	struct table *table;
	size_t tables, room;
	bool whole, logged; /* mapped as `before` says; logging is on */
	bool quiet;         /* ready() was called, and nothing done since */
};

/* Has the engine all that the question needs? */
bool subject_possible(const struct bench_engine *engine, const struct question *q,
		      const struct bench_shape *shape);
void subject_open(struct subject *b, const struct bench_engine *engine, const struct question *q,
		  const struct setting *s);
/* As `before` says. last: none but the last page is young and dirty. */
void subject_prepare(struct subject *b, bool last);
/* What operations left to be done is done. */
void subject_quiet(struct subject *b);
/* The whole of it as one piece of work. */
struct bench_work subject_work(struct subject *b);
/* Do it, or not where the setting says idle; a VM that threads share is then told that it was used. */
void subject_do(const struct subject *b, struct bench_work *work);
void subject_used(struct subject *b);
/* Both; seconds. */
double subject_run(struct subject *b, struct bench_work *work);
/* Is everything as `after` says? done: of all works together. */
bool subject_check(struct subject *b, uint64_t done, bool last);
/* It is not: says so, or in idle mode counts that it was noticed. */
void subject_refuse(const struct subject *b);
void subject_close(struct subject *b);
/* Entries that a figure is divided by. */
uint64_t subject_entries(const struct subject *b);

/* ---- the MMU's part ---- */

enum touch { TOUCH_NOT, TOUCH_ALL, TOUCH_NONE, TOUCH_SOME, TOUCH_LAST };

/* Set A (above the leaves, too, unless quietly) and D. */
void mmu_touch(const struct subject *b, enum touch young, enum touch dirty, bool quietly);
uint64_t mmu_count_young(const struct subject *b);
/* Nothing of what this process uses is in a cache any more. */
void mmu_sweep_caches(void);

/* ---- instructions ---- */

struct instructions {
	double locked, all; /* of an entry; below 0: not known */
};
/* Every instruction of the operation is looked at, in a small VM. */
struct instructions count_instructions(const struct bench_engine *engine, const struct question *q,
				       const struct setting *s);

/* ---- figures ---- */

struct figure {
	double median, low,
		high;  /* the interval holds the true median in at least 19 of 20 cases */
	double spread; /* quartile to quartile, of the median */
};
struct figure figure_of(const double *v, unsigned n); /* sorts a copy */

struct result {
	const char *name, *variant, *engine, *floor, *unit;
	const struct setting *s;
	struct figure ns, floor_ns, ratio;
	struct instructions instructions;
	double cpu_ns; /* of all threads for the operation and what it left to be done */
	unsigned rounds, threads, page_lg2;
	double aim_ns, aim_ratio;
	double flushes; /* of one round */
	uint64_t entries, tables, bytes;
	const char *note; /* at the end of the line, or NULL */
	const char *more; /* further members for JSON, or NULL */
};
void tell(const struct result *r);
void tell_head(void);
bool tell_open(const char *json);
void tell_close(void);

/* ---- order ---- */

double now(void);
double cpu_now(void);    /* seconds of all threads of this process … */
double thread_now(void); /* … of this one */
void pin(unsigned cpu);
void *zeroed(size_t count, size_t size);
_Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif

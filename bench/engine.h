/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a page-table engine gives to be measured here: a table of functions. Plain C, nothing of libtdp in it.
 *
 * Put your own beside libtdp: write a file that defines `const struct bench_engine bench_engine`, and say
 * bench/run.sh --beside FILE.c. Its operations run in the same process, in the same loop, in turn with libtdp's and
 * with the floors. textbook.c shows how; what an engine does not have is NULL and is not asked for.
 */
#ifndef BENCH_ENGINE_H
#define BENCH_ENGINE_H

#include <stddef.h>
#include <stdint.h>

enum bench_format { BENCH_EPT, BENCH_NPT, BENCH_S2, BENCH_FORMATS };

/* One VM: guest memory [0, bytes), which lies at [pa, pa + bytes) of the host. */
struct bench_shape {
	enum bench_format format;
	unsigned page_lg2; /* 12, 21 or 30: how large pages are mapped */
	unsigned threads;  /* that will call */
	int asked; /* where a page lies is asked about at each fault; else it is linear, as said above */
	int above; /* aging may rely on what the MMU sets above the leaves */
	int yields; /* the host is asked now and then whether somebody else should run (bench/yield.c) */
	uint64_t bytes, pa;
};

/* What an operation is given, and what it answers. */
struct bench_work {
	void *vm;
	unsigned thread;     /* 0 .. shape.threads - 1 */
	uint64_t gpa, bytes; /* operations on a range */
	const uint64_t
		*each; /* … on single pages: these addresses, one call for each, in this order */
	size_t count;
	uint64_t *bitmap; /* bit i: 4K page i of the range */
	uint8_t *ages;    /* byte i: how many scans ago it was young */
	uint64_t done;    /* out, 0 before: see below */
};

enum bench_op {
	BENCH_FAULT,    /* each: the guest writes there, and nothing is mapped, or not writable */
	BENCH_LOOKUP,   /* each: done += the output address of gpa */
	BENCH_POPULATE, /* range: map it, writable and young */
	BENCH_ZAP,      /* range: unmap it; tables go to be freed */
	BENCH_ZAP_EACH, /* each: unmap the page that begins there */
	BENCH_TEARDOWN, /* unmap everything, and give all memory of it back */
	BENCH_ZAP_FAST, /* nothing can be reached any more; the work may be done later, in ready() */
	BENCH_AGE,      /* range: clear Accessed; done = how many were young */
	BENCH_AGE_EACH,   /* each: the same for one page; done += 1 if it was young */
	BENCH_TEST_AGE,   /* range: done = 1 if any page is young, else 0 */
	BENCH_AGE_BITMAP, /* range: as BENCH_AGE, and which ones */
	BENCH_AGE_AGES, /* range: as BENCH_AGE, and bring the ages up to date; done = how many are 0 */
	BENCH_WRPROT,     /* range: no page of it is writable */
	BENCH_LOG_DIRTY,  /* from now on writes are noticed, by the Dirty bit */
	BENCH_LOG_FAULTS, /* … by faults */
	BENCH_LOG_LAZY,   /* as BENCH_LOG_DIRTY; what can wait until somebody writes is done then */
	BENCH_LOG_OFF,    /* stop that */
	BENCH_HARVEST,    /* range: which were written; forget it, and notice the next write */
	BENCH_CLEAR,      /* range: forget, and notice the next write */
	BENCH_CLEAR_MASKS, /* range: the same by calls for 64 4K pages, all of them */
	BENCH_SPLIT,       /* range: each page into 512 */
	BENCH_COLLAPSE,    /* range: 512 pages into one; done = how many were made */
	BENCH_SWITCH, /* count times into another address space, or role; done = tables loaded */
	BENCH_SWITCH_SAME, /* count times look that nothing has changed; done = count */
	BENCH_TRIM, /* give back what no table uses; done = bytes that are really there for the VM's tables */
	BENCH_OPS
};

struct bench_seen {
	int mapped, writable, young, dirty; /* writable: the MMU would let a write through */
	unsigned page_lg2;
	uint64_t pa;
};

struct bench_counts {
	uint64_t leaves;  /* mapped pages of any size */
	uint64_t tables;  /* in use */
	uint64_t bytes;   /* of memory taken for them, with all that goes with it */
	uint64_t flushes; /* of TLBs, since create() */
};

/* One table as the MMU sees it. */
typedef void bench_table_fn(void *arg, uint64_t *entries, unsigned count, unsigned level);

struct bench_engine {
	const char *name;
	unsigned formats; /* bit f: enum bench_format f */
	int asks;         /* knows what to do with shape.asked */
	/* Formats for which it makes use of entries above leaves: shape.above, BENCH_LOG_LAZY. */
	unsigned above;
	int (*create)(const struct bench_shape *shape, void **vm);
	void (*destroy)(void *vm);
	/* 0, or a number that says what went wrong. Called on threads between enter() and leave(). */
	int (*op[BENCH_OPS])(struct bench_work *work);
	/* The harness looks at what was done with these. */
	void (*look)(void *vm, uint64_t gpa, struct bench_seen *seen);
	void (*counts)(void *vm, struct bench_counts *counts);
	/* Each table, a parent before its children: the harness sets A and D in them, as an MMU would. */
	void (*tables)(void *vm, bench_table_fn *fn, void *arg);
	/* Optional, before each measured operation: end what is still being done behind the scenes. */
	void (*ready)(void *vm);
	void (*enter)(void);
	void (*leave)(void);
};

#endif

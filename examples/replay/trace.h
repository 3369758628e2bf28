/* SPDX-License-Identifier: BSD-2-Clause */
/* A recorded trace in memory: the accesses of a real program and the pages they touch. */
#ifndef REPLAY_TRACE_H
#define REPLAY_TRACE_H

#include <stdint.h>
#include <stdio.h>

#define PAGE_LG2 12u
#define PAGE_BYTES 4096u
/* Guest-virtual addresses end here: the lower half of a 4-level x86 address space. */
#define GVA_END ((uint64_t)1 << 47)

enum trace_kind { TRACE_FETCH, TRACE_LOAD, TRACE_STORE, TRACE_MODIFY, TRACE_KINDS };

/* One access: index of the page in bits 14.., byte within the page in bits 2..13, kind in 0..1. */
typedef uint64_t trace_access_t;

static inline enum trace_kind trace_kind(trace_access_t a)
{
	return (enum trace_kind)(a & 3);
}

static inline uint32_t trace_offset(trace_access_t a)
{
	return (uint32_t)(a >> 2) & (PAGE_BYTES - 1);
}

static inline uint32_t trace_page(trace_access_t a)
{
	return (uint32_t)(a >> 14);
}

struct trace_page {
	uint64_t vpn;
	uint64_t uses[TRACE_KINDS];
};

struct trace {
	char command[160]; /* what was traced */
	trace_access_t *accesses;
	uint64_t count;
	uint64_t kinds[TRACE_KINDS];
	struct trace_page *pages; /* ascending */
	uint32_t npages;
};

/*
 * Reads at most `limit` accesses (0: all). Returns 0, or -1 with the reason in error: not a trace,
 * cut off in the middle of a record, out of memory, an address at or above GVA_END, or empty.
 */
int trace_read(struct trace *trace, FILE *in, uint64_t limit, char *error, size_t error_size);
void trace_free(struct trace *trace);

#endif

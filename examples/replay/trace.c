/* SPDX-License-Identifier: BSD-2-Clause */
/* Reads a trace (format: examples/traces/README.md) and numbers the pages that it touches. */
#include "trace.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define HEADER "TDPTRACE 1\n"

static int fail(char *error, size_t size, const char *why)
{
	snprintf(error, size, "%s", why);
	return -1;
}

/* The header: magic, "key: value" lines, an empty line. Unknown keys are for others. */
static int read_header(struct trace *trace, FILE *in)
{
	static const char key[] = "command: ";
	char line[4096];

	if (!fgets(line, sizeof(line), in) || strcmp(line, HEADER))
		return -1;
	while (fgets(line, sizeof(line), in)) {
		char *end = strchr(line, '\n');

		if (end == line)
			return 0;
		if (!end)
			return -1;
		*end = 0;
		if (strncmp(line, key, sizeof(key) - 1))
			continue;
		snprintf(trace->command, sizeof(trace->command), "%.*s",
			 (int)sizeof(trace->command) - 1, line + sizeof(key) - 1);
		/* It goes to a terminal and into an SVG: nothing that either would act upon. */
		for (char *c = trace->command; *c; c++)
			if ((unsigned char)*c < ' ' || *c == 127 || strchr("<>&\"", *c))
				*c = '?';
	}
	return -1;
}

/* One record. 1: got it, 0: end of the trace, -1: cut off or malformed. */
static int read_record(FILE *in, uint64_t last[TRACE_KINDS], enum trace_kind *kind)
{
	int byte = getc_unlocked(in);
	unsigned shift = 5;
	uint64_t word;

	if (byte == EOF)
		return ferror(in) ? -1 : 0;
	*kind = (enum trace_kind)(byte & 3);
	word = (uint64_t)byte >> 2 & 31;
	while (byte & 0x80) {
		byte = getc_unlocked(in);
		if (byte == EOF || shift > 61)
			return -1;
		word |= (uint64_t)(byte & 127) << shift;
		shift += 7;
	}
	last[*kind] += word >> 1 ^ (word & 1 ? UINT64_MAX : 0);
	return 1;
}

static bool grow(trace_access_t **array, uint64_t count, uint64_t *room)
{
	trace_access_t *bigger;

	if (count < *room)
		return true;
	*room = *room ? *room * 2 : 1 << 16;
	bigger = realloc(*array, *room * sizeof(**array));
	if (bigger)
		*array = bigger;
	return bigger != NULL;
}

static int by_vpn(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static uint32_t find_page(const struct trace *trace, uint64_t vpn)
{
	uint32_t low = 0, high = trace->npages;

	while (high - low > 1) {
		uint32_t mid = low + (high - low) / 2;

		if (trace->pages[mid].vpn <= vpn)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Until here an access holds its address above the kind; now it gets the number of its page. */
static int number_pages(struct trace *trace)
{
	uint64_t *vpns = malloc(trace->count * sizeof(*vpns));
	uint64_t n = 0, last_vpn = UINT64_MAX;
	uint32_t page = 0;

	if (!vpns)
		return -1;
	for (uint64_t i = 0; i < trace->count; i++)
		vpns[i] = trace->accesses[i] >> 14;
	qsort(vpns, trace->count, sizeof(*vpns), by_vpn);
	for (uint64_t i = 0; i < trace->count; i++)
		if (!n || vpns[n - 1] != vpns[i])
			vpns[n++] = vpns[i];
	trace->pages = n < 1u << 28 ? calloc(n, sizeof(*trace->pages)) : NULL;
	if (!trace->pages) {
		free(vpns);
		return -1;
	}
	trace->npages = (uint32_t)n;
	for (uint64_t i = 0; i < n; i++)
		trace->pages[i].vpn = vpns[i];
	free(vpns);
	for (uint64_t i = 0; i < trace->count; i++) {
		trace_access_t *a = &trace->accesses[i];

		if (*a >> 14 != last_vpn) {
			last_vpn = *a >> 14;
			page = find_page(trace, last_vpn);
		}
		*a = (uint64_t)page << 14 | (*a & 0x3fff);
		trace->pages[page].uses[trace_kind(*a)]++;
		trace->kinds[trace_kind(*a)]++;
	}
	return 0;
}

int trace_read(struct trace *trace, FILE *in, uint64_t limit, char *error, size_t error_size)
{
	uint64_t last[TRACE_KINDS] = {0}, room = 0;
	enum trace_kind kind;
	int got = 1;

	memset(trace, 0, sizeof(*trace));
	if (read_header(trace, in))
		return fail(error, error_size, "not a trace (see examples/traces/README.md)");
	while (!limit || trace->count < limit) {
		got = read_record(in, last, &kind);
		if (got <= 0)
			break;
		if (last[kind] >= GVA_END) {
			trace_free(trace);
			return fail(error, error_size, "an address beyond the lower 47 bits");
		}
		if (!grow(&trace->accesses, trace->count, &room)) {
			trace_free(trace);
			return fail(error, error_size, "out of memory; use --limit");
		}
		trace->accesses[trace->count++] = last[kind] << 2 | kind;
	}
	if (got < 0 || !trace->count) {
		trace_free(trace);
		return fail(error, error_size, got < 0 ? "cut off or damaged" : "empty");
	}
	if (number_pages(trace)) {
		trace_free(trace);
		return fail(error, error_size, "out of memory; use --limit");
	}
	return 0;
}

void trace_free(struct trace *trace)
{
	free(trace->accesses);
	free(trace->pages);
	memset(trace, 0, sizeof(*trace));
}

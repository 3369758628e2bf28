/* SPDX-License-Identifier: BSD-2-Clause */
/* Which questions, for which guests: see usage(). bench/run.sh starts one process for each question. */
#include "bench.h"

#include <dlfcn.h>
#include <fnmatch.h>
#include <getopt.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

const struct bench_engine *engines[ENGINES_MAX] = {&tdp_engine};
unsigned engine_count = 1;

static const struct question *families[] = {
	fault_questions,
	zap_questions,
	age_questions,
	dirty_questions,
	huge_questions,
	look_questions,
	memory_questions,
	latency_questions,
	yield_questions,
	NULL,
	NULL, /* helped_questions(), scale_questions() */
};
#define FAMILIES (sizeof(families) / sizeof(families[0]))

/* ---- order ---- */

static double seconds_of(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

double now(void)
{
	return seconds_of(CLOCK_MONOTONIC);
}

double cpu_now(void)
{
	return seconds_of(CLOCK_PROCESS_CPUTIME_ID);
}

double thread_now(void)
{
	return seconds_of(CLOCK_THREAD_CPUTIME_ID);
}

void pin(unsigned cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % (unsigned)sysconf(_SC_NPROCESSORS_ONLN), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

void *zeroed(size_t count, size_t size)
{
	void *p = calloc(count, size);

	if (!p)
		die("no memory for %zu times %zu bytes", count, size);
	return p;
}

void die(const char *format, ...)
{
	va_list list;

	fflush(stdout);
	fprintf(stderr, "bench: ");
	va_start(list, format);
	vfprintf(stderr, format, list);
	va_end(list);
	fprintf(stderr, "\n");
	exit(1);
}

/* ---- settings ---- */

#define PA TIB /* where guest memory begins: as good for pages of 1G as guest address 0 */

struct size {
	unsigned page_lg2;
	uint64_t bytes;
	bool cold, growth; /* growth: only what is drawn over the size of the guest */
	unsigned formats;  /* bit f */
};

#define EVERY ((1u << BENCH_FORMATS) - 1)
#define ONLY_EPT (1u << BENCH_EPT)

static const struct size full[] = {
	{12, GIB, false, false, EVERY},         {12, GIB, true, false, ONLY_EPT},
	{12, 4 * GIB, false, true, ONLY_EPT},   {12, 16 * GIB, false, false, ONLY_EPT},
	{12, 64 * GIB, false, false, ONLY_EPT}, {21, GIB, false, true, ONLY_EPT},
	{21, 4 * GIB, false, true, ONLY_EPT},   {21, 16 * GIB, false, false, EVERY},
	{21, 64 * GIB, false, true, ONLY_EPT},  {21, 256 * GIB, false, true, ONLY_EPT},
	{21, TIB, false, false, ONLY_EPT},      {30, TIB, false, false, EVERY},
};
static const struct size brief[] = {
	{12, GIB, false, false, EVERY},
	{12, GIB, true, false, ONLY_EPT},
	{21, 8 * GIB, false, false, ONLY_EPT},
	{30, TIB, false, false, ONLY_EPT},
};
static const struct size tiny[] = {
	{12, 8 * MIB, false, false, EVERY},
	{21, 256 * MIB, false, false, EVERY},
	{30, 16 * GIB, false, false, EVERY},
};

struct wish {
	int format; /* -1: any */
	unsigned page_lg2;
	uint64_t bytes;
	int cold;
};

static struct setting base = {
	.rounds = 9, .threads = 2, .seconds = 0.4, .calls = MIB, .count = true};
static const struct size *sizes = full;
static size_t size_count = sizeof(full) / sizeof(full[0]);
static bool quick;
static struct wish wish = {.format = -1, .cold = -1};

static bool size_fits(const struct question *q, const struct size *size, unsigned format)
{
	if (!(q->levels >> (size->page_lg2 - 12) / 9 & 1) || !(size->formats >> format & 1))
		return false;
	if ((size->growth && !q->growth) || (size->cold && q->hot_only))
		return false;
	if (q->max_entries && !wish.bytes && size->bytes >> size->page_lg2 > q->max_entries)
		return false;
	return (wish.format < 0 || (unsigned)wish.format == format) &&
	       (!wish.page_lg2 || wish.page_lg2 == size->page_lg2) &&
	       (wish.cold < 0 || wish.cold == size->cold);
}

/* Counting takes its time: EPT, and where there is time other formats, but pages of one size. */
static bool counts(unsigned format, bool smallest)
{
	return base.count &&
	       (quick ? format == BENCH_EPT && smallest : format == BENCH_EPT || smallest);
}

static void ask(const struct question *q)
{
	for (unsigned format = 0; format < BENCH_FORMATS; format++) {
		unsigned smallest = 0;

		if (format != BENCH_EPT && !base.check && wish.format < 0 &&
		    (q->slow || (quick && q->measure)))
			break;
		for (size_t i = 0; i < size_count; i++) {
			struct setting s = base;

			if (!size_fits(q, &sizes[i], format))
				continue;
			s.shape = (struct bench_shape){.format = (enum bench_format)format,
						       .page_lg2 = sizes[i].page_lg2,
						       .threads = 1,
						       .bytes = sizes[i].bytes,
						       .pa = PA};
			if (!smallest)
				smallest = sizes[i].page_lg2;
			s.count = counts(format, sizes[i].page_lg2 == smallest);
			s.threads = base.threads;
			s.cold = sizes[i].cold;
			(q->measure ? q->measure : bench_measure)(q, &s);
		}
	}
}

/* ---- engines ---- */

static const struct bench_engine *load_engine(const char *path)
{
	const struct bench_engine *engine;
	void *handle;

	if (!strcmp(path, "textbook"))
		return &textbook_engine;
	handle = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	engine = handle ? dlsym(handle, "bench_engine") : NULL;
	if (!engine)
		die("%s: %s", path, dlerror());
	return engine;
}

/* ---- options ---- */

static _Noreturn void usage(int status)
{
	fputs("usage: tdp_bench [OPTION...] [PATTERN...]\n"
	      "  A PATTERN is a question's name, as in a shell, or its beginning; none: all.\n"
	      "  -l, --list          the names only\n"
	      "  -q, --quick         fewer sizes, shorter\n"
	      "  -c, --check         tiny, and every page is looked at: not for figures\n"
	      "      --idle          leave the operations out; fails unless every question notices\n"
	      "  -f, --format F      ept, npt or s2 only\n"
	      "  -p, --page P        4K, 2M or 1G only\n"
	      "  -m, --memory GIB    this guest, a power of two, instead of the usual ones\n"
	      "  -r, --rounds N      of which the median is told (9; 5 where they take long)\n"
	      "  -b, --budget S      seconds for each figure, as long as there are enough rounds\n"
	      "  -t, --threads N     of the questions about several (2)\n"
	      "      --cold, --hot   caches swept before each timed part, or not, only\n"
	      "      --no-count      do not count instructions\n"
	      "      --beside ENGINE an engine to measure beside libtdp: textbook, or a shared object\n"
	      "      --no-head       no line of titles\n"
	      "      --json FILE     append a line of JSON for each figure\n"
	      "      --about         compiler, as JSON\n",
	      status ? stderr : stdout);
	exit(status);
}

enum { IDLE_OPTION = 256, COLD_OPTION, HOT_OPTION, NO_COUNT, NO_HEAD, BESIDE, JSON, ABOUT };

static unsigned index_of(const char *word, const char *const *words, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		if (!strcmp(word, words[i]))
			return i;
	usage(2);
}

static void set_sizes(const struct size *list, size_t count)
{
	sizes = list;
	size_count = count;
}

static void option(int c, const char *value)
{
	static const char *const formats[] = {"ept", "npt", "s2"};
	static const char *const pages[] = {"4K", "2M", "1G"};

	switch (c) {
	case 'q':
		set_sizes(brief, sizeof(brief) / sizeof(brief[0]));
		quick = true;
		base.seconds = 0.06;
		base.rounds = 6;
		base.calls = MIB / 16;
		break;
	case 'c':
		set_sizes(tiny, sizeof(tiny) / sizeof(tiny[0]));
		base.check = true;
		base.seconds = 0;
		base.rounds = 1;
		base.calls = 512;
		break;
	case 'f': wish.format = (int)index_of(value, formats, 3); break;
	case 'p': wish.page_lg2 = 12 + 9 * index_of(value, pages, 3); break;
	case 'm': wish.bytes = strtoull(value, NULL, 10) * GIB; break;
	case 'r': base.rounds = (unsigned)strtoul(value, NULL, 10); break;
	case 'b': base.seconds = strtod(value, NULL); break;
	case 't': base.threads = (unsigned)strtoul(value, NULL, 10); break;
	case IDLE_OPTION: base.idle = true; break;
	case COLD_OPTION: wish.cold = 1; break;
	case HOT_OPTION: wish.cold = 0; break;
	case NO_COUNT: base.count = false; break;
	case BESIDE:
		if (engine_count == ENGINES_MAX)
			die("too many engines");
		engines[engine_count++] = load_engine(value);
		break;
	case ABOUT:
#ifdef __clang__
		printf("\"%s\"\n", __VERSION__);
#else
		printf("\"gcc %s\"\n", __VERSION__);
#endif
		exit(0);
	case 'h': usage(0);
	default: usage(2);
	}
}

static bool wanted(const char *name, char **patterns)
{
	for (char **p = patterns; *p; p++)
		if (!fnmatch(*p, name, 0) || !strncmp(*p, name, strlen(*p)))
			return true;
	return !*patterns;
}

/* A guest of the caller's own: with every page size that fits, for every format. */
static void own_sizes(void)
{
	static struct size own[3];
	size_t n = 0;

	if (!wish.bytes)
		return;
	if (wish.bytes & (wish.bytes - 1) || wish.bytes > 64 * TIB)
		die("guest memory is a power of two of GiB, at most 65536");
	for (unsigned lg2 = 12; lg2 <= 30; lg2 += 9)
		own[n++] = (struct size){lg2, wish.bytes, wish.cold > 0, false, EVERY};
	set_sizes(own, n);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{"list", no_argument, NULL, 'l'},
		{"quick", no_argument, NULL, 'q'},
		{"check", no_argument, NULL, 'c'},
		{"idle", no_argument, NULL, IDLE_OPTION},
		{"format", required_argument, NULL, 'f'},
		{"page", required_argument, NULL, 'p'},
		{"memory", required_argument, NULL, 'm'},
		{"rounds", required_argument, NULL, 'r'},
		{"budget", required_argument, NULL, 'b'},
		{"threads", required_argument, NULL, 't'},
		{"cold", no_argument, NULL, COLD_OPTION},
		{"hot", no_argument, NULL, HOT_OPTION},
		{"no-count", no_argument, NULL, NO_COUNT},
		{"beside", required_argument, NULL, BESIDE},
		{"json", required_argument, NULL, JSON},
		{"no-head", no_argument, NULL, NO_HEAD},
		{"about", no_argument, NULL, ABOUT},
		{"help", no_argument, NULL, 'h'},
		{0},
	};
	const char *json = NULL, *listed = "";
	bool list = false, head = true;
	int c;

	while ((c = getopt_long(argc, argv, "lqcf:p:m:r:b:t:h", options, NULL)) != -1) {
		if (c == 'l')
			list = true;
		else if (c == NO_HEAD)
			head = false;
		else if (c == JSON)
			json = optarg;
		else
			option(c, optarg);
	}
	if (!base.rounds || base.rounds > ROUNDS_MAX || base.threads < 2 ||
	    base.threads > THREADS_MAX || base.threads & (base.threads - 1)) {
		fprintf(stderr, "rounds are 1 to %d; threads a power of two, 2 to %d\n", ROUNDS_MAX,
			THREADS_MAX);
		return 2;
	}
	families[FAMILIES - 2] = helped_questions();
	families[FAMILIES - 1] = scale_questions(base.threads);
	own_sizes();
	if (!tell_open(json))
		die("%s: cannot be written", json);
	pin(0);
	for (unsigned e = 0; e < engine_count; e++)
		if (engines[e]->enter)
			engines[e]->enter();
	if (!list && head)
		tell_head();
	for (size_t f = 0; f < FAMILIES; f++) {
		for (const struct question *q = families[f]; q->name; q++) {
			if (!wanted(q->name, argv + optind))
				continue;
			if (!list)
				ask(q);
			else if (strcmp(q->name, listed))
				puts(listed = q->name);
		}
	}
	for (unsigned e = 0; e < engine_count; e++)
		if (engines[e]->leave)
			engines[e]->leave();
	tell_close();
	if (base.idle)
		printf("%u asked with nothing done, %u noticed\n", idle_asked, idle_noticed);
	return base.idle && (!idle_asked || idle_asked != idle_noticed);
}

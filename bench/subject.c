/* SPDX-License-Identifier: BSD-2-Clause */
/* One VM of one engine: brought into the state that a question wants, and looked at after the operation. */
#include "bench.h"

#include <stdlib.h>
#include <string.h>

#define SAMPLES 64

/* ---- which pages ---- */

/* i of n (a power of two), shuffled: one to one, and no neighbours. */
static uint64_t shuffled(uint64_t i, uint64_t n)
{
	unsigned half = 1;

	while ((uint64_t)1 << 2 * half < n)
		half++;
	i = i * 0x9e3779b97f4a7c15 & (n - 1);
	i ^= i >> half;
	i = i * 0xd1342543de82ef95 & (n - 1);
	i ^= i >> half;
	return i * 0xff51afd7ed558ccd & (n - 1);
}

static void pick_pages(struct subject *b)
{
	b->count = b->entries < b->s->calls || b->q->before & FAULTED ? b->entries : b->s->calls;
	b->each = zeroed(b->count, sizeof(*b->each));
	for (uint64_t i = 0; i < b->count; i++)
		b->each[i] = (b->q->random ? shuffled(i, b->entries) : i) << b->shape.page_lg2;
}

/* ---- before ---- */

static struct bench_work all_of(struct subject *b)
{
	return (struct bench_work){
		.vm = b->vm,
		.bytes = b->shape.bytes,
		.each = b->each,
		.count = b->count,
		.bitmap = b->bitmap,
		.ages = b->ages,
	};
}

static void must(const struct subject *b, int ret, const char *what)
{
	if (ret)
		die("%s: %s, %s: %d", b->engine->name, b->q->name, what, ret);
}

static void perform(struct subject *b, enum bench_op op, const char *what)
{
	struct bench_work work = all_of(b);

	if (!b->engine->op[op])
		die("%s: cannot %s, which %s needs", b->engine->name, what, b->q->name);
	must(b, b->engine->op[op](&work), what);
	b->quiet = false;
}

void subject_quiet(struct subject *b)
{
	if (b->engine->ready && !b->quiet)
		b->engine->ready(b->vm);
	b->quiet = true;
}

void subject_open(struct subject *b, const struct bench_engine *engine, const struct question *q,
		  const struct setting *s)
{
	*b = (struct subject){.engine = engine, .q = q, .s = s, .shape = s->shape};
	b->shape.asked = q->asked;
	b->shape.above = q->above;
	b->entries = b->shape.bytes >> b->shape.page_lg2;
	pick_pages(b);
	b->bitmap = zeroed(b->shape.bytes / (64 * 4 * KIB) + 1, 8);
	if (q->after & AGES_DONE)
		b->ages = zeroed(b->shape.bytes / (4 * KIB), 1);
	must(b, engine->create(&b->shape, &b->vm), "create");
}

void subject_close(struct subject *b)
{
	b->engine->destroy(b->vm);
	free(b->each);
	free(b->bitmap);
	free(b->ages);
	free(b->table);
}

static void add_table(void *arg, uint64_t *entries, unsigned count, unsigned level)
{
	struct subject *b = arg;

	if (b->tables == b->room) {
		b->room = b->room ? 2 * b->room : 1024;
		b->table = realloc(b->table, b->room * sizeof(*b->table));
		if (!b->table)
			die("no memory for the list of tables");
	}
	b->table[b->tables++] = (struct table){entries, count, level};
}

static void map_anew(struct subject *b)
{
	struct bench_counts counts;
	unsigned before = b->q->before;

	if (b->logged)
		perform(b, BENCH_LOG_OFF, "stop logging");
	b->logged = before & (LOGGED | FAULTED);
	b->engine->counts(b->vm, &counts);
	if (counts.leaves > 0)
		perform(b, BENCH_ZAP, "zap");
	subject_quiet(b);
	if (before & MAPPED)
		perform(b, BENCH_POPULATE, "populate");
	if (before & SMALL)
		perform(b, BENCH_SPLIT, "split");
	if (before & LOGGED)
		perform(b, BENCH_LOG_DIRTY, "log");
	if (before & FAULTED)
		perform(b, BENCH_LOG_FAULTS, "log");
	b->tables = 0;
	b->engine->tables(b->vm, add_table, b);
	b->whole = true;
}

static enum touch young(const struct subject *b, bool last)
{
	unsigned before = b->q->before;

	return last                    ? TOUCH_LAST
	       : before & YOUNG        ? TOUCH_ALL
	       : before & SOME         ? TOUCH_SOME
	       : before & (OLD | IDLE) ? TOUCH_NONE
				       : TOUCH_NOT;
}

static enum touch dirty(const struct subject *b, bool last)
{
	unsigned before = b->q->before;

	return last && before & CLEAN ? TOUCH_LAST
	       : before & DIRTY       ? TOUCH_ALL
	       : before & CLEAN       ? TOUCH_NONE
				      : TOUCH_NOT;
}

/*
 * The guest writes where it may not: wherever a table's first page is protected, all of its pages. What remains to be
 * done for Dirty is the MMU's.
 */
static void write_protected(struct subject *b)
{
	uint64_t each[PER_TABLE];

	for (uint64_t first = 0; first < b->entries; first += PER_TABLE) {
		struct bench_work work = {.vm = b->vm, .each = each};
		struct bench_seen seen = {0};

		b->engine->look(b->vm, first << b->shape.page_lg2, &seen);
		if (seen.writable)
			continue;
		while (work.count < PER_TABLE && first + work.count < b->entries) {
			each[work.count] = (first + work.count) << b->shape.page_lg2;
			work.count++;
		}
		if (!b->engine->op[BENCH_FAULT])
			die("%s: cannot write to protected pages", b->engine->name);
		must(b, b->engine->op[BENCH_FAULT](&work), "fault");
		b->quiet = false;
	}
}

void subject_prepare(struct subject *b, bool last)
{
	unsigned before = b->q->before;

	if (!b->whole)
		map_anew(b);
	if (b->q->after & BITS_DONE) /* or an answer of the last round would do */
		memset(b->bitmap, 0, b->shape.bytes / (8 * 4 * KIB));
	if (b->q->after & AGES_DONE)
		memset(b->ages, AGE_BEFORE, b->shape.bytes / (4 * KIB));
	if (before & HOLES)
		perform(b, BENCH_ZAP_EACH, "zap");
	if (before & FAULTED)
		perform(b, BENCH_FAULT, "fault");
	if (before & LOGGED && (before & DIRTY || last))
		write_protected(b);
	if (before & (YOUNG | OLD | IDLE | SOME | DIRTY | CLEAN))
		mmu_touch(b, young(b, last), dirty(b, last), before & IDLE && !last);
	if (before & IDLE && !last)
		for (unsigned i = 0; i < 2; i++)
			perform(b, BENCH_AGE, "age");
	subject_quiet(b);
	if (b->s->cold)
		mmu_sweep_caches();
}

struct bench_work subject_work(struct subject *b)
{
	return all_of(b);
}

void subject_do(const struct subject *b, struct bench_work *work)
{
	if (!b->s->idle)
		must(b, b->engine->op[b->q->op](work), "the operation itself");
}

void subject_used(struct subject *b)
{
	b->quiet = false;
	if (b->q->op == BENCH_LOG_DIRTY || b->q->op == BENCH_LOG_LAZY ||
	    b->q->op == BENCH_LOG_FAULTS)
		b->logged = true;
	if (!(b->q->before & KEPT))
		b->whole = false;
}

double subject_run(struct subject *b, struct bench_work *work)
{
	double begin = now();

	subject_do(b, work);
	begin = now() - begin;
	subject_used(b);
	return begin;
}

uint64_t subject_entries(const struct subject *b)
{
	return b->q->once ? 1 : b->q->single ? b->count : b->entries;
}

/* ---- after ---- */

static uint64_t bits_set(const struct subject *b)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < (b->shape.bytes / (4 * KIB) + 63) / 64; i++)
		n += (uint64_t)__builtin_popcountll(b->bitmap[i]);
	return n;
}

/* Each page is one scan older, or young: how many are. Else no number that is right. */
static uint64_t ages_young(const struct subject *b)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < b->shape.bytes / (4 * KIB); i++) {
		if (b->ages[i] && b->ages[i] != AGE_BEFORE + 1)
			return ~(uint64_t)0;
		n += b->ages[i] == 0;
	}
	return n;
}

static bool done_is_right(const struct subject *b, uint64_t done, bool last)
{
	unsigned after = b->q->after;
	uint64_t want = subject_entries(b), per = 1;

	if (!(after & (DONE_ENTRIES | DONE_SOME | DONE_NONE | DONE_SUM)))
		return true;
	if (after & AGES_DONE && done != ages_young(b))
		return false;
	if (after & BITS_DONE) {
		done = bits_set(b);
		per = ((uint64_t)1 << b->shape.page_lg2) / (4 * KIB);
	}
	if (after & DONE_SUM) {
		want = b->shape.pa * b->count;
		for (uint64_t i = 0; i < b->count; i++)
			want += b->each[i];
	}
	if (after & DONE_SOME)
		want = (b->entries + SPARSE - 1) / SPARSE;
	if (after & DONE_NONE)
		want = 0;
	if (last)
		want = 1;
	return done == want * per;
}

/* What one page must look like now. */
static bool page_is_right(const struct subject *b, uint64_t gpa, bool mapped)
{
	unsigned after = b->q->after, lg2 = b->shape.page_lg2 - (after & LEFT_SMALL ? 9 : 0);
	struct bench_seen seen = {0};

	b->engine->look(b->vm, gpa, &seen);
	if (!mapped || !seen.mapped)
		return !mapped && !seen.mapped;
	return seen.pa == b->shape.pa + gpa && seen.page_lg2 == lg2 &&
	       !(after & ALL_OLD && seen.young) && !(after & ALL_PROTECTED && seen.writable) &&
	       !(after & ALL_ARMED && seen.writable && seen.dirty);
}

static uint64_t leaves_wanted(const struct subject *b)
{
	unsigned after = b->q->after;

	return after & LEFT_ALL     ? b->entries
	       : after & LEFT_EACH  ? b->count
	       : after & LEFT_REST  ? b->entries - b->count
	       : after & LEFT_SMALL ? b->entries * PER_TABLE
				    : 0;
}

bool subject_check(struct subject *b, uint64_t done, bool last)
{
	unsigned after = b->q->after;
	uint64_t pages = after & (LEFT_EACH | LEFT_REST) ? b->count : b->entries;
	uint64_t samples = b->s->check || pages < SAMPLES ? pages : SAMPLES;
	struct bench_counts counts;

	if (!done_is_right(b, done, last))
		return false;
	b->engine->counts(b->vm, &counts);
	if (!(after & LEFT_DEAD) && counts.leaves != leaves_wanted(b))
		return false;
	if (after & ALL_OLD && b->whole && mmu_count_young(b) != 0)
		return false;
	for (uint64_t i = 0; i < samples; i++) {
		uint64_t nth = i + 1 == samples ? pages - 1 : i * (pages / samples);
		uint64_t gpa =
			after & (LEFT_EACH | LEFT_REST) ? b->each[nth] : nth << b->shape.page_lg2;

		if (!page_is_right(b, gpa, !(after & (LEFT_NONE | LEFT_REST | LEFT_DEAD))))
			return false;
	}
	return true;
}

void subject_refuse(const struct subject *b)
{
	const struct question *q = b->q;

	if (!b->s->idle)
		die("%s: %s%s%s: what was to be done is not done", b->engine->name, q->name,
		    q->variant ? ", " : "", q->variant ? q->variant : "");
	idle_noticed++;
}

bool subject_possible(const struct bench_engine *engine, const struct question *q,
		      const struct bench_shape *shape)
{
	static const struct {
		unsigned before;
		enum bench_op op;
	} needs[] = {
		{MAPPED, BENCH_POPULATE},  {IDLE, BENCH_AGE},       {SMALL, BENCH_SPLIT},
		{LOGGED, BENCH_LOG_DIRTY}, {LOGGED, BENCH_LOG_OFF}, {FAULTED, BENCH_LOG_FAULTS},
		{FAULTED, BENCH_LOG_OFF},  {FAULTED, BENCH_FAULT},  {HOLES, BENCH_ZAP_EACH},
	};

	for (size_t i = 0; i < sizeof(needs) / sizeof(needs[0]); i++)
		if (q->before & needs[i].before && !engine->op[needs[i].op])
			return false;
	return engine->asks >= q->asked &&
	       (engine->above >> shape->format & 1) >= (q->above || q->op == BENCH_LOG_LAZY) &&
	       engine->op[q->op] && engine->op[BENCH_ZAP] && engine->formats >> shape->format & 1;
}

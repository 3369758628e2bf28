/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page tables as a textbook has them, and the example of an engine to measure beside libtdp: EPT, one lock for the
 * VM, recursive, one entry at a time, one atomic exchange for each that changes. Nothing is done badly on purpose.
 */
#include "engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define READ_EXEC ((uint64_t)0x5)
#define WRITE ((uint64_t)1 << 1)
#define WB ((uint64_t)6 << 3)
#define LEAF ((uint64_t)1 << 7) /* above level 0 */
#define ACCESSED ((uint64_t)1 << 8)
#define DIRTY ((uint64_t)1 << 9)
#define ADDRESS ((uint64_t)0x000ffffffffff000)

typedef _Atomic uint64_t entry_t;

struct book {
	struct bench_shape shape;
	pthread_mutex_t lock;
	entry_t *root;
	uint64_t leaves, tables, flushes;
};

static unsigned lg2_of(unsigned level)
{
	return 12 + 9 * level;
}

static unsigned leaf_level(const struct book *b)
{
	return (b->shape.page_lg2 - 12) / 9;
}

static entry_t *table_new(struct book *b)
{
	entry_t *table = aligned_alloc(4096, 4096);

	if (table) {
		memset(table, 0, 4096);
		b->tables++;
	}
	return table;
}

static entry_t *below(uint64_t e)
{
	return (entry_t *)(uintptr_t)(e & ADDRESS);
}

static int is_table(uint64_t e, unsigned level)
{
	return level > 0 && e && !(e & LEAF);
}

/* ---- making ---- */

/* Map what is missing of [start, end) in this table, which begins at gpa base. */
static int map(struct book *b, entry_t *table, unsigned level, uint64_t base, uint64_t start,
	       uint64_t end)
{
	uint64_t size = (uint64_t)1 << lg2_of(level);

	for (unsigned i = (unsigned)(start > base ? (start - base) >> lg2_of(level) : 0);
	     i < 512 && base + i * size < end; i++) {
		uint64_t gpa = base + i * size, e = atomic_load(&table[i]);
		int ret;

		if (level == leaf_level(b)) {
			if (e)
				continue;
			atomic_store(&table[i], (b->shape.pa + gpa) | READ_EXEC | WRITE | WB |
							(level ? LEAF : 0) | ACCESSED | DIRTY);
			b->leaves++;
			continue;
		}
		if (!e) {
			entry_t *child = table_new(b);

			if (!child)
				return 1;
			e = (uint64_t)(uintptr_t)child | READ_EXEC | WRITE;
			atomic_store(&table[i], e);
		}
		ret = map(b, below(e), level - 1, gpa, start, end);
		if (ret)
			return ret;
	}
	return 0;
}

/* ---- changing ---- */

struct change {
	uint64_t clear; /* bits of each leaf; all: remove it, and tables that become empty */
	uint64_t had;   /* leaves are counted, and told of in the bitmap, that had one of these */
	uint64_t start, end, count;
	uint64_t *bitmap;
};

static void note(struct change *c, uint64_t gpa, unsigned level)
{
	c->count++;
	if (!c->bitmap)
		return;
	for (uint64_t page = (gpa - c->start) / 4096, n = (uint64_t)1 << 9 * level; n--; page++)
		c->bitmap[page / 64] |= (uint64_t)1 << page % 64;
}

/* 1 when the table is empty afterwards. */
static int change(struct book *b, entry_t *table, unsigned level, uint64_t base, struct change *c)
{
	uint64_t size = (uint64_t)1 << lg2_of(level);
	unsigned first = (unsigned)(c->start > base ? (c->start - base) >> lg2_of(level) : 0);
	int empty = first == 0 && base + 512 * size <= c->end;

	for (unsigned i = first; i < 512 && base + i * size < c->end; i++) {
		uint64_t gpa = base + i * size, e = atomic_load(&table[i]);

		if (!e)
			continue;
		if (is_table(e, level)) {
			if (change(b, below(e), level - 1, gpa, c)) {
				atomic_store(&table[i], 0);
				free(below(e));
				b->tables--;
			} else {
				empty = 0;
			}
			continue;
		}
		if (e & c->clear)
			e = c->clear == ~(uint64_t)0 ? atomic_exchange(&table[i], 0)
						     : atomic_fetch_and(&table[i], ~c->clear);
		if (e & c->had)
			note(c, gpa, level);
		if (c->clear == ~(uint64_t)0)
			b->leaves--;
		else
			empty = 0;
	}
	return empty;
}

static uint64_t change_range(struct book *b, uint64_t gpa, uint64_t bytes, uint64_t clear,
			     uint64_t had, uint64_t *bitmap)
{
	struct change c = {clear, had, gpa, gpa + bytes, 0, bitmap};

	pthread_mutex_lock(&b->lock);
	(void)change(b, b->root, 3, 0, &c);
	b->flushes += clear && clear != ACCESSED;
	pthread_mutex_unlock(&b->lock);
	return c.count;
}

/* The leaf that maps gpa, or where it would be. */
static entry_t *find(const struct book *b, uint64_t gpa, unsigned *level)
{
	entry_t *table = b->root;

	for (*level = 3;; (*level)--) {
		entry_t *entry = &table[gpa >> lg2_of(*level) & 511];
		uint64_t e = atomic_load(entry);

		if (!is_table(e, *level))
			return entry;
		table = below(e);
	}
}

/* ---- operations ---- */

static int do_fault(struct bench_work *w)
{
	struct book *b = w->vm;
	int ret = 0;

	for (size_t i = 0; i < w->count && !ret; i++) {
		unsigned level;
		entry_t *entry;

		pthread_mutex_lock(&b->lock);
		entry = find(b, w->each[i], &level);
		if (atomic_load(entry))
			atomic_fetch_or(entry, WRITE | ACCESSED | DIRTY);
		else
			ret = map(b, b->root, 3, 0, w->each[i], w->each[i] + 1);
		pthread_mutex_unlock(&b->lock);
	}
	return ret;
}

static int do_lookup(struct bench_work *w)
{
	struct book *b = w->vm;

	for (size_t i = 0; i < w->count; i++) {
		unsigned level;

		pthread_mutex_lock(&b->lock);
		w->done += atomic_load(find(b, w->each[i], &level)) & ADDRESS;
		pthread_mutex_unlock(&b->lock);
	}
	return 0;
}

static int do_populate(struct bench_work *w)
{
	struct book *b = w->vm;
	int ret;

	pthread_mutex_lock(&b->lock);
	ret = map(b, b->root, 3, 0, w->gpa, w->gpa + w->bytes);
	pthread_mutex_unlock(&b->lock);
	return ret;
}

static int do_zap(struct bench_work *w)
{
	(void)change_range(w->vm, w->gpa, w->bytes, ~(uint64_t)0, 0, NULL);
	return 0;
}

static int do_zap_each(struct bench_work *w)
{
	struct book *b = w->vm;

	for (size_t i = 0; i < w->count; i++)
		(void)change_range(b, w->each[i], (uint64_t)1 << b->shape.page_lg2, ~(uint64_t)0, 0,
				   NULL);
	return 0;
}

static int do_age(struct bench_work *w)
{
	w->done = change_range(w->vm, w->gpa, w->bytes, ACCESSED, ACCESSED, NULL);
	return 0;
}

static int do_test_age(struct bench_work *w)
{
	w->done = change_range(w->vm, w->gpa, w->bytes, 0, ACCESSED, NULL) > 0;
	return 0;
}

static int do_age_bitmap(struct bench_work *w)
{
	memset(w->bitmap, 0, w->bytes / 4096 / 8);
	w->done = change_range(w->vm, w->gpa, w->bytes, ACCESSED, ACCESSED, w->bitmap);
	return 0;
}

static int do_write_protect(struct bench_work *w)
{
	(void)change_range(w->vm, w->gpa, w->bytes, WRITE, 0, NULL);
	return 0;
}

/* The log is the Dirty bits: switching it on clears them. */
static int do_log(struct bench_work *w)
{
	struct book *b = w->vm;

	(void)change_range(b, 0, b->shape.bytes, DIRTY, 0, NULL);
	return 0;
}

static int do_nothing(struct bench_work *w)
{
	(void)w;
	return 0;
}

static int do_harvest(struct bench_work *w)
{
	memset(w->bitmap, 0, w->bytes / 4096 / 8);
	(void)change_range(w->vm, w->gpa, w->bytes, DIRTY, DIRTY, w->bitmap);
	return 0;
}

/* ---- one VM ---- */

static int create(const struct bench_shape *shape, void **vm)
{
	struct book *b = calloc(1, sizeof(*b));

	if (!b)
		return 1;
	b->shape = *shape;
	b->root = table_new(b);
	pthread_mutex_init(&b->lock, NULL);
	*vm = b;
	return !b->root;
}

static void destroy(void *vm)
{
	struct book *b = vm;

	/* All there can be, so that tables that are only partly in the guest go, too. */
	(void)change_range(b, 0, (uint64_t)1 << lg2_of(4), ~(uint64_t)0, 0, NULL);
	free(b->root);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

static void look(void *vm, uint64_t gpa, struct bench_seen *seen)
{
	unsigned level;
	uint64_t e = atomic_load(find(vm, gpa, &level));

	if (e)
		*seen = (struct bench_seen){
			.mapped = 1,
			.writable = !!(e & WRITE),
			.young = !!(e & ACCESSED),
			.dirty = !!(e & DIRTY),
			.page_lg2 = lg2_of(level),
			.pa = e & ADDRESS,
		};
}

static void counts(void *vm, struct bench_counts *out)
{
	const struct book *b = vm;

	*out = (struct bench_counts){b->leaves, b->tables, b->tables * 4096, b->flushes};
}

static void tables_below(entry_t *table, unsigned level, bench_table_fn *fn, void *arg)
{
	fn(arg, (uint64_t *)(uintptr_t)table, 512, level);
	for (unsigned i = 0; i < 512; i++)
		if (is_table(atomic_load(&table[i]), level))
			tables_below(below(atomic_load(&table[i])), level - 1, fn, arg);
}

static void tables(void *vm, bench_table_fn *fn, void *arg)
{
	tables_below(((struct book *)vm)->root, 3, fn, arg);
}

/* In a file of its own this would be called bench_engine. */
extern const struct bench_engine textbook_engine;
const struct bench_engine textbook_engine = {
	.name = "textbook",
	.formats = 1u << BENCH_EPT,
	.create = create,
	.destroy = destroy,
	.op = {[BENCH_FAULT] = do_fault,
	       [BENCH_LOOKUP] = do_lookup,
	       [BENCH_POPULATE] = do_populate,
	       [BENCH_ZAP] = do_zap,
	       [BENCH_ZAP_EACH] = do_zap_each,
	       [BENCH_TEARDOWN] = do_zap,
	       [BENCH_AGE] = do_age,
	       [BENCH_TEST_AGE] = do_test_age,
	       [BENCH_AGE_BITMAP] = do_age_bitmap,
	       [BENCH_WRPROT] = do_write_protect,
	       [BENCH_LOG_DIRTY] = do_log,
	       [BENCH_LOG_OFF] = do_nothing,
	       [BENCH_HARVEST] = do_harvest,
	       [BENCH_CLEAR] = do_harvest},
	.look = look,
	.counts = counts,
	.tables = tables,
};

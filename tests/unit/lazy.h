/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * For the tests of logs that are armed lazily: a slot, what the guest has written in it since, and what the log says.
 */
#ifndef TESTS_UNIT_LAZY_H
#define TESTS_UNIT_LAZY_H

#include "steps.h"

#define GPA GIB
#define LAZY TDP_LOG_LAZY
#define WORDS_MAX 1024u

static inline bool has_table_w(const struct test_format *fmt)
{
	return is_x86(fmt);
}

/* ---- a slot, what the guest has written in it since it was armed, and what the log says ---- */

struct guest {
	struct test_vm *vm;
	uint32_t id;
	tdp_gpa_t gpa;
	uint64_t pages;
	size_t words;
	uint64_t written[WORDS_MAX];
};

static inline void slot_of(struct guest *g, struct test_vm *vm, tdp_gpa_t gpa, uint64_t pages,
			   tdp_pa_t pa, uint32_t flags)
{
	g->vm = vm;
	g->gpa = gpa;
	g->pages = pages;
	g->words = (size_t)(pages + 63) / 64;
	assert_true(g->words <= WORDS_MAX);
	memset(g->written, 0, sizeof(g->written));
	g->id = add_slot(vm, 0, gpa, pages * TEST_PAGE, pa, flags);
}

static inline struct test_access write_page(struct guest *g, uint64_t page)
{
	g->written[page / 64] |= (uint64_t)1 << page % 64;
	return use(g->vm, (uint32_t)page % g->vm->cpus, g->gpa + page * TEST_PAGE, TDP_W);
}

static inline void write_all(struct guest *g, uint64_t step)
{
	for (uint64_t page = 0; page < g->pages; page += step)
		write_page(g, page);
}

static inline void log_with(struct guest *g, uint32_t mode)
{
	assert_int_equal(tdp_dirty_log(g->vm->mm, g->id, mode), TDP_OK);
	memset(g->written, 0, sizeof(g->written));
}

static inline void log_off(struct guest *g)
{
	assert_int_equal(tdp_dirty_log(g->vm->mm, g->id, TDP_LOG_OFF), TDP_OK);
}

/* The log says what was written, no more and no less. */
static inline void log_is_exact(struct guest *g)
{
	static uint64_t bits[WORDS_MAX];

	assert_int_equal(tdp_dirty_get(g->vm->mm, g->id, 0, bits, g->words), TDP_OK);
	assert_memory_equal(bits, g->written, g->words * sizeof(*bits));
	memset(bits, 0xff, sizeof(bits));
	assert_int_equal(tdp_dirty_harvest(g->vm->mm, g->id, 0, bits, g->words), TDP_OK);
	assert_memory_equal(bits, g->written, g->words * sizeof(*bits));
	memset(g->written, 0, sizeof(g->written));
}

struct marks {
	uint64_t leaves, writable, dirty;
};

static inline int count_marks(void *arg, const struct tdp_visit *v)
{
	struct marks *m = arg;

	m->leaves++;
	m->writable += (v->prot & TDP_W) != 0;
	m->dirty += (v->flags & TDP_MAP_DIRTY) != 0;
	return 0;
}

/* What lookups say of the slot's leaves. */
static inline struct marks marks_of(const struct guest *g)
{
	struct marks m = {0};

	assert_int_equal(tdp_walk(g->vm->mm, 0, range_of(g->gpa, g->pages * TEST_PAGE),
				  TDP_WALK_LEAF, count_marks, &m),
			 TDP_OK);
	return m;
}

/* Pages here and there, in several rounds. */
static inline void rounds(struct guest *g)
{
	for (uint64_t round = 0; round < 3; round++) {
		log_is_exact(g);
		for (uint64_t page = round; page < g->pages; page += 61)
			write_page(g, page);
	}
	log_is_exact(g);
	log_is_exact(g);
}

#endif

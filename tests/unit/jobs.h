/* SPDX-License-Identifier: BSD-2-Clause */
/* What the tests of jobs have in common: a guest whose memory is mapped in every way, and all steps of a job. */
#ifndef TESTS_UNIT_JOBS_H
#define TESTS_UNIT_JOBS_H

#include "steps.h"

#include <tdp/job.h>

#include <stdlib.h>

#define SMALL 6u /* blocks of small pages */
#define HUGE 6u  /* blocks that huge pages may map, behind them */
#define SLOT_SMALL 0u
#define SLOT_HUGE 1u

/* Guest memory of both kinds, some of it used: full tables, sparse ones, holes, huge pages. */
struct layout {
	struct test_vm vm;
	uint64_t block, step; /* from one block in use to the next */
	uint32_t slot[2];
};

static inline uint64_t pages_of(const struct layout *l)
{
	return l->block / TEST_PAGE;
}

static inline uint64_t entries_of(const struct layout *l)
{
	return l->block / TEST_PAGE; /* of a table: block_of() is a page one level up */
}

static inline void layout_slots(struct layout *l, uint64_t step)
{
	l->step = step;
	l->slot[SLOT_SMALL] = add_slot(&l->vm, 0, 0, SMALL * step, SLOT_PA, TDP_SLOT_FORCE_4K);
	/* Between larger pages: those would take too long to split. */
	l->slot[SLOT_HUGE] = add_slot(&l->vm, 0, SMALL * step, HUGE * step,
				      SLOT_PA + SMALL * step + (step > l->block ? l->block : 0), 0);
}

static inline void layout_up(struct layout *l, void **state, const struct test_vm_options *opts)
{
	vm_up(&l->vm, state, opts);
	l->block = block_of(&l->vm);
	layout_slots(l, l->block);
}

/* With much unused memory between the blocks. NULL: none. */
static inline void layout_apart(struct layout *l, void **state,
				uint64_t (*step)(const struct test_vm *vm))
{
	vm_up(&l->vm, state, NULL);
	l->block = block_of(&l->vm);
	layout_slots(l, step ? step(&l->vm) : l->block);
}

static inline void use_some(struct layout *l)
{
	/* Block 1 is full, 0, 2 and 4 hold some, 3 and 5 nothing. */
	for (uint64_t i = 0; i < pages_of(l); i++) {
		use(&l->vm, 0, l->step + i * TEST_PAGE, TDP_W);
		if (i % 3 == 0)
			use(&l->vm, 0, i * TEST_PAGE, i % 2 ? TDP_R : TDP_W);
		if (i % 7 == 0)
			use(&l->vm, 0, 2 * l->step + i * TEST_PAGE, TDP_W);
		if (i % 11 == 0)
			use(&l->vm, 0, 4 * l->step + i * TEST_PAGE, TDP_R);
	}
	for (uint64_t i = 0; i < HUGE; i++)
		if (i != 2)
			use(&l->vm, 0, (SMALL + i) * l->step, i % 2 ? TDP_R : TDP_W);
}

static inline struct tdp_range all_of(const struct layout *l)
{
	return range_of(0, (SMALL + HUGE) * l->step);
}

/* From within a block of small pages to within a huge page. */
static inline struct tdp_range ragged(const struct layout *l)
{
	return range_of(5 * TEST_PAGE, (SMALL + 1) * l->step);
}

/* Around the first huge block that is in use. */
static inline struct tdp_range border(const struct layout *l, bool ragged)
{
	return range_of(SMALL * l->step - l->block + (ragged ? 5 * TEST_PAGE : 0),
			2 * l->block + (ragged ? TEST_PAGE : 0));
}

static inline struct tdp_job job_of(uint32_t kind, struct tdp_range range, uint64_t max_entries)
{
	return (struct tdp_job){.size = (uint32_t)sizeof(struct tdp_job),
				.kind = kind,
				.range = range,
				.max_entries = max_entries};
}

/* All steps. How many there were. */
static inline uint64_t run(struct test_vm *vm, struct tdp_job *job)
{
	uint64_t n = 1;
	int ret;

	while ((ret = tdp_job_step(vm->mm, job)) == 1)
		assert_true(++n < 1u << 20);
	assert_int_equal(ret, 0);
	assert_int_equal(tdp_job_step(vm->mm, job), 0); /* and stays at its end */
	return n;
}

/* ---- states to begin with ---- */

/* Tables that map nothing: what was in them went page by page. */
static inline void empty_some(struct layout *l)
{
	for (uint64_t block = 0; block < SMALL; block += 2)
		for (uint64_t i = 0; i < pages_of(l); i += pages_of(l) / 2)
			assert_int_equal(
				tdp_zap(l->vm.mm, 0,
					range_of(block * l->step + i * TEST_PAGE, l->block / 2), 0),
				TDP_OK);
}

static inline void split_all(struct layout *l)
{
	assert_int_equal(tdp_split(l->vm.mm, 0, all_of(l), 12), TDP_OK);
}

static inline void log_and_write(struct layout *l)
{
	assert_int_equal(tdp_dirty_log(l->vm.mm, l->slot[SLOT_SMALL], TDP_LOG_AUTO), TDP_OK);
	for (uint64_t i = 0; i < SMALL * pages_of(l); i += 5)
		use(&l->vm, 0, i / pages_of(l) * l->step + i % pages_of(l) * TEST_PAGE, TDP_W);
}

#endif

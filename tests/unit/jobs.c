/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs: long operations in short steps. However short, the steps together do what the plain call does; and what
 * is no job is refused.
 */
#include "job_kinds.h"

/* ---- the same as the plain call ---- */

static void in_steps(struct test_vm *vm, struct tdp_job *job, uint64_t max_entries)
{
	job->max_entries = max_entries;
	run(vm, job);
}

/* With steps of one entry, of some, and with no limit at all. */
static void steps_do_what_the_call_does(void **state)
{
	static const uint64_t limits[] = {1, 700, 0};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (size_t j = 0; j < ARRAY_LEN(limits); j++)
			compare(state, &kinds[i], NULL, in_steps, limits[j]);
}

/* ---- refused ---- */

static void bad_jobs_are_refused(void **state)
{
	uint64_t word = 0;
	struct test_dump before;
	struct layout l;
	struct tdp_job good, j;

	layout_up(&l, state, NULL);
	use_some(&l);
	before = dump_of(&l.vm);
	good = job_of(TDP_JOB_ZAP, all_of(&l), 1);
#define REFUSED(status, change)                                                                    \
	do {                                                                                       \
		struct tdp_job was;                                                                \
		j = good;                                                                          \
		change;                                                                            \
		was = j;                                                                           \
		assert_int_equal(tdp_job_step(l.vm.mm, &j), (status));                             \
		assert_memory_equal(&was, &j, sizeof(j));                                          \
	} while (0)
	assert_int_equal(tdp_job_step(NULL, &good), TDP_EINVAL);
	assert_int_equal(tdp_job_step(l.vm.mm, NULL), TDP_EINVAL);
	REFUSED(TDP_EINVAL, j.size--);
	REFUSED(TDP_EINVAL, j.kind = 0);
	REFUSED(TDP_EINVAL, j.kind = TDP_JOB_HARVEST + 1);
	REFUSED(TDP_EINVAL, j.reserved = 1);
	REFUSED(TDP_EINVAL, j.flags = TDP_ZAP_STRICT);
	REFUSED(TDP_EINVAL, j.flags = 0x80000000u);
	REFUSED(TDP_EINVAL, j.lg2 = 12);
	REFUSED(TDP_EINVAL, j.slot = 1);
	REFUSED(TDP_EINVAL, j.bitmap = &word);
	REFUSED(TDP_EINVAL, j.words = 1);
	REFUSED(TDP_EINVAL, j.pass = 4);
	REFUSED(TDP_EINVAL, j.done = 1);
	REFUSED(TDP_EINVAL, j.done = j.range.size + TEST_PAGE);
	REFUSED(TDP_EINVAL, j.as_id = TDP_AS_MAX);
	REFUSED(TDP_EINVAL, j.range.size = 0);
	REFUSED(TDP_EINVAL, j.range.start = 1);
	REFUSED(TDP_ERANGE, j.range.start = ~(uint64_t)0 << 12);
	REFUSED(TDP_ERANGE, j.range.size = test_vm_size(&l.vm) + TEST_PAGE);
	REFUSED(TDP_EINVAL, (j.kind = TDP_JOB_AGE, j.bitmap = &word, j.words = 1));
	REFUSED(TDP_EINVAL, (j.kind = TDP_JOB_SPLIT, j.lg2 = 13));
	REFUSED(TDP_EINVAL, (j.kind = TDP_JOB_POPULATE, j.flags = TDP_POPULATE_STRICT));
	REFUSED(TDP_EINVAL, (j.kind = TDP_JOB_POPULATE, j.as_id = TDP_AS_ALL));
	good = job_of(TDP_JOB_HARVEST, range_of(0, 64 * TEST_PAGE), 0);
	good.slot = l.slot[SLOT_SMALL];
	good.bitmap = &word;
	good.words = 1;
	REFUSED(TDP_ENOENT, ); /* not logged */
	REFUSED(TDP_EINVAL, j.as_id = 1);
	REFUSED(TDP_EINVAL, j.words = 2);
	REFUSED(TDP_EINVAL, j.bitmap = NULL);
	REFUSED(TDP_EINVAL, j.range.start = TEST_PAGE);
	REFUSED(TDP_ERANGE, j.range.start = ~(uint64_t)0 << 18);
#undef REFUSED
	same_as(&l.vm, &before);
	vm_down(&l.vm);
}

static bool one_root_page(const struct test_format *fmt)
{
	return fmt->root_pages == 1;
}

/* No memory for the tables at the edges: the step changes nothing and can be asked for again. */
static void no_memory_no_step(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct test_dump before;
	struct tdp_job job;
	struct layout l;
	int ret;

	layout_up(&l, state, &opts);
	use_some(&l);
	before = dump_of(&l.vm);
	job = job_of(TDP_JOB_ZAP, ragged(&l), 1);
	test_env_fail(&l.vm.env, 1);
	ret = tdp_job_step(l.vm.mm, &job);
	test_env_fail(&l.vm.env, 0);
	assert_int_equal(ret, TDP_ENOMEM);
	assert_int_equal(job.done, 0);
	assert_int_equal(job.pass, 0);
	same_as(&l.vm, &before);
	run(&l.vm, &job);
	assert_true(mapped(&l.vm, 0, 0));
	assert_false(mapped(&l.vm, 0, job.range.start));
	vm_down(&l.vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(steps_do_what_the_call_does),
		TEST_CASE(bad_jobs_are_refused),
		TEST_CASE_IF(no_memory_no_step, one_root_page),
	};

	return test_run("jobs", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Jobs: long operations in short steps. However short, the steps together do what the plain call does; and what
 * is no job is refused.
 */
#include "jobs.h"

/* ---- the same as the plain call ---- */

struct kind {
	const char *name;
	struct tdp_job job;               /* what is not the range */
	bool ragged;                      /* not over everything */
	void (*before)(struct layout *l); /* after use_some() */
	/* What the plain call says: status and count. */
	int (*plain)(struct layout *l, struct tdp_range range, const struct tdp_job *job,
		     uint64_t *bitmap, uint64_t *count);
};

static int plain_zap(struct layout *l, struct tdp_range range, const struct tdp_job *job,
		     uint64_t *bitmap, uint64_t *count)
{
	(void)bitmap;
	(void)count;
	return tdp_zap(l->vm.mm, 0, range, job->flags);
}

static int plain_compact(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			 uint64_t *bitmap, uint64_t *count)
{
	int n = tdp_compact(l->vm.mm, 0, range);

	(void)bitmap;
	(void)job;
	*count = (uint64_t)n;
	assert_true(n > 0);
	return TDP_OK;
}

static int plain_protect(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			 uint64_t *bitmap, uint64_t *count)
{
	(void)bitmap;
	(void)job;
	(void)count;
	return tdp_write_protect(l->vm.mm, 0, range);
}

static int plain_age(struct layout *l, struct tdp_range range, const struct tdp_job *job,
		     uint64_t *bitmap, uint64_t *count)
{
	(void)bitmap;
	(void)job;
	assert_int_equal(tdp_age(l->vm.mm, 0, range, count), 1);
	return TDP_OK;
}

static int plain_age_bitmap(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			    uint64_t *bitmap, uint64_t *count)
{
	size_t words = (size_t)((range.size / TEST_PAGE + 63) / 64);

	/* Counts nothing: asked before, and changing nothing. */
	(void)job;
	assert_int_equal(tdp_age_bitmap(l->vm.mm, 0, range, false, bitmap, words), 1);
	assert_int_equal(tdp_age(l->vm.mm, 0, range, count), 1);
	return TDP_OK;
}

static int plain_split(struct layout *l, struct tdp_range range, const struct tdp_job *job,
		       uint64_t *bitmap, uint64_t *count)
{
	(void)bitmap;
	(void)count;
	return tdp_split(l->vm.mm, 0, range, job->lg2);
}

static int plain_collapse(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			  uint64_t *bitmap, uint64_t *count)
{
	int ret = tdp_collapse(l->vm.mm, 0, range, job->flags, count);

	(void)bitmap;
	assert_true(*count > 0);
	return ret;
}

static int plain_populate(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			  uint64_t *bitmap, uint64_t *count)
{
	(void)bitmap;
	(void)count;
	return tdp_populate(l->vm.mm, 0, range, job->flags, NULL);
}

static int plain_harvest(struct layout *l, struct tdp_range range, const struct tdp_job *job,
			 uint64_t *bitmap, uint64_t *count)
{
	size_t words = (size_t)((range.size / TEST_PAGE + 63) / 64);
	int ret;

	(void)job;
	ret = tdp_dirty_harvest(l->vm.mm, l->slot[SLOT_SMALL], range.start / TEST_PAGE, bitmap,
				words);
	for (size_t i = 0; i < words * 64; i++)
		*count += bitmap[i / 64] >> i % 64 & 1;
	assert_true(*count > 0);
	return ret;
}

static const struct kind kinds[] = {
	{"zap", {.kind = TDP_JOB_ZAP}, false, NULL, plain_zap},
	{"zap, ragged", {.kind = TDP_JOB_ZAP}, true, NULL, plain_zap},
	{"zap, lazy", {.kind = TDP_JOB_ZAP, .flags = TDP_ZAP_LAZY}, true, NULL, plain_zap},
	{"zap, young", {.kind = TDP_JOB_ZAP, .flags = TDP_ZAP_KEEP_YOUNG}, false, NULL, plain_zap},
	{"compact", {.kind = TDP_JOB_COMPACT}, false, empty_some, plain_compact},
	{"protect", {.kind = TDP_JOB_WRITE_PROTECT}, false, NULL, plain_protect},
	{"protect, ragged", {.kind = TDP_JOB_WRITE_PROTECT}, true, NULL, plain_protect},
	{"age", {.kind = TDP_JOB_AGE}, true, NULL, plain_age},
	{"age, bitmap", {.kind = TDP_JOB_AGE}, false, NULL, plain_age_bitmap},
	{"split", {.kind = TDP_JOB_SPLIT, .lg2 = 12}, false, NULL, plain_split},
	{"collapse", {.kind = TDP_JOB_COLLAPSE}, false, split_all, plain_collapse},
	{"collapse, zap",
	 {.kind = TDP_JOB_COLLAPSE, .flags = TDP_COLLAPSE_ZAP},
	 false,
	 split_all,
	 plain_collapse},
	{"populate", {.kind = TDP_JOB_POPULATE}, false, NULL, plain_populate},
	{"populate, young",
	 {.kind = TDP_JOB_POPULATE, .flags = TDP_POPULATE_YOUNG},
	 true,
	 NULL,
	 plain_populate},
	{"harvest", {.kind = TDP_JOB_HARVEST}, false, log_and_write, plain_harvest},
};

static void compare(void **state, const struct kind *k, uint64_t max_entries)
{
	struct layout plain, steps;
	struct test_dump a, b;
	struct tdp_range range;
	uint64_t count = 0, *bits, *wanted;
	struct tdp_job job = k->job;
	size_t words;

	layout_up(&plain, state, NULL);
	layout_up(&steps, state, NULL);
	use_some(&plain);
	use_some(&steps);
	if (k->before) {
		k->before(&plain);
		k->before(&steps);
	}
	range = k->ragged ? ragged(&plain) : all_of(&plain);
	if (job.kind == TDP_JOB_HARVEST) /* the slot's, from its second word on */
		range = range_of(64 * TEST_PAGE, SMALL * plain.block - 64 * TEST_PAGE);
	words = (size_t)((range.size / TEST_PAGE + 63) / 64);
	bits = calloc(words, 8);
	wanted = calloc(words, 8);
	assert_non_null(bits);
	assert_non_null(wanted);
	assert_int_equal(k->plain(&plain, range, &k->job, wanted, &count), TDP_OK);

	job.size = (uint32_t)sizeof(job);
	job.range = range;
	job.max_entries = max_entries;
	if (job.kind == TDP_JOB_HARVEST) {
		job.slot = steps.slot[SLOT_SMALL];
		memset(bits, 0xff, words * 8); /* each word is written */
	}
	if (job.kind == TDP_JOB_HARVEST || k->plain == plain_age_bitmap) {
		job.bitmap = bits;
		job.words = words;
	}
	run(&steps.vm, &job);
	assert_int_equal(job.count, count);
	if (job.bitmap)
		assert_memory_equal(bits, wanted, words * 8);
	a = dump_of(&plain.vm);
	b = dump_of(&steps.vm);
	if (test_dump_diff(&a, &b, true))
		fail_msg("%s, %llu entries a step", k->name, (unsigned long long)max_entries);
	assert_int_equal(tables_of(&plain.vm), tables_of(&steps.vm));
	test_dump_free(&a);
	test_dump_free(&b);
	free(bits);
	free(wanted);
	vm_down(&steps.vm);
	vm_down(&plain.vm);
}

/* With steps of one entry, of some, and with no limit at all. */
static void steps_do_what_the_call_does(void **state)
{
	static const uint64_t limits[] = {1, 700, 0};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (size_t j = 0; j < ARRAY_LEN(limits); j++)
			compare(state, &kinds[i], limits[j]);
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

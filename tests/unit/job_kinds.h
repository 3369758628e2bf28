/* SPDX-License-Identifier: BSD-2-Clause */
/* Every kind of job beside its plain call: in steps, or done by several threads, it must come to the same. */
#ifndef TESTS_UNIT_JOB_KINDS_H
#define TESTS_UNIT_JOB_KINDS_H

#include "jobs.h"

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

/*
 * The blocks in use are `step` apart (0: they follow each other). `does` takes the job to its end, and gets arg.
 */
static void compare(void **state, const struct kind *k, uint64_t (*step)(const struct test_vm *vm),
		    void (*does)(struct test_vm *vm, struct tdp_job *job, uint64_t arg),
		    uint64_t arg)
{
	struct layout plain, steps;
	struct test_dump a, b;
	struct tdp_range range;
	uint64_t count = 0, *bits, *wanted;
	struct tdp_job job = k->job;
	size_t words;

	layout_apart(&plain, state, step);
	layout_apart(&steps, state, step);
	use_some(&plain);
	use_some(&steps);
	if (k->before) {
		k->before(&plain);
		k->before(&steps);
	}
	range = k->ragged ? ragged(&plain) : all_of(&plain);
	if (job.kind == TDP_JOB_HARVEST) /* the slot's, from its second word on */
		range = range_of(64 * TEST_PAGE, SMALL * plain.step - 64 * TEST_PAGE);
	if (job.kind == TDP_JOB_POPULATE && step) /* not all that is between the blocks */
		range = border(&plain, k->ragged);
	words = (size_t)((range.size / TEST_PAGE + 63) / 64);
	bits = calloc(words, 8);
	wanted = calloc(words, 8);
	assert_non_null(bits);
	assert_non_null(wanted);
	assert_int_equal(k->plain(&plain, range, &k->job, wanted, &count), TDP_OK);

	job.size = (uint32_t)sizeof(job);
	job.range = range;
	if (job.kind == TDP_JOB_HARVEST) {
		job.slot = steps.slot[SLOT_SMALL];
		memset(bits, 0xff, words * 8); /* each word is written */
	}
	if (job.kind == TDP_JOB_HARVEST || k->plain == plain_age_bitmap) {
		job.bitmap = bits;
		job.words = words;
	}
	does(&steps.vm, &job, arg);
	assert_int_equal(job.count, count);
	if (job.bitmap)
		assert_memory_equal(bits, wanted, words * 8);
	a = dump_of(&plain.vm);
	b = dump_of(&steps.vm);
	if (test_dump_diff(&a, &b, true))
		fail_msg("%s, %llu", k->name, (unsigned long long)arg);
	assert_int_equal(tables_of(&plain.vm), tables_of(&steps.vm));
	test_dump_free(&a);
	test_dump_free(&b);
	free(bits);
	free(wanted);
	vm_down(&steps.vm);
	vm_down(&plain.vm);
}

#endif

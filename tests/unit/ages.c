/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Idle ages (AGE jobs with ages): page by page what a plain list of all uses says, counted by buckets, whatever the
 * steps; no use is lost, and what cannot be is refused.
 */
#include "jobs.h"

#define FIRST 5u /* pages in front of the range */
#define BUCKETS 6u

/*
 * Guest memory in two address spaces: blocks of small pages, a hole, blocks that huge pages may map. The range begins
 * and ends inside. `used` is what the guest did since the last scan.
 */
struct scan {
	struct test_vm vm;
	uint64_t block, small; /* bytes of a block, and of all small pages */
	uint64_t huge, end;    /* where they begin, and where they end */
	uint64_t tail;         /* pages of the last block that are in the range */
	uint64_t pages, words, *bits, wanted[BUCKETS];
	struct tdp_range range;
	uint8_t *ages, *model;
	bool *used;
	struct tdp_idle_bucket buckets[BUCKETS];
	struct test_rand rand;
	uint32_t as_id;
};

static void scan_over(struct scan *s, struct tdp_range range)
{
	free(s->bits);
	free(s->ages);
	free(s->model);
	free(s->used);
	s->range = range;
	s->pages = s->range.size / TEST_PAGE;
	s->words = (s->pages + 63) / 64;
	s->bits = calloc(s->words, 8);
	s->ages = malloc(s->pages);
	s->model = malloc(s->pages);
	s->used = calloc(s->pages, sizeof(*s->used));
	assert_true(s->bits && s->ages && s->model && s->used);
	memset(s->ages, TDP_IDLE_NEVER, s->pages);
	memset(s->model, TDP_IDLE_NEVER, s->pages);
}

static void scan_up(struct scan *s, void **state, struct test_vm_options opts)
{
	static const uint8_t ages[BUCKETS] = {1, 2, 5, 17, TDP_IDLE_MOST, TDP_IDLE_NEVER};

	memset(s, 0, sizeof(*s));
	test_rand_init(&s->rand, test_seed());
	opts.cpus = 2;
	opts.emu_flags = TDP_EMU_NO_TLB; /* so that each use is seen */
	vm_up(&s->vm, state, &opts);
	s->block = block_of(&s->vm);
	s->small = test_vm_size(&s->vm) / 4 / s->block * s->block;
	if (s->small > 6 * MIB)
		s->small = s->block > 2 * MIB ? 3 * s->block : 6 * MIB;
	s->huge = s->small + s->block;
	s->end = s->huge + s->small;
	s->tail = s->block / TEST_PAGE * 5 / 8;
	for (uint32_t as = 0; as < 2; as++) {
		add_slot(&s->vm, as, 0, s->small, SLOT_PA, TDP_SLOT_FORCE_4K);
		add_slot(&s->vm, as, s->huge, s->small, SLOT_PA + s->huge, 0);
	}
	assert_int_equal(tdp_vcpu_set_as(s->vm.cpu[1].vcpu, 1), TDP_OK);
	s->as_id = TDP_AS_ALL;
	scan_over(s,
		  range_of(FIRST * TEST_PAGE, s->end - s->block + (s->tail - FIRST) * TEST_PAGE));
	for (unsigned i = 0; i < BUCKETS; i++)
		s->buckets[i] = (struct tdp_idle_bucket){.pages = 0, .age = ages[i]};
}

static void scan_down(struct scan *s)
{
	vm_down(&s->vm);
	free(s->bits);
	free(s->ages);
	free(s->model);
	free(s->used);
}

static struct tdp_job job_for(struct scan *s, uint64_t max_entries)
{
	struct tdp_job job = job_of(TDP_JOB_AGE, s->range, max_entries);

	job.as_id = s->as_id;
	job.bitmap = s->bits;
	job.words = s->words;
	job.ages = s->ages;
	job.buckets = s->buckets;
	job.bucket_count = BUCKETS;
	return job;
}

/* ---- the model ---- */

static void mark(struct scan *s, tdp_gpa_t gpa, uint64_t size, bool used)
{
	for (; size > 0; gpa += TEST_PAGE, size -= TEST_PAGE)
		if (gpa >= s->range.start && gpa - s->range.start < s->range.size)
			s->used[(gpa - s->range.start) / TEST_PAGE] = used;
}

/* By the vCPU of an address space. All of a huge page counts as used. */
static void touch(struct scan *s, uint32_t as, tdp_gpa_t gpa)
{
	struct tdp_mapping leaf;

	use(&s->vm, as, gpa, test_one_in(&s->rand, 2) ? TDP_R : TDP_W);
	assert_int_equal(translate(&s->vm, as, gpa, &leaf), TDP_OK);
	if (s->as_id == TDP_AS_ALL || s->as_id == as)
		mark(s, leaf.gpa, UINT64_C(1) << leaf.lg2, true);
}

static tdp_gpa_t any_page(struct scan *s)
{
	tdp_gpa_t gpa = test_below(&s->rand, 2 * s->small / TEST_PAGE) * TEST_PAGE;

	return gpa < s->small ? gpa : s->huge + gpa - s->small;
}

static void something(struct scan *s)
{
	static const unsigned many[] = {0, 1, 3, 40, 200};
	uint32_t as = (uint32_t)test_below(&s->rand, 2);
	tdp_gpa_t gpa = any_page(s), small = gpa % s->small;
	tdp_gpa_t block = s->huge + small / s->block * s->block;
	uint64_t n = 1 + test_below(&s->rand, 20);

	for (unsigned i = many[test_below(&s->rand, ARRAY_LEN(many))]; i > 0; i--)
		touch(s, (uint32_t)test_below(&s->rand, 2), any_page(s));
	switch (test_below(&s->rand, 8)) {
	case 0: /* what is not there was not used, as far as anybody can tell */
		assert_int_equal(tdp_zap(s->vm.mm, TDP_AS_ALL, range_of(gpa, n * TEST_PAGE), 0),
				 TDP_OK);
		mark(s, gpa, n * TEST_PAGE, false);
		break;
	case 1: /* mapped, but not used */
		n = n * TEST_PAGE < s->small - small ? n : 1;
		assert_int_equal(
			tdp_populate(s->vm.mm, as, range_of(small, n * TEST_PAGE), 0, NULL),
			TDP_OK);
		break;
	case 2:
		assert_int_equal(tdp_split(s->vm.mm, as, range_of(block, s->block), 12), TDP_OK);
		break;
	case 3: /* one after the other */
		for (uint64_t i = 0; i < 100; i++)
			touch(s, as, (small + i * TEST_PAGE) % s->small);
		break;
	default: break;
	}
}

static void model_scan(struct scan *s)
{
	for (uint64_t i = 0; i < s->pages; i++) {
		s->model[i] = s->used[i] ? 0 : (uint8_t)(s->model[i] + (s->model[i] < 254));
		s->used[i] = false;
		for (unsigned b = BUCKETS; b-- > 0;)
			if (s->model[i] >= s->buckets[b].age) {
				s->wanted[b]++;
				break;
			}
	}
}

static void compare(struct scan *s, unsigned round)
{
	for (uint64_t i = 0; i < s->pages; i++)
		if (s->ages[i] != s->model[i])
			fail_msg("scan %u, page %llu: age %u instead of %u", round,
				 (unsigned long long)i, s->ages[i], s->model[i]);
	for (unsigned b = 0; b < BUCKETS; b++)
		assert_int_equal(s->buckets[b].pages, s->wanted[b]);
	for (uint64_t w = 0; w < s->words; w++)
		assert_int_equal(s->bits[w], 0);
}

/* ---- what is counted ---- */

static bool has_table_a(const struct test_format *fmt)
{
	return is_x86(fmt) && has_a(fmt);
}

static void like_the_model(void **state, struct test_vm_options opts, uint32_t as_id,
			   const uint64_t *limits)
{
	struct scan s;

	scan_up(&s, state, opts);
	s.as_id = as_id;
	for (unsigned round = 0; round < 40; round++) {
		struct tdp_job job = job_for(&s, limits[round % 3]);

		if (round < 20 || round % 4 == 0)
			something(&s);
		/* Without limits it is one call. */
		if (!job.max_entries)
			assert_int_equal(tdp_job_step(s.vm.mm, &job), 0);
		else
			run(&s.vm, &job);
		model_scan(&s);
		compare(&s, round);
	}
	scan_down(&s);
}

static void ages_are_the_models(void **state)
{
	static const uint64_t whole[3] = {0};
	static const struct test_vm_options flush = {.mm_flags = TDP_MM_FLUSH_ON_AGE};

	like_the_model(state, (struct test_vm_options){0}, 0, whole);
	like_the_model(state, flush, TDP_AS_ALL, whole);
}

/* Roots whose walks do not come equally far in a step; huge pages that reach beyond it. */
static void steps_say_the_same(void **state)
{
	static const uint64_t limits[3] = {1, 100, 0};

	like_the_model(state, (struct test_vm_options){0}, 1, limits);
	like_the_model(state, (struct test_vm_options){0}, TDP_AS_ALL, limits);
}

static void idle_tables_are_as_old(void **state)
{
	static const struct test_vm_options tables = {.mm_flags = TDP_MM_AGE_TABLES};
	static const uint64_t limits[3] = {0, 0, 300};

	like_the_model(state, tables, TDP_AS_ALL, limits);
}

/* All of a word used at once, none of it, the last page of one and the first of the next. */
static void words_of_every_kind(void **state)
{
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	for (unsigned round = 0; round < 6; round++) {
		struct tdp_job job = job_for(&s, 0);
		uint64_t pages = s.small / TEST_PAGE;

		for (uint64_t i = FIRST; i < pages; i++) {
			uint64_t word = (i - FIRST) / 64, bit = (i - FIRST) % 64;

			if ((word + round) % 3 == 0 || (bit + round) % 64 == 63 || bit == round * 8)
				touch(&s, 0, i * TEST_PAGE);
		}
		assert_int_equal(tdp_job_step(s.vm.mm, &job), 0);
		model_scan(&s);
		compare(&s, round);
	}
	scan_down(&s);
}

/* Many pages, most of them of the same age, and some in use all over them. */
static void many_pages(void **state)
{
	uint64_t pages = 2 * UINT64_C(16384) + 37;
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	scan_over(&s, range_of(0, pages * TEST_PAGE));
	add_slot(&s.vm, 2, 0, pages * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_vcpu_set_as(s.vm.cpu[0].vcpu, 2), TDP_OK);
	for (unsigned round = 0; round < 3; round++) {
		struct tdp_job job = job_for(&s, 0);

		for (unsigned i = 0; i < 200; i++) {
			tdp_gpa_t gpa = test_below(&s.rand, pages) * TEST_PAGE;

			use(&s.vm, 0, gpa, TDP_R);
			mark(&s, gpa, TEST_PAGE, true);
		}
		assert_int_equal(tdp_job_step(s.vm.mm, &job), 0);
		model_scan(&s);
		compare(&s, round);
	}
	scan_down(&s);
}

static void ages_go_no_further(void **state)
{
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	touch(&s, 0, FIRST * TEST_PAGE);
	touch(&s, 0, (FIRST + 1) * TEST_PAGE);
	for (unsigned round = 0; round < 300; round++) {
		struct tdp_job job = job_for(&s, 0);

		if (round == 270 || round % 50 == 0)
			touch(&s, 0, (FIRST + 1) * TEST_PAGE);
		assert_int_equal(tdp_job_step(s.vm.mm, &job), 0);
		model_scan(&s);
		compare(&s, round);
		assert_int_equal(s.ages[0], round < 254 ? round : TDP_IDLE_MOST);
		assert_int_equal(s.ages[2], TDP_IDLE_NEVER);
	}
	assert_int_equal(s.ages[1], 29);
	scan_down(&s);
}

static void a_huge_page_is_all_young(void **state)
{
	struct tdp_job job;
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	touch(&s, 0, s.end - TEST_PAGE); /* behind the range, the same leaf */
	assert_int_equal(leaf_at(&s.vm, s.end - s.block).lg2, test_vm_lg2(&s.vm, 1));
	job = job_for(&s, 1);
	run(&s.vm, &job);
	for (uint64_t i = 0; i < s.pages; i++)
		assert_int_equal(s.ages[i], i < s.pages - s.tail ? TDP_IDLE_NEVER : 0);
	assert_int_equal(job.count, 1);
	scan_down(&s);
}

/* The tables are looked at as often as by the plain call. */
static void one_walk(void **state)
{
	uint64_t asked, plain;
	struct tdp_job job;
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	for (unsigned i = 0; i < 100; i++)
		touch(&s, 0, any_page(&s));
	plain = atomic_load(&s.vm.env.yield_asked);
	assert_int_equal(tdp_age(s.vm.mm, TDP_AS_ALL, s.range, NULL), 1);
	asked = atomic_load(&s.vm.env.yield_asked);
	plain = asked - plain;
	job = job_for(&s, 0);
	assert_int_equal(tdp_job_step(s.vm.mm, &job), 0);
	assert_int_equal(atomic_load(&s.vm.env.yield_asked) - asked, plain);
	assert_true(plain > 0);
	scan_down(&s);
}

/* ---- steps ---- */

static uint64_t clock_now;

static uint64_t tick(void *priv)
{
	(void)priv;
	return clock_now += 600;
}

static void with_clock(struct tdp_env *env)
{
	clock_now = UINT64_C(1) << 40;
	env->now = tick;
}

/* Where nothing is mapped a walk is through at once; bytes are changed no faster for that. */
static void steps_are_short(void **state)
{
	static const uint64_t limits[] = {1, 64, 200, 0};

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		uint64_t most = limits[i] < 64 ? 64 : limits[i], n = 0, before;
		struct tdp_job job;
		struct scan s;
		int ret;

		scan_up(&s, state, (struct test_vm_options){.host = with_clock});
		job = job_for(&s, limits[i]);
		if (!limits[i]) { /* by time: the clock is looked at so often */
			most = 3 * UINT64_C(512);
			job.max_ns = 1000;
		}
		while ((ret = tdp_job_step(s.vm.mm, &job)) == 1 && job.pass == 0)
			assert_true(++n < 100);
		assert_int_equal(ret, 1);
		assert_int_equal(job.done, 0); /* each pass begins with a step of its own */
		do {
			before = job.done;
			assert_int_equal(job.pass, 1);
			ret = tdp_job_step(s.vm.mm, &job);
			n++;
			assert_true((job.pass == 1 ? job.done : s.range.size) - before <=
				    most * TEST_PAGE);
		} while (ret == 1);
		assert_int_equal(ret, 0);
		assert_true(n >= s.pages / most);
		scan_down(&s);
	}
}

/*
 * Whatever is used between the steps, and wherever a job is forgotten: each use is found, by this scan or the next.
 */
static void no_use_is_lost(void **state)
{
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	for (unsigned round = 0; round < 30; round++) {
		struct tdp_job job = job_for(&s, 1 + test_below(&s.rand, 300)), all;
		uint64_t steps = test_below(&s.rand, 12);

		for (unsigned i = 0; i < 50; i++)
			touch(&s, i % 2, any_page(&s));
		for (; steps > 0 && tdp_job_step(s.vm.mm, &job) == 1; steps--)
			for (unsigned i = 0; i < 5; i++)
				touch(&s, i % 2, any_page(&s));
		all = job_for(&s, 0);
		assert_int_equal(tdp_job_step(s.vm.mm, &all), 0);
		for (uint64_t i = 0; i < s.pages; i++) {
			/* If the forgotten one had come to the ages, it was a scan for some. */
			if (s.used[i] && s.ages[i] > (job.pass > 0))
				fail_msg("page %llu: age %u", (unsigned long long)i, s.ages[i]);
			s.used[i] = false;
		}
	}
	scan_down(&s);
}

/* ---- refused ---- */

static void bad_ages_are_refused(void **state)
{
	struct tdp_idle_bucket buckets[BUCKETS];
	struct test_dump before;
	struct tdp_job good, j;
	struct scan s;

	scan_up(&s, state, (struct test_vm_options){0});
	for (unsigned i = 0; i < 50; i++)
		touch(&s, 0, any_page(&s));
	before = dump_of(&s.vm);
	good = job_for(&s, 0);
	memcpy(buckets, s.buckets, sizeof(buckets));
#define REFUSED(change)                                                                            \
	do {                                                                                       \
		struct tdp_idle_bucket given[BUCKETS];                                             \
		struct tdp_job was;                                                                \
		j = good;                                                                          \
		change;                                                                            \
		was = j;                                                                           \
		memcpy(given, s.buckets, sizeof(given));                                           \
		assert_int_equal(tdp_job_step(s.vm.mm, &j), TDP_EINVAL);                           \
		assert_memory_equal(&was, &j, sizeof(j));                                          \
		assert_memory_equal(given, s.buckets, sizeof(given));                              \
		memcpy(s.buckets, buckets, sizeof(buckets));                                       \
	} while (0)
	REFUSED((j.bitmap = NULL, j.words = 0));
	REFUSED(j.words--);
	REFUSED(j.kind = TDP_JOB_ZAP);
	REFUSED((j.kind = TDP_JOB_ZAP, j.bitmap = NULL, j.words = 0));
	REFUSED((j.kind = TDP_JOB_ZAP, j.bitmap = NULL, j.words = 0, j.ages = NULL));
	REFUSED(j.ages = NULL);
	REFUSED(j.buckets = NULL);
	REFUSED(j.bucket_count = 0);
	REFUSED(s.buckets[0].age = s.buckets[1].age);
	REFUSED(s.buckets[4].age = TDP_IDLE_NEVER);
	REFUSED(s.buckets[5].age = TDP_IDLE_NEVER + 1);
	REFUSED(s.buckets[1].age = 0x100u + 3);
	REFUSED(s.buckets[2].reserved = 1);
	REFUSED((j.pass = 1, j.done = TEST_PAGE));
	REFUSED(j.pass = 3);
#undef REFUSED
	for (uint64_t i = 0; i < s.pages; i++)
		assert_int_equal(s.ages[i], TDP_IDLE_NEVER);
	for (uint64_t w = 0; w < s.words; w++)
		assert_int_equal(s.bits[w], 0);
	same_as(&s.vm, &before);
	scan_down(&s);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(ages_are_the_models),
		TEST_CASE(steps_say_the_same),
		TEST_CASE_IF(idle_tables_are_as_old, has_table_a),
		TEST_CASE(words_of_every_kind),
		TEST_CASE(many_pages),
		TEST_CASE(ages_go_no_further),
		TEST_CASE(a_huge_page_is_all_young),
		TEST_CASE(one_walk),
		TEST_CASE(steps_are_short),
		TEST_CASE(no_use_is_lost),
		TEST_CASE(bad_ages_are_refused),
	};

	return test_run("ages", cases, ARRAY_LEN(cases));
}

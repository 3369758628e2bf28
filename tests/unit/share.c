/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One operation done by several threads: however many help, and whenever they come, it comes to what the plain call
 * does; the owner returns last; what fails stops all; and what is no job is refused.
 */
#include "job_kinds.h"

#include <tdp/share.h>

#include <time.h>
#include <unistd.h>

/* As large as a page can be, and at least what two tables one above the other cover. */
static uint64_t part_of(const struct test_vm *vm)
{
	uint32_t lg2 = test_vm_lg2(vm, 2), leaf = test_vm_max_lg2(vm);

	return (uint64_t)1 << (lg2 > leaf ? lg2 : leaf);
}

static uint64_t half_a_part(const struct test_vm *vm)
{
	return part_of(vm) / 2;
}

static struct tdp_share begun(struct test_vm *vm, const struct tdp_job *job)
{
	struct tdp_share share;

	assert_int_equal(tdp_share_begin(vm->mm, &share, job), TDP_OK);
	return share;
}

/* ---- the same as the plain call ---- */

#define HELPERS 3u

struct helper {
	struct tdp_share *share;
	uint64_t parts; /* at a time */
	pthread_barrier_t *start;
	int answer;
};

static void helps(struct test_vm *vm, void *arg)
{
	struct helper *h = arg;

	(void)vm;
	if (h->start)
		pthread_barrier_wait(h->start);
	h->answer = tdp_share_help(h->share, h->parts);
}

static void helps_on(struct test_vm *vm, void *arg)
{
	struct helper *h = arg;

	do
		helps(vm, arg);
	while (h->start = NULL, h->answer == 1);
}

/* How often somebody else helps before the owner does anything; or, all at once. */
enum { NOBODY, ONE_PART, ALL_PARTS, TOGETHER };

static void shared(struct test_vm *vm, struct tdp_job *job, uint64_t how)
{
	struct tdp_share share = begun(vm, job);
	struct helper h[HELPERS];
	struct aside aside[HELPERS];
	pthread_t thread[HELPERS];
	pthread_barrier_t start;

	if (how == ONE_PART || how == ALL_PARTS) {
		h[0] = (struct helper){&share, how == ONE_PART, NULL, -1};
		run_aside(vm, helps, &h[0]);
		assert_int_equal(h[0].answer, how == ONE_PART);
	}
	if (how == TOGETHER) {
		test_env_yield(&vm->env, TEST_YIELD_NTH, 3);
		pthread_barrier_init(&start, NULL, HELPERS + 1);
		for (unsigned i = 0; i < HELPERS; i++) {
			h[i] = (struct helper){&share, i, &start, -1};
			aside[i] = (struct aside){vm, helps_on, &h[i]};
			assert_int_equal(pthread_create(&thread[i], NULL, aside_thread, &aside[i]),
					 0);
		}
		pthread_barrier_wait(&start);
	}
	assert_int_equal(tdp_share_finish(&share, &job->count), TDP_OK);
	for (unsigned i = 0; how == TOGETHER && i < HELPERS; i++) {
		pthread_join(thread[i], NULL);
		assert_int_equal(h[i].answer, 0);
	}
}

static void it_comes_to_the_same(void **state)
{
	static const uint64_t hows[] = {NOBODY, ONE_PART, ALL_PARTS, TOGETHER};

	for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
		for (size_t j = 0; j < ARRAY_LEN(hows); j++)
			compare(state, &kinds[i], half_a_part, shared, hows[j]);
}

/* ---- tables over several parts ---- */

/* How much a table above all parts covers. */
static uint64_t above(const struct test_vm *vm)
{
	unsigned level = 3;

	while ((uint64_t)1 << test_vm_lg2(vm, level) <= part_of(vm))
		level++;
	return (uint64_t)1 << test_vm_lg2(vm, level);
}

static bool four_levels(const struct test_format *fmt)
{
	return fmt->tree_levels >= 4;
}

#define USES 24u

static void use_above(struct test_vm *vm, struct tdp_range range)
{
	assert_int_equal(test_vm_slot(vm, 0, 0, 2 * range.size, SLOT_PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	for (uint64_t i = 0; i < USES; i++)
		use(vm, 0, range.start + range.size / USES / TEST_PAGE * i * TEST_PAGE, TDP_W);
}

static void without_leaves(struct test_vm *vm, struct tdp_range range)
{
	for (uint64_t i = 0; i < USES; i++)
		assert_int_equal(tdp_zap(vm->mm, 0,
					 range_of(range.start + range.size / USES / TEST_PAGE * i *
									TEST_PAGE,
						  TEST_PAGE),
					 0),
				 TDP_OK);
}

/* All that lie inside go, by whomever, as with the plain call. */
static void upper_tables_go_too(void **state)
{
	for (int compact = 0; compact < 2; compact++) {
		struct test_vm plain, vm;
		struct tdp_range range;
		struct tdp_share share;
		struct tdp_job job;
		uint64_t root, before, count = 0;
		struct helper h = {&share, 5, NULL, -1};

		vm_up(&plain, state, NULL);
		vm_up(&vm, state, NULL);
		load(&vm, 0);
		root = tables_of(&vm);
		range = range_of(0, above(&vm));
		use_above(&plain, range);
		use_above(&vm, range);
		if (compact) {
			without_leaves(&plain, range);
			without_leaves(&vm, range);
		}
		before = tables_of(&vm);
		job = job_of(compact ? TDP_JOB_COMPACT : TDP_JOB_ZAP, range, 0);
		share = begun(&vm, &job);
		run_aside(&vm, helps, &h);
		assert_int_equal(h.answer, 1);
		assert_int_equal(tdp_share_finish(&share, &count), TDP_OK);
		if (compact) {
			assert_int_equal(tdp_compact(plain.mm, 0, range), count);
			assert_int_equal(count, before - tables_of(&vm));
		} else {
			assert_int_equal(tdp_zap(plain.mm, 0, range, 0), TDP_OK);
			assert_int_equal(leaves_of(&vm), 0);
		}
		assert_int_equal(tables_of(&vm), tables_of(&plain));
		assert_true(tables_of(&vm) < root + 2);
		vm_down(&vm);
		vm_down(&plain);
	}
}

static bool parts_are_pages(const struct test_format *fmt)
{
	return fmt->tree_levels >= 3;
}

/* The largest pages end where parts do: none is split, none counted twice. */
static void large_pages_stay_whole(void **state)
{
	static const uint32_t kind[] = {TDP_JOB_AGE, TDP_JOB_WRITE_PROTECT, TDP_JOB_COLLAPSE,
					TDP_JOB_ZAP};
	uint64_t part, count;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	part = part_of(&vm);
	add_slot(&vm, 0, part, 2 * part, SLOT_PA, 0);
	use(&vm, 0, part, TDP_W);
	use(&vm, 0, 2 * part + TEST_PAGE, TDP_W);
	assert_int_equal(leaves_of(&vm), 2);
	for (size_t i = 0; i < ARRAY_LEN(kind); i++) {
		struct tdp_job job = job_of(kind[i], range_of(0, 3 * part), 0);
		struct tdp_share share = begun(&vm, &job);

		assert_int_equal(tdp_share_help(&share, 1), 1);
		assert_int_equal(tdp_share_finish(&share, &count), TDP_OK);
		assert_int_equal(count, kind[i] == TDP_JOB_AGE ? 2 : 0);
		assert_int_equal(leaves_of(&vm), kind[i] == TDP_JOB_ZAP ? 0 : 2);
	}
	vm_down(&vm);
}

/* ---- who waits, and for what ---- */

static void use_parts(struct test_vm *vm, uint64_t n)
{
	add_slot(vm, 0, 0, n * part_of(vm), SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < n; i++)
		use(vm, 0, i * part_of(vm), TDP_W);
}

/*
 * One flush for each that did something, as many parts as it may have done; one for what is above them; none for who
 * came too late.
 */
static void a_flush_for_each(void **state)
{
	for (int halves = 0; halves < 2; halves++) {
		struct spy spy = {.halves = halves};
		struct tdp_share share;
		struct tdp_job job;

		spy_up(&spy, state, NULL);
		use_parts(&spy.vm, 8);
		job = job_of(TDP_JOB_ZAP, range_of(0, 8 * part_of(&spy.vm)), 0);
		share = begun(&spy.vm, &job);
		atomic_store(&spy.ranges, 0);
		atomic_store(&spy.alls, 0);
		assert_int_equal(tdp_share_help(&share, 3), 1);
		assert_int_equal(atomic_load(&spy.ranges) + atomic_load(&spy.alls), 1);
		assert_int_equal(tdp_emu_cached(spy.vm.emu, 0, 3 * part_of(&spy.vm)), 0);
		assert_false(mapped(&spy.vm, 0, 2 * part_of(&spy.vm)));
		assert_true(mapped(&spy.vm, 0, 3 * part_of(&spy.vm)));
		assert_int_equal(tdp_share_finish(&share, NULL), TDP_OK);
		assert_int_equal(tdp_share_help(&share, 0), 0);
		/* Parts that are larger than what is cut off at once leave their own tables to the owner. */
		assert_int_equal(atomic_load(&spy.ranges) + atomic_load(&spy.alls),
				 part_of(&spy.vm) >> test_vm_lg2(&spy.vm, 2) == 1 ? 2 : 3);
		assert_int_equal(atomic_load(&spy.begun), 0);
		assert_int_equal(leaves_of(&spy.vm), 0);
		vm_down(&spy.vm);
	}
}

/* A host that wakes nobody by chance. */
static pthread_mutex_t wait_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t wait_cond = PTHREAD_COND_INITIALIZER;
static _Atomic unsigned waited, not_woken;

static void sleep_until_woken(void *priv, const uint32_t *word, uint32_t value)
{
	struct timespec until;

	(void)priv;
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 3;
	pthread_mutex_lock(&wait_lock);
	if (__atomic_load_n(word, __ATOMIC_RELAXED) == value) {
		atomic_fetch_add(&waited, 1);
		if (pthread_cond_timedwait(&wait_cond, &wait_lock, &until))
			atomic_fetch_add(&not_woken, 1);
	}
	pthread_mutex_unlock(&wait_lock);
}

static void wake_up(void *priv, const uint32_t *word)
{
	(void)priv;
	(void)word;
	pthread_mutex_lock(&wait_lock);
	pthread_cond_broadcast(&wait_cond);
	pthread_mutex_unlock(&wait_lock);
}

static void with_sleep(struct tdp_env *env)
{
	env->wait = sleep_until_woken;
	env->wake = wake_up;
}

static _Atomic int stage; /* 1: the helper is in its flush; 2: the owner has returned */
static bool sleeps;

/* Until the owner waits: of one that spins that cannot be seen. */
static void flush_takes_long(struct spy *spy, struct tdp_range range)
{
	(void)range;
	atomic_store(&stage, 1);
	for (unsigned i = 0; i < (sleeps ? 500 : 2) && atomic_load(&waited) == 0; i++)
		usleep(10000);
	if (atomic_load(&stage) != 1)
		test_violation(&spy->vm.env, "the owner returns before a helper's flush");
}

/* Spinning, or asleep until somebody wakes him. */
static void the_owner_returns_last(void **state)
{
	for (int waits = 0; waits < 2; waits++) {
		struct test_vm_options opts = {.host = waits ? with_sleep : NULL};
		struct spy spy = {.on_flush = NULL};
		struct helper h;
		struct aside aside = {&spy.vm, helps, &h};
		struct tdp_share share;
		struct tdp_job job;
		pthread_t thread;

		spy_up(&spy, state, &opts);
		use_parts(&spy.vm, 1);
		job = job_of(TDP_JOB_ZAP, range_of(0, part_of(&spy.vm)), 0);
		share = begun(&spy.vm, &job);
		h = (struct helper){&share, 0, NULL, -1};
		atomic_store(&stage, 0);
		atomic_store(&waited, 0);
		sleeps = waits;
		spy.on_flush = flush_takes_long;
		assert_int_equal(pthread_create(&thread, NULL, aside_thread, &aside), 0);
		while (atomic_load(&stage) == 0)
			usleep(100);
		assert_int_equal(tdp_share_finish(&share, NULL), TDP_OK);
		atomic_store(&stage, 2);
		pthread_join(thread, NULL);
		assert_int_equal(atomic_load(&waited) > 0, waits);
		assert_int_equal(atomic_load(&not_woken), 0);
		assert_int_equal(h.answer, 0);
		spy.on_flush = NULL;
		vm_down(&spy.vm);
	}
}

static void late_helpers_do_nothing(void **state)
{
	struct tdp_share share;
	struct test_dump before;
	struct tdp_job job;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	use_parts(&vm, 3);
	job = job_of(TDP_JOB_ZAP, range_of(0, 3 * part_of(&vm)), 0);
	share = begun(&vm, &job);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_OK);
	for (uint64_t i = 0; i < 3; i++)
		use(&vm, 0, i * part_of(&vm), TDP_W);
	before = dump_of(&vm);
	for (uint64_t i = 0; i < 3; i++)
		assert_int_equal(tdp_share_help(&share, i), 0);
	same_as(&vm, &before);
	vm_down(&vm);
}

/* ---- failures ---- */

/* The second part fails, in a helper's hands: the first is done, nobody begins the others, and the owner tells. */
static void a_failure_stops_all(void **state)
{
	uint64_t part, count = 0;
	struct tdp_share share;
	struct tdp_job job;
	struct test_vm vm;
	struct helper h = {&share, 0, NULL, 0};

	vm_up(&vm, state, NULL);
	part = part_of(&vm);
	add_slot(&vm, 0, part - TEST_PAGE, TEST_PAGE, SLOT_PA, 0);
	add_slot(&vm, 0, part + TEST_PAGE, 2 * part, SLOT_PA + TEST_PAGE, 0);
	job = job_of(TDP_JOB_POPULATE, range_of(part - TEST_PAGE, 2 * part), 0);
	share = begun(&vm, &job);
	assert_int_equal(tdp_share_help(&share, 1), 1);
	run_aside(&vm, helps, &h);
	assert_int_equal(h.answer, TDP_ENOENT);
	assert_int_equal(tdp_share_help(&share, 0), 0);
	assert_int_equal(tdp_share_finish(&share, &count), TDP_ENOENT);
	assert_true(mapped(&vm, 0, part - TEST_PAGE));
	assert_false(mapped(&vm, 0, 2 * part));
	vm_down(&vm);
}

/* No memory for a table at the range's edge: nothing is done of that part, and what was is as it should be. */
static void no_memory_no_part(void **state)
{
	struct test_vm_options opts = {.chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_share share;
	struct tdp_job job;
	struct layout l;

	layout_up(&l, state, &opts);
	use_some(&l);
	job = job_of(TDP_JOB_ZAP, ragged(&l), 0);
	share = begun(&l.vm, &job);
	test_env_fail(&l.vm.env, 1);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_ENOMEM);
	test_env_fail(&l.vm.env, 0);
	assert_true(mapped(&l.vm, 0, (SMALL + 1) * l.block));
	assert_int_equal(test_vm_check(&l.vm), 0);
	share = begun(&l.vm, &job);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_OK);
	assert_false(mapped(&l.vm, 0, (SMALL + 1) * l.block));
	vm_down(&l.vm);
}

static bool one_root_page(const struct test_format *fmt)
{
	return fmt->root_pages == 1;
}

static void bad_jobs_are_refused(void **state)
{
	struct tdp_share share = {.mm = NULL}, was;
	struct test_dump before;
	struct tdp_job good, j;
	uint64_t word[2] = {0};
	uint8_t ages[128] = {0};
	struct layout l;

	layout_up(&l, state, NULL);
	use_some(&l);
	before = dump_of(&l.vm);
	good = job_of(TDP_JOB_ZAP, all_of(&l), 0);
	was = share;
#define REFUSED(status, change)                                                                    \
	do {                                                                                       \
		j = good;                                                                          \
		change;                                                                            \
		assert_int_equal(tdp_share_begin(l.vm.mm, &share, &j), (status));                  \
		assert_memory_equal(&was, &share, sizeof(share));                                  \
	} while (0)
	assert_int_equal(tdp_share_begin(NULL, &share, &good), TDP_EINVAL);
	assert_int_equal(tdp_share_begin(l.vm.mm, NULL, &good), TDP_EINVAL);
	assert_int_equal(tdp_share_begin(l.vm.mm, &share, NULL), TDP_EINVAL);
	assert_int_equal(tdp_share_help(NULL, 0), TDP_EINVAL);
	assert_int_equal(tdp_share_help(&share, 0), TDP_EINVAL);
	assert_int_equal(tdp_share_finish(NULL, NULL), TDP_EINVAL);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_EINVAL);
	REFUSED(TDP_EINVAL, j.size--);
	REFUSED(TDP_EINVAL, j.kind = 0);
	REFUSED(TDP_EINVAL, j.flags = TDP_ZAP_STRICT);
	REFUSED(TDP_EINVAL, j.max_entries = 1);
	REFUSED(TDP_EINVAL, j.done = TEST_PAGE);
	REFUSED(TDP_EINVAL, j.pass = 1);
	REFUSED(TDP_EINVAL, j.count = 1);
	REFUSED(TDP_EINVAL, j.range.start = 1);
	REFUSED(TDP_ERANGE, j.range.size = test_vm_size(&l.vm) + TEST_PAGE);
	if (l.vm.env.env.now)
		REFUSED(TDP_EINVAL, j.max_ns = 1);
	good = job_of(TDP_JOB_AGE, range_of(TEST_PAGE, 128 * TEST_PAGE), 0);
	good.bitmap = word;
	good.words = 2;
	REFUSED(TDP_EINVAL, );
	good.range.start = 0;
	REFUSED(TDP_EINVAL, j.ages = ages);
	good = job_of(TDP_JOB_HARVEST, range_of(0, 64 * TEST_PAGE), 0);
	good.slot = l.slot[SLOT_SMALL];
	good.bitmap = word;
	good.words = 1;
	REFUSED(TDP_ENOENT, ); /* not logged */
	assert_int_equal(tdp_dirty_log(l.vm.mm, good.slot, TDP_LOG_WRPROT), TDP_OK);
	test_dump_free(&before);
	before = dump_of(&l.vm);
	REFUSED(TDP_ERANGE, j.range.start = SMALL * l.block / (64 * TEST_PAGE) * 64 * TEST_PAGE +
					    64 * TEST_PAGE);
	/* What only the plain call can tell. */
	j = job_of(TDP_JOB_SPLIT, all_of(&l), 0);
	j.lg2 = 13;
	share = begun(&l.vm, &j);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_EINVAL);
	j = job_of(TDP_JOB_POPULATE, all_of(&l), 0);
	j.as_id = TDP_AS_ALL;
	share = begun(&l.vm, &j);
	assert_int_equal(tdp_share_finish(&share, NULL), TDP_EINVAL);
#undef REFUSED
	same_as(&l.vm, &before);
	vm_down(&l.vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(it_comes_to_the_same),
		TEST_CASE_IF(upper_tables_go_too, four_levels),
		TEST_CASE_IF(large_pages_stay_whole, parts_are_pages),
		TEST_CASE(a_flush_for_each),
		TEST_CASE(the_owner_returns_last),
		TEST_CASE(late_helpers_do_nothing),
		TEST_CASE(a_failure_stops_all),
		TEST_CASE_IF(no_memory_no_part, one_root_page),
		TEST_CASE(bad_jobs_are_refused),
	};

	return test_run("share", cases, ARRAY_LEN(cases));
}

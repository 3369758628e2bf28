/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One operation after the other is done by its owner and whoever else has time, beside vCPUs that use the memory
 * concerned, on both sides of the borders between parts. What went away is reached by nobody when the owner's call
 * returns, nobody's write is missing from what a harvest said, and a helper never outlives the share.
 *
 * TDP_RACE_MS: how long, for each format (500).
 */
#include "unit/machine.h"

#include <tdp/share.h>

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define VCPUS 2u
#define HELPERS 3u
#define BORDERS 3u
#define PAGES 12u /* on each side of a border; of the logged slot, at the start of each part */
#define CELLS (BORDERS * PAGES)

struct shared {
	struct test_vm vm;
	struct test_backing mem[BORDERS]; /* pages that come and go */
	uint64_t part;
	tdp_gpa_t ram;
	uint32_t ram_slot;
	_Atomic bool stop;
	_Atomic uint64_t cell[CELLS]; /* of ram: how often it was written */
	_Atomic uint64_t helped;
	/* What helpers may look at: under the lock, and counted while they do. */
	pthread_mutex_t lock;
	struct tdp_share *share;
	unsigned helping;
};

static void must(struct shared *s, const char *what, int status)
{
	if (status < 0)
		test_violation(&s->vm.env, "%s: %s", what, tdp_status_name(status));
}

static tdp_gpa_t border(const struct shared *s, unsigned i)
{
	return (1 + i) * s->part;
}

static tdp_gpa_t cell_at(const struct shared *s, unsigned i)
{
	return s->ram + i / PAGES * s->part + i % PAGES * TEST_PAGE;
}

/* ---- vCPUs ---- */

struct runner {
	struct shared *s;
	unsigned number;
	struct test_rand rand;
};

static void *vcpu_main(void *arg)
{
	struct runner *r = arg;
	struct shared *s = r->s;

	s->vm.env.env.rcu->thread_register();
	while (!atomic_load(&s->stop)) {
		unsigned i = (unsigned)test_below(&r->rand, CELLS);
		uint32_t access = test_one_in(&r->rand, 2) ? TDP_W : TDP_R;
		tdp_gpa_t gpa = border(s, i / PAGES) - PAGES * TEST_PAGE +
				test_below(&r->rand, 2 * PAGES) * TEST_PAGE;

		if (test_one_in(&r->rand, 2)) {
			gpa = cell_at(s, i);
			if (access == TDP_W)
				atomic_fetch_add(&s->cell[i], 1);
		}
		if (test_vm_touch(&s->vm, r->number, gpa, access))
			test_violation(&s->vm.env, "vCPU %u at %#llx", r->number,
				       (unsigned long long)gpa);
	}
	s->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- helpers ---- */

static struct tdp_share *join(struct shared *s)
{
	struct tdp_share *share;

	pthread_mutex_lock(&s->lock);
	share = s->share;
	s->helping += share != NULL;
	pthread_mutex_unlock(&s->lock);
	return share;
}

static void part_from(struct shared *s)
{
	pthread_mutex_lock(&s->lock);
	s->helping--;
	pthread_mutex_unlock(&s->lock);
}

static void *helper_main(void *arg)
{
	struct runner *r = arg;
	struct shared *s = r->s;

	s->vm.env.env.rcu->thread_register();
	while (!atomic_load(&s->stop)) {
		struct tdp_share *share = join(s);
		int ret;

		if (!share) {
			sched_yield();
			continue;
		}
		do {
			ret = tdp_share_help(share, test_below(&r->rand, 3));
			atomic_fetch_add_explicit(&s->helped, ret == 1, memory_order_relaxed);
		} while (ret == 1);
		must(s, "help", ret);
		part_from(s);
	}
	s->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* On the owner's stack; poisoned when nobody may look at it any more. */
static uint64_t helped(struct shared *s, uint32_t kind, struct tdp_range range, uint32_t flags,
		       uint64_t *bitmap)
{
	struct tdp_job job = {.size = (uint32_t)sizeof(job), .kind = kind, .flags = flags};
	struct tdp_share share;
	uint64_t count = 0;
	unsigned helping;

	job.range = range;
	job.lg2 = kind == TDP_JOB_SPLIT ? TDP_PAGE_LG2 : 0;
	job.slot = kind == TDP_JOB_HARVEST ? s->ram_slot : 0;
	job.bitmap = bitmap;
	job.words = bitmap ? (range.size / TEST_PAGE + 63) / 64 : 0;
	must(s, "begin", tdp_share_begin(s->vm.mm, &share, &job));
	pthread_mutex_lock(&s->lock);
	s->share = &share;
	pthread_mutex_unlock(&s->lock);
	sched_yield();
	must(s, "finish", tdp_share_finish(&share, &count));
	if (share.left)
		test_violation(&s->vm.env, "%u parts are not complete", share.left);
	pthread_mutex_lock(&s->lock);
	s->share = NULL;
	pthread_mutex_unlock(&s->lock);
	do {
		sched_yield();
		pthread_mutex_lock(&s->lock);
		helping = s->helping;
		pthread_mutex_unlock(&s->lock);
	} while (helping > 0);
	memset(&share, 0xa5, sizeof(share));
	return count;
}

/* ---- the owner ---- */

/* Memory goes as it should: nobody reaches it afterwards, which the walker knows. */
static void discard(struct shared *s, struct tdp_range all)
{
	must(s, "begin", tdp_invalidate_begin(s->vm.mm, all));
	helped(s, TDP_JOB_ZAP, all, 0, NULL);
	for (unsigned i = 0; i < BORDERS; i++)
		test_backing_drop(&s->mem[i], range_of(border(s, i) - PAGES * TEST_PAGE,
						       2 * PAGES * TEST_PAGE));
	must(s, "end", tdp_invalidate_end(s->vm.mm, all));
}

static void harvest(struct shared *s, uint64_t *bits, uint64_t *copy)
{
	struct tdp_range range = range_of(0, 2 * s->part + PAGES * TEST_PAGE);
	uint64_t n = helped(s, TDP_JOB_HARVEST, range, 0, bits);

	for (unsigned i = 0; i < CELLS; i++) {
		uint64_t page = (cell_at(s, i) - s->ram) / TEST_PAGE;

		if (bits[page / 64] >> page % 64 & 1) {
			copy[i] = atomic_load(&s->cell[i]);
			n--;
		}
	}
	if (n)
		test_violation(&s->vm.env, "%llu bits too many", (unsigned long long)n);
}

static void manage(struct shared *s, struct test_rand *rand, uint64_t *bits, uint64_t *copy)
{
	struct tdp_range all = range_of(border(s, 0) - PAGES * TEST_PAGE,
					(BORDERS - 1) * s->part + 2 * PAGES * TEST_PAGE);

	switch (test_below(rand, 10)) {
	default: discard(s, all); break;
	case 0: helped(s, TDP_JOB_ZAP, all, TDP_ZAP_KEEP_YOUNG, NULL); break;
	case 1: helped(s, TDP_JOB_WRITE_PROTECT, all, 0, NULL); break;
	case 2: helped(s, TDP_JOB_AGE, all, 0, NULL); break;
	case 3: helped(s, TDP_JOB_COMPACT, range_of(0, 5 * s->part), 0, NULL); break;
	case 4: helped(s, TDP_JOB_SPLIT, all, 0, NULL); break;
	case 5: helped(s, TDP_JOB_COLLAPSE, all, 0, NULL); break;
	case 6:
	case 7: harvest(s, bits, copy); break;
	}
}

static void shared_open(struct shared *s, const struct test_format *fmt)
{
	struct test_vm_options opts = {.cpus = VCPUS, .env_flags = TEST_ENV_WAIT};
	struct test_vm *vm = &s->vm;
	uint32_t lg2, leaf;

	assert_int_equal(test_vm_init(vm, fmt, &opts), TDP_OK);
	pthread_mutex_init(&s->lock, NULL);
	lg2 = test_vm_lg2(vm, 2);
	leaf = test_vm_max_lg2(vm);
	s->part = (uint64_t)1 << (lg2 > leaf ? lg2 : leaf);
	s->ram = 6 * s->part;
	assert_int_equal(
		test_vm_slot(vm, 0, s->ram, 3 * s->part, SLOT_PA, TDP_SLOT_FORCE_4K, &s->ram_slot),
		TDP_OK);
	for (unsigned i = 0; i < BORDERS; i++) {
		struct tdp_slot_desc desc;
		uint32_t id;

		assert_int_equal(test_backing_init(&s->mem[i], &vm->env,
						   border(s, i) - PAGES * TEST_PAGE,
						   2 * PAGES * TEST_PAGE, (tdp_pa_t)(i + 1) << 44,
						   TDP_RWX, TDP_PAGE_LG2),
				 TDP_OK);
		desc = test_backing_slot(&s->mem[i], 0, 0);
		assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	}
	assert_int_equal(tdp_dirty_log(vm->mm, s->ram_slot, TDP_LOG_AUTO), TDP_OK);
}

static void shared_close(struct shared *s)
{
	uint32_t id;

	for (unsigned i = 0; i < BORDERS; i++) {
		assert_int_equal(tdp_slot_find(s->vm.mm, 0, border(s, i), &id, NULL), TDP_OK);
		assert_int_equal(tdp_slot_remove(s->vm.mm, id), TDP_OK);
		test_backing_fini(&s->mem[i]);
	}
	test_rcu_run();
	assert_int_equal(test_vm_check(&s->vm), 0);
	pthread_mutex_destroy(&s->lock);
	assert_int_equal(test_vm_fini(&s->vm), 0);
}

static void helpers_beside_vcpus(void **state)
{
	uint64_t ms = test_env_number("TDP_RACE_MS", 500), copy[CELLS] = {0}, owned = 0, *bits;
	struct shared *s = calloc(1, sizeof(*s)); /* a failed one stays: its threads still run */
	struct runner runner[VCPUS + HELPERS];
	pthread_t thread[VCPUS + HELPERS];
	struct timespec now, end;
	struct test_rand rand;

	assert_non_null(s);
	shared_open(s, *state);
	bits = calloc((size_t)(3 * s->part / TEST_PAGE / 64), 8);
	assert_non_null(bits);
	test_rand_init(&rand, test_seed());
	for (unsigned i = 0; i < VCPUS + HELPERS; i++) {
		runner[i] = (struct runner){.s = s, .number = i};
		test_rand_init(&runner[i].rand, test_seed() + 1 + i);
		assert_int_equal(pthread_create(&thread[i], NULL,
						i < VCPUS ? vcpu_main : helper_main, &runner[i]),
				 0);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)(ms / 1000);
	end.tv_nsec += (long)(ms % 1000) * 1000000;
	do {
		manage(s, &rand, bits, copy);
		owned++;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while ((now.tv_sec - end.tv_sec) * 1000000000 + (now.tv_nsec - end.tv_nsec) < 0);
	atomic_store(&s->stop, true);
	for (unsigned i = 0; i < VCPUS + HELPERS; i++)
		pthread_join(thread[i], NULL);
	print_message("  %llu shares, helped %llu times\n", (unsigned long long)owned,
		      (unsigned long long)atomic_load(&s->helped));
	assert_true(atomic_load(&s->helped) > 0);
	/* What was written and is in no harvest: nothing. */
	harvest(s, bits, copy);
	for (unsigned i = 0; i < CELLS; i++)
		if (copy[i] != atomic_load(&s->cell[i]))
			test_violation(&s->vm.env, "page %u was copied at write %llu of %llu", i,
				       (unsigned long long)copy[i],
				       (unsigned long long)atomic_load(&s->cell[i]));
	free(bits);
	shared_close(s);
	free(s);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(helpers_beside_vcpus),
	};

	return test_run("share", cases, ARRAY_LEN(cases));
}

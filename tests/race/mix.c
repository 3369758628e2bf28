/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything at once: guests that access, and threads that populate, zap, invalidate, harvest, age,
 * split, collapse, invalidate roots and change slots beside them, for a short while per format. The
 * walker and the freed tables that are traps tell of every access that got through where nothing
 * should be.
 *
 * Every guest write counts up a cell of its page. A harvest is followed by a copy of the cells of
 * the pages that it names; at the end the copy must be the memory: that is the superset rule as a
 * migration needs it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/support.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define GUESTS 2u
#define MANAGERS 2u /* two, so that one finds what the other has not flushed yet */
#define PA ((uint64_t)1 << 47)

struct mix {
	struct test_vm vm;
	struct test_backing mem; /* pages that come and go */
	uint64_t block;          /* bytes of a leaf at level 1 */
	tdp_gpa_t ram, paged,
		hotplug; /* a linear slot that is logged; the backing; a slot that comes and goes */
	uint64_t ram_size, paged_size;
	uint32_t ram_slot, paged_slot;
	_Atomic bool stop;
	_Atomic uint64_t *cell; /* by page of ram: how often it was written */
	uint64_t *copy;         /* by page of ram: as of the last harvest that had it */
	_Atomic uint64_t accesses, harvested;
	_Atomic uint32_t managers;
};

static bool going(struct mix *m)
{
	return !atomic_load_explicit(&m->stop, memory_order_relaxed);
}

static struct tdp_range part(struct test_rand *rand, tdp_gpa_t start, uint64_t size, uint64_t most)
{
	uint64_t at = test_below(rand, size / TEST_PAGE), pages = 1 + test_below(rand, most);
	struct tdp_range r;

	if (pages > size / TEST_PAGE - at)
		pages = size / TEST_PAGE - at;
	r.start = start + at * TEST_PAGE;
	r.size = pages * TEST_PAGE;
	return r;
}

static void must(struct mix *m, const char *what, int status)
{
	if (status < 0)
		test_violation(&m->vm.env, "%s: %s", what, tdp_status_name(status));
}

/* ---- guests ---------------------------------------------------------------------------------- */

struct guest {
	struct mix *m;
	uint32_t cpu;
};

/*
 * A CPU stores while it holds the translation; tdp_emu_access() returns after it let go. So the
 * cell is written before: a harvest that comes too early for the access is followed by one that has
 * to see it.
 */
static void guest_write(struct guest *g, uint64_t page)
{
	struct mix *m = g->m;

	atomic_fetch_add_explicit(&m->cell[page], 1, memory_order_relaxed);
	if (test_vm_access(&m->vm, g->cpu, m->ram + page * TEST_PAGE, TDP_W, NULL) != TEST_OK)
		test_violation(&m->vm.env, "write to page %llu of RAM failed",
			       (unsigned long long)page);
}

static void *guest_main(void *arg)
{
	struct guest *g = arg;
	struct mix *m = g->m;
	struct test_rand rand;
	struct test_access a;
	uint64_t page;
	int answer;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 100 + g->cpu);
	while (going(m)) {
		switch (test_below(&rand, 8)) {
		case 0:
		case 1:
		case 2: guest_write(g, test_below(&rand, m->ram_size / TEST_PAGE)); break;
		case 3:
			page = test_below(&rand, m->ram_size / TEST_PAGE);
			answer = test_vm_access(&m->vm, g->cpu, m->ram + page * TEST_PAGE,
						test_one_in(&rand, 4) ? TDP_X : TDP_R, &a);
			if (answer != TEST_OK || a.pa != PA + page * TEST_PAGE)
				test_violation(&m->vm.env, "RAM page %llu reads at %#llx (%d)",
					       (unsigned long long)page, (unsigned long long)a.pa,
					       answer);
			break;
		case 4:
		case 5:
		case 6:
			page = test_below(&rand, m->paged_size / TEST_PAGE);
			answer = test_vm_access(&m->vm, g->cpu, m->paged + page * TEST_PAGE,
						test_one_in(&rand, 2) ? TDP_W : TDP_R, &a);
			if (answer != TEST_OK)
				test_violation(&m->vm.env, "paged memory: %d", answer);
			break;
		default:
			/* Memory or MMIO, as it happens to be at the moment. */
			answer = test_vm_access(&m->vm, g->cpu, m->hotplug + 8 * TEST_PAGE, TDP_W,
						&a);
			if (answer != TEST_OK &&
			    !(answer == TEST_OUTCOME && a.outcome == TDP_FAULT_MMIO))
				test_violation(&m->vm.env, "hotplug: %d, %d", answer, a.outcome);
		}
		atomic_fetch_add_explicit(&m->accesses, 1, memory_order_relaxed);
	}
	m->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- the migration thread: log on, rounds of harvest, off ------------------------------------ */

static void harvest_round(struct mix *m, struct test_rand *rand, uint64_t *bitmap)
{
	size_t words = (size_t)(m->ram_size / TEST_PAGE + 63) / 64, first = 0, i;

	if (test_one_in(rand, 2)) {
		first = (size_t)test_below(rand, words);
		words -= first;
	}
	must(m, "harvest", tdp_dirty_harvest(m->vm.mm, m->ram_slot, 64 * first, bitmap, words));
	for (i = 0; i < 64 * words; i++) {
		if (!((bitmap[i / 64] >> (i % 64)) & 1))
			continue;
		m->copy[64 * first + i] = atomic_load(&m->cell[64 * first + i]);
		atomic_fetch_add_explicit(&m->harvested, 1, memory_order_relaxed);
	}
}

static void *migrate_main(void *arg)
{
	static const uint32_t modes[] = {
		TDP_LOG_AUTO,
		TDP_LOG_WRPROT,
		TDP_LOG_AUTO | TDP_LOG_EAGER_SPLIT,
		TDP_LOG_AUTO | TDP_LOG_INITIALLY_SET,
	};
	struct mix *m = arg;
	size_t pages = (size_t)(m->ram_size / TEST_PAGE), i;
	uint64_t *bitmap = calloc(pages / 64 + 1, sizeof(*bitmap));
	struct test_rand rand;
	bool last;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 1);
	if (!bitmap)
		abort();
	do {
		unsigned rounds = 3 + (unsigned)test_below(&rand, 20);

		must(m, "log on",
		     tdp_dirty_log(m->vm.mm, m->ram_slot,
				   modes[test_below(&rand, ARRAY_LEN(modes))]));
		for (i = 0; i < pages; i++)
			m->copy[i] = atomic_load(&m->cell[i]);
		while (rounds-- && going(m))
			harvest_round(m, &rand, bitmap);
		/* The last round stays on: the test looks at it when the guests have stopped. */
		last = !going(m);
		if (!last)
			must(m, "log off",
			     tdp_dirty_log(m->vm.mm, m->ram_slot,
					   test_one_in(&rand, 2) ? TDP_LOG_RECOVER : 0));
	} while (!last);
	free(bitmap);
	m->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- the host's memory management ------------------------------------------------------------ */

static void manage_slot(struct mix *m)
{
	uint32_t id;
	int status = test_vm_slot(&m->vm, 0, m->hotplug, 16 * TEST_PAGE, PA + m->ram_size, 0, &id);

	if (status == TDP_EEXIST)
		return; /* the other one is at it */
	must(m, "slot_add", status);
	sched_yield();
	if (status == TDP_OK)
		must(m, "slot_remove", tdp_slot_remove(m->vm.mm, id));
}

static void manage_once(struct mix *m, struct test_rand *rand)
{
	struct tdp_mm *mm = m->vm.mm;
	struct tdp_range ram = part(rand, m->ram, m->ram_size, m->block / TEST_PAGE + 30);
	struct tdp_range paged = part(rand, m->paged, m->paged_size, m->block / TEST_PAGE + 30);
	int status;

	switch (test_below(rand, 14)) {
	case 0:
	case 1:
	case 2:
	case 3: must(m, "discard", test_backing_discard(&m->mem, mm, 0, paged)); break;
	case 4: must(m, "zap", tdp_zap(mm, 0, ram, test_one_in(rand, 2) ? TDP_ZAP_LAZY : 0)); break;
	case 5: must(m, "age", tdp_age(mm, 0, ram, NULL)); break;
	case 6: must(m, "split", tdp_split(mm, 0, ram, 12)); break;
	case 7: must(m, "collapse", tdp_collapse(mm, 0, ram, test_one_in(rand, 4), NULL)); break;
	case 8: must(m, "collapse", tdp_collapse(mm, 0, paged, 0, NULL)); break;
	case 9:
		if (test_one_in(rand, 4))
			must(m, "roots_invalidate", tdp_roots_invalidate(mm));
		must(m, "roots_reclaim", tdp_roots_reclaim(mm, 3));
		break;
	case 10: manage_slot(m); break;
	case 11: must(m, "write_protect", tdp_write_protect(mm, 0, ram)); break;
	case 12: must(m, "compact", tdp_compact(mm, 0, paged)); break;
	default:
		status = tdp_populate(mm, 0, ram, TDP_POPULATE_READ, NULL);
		if (status != TDP_EAGAIN) /* lost against somebody's invalidation too often */
			must(m, "populate", status);
	}
	if (test_one_in(rand, 8))
		test_rcu_run();
}

static void *manage_main(void *arg)
{
	struct mix *m = arg;
	struct test_rand rand;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 2 + atomic_fetch_add(&m->managers, 1));
	while (going(m))
		manage_once(m, &rand);
	m->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- the test -------------------------------------------------------------------------------- */

static void mix_open(struct mix *m, const struct test_format *fmt)
{
	struct test_vm_options opts = {.cpus = GUESTS, .chunk_lg2 = TEST_CHUNK_SMALL};
	struct tdp_slot_desc desc;

	opts.env_flags = TEST_ENV_WAIT;
	assert_int_equal(test_vm_init(&m->vm, fmt, &opts), TDP_OK);
	test_env_yield(&m->vm.env, TEST_YIELD_NTH, 5);
	m->vm.max_steps =
		1u << 16; /* mappings go as fast as they come: only a real livelock takes so long */
	m->block = (uint64_t)1 << test_vm_lg2(&m->vm, 1);
	m->ram = m->block;
	m->ram_size = 2 * m->block;
	m->paged = 8 * m->block;
	m->paged_size = 2 * m->block;
	m->hotplug = 32 * m->block;
	assert_int_equal(test_vm_slot(&m->vm, 0, m->ram, m->ram_size, PA, 0, &m->ram_slot), TDP_OK);
	assert_int_equal(test_backing_init(&m->mem, &m->vm.env, m->paged, m->paged_size,
					   PA + ((uint64_t)1 << 44), TDP_RWX,
					   test_vm_lg2(&m->vm, 1)),
			 TDP_OK);
	desc = test_backing_slot(&m->mem, 0, 0);
	assert_int_equal(tdp_slot_add(m->vm.mm, &desc, &m->paged_slot), TDP_OK);
	m->cell = calloc(m->ram_size / TEST_PAGE, sizeof(*m->cell));
	m->copy = calloc(m->ram_size / TEST_PAGE, sizeof(*m->copy));
	assert_true(m->cell && m->copy);
}

/* Everybody has stopped: one more harvest, then the copy must be the memory. */
static void mix_compare(struct mix *m)
{
	size_t pages = (size_t)(m->ram_size / TEST_PAGE), i;
	uint64_t *bitmap = calloc(pages / 64 + 1, sizeof(*bitmap));

	assert_non_null(bitmap);
	assert_int_equal(tdp_dirty_harvest(m->vm.mm, m->ram_slot, 0, bitmap, (pages + 63) / 64),
			 TDP_OK);
	for (i = 0; i < pages; i++)
		if (!((bitmap[i / 64] >> (i % 64)) & 1) && m->copy[i] != atomic_load(&m->cell[i]))
			test_violation(&m->vm.env, "page %zu: copied at write %llu of %llu", i,
				       (unsigned long long)m->copy[i],
				       (unsigned long long)atomic_load(&m->cell[i]));
	free(bitmap);
}

static void mix(void **state)
{
	struct mix *m =
		calloc(1, sizeof(*m)); /* a failed one stays: its callbacks may still come */
	uint64_t ms = test_env_number("TDP_RACE_MS", 500);
	struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	struct guest guest[GUESTS];
	pthread_t threads[GUESTS + 1 + MANAGERS];
	uint64_t complaints;
	uint32_t i;

	assert_non_null(m);
	mix_open(m, *state);
	for (i = 0; i < GUESTS; i++) {
		guest[i].m = m;
		guest[i].cpu = i;
		assert_int_equal(pthread_create(&threads[i], NULL, guest_main, &guest[i]), 0);
	}
	assert_int_equal(pthread_create(&threads[GUESTS], NULL, migrate_main, m), 0);
	for (i = GUESTS + 1; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, manage_main, m), 0);
	nanosleep(&time, NULL);
	atomic_store(&m->stop, true);
	for (i = 0; i < ARRAY_LEN(threads); i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	mix_compare(m);
	assert_true(atomic_load(&m->accesses) > 0);
	assert_int_equal(tdp_slot_remove(m->vm.mm, m->paged_slot), TDP_OK);
	complaints = test_vm_check(&m->vm);
	print_message("  %llu accesses, %llu pages harvested, %llu tables\n",
		      (unsigned long long)atomic_load(&m->accesses),
		      (unsigned long long)atomic_load(&m->harvested),
		      (unsigned long long)atomic_load(&m->vm.env.tables_total));
	assert_int_equal(complaints, 0);
	test_backing_fini(&m->mem);
	assert_int_equal(test_vm_fini(&m->vm), 0);
	free(m->cell);
	free(m->copy);
	free(m);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(mix),
	};

	return test_run("mix", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Everything at once: guests that access, vCPUs that come and go, threads that look and verify, and
 * threads that populate, zap, invalidate, harvest, age, split, collapse, track, invalidate roots, change and
 * move slots beside them, for a short while per format; and the same with memory running out now and then. The
 * walker and the freed tables that are traps tell of every access that got through where nothing should be.
 *
 * TDP_RACE_MS: how long, for each format and case (500). TDP_RACE_THREADS: how many threads (8).
 *
 * Every guest write counts up a cell of its page. A harvest is followed by a copy of the cells of
 * the pages that it names; at the end the copy must be the memory: that is the superset rule as a
 * migration needs it.
 */
#include "unit/steps.h"

#include <tdp/job.h>

#include <sched.h>
#include <stdlib.h>
#include <time.h>

#define GUESTS_MAX 6u
#define PA ((uint64_t)1 << 47)

struct mix {
	struct test_vm vm;
	struct test_backing mem; /* pages that come and go */
	uint64_t block;          /* bytes of a leaf at level 1 */
	tdp_gpa_t ram, paged,
		hotplug; /* a linear slot that is logged; the backing; a slot that comes and goes */
	uint32_t guests;
	bool starving; /* allocations fail now and then */
	bool x86;
	uint64_t ram_size, paged_size;
	uint32_t ram_slot, paged_slot;
	_Atomic bool stop;
	_Atomic uint64_t *cell; /* by page of ram: how often it was written */
	uint64_t *copy;         /* by page of ram: as of the last harvest that had it */
	_Atomic uint64_t accesses, harvested, refused, looks, lives;
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

/* Out of memory is an answer when there is none, and then nothing has changed. */
static bool refused(struct mix *m, int status)
{
	if (status != TDP_ENOMEM || !m->starving)
		return false;
	atomic_fetch_add_explicit(&m->refused, 1, memory_order_relaxed);
	return true;
}

static void must(struct mix *m, const char *what, int status)
{
	if (status < 0 && !refused(m, status))
		test_violation(&m->vm.env, "%s: %s", what, tdp_status_name(status));
}

/* ---- guests ---------------------------------------------------------------------------------- */

struct guest {
	struct mix *m;
	uint32_t cpu;
};

/* Comes again until there is memory for it. */
static int guest_access(struct guest *g, tdp_gpa_t gpa, uint32_t access, struct test_access *out)
{
	struct test_access a;
	int answer;

	do
		answer = test_vm_access(&g->m->vm, g->cpu, gpa, access, &a);
	while (answer == TEST_STATUS && refused(g->m, a.outcome));
	if (out)
		*out = a;
	return answer;
}

/*
 * A CPU stores while it holds the translation; tdp_emu_access() returns after it let go. So the
 * cell is written before: a harvest that comes too early for the access is followed by one that has
 * to see it.
 */
static void guest_write(struct guest *g, uint64_t page)
{
	struct mix *m = g->m;

	atomic_fetch_add_explicit(&m->cell[page], 1, memory_order_relaxed);
	if (guest_access(g, m->ram + page * TEST_PAGE, TDP_W, NULL) != TEST_OK)
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
			answer = guest_access(g, m->ram + page * TEST_PAGE,
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
			answer = guest_access(g, m->paged + page * TEST_PAGE,
					      test_one_in(&rand, 2) ? TDP_W : TDP_R, &a);
			if (answer != TEST_OK &&
			    !(answer == TEST_OUTCOME && a.outcome == TDP_FAULT_TRACKED))
				test_violation(&m->vm.env, "paged memory: %d", answer);
			break;
		default:
			/* Memory or MMIO, as it happens to be at the moment. */
			answer = guest_access(g, m->hotplug + 8 * TEST_PAGE, TDP_W, &a);
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
	size_t pages = (size_t)(m->ram_size / TEST_PAGE), words = (pages + 63) / 64, first = 0, i;

	if (test_one_in(rand, 2)) {
		first = (size_t)test_below(rand, words);
		words -= first;
	}
	i = (size_t)tdp_dirty_harvest(m->vm.mm, m->ram_slot, 64 * first, bitmap, words);
	must(m, "harvest", (int)i);
	if (i)
		return;
	/* The slot may go on behind what is used of it. */
	for (i = 0; i < pages - 64 * first; i++) {
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
		TDP_LOG_AUTO | TDP_LOG_LAZY, /* these two where entries above can be armed */
		TDP_LOG_WRPROT | TDP_LOG_LAZY,
	};
	struct mix *m = arg;
	size_t ways = ARRAY_LEN(modes) - (m->x86 ? 0 : 2);
	size_t pages = (size_t)(m->ram_size / TEST_PAGE), i;
	uint64_t *bitmap = calloc(pages / 64 + 1, sizeof(*bitmap));
	struct test_rand rand;
	bool last;
	int status;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 1);
	if (!bitmap)
		abort();
	do {
		unsigned rounds = 3 + (unsigned)test_below(&rand, 20);

		do
			status = tdp_dirty_log(m->vm.mm, m->ram_slot,
					       modes[test_below(&rand, ways)]);
		while (refused(m, status));
		must(m, "log on", status);
		for (i = 0; i < pages; i++)
			m->copy[i] = atomic_load(&m->cell[i]);
		while (rounds-- && going(m))
			harvest_round(m, &rand, bitmap);
		/* The last round stays on: the test looks at it when the guests have stopped. */
		last = !going(m);
		while (!last) {
			status = tdp_dirty_log(m->vm.mm, m->ram_slot,
					       test_one_in(&rand, 2) ? TDP_LOG_RECOVER : 0);
			if (refused(m, status))
				continue;
			must(m, "log off", status);
			break;
		}
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
	if (status)
		return;
	sched_yield();
	/* Somebody else's may be at the new place already. */
	status = tdp_slot_move(m->vm.mm, id, m->hotplug + m->block);
	if (status != TDP_EEXIST)
		must(m, "slot_move", status);
	do
		status = tdp_slot_remove(m->vm.mm, id);
	while (refused(m, status));
	must(m, "slot_remove", status);
}

static void manage_tracking(struct mix *m, struct tdp_range range)
{
	int status = tdp_write_track(m->vm.mm, 0, range, true);

	must(m, "write_track", status);
	if (status)
		return;
	sched_yield();
	must(m, "write_track", tdp_write_track(m->vm.mm, 0, range, false));
}

struct found_table {
	tdp_pa_t pa;
	uint64_t left;
};

static int find_table(void *arg, const struct tdp_visit *v)
{
	struct found_table *f = arg;

	f->pa = v->pa;
	return f->left-- == 0; /* stop */
}

static void manage_table(struct mix *m, struct test_rand *rand)
{
	struct found_table f = {0, test_below(rand, 6)};
	struct tdp_range all = {0, test_vm_size(&m->vm)};
	int status;

	must(m, "walk", tdp_walk(m->vm.mm, 0, all, TDP_WALK_TABLE_PRE, find_table, &f));
	if (!f.pa)
		return;
	status = tdp_zap_table(m->vm.mm, f.pa);
	if (status != TDP_ENOENT && status != TDP_EINVAL) /* gone, or a root by now */
		must(m, "zap_table", status);
}

static void starve(struct mix *m, struct test_rand *rand)
{
	test_env_fail(&m->vm.env, 1 + (int64_t)test_below(rand, 3));
	for (uint64_t i = test_below(rand, 50); i > 0; i--)
		sched_yield();
	test_env_fail(&m->vm.env, 0);
}

static int age_bits(struct tdp_mm *mm, struct tdp_range range)
{
	size_t words = (size_t)(range.size / TEST_PAGE + 63) / 64;
	uint64_t *bits = calloc(words, sizeof(*bits));
	int status = bits ? tdp_age_bitmap(mm, 0, range, true, bits, words) : TDP_OK;

	free(bits);
	return status;
}

/* In short steps, and not always to the end. */
static void manage_job(struct mix *m, struct test_rand *rand, struct tdp_range range)
{
	struct tdp_job job = {.size = (uint32_t)sizeof(job), .range = range};
	int status;

	job.kind = TDP_JOB_ZAP + (uint32_t)test_below(rand, TDP_JOB_COLLAPSE);
	job.lg2 = job.kind == TDP_JOB_SPLIT ? 12 : 0;
	job.max_entries = 1 + test_below(rand, 700);
	do
		status = tdp_job_step(m->vm.mm, &job);
	while (status == 1 && !test_one_in(rand, 30));
	must(m, "job", status == 1 ? 0 : status);
}

static void manage_once(struct mix *m, struct test_rand *rand)
{
	struct tdp_mm *mm = m->vm.mm;
	struct tdp_range ram = part(rand, m->ram, m->ram_size, m->block / TEST_PAGE + 30);
	struct tdp_range paged = part(rand, m->paged, m->paged_size, m->block / TEST_PAGE + 30);
	int status;

	switch (test_below(rand, m->starving ? 19 : 18)) {
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
	case 12:
		must(m, "compact", tdp_compact(mm, 0, paged));
		if (test_one_in(rand, 4))
			must(m, "trim", tdp_trim(mm, NULL));
		break;
	case 13: manage_tracking(m, paged); break;
	case 14: manage_table(m, rand); break;
	case 15: must(m, "age_bitmap", age_bits(mm, ram)); break;
	case 17: manage_job(m, rand, ram); break;
	case 18: starve(m, rand); break;
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

/* ---- who only looks -------------------------------------------------------------------------- */

static int count_visit(void *arg, const struct tdp_visit *v)
{
	uint64_t *sum = arg;

	*sum += v->entry;
	return 0;
}

static void *look_main(void *arg)
{
	struct mix *m = arg;
	struct tdp_mm *mm = m->vm.mm;
	struct tdp_range all = {0, test_vm_size(&m->vm)};
	struct test_rand rand;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 77);
	while (going(m)) {
		struct tdp_mapping map = {.size = (uint32_t)sizeof(map)};
		struct tdp_path path = {.size = (uint32_t)sizeof(path)};
		struct tdp_report report = {.size = (uint32_t)sizeof(report)};
		struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
		tdp_gpa_t gpa = m->ram + (test_below(&rand, 9 * m->block) & ~(TEST_PAGE - 1));
		char text[400];
		uint64_t sum = 0;
		int status = tdp_translate(mm, 0, gpa, &map);

		if (status == TDP_OK && gpa < m->ram + m->ram_size &&
		    map.pa != PA + map.gpa - m->ram)
			test_violation(&m->vm.env, "RAM is said to be elsewhere");
		tdp_walk_gpa(mm, 0, gpa, &path);
		must(m, "explain", tdp_explain(mm, 0, gpa, text, sizeof(text)));
		must(m, "walk",
		     tdp_walk(mm, 0, all, TDP_WALK_LEAF | TDP_WALK_MMIO | TDP_WALK_TABLE_POST,
			      count_visit, &sum));
		must(m, "stats", tdp_stats(mm, &stats));
		if (test_one_in(&rand, 8) && tdp_verify(mm, &report) != TDP_OK)
			test_violation(&m->vm.env, "verify: %s", report.first);
		atomic_fetch_add_explicit(&m->looks, 1, memory_order_relaxed);
	}
	m->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- vCPUs that come and go ------------------------------------------------------------------ */

static void short_life(struct mix *m, tdp_gpa_t gpa, unsigned accesses)
{
	struct tdp_fault fault = {.size = (uint32_t)sizeof(fault)};
	struct tdp_emu_exit exit;
	struct tdp_emu_vcpu *cpu;
	struct tdp_vcpu *vcpu;

	if (tdp_emu_vcpu_create(m->vm.emu, &cpu))
		return;
	if (!tdp_vcpu_create(m->vm.mm, cpu, &vcpu)) {
		while (accesses-- > 0 && tdp_vcpu_load(vcpu) == TDP_OK)
			if (tdp_emu_access(cpu, gpa, TDP_R, &exit) > TDP_EMU_RELOAD &&
			    !tdp_emu_decode(&exit, &fault))
				must(m, "fault", tdp_fault(vcpu, &fault, NULL));
		tdp_vcpu_destroy(vcpu);
	}
	tdp_emu_vcpu_destroy(cpu);
	atomic_fetch_add_explicit(&m->lives, 1, memory_order_relaxed);
}

static void *lives_main(void *arg)
{
	struct mix *m = arg;
	struct test_rand rand;

	m->vm.env.env.rcu->thread_register();
	test_rand_init(&rand, test_seed() + 78);
	while (going(m))
		short_life(m, m->ram + (test_below(&rand, m->ram_size) & ~(TEST_PAGE - 1)),
			   (unsigned)test_below(&rand, 6));
	m->vm.env.env.rcu->thread_unregister();
	return NULL;
}

/* ---- the test -------------------------------------------------------------------------------- */

static void mix_open(struct mix *m, const struct test_format *fmt)
{
	struct test_vm_options opts = {.cpus = m->guests, .chunk_lg2 = TEST_CHUNK_SMALL};
	bool wide = test_seed() & 1;
	struct tdp_slot_desc desc;

	m->x86 = is_x86(fmt);
	opts.env_flags = TEST_ENV_WAIT;
	opts.mm_flags = m->x86 && has_a(fmt) && test_seed() & 2 ? TDP_MM_AGE_TABLES : 0;
	assert_int_equal(test_vm_init(&m->vm, fmt, &opts), TDP_OK);
	test_env_yield(&m->vm.env, TEST_YIELD_NTH, 5);
	m->vm.max_steps =
		1u << 16; /* mappings go as fast as they come: only a real livelock takes so long */
	m->block = (uint64_t)1 << test_vm_lg2(&m->vm, 1);
	/* The slot may be larger than what is used of it, so that tables of tables lie wholly in it. */
	m->ram = wide ? (uint64_t)1 << test_vm_lg2(&m->vm, 2) : m->block;
	m->ram_size = 2 * m->block;
	m->paged = 8 * m->block;
	m->paged_size = 2 * m->block;
	m->hotplug = 32 * m->block;
	assert_int_equal(
		test_vm_slot(&m->vm, 0, m->ram, wide ? m->ram : m->ram_size, PA, 0, &m->ram_slot),
		TDP_OK);
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

#define THREADS_MAX 64u

static void start(pthread_t *thread, void *(*fn)(void *arg), void *arg)
{
	assert_int_equal(pthread_create(thread, NULL, fn, arg), 0);
}

static void mix(void **state, bool starving)
{
	struct mix *m =
		calloc(1, sizeof(*m)); /* a failed one stays: its callbacks may still come */
	uint64_t ms = test_env_number("TDP_RACE_MS", 500);
	uint64_t count = test_env_number("TDP_RACE_THREADS", 8), n = 0;
	struct timespec time = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
	struct guest guest[GUESTS_MAX];
	pthread_t threads[THREADS_MAX];
	uint64_t complaints;

	assert_non_null(m);
	assert_true(count >= 6 && count <= THREADS_MAX);
	m->starving = starving;
	/* Three look, live and migrate; of the others two at least manage, so that one finds what the other owes. */
	m->guests = (uint32_t)(count - 3) / 2;
	if (m->guests > GUESTS_MAX)
		m->guests = GUESTS_MAX;
	mix_open(m, *state);
	for (uint32_t i = 0; i < m->guests; i++) {
		guest[i] = (struct guest){m, i};
		start(&threads[n++], guest_main, &guest[i]);
	}
	start(&threads[n++], migrate_main, m);
	start(&threads[n++], look_main, m);
	start(&threads[n++], lives_main, m);
	while (n < count)
		start(&threads[n++], manage_main, m);
	nanosleep(&time, NULL);
	atomic_store(&m->stop, true);
	for (uint64_t i = 0; i < n; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	test_env_fail(&m->vm.env, 0);
	mix_compare(m);
	assert_true(atomic_load(&m->accesses) > 0);
	assert_int_equal(tdp_slot_remove(m->vm.mm, m->paged_slot), TDP_OK);
	complaints = test_vm_check(&m->vm);
	print_message("  %llu accesses, %llu pages harvested, %llu tables, %llu looks, %llu vCPUs, "
		      "%llu times out of memory\n",
		      (unsigned long long)atomic_load(&m->accesses),
		      (unsigned long long)atomic_load(&m->harvested),
		      (unsigned long long)atomic_load(&m->vm.env.tables_total),
		      (unsigned long long)atomic_load(&m->looks),
		      (unsigned long long)atomic_load(&m->lives),
		      (unsigned long long)atomic_load(&m->refused));
	assert_int_equal(complaints, 0);
	test_backing_fini(&m->mem);
	assert_int_equal(test_vm_fini(&m->vm), 0);
	free(m->cell);
	free(m->copy);
	free(m);
}

/* Whether memory runs out has little to do with the format. */
static bool one_of_each(const struct test_format *fmt)
{
	return !strcmp(fmt->name, "ept4") || !strcmp(fmt->name, "npt4") ||
	       !strcmp(fmt->name, "s2-40") || !strcmp(fmt->name, "test");
}

static void everything_at_once(void **state)
{
	mix(state, false);
}

static void short_of_memory(void **state)
{
	mix(state, true);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(everything_at_once),
		TEST_CASE_IF(short_of_memory, one_of_each),
	};

	return test_run("mix", cases, ARRAY_LEN(cases));
}

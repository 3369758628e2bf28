/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Steps of jobs: none does much more than it may, by entries or by time; each keeps its promises when it returns.
 */
#include "jobs.h"

/* ---- bounded ---- */

/* No step takes away, ages, merges, fills or reports more than it may, but for one table and those above it. */
static void steps_are_short(void **state)
{
	static const uint64_t limits[] = {1, 64, 1500};

	for (size_t i = 0; i < ARRAY_LEN(limits); i++) {
		struct layout l;
		uint64_t most, before, n = 0;
		struct tdp_job job;
		int ret;

		layout_up(&l, state, NULL);
		most = limits[i] + 2 * entries_of(&l); /* a table, and the one above it */

		job = job_of(TDP_JOB_POPULATE, range_of(0, SMALL * l.block), limits[i]);
		do {
			before = leaves_of(&l.vm);
			ret = tdp_job_step(l.vm.mm, &job);
			assert_true(leaves_of(&l.vm) - before <= (limits[i] > 64 ? limits[i] : 64));
		} while (ret == 1);
		assert_int_equal(ret, 0);
		assert_int_equal(leaves_of(&l.vm), SMALL * pages_of(&l));

		use_some(&l);
		job = job_of(TDP_JOB_AGE, all_of(&l), limits[i]);
		do {
			before = job.count;
			ret = tdp_job_step(l.vm.mm, &job);
			assert_true(job.count - before <= most);
		} while (ret == 1);
		assert_int_equal(ret, 0);

		split_all(&l);
		job = job_of(TDP_JOB_COLLAPSE, all_of(&l), limits[i]);
		do {
			before = job.count;
			ret = tdp_job_step(l.vm.mm, &job);
			assert_true(job.count - before <= 1 + limits[i] / entries_of(&l));
		} while (ret == 1);
		assert_int_equal(ret, 0);
		assert_true(job.count >= HUGE - 1);

		job = job_of(TDP_JOB_ZAP, all_of(&l), limits[i]);
		do {
			before = leaves_of(&l.vm);
			ret = tdp_job_step(l.vm.mm, &job);
			assert_true(before - leaves_of(&l.vm) <= most);
			n++;
		} while (ret == 1);
		assert_int_equal(ret, 0);
		assert_int_equal(leaves_of(&l.vm), 0);
		assert_true(n >= SMALL * pages_of(&l) / most);
		vm_down(&l.vm);
	}
}

/* Tables that look as if they could be merged, and may not, are asked about in one step of a pass only. */
static void collapse_gets_past_refusals(void **state)
{
	struct layout l;
	struct tdp_job job;
	unsigned steps = 0;

	layout_up(&l, state, NULL);
	for (uint64_t i = 0; i < 4 * pages_of(&l); i++)
		use(&l.vm, 0, i * TEST_PAGE, TDP_W);
	job = job_of(TDP_JOB_COLLAPSE, all_of(&l), 1);
	while (tdp_job_step(l.vm.mm, &job) == 1)
		assert_true(++steps < 200);
	assert_true(steps >= 4);
	assert_int_equal(job.count, 0);
	vm_down(&l.vm);
}

/* ---- time ---- */

static uint64_t clock_now, clock_step;

static uint64_t tick(void *priv)
{
	(void)priv;
	return clock_now += clock_step;
}

static void with_clock(struct tdp_env *env)
{
	clock_now = UINT64_C(1) << 40;
	clock_step = 0;
	env->now = tick;
}

static void without_clock(struct tdp_env *env)
{
	env->now = NULL;
}

/* Kinds whose steps can end within a few tables: whole tables of tables go, or are looked at, in one go otherwise. */
static const struct {
	struct tdp_job job;
	void (*before)(struct layout *l);
} timed[] = {
	{{.kind = TDP_JOB_ZAP, .flags = TDP_ZAP_KEEP_YOUNG}, NULL},
	{{.kind = TDP_JOB_WRITE_PROTECT}, NULL},
	{{.kind = TDP_JOB_AGE}, NULL},
	{{.kind = TDP_JOB_SPLIT, .lg2 = 12}, NULL},
	{{.kind = TDP_JOB_COLLAPSE}, split_all},
	{{.kind = TDP_JOB_POPULATE}, NULL},
	{{.kind = TDP_JOB_HARVEST}, log_and_write},
};

/* The clock stands still: one step for each pass. It runs: steps end, and none without having done anything. */
static void time_ends_a_step(void **state)
{
	struct test_vm_options opts = {.host = with_clock};

	for (size_t i = 0; i < ARRAY_LEN(timed); i++) {
		struct tdp_job job = timed[i].job;
		uint64_t still = 0, running = 0, *bits = NULL;
		struct layout l;

		for (int round = 0; round < 2; round++) {
			layout_up(&l, state, &opts);
			use_some(&l);
			if (timed[i].before)
				timed[i].before(&l);
			job = timed[i].job;
			job.size = (uint32_t)sizeof(job);
			job.range = range_of(0, SMALL * l.block);
			job.max_ns = 1000;
			if (job.kind == TDP_JOB_HARVEST) {
				job.slot = l.slot[SLOT_SMALL];
				job.words = (job.range.size / TEST_PAGE + 63) / 64;
				bits = calloc((size_t)job.words, 8);
				assert_non_null(bits);
				job.bitmap = bits;
			}
			clock_step = round ? 600 : 0;
			if (round == 0)
				still = run(&l.vm, &job);
			else
				running = run(&l.vm, &job);
			vm_down(&l.vm);
			free(bits);
			bits = NULL;
		}
		if (still > 6)
			fail_msg("kind %u: %llu steps while no time goes by", timed[i].job.kind,
				 (unsigned long long)still);
		/* Of guest memory that one look at the clock is enough for, nothing can be said. */
		if (running <= still && job.range.size / TEST_PAGE > 512)
			fail_msg("kind %u: %llu steps, whatever the clock says", timed[i].job.kind,
				 (unsigned long long)running);
	}
}

/* Cutting off whole tables is quick, but not so quick that nobody looks at the clock. */
static void time_ends_a_zap(void **state)
{
	struct test_vm_options opts = {.host = with_clock};
	uint64_t block, tables = 200, before;
	struct test_vm vm;
	struct tdp_job job;
	int ret;

	vm_up(&vm, state, &opts);
	block = block_of(&vm);
	if (tables > test_vm_size(&vm) / block)
		tables = test_vm_size(&vm) / block;
	add_slot(&vm, 0, 0, tables * block, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (uint64_t i = 0; i < tables; i++)
		use(&vm, 0, i * block, TDP_W);
	clock_step = 600;
	job = job_of(TDP_JOB_ZAP, range_of(0, tables * block), 0);
	job.max_ns = 1000;
	do {
		before = leaves_of(&vm);
		ret = tdp_job_step(vm.mm, &job);
		assert_true(before - leaves_of(&vm) <=
			    3 * 64); /* the clock is asked twice or three times */
	} while (ret == 1);
	assert_int_equal(ret, 0);
	assert_int_equal(leaves_of(&vm), 0);
	vm_down(&vm);
}

static void no_clock_no_time(void **state)
{
	struct test_vm_options opts = {.host = without_clock};
	struct tdp_job job;
	struct layout l;

	layout_up(&l, state, &opts);
	use_some(&l);
	job = job_of(TDP_JOB_ZAP, all_of(&l), 0);
	job.max_ns = 1000;
	assert_int_equal(tdp_job_step(l.vm.mm, &job), TDP_ENOTSUP);
	assert_int_equal(job.done, 0);
	assert_true(leaves_of(&l.vm) > 0);
	vm_down(&l.vm);
}

/* ---- promises of each step ---- */

/* What a step has passed cannot be reached, by no vCPU, when it returns; nor is anything owed between steps. */
static void each_step_is_flushed(void **state)
{
	struct tdp_job job;
	struct layout l;
	int ret;

	layout_up(&l, state, NULL);
	use_some(&l);
	job = job_of(TDP_JOB_ZAP, all_of(&l), 1);
	do {
		ret = tdp_job_step(l.vm.mm, &job);
		assert_true(ret >= 0);
		if (job.pass == 0 && job.done > 0) {
			assert_int_equal(tdp_emu_cached(l.vm.emu, 0, job.done), 0);
			assert_false(mapped(&l.vm, 0, 0));
			assert_false(mapped(&l.vm, 0, job.done - TEST_PAGE));
		}
		assert_int_equal(test_vm_check(&l.vm), 0);
	} while (ret == 1);
	vm_down(&l.vm);
}

static void each_step_protects(void **state)
{
	struct tdp_job job;
	struct layout l;
	int ret;

	layout_up(&l, state, NULL);
	use_some(&l);
	job = job_of(TDP_JOB_WRITE_PROTECT, all_of(&l), 1);
	while ((ret = tdp_job_step(l.vm.mm, &job)) == 1)
		for (tdp_gpa_t gpa = 0; gpa < job.done; gpa += l.block / 2) {
			struct tdp_mapping leaf;

			if (translate(&l.vm, 0, gpa, &leaf) == TDP_OK)
				assert_false(leaf.prot & TDP_W);
		}
	assert_int_equal(ret, 0);
	assert_true(use(&l.vm, 0, 0, TDP_W).faults > 0);
	vm_down(&l.vm);
}

/* The guest brings everything back behind each step: the job comes to its end all the same. */
static void a_busy_guest_does_not_hold_it_up(void **state)
{
	struct tdp_job job;
	struct layout l;
	uint64_t n = 0;

	layout_up(&l, state, NULL);
	use_some(&l);
	job = job_of(TDP_JOB_ZAP, all_of(&l), 200);
	while (tdp_job_step(l.vm.mm, &job) == 1) {
		for (tdp_gpa_t gpa = 0; gpa < SMALL * l.block; gpa += l.block / 2)
			use(&l.vm, 0, gpa, TDP_W);
		assert_true(++n < 3 * (SMALL + HUGE) * (entries_of(&l) / 200 + 2) * 4);
	}
	assert_int_equal(job.pass, 3);
	vm_down(&l.vm);
}

/*
 * Every root of the range gets its part, also where another one is through sooner: an address space with next to
 * nothing in it, and the invalid root that a vCPU still holds.
 */
static void every_root_is_walked(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct tdp_root *held;
	struct tdp_job job;
	struct layout l;

	layout_up(&l, state, &opts);
	add_slot(&l.vm, 1, 0, SMALL * l.block, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_vcpu_set_as(l.vm.cpu[1].vcpu, 1), TDP_OK);
	use(&l.vm, 1, SMALL * l.block - TEST_PAGE, TDP_W);
	use_some(&l);
	held = root_of(&l.vm, 0);
	assert_int_equal(tdp_roots_invalidate(l.vm.mm), TDP_OK);
	load(&l.vm, 0);
	use_some(&l);
	/* Leaf by leaf: a table that is cut off costs the same whatever is in it. */
	job = job_of(TDP_JOB_ZAP, range_of(0, SMALL * l.block), 10);
	job.flags = TDP_ZAP_KEEP_YOUNG;
	job.as_id = TDP_AS_ALL;
	run(&l.vm, &job);
	for (uint64_t i = 0; i < SMALL * pages_of(&l); i++)
		assert_false(mapped(&l.vm, 0, i * TEST_PAGE));
	assert_int_equal(leaves_of(&l.vm), 2 * (HUGE - 1));
	assert_int_equal(tdp_root_put(l.vm.mm, held), 0);
	vm_down(&l.vm);
}

static bool three_levels(const struct test_format *fmt)
{
	return fmt->tree_levels >= 3;
}

/* The tables above the small ones go as well, in passes of their own: all that lie inside. */
static void upper_tables_go_too(void **state)
{
	uint64_t size, root;
	struct tdp_job job;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	size = UINT64_C(2) << test_vm_lg2(&vm, 2);
	add_slot(&vm, 0, 0, size, SLOT_PA, TDP_SLOT_FORCE_4K);
	load(&vm, 0);
	root = tables_of(&vm);
	for (uint64_t i = 0; i < 16; i++)
		use(&vm, 0, i * (size / 16), TDP_W);
	assert_true(tables_of(&vm) >= root + 16);
	job = job_of(TDP_JOB_ZAP, range_of(0, size), 1);
	assert_true(run(&vm, &job) >= 16);
	assert_int_equal(leaves_of(&vm), 0);
	assert_in_range(tables_of(&vm), root, root + vm.fmt->tree_levels - 3);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(steps_are_short),      TEST_CASE(collapse_gets_past_refusals),
		TEST_CASE(time_ends_a_step),     TEST_CASE(time_ends_a_zap),
		TEST_CASE(no_clock_no_time),     TEST_CASE(each_step_is_flushed),
		TEST_CASE(each_step_protects),   TEST_CASE(a_busy_guest_does_not_hold_it_up),
		TEST_CASE(every_root_is_walked), TEST_CASE_IF(upper_tables_go_too, three_levels),
	};

	return test_run("job_steps", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/* Y05: which call asked for a flush. (That no flush is without is asked of every test: support/vm.c.) */
#include "steps.h"

#include <tdp/job.h>

#define GPA GIB
#define PAGES 8u

struct asked {
	struct test_vm vm;
	uint32_t slot;
	struct tdp_range pages, block;
};

/* Small pages at the start of a block that a huge page could be for, all of them written. */
static void up(struct asked *a, void **state, uint32_t mm_flags)
{
	struct test_vm_options opts = {.mm_flags = mm_flags | TDP_MM_FLUSH_ON_AGE};

	vm_up(&a->vm, state, &opts);
	a->pages = range_of(GPA, PAGES * TEST_PAGE);
	a->block = range_of(GPA, block_of(&a->vm));
	a->slot = add_slot(&a->vm, 0, GPA, a->block.size, SLOT_PA, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_populate(a->vm.mm, 0, a->block, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	for (unsigned page = 0; page < PAGES; page++)
		use(&a->vm, 0, GPA + page * TEST_PAGE, TDP_W);
}

static void zaps(struct asked *a)
{
	assert_int_equal(tdp_zap(a->vm.mm, 0, a->pages, 0), TDP_OK);
}

static int keep_table(void *arg, const struct tdp_visit *v)
{
	*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static void zaps_table(struct asked *a)
{
	tdp_pa_t table = 0;

	assert_int_equal(tdp_walk(a->vm.mm, 0, a->pages, TDP_WALK_TABLE_PRE, keep_table, &table),
			 TDP_OK);
	assert_int_equal(tdp_zap_table(a->vm.mm, table), TDP_OK);
}

static void compacts(struct asked *a)
{
	assert_int_equal(tdp_compact(a->vm.mm, 0, a->block), 1);
}

static void removes(struct asked *a)
{
	assert_int_equal(tdp_slot_remove(a->vm.mm, a->slot), TDP_OK);
}

static void moves(struct asked *a)
{
	assert_int_equal(tdp_slot_move(a->vm.mm, a->slot, GPA / 2), TDP_OK);
}

static void changes_flags(struct asked *a)
{
	assert_int_equal(tdp_slot_set_flags(a->vm.mm, a->slot, TDP_SLOT_READONLY), TDP_OK);
}

static void gives_away(struct asked *a)
{
	assert_int_equal(tdp_set_owner(a->vm.mm, 0, a->pages, 3), TDP_OK);
}

static void tracks(struct asked *a)
{
	assert_int_equal(tdp_write_track(a->vm.mm, 0, a->pages, true), TDP_OK);
}

static void logs(struct asked *a)
{
	assert_int_equal(tdp_dirty_log(a->vm.mm, a->slot, TDP_LOG_WRPROT), TDP_OK);
}

static void logs_split(struct asked *a)
{
	assert_int_equal(tdp_dirty_log(a->vm.mm, a->slot, TDP_LOG_WRPROT | TDP_LOG_EAGER_SPLIT),
			 TDP_OK);
	assert_int_equal(leaf_at(&a->vm, GPA).lg2, TDP_PAGE_LG2);
}

static void clears(struct asked *a)
{
	assert_int_equal(tdp_dirty_clear(a->vm.mm, a->slot, 0, PAGES), TDP_OK);
}

static void recovers(struct asked *a)
{
	assert_int_equal(tdp_dirty_log(a->vm.mm, a->slot, TDP_LOG_OFF | TDP_LOG_RECOVER), TDP_OK);
	assert_int_equal(leaf_at(&a->vm, GPA).lg2, test_vm_lg2(&a->vm, 1));
}

static void collapses(struct asked *a)
{
	uint64_t made = 0;

	assert_int_equal(tdp_collapse(a->vm.mm, 0, a->block, 0, &made), TDP_OK);
	assert_int_equal(made, 1);
}

static void steps(struct asked *a, uint32_t kind)
{
	struct tdp_job job = {.size = (uint32_t)sizeof(job), .kind = kind, .range = a->block};

	while (tdp_job_step(a->vm.mm, &job) == 1)
		;
	assert_int_equal(job.pass > 0, 1);
}

static void steps_zap(struct asked *a)
{
	steps(a, TDP_JOB_ZAP);
}

static void steps_protect(struct asked *a)
{
	steps(a, TDP_JOB_WRITE_PROTECT);
}

static void steps_age(struct asked *a)
{
	steps(a, TDP_JOB_AGE);
}

static void steps_compact(struct asked *a)
{
	steps(a, TDP_JOB_COMPACT);
}

static void steps_collapse(struct asked *a)
{
	steps(a, TDP_JOB_COLLAPSE);
}

/* Before it is asked of: */
static void empties(struct asked *a)
{
	for (uint64_t at = 0; at < a->block.size; at += TEST_PAGE)
		assert_int_equal(tdp_zap(a->vm.mm, 0, range_of(GPA + at, TEST_PAGE), 0), TDP_OK);
}

static void may_be_huge(struct asked *a)
{
	assert_int_equal(tdp_slot_set_flags(a->vm.mm, a->slot, 0), TDP_OK);
	assert_int_equal(tdp_dirty_log(a->vm.mm, a->slot, TDP_LOG_WRPROT), TDP_OK);
	assert_int_equal(tdp_populate(a->vm.mm, 0, a->block, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	for (uint64_t at = 0; at < a->block.size; at += TEST_PAGE)
		use(&a->vm, 0, GPA + at, TDP_W);
}

static void is_huge(struct asked *a)
{
	assert_int_equal(tdp_slot_set_flags(a->vm.mm, a->slot, 0), TDP_OK);
	use(&a->vm, 0, GPA, TDP_W);
	assert_int_equal(leaf_at(&a->vm, GPA).lg2, test_vm_lg2(&a->vm, 1));
}

static void is_small(struct asked *a)
{
	may_be_huge(a);
	assert_int_equal(tdp_dirty_log(a->vm.mm, a->slot, TDP_LOG_OFF), TDP_OK);
}

static void is_logged(struct asked *a)
{
	logs(a);
	use(&a->vm, 0, GPA, TDP_W);
}

static const struct {
	void (*run)(struct asked *a);
	void (*before)(struct asked *a);
	enum tdp_op op;
	uint32_t mm_flags;
} calls[] = {
	{zaps, NULL, TDP_OP_ZAP, 0},
	{zaps_table, NULL, TDP_OP_ZAP, 0},
	{steps_zap, NULL, TDP_OP_ZAP, 0},
	{compacts, empties, TDP_OP_COMPACT, 0},
	{steps_compact, empties, TDP_OP_COMPACT, 0},
	{removes, NULL, TDP_OP_SLOT, 0},
	{removes, NULL, TDP_OP_SLOT, TDP_MM_SLOT_ZAP_ALL},
	{moves, NULL, TDP_OP_SLOT, 0},
	{changes_flags, NULL, TDP_OP_SLOT, 0},
	{gives_away, NULL, TDP_OP_OWNER, 0},
	{tracks, NULL, TDP_OP_WRITE_TRACK, 0},
	{steps_protect, NULL, TDP_OP_WRITE_PROTECT, 0},
	{steps_age, NULL, TDP_OP_AGE, 0},
	{logs, NULL, TDP_OP_DIRTY_LOG, 0},
	{logs_split, is_huge, TDP_OP_DIRTY_LOG, 0},
	{recovers, may_be_huge, TDP_OP_DIRTY_LOG, 0},
	{clears, is_logged, TDP_OP_DIRTY_CLEAR, 0},
	{collapses, is_small, TDP_OP_COLLAPSE, 0},
	{steps_collapse, is_small, TDP_OP_COLLAPSE, 0},
};

static void each_flush_says_who_asked(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(calls); i++) {
		struct tdp_stats before, after;
		struct asked a;

		up(&a, state, calls[i].mm_flags);
		if (calls[i].before)
			calls[i].before(&a);
		before = stats_of(&a.vm);
		calls[i].run(&a);
		after = stats_of(&a.vm);
		for (uint32_t op = 0; op < TDP_OPS; op++)
			if ((after.flush_op[op] != before.flush_op[op]) != (op == calls[i].op))
				fail_msg("call %zu: %llu flushes for %s", i,
					 (unsigned long long)(after.flush_op[op] -
							      before.flush_op[op]),
					 tdp_op_name(op));
		vm_down(&a.vm);
	}
}

/* When the generation of MMIO entries comes round all roots go, for a slot that comes. */
static void a_generation_that_wraps_is_a_slot(void **state)
{
	struct tdp_stats before, after;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	vm.cfg.mmio_gen_bits = 3;
	remake(&vm);
	load(&vm, 0);
	before = stats_of(&vm);
	for (unsigned i = 0; i < 8; i++)
		add_slot(&vm, 0, GPA + i * TEST_PAGE, TEST_PAGE, SLOT_PA, 0);
	after = stats_of(&vm);
	assert_int_equal(after.flush_op[TDP_OP_SLOT], before.flush_op[TDP_OP_SLOT] + 1);
	assert_int_equal(after.flush_op[TDP_OP_ROOTS], before.flush_op[TDP_OP_ROOTS]);
	vm_down(&vm);
}

/* ---- who fills what others owe asks for himself ---------------------------------------------- */

struct filler {
	bool populate, met;
	uint64_t asked;
};

static void fill(struct test_vm *vm, void *arg)
{
	struct filler *f = arg;
	enum tdp_op op = f->populate ? TDP_OP_POPULATE : TDP_OP_FAULT;
	int ret = f->populate ? tdp_populate(vm->mm, 0, range_of(GPA, TEST_PAGE), 0, NULL)
			      : fault(vm, 1, GPA, TDP_R);

	if (ret)
		test_violation(&vm->env, "not filled: %d", ret);
	f->asked = stats_of(vm).flush_op[op];
}

static void in_the_gap(struct spy *spy, struct tdp_range range)
{
	struct filler *f = spy->arg;

	(void)range;
	if (f->met)
		return;
	f->met = true;
	run_aside(&spy->vm, fill, f);
}

static void who_fills_asks_for_himself(void **state)
{
	for (unsigned populate = 0; populate < 2; populate++) {
		struct test_vm_options opts = {.cpus = 2};
		struct spy spy = {.on_flush = NULL};
		struct filler f = {.populate = populate};

		spy_up(&spy, state, &opts);
		add_slot(&spy.vm, 0, GPA, PAGES * TEST_PAGE, SLOT_PA, 0);
		use(&spy.vm, 0, GPA, TDP_W);
		load(&spy.vm, 1);
		spy.arg = &f;
		spy.on_flush = in_the_gap;
		assert_int_equal(tdp_zap(spy.vm.mm, 0, range_of(GPA, TEST_PAGE), 0), TDP_OK);
		spy.on_flush = NULL;
		assert_true(f.met);
		assert_int_equal(f.asked, 1);
		assert_int_equal(stats_of(&spy.vm).flush_op[TDP_OP_ZAP], 1);
		vm_down(&spy.vm);
	}
}

static void names(void **state)
{
	(void)state;
	for (uint32_t op = 0; op < TDP_OPS; op++) {
		assert_true(strlen(tdp_op_name(op)) > 2);
		for (uint32_t other = 0; other < op; other++)
			assert_string_not_equal(tdp_op_name(op), tdp_op_name(other));
	}
	assert_string_equal(tdp_op_name(TDP_OP_WRITE_PROTECT), "write_protect");
	assert_string_equal(tdp_op_name(TDP_OPS), "?");
	assert_string_equal(tdp_op_name(~(uint32_t)0), "?");
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(each_flush_says_who_asked),
		TEST_CASE(a_generation_that_wraps_is_a_slot),
		TEST_CASE(who_fills_asks_for_himself),
		TEST_CASE_IF(names, first_format),
	};

	return test_run("flush_ops", cases, ARRAY_LEN(cases));
}

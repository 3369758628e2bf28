/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * T20: flushes in two halves. The walk goes on while one is outstanding, and nothing relies on it before it is over;
 * the walker drops nothing before it is waited for.
 */
#include "steps.h"

#include "mm/gather.h"

#define GPA (2 * GIB)
#define SPACES_MAX 7u

/* Address space i has memory in block i, by small pages, of which vCPU i has some in its TLB. */
struct overlap {
	struct spy spy;
	struct test_vm *vm;
	uint32_t spaces;
	uint64_t block;
	uint64_t tables, retired; /* when the zap began */
	unsigned begins, syncs;
	uint64_t most;          /* outstanding */
	unsigned mapped[16];    /* address spaces that still were, at each begin … */
	unsigned mapped_synced; /* … and at the latest flush in one */
	uint32_t levels[16];
	uint64_t sizes[16];
	unsigned early, reached, waits;
	void (*aside)(struct test_vm *vm, void *arg); /* at the first wait */
};

static tdp_gpa_t page_of(const struct overlap *o, uint32_t space, unsigned page)
{
	return GPA + space * o->block + page * TEST_PAGE;
}

static bool gets_there(const struct overlap *o, uint32_t space, unsigned page, uint32_t access)
{
	struct tdp_emu_exit ex;

	return tdp_emu_access(o->vm->cpu[space].emu, page_of(o, space, page), access, &ex) ==
	       TDP_EMU_OK;
}

static void count_mapped(struct test_vm *vm, void *arg)
{
	const struct overlap *o = (const struct overlap *)vm;
	unsigned *n = arg;

	for (uint32_t i = 0; i < o->spaces; i++)
		*n += mapped(vm, i, page_of(o, i, 0));
}

static void on_begin(struct spy *spy, struct tdp_range range)
{
	struct overlap *o = (struct overlap *)spy;
	uint64_t now = atomic_load(&spy->begun) - atomic_load(&spy->waited);

	if (now > o->most)
		o->most = now;
	o->levels[o->begins] = atomic_load(&spy->levels);
	o->sizes[o->begins] = range.size;
	run_aside(o->vm, count_mapped, &o->mapped[o->begins++]);
}

static void on_flush(struct spy *spy, struct tdp_range range)
{
	struct overlap *o = (struct overlap *)spy;

	(void)range;
	o->syncs++;
	o->mapped_synced = 0;
	run_aside(o->vm, count_mapped, &o->mapped_synced);
}

static void on_wait(struct spy *spy)
{
	struct overlap *o = (struct overlap *)spy;

	/* Nothing is given back yet, and what is not flushed can be used. */
	if (atomic_load(&o->vm->env.tables) != o->tables || test_rcu_pending() != o->retired)
		o->early++;
	for (uint32_t i = 0; i < o->spaces; i++)
		o->reached += gets_there(o, i, 0, TDP_R);
	if (o->aside && o->waits == 0)
		run_aside(o->vm, o->aside, o);
	o->waits++;
}

/* A failed one stays: what it has deferred still runs. */
static struct overlap *overlap_up(void **state, uint32_t spaces, uint32_t clear_caps)
{
	struct test_vm_options opts = {.cpus = spaces};
	struct overlap *o = calloc(1, sizeof(*o));

	assert_non_null(o);
	o->spy.halves = true;
	o->spy.clear_caps = clear_caps;
	spy_up(&o->spy, state, &opts);
	o->vm = &o->spy.vm;
	o->spaces = spaces;
	o->block = block_of(o->vm);
	for (uint32_t i = 0; i < spaces; i++) {
		add_slot(o->vm, i, GPA + i * o->block, o->block, SLOT_PA, TDP_SLOT_FORCE_4K);
		assert_int_equal(tdp_vcpu_set_as(o->vm->cpu[i].vcpu, i), TDP_OK);
		for (unsigned page = 0; page < 4; page++)
			use(o->vm, i, page_of(o, i, page), TDP_W);
	}
	test_rcu_run();
	o->tables = atomic_load(&o->vm->env.tables);
	o->retired = test_rcu_pending();
	return o;
}

static void overlap_down(struct overlap *o)
{
	vm_down(o->vm);
	free(o);
}

static void watch(struct overlap *o)
{
	o->spy.on_begin = on_begin;
	o->spy.on_flush = on_flush;
	o->spy.on_wait = on_wait;
}

/* In all address spaces at once. */
static void zap_all(struct overlap *o)
{
	watch(o);
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(GPA, o->spaces * o->block), 0),
			 TDP_OK);
	o->spy.on_begin = NULL;
	o->spy.on_flush = NULL;
	o->spy.on_wait = NULL;
	assert_int_equal(atomic_load(&o->spy.begun), atomic_load(&o->spy.waited));
	assert_int_equal(o->early, 0);
	for (uint32_t i = 0; i < o->spaces; i++)
		for (unsigned page = 0; page < 4; page++)
			assert_false(gets_there(o, i, page, TDP_R));
	assert_true(test_rcu_pending() > o->retired);
	test_rcu_run();
	assert_int_equal(atomic_load(&o->vm->env.tables), o->tables - o->spaces);
}

static void the_next_root_is_walked_meanwhile(void **state)
{
	for (unsigned all = 0; all < 2; all++) {
		struct tdp_stats s;
		struct overlap *o = overlap_up(state, 3, all ? TDP_CAP_RANGE_FLUSH : 0);
		zap_all(o);
		assert_int_equal(o->begins, 2);
		assert_int_equal(o->most, 2);
		assert_int_equal(o->syncs, 1);
		assert_int_equal(o->waits, 2);
		/* When the first one began, two roots were still to be walked; at the first wait none. */
		assert_int_equal(o->mapped[0], 2);
		assert_int_equal(o->mapped[1], 1);
		assert_int_equal(o->mapped_synced, 0);
		/* Two that nobody had waited for, then one; unless a flush of everything came before. */
		assert_int_equal(o->reached, all ? 0 : 3);
		/* Tables went: of all levels. */
		assert_int_equal(o->levels[0] | o->levels[1], 0);
		assert_int_equal(o->sizes[0], all ? 0 : o->block);
		s = stats_of(o->vm);
		assert_int_equal(s.flush_begun, 2);
		assert_int_equal(all ? s.flush_all : s.flush_range, 3);
		assert_int_equal(s.flush_op[TDP_OP_ZAP], 3);
		assert_int_equal(s.flush_cause[TDP_FLUSH_TABLE], 3);
		overlap_down(o);
	}
}

static void halves_say_their_levels(void **state)
{
	struct overlap *o = overlap_up(state, 3, 0);
	o->spy.on_begin = on_begin;
	/* Of the third block one page, which is what the root of it is asked first for. */
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(GPA + TEST_PAGE, 2 * o->block), 0),
			 TDP_OK);
	o->spy.on_begin = NULL;
	assert_int_equal(o->begins, 2);
	assert_int_equal(o->levels[0], 1); /* of the third block one page */
	assert_int_equal(o->sizes[0], TEST_PAGE);
	assert_int_equal(o->levels[1], 0); /* the table of the second */
	assert_int_equal(stats_of(o->vm).flush_leaves, 2);
	overlap_down(o);
}

/* The root that is walked first has all there is: nothing is left to do but to wait. */
static void what_was_begun_is_waited_for(void **state)
{
	struct overlap *o = overlap_up(state, 3, 0);
	watch(o);
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(page_of(o, 2, 0), TEST_PAGE), 0),
			 TDP_OK);
	assert_int_equal(o->begins, 1);
	assert_int_equal(o->syncs, 0);
	assert_int_equal(o->waits, 1);
	assert_int_equal(o->reached, 3); /* late, as it should be */
	assert_false(gets_there(o, 2, 0, TDP_R));
	/* Nothing was there: nothing is begun. */
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(page_of(o, 2, 0), TEST_PAGE), 0),
			 TDP_OK);
	assert_int_equal(o->begins + o->syncs + o->waits, 2);
	overlap_down(o);
}

/* More roots than flushes may be outstanding: one more flush is for all that are left. */
static void not_too_many_at_once(void **state)
{
	struct overlap *o = overlap_up(state, SPACES_MAX, 0);
	o->spy.on_begin = on_begin;
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(GPA, SPACES_MAX * o->block), 0),
			 TDP_OK);
	o->spy.on_begin = NULL;
	for (uint32_t i = 0; i < SPACES_MAX; i++)
		assert_false(gets_there(o, i, 0, TDP_R));
	assert_int_equal(o->most, TDP_FLUSHES_BEGUN_MAX);
	assert_int_equal(o->begins, TDP_FLUSHES_BEGUN_MAX);
	assert_int_equal(atomic_load(&o->spy.waited), TDP_FLUSHES_BEGUN_MAX);
	assert_int_equal(stats_of(o->vm).flush_range, TDP_FLUSHES_BEGUN_MAX + 1);
	overlap_down(o);
}

/* ---- nobody relies on it --------------------------------------------------------------------- */

/* Both the first root and the last one: of the one the flush has begun, of the other it is done. */
static void fill_and_zap(struct test_vm *vm, void *arg)
{
	struct overlap *o = arg;
	struct tdp_emu_exit ex;
	tdp_gpa_t begun = page_of(o, o->spaces - 1, 0);
	uint32_t cpu = o->spaces - 1;

	if (!tdp_emu_cached(vm->emu, begun, TEST_PAGE))
		test_violation(&vm->env, "the flush was not late");
	if (tdp_zap(vm->mm, cpu, range_of(begun, TEST_PAGE), 0))
		test_violation(&vm->env, "the second zap");
	if (tdp_emu_access(vm->cpu[cpu].emu, begun, TDP_R, &ex) == TDP_EMU_OK)
		test_violation(&vm->env, "used after the second zap returned");
	begun += TEST_PAGE;
	if (!tdp_emu_cached(vm->emu, begun, TEST_PAGE))
		test_violation(&vm->env, "the flush was not late");
	if (tdp_populate(vm->mm, cpu, range_of(begun, TEST_PAGE), 0, NULL))
		test_violation(&vm->env, "populate");
	if (tdp_emu_cached(vm->emu, begun, TEST_PAGE))
		test_violation(&vm->env, "filled beside what is in TLBs");
}

static void others_do_not_rely_on_it(void **state)
{
	struct overlap *o = overlap_up(state, 3, 0);
	o->aside = fill_and_zap;
	o->spy.on_wait = on_wait;
	/* Of the last block not all: its table stays, and owes. */
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(GPA, 3 * o->block - TEST_PAGE), 0),
			 TDP_OK);
	o->spy.on_wait = NULL;
	assert_true(o->waits >= 1);
	overlap_down(o);
}

static bool sets_d(const struct test_format *fmt)
{
	return !(fmt->without_caps & (TDP_CAP_HW_DIRTY | TDP_CAP_HW_ACCESSED)) &&
	       !(fmt->mm_flags & TDP_MM_NO_HW_AD);
}

static void write_clean(struct spy *spy)
{
	struct overlap *o = (struct overlap *)spy;

	o->reached += gets_there(o, o->spaces - 1, 1, TDP_W);
}

/* What the MMU writes down in a table that was cut off, until the flush is over, is in the log. */
static void written_until_it_is_over(void **state)
{
	uint64_t bits = 0;
	uint32_t last = 2, id;
	struct overlap *o = overlap_up(state, 3, 0);

	assert_int_equal(tdp_slot_find(o->vm->mm, last, page_of(o, last, 0), &id, NULL), TDP_OK);
	assert_int_equal(tdp_dirty_log(o->vm->mm, id, TDP_LOG_DBIT), TDP_OK);
	use(o->vm, last, page_of(o, last, 1), TDP_R); /* in the TLB, clean */
	o->spy.on_wait = write_clean;
	assert_int_equal(tdp_zap(o->vm->mm, TDP_AS_ALL, range_of(GPA, 3 * o->block), 0), TDP_OK);
	o->spy.on_wait = NULL;
	assert_true(o->reached > 0);
	assert_int_equal(tdp_dirty_harvest(o->vm->mm, id, 0, &bits, 1), TDP_OK);
	assert_int_equal(bits & 2, 2);
	overlap_down(o);
}

static void at_yield(void *arg)
{
	struct overlap *o = arg;

	if (atomic_load(&o->spy.begun) != atomic_load(&o->spy.waited))
		o->early++;
	o->waits++;
}

static void nothing_is_outstanding_at_a_yield(void **state)
{
	uint64_t begun = 0, yields = 0;

	for (uint64_t n = 2; n < 16; n++) {
		struct overlap *o = overlap_up(state, 3, 0);
		struct tdp_range range = range_of(GPA, 3 * o->block);

		if (n %
		    2) /* the first root's table goes; the second one gives way and owes nothing */
			range = range_of(page_of(o, 1, 10), 2 * o->block - 10 * TEST_PAGE);
		o->vm->env.on_yield = at_yield;
		o->vm->env.on_yield_arg = o;
		test_env_yield(&o->vm->env, TEST_YIELD_NTH, n / 2);
		assert_int_equal(
			tdp_zap(o->vm->mm, TDP_AS_ALL, range, n % 2 ? 0 : TDP_ZAP_KEEP_YOUNG),
			TDP_OK);
		test_env_yield(&o->vm->env, TEST_YIELD_NEVER, 0);
		o->vm->env.on_yield = NULL;
		assert_int_equal(o->early, 0);
		yields += o->waits;
		begun += atomic_load(&o->spy.begun);
		assert_int_equal(atomic_load(&o->spy.begun), atomic_load(&o->spy.waited));
		overlap_down(o);
	}
	assert_true(begun > 0 && yields > 0);
}

/* ---- who has only one half ------------------------------------------------------------------- */

static void both_or_none(void **state)
{
	struct spy spy = {.halves = true};
	struct tdp_mm *mm;

	spy_up(&spy, state, NULL);
	spy.ops.flush_wait = NULL;
	assert_int_equal(tdp_mm_create(&spy.vm.cfg, &mm), TDP_EINVAL);
	spy.ops.flush_wait = spy_flush_wait;
	spy.ops.flush_begin = NULL;
	assert_int_equal(tdp_mm_create(&spy.vm.cfg, &mm), TDP_EINVAL);
	vm_down(&spy.vm);
}

/* ---- the emulated walker --------------------------------------------------------------------- */

/* Nothing goes before its wait; what there is no room for goes at once. */
static void the_walker_has_room_for_some(void **state)
{
	enum { BEGUN = 80 };
	uint64_t token[BEGUN], late = 0;
	struct tdp_emu_exit ex;
	struct test_vm vm;
	tdp_gpa_t gpa = GPA;

	vm_up(&vm, state, &(struct test_vm_options){.cpus = 1});
	add_slot(&vm, 0, GPA, BEGUN * TEST_PAGE, SLOT_PA, TDP_SLOT_FORCE_4K);
	for (unsigned i = 0; i < BEGUN; i++, gpa += TEST_PAGE) {
		use(&vm, 0, gpa, TDP_R);
		token[i] = tdp_emu_backend.flush_begin(vm.emu, range_of(gpa, TEST_PAGE), 1);
		late += tdp_emu_cached(vm.emu, gpa, TEST_PAGE) == 1;
	}
	assert_int_equal(late, 64);
	for (unsigned i = BEGUN; i-- > 0;) {
		gpa -= TEST_PAGE;
		tdp_emu_backend.flush_wait(vm.emu, token[i]);
		assert_false(tdp_emu_cached(vm.emu, gpa, TEST_PAGE));
	}
	/* There is room again. */
	assert_int_equal(tdp_emu_access(vm.cpu[0].emu, GPA, TDP_R, &ex), TDP_EMU_OK);
	token[0] = tdp_emu_backend.flush_begin(vm.emu, range_of(0, 0), 0);
	assert_true(tdp_emu_cached(vm.emu, GPA, TEST_PAGE));
	tdp_emu_backend.flush_wait(vm.emu, token[0]);
	assert_false(tdp_emu_cached(vm.emu, GPA, TEST_PAGE));
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(the_next_root_is_walked_meanwhile),
		TEST_CASE(halves_say_their_levels),
		TEST_CASE(what_was_begun_is_waited_for),
		TEST_CASE(not_too_many_at_once),
		TEST_CASE(others_do_not_rely_on_it),
		TEST_CASE_IF(written_until_it_is_over, sets_d),
		TEST_CASE(nothing_is_outstanding_at_a_yield),
		TEST_CASE_IF(both_or_none, first_format),
		TEST_CASE_IF(the_walker_has_room_for_some, first_format),
	};

	return test_run("flush_overlap", cases, ARRAY_LEN(cases));
}

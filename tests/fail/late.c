/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Walkers that take their time: before a flush, a reload or a load does its work, a vCPU goes on using what it has
 * cached, memory is given back by every grace period that may end, and other operations come by. What a call
 * promised holds when it returns, and not a moment later.
 */
#include "unit/steps.h"

#define GPA GIB
#define PAGES 12u /* of one table in every format */
#define CACHED 8u /* of these vCPU 1 has in its TLB; to the others it only knows the way */

static const struct tdp_range memory = {GPA, PAGES *TDP_PAGE_SIZE};

struct late {
	struct spy spy;
	struct test_vm *vm;
	struct test_backing mem;
	uint32_t slot;
	void (*before)(struct test_vm *vm, struct late *l); /* before vCPU 1 goes on */
	void (*second)(struct test_vm *vm, struct late *l); /* comes by after that */
	bool met;
	uint64_t tried;   /* accesses of vCPU 1 while it was */
	uint64_t reached; /* bit per page: it got there … */
	uint64_t bits;    /* what a harvest said */
};

static struct tdp_range block(const struct late *l)
{
	return range_of(GPA, block_of(l->vm));
}

/* ---- what vCPU 1 does meanwhile -------------------------------------------------------------- */

/* One access by what it has, and nobody mends a fault. */
static bool gets_there(struct late *l, unsigned page, uint32_t access)
{
	struct tdp_emu_exit ex;

	return tdp_emu_access(l->vm->cpu[1].emu, GPA + page * TEST_PAGE, access, &ex) == TDP_EMU_OK;
}

/* What was retired too early is gone, and a trap, before it walks. */
static void goes_on(struct test_vm *vm, void *arg)
{
	struct late *l = arg;

	if (l->before)
		l->before(vm, l);
	test_rcu_run();
	for (unsigned round = 0; round < 3; round++)
		for (unsigned page = 0; page < PAGES; page++, l->tried++)
			if (gets_there(l, page, TDP_W))
				l->reached |= (uint64_t)1 << page;
	if (l->second)
		l->second(vm, l);
}

static void late(struct late *l)
{
	if (l->met) /* what comes by flushes too, and at once */
		return;
	l->met = true;
	run_aside(l->vm, goes_on, l);
}

static void late_flush(struct spy *spy, struct tdp_range range)
{
	(void)range;
	late(spy->arg);
}

static void late_reload(struct spy *spy)
{
	late(spy->arg);
}

/* ---- the machine ----------------------------------------------------------------------------- */

/* vCPU 0 has written all pages, vCPU 1 some of them. */
static void late_up_without(struct late *l, void **state, uint32_t caps)
{
	struct test_vm_options opts = {.cpus = 3, .without_caps = caps};
	struct tdp_slot_desc desc;

	memset(l, 0, sizeof(*l));
	spy_up(&l->spy, state, &opts);
	l->vm = &l->spy.vm;
	l->spy.arg = l;
	assert_int_equal(test_backing_init(&l->mem, &l->vm->env, GPA, block_of(l->vm), SLOT_PA, 0,
					   TDP_PAGE_LG2),
			 TDP_OK);
	desc = test_backing_slot(&l->mem, 0, TDP_SLOT_FORCE_4K);
	assert_int_equal(tdp_slot_add(l->vm->mm, &desc, &l->slot), TDP_OK);
	load(l->vm, 2);
	for (unsigned page = 0; page < PAGES; page++)
		use(l->vm, 0, GPA + page * TEST_PAGE, TDP_W);
	for (unsigned page = 0; page < CACHED; page++)
		use(l->vm, 1, GPA + page * TEST_PAGE, TDP_W);
}

static void late_up(struct late *l, void **state)
{
	late_up_without(l, state, 0);
}

static void late_down(struct late *l)
{
	l->spy.on_flush = NULL;
	l->spy.on_reload = NULL;
	tdp_slot_remove(l->vm->mm, l->slot); /* if it still is there */
	test_backing_fini(&l->mem);
	vm_down(l->vm);
}

static void begin_late(struct late *l)
{
	l->met = false;
	l->tried = l->reached = 0;
	l->spy.on_flush = late_flush;
	l->spy.on_reload = late_reload;
}

static void end_late(struct late *l)
{
	l->spy.on_flush = NULL;
	l->spy.on_reload = NULL;
}

/* ---- operations ------------------------------------------------------------------------------ */

static void ok(struct late *l, const char *what, int status)
{
	if (status < 0)
		test_violation(&l->vm->env, "%s: %s", what, tdp_status_name(status));
}

static void zaps_pages(struct test_vm *vm, struct late *l)
{
	ok(l, "zap", tdp_zap(vm->mm, 0, memory, 0));
}

static void zaps_block(struct test_vm *vm, struct late *l)
{
	ok(l, "zap", tdp_zap(vm->mm, 0, block(l), TDP_ZAP_LAZY));
}

static void zaps_keeping_young(struct test_vm *vm, struct late *l)
{
	ok(l, "zap", tdp_zap(vm->mm, 0, block(l), TDP_ZAP_KEEP_YOUNG));
}

static int keep_table(void *arg, const struct tdp_visit *v)
{
	*(tdp_pa_t *)arg = v->pa;
	return 0;
}

static void zaps_table(struct test_vm *vm, struct late *l)
{
	tdp_pa_t table = 0;

	ok(l, "walk", tdp_walk(vm->mm, 0, memory, TDP_WALK_TABLE_PRE, keep_table, &table));
	ok(l, "zap_table", tdp_zap_table(vm->mm, table));
}

static void gives_away(struct test_vm *vm, struct late *l)
{
	ok(l, "set_owner", tdp_set_owner(vm->mm, 0, memory, 9));
}

static void changes_flags(struct test_vm *vm, struct late *l)
{
	ok(l, "set_flags", tdp_slot_set_flags(vm->mm, l->slot, TDP_SLOT_READONLY));
}

static void moves(struct test_vm *vm, struct late *l)
{
	ok(l, "move", tdp_slot_move(vm->mm, l->slot, GPA / 2));
}

static void removes(struct test_vm *vm, struct late *l)
{
	ok(l, "remove", tdp_slot_remove(vm->mm, l->slot));
}

static void invalidates_roots(struct test_vm *vm, struct late *l)
{
	ok(l, "invalidate", tdp_roots_invalidate(vm->mm));
}

static void protects(struct test_vm *vm, struct late *l)
{
	ok(l, "write_protect", tdp_write_protect(vm->mm, 0, memory));
}

static void tracks(struct test_vm *vm, struct late *l)
{
	ok(l, "write_track", tdp_write_track(vm->mm, 0, memory, true));
}

static void logs(struct test_vm *vm, struct late *l)
{
	ok(l, "log", tdp_dirty_log(vm->mm, l->slot, TDP_LOG_WRPROT));
}

static void harvests(struct test_vm *vm, struct late *l)
{
	uint64_t bits = 0;

	ok(l, "harvest", tdp_dirty_harvest(vm->mm, l->slot, 0, &bits, 1));
	l->bits |= bits;
}

/* Says what it takes, then takes it out of the log. */
static void clears(struct test_vm *vm, struct late *l)
{
	uint64_t bits = 0;

	ok(l, "get", tdp_dirty_get(vm->mm, l->slot, 0, &bits, 1));
	l->bits |= bits;
	if (bits)
		ok(l, "clear", tdp_dirty_clear_mask(vm->mm, l->slot, 0, bits));
}

struct operation {
	const char *name;
	void (*run)(struct test_vm *vm, struct late *l);
	bool reload; /* what is late is not a flush */
};

/* After these nothing of the pages can be reached. */
static const struct operation takes[] = {
	{"zap", zaps_pages, false},
	{"zap of the table's range", zaps_block, false},
	{"zap, keeping young", zaps_keeping_young, false},
	{"zap_table", zaps_table, false},
	{"set_owner", gives_away, false},
	{"slot_set_flags", changes_flags, false},
	{"slot_move", moves, false},
	{"roots_invalidate", invalidates_roots, true},
	{"slot_remove", removes, false},
};

/* After these each write is noticed. */
static const struct operation arms[] = {
	{"write_protect", protects, false},
	{"write_track", tracks, false},
	{"dirty_log", logs, false},
};

/* ---- nothing is reachable after return ------------------------------------------------------- */

static void taken(struct late *l, const struct operation *op)
{
	if (tdp_emu_cached(l->vm->emu, memory.start, memory.size))
		fail_msg("%s: a translation is left", op->name);
	for (unsigned page = 0; page < PAGES; page++)
		if (gets_there(l, page, TDP_R))
			fail_msg("%s: page %u can be reached", op->name, page);
}

static void armed(struct late *l, const struct operation *op)
{
	for (unsigned page = 0; page < PAGES; page++)
		if (gets_there(l, page, TDP_W))
			fail_msg("%s: a write to page %u is not noticed", op->name, page);
}

static void used_until_the_flush(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(takes) + ARRAY_LEN(arms); i++) {
		bool take = i < ARRAY_LEN(takes);
		const struct operation *op = take ? &takes[i] : &arms[i - ARRAY_LEN(takes)];
		struct late l;

		late_up(&l, state);
		begin_late(&l);
		op->run(l.vm, &l);
		end_late(&l);
		assert_true(l.met);
		/* It was late: the vCPU got to what it had in its TLB. */
		assert_int_equal(l.reached & ((1u << CACHED) - 1), (1u << CACHED) - 1);
		(take ? taken : armed)(&l, op);
		late_down(&l);
	}
}

/* ---- what is written until then is in the log ------------------------------------------------ */

static const struct operation harvesters[] = {
	{"dirty_harvest", harvests, false},
	{"dirty_clear_mask", clears, false},
};

/* Logged, clean, and known to vCPU 1 as clean (by Dirty bit), or written again (by write protection). */
static void make_clean(struct late *l, uint32_t mode)
{
	assert_int_equal(tdp_dirty_log(l->vm->mm, l->slot, mode), TDP_OK);
	harvests(l->vm, l);
	l->bits = 0;
	for (unsigned page = 0; page < PAGES; page++)
		use(l->vm, page < CACHED ? 1 : 0, GPA + page * TEST_PAGE,
		    mode == TDP_LOG_DBIT ? TDP_R : TDP_W);
}

static void written_until_the_flush(void **state)
{
	for (size_t i = 0; i < ARRAY_LEN(takes) - 1 + ARRAY_LEN(harvesters); i++) {
		bool take = i < ARRAY_LEN(takes) - 1; /* but removal, which takes the log along */
		const struct operation *op =
			take ? &takes[i] : &harvesters[i + 1 - ARRAY_LEN(takes)];

		for (uint32_t mode = TDP_LOG_WRPROT; mode <= TDP_LOG_DBIT; mode++) {
			struct late l;

			late_up(&l, state);
			if (mode == TDP_LOG_DBIT && !(l.vm->info.ad & 2)) {
				late_down(&l);
				continue;
			}
			make_clean(&l, mode);
			if (!take && mode == TDP_LOG_DBIT) /* dirty, so that there is a flush */
				for (unsigned page = 0; page < CACHED; page++)
					use(l.vm, 1, GPA + page * TEST_PAGE, TDP_W);
			begin_late(&l);
			op->run(l.vm, &l);
			end_late(&l);
			assert_true(l.met);
			harvests(l.vm, &l);
			if (l.reached & ~l.bits)
				fail_msg("%s, mode %u: written %#llx, in the log %#llx", op->name,
					 mode, (unsigned long long)l.reached,
					 (unsigned long long)l.bits);
			/* By what it knew, the way to a table that had gone included. */
			if (mode == TDP_LOG_WRPROT || op->run == zaps_block || op->reload)
				assert_true(l.reached != 0);
			late_down(&l);
		}
	}
}

/* ---- who comes second has it when he returns ------------------------------------------------- */

static const struct operation *second_op;

/* Its own thread: it may say now that its promise holds, though the first one has not flushed. */
static void comes_second(struct test_vm *vm, struct late *l)
{
	second_op->run(vm, l);
	for (unsigned page = 0; page < PAGES; page++)
		if (gets_there(l, page,
			       second_op >= arms && second_op < arms + ARRAY_LEN(arms) ? TDP_W
										       : TDP_R))
			test_violation(&vm->env, "%s has returned, and page %u is not noticed",
				       second_op->name, page);
}

/* A fault finds nothing and fills it: then nobody may go on with what was there before. */
static void fills(struct test_vm *vm, struct late *l)
{
	struct tdp_emu_exit ex;

	(void)l;
	if (test_vm_touch(vm, 2, GPA, TDP_W))
		test_violation(&vm->env, "a fault beside a late flush");
	if (tdp_emu_access(vm->cpu[1].emu, GPA, TDP_R, &ex) == TDP_EMU_OK && !ex.refs)
		test_violation(&vm->env, "filled, and still in another TLB");
}

static void owed_is_taken_over(void **state)
{
	static const struct operation firsts[] = {
		{"zap", zaps_pages, false},
		{"zap of the table's range", zaps_block, false},
		{"zap_table", zaps_table, false},
		{"write_protect", protects, false},
	};
	static const struct operation seconds[] = {
		{"zap", zaps_pages, false},       {"zap of the table's range", zaps_block, false},
		{"set_owner", gives_away, false}, {"slot_set_flags", changes_flags, false},
		{"slot_move", moves, false},      {"roots_invalidate", invalidates_roots, true},
	};

	for (size_t i = 0; i < ARRAY_LEN(firsts); i++) {
		for (size_t k = 0; k < ARRAY_LEN(seconds) + ARRAY_LEN(arms); k++) {
			struct late l;

			second_op = k < ARRAY_LEN(seconds) ? &seconds[k]
							   : &arms[k - ARRAY_LEN(seconds)];
			late_up(&l, state);
			l.second = comes_second;
			begin_late(&l);
			firsts[i].run(l.vm, &l);
			end_late(&l);
			assert_true(l.met);
			if (test_vm_check(l.vm))
				fail_msg("%s beside a late %s", second_op->name, firsts[i].name);
			late_down(&l);
		}
	}
}

static void nobody_fills_what_is_owed(void **state)
{
	for (unsigned cut = 0; cut < 2; cut++) {
		struct late l;

		late_up(&l, state);
		l.second = fills;
		begin_late(&l);
		(cut ? zaps_block : zaps_pages)(l.vm, &l);
		end_late(&l);
		assert_true(l.met);
		late_down(&l);
	}
}

/* ---- roots ----------------------------------------------------------------------------------- */

static void reclaims(struct test_vm *vm, struct late *l)
{
	uint64_t tables = atomic_load(&vm->env.tables);

	ok(l, "reclaim", tdp_roots_reclaim(vm->mm, 0));
	test_rcu_run();
	if (atomic_load(&vm->env.tables) != tables)
		test_violation(&vm->env, "tables are gone that a vCPU may still walk");
}

/* An invalid root that vCPUs may not have left yet is not torn down. */
static void torn_after_the_reload(void **state)
{
	struct late l;

	late_up(&l, state);
	l.before = reclaims;
	begin_late(&l);
	invalidates_roots(l.vm, &l);
	end_late(&l);
	assert_int_equal(l.reached & ((1u << CACHED) - 1), (1u << CACHED) - 1);
	taken(&l, &(struct operation){"roots_invalidate", NULL, true});
	for (uint32_t cpu = 0; cpu < 3; cpu++)
		load(l.vm, cpu);
	assert_int_equal(tdp_roots_reclaim(l.vm->mm, 0), 0);
	assert_int_equal(stats_of(l.vm).roots_invalid, 0);
	late_down(&l);
}

static void run_invalidate(struct test_vm *vm, void *arg)
{
	invalidates_roots(vm, arg);
}

static void late_load(struct spy *spy)
{
	struct late *l = spy->arg;

	if (l->met)
		return;
	l->met = true;
	run_aside(l->vm, run_invalidate, l);
}

/* The reload came by before the root was loaded: that root is not used. */
static void loaded_after_the_reload(void **state)
{
	struct late l;

	late_up(&l, state);
	assert_int_equal(tdp_vcpu_set_as(l.vm->cpu[1].vcpu, 1), TDP_OK);
	load(l.vm, 1);
	assert_int_equal(tdp_vcpu_set_as(l.vm->cpu[1].vcpu, 0), TDP_OK);
	l.spy.on_load = late_load;
	atomic_store(&l.spy.loads, 0);
	load(l.vm, 1);
	l.spy.on_load = NULL;
	assert_int_equal(atomic_load(&l.spy.loads), 2);
	/* The others leave the old one, which goes, and is a trap. */
	load(l.vm, 0);
	load(l.vm, 2);
	assert_int_equal(tdp_roots_reclaim(l.vm->mm, 0), 0);
	test_rcu_run();
	assert_int_equal(stats_of(l.vm).roots_invalid, 0);
	assert_int_equal(use(l.vm, 1, GPA, TDP_W).pa, test_backing_pa(&l.mem, GPA));
	late_down(&l);
}

/* ---- the vCPU's own flush -------------------------------------------------------------------- */

static void discard(struct test_vm *vm, void *arg)
{
	struct late *l = arg;

	ok(l, "discard", test_backing_discard(&l->mem, vm->mm, 0, range_of(GPA, TEST_PAGE)));
}

static void late_local_flush(struct spy *spy, struct tdp_range range)
{
	struct late *l = spy->arg;

	(void)range;
	if (l->met)
		return;
	l->met = true;
	run_aside(l->vm, discard, l);
}

/* A right was given to a page that is gone before the vCPU has dropped what denied it. */
static void given_and_gone(void **state)
{
	struct test_access a;
	struct late l;

	late_up_without(&l, state, TDP_CAP_FAULT_INVALIDATES);
	assert_int_equal(tdp_write_protect(l.vm->mm, 0, memory), TDP_OK);
	use(l.vm, 1, GPA, TDP_R);
	l.spy.on_vcpu_flush = late_local_flush;
	assert_int_equal(test_vm_access(l.vm, 1, GPA, TDP_W, &a), TEST_OK);
	l.spy.on_vcpu_flush = NULL;
	assert_true(l.met);
	assert_int_equal(a.pa, test_backing_pa(&l.mem, GPA));
	late_down(&l);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(used_until_the_flush),  TEST_CASE(written_until_the_flush),
		TEST_CASE(owed_is_taken_over),    TEST_CASE(nobody_fills_what_is_owed),
		TEST_CASE(torn_after_the_reload), TEST_CASE(loaded_after_the_reload),
		TEST_CASE(given_and_gone),
	};

	return test_run("late", cases, ARRAY_LEN(cases));
}

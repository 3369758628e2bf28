/* SPDX-License-Identifier: BSD-2-Clause */
/* How many flushes there are, what waits for one and what may not (rows T of FEATURES.md). */
#include "machine.h"

#include "mm/gather.h"

#define RAM (2 * MIB)

static void small_ram(struct test_vm *vm, uint32_t *id)
{
	assert_int_equal(test_vm_slot(vm, 0, 0, RAM, SLOT_PA, TDP_SLOT_FORCE_4K, id), TDP_OK);
}

static bool has_bbm(const struct test_format *fmt)
{
	return fmt->format == TDP_FMT_S2_4K || fmt->format == TDP_FMT_TEST;
}

/* ---- batches ---- */

static void a_batch_is_one_flush(void **state)
{
	enum { MANY = 130, BATCH = 64 };

	for (unsigned zap = 0; zap < 2; zap++) {
		struct test_vm vm;
		struct tdp_range range;
		uint64_t flushes, made = 0, breaks;

		vm_up(&vm, state, NULL);
		range = range_of(0, (uint64_t)MANY << huge_lg2(&vm));
		assert_int_equal(test_vm_slot(&vm, 0, 0, range.size, SLOT_PA, 0, NULL), TDP_OK);
		for (uint64_t i = 0; i < MANY; i++)
			assert_int_equal(test_vm_touch(&vm, 0, i << huge_lg2(&vm), TDP_R), 0);
		flushes = broadcasts_of(&vm);
		breaks = stats_of(&vm).flush_cause[TDP_FLUSH_BREAK];
		assert_int_equal(tdp_split(vm.mm, 0, range, TDP_PAGE_LG2), TDP_OK);
		/* Smaller pages of the same memory: nobody needs to be told. */
		breaks = stats_of(&vm).flush_cause[TDP_FLUSH_BREAK] - breaks;
		assert_int_equal(broadcasts_of(&vm), flushes + breaks);
		if (!has_bbm(format_of(state)))
			assert_int_equal(breaks, 0);
		flushes = broadcasts_of(&vm);
		breaks = stats_of(&vm).flush_cause[TDP_FLUSH_BREAK];
		assert_int_equal(tdp_collapse(vm.mm, 0, range, zap ? TDP_COLLAPSE_ZAP : 0, &made),
				 TDP_OK);
		assert_true(made >= MANY);
		breaks = stats_of(&vm).flush_cause[TDP_FLUSH_BREAK] - breaks;
		assert_true(broadcasts_of(&vm) - flushes - breaks <= made / BATCH + 1);
		assert_true(broadcasts_of(&vm) > flushes);
		if (zap)
			assert_int_equal(breaks, 0);
		/* A zap of it all is one more. */
		flushes = broadcasts_of(&vm);
		assert_int_equal(tdp_populate(vm.mm, 0, range, 0, NULL), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes);
		assert_int_equal(tdp_zap(vm.mm, 0, range, 0), TDP_OK);
		assert_int_equal(broadcasts_of(&vm), flushes + 1);
		vm_down(&vm);
	}
}

struct unmap {
	struct tdp_range range;
	unsigned flushes;
	uint64_t left; /* pages that were still mapped at the flush */
};

static void count_left(struct test_vm *vm, void *arg)
{
	struct unmap *u = arg;

	for (uint64_t at = 0; at < u->range.size; at += TEST_PAGE)
		u->left += translate(vm, 0, u->range.start + at, NULL) == TDP_OK;
}

static void at_unmap_flush(struct spy *spy, struct tdp_range range)
{
	struct unmap *u = spy->arg;

	if (range.start != u->range.start || range.size != u->range.size)
		u->left++;
	u->flushes++;
	run_aside(&spy->vm, count_left, u);
}

/* T16: many tables, two of them in part: flushed when all of it is gone, once, as one range. */
static void an_unmap_flushes_once_at_its_end(void **state)
{
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct unmap u = {.flushes = 0};
	uint64_t block;

	spy_up(&spy, state, NULL);
	block = (uint64_t)1 << test_vm_lg2(vm, 1);
	u.range = range_of(3 * TEST_PAGE, 5 * block + TEST_PAGE);
	assert_int_equal(test_vm_slot(vm, 0, 0, 7 * block, SLOT_PA, TDP_SLOT_FORCE_4K, NULL),
			 TDP_OK);
	assert_int_equal(tdp_populate(vm->mm, 0, u.range, 0, NULL), TDP_OK);
	spy.arg = &u;
	spy.on_flush = at_unmap_flush;
	assert_int_equal(tdp_zap(vm->mm, 0, u.range, 0), TDP_OK);
	spy.on_flush = NULL;
	assert_int_equal(u.flushes, 1);
	assert_int_equal(u.left, 0);
	assert_int_equal(leaves_of(vm), 0);
	vm_down(vm);
}

static bool live_splits(const struct test_format *fmt)
{
	return !has_bbm(fmt);
}

/* Two sizes over the same memory at once are harmless, where the architecture says so. */
static void stale_sizes_of_the_same_memory_are_used(void **state)
{
	struct tdp_emu_exit ex;
	struct test_vm vm;

	vm_up(&vm, state, NULL);
	assert_int_equal(test_vm_slot(&vm, 0, 0, (uint64_t)4 << huge_lg2(&vm), SLOT_PA, 0, NULL),
			 TDP_OK);
	assert_int_equal(test_vm_touch(&vm, 0, 0, TDP_W), 0);
	assert_int_equal(
		tdp_split(vm.mm, 0, range_of(0, (uint64_t)1 << huge_lg2(&vm)), TDP_PAGE_LG2),
		TDP_OK);
	assert_int_equal(tdp_emu_cached(vm.emu, 0, TEST_PAGE), 1); /* the huge one, still */
	assert_int_equal(tdp_emu_access(vm.cpu[0].emu, 0x3000, TDP_W, &ex), TDP_EMU_OK);
	assert_int_equal(ex.pa, SLOT_PA + 0x3000);
	assert_int_equal(ex.refs, 0);
	/* But it is not forgotten: what one small page loses, the huge translation loses too. */
	assert_int_equal(tdp_zap(vm.mm, 0, range_of(0x3000, TEST_PAGE), 0), TDP_OK);
	assert_true(tdp_emu_access(vm.cpu[0].emu, 0x3000, TDP_W, &ex) != TDP_EMU_OK);
	vm_down(&vm);
}

struct order {
	uint64_t tables, retired;
	bool early;
};

static void tables_at_flush(struct spy *spy, struct tdp_range range)
{
	struct order *o = spy->arg;

	(void)range;
	/* The pages that are about to be freed are still there, and wait for nobody but this. */
	if (atomic_load(&spy->vm.env.tables) != o->tables || test_rcu_pending() != o->retired)
		o->early = true;
}

static void tables_are_freed_after_the_flush(void **state)
{
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct order o = {0};
	struct tdp_range range;

	spy_up(&spy, state, NULL);
	range = range_of(0, (uint64_t)8 << huge_lg2(vm));
	assert_int_equal(test_vm_slot(vm, 0, 0, range.size, SLOT_PA, 0, NULL), TDP_OK);
	for (unsigned how = 0; how < 4; how++) {
		uint64_t flushes;

		assert_int_equal(tdp_populate(vm->mm, 0, range, 0, NULL), TDP_OK);
		assert_int_equal(tdp_split(vm->mm, 0, range, TDP_PAGE_LG2), TDP_OK);
		if (how == 3)
			for (uint64_t at = 0; at < range.size; at += TEST_PAGE)
				assert_int_equal(tdp_zap(vm->mm, 0, range_of(at, TEST_PAGE), 0),
						 TDP_OK);
		test_rcu_run();
		o.tables = atomic_load(&vm->env.tables);
		o.retired = test_rcu_pending();
		spy.arg = &o;
		spy.on_flush = tables_at_flush;
		flushes = broadcasts_of(vm);
		if (how == 0)
			assert_int_equal(tdp_zap(vm->mm, 0, range, 0), TDP_OK);
		else if (how < 3)
			assert_int_equal(tdp_collapse(vm->mm, 0, range,
						      how == 1 ? 0 : TDP_COLLAPSE_ZAP, NULL),
					 TDP_OK);
		else
			assert_true(tdp_compact(vm->mm, 0, everything(vm)) > 0);
		spy.on_flush = NULL;
		assert_true(broadcasts_of(vm) > flushes);
		assert_false(o.early);
		assert_true(test_rcu_pending() > o.retired);
		test_rcu_run();
		assert_true(atomic_load(&vm->env.tables) < o.tables);
		assert_int_equal(tdp_zap(vm->mm, 0, range, 0), TDP_OK);
	}
	vm_down(vm);
}

/* ---- before a call returns ---- */

struct owed {
	struct tdp_range range;
	bool fill;
	unsigned depth;
	uint64_t before, cached;
};

static void second_call(struct test_vm *vm, void *arg)
{
	struct owed *o = arg;

	if (o->fill) {
		if (test_vm_touch(vm, 2, o->range.start, TDP_W) != 0) /* it holds nothing */
			test_violation(&vm->env, "the second call failed");
	} else {
		if (tdp_zap(vm->mm, 0, o->range, 0) != TDP_OK)
			test_violation(&vm->env, "the second call failed");
		/*
		 * It may say that nothing can be reached, though the first one has not flushed
		 * yet.
		 */
		o->cached = (uint64_t)tdp_emu_cached(vm->emu, o->range.start, o->range.size);
	}
}

static void in_the_gap(struct spy *spy, struct tdp_range range)
{
	struct owed *o = spy->arg;

	(void)range;
	if (o->depth++ == 0) {
		o->before = (uint64_t)tdp_emu_cached(spy->vm.emu, o->range.start, o->range.size);
		run_aside(&spy->vm, second_call, o);
	}
}

static void owed_flushes_are_taken_over(void **state)
{
	for (unsigned fill = 0; fill < 2; fill++) {
		for (unsigned pages = 1; pages <= 512; pages += 511) {
			struct test_vm_options opts = {.cpus = 3};
			struct spy spy = {.on_flush = NULL};
			struct test_vm *vm = &spy.vm;
			struct owed o = {.fill = fill, .range = {0x2000, TEST_PAGE}};

			spy_up(&spy, state, &opts);
			small_ram(vm, NULL);
			assert_int_equal(test_vm_touch(vm, 0, 0x2000, TDP_W), 0);
			assert_int_equal(test_vm_touch(vm, 1, 0x2000, TDP_R), 0);
			spy.arg = &o;
			spy.on_flush = in_the_gap;
			/* One page; or all, so that tables are cut off. */
			assert_int_equal(tdp_zap(vm->mm, 0,
						 pages == 1
							 ? o.range
							 : range_of(0, (uint64_t)pages * TEST_PAGE),
						 0),
					 TDP_OK);
			spy.on_flush = NULL;
			assert_int_equal(o.before, 1); /* the gap was open */
			assert_int_equal(o.cached, 0);
			assert_true(o.depth >= 2);
			assert_true(stats_of(vm).flush_cause[TDP_FLUSH_OWED] >= 1);
			vm_down(vm);
		}
	}
}

static void nothing_is_reachable_when_zap_returns(void **state)
{
	struct test_vm_options opts = {.cpus = 2};
	struct test_vm vm;

	vm_up(&vm, state, &opts);
	assert_int_equal(test_vm_slot(&vm, 0, 0, test_vm_size(&vm), 0, 0, NULL), TDP_OK);
	for (unsigned i = 0; i < 8; i++) {
		tdp_gpa_t gpa = test_vm_size(&vm) / 8 * i + i * TEST_PAGE;
		struct tdp_range page = range_of(gpa, TEST_PAGE);

		for (uint32_t cpu = 0; cpu < 2; cpu++)
			assert_int_equal(test_vm_touch(&vm, cpu, gpa, TDP_W), 0);
		assert_int_equal(tdp_emu_cached(vm.emu, gpa, TEST_PAGE), 1);
		assert_int_equal(tdp_zap(vm.mm, 0, page, i & 1 ? TDP_ZAP_LAZY : 0), TDP_OK);
		assert_int_equal(tdp_emu_cached(vm.emu, gpa, TEST_PAGE), 0);
		assert_int_equal(translate(&vm, 0, gpa, NULL), TDP_ENOENT);
	}
	vm_down(&vm);
}

/* ---- when there is nobody to tell ---- */

static void destroy_does_not_flush(void **state)
{
	struct test_vm vm;
	uint64_t flushes;

	vm_up(&vm, state, NULL);
	small_ram(&vm, NULL);
	for (unsigned page = 0; page < 100; page++)
		assert_int_equal(test_vm_touch(&vm, 0, page * TEST_PAGE, TDP_W), 0);
	tdp_vcpu_destroy(vm.cpu[0].vcpu);
	tdp_emu_vcpu_destroy(vm.cpu[0].emu);
	vm.cpus = 0;
	flushes = flushes_of(&vm);
	assert_true(flushes < 100);
	assert_int_equal(tdp_mm_destroy(vm.mm), 0);
	assert_int_equal(flushes_of(&vm), flushes);
	vm.mm = NULL;
	assert_int_equal(test_vm_fini(&vm), 0);
}

/* ---- range or all ---- */

static struct tdp_range flushed;

static void note_flushed(struct spy *spy, struct tdp_range range)
{
	(void)spy;
	flushed = range;
}

static void ranges_where_they_are_cheaper(void **state)
{
	for (unsigned with = 0; with < 2; with++) {
		struct spy spy = {.clear_caps = with ? 0 : TDP_CAP_RANGE_FLUSH,
				  .on_flush = note_flushed};
		struct test_vm *vm = &spy.vm;
		uint64_t ranges, alls;

		spy_up(&spy, state, NULL);
		small_ram(vm, NULL);
		assert_int_equal(test_vm_touch(vm, 0, 0x2000, TDP_W), 0);
		assert_int_equal(test_vm_touch(vm, 0, 0x5000, TDP_W), 0);
		ranges = atomic_load(&spy.ranges);
		alls = atomic_load(&spy.alls);
		/* One range over what went, no wider than it need be. */
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(0x1000, 0x8000), 0), TDP_OK);
		if (with) {
			assert_int_equal(atomic_load(&spy.ranges), ranges + 1);
			assert_int_equal(atomic_load(&spy.alls), alls);
			assert_int_equal(flushed.start, 0x2000);
			assert_int_equal(flushed.size, 0x4000);
			assert_int_equal(stats_of(vm).flush_all, 0);
		} else {
			assert_int_equal(atomic_load(&spy.ranges), ranges);
			assert_int_equal(atomic_load(&spy.alls), alls + 1);
			assert_int_equal(stats_of(vm).flush_range, 0);
		}
		assert_int_equal(tdp_emu_cached(vm->emu, 0, RAM), 0);
		vm_down(vm);
	}
}

/* ---- the faulting vCPU's own translation ---- */

static void a_stale_denial_does_not_livelock(void **state)
{
	for (unsigned without = 0; without < 2; without++) {
		struct test_vm_options opts = {.cpus = 2};
		bool keeps = has_bbm(format_of(state)) || without;
		struct test_access a;
		struct test_vm vm;
		uint64_t local;

		if (without)
			opts.without_caps = TDP_CAP_FAULT_INVALIDATES;
		vm_up(&vm, state, &opts);
		small_ram(&vm, NULL);
		for (unsigned page = 0; page < 8; page++) {
			tdp_gpa_t gpa = page * TEST_PAGE;

			assert_int_equal(test_vm_touch(&vm, 1, gpa, TDP_W), 0);
			assert_int_equal(tdp_write_protect(vm.mm, 0, range_of(gpa, TEST_PAGE)),
					 TDP_OK);
			for (uint32_t cpu = 0; cpu < 2; cpu++) /* both hold it without W */
				assert_int_equal(test_vm_touch(&vm, cpu, gpa, TDP_R), 0);
			local = stats_of(&vm).flush_cause[TDP_FLUSH_LOCAL];
			assert_int_equal(test_vm_access(&vm, 0, gpa, TDP_W, &a), TEST_OK);
			assert_int_equal(a.faults, 1);
			/* The other one finds W there: a spurious fault, which must end as well. */
			assert_int_equal(test_vm_access(&vm, 1, gpa, TDP_W, &a), TEST_OK);
			assert_true(a.faults <= 1);
			local = stats_of(&vm).flush_cause[TDP_FLUSH_LOCAL] - local;
			if (format_of(state)->format == TDP_FMT_EPT ||
			    format_of(state)->format == TDP_FMT_NPT)
				assert_int_equal(local > 0, without);
			else if (keeps && format_of(state)->format == TDP_FMT_S2_4K)
				assert_true(local > 0);
		}
		vm_down(&vm);
	}
}

static uint64_t local_flushes_of(const struct test_vm *vm)
{
	struct tdp_emu_stats stats = {.size = (uint32_t)sizeof(stats)};

	assert_int_equal(tdp_emu_stats(vm->emu, &stats), TDP_OK);
	return stats.flush_vcpu;
}

/* What an access finds without a walk. */
static bool hits(struct test_vm *vm, uint32_t cpu, tdp_gpa_t gpa)
{
	struct tdp_emu_exit ex;

	assert_int_equal(tdp_emu_access(vm->cpu[cpu].emu, gpa, TDP_R, &ex), TDP_EMU_OK);
	return ex.refs == 0;
}

/*
 * T15: a permission that is given is flushed where it was missed, on that vCPU and in that page only; by all if the
 * walker knows no flush of one. What is taken away is flushed everywhere.
 */
static void a_permission_that_is_given_is_flushed_locally(void **state)
{
	for (unsigned walker = 0; walker < 3; walker++) {
		struct test_vm_options opts = {.cpus = 2};
		struct spy spy = {.clear_caps = TDP_CAP_FAULT_INVALIDATES, .no_local = walker > 0};
		struct test_vm *vm = &spy.vm;
		uint64_t local, ranges, alls;

		if (walker == 2)
			spy.clear_caps |= TDP_CAP_RANGE_FLUSH;
		spy_up(&spy, state, &opts);
		small_ram(vm, NULL);
		for (uint32_t cpu = 0; cpu < 2; cpu++)
			for (tdp_gpa_t gpa = 0x2000; gpa < 0x4000; gpa += TEST_PAGE)
				assert_int_equal(test_vm_touch(vm, cpu, gpa, TDP_W), 0);
		ranges = atomic_load(&spy.ranges), alls = atomic_load(&spy.alls);
		local = local_flushes_of(vm);
		assert_int_equal(tdp_write_protect(vm->mm, 0, range_of(0x2000, TEST_PAGE)), TDP_OK);
		assert_int_equal(local_flushes_of(vm), local);
		assert_int_equal(atomic_load(&spy.ranges), ranges + (walker < 2));
		assert_int_equal(atomic_load(&spy.alls), alls + (walker == 2));
		for (uint32_t cpu = 0; cpu < 2; cpu++)
			for (tdp_gpa_t gpa = 0x2000; gpa < 0x4000; gpa += TEST_PAGE)
				assert_int_equal(test_vm_touch(vm, cpu, gpa, TDP_R), 0);
		ranges = atomic_load(&spy.ranges), alls = atomic_load(&spy.alls);
		local = stats_of(vm).flush_cause[TDP_FLUSH_LOCAL];
		assert_int_equal(fault(vm, 0, 0x2000, TDP_W), TDP_FAULT_FIXED);
		assert_int_equal(stats_of(vm).flush_cause[TDP_FLUSH_LOCAL], local + 1);
		assert_int_equal(atomic_load(&spy.ranges), ranges + (walker == 1));
		assert_int_equal(atomic_load(&spy.alls), alls + (walker == 2));
		assert_false(hits(vm, 0, 0x2000));
		assert_int_equal(hits(vm, 1, 0x2000), walker == 0);
		assert_int_equal(hits(vm, 0, 0x3000), walker < 2);
		assert_int_equal(hits(vm, 1, 0x3000), walker < 2);
		vm_down(vm);
	}
}

/* ---- roots ---- */

static void every_loaded_root_comes_with_a_flush(void **state)
{
	struct spy spy = {.on_flush = NULL};
	struct test_vm *vm = &spy.vm;
	struct test_access a;

	spy_up(&spy, state, NULL);
	for (uint32_t as = 0; as < 2; as++)
		assert_int_equal(test_vm_slot(vm, as, 0, RAM, SLOT_PA + as * RAM, 0, NULL), TDP_OK);
	/*
	 * VMID, ASID or the page of a dead root may tell the walker that it knows this one: it
	 * does not.
	 */
	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(tdp_vcpu_set_as(vm->cpu[0].vcpu, i & 1), TDP_OK);
		assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
		assert_int_equal(test_vm_access(vm, 0, 0x3000, TDP_W, &a), TEST_OK);
		assert_int_equal(a.pa, SLOT_PA + (i & 1) * RAM + 0x3000);
		if (i == 3) {
			assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
			assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
			assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
			test_rcu_run();
		}
	}
	assert_int_equal(atomic_load(&spy.loads), 9);
	assert_int_equal(atomic_load(&spy.flushing_loads), 9);
	/* Nothing changed, nothing loaded. */
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_OK);
	assert_int_equal(atomic_load(&spy.loads), 9);
	/* What root_load refuses is told, and leaves no root. */
	assert_int_equal(tdp_vcpu_set_as(vm->cpu[0].vcpu, 0), TDP_OK);
	atomic_store(&spy.load_status, TDP_EPERM);
	assert_int_equal(tdp_vcpu_load(vm->cpu[0].vcpu), TDP_EPERM);
	assert_int_equal(fault(vm, 0, 0x3000, TDP_R), TDP_ENOENT);
	atomic_store(&spy.load_status, 0);
	assert_int_equal(test_vm_touch(vm, 0, 0x3000, TDP_R), 0);
	vm_down(vm);
}

/* What cannot fail returns nothing: no status that a caller could drop. */
static void flushes_return_nothing(void **state)
{
	void (*range)(void *, struct tdp_range) = tdp_emu_backend.flush_range;
	void (*all)(void *) = tdp_emu_backend.flush_all;
	void (*vcpu)(void *, void *, struct tdp_range) = tdp_emu_backend.flush_vcpu;
	void (*reload)(void *) = tdp_emu_backend.reload;
	void (*finish)(struct tdpi_gather *) = tdpi_gather_finish;
	void (*end)(struct tdpi_gather *) = tdpi_gather_end;

	(void)state;
	assert_true(range && all && vcpu && reload && finish && end);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(a_batch_is_one_flush),
		TEST_CASE(an_unmap_flushes_once_at_its_end),
		TEST_CASE_IF(stale_sizes_of_the_same_memory_are_used, live_splits),
		TEST_CASE(tables_are_freed_after_the_flush),
		TEST_CASE(owed_flushes_are_taken_over),
		TEST_CASE(nothing_is_reachable_when_zap_returns),
		TEST_CASE(destroy_does_not_flush),
		TEST_CASE(ranges_where_they_are_cheaper),
		TEST_CASE(a_stale_denial_does_not_livelock),
		TEST_CASE(a_permission_that_is_given_is_flushed_locally),
		TEST_CASE(every_loaded_root_comes_with_a_flush),
		TEST_CASE_IF(flushes_return_nothing, first_format),
	};

	return test_run("flush", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The iterator by itself, compiled for the hostile format: which tables and runs it hands out,
 * how it starts again, what it does when it may not yield (rows I of FEATURES.md).
 */
#include "machine.h"

#include "fmt/test.h"

#include "engine/iter.h"

static bool the_format(const struct test_format *fmt)
{
	return fmt->format == TDP_FMT_TEST;
}

static void grow(struct test_vm *vm, struct test_rand *r)
{
	assert_int_equal(test_vm_slot(vm, 0, 0, test_vm_size(vm), 0, 0, NULL), TDP_OK);
	for (unsigned i = 0; i < 40; i++) {
		tdp_gpa_t gpa = test_below(r, test_vm_size(vm)) & ~(TEST_PAGE - 1);

		assert_int_equal(test_vm_touch(vm, 0, gpa, TDP_R), 0);
		assert_int_equal(tdp_zap(vm->mm, 0, range_of(gpa, TEST_PAGE), 0), TDP_OK);
	}
}

struct expected {
	const struct tdpi_table *t[4096];
	size_t count;
};

/* Tables that overlap the span, parents first, by recursion. */
static void expect(const struct tdp_mm *mm, const struct tdpi_table *t, struct tdpi_span span,
		   unsigned min_level, struct expected *x)
{
	const tdpi_entry_t *entries = tdpi_table_entries(mm, t);

	if (t->gfn >= span.end || t->gfn + level_pages(t->level + 1u) <= span.start ||
	    t->level < min_level)
		return;
	assert_true(x->count < ARRAY_LEN(x->t));
	x->t[x->count++] = t;
	for (unsigned i = 0; t->level > 0 && i < ENTRIES; i++) {
		uint64_t e = tdpi_entry_load_table(&entries[i]);

		if (fmt_kind(e, t->level) == TDP_ENTRY_TABLE)
			expect(mm, table_below(mm, e, t->level), span, min_level, x);
	}
}

static void check_run(const struct iter *it, struct tdpi_span span)
{
	tdpi_gfn_t end = it->gfn + (it->last - it->first + 1) * level_pages(it->level);

	assert_true(it->last < ENTRIES && it->first <= it->last);
	assert_int_equal(it->gfn, it->t->gfn + it->first * level_pages(it->level));
	/* Exactly the entries of this table that overlap the span. */
	assert_true(it->gfn + level_pages(it->level) > span.start &&
		    end - level_pages(it->level) < span.end);
	assert_true(it->first == 0 || it->gfn <= span.start);
	assert_true(it->last == ENTRIES - 1 || end >= span.end);
}

static void every_table_once_with_its_run(void **state)
{
	struct test_vm vm;
	struct test_rand r;
	struct expected *x = calloc(1, sizeof(*x));

	assert_non_null(x);
	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	tdpi_rcu_lock(vm.mm);
	for (unsigned round = 0; round < 200; round++) {
		uint64_t pages = test_vm_size(&vm) >> TDP_PAGE_LG2;
		unsigned min_level = round % 4;
		struct tdpi_span span = {test_below(&r, pages), 0};
		struct iter it;
		size_t n = 0;

		span.end = span.start + 1 + test_below(&r, pages - span.start);
		if (round < 4)
			span = (struct tdpi_span){0, pages};
		x->count = 0;
		expect(vm.mm, vm.mm->roots->table, span, min_level, x);
		iter_init(&it, vm.mm, vm.mm->roots, span, min_level);
		while (iter_table(&it)) {
			assert_true(n < x->count);
			assert_ptr_equal(it.t, x->t[n]);
			assert_int_equal(it.level, it.t->level);
			check_run(&it, span);
			n++;
		}
		assert_int_equal(n, x->count);
		assert_false(iter_table(&it)); /* and stays at its end */
	}
	tdpi_rcu_unlock(vm.mm);
	free(x);
	vm_down(&vm);
}

static void empty_spans_visit_nothing(void **state)
{
	struct tdpi_span nothing = {5, 5}, backwards = {7, 3};
	struct test_vm vm;
	struct test_rand r;
	struct iter it;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	tdpi_rcu_lock(vm.mm);
	iter_init(&it, vm.mm, vm.mm->roots, nothing, 0);
	assert_false(iter_table(&it));
	iter_init(&it, vm.mm, vm.mm->roots, backwards, 0);
	assert_false(iter_table(&it));
	/* Lowest level above the root: only the root is visited. */
	iter_init(&it, vm.mm, vm.mm->roots, (struct tdpi_span){0, 1}, FMT_LEVELS_MAX);
	assert_true(iter_table(&it));
	assert_false(iter_table(&it));
	tdpi_rcu_unlock(vm.mm);
	vm_down(&vm);
}

static void zap_aside(struct test_vm *vm, void *arg)
{
	const struct tdp_range *range = arg;

	if (tdp_zap(vm->mm, 0, *range, 0) != TDP_OK)
		test_violation(&vm->env, "zap failed");
}

/*
 * Between the visit of a table and the step below it, what is below is cut off. If the table
 * itself stays, nothing of that is entered: its entries are read again. If it went along, its
 * children can still be walked into, but none can be locked.
 */
static void cut_below(struct test_vm *vm, unsigned stop, bool with_table, unsigned *cut)
{
	struct tdpi_span all = {0, test_vm_size(vm) >> TDP_PAGE_LG2};
	tdpi_gfn_t start, end;
	struct tdp_range range;
	struct tdpi_locked l;
	struct iter it;
	unsigned n = 0;

	tdpi_rcu_lock(vm->mm);
	iter_init(&it, vm->mm, vm->mm->roots, all, 0);
	while (n < stop && iter_table(&it))
		n++;
	if (n == stop && it.level > 0 && it.level < vm->info.levels - 1) {
		start = it.t->gfn;
		end = start + level_pages(it.level + 1);
		if (!with_table)
			end -= level_pages(it.level); /* its last child stays, and so does it */
		range = range_of(start << TDP_PAGE_LG2, (end - start) << TDP_PAGE_LG2);
		run_aside(vm, zap_aside, &range);
		while (iter_table(&it)) {
			if (it.t->gfn < start || it.t->gfn + level_pages(it.level + 1) > end)
				continue;
			assert_true(with_table);
			assert_false(tdpi_table_lock(vm->mm, it.t, &l));
		}
		++*cut;
	}
	tdpi_rcu_unlock(vm->mm);
	test_rcu_run();
}

static void a_zapped_child_is_not_entered(void **state)
{
	struct test_vm vm;
	struct test_rand r;
	unsigned cut[2] = {0};

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	for (unsigned stop = 1; stop < 100; stop++) {
		tdp_gpa_t gpa = test_below(&r, test_vm_size(&vm)) & ~(TEST_PAGE - 1);

		cut_below(&vm, stop / 2, stop & 1, &cut[stop & 1]);
		assert_int_equal(test_vm_touch(&vm, 0, gpa, TDP_R), 0);
		assert_int_equal(tdp_zap(vm.mm, 0, range_of(gpa, TEST_PAGE), 0), TDP_OK);
	}
	assert_true(cut[0] > 3 && cut[1] > 3);
	vm_down(&vm);
}

/* ---- giving way ---- */

static void op_init(struct tdpi_op *op, struct test_vm *vm, struct tdpi_counts *counts)
{
	memset(op, 0, sizeof(*op));
	memset(counts, 0, sizeof(*counts));
	op->mm = vm->mm;
	op->counts = counts;
	tdpi_gather_begin_flush_only(&op->gather, vm->mm, counts, TDP_OP_ZAP);
}

static void breathe_says_what_happened(void **state)
{
	struct tdpi_counts counts;
	struct tdpi_op op;
	struct test_vm vm;
	struct test_rand r;
	struct tdpi_span all;
	struct iter it;
	tdpi_gfn_t next;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	all = (struct tdpi_span){0, test_vm_size(&vm) >> TDP_PAGE_LG2};
	op_init(&op, &vm, &counts);
	tdpi_rcu_lock(vm.mm);
	iter_init(&it, vm.mm, vm.mm->roots, all, 0);
	assert_true(iter_table(&it));
	/* Asked to, but nothing is done yet: no yield, or the walk might stand still. */
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_false(iter_breathe(&it, &op));
	assert_int_equal(atomic_load(&vm.env.yields), 0);
	while (it.next == 0)
		assert_true(iter_table(&it));
	next = iter_done(&it);
	assert_true(it.level > 0 ? next == it.next : next > it.next);
	assert_true(iter_breathe(&it, &op));
	assert_int_equal(atomic_load(&vm.env.yields), 1);
	assert_int_equal(counts.yields, 1);
	/* Not twice at one place; and down again from the root to what is not done. */
	assert_false(iter_breathe(&it, &op));
	assert_true(iter_table(&it));
	assert_ptr_equal(it.t, vm.mm->roots->table);
	assert_int_equal(it.next, next);
	assert_false(iter_breathe(&it, &op));
	while (it.next == next)
		assert_true(iter_table(&it));
	/* Nobody asks: false, although the last answer was true. */
	test_env_yield(&vm.env, TEST_YIELD_NEVER, 0);
	assert_false(iter_breathe(&it, &op));
	assert_int_equal(atomic_load(&vm.env.yields), 1);
	/* The caller may not sleep: false, and the host is not asked. */
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	op.no_yield = true;
	atomic_store(&vm.env.yield_asked, 0);
	assert_false(iter_breathe(&it, &op));
	assert_int_equal(atomic_load(&vm.env.yield_asked), 0);
	tdpi_rcu_unlock(vm.mm);
	vm_down(&vm);
}

static void asking_does_not_yield(void **state)
{
	struct test_vm vm;
	struct test_rand r;
	struct iter it, was;

	vm_up(&vm, state, NULL);
	test_rand_init(&r, test_seed());
	grow(&vm, &r);
	tdpi_rcu_lock(vm.mm);
	iter_init(&it, vm.mm, vm.mm->roots, (struct tdpi_span){0, 100}, 0);
	assert_true(iter_table(&it));
	memcpy(&was, &it, sizeof(was));
	assert_false(iter_need_resched(&it));
	test_env_yield(&vm.env, TEST_YIELD_ALWAYS, 0);
	assert_true(iter_need_resched(&it));
	assert_memory_equal(&it, &was, sizeof(was));
	assert_int_equal(atomic_load(&vm.env.yields), 0);
	tdpi_rcu_unlock(vm.mm);
	vm_down(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE_IF(every_table_once_with_its_run, the_format),
		TEST_CASE_IF(empty_spans_visit_nothing, the_format),
		TEST_CASE_IF(a_zapped_child_is_not_entered, the_format),
		TEST_CASE_IF(breathe_says_what_happened, the_format),
		TEST_CASE_IF(asking_does_not_yield, the_format),
	};

	return test_run("iter", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H19, Asterinas, 2025 and 2026: when a subtree was unlinked, the recursion that marks its
 * tables as removed had its level test inverted, so that nested tables stayed unmarked and a
 * cursor that stood in one of them went on there. And a range of exactly one entry was entered
 * one level too deep.
 *
 * Here subtrees of every depth are cut off by ranges of exactly one entry of each level. At
 * once, before any grace period, no table of them is a live one any more; a reader that stood
 * inside meanwhile goes on over intact words; and whoever comes again builds anew.
 */
#include "huge.h"

#define TABLES_MAX 64u

struct subtree {
	unsigned count;
	tdp_pa_t pa[TABLES_MAX];
};

/* Small pages in the first entry of each level below `top`: one table of each level, nested. */
static tdp_gpa_t build(struct test_vm *vm, unsigned top)
{
	tdp_gpa_t gpa = GPA;
	unsigned level;

	touch_linear(vm, 0, gpa, TDP_W);
	for (level = 1; level <= top; level++) {
		gpa = GPA + leaf_size(vm, level) / 2;
		touch_linear(vm, 0, gpa, TDP_W);
	}
	return gpa;
}

/* All tables over or below [GPA, + size of one entry of `level`), the ones above left out. */
static struct subtree tables_below(struct test_vm *vm, unsigned level)
{
	struct test_dump dump = dump_of(vm, 0);
	struct subtree s = {0};
	size_t i;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[i];

		if (v->kind != TDP_ENTRY_TABLE || v->level > level || v->gpa < GPA ||
		    v->gpa >= GPA + leaf_size(vm, level))
			continue;
		assert_true(s.count < TABLES_MAX);
		s.pa[s.count++] = v->pa;
	}
	test_dump_free(&dump);
	return s;
}

static void assert_live(struct test_vm *vm, const struct subtree *s, bool live)
{
	unsigned i;

	for (i = 0; i < s->count; i++) {
		tdp_gpa_t gpa;

		assert_int_equal(tdp_table_gpa(vm->mm, s->pa[i], 0, &gpa, NULL),
				 live ? TDP_OK : TDP_ENOENT);
		if (!live)
			assert_int_equal(tdp_zap_table(vm->mm, s->pa[i]), TDP_ENOENT);
	}
}

enum how { BY_ZAP, BY_TABLE, BY_TEARDOWN, HOWS };

static void cut(struct test_vm *vm, enum how how, struct tdp_range entry, tdp_pa_t table)
{
	switch (how) {
	case BY_ZAP: assert_int_equal(tdp_zap(vm->mm, 0, entry, 0), TDP_OK); break;
	case BY_TABLE: assert_int_equal(tdp_zap_table(vm->mm, table), TDP_OK); break;
	default:
		assert_int_equal(tdp_roots_invalidate(vm->mm), TDP_OK);
		assert_int_equal(tdp_roots_reclaim(vm->mm, 0), 0);
		break;
	}
}

static void nested_tables_are_marked(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	unsigned level, how;

	assert_int_equal(test_vm_slot(vm, 0, GPA, GPA, PA, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	for (level = 1; level < vm->info.levels && leaf_size(vm, level) <= GPA; level++)
		for (how = BY_ZAP; how < HOWS; how++) {
			struct tdp_range entry = {GPA, leaf_size(vm, level)};
			tdp_gpa_t gpa = build(vm, level);
			struct subtree s = tables_below(vm, level);

			assert_true(s.count >= level); /* one of each level at least */
			assert_live(vm, &s, true);
			cut(vm, how, entry, s.pa[0]);
			assert_live(vm, &s, false);
			assert_int_equal(tables_below(vm, level).count, 0);
			touch_linear(vm, 0, gpa, TDP_W);
			touch_linear(vm, 0, GPA, TDP_W);
			assert_int_equal(test_vm_check(vm), 0);
			assert_int_equal(tdp_zap(vm->mm, 0, entry, 0), TDP_OK);
			assert_int_equal(test_vm_check(vm), 0);
		}
	close_vm(vm);
}

/* ---- a reader inside ---- */

struct reader {
	struct test_vm *vm;
	struct tdp_range entry;
	unsigned pause_level; /* cut when the first entry of such a table is visited */
	bool cut;
	int status;
	unsigned leaves, wrong;
};

static void zap_meanwhile(void *arg)
{
	struct reader *r = arg;

	r->status = tdp_zap(r->vm->mm, 0, r->entry, 0);
}

static int visit(void *arg, const struct tdp_visit *v)
{
	struct reader *r = arg;

	if (v->level == r->pause_level && !r->cut) {
		r->cut = true;
		museum_meanwhile(r->vm, zap_meanwhile, r);
	}
	if (v->kind == TDP_ENTRY_LEAF) {
		r->leaves++;
		r->wrong += v->pa != PA + (v->gpa - GPA) || v->lg2 != TDP_PAGE_LG2;
	}
	return 0;
}

static void reader_inside_sees_no_freed_table(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	uint32_t flags = TDP_WALK_LEAF | TDP_WALK_TABLE_PRE;
	unsigned level, pause;

	assert_int_equal(test_vm_slot(vm, 0, GPA, GPA, PA, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	for (level = 1; level < vm->info.levels && leaf_size(vm, level) <= GPA; level++)
		for (pause = 0; pause < level; pause++) {
			struct reader r = {.vm = vm, .pause_level = pause, .status = 1};
			tdp_gpa_t gpa = build(vm, level);

			r.entry = range_of(GPA, leaf_size(vm, level));
			assert_int_equal(tdp_walk(vm->mm, 0, r.entry, flags, visit, &r), 0);
			assert_true(r.cut);
			assert_int_equal(r.status, TDP_OK);
			assert_int_equal(r.wrong, 0);
			if (pause == 0) /* higher up it may find that nothing is left below */
				assert_true(r.leaves > 0);
			assert_int_equal(lg2_at(vm, 0, gpa), 0);
			touch_linear(vm, 0, gpa, TDP_W);
			assert_int_equal(test_vm_check(vm), 0);
			assert_int_equal(tdp_zap(vm->mm, 0, r.entry, 0), TDP_OK);
		}
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {
		TEST_CASE(nested_tables_are_marked),
		TEST_CASE(reader_inside_sees_no_freed_table),
	};

	return test_run("museum/H19", cases, ARRAY_LEN(cases));
}

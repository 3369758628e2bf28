/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H14, Hafnium, 2026: a helper for the level of the root gave the number of levels, and the
 * kind of a child was judged by the rules of another level. In the Arm format the same two bits
 * mean a page at the lowest level and a table above, so that a page was taken for a table.
 *
 * Here a tree of every geometry holds each kind of entry at each level where it exists, and
 * every word on the way to each of them is asked for: level and kind must be those that the
 * test put there, the number of words is what the walker by itself reads, and nothing is judged
 * one level off.
 */
#include "huge.h"

struct spot {
	tdp_gpa_t gpa;
	unsigned level; /* of the last entry */
	enum tdp_entry_kind kind;
};

static unsigned spots;
static struct spot spot[32];

static void expect(tdp_gpa_t gpa, unsigned level, enum tdp_entry_kind kind)
{
	assert_true(spots < ARRAY_LEN(spot));
	spot[spots].gpa = gpa;
	spot[spots].level = level;
	spot[spots++].kind = kind;
}

/*
 * From GPA on, with S the largest leaf: one leaf of each size in its own S (the second has
 * smaller ones), a hole below each level beside them, and one MMIO entry.
 */
static void build(struct test_vm *vm)
{
	struct huge_levels h = huge_levels(vm);
	uint64_t s = (uint64_t)1 << test_vm_max_lg2(vm);
	tdp_gpa_t gpa = GPA;
	unsigned i;

	spots = 0;
	for (i = h.count; i-- > 0; gpa += s) {
		uint64_t size = leaf_size(vm, h.level[i]);

		assert_int_equal(test_vm_slot(vm, 0, gpa, size, PA + (gpa - GPA), 0, NULL), TDP_OK);
		touch_linear(vm, 0, gpa + size / 2, TDP_W);
		expect(gpa, h.level[i], TDP_ENTRY_LEAF);
		expect(gpa + size - 1, h.level[i], TDP_ENTRY_LEAF);
		if (size < s)
			expect(gpa + size, h.level[i], TDP_ENTRY_EMPTY);
	}
	/* A small page, a hole beside it in the same table, and one table further up. */
	assert_int_equal(test_vm_slot(vm, 0, gpa, TEST_PAGE, PA + (gpa - GPA), 0, NULL), TDP_OK);
	touch_linear(vm, 0, gpa, TDP_X);
	expect(gpa, 0, TDP_ENTRY_LEAF);
	expect(gpa + TEST_PAGE, 0, TDP_ENTRY_EMPTY);
	expect(gpa + leaf_size(vm, 1), 1, TDP_ENTRY_EMPTY);
	/* MMIO in the same table. */
	assert_int_equal(test_vm_access(vm, 0, gpa + 2 * TEST_PAGE, TDP_R, NULL), TEST_OUTCOME);
	expect(gpa + 2 * TEST_PAGE, 0, TDP_ENTRY_MMIO);
	/* Nothing at all: decided where the way parts from that to GPA. */
	for (i = vm->info.levels - 1; i > 0 && GPA >> test_vm_lg2(vm, i) == 0; i--)
		;
	expect(0, i, TDP_ENTRY_EMPTY);
}

static void check_spot(struct test_vm *vm, const struct spot *s)
{
	struct tdp_path path;
	struct tdp_emu_exit exit;
	unsigned level;

	memset(&path, 0xa5, sizeof(path));
	path.size = (uint32_t)sizeof(path);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, s->gpa, &path), TDP_OK);
	assert_int_equal(path.first_level, vm->info.levels - 1);
	assert_int_equal(path.last_level, s->level);
	for (level = s->level + 1; level < vm->info.levels; level++)
		assert_int_equal(path.kind[level], TDP_ENTRY_TABLE);
	assert_int_equal(path.kind[s->level], s->kind);
	/* The walker reads as many words, and agrees whether there is a page. */
	assert_int_equal(bare_walk(vm, 0, s->gpa, TDP_R, &exit) == TDP_EMU_OK,
			 s->kind == TDP_ENTRY_LEAF);
	assert_int_equal(exit.refs, vm->info.levels - s->level);
	assert_int_equal(lg2_at(vm, 0, s->gpa),
			 s->kind == TDP_ENTRY_LEAF ? test_vm_lg2(vm, s->level) : 0);
}

/* The same by visits of the whole tree: each entry at its own level, tables above leaves. */
static void check_visits(struct test_vm *vm)
{
	struct test_dump dump = dump_of(vm, 0);
	size_t i;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[i];
		struct tdp_path path = path_at(vm, 0, v->gpa);

		assert_int_equal(v->lg2, test_vm_lg2(vm, v->level));
		assert_int_equal(path.kind[v->level], v->kind);
		assert_int_equal(path.entry[v->level], v->entry);
		if (v->kind == TDP_ENTRY_TABLE)
			assert_in_range(v->level, 1, vm->info.levels - 1);
		if (v->kind == TDP_ENTRY_LEAF)
			assert_true(vm->info.leaf_levels >> v->level & 1);
	}
	test_dump_free(&dump);
}

static void each_kind_at_each_level(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	unsigned i;

	build(vm);
	for (i = 0; i < spots; i++)
		check_spot(vm, &spot[i]);
	check_visits(vm);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(each_kind_at_each_level)};

	return test_run("museum/H14", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H20, seL4 on RISC-V, 2019: to unmap a table its slot was searched from the root, and the
 * search moved the slot pointer one step too far: an entry inside the dying table was cleared,
 * and its parent went on pointing to it.
 *
 * Here each table of a tree is unlinked by its address. The parent's entry, and no other,
 * becomes empty; the words inside stay as they are until the page is freed; and neither TLB nor
 * walk leads there afterwards.
 */
#include "huge.h"

/* Small pages at the start and in the middle of one entry of each level. */
static void build(struct test_vm *vm)
{
	unsigned level;

	touch_linear(vm, 0, GPA, TDP_W);
	for (level = 1; level < vm->info.levels && leaf_size(vm, level) <= GPA; level++)
		touch_linear(vm, 0, GPA + leaf_size(vm, level) / 2, TDP_W);
}

/* The words of a table, by address; kept because the library frees the page when it likes. */
struct words {
	uint64_t word[512];
};

static void copy_words(struct test_vm *vm, tdp_pa_t pa, struct words *w)
{
	memcpy(w->word, test_env_mem(&vm->env, pa), sizeof(w->word));
}

static void unlink_one(struct test_vm *vm, const struct tdp_visit *v,
		       const struct test_dump *before)
{
	static struct words inside, inside_now;
	struct test_dump after;
	tdp_gpa_t end = v->gpa + ((uint64_t)1 << v->lg2);
	size_t i, j = 0;

	copy_words(vm, v->pa, &inside);
	assert_int_equal(tdp_zap_table(vm->mm, v->pa), TDP_OK);
	/*
	 * Not freed yet: nothing runs a grace period here. The MMU can set no bit there any
	 * more.
	 */
	copy_words(vm, v->pa, &inside_now);
	assert_memory_equal(&inside, &inside_now, sizeof(inside));

	/*
	 * The parent's entry is empty; what was in or below it is gone; nothing else has
	 * changed.
	 */
	assert_int_equal(path_at(vm, 0, v->gpa).last_level, v->level);
	assert_int_equal(path_at(vm, 0, v->gpa).kind[v->level], TDP_ENTRY_EMPTY);
	after = dump_of(vm, 0);
	for (i = 0; i < before->count; i++) {
		const struct tdp_visit *b = &before->visits[i];

		if (b->level <= v->level && b->gpa >= v->gpa && b->gpa < end)
			continue;
		assert_true(j < after.count);
		assert_int_equal(after.visits[j].entry, b->entry);
		assert_int_equal(after.visits[j].gpa, b->gpa);
		assert_int_equal(after.visits[j++].level, b->level);
	}
	assert_int_equal(j, after.count);
	test_dump_free(&after);
	assert_int_equal(tdp_emu_cached(vm->emu, v->gpa, end - v->gpa), 0);
	assert_int_equal(tdp_zap_table(vm->mm, v->pa), TDP_ENOENT);
}

static void the_parent_forgets(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	struct tdp_root_view view = {.size = (uint32_t)sizeof(view)};
	struct tdp_root *root;
	size_t which = 0, count;

	assert_int_equal(test_vm_slot(vm, 0, GPA, GPA, PA, TDP_SLOT_FORCE_4K, NULL), TDP_OK);
	do {
		struct test_dump before;
		struct tdp_visit v = {0};
		size_t i, tables = 0;

		build(vm);
		before = dump_of(vm, 0);
		count = 0;
		for (i = 0; i < before.count; i++) {
			if (before.visits[i].kind != TDP_ENTRY_TABLE)
				continue;
			if (tables++ == which)
				v = before.visits[i];
			count++;
		}
		unlink_one(vm, &v, &before);
		test_dump_free(&before);
		test_rcu_run();
		build(vm);
		assert_int_equal(test_vm_check(vm), 0);
	} while (++which < count);

	/* The root has no parent. */
	assert_int_equal(tdp_root_get(vm->mm, tdp_role_root(vm->mm, 0), &root), TDP_OK);
	assert_int_equal(tdp_root_view(vm->mm, root, &view), TDP_OK);
	assert_int_equal(tdp_root_put(vm->mm, root), 0);
	assert_int_equal(tdp_zap_table(vm->mm, view.pa), TDP_EINVAL);
	touch_linear(vm, 0, GPA, TDP_W);
	close_vm(vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(the_parent_forgets)};

	return test_run("museum/H20", cases, ARRAY_LEN(cases));
}

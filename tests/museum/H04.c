/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H04, Jailhouse, 2014: a huge leaf was used whenever the guest address was aligned, although
 * the output address was not.
 *
 * Here the guest side is aligned to the largest page and the output is off by 4K, by half of
 * each page size and by each size itself, for linear slots and for a resolver that promises
 * contiguous blocks as large as one likes. No leaf may be larger than the offset allows; every
 * page is right.
 */
#include "huge.h"

static uint64_t offset;

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg;
	(void)access;
	page->pa = PA + offset + (gpa - GPA);
	page->lg2 = want_lg2;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

/* The largest leaf that the offset and the slot's size leave, by arithmetic. */
static uint32_t largest(const struct test_vm *vm, uint64_t size)
{
	struct huge_levels h = huge_levels(vm);
	uint32_t lg2 = TDP_PAGE_LG2;
	unsigned i;

	for (i = 0; i < h.count; i++)
		if (leaf_size(vm, h.level[i]) <= size && offset % leaf_size(vm, h.level[i]) == 0)
			lg2 = test_vm_lg2(vm, h.level[i]);
	return lg2;
}

static void check(struct test_vm *vm, uint64_t size, tdp_gpa_t gpa)
{
	struct test_access a = touch(vm, 0, gpa, TDP_W);
	uint32_t lg2 = largest(vm, size);
	struct tdp_emu_exit exit;

	assert_int_equal(lg2_at(vm, 0, gpa), lg2);
	assert_int_equal(a.pa, PA + offset + (gpa - GPA));
	assert_int_equal(a.lg2, lg2);
	assert_int_equal(bare_walk(vm, 0, gpa, TDP_W, &exit), TDP_EMU_OK);
	assert_int_equal(exit.pa, PA + offset + (gpa - GPA));
}

static void all_of_it(struct test_vm *vm, uint64_t size)
{
	struct test_dump dump = dump_of(vm, 0);
	tdp_gpa_t next = GPA;
	size_t i;

	for (i = 0; i < dump.count; i++) {
		const struct tdp_visit *v = &dump.visits[i];

		if (v->kind != TDP_ENTRY_LEAF)
			continue;
		assert_int_equal(v->gpa, next);
		assert_int_equal(v->pa, PA + offset + (v->gpa - GPA));
		assert_int_equal(v->lg2, largest(vm, size));
		next = v->gpa + ((uint64_t)1 << v->lg2);
	}
	assert_int_equal(next, GPA + size);
	test_dump_free(&dump);
}

static void run(void **state, bool linear, uint64_t off)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc)};
	struct test_vm *vm;
	uint32_t id, lg2;
	uint64_t size, done, made;

	vm = open_vm(state, NULL);
	offset = off;
	size = (uint64_t)1 << test_vm_max_lg2(vm);
	desc.gpa = range_of(GPA, size);
	if (linear) {
		desc.pa = PA + off;
	} else {
		desc.backing = &ops;
	}
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	if (linear) {
		assert_int_equal(tdp_max_lg2(vm->mm, 0, GPA, &lg2), TDP_OK);
		assert_int_equal(lg2, largest(vm, size));
	}
	check(vm, size, GPA);
	check(vm, size, GPA + size / 2 + 3 * TEST_PAGE + 0x123);
	check(vm, size, GPA + size - 1);
	/* All of it, where that is no million of small pages. */
	if (size >> largest(vm, size) <= 1u << 12) {
		assert_int_equal(tdp_populate(vm->mm, 0, desc.gpa, 0, &done), TDP_OK);
		assert_int_equal(done, size);
		all_of_it(vm, size);
		assert_int_equal(tdp_collapse(vm->mm, 0, desc.gpa, 0, &made), TDP_OK);
		assert_int_equal(made, 0);
		all_of_it(vm, size);
	}
	close_vm(vm);
}

static void the_output_must_be_aligned_too(void **state)
{
	struct huge_levels h;
	struct test_vm *vm;
	uint64_t size[TDP_LEVELS_MAX];
	unsigned i, linear;

	vm = open_vm(state, NULL);
	h = huge_levels(vm);
	for (i = 0; i < h.count; i++)
		size[i] = leaf_size(vm, h.level[i]);
	close_vm(vm);
	assert_true(h.count > 0);
	for (linear = 0; linear < 2; linear++) {
		run(state, linear, 0);
		run(state, linear, TEST_PAGE);
		run(state, linear, 0x10000);
		for (i = 0; i < h.count; i++) {
			run(state, linear, size[i] / 2);
			run(state, linear, size[i]);
			run(state, linear, size[i] + TEST_PAGE);
		}
	}
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(the_output_must_be_aligned_too)};

	return test_run("museum/H04", cases, ARRAY_LEN(cases));
}

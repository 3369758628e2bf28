/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * H21, seL4 on Arm, 2017: large mappings of 16 entries carry a hint that they are contiguous,
 * and the same address was written into all of them. Hardware may ignore the hint, and uses
 * each entry by itself.
 *
 * Here runs of leaves are written in one go (populate over tables of every size, blocks of 16
 * that the backing calls contiguous, parts of a split, leaves next to huge ones). Each entry is
 * decoded alone, by a walker that has no cache and knows no hints: each must lead to its own
 * page.
 */
#include "huge.h"

static uint32_t block_lg2;

/* Contiguous only within naturally aligned blocks; the blocks are in reverse order. */
static tdp_pa_t block_pa(tdp_gpa_t gpa)
{
	uint64_t off = gpa - GPA, blocks = (uint64_t)1 << (30 - block_lg2);
	uint64_t mask = ((uint64_t)1 << block_lg2) - 1;

	return PA + ((blocks - 1 - (off >> block_lg2)) << block_lg2) + (off & mask);
}

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	(void)arg;
	(void)want_lg2;
	(void)access;
	page->pa = block_pa(gpa & ~(TEST_PAGE - 1));
	page->lg2 = block_lg2;
	page->prot = TDP_RWX;
	return TDP_OK;
}

static const struct tdp_backing_ops ops = {.size = (uint32_t)sizeof(ops), .resolve = resolve};

/* Every page of the range by itself, and no leaf larger than the block it is in. */
static void each_alone(struct test_vm *vm, struct tdp_range r, uint32_t access)
{
	struct tdp_emu_exit exit;
	tdp_gpa_t gpa;

	for (gpa = r.start; gpa < r.start + r.size; gpa += TEST_PAGE) {
		assert_int_equal(bare_walk(vm, 0, gpa + 0x38, access, &exit), TDP_EMU_OK);
		assert_int_equal(exit.pa, block_pa(gpa) + 0x38);
		assert_true(exit.lg2 <= block_lg2);
	}
}

static void run(void **state, uint32_t lg2)
{
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .backing = &ops};
	struct test_vm *vm = open_vm(state, NULL);
	uint64_t huge = leaf_size(vm, 1), done;
	/* From the middle of one table to the middle of the third. */
	struct tdp_range r = {GPA + huge / 2 - TEST_PAGE, 2 * huge + 3 * TEST_PAGE};
	struct tdp_range part = {GPA + huge + huge / 4, huge / 8};
	uint32_t id;

	block_lg2 = lg2;
	desc.gpa = range_of(GPA, 4 * huge);
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	assert_int_equal(tdp_populate(vm->mm, 0, r, TDP_POPULATE_YOUNG, &done), TDP_OK);
	assert_int_equal(done, r.size);
	each_alone(vm, r, TDP_R);
	/* Holes in it, and filled again, the neighbours left as they are. */
	assert_int_equal(tdp_zap(vm->mm, 0, part, 0), TDP_OK);
	assert_int_equal(tdp_populate(vm->mm, 0, r, TDP_POPULATE_YOUNG, &done), TDP_OK);
	each_alone(vm, r, TDP_R);
	/* By faults, from the last page of a block. */
	assert_int_equal(tdp_zap(vm->mm, 0, r, 0), TDP_OK);
	assert_int_equal(touch(vm, 0, part.start + part.size - 1, TDP_W).pa,
			 block_pa(part.start + part.size - 1));
	assert_int_equal(tdp_populate(vm->mm, 0, r, TDP_POPULATE_YOUNG, &done), TDP_OK);
	assert_int_equal(tdp_split(vm->mm, 0, r, TDP_PAGE_LG2), TDP_OK);
	each_alone(vm, r, TDP_R);
	close_vm(vm);
}

static void every_entry_leads_to_its_own_page(void **state)
{
	struct test_vm *vm = open_vm(state, NULL);
	uint32_t huge = test_vm_lg2(vm, 1);

	close_vm(vm);
	run(state, TDP_PAGE_LG2);
	run(state, TDP_PAGE_LG2 + 1);
	run(state, 16); /* 16 pages: what the Arm hint covers */
	run(state, huge);
	run(state, huge + 1);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_entry_leads_to_its_own_page)};

	return test_run("museum/H21", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O11, KVM arm64 2019: a huge page of the backing was mapped by a huge leaf although its offset
 * to the guest's address was no multiple of the huge page: both were rounded down and the guest
 * saw its memory shifted. Here output and guest addresses have every kind of offset to each
 * other, at both ends of a slot, for linear slots and for backings that say how much is
 * contiguous: a huge leaf only where the offset is a multiple of its size, and every byte where
 * it belongs.
 */
#include "museum.h"

struct shifted {
	struct tdp_backing_ops ops;
	struct tdp_range range;
	tdp_pa_t pa;
	uint32_t lg2;
};

static int resolve(void *arg, tdp_gpa_t gpa, uint32_t want_lg2, uint32_t access,
		   struct tdp_page *page)
{
	const struct shifted *s = arg;

	(void)want_lg2;
	(void)access;
	page->pa = s->pa + (gpa - s->range.start);
	page->lg2 = s->lg2; /* contiguous so far: congruent is not said */
	page->prot = TDP_RWX;
	return TDP_OK;
}

/* The largest leaf at gpa with these two offsets, by this test's own arithmetic. */
static uint32_t expected(const struct test_vm *vm, struct tdp_range r, tdp_pa_t pa, tdp_gpa_t gpa,
			 uint32_t most)
{
	uint32_t best = TDP_PAGE_LG2;

	for (uint32_t level = 1; level < TDP_LEVELS_MAX; level++) {
		uint32_t lg2 = test_vm_lg2(vm, level);
		uint64_t size = (uint64_t)1 << lg2, at = gpa & ~(size - 1);

		if (vm->info.leaf_levels >> level & 1 && lg2 <= most &&
		    (r.start - pa) % size == 0 && at >= r.start && at + size <= r.start + r.size)
			best = lg2;
	}
	return best;
}

static void look(struct test_vm *vm, struct tdp_range r, tdp_pa_t pa, uint32_t most)
{
	uint64_t offs[] = {0, TEST_PAGE, r.size / 2, r.size - 1};

	for (unsigned i = 0; i < ARRAY_LEN(offs); i++)
		assert_int_equal(museum_reaches(vm, r.start + offs[i], TDP_W, pa + offs[i]),
				 expected(vm, r, pa, r.start + offs[i], most));
	assert_int_equal(tdp_zap(vm->mm, 0, r, 0), TDP_OK);
	/* Populating and collapsing make the same choice. */
	if (r.size <= (uint64_t)1 << 23) {
		assert_int_equal(tdp_populate(vm->mm, 0, r, TDP_POPULATE_YOUNG, NULL), TDP_OK);
		assert_int_equal(tdp_collapse(vm->mm, 0, r, 0, NULL), TDP_OK);
		for (uint64_t off = 0; off < r.size; off += TEST_PAGE)
			museum_is_there(vm, r.start + off, TDP_R, pa + off);
		museum_reaches(vm, r.start, TDP_W, pa);
		museum_reaches(vm, r.start + r.size - 1, TDP_W, pa + r.size - 1);
	}
}

static void one_offset(struct test_vm *vm, struct tdp_range r, tdp_pa_t pa, uint32_t most)
{
	struct shifted s = {.range = r, .pa = pa, .lg2 = most};
	struct tdp_slot_desc desc = {.size = (uint32_t)sizeof(desc), .gpa = r, .pa = pa};
	uint32_t id;

	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	look(vm, r, pa, 63);
	assert_int_equal(tdp_slot_remove(vm->mm, id), TDP_OK);
	s.ops.size = (uint32_t)sizeof(s.ops);
	s.ops.resolve = resolve;
	desc.pa = 0;
	desc.backing = &s.ops;
	desc.backing_arg = &s;
	assert_int_equal(tdp_slot_add(vm->mm, &desc, &id), TDP_OK);
	look(vm, r, pa, most);
	assert_int_equal(tdp_slot_remove(vm->mm, id), TDP_OK);
}

static void every_offset(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	for (uint32_t level = 1; level < TDP_LEVELS_MAX; level++) {
		uint32_t lg2 = test_vm_lg2(&vm, level);
		uint64_t size = (uint64_t)1 << lg2;
		const uint64_t shifts[] = {0, TEST_PAGE, size / 2, size - TEST_PAGE,
					   size / 2 + TEST_PAGE};

		if (!(vm.info.leaf_levels >> level & 1))
			continue;
		for (unsigned g = 0; g < ARRAY_LEN(shifts); g++)
			for (unsigned p = 0; p < ARRAY_LEN(shifts); p++)
				one_offset(&vm, museum_range(size + shifts[g], 2 * size),
					   MUSEUM_PA + shifts[p], lg2);
	}
	assert_int_equal(test_vm_check(&vm), 0);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(every_offset)};

	return test_run("museum/O11", cases, ARRAY_LEN(cases));
}

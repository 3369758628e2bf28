/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O02, Jailhouse 2018 and HAXM 2018: masks and shifts were done in 32 bits (~(page_size - 1) of
 * an unsigned int, 1 << 24 << 12), so the high bits of a frame number were lost when a huge page
 * was mapped or split. Here memory lies at the top of the output width and of the guest-physical
 * width, with all bits of the address in use; it is mapped huge and small, split, protected, cut
 * and collapsed, and the guest always ends at the right byte.
 */
#include "museum.h"

static unsigned pa_bits(const struct test_vm *vm)
{
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};

	assert_int_equal(tdp_emu_backend.probe(vm->emu, vm->fmt->format, &caps), TDP_OK);
	return caps.pa_bits;
}

/* First, last and two more pages of the block, through the guest. */
static void everywhere(struct test_vm *vm, tdp_gpa_t gpa, tdp_pa_t pa, uint64_t size,
		       uint32_t access)
{
	const uint64_t offs[] = {0, TEST_PAGE + 8, size / 2, size - TEST_PAGE, size - 1};

	for (unsigned i = 0; i < ARRAY_LEN(offs); i++)
		museum_reaches(vm, gpa + offs[i], access, pa + offs[i]);
}

static void one_size(struct test_vm *vm, uint32_t lg2)
{
	uint64_t size = (uint64_t)1 << lg2, top = test_vm_size(vm), made = 0;
	tdp_gpa_t gpa = top - 2 * size; /* highest bits set */
	tdp_pa_t pa = ((tdp_pa_t)1 << pa_bits(vm)) - size;
	struct tdp_range block = museum_range(gpa, size);
	struct tdp_mapping m;
	uint32_t id = museum_slot(vm, gpa, size, pa);

	assert_int_equal(museum_reaches(vm, gpa, TDP_R, pa), lg2);
	everywhere(vm, gpa, pa, size, TDP_W);
	assert_int_equal(
		tdp_split(vm->mm, 0, museum_range(gpa + size / 2, TEST_PAGE), TDP_PAGE_LG2),
		TDP_OK);
	everywhere(vm, gpa, pa, size, TDP_W);
	assert_int_equal(tdp_write_protect(vm->mm, 0, block), TDP_OK);
	everywhere(vm, gpa, pa, size, TDP_R);
	everywhere(vm, gpa, pa, size, TDP_W);
	assert_int_equal(tdp_populate(vm->mm, 0, block, TDP_POPULATE_YOUNG, NULL), TDP_OK);
	assert_int_equal(tdp_collapse(vm->mm, 0, block, 0, &made), TDP_OK);
	everywhere(vm, gpa, pa, size, TDP_W);
	assert_int_equal(tdp_zap(vm->mm, 0, museum_range(gpa, TEST_PAGE), 0), TDP_OK);
	everywhere(vm, gpa, pa, size, TDP_W);
	for (uint64_t off = 0; off < size; off += size / 16) {
		assert_true(museum_mapped(vm, gpa + off, &m));
		assert_int_equal(m.pa + (gpa + off - m.gpa), pa + off);
	}
	assert_int_equal(tdp_slot_remove(vm->mm, id), TDP_OK);
	/* The same in small pages from the beginning. */
	assert_int_equal(test_vm_slot(vm, 0, gpa, size, pa, TDP_SLOT_FORCE_4K, &id), TDP_OK);
	everywhere(vm, gpa, pa, size, TDP_W);
	assert_int_equal(tdp_slot_remove(vm->mm, id), TDP_OK);
	assert_int_equal(test_vm_check(vm), 0);
}

static void all_bits_of_an_address(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, NULL);
	for (uint32_t level = 1; level < TDP_LEVELS_MAX; level++)
		if (vm.info.leaf_levels >> level & 1)
			one_size(&vm, test_vm_lg2(&vm, level));
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(all_bits_of_an_address)};

	return test_run("museum/O02", cases, ARRAY_LEN(cases));
}

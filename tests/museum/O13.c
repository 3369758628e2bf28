/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O13, KVM arm64 2025: aligning the start of a cached translation down was written as & (size -
 * 1), which is the offset; the test whether an invalidation overlaps it said no, and the stale
 * translation stayed. Here translations of every size are cached, and something that touches one
 * page of them (the first, one in the middle, the last) unmaps, protects or replaces: no vCPU
 * holds anything of it afterwards, and the neighbours are where they were.
 */
#include "museum.h"

static void caught(struct test_vm *vm, struct tdp_range leaf, uint64_t off, uint32_t flags)
{
	struct tdp_range page = museum_range(leaf.start + off, TEST_PAGE);
	tdp_pa_t pa = MUSEUM_PA + leaf.start;
	struct test_access a;

	/* Both vCPUs hold the whole leaf, and its neighbours. */
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(test_vm_access(vm, cpu, leaf.start, TDP_W, &a), TEST_OK);
		assert_int_equal((uint64_t)1 << a.lg2, leaf.size);
		assert_int_equal(test_vm_touch(vm, cpu, leaf.start - leaf.size, TDP_W), 0);
		assert_int_equal(test_vm_touch(vm, cpu, leaf.start + leaf.size, TDP_W), 0);
	}
	assert_true(tdp_emu_cached(vm->emu, page.start, TEST_PAGE));
	assert_int_equal(tdp_zap(vm->mm, 0, page, flags), TDP_OK);
	assert_false(tdp_emu_cached(vm->emu, page.start, TEST_PAGE));
	if (flags & TDP_ZAP_LAZY) /* all of the leaf went */
		assert_false(tdp_emu_cached(vm->emu, leaf.start, leaf.size));
	for (uint32_t cpu = 0; cpu < 2; cpu++) {
		assert_int_equal(test_vm_access(vm, cpu, leaf.start - 1, TDP_W, &a), TEST_OK);
		assert_int_equal(a.faults, 0);
		assert_int_equal(test_vm_access(vm, cpu, leaf.start + leaf.size, TDP_W, &a),
				 TEST_OK);
		assert_int_equal(a.faults, 0);
	}
	museum_reaches(vm, page.start, TDP_W, pa + off);

	/* Write protection of one page: the next write to it is seen. */
	assert_int_equal(tdp_write_protect(vm->mm, 0, page), TDP_OK);
	assert_int_equal(test_vm_access(vm, 1, page.start, TDP_W, &a), TEST_OK);
	assert_true(a.faults > 0);
	assert_int_equal(tdp_zap(vm->mm, 0, leaf, 0), TDP_OK);
	assert_false(tdp_emu_cached(vm->emu, leaf.start, leaf.size));
}

static void any_page_of_any_leaf(void **state)
{
	struct test_vm vm;

	museum_start(&vm, state, &(struct test_vm_options){.cpus = 2});
	for (uint32_t level = 0; level < TDP_LEVELS_MAX; level++) {
		uint64_t size = (uint64_t)1 << test_vm_lg2(&vm, level);
		const uint64_t offs[] = {0, TEST_PAGE, size / 2, size - TEST_PAGE};
		uint32_t id;

		if (!(vm.info.leaf_levels >> level & 1))
			continue;
		id = museum_slot(&vm, 0, 4 * size, MUSEUM_PA);
		for (unsigned i = 0; i < (level ? ARRAY_LEN(offs) : 1); i++) {
			caught(&vm, museum_range(size, size), offs[i], 0);
			caught(&vm, museum_range(2 * size, size), offs[i], TDP_ZAP_LAZY);
		}
		assert_int_equal(tdp_slot_remove(vm.mm, id), TDP_OK);
		assert_false(tdp_emu_cached(vm.emu, 0, 4 * size));
		/* Empty tables would keep the next round's pages small. */
		assert_true(tdp_compact(vm.mm, 0, museum_range(0, test_vm_size(&vm))) >= 0);
	}
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(any_page_of_any_leaf)};

	return test_run("museum/O13", cases, ARRAY_LEN(cases));
}

/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * O04, KVM x86 2022: the guest was told a wider physical address than the host has; an access
 * beyond the host's width made an MMIO entry where zapping everything never came, which was
 * leaked. Here the mm is narrower than its walker, or as wide, and is asked about the frames
 * around its own limit and around the walker's: beyond its limit nothing is ever installed,
 * below it everything is found again by a zap of all.
 */
#include "museum.h"

static void beyond(struct test_vm *vm, tdp_gpa_t gpa)
{
	struct tdp_fault fault = {.gpa = gpa};
	struct tdp_path path = {.size = (uint32_t)sizeof(path)};
	struct tdp_mapping m = {.size = (uint32_t)sizeof(m)};
	uint32_t lg2, id;
	char text[256];

	for (unsigned i = 0; i < 3; i++) {
		static const uint32_t accesses[] = {TDP_R, TDP_W, TDP_X};

		fault.access = accesses[i];
		fault.flags = 0;
		assert_int_equal(tdp_fault(vm->cpu[0].vcpu, &fault, NULL), TDP_ERANGE);
		fault.flags = TDP_FAULT_PREFETCH;
		assert_int_equal(tdp_fault(vm->cpu[0].vcpu, &fault, NULL), TDP_ERANGE);
	}
	assert_int_equal(tdp_translate(vm->mm, 0, gpa, &m), TDP_ERANGE);
	assert_int_equal(tdp_walk_gpa(vm->mm, 0, gpa, &path), TDP_ERANGE);
	assert_int_equal(tdp_max_lg2(vm->mm, 0, gpa, &lg2), TDP_ERANGE);
	assert_int_equal(tdp_slot_find(vm->mm, 0, gpa, &id, NULL), TDP_ERANGE);
	assert_int_equal(tdp_explain(vm->mm, 0, gpa, text, sizeof(text)), TDP_ERANGE);
}

static void nothing_beyond_the_width(void **state)
{
	struct test_vm vm;
	struct tdp_backend_caps caps = {.size = (uint32_t)sizeof(caps)};
	struct tdp_stats stats = {.size = (uint32_t)sizeof(stats)};
	struct test_dump before, after;
	uint64_t top;

	museum_start(&vm, state, NULL);
	top = test_vm_size(&vm);
	assert_int_equal(tdp_emu_backend.probe(vm.emu, vm.fmt->format, &caps), TDP_OK);
	museum_answer(&vm, top - 1, TDP_R, TDP_FAULT_MMIO);
	museum_answer(&vm, 0, TDP_R, TDP_FAULT_MMIO);
	assert_int_equal(tdp_vcpu_topup(vm.cpu[0].vcpu), TDP_OK);
	assert_int_equal(test_dump_take(&vm, 0, &before), TDP_OK);
	assert_true(before.count > 0);

	beyond(&vm, top);
	beyond(&vm, top + TEST_PAGE);
	beyond(&vm, 2 * top - 1);
	if (caps.gpa_bits < 64) {
		beyond(&vm, (uint64_t)1 << caps.gpa_bits);
		beyond(&vm, ((uint64_t)1 << caps.gpa_bits) + top - TEST_PAGE);
	}
	if ((uint64_t)1 << caps.gpa_bits > top)
		beyond(&vm, ((uint64_t)1 << caps.gpa_bits) - 1);
	beyond(&vm, ~(uint64_t)0);
	assert_int_equal(test_dump_take(&vm, 0, &after), TDP_OK);
	assert_int_equal(test_dump_diff(&before, &after, false), 0);
	test_dump_free(&before);
	test_dump_free(&after);

	/* A zap of all is a zap of all: no MMIO entry, no table but the root is left. */
	assert_int_equal(tdp_zap(vm.mm, 0, museum_range(0, top), 0), TDP_OK);
	assert_true(tdp_compact(vm.mm, 0, museum_range(0, top)) >= 0);
	assert_int_equal(tdp_stats(vm.mm, &stats), TDP_OK);
	assert_int_equal(stats.mmio, 0);
	for (uint32_t level = 0; level + 1 < vm.info.levels; level++)
		assert_int_equal(stats.tables[level], 0);
	museum_end(&vm);
}

int main(void)
{
	static const struct test_case cases[] = {TEST_CASE(nothing_beyond_the_width)};

	return test_run("museum/O04", cases, ARRAY_LEN(cases));
}
